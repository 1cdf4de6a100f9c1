//! The simulator's first page: every trade and refund, and the mischief new trades get.

use super::{
    RefundStatus, Scenario, Simulator, SimulatorError,
    cashier::{Choice, Handled, choices, html, not_found, see_other},
    refunds::Refund,
    trades::Trade,
};
use crate::{
    domain::{money, time::UnixMs},
    gateway::Protocol,
};
use actix_web::{http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

const LISTED: usize = 200;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(index))
        .route("/scenario", web::post().to(set_default_scenario))
        .route("/refunds/resolve", web::post().to(resolve_refund));
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

struct Row {
    created_at: String,
    out_trade_no: String,
    prepay_id: String,
    amount: String,
    /// Protocol and way to pay.
    way: String,
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
struct ScenarioForm {
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

async fn set_default_scenario(simulator: web::Data<Simulator>, form: web::Form<ScenarioForm>) -> Handled {
    if let Some(scenario) = Scenario::parse(&form.scenario) {
        simulator.set_default_scenario(scenario);
    }
    Ok(see_other("/".to_owned()))
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

const fn protocol_zh(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::WechatV2 => "微信 V2",
        Protocol::WechatV3 => "微信 V3",
        Protocol::Alipay => "支付宝",
    }
}

fn row(trade: &Trade, scenario: Scenario) -> Row {
    Row {
        created_at: trade.created_at.beijing_text(),
        out_trade_no: trade.out_trade_no.clone(),
        prepay_id: trade.prepay_id.clone(),
        amount: trade.total_fee.yuan(),
        way: format!("{} {}", protocol_zh(trade.protocol), trade.trade_type),
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
