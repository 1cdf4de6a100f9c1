//! The pay sheet with its mischief panel.

use super::{
    Scenario, Simulator, SimulatorError, TradeState, alipay, deliver,
    trades::{Sent, Trade},
};
use crate::{
    domain::{order::Provider, time::UnixMs},
    gateway::Protocol,
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use serde::Deserialize;

pub(super) type Handled = Result<HttpResponse, SimulatorError>;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/cashier", web::get().to(sheet))
        .route("/cashier/pay", web::post().to(pay))
        .route("/cashier/cancel", web::post().to(cancel))
        .route("/cashier/resend", web::post().to(resend))
        .route("/cashier/scenario", web::post().to(set_scenario))
        .route("/static/simulator/{file}", web::get().to(asset));
}

#[derive(Template)]
#[template(path = "simulator/cashier.html")]
struct CashierPage {
    amount: String,
    goods: String,
    merchant: String,
    out_trade_no: String,
    prepay_id: String,
    /// Where the browser came from and goes back to; empty inside WeChat.
    redirect_url: String,
    state: &'static str,
    /// Whether the pay button is offered: unpaid, or closed and waiting for mischief.
    payable: bool,
    closed: bool,
    paid: bool,
    /// `ok`, `cancel`, `fail`, or empty before anything happened.
    result: &'static str,
    origin: String,
    /// Dressed in Alipay's blue.
    alipay: bool,
    scenarios: Vec<Choice>,
    log: Vec<LogLine>,
}

pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) explanation: &'static str,
    pub(super) chosen: bool,
}

struct LogLine {
    at: String,
    title: String,
    sent: String,
    answered: String,
    good: bool,
}

#[derive(Deserialize)]
struct SheetQuery {
    #[serde(default)]
    prepay_id: String,
    #[serde(default)]
    redirect_url: String,
    #[serde(default)]
    result: String,
}

#[derive(Deserialize)]
struct SheetForm {
    #[serde(default)]
    prepay_id: String,
    #[serde(default)]
    redirect_url: String,
    #[serde(default)]
    scenario: String,
}

/// What later refunds of a trade meet.
async fn set_scenario(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_scenario(&trade.out_trade_no, scenario);
    }
    Ok(returned(&trade.prepay_id, ""))
}

async fn sheet(simulator: web::Data<Simulator>, query: web::Query<SheetQuery>) -> Handled {
    let Some((trade, _)) = find(&simulator, &query.prepay_id) else { return Ok(not_found()) };
    // Who opens the sheet of a precreated order has scanned its code; a dead one opens nothing, and pays nothing.
    let _ = simulator.scan(&trade.out_trade_no);
    let Some((trade, scenario)) = find(&simulator, &query.prepay_id) else { return Ok(not_found()) };
    let result =
        ["ok", "cancel", "fail"].into_iter().find(|known| *known == query.result).unwrap_or_default();
    let payable = matches!(trade.state, TradeState::NotPay | TradeState::Closed);
    let page = CashierPage {
        amount: trade.total_fee.yuan(),
        goods: trade.goods.clone(),
        merchant: trade.merchant.clone(),
        state: trade.state.desc_zh(),
        payable,
        closed: trade.state == TradeState::Closed,
        paid: trade.is_paid(),
        result,
        origin: simulator.0.options.bridge_origin.clone(),
        alipay: trade.protocol == Protocol::Alipay,
        scenarios: choices(scenario, |offered| {
            offered.concerns(trade.protocol) && (payable || offered.concerns_refunds())
        }),
        log: log_of(&trade, &refund_callbacks(&simulator, &trade)),
        out_trade_no: trade.out_trade_no,
        prepay_id: trade.prepay_id,
        redirect_url: simulator.merchants_own(&query.redirect_url).unwrap_or_default(),
    };
    Ok(html(&simulator, StatusCode::OK, page.render()?))
}

/// The payer presses 确认支付. What the page hears is the scenario's business, not the truth.
async fn pay(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_scenario(&trade.out_trade_no, scenario);
    }
    let scenario = simulator.book().scenario(&trade.out_trade_no);
    let result = match simulator.take_payment(&trade.out_trade_no) {
        Ok((_, callbacks)) => {
            if scenario.notifies_before_return() {
                deliver::send_all(&simulator, callbacks).await;
            } else {
                simulator.book().schedule(callbacks);
            }
            scenario.bridge_result()
        }
        Err(SimulatorError::NotPayable(..)) => "fail",
        Err(error) => return Err(error),
    };
    Ok(sent_back(&simulator, &trade, &form, result))
}

async fn cancel(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_scenario(&trade.out_trade_no, scenario);
    }
    Ok(sent_back(&simulator, &trade, &form, "cancel"))
}

async fn resend(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if trade.is_paid() {
        simulator.resend(&trade.out_trade_no)?;
        simulator.deliver_due().await;
    }
    Ok(returned(&trade.prepay_id, ""))
}

pub fn find(simulator: &Simulator, prepay_id: &str) -> Option<(Trade, Scenario)> {
    let mut book = simulator.book();
    let number = book.number_of_prepay_id(prepay_id)?;
    let scenario = book.scenario(&number);
    Some((book.trade(&number, simulator.now())?.clone(), scenario))
}

pub(super) fn choices(chosen: Scenario, offered: impl Fn(&Scenario) -> bool) -> Vec<Choice> {
    Scenario::ALL
        .into_iter()
        .filter(offered)
        .map(|scenario| Choice {
            name: scenario.name(),
            title: scenario.title_zh(),
            explanation: scenario.explanation_zh(),
            chosen: scenario == chosen,
        })
        .collect()
}

fn refund_callbacks(simulator: &Simulator, trade: &Trade) -> Vec<Sent> {
    let book = simulator.book();
    book.refunds
        .of_trade(&trade.out_trade_no)
        .into_iter()
        .flat_map(|refund| refund.callbacks.clone())
        .collect()
}

/// Calls and callbacks of one trade, oldest first.
fn log_of(trade: &Trade, about_refunds: &[Sent]) -> Vec<LogLine> {
    let gateway = match trade.protocol.provider() {
        Provider::Wechat => "微信",
        Provider::Alipay => "支付宝",
    };
    let calls = trade.messages.iter().map(|message| {
        let line = LogLine {
            at: message.at.beijing_text(),
            title: format!("商户 → {}", message.call),
            sent: message.asked.clone(),
            answered: message.answered.clone(),
            good: true,
        };
        (message.at, line)
    });
    let callbacks = trade.callbacks.iter().chain(about_refunds).map(|sent| {
        let status = sent.status.map_or("没有应答".to_owned(), |status| format!("HTTP {status}"));
        let verdict = if sent.accepted { "已接受" } else { "未接受" };
        let line = LogLine {
            at: sent.at.beijing_text(),
            title: format!("{gateway} → POST notify_url · {status} · {verdict} · {} ms", sent.took_ms),
            sent: with_headers(sent),
            answered: sent.reply.clone(),
            good: sent.accepted,
        };
        (sent.at, line)
    });
    let mut lines: Vec<(UnixMs, LogLine)> = calls.chain(callbacks).collect();
    lines.sort_by_key(|(at, _)| *at);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The headers that carry a signature, an empty line, the body.
fn with_headers(sent: &Sent) -> String {
    let headers: String = sent.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    if headers.is_empty() { sent.body.clone() } else { format!("{headers}\n{}", sent.body) }
}

async fn asset(file: web::Path<String>) -> HttpResponse {
    let (content_type, body) = match file.as_str() {
        "cashier.css" => ("text/css; charset=utf-8", include_str!("../../static/simulator/cashier.css")),
        "cashier.js" => ("text/javascript; charset=utf-8", include_str!("../../static/simulator/cashier.js")),
        "bridge.js" => ("text/javascript; charset=utf-8", include_str!("../../static/simulator/bridge.js")),
        _ => return not_found(),
    };
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("cross-origin-resource-policy", "cross-origin"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(body)
}

/// A page under the simulator's policy: nothing inline, nothing foreign, framed by the merchant only.
pub(super) fn html(simulator: &Simulator, status: StatusCode, body: String) -> HttpResponse {
    let merchant = &simulator.0.options.bridge_origin;
    // Browsers hold the redirect after a form to `form-action` too.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         form-action 'self' {merchant}; base-uri 'none'; frame-ancestors {merchant}"
    );
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}

pub(super) fn not_found() -> HttpResponse {
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("模拟器没有这笔交易或这个文件")
}

/// To the merchant's page when the browser came from one, whatever happened; else to the sheet, which says what.
fn sent_back(simulator: &Simulator, trade: &Trade, form: &SheetForm, result: &str) -> HttpResponse {
    let page = match trade.protocol {
        // Alipay goes where the order said, and not after a failure.
        Protocol::Alipay if result == "fail" => None,
        Protocol::Alipay => alipay::notify::return_to(simulator, trade),
        Protocol::WechatV2 | Protocol::WechatV3 => simulator.merchants_own(&form.redirect_url),
    };
    match page {
        Some(address) => see_other(address),
        None => returned(&form.prepay_id, result),
    }
}

fn returned(prepay_id: &str, result: &str) -> HttpResponse {
    see_other(format!("/cashier?prepay_id={prepay_id}&result={result}"))
}

pub(super) fn see_other(location: String) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

#[cfg(test)]
mod tests;
