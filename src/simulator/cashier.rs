//! What people see of the simulator: the pay sheet with its mischief panel and the list of trades.

use super::{
    RefundStatus, Scenario, Simulator, SimulatorError, TradeState, alipay, deliver,
    refunds::Refund,
    trades::{Sent, Trade},
};
use crate::{
    domain::{money, order::Provider, time::UnixMs},
    gateway::Protocol,
};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use serde::Deserialize;

const LISTED: usize = 200;

type Handled = Result<HttpResponse, SimulatorError>;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(index))
        .route("/scenario", web::post().to(set_default_scenario))
        .route("/cashier", web::get().to(sheet))
        .route("/cashier/pay", web::post().to(pay))
        .route("/cashier/cancel", web::post().to(cancel))
        .route("/cashier/resend", web::post().to(resend))
        .route("/cashier/scenario", web::post().to(set_scenario))
        .route("/refunds/resolve", web::post().to(resolve_refund))
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

#[derive(Template)]
#[template(path = "simulator/index.html")]
struct IndexPage {
    trades: Vec<Row>,
    refunds: Vec<RefundLine>,
    paid_total: String,
    refunded_total: String,
    scenarios: Vec<Choice>,
}

struct Choice {
    name: &'static str,
    title: &'static str,
    explanation: &'static str,
    chosen: bool,
}

struct LogLine {
    at: String,
    title: String,
    sent: String,
    answered: String,
    good: bool,
}

struct Row {
    created_at: String,
    out_trade_no: String,
    prepay_id: String,
    trade_type: String,
    amount: String,
    state: &'static str,
    scenario: &'static str,
    callbacks: usize,
    accepted: bool,
}

struct RefundLine {
    started_at: String,
    out_refund_no: String,
    prepay_id: String,
    amount: String,
    status: &'static str,
    /// Not ended well, and not beyond help.
    resolvable: bool,
    callbacks: usize,
    accepted: bool,
}

#[derive(Deserialize)]
struct SheetQuery {
    #[serde(default)]
    prepay_id: String,
    #[serde(default)]
    result: String,
}

#[derive(Deserialize)]
struct SheetForm {
    #[serde(default)]
    prepay_id: String,
    #[serde(default)]
    scenario: String,
}

#[derive(Deserialize)]
struct RefundForm {
    #[serde(default)]
    out_refund_no: String,
}

async fn index(simulator: web::Data<Simulator>) -> Handled {
    let now = simulator.now();
    let page = {
        let mut book = simulator.book();
        let trades = book.newest(now, LISTED);
        let chosen = book.default_scenario();
        let paid_total = money::yuan_text(book.paid_total_fen());
        let refunded_total = money::yuan_text(book.refunds.total_fen(now));
        let refunds: Vec<Refund> = book.refunds.all().into_iter().rev().take(LISTED).cloned().collect();
        let refunds = refunds
            .iter()
            .filter_map(|refund| Some(refund_line(refund, book.trade(&refund.out_trade_no, now)?, now)))
            .collect();
        let trades = trades.iter().map(|trade| row(trade, book.scenario(&trade.out_trade_no))).collect();
        IndexPage { trades, refunds, paid_total, refunded_total, scenarios: choices(chosen, |_| true) }
    };
    Ok(html(&simulator, StatusCode::OK, page.render()?))
}

async fn set_default_scenario(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_default_scenario(scenario);
    }
    Ok(see_other("/".to_owned()))
}

/// What later refunds of a trade meet.
async fn set_scenario(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_scenario(&trade.out_trade_no, scenario);
    }
    Ok(returned(&trade.prepay_id, ""))
}

/// A refund that was ended meanwhile stays as it is, and an unknown one is nobody's.
async fn resolve_refund(simulator: web::Data<Simulator>, form: web::Form<RefundForm>) -> Handled {
    match simulator.resolve_refund(&form.out_refund_no) {
        Ok(()) => simulator.deliver_due().await,
        Err(SimulatorError::UnknownRefund(_)) => return Ok(not_found()),
        Err(SimulatorError::RefundEnded(..)) => 0,
        Err(error) => return Err(error),
    };
    Ok(see_other("/#refunds".to_owned()))
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
    Ok(left(&simulator, &trade, result))
}

async fn cancel(simulator: web::Data<Simulator>, form: web::Form<SheetForm>) -> Handled {
    let Some((trade, _)) = find(&simulator, &form.prepay_id) else { return Ok(not_found()) };
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_scenario(&trade.out_trade_no, scenario);
    }
    Ok(left(&simulator, &trade, "cancel"))
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

fn choices(chosen: Scenario, offered: impl Fn(&Scenario) -> bool) -> Vec<Choice> {
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

fn row(trade: &Trade, scenario: Scenario) -> Row {
    Row {
        created_at: trade.created_at.beijing_text(),
        out_trade_no: trade.out_trade_no.clone(),
        prepay_id: trade.prepay_id.clone(),
        trade_type: trade.trade_type.clone(),
        amount: trade.total_fee.yuan(),
        state: trade.state.desc_zh(),
        scenario: scenario.title_zh(),
        callbacks: trade.callbacks.len(),
        accepted: trade.callbacks.iter().any(|sent| sent.accepted),
    }
}

fn refund_line(refund: &Refund, trade: &Trade, now: UnixMs) -> RefundLine {
    let status = refund.status(now);
    RefundLine {
        started_at: refund.started_at.beijing_text(),
        out_refund_no: refund.out_refund_no.clone(),
        prepay_id: trade.prepay_id.clone(),
        amount: refund.refund_fee.yuan(),
        status: status.desc_zh(),
        resolvable: matches!(status, RefundStatus::Processing | RefundStatus::Change),
        callbacks: refund.callbacks.len(),
        accepted: refund.callbacks.iter().any(|sent| sent.accepted),
    }
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
fn html(simulator: &Simulator, status: StatusCode, body: String) -> HttpResponse {
    let merchant = &simulator.0.options.bridge_origin;
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

fn not_found() -> HttpResponse {
    HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("模拟器没有这笔交易或这个文件")
}

/// Where the browser goes from the sheet: back to the merchant's page when the order named one.
fn left(simulator: &Simulator, trade: &Trade, result: &str) -> HttpResponse {
    let to = match trade.protocol {
        Protocol::Alipay if result != "fail" => alipay::notify::return_to(simulator, trade),
        _ => None,
    };
    to.map_or_else(|| returned(&trade.prepay_id, result), see_other)
}

fn returned(prepay_id: &str, result: &str) -> HttpResponse {
    see_other(format!("/cashier?prepay_id={prepay_id}&result={result}"))
}

fn see_other(location: String) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use actix_web::{App, dev::ServiceResponse, test};

    async fn send(simulator: &Simulator, request: test::TestRequest) -> ServiceResponse {
        let app = test::init_service(App::new().configure(super::super::routes(simulator))).await;
        test::call_service(&app, request.to_request()).await
    }

    async fn press(simulator: &Simulator, button: &str, prepay_id: &str, scenario: &str) -> String {
        let form = [("prepay_id", prepay_id), ("scenario", scenario)];
        let request = test::TestRequest::post().uri(&format!("/cashier/{button}")).set_form(form);
        let answer = send(simulator, request).await;
        assert_eq!(answer.status(), 303);
        let location = answer.headers().get(header::LOCATION).unwrap().to_str().unwrap();
        location.split_once("&result=").unwrap().1.to_owned()
    }

    async fn page(simulator: &Simulator, uri: &str) -> String {
        let answer = send(simulator, test::TestRequest::get().uri(uri)).await;
        let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.ends_with("frame-ancestors http://shop.test"), "{policy}");
        String::from_utf8(test::read_body(answer).await.to_vec()).unwrap()
    }

    #[actix_web::test]
    async fn the_sheet_shows_the_order_and_says_it_is_a_simulation() {
        let (simulator, _) = simulator();
        let prepay_id = prepay(&simulator).await;
        let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}")).await;
        for text in
            ["9.90", "账户充值", "确认支付", "模拟环境 SIMULATOR", "不涉及真实资金", "POST /pay/unifiedorder"]
        {
            assert!(sheet.contains(text), "{text}");
        }
        assert!(!sheet.contains("style=") && !sheet.contains("onclick") && !sheet.contains("<script>"));
        let list = page(&simulator, "/").await;
        assert!(list.contains(NUMBER) && list.contains("notify-x20-parallel"));
        let answer = send(&simulator, test::TestRequest::get().uri("/cashier?prepay_id=none")).await;
        assert_eq!(answer.status(), 404);
    }

    #[actix_web::test]
    async fn the_page_hears_what_the_scenario_says_whatever_the_truth_is() {
        for (button, scenario, heard, paid) in [
            ("pay", "ok", "ok", true),
            ("pay", "cancel-after-paid", "cancel", true),
            ("pay", "notify-before-return", "ok", true),
            ("cancel", "ok", "cancel", false),
        ] {
            let (simulator, _) = simulator();
            let prepay_id = prepay(&simulator).await;
            assert_eq!(press(&simulator, button, &prepay_id, scenario).await, heard, "{scenario}");
            let trade = simulator.trade(NUMBER).unwrap();
            assert_eq!(trade.transaction_id.is_some(), paid, "{scenario}");
            let tried = usize::from(scenario == "notify-before-return");
            assert_eq!(trade.callbacks.len(), tried, "{scenario}");
        }
    }

    #[actix_web::test]
    async fn a_trade_is_paid_once_and_without_script_the_page_says_so() {
        let (simulator, _) = simulator();
        let prepay_id = prepay(&simulator).await;
        assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "ok");
        assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "fail");
        let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}&result=ok")).await;
        assert!(sheet.contains("已支付，请返回商户页面") && sheet.contains("data-result=\"ok\""));
        assert!(!sheet.contains("确认支付"));
        assert_eq!(simulator.paid_total_fen(), 990);
        press(&simulator, "resend", &prepay_id, "").await;
        assert_eq!(simulator.trade(NUMBER).unwrap().callbacks.len(), 2);
    }

    #[actix_web::test]
    async fn a_closed_trade_is_paid_only_by_a_late_payer() {
        let (simulator, clock) = simulator();
        let prepay_id = prepay(&simulator).await;
        clock.advance_ms(900_000);
        assert_eq!(press(&simulator, "pay", &prepay_id, "ok").await, "fail");
        assert_eq!(press(&simulator, "pay", &prepay_id, "late-payment").await, "ok");
        assert_eq!(simulator.trade(NUMBER).unwrap().state, TradeState::Success);
    }

    #[actix_web::test]
    async fn the_default_scenario_is_set_on_the_list_page() {
        let (simulator, _) = simulator();
        let request = test::TestRequest::post().uri("/scenario").set_form([("scenario", "notify-lost")]);
        assert_eq!(send(&simulator, request).await.status(), 303);
        prepay(&simulator).await;
        assert_eq!(simulator.trade(NUMBER).unwrap().scenario, Scenario::NotifyLost);
    }

    #[actix_web::test]
    async fn a_person_sees_refunds_and_resolves_one_the_bank_cannot_take() {
        let (simulator, clock) = simulator();
        let prepay_id = paid(&simulator).await;
        assert!(!page(&simulator, "/").await.contains("商户退款单号"));
        press(&simulator, "scenario", &prepay_id, "refund-abnormal").await;
        call(&simulator, "/secapi/pay/refund", refund_of(&simulator, "r-1", 400)).await;
        assert!(page(&simulator, "/").await.contains("退款处理中"));
        clock.advance_ms(20_000);
        let list = page(&simulator, "/").await;
        assert!(list.contains("退款异常") && list.contains("¥0.00"), "{list}");
        let resolve = |number: &'static str| {
            test::TestRequest::post().uri("/refunds/resolve").set_form([("out_refund_no", number)])
        };
        assert_eq!(send(&simulator, resolve("r-2")).await.status(), 404);
        for _ in 0..2 {
            assert_eq!(send(&simulator, resolve("r-1")).await.status(), 303);
        }
        let list = page(&simulator, "/").await;
        assert!(list.contains("退款成功") && list.contains("¥4.00") && !list.contains("退款到账"), "{list}");
        assert_eq!(simulator.refunds()[0].callbacks.len(), 1, "the callback about CHANGE gave way to one");
        let sheet = page(&simulator, &format!("/cashier?prepay_id={prepay_id}")).await;
        assert!(sheet.contains("POST /secapi/pay/refund") && !sheet.contains("late-payment"), "{sheet}");
    }
}
