//! Orders at Alipay: placed by a call or by the browser that comes, scanned, asked about, closed.
//!
//! Source: the pages of alipay.trade.precreate, page.pay, wap.pay, query and close.

use super::{Asked, Failure, Method, Node, Verdict, notify, notify::Event, rules};
use crate::{
    clock::{Clock, NoEntropy},
    domain::time::UnixMs,
    gateway::{
        Protocol,
        wechat_v2::{sign::SignType, xml::Fields},
    },
    simulator::{
        Scenario, Simulator, SimulatorError, TradeState,
        trades::{Book, Closing, NotPlaced, PREPAY_MS, Placed, Trade},
    },
};
use serde_json::json;

/// The verdict, and whether the reply is to be held back.
pub(super) fn place(simulator: &Simulator, asked: &Asked<'_>) -> Result<(Verdict, bool), NoEntropy> {
    let number = asked.get("out_trade_no");
    let now = simulator.now();
    let placed = placed(simulator, asked)?;
    let fresh = placed.prepay_id.clone();
    let mut book = simulator.book();
    let scenario = book.scenario(number);
    let times = book.count_asked(number);
    if scenario.spoils_unified_order(times) {
        let failure = Failure::new("20000", "isp.unknow-error", "系统繁忙");
        return Ok((Verdict::Fail(failure), false));
    }
    let verdict = match book.place(placed, now) {
        Ok(prepay_id) if asked.method == Method::Precreate => {
            Verdict::Done(vec![("out_trade_no", number.into()), ("qr_code", qr_code(&prepay_id).into())])
        }
        Ok(prepay_id) => {
            if prepay_id == fresh {
                announce(simulator, &mut book, number, now);
            }
            Verdict::Cashier(prepay_id)
        }
        Err(NotPlaced::Paid) => Verdict::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
        Err(NotPlaced::Closed) => Verdict::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭"),
        Err(NotPlaced::Used) => Verdict::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
        Err(NotPlaced::ExpiresTooSoon) => {
            Verdict::business("ACQ.INVALID_PARAMETER", "参数有误，time_expire 应至少晚于现在 1 分钟")
        }
    };
    Ok((verdict, scenario.holds_reply(times)))
}

fn placed(simulator: &Simulator, asked: &Asked<'_>) -> Result<Placed, NoEntropy> {
    let clock = &simulator.0.clock;
    let now = clock.now();
    let mut parameters = asked.biz.clone();
    for name in ["notify_url", "return_url"] {
        if let Some(value) = asked.public.get(name) {
            parameters.set(name, value);
        }
    }
    let unscanned = asked.method == Method::Precreate;
    let code: String = clock.nonce()?.chars().take(21).collect();
    let prepay_id = format!("ali{code}");
    let absolute = asked.biz.get("time_expire").and_then(rules::parse_time);
    Ok(Placed {
        protocol: Protocol::Alipay,
        out_trade_no: asked.get("out_trade_no").to_owned(),
        merchant: asked.app.seller_id.clone(),
        appid: asked.app.app_id.clone(),
        trade_type: asked.method.name().to_owned(),
        goods: asked.get("subject").to_owned(),
        notify_url: parameters.get("notify_url").unwrap_or_default().to_owned(),
        payer: None,
        total_fee: rules::yuan(asked.get("total_amount")),
        sign_type: SignType::HmacSha256,
        // Counted from the scan for what is not scanned yet.
        expires_at: absolute.or_else(|| timeout(&asked.biz, now).filter(|_| !unscanned)),
        code_url: unscanned.then(|| qr_code(&prepay_id)),
        prepay_id,
        transaction_id: trade_no(clock)?,
        parameters,
    })
}

fn timeout(parameters: &Fields, from: UnixMs) -> Option<UnixMs> {
    let minutes = rules::parse_minutes(parameters.get("timeout_express")?)?;
    Some(from.plus_secs(minutes.saturating_mul(60)))
}

/// 28 digits, as today's real ones have: the day, five of the channel, fifteen more.
fn trade_no(clock: &Clock) -> Result<String, NoEntropy> {
    let day: String = clock.now().beijing_compact().chars().take(8).collect();
    let tail = u64::from_be_bytes(clock.random()?).checked_rem(1_000_000_000_000_000).unwrap_or_default();
    Ok(format!("{day}22001{tail:015}"))
}

fn qr_code(prepay_id: &str) -> String {
    format!("https://qr.alipay.com/bax{}", prepay_id.trim_start_matches("ali"))
}

/// The payer scans the code of a precreated order: only now is there a trade at Alipay. A trade that was scanned before
/// stays as it is, and a code that is too old or past the order's time opens nothing, unless the payer is late on purpose.
///
/// # Errors
/// An unknown number; a code that is dead.
pub fn scan(simulator: &Simulator, book: &mut Book, number: &str, now: UnixMs) -> Result<(), SimulatorError> {
    let scenario = book.scenario(number);
    let trade = book.trade(number, now).ok_or_else(|| SimulatorError::UnknownTrade(number.to_owned()))?;
    if !trade.unscanned {
        return Ok(());
    }
    let alive = trade.state == TradeState::NotPay && now.since(trade.prepaid_at) < PREPAY_MS;
    if !alive && !scenario.pays_closed_trades() {
        return Err(SimulatorError::NotPayable(number.to_owned(), "TRADE_NOT_EXIST"));
    }
    trade.unscanned = false;
    trade.created_at = now;
    trade.expires_at = trade.expires_at.or_else(|| timeout(&trade.parameters, now));
    announce(simulator, book, number, now);
    Ok(())
}

/// The notice that somebody is about to pay, for those who ordered such notices.
fn announce(simulator: &Simulator, book: &mut Book, number: &str, now: UnixMs) {
    if !book.scenario(number).notifies_every_status() {
        return;
    }
    let callback = book.trade(number, now).and_then(|trade| {
        let event = if trade.state == TradeState::Closed { Event::Closed } else { Event::Waiting };
        notify::callback(simulator, trade, &event, now)
    });
    book.schedule(callback.into_iter().collect());
}

pub(super) fn query(simulator: &Simulator, asked: &Asked<'_>) -> Verdict {
    let now = simulator.now();
    let mut book = simulator.book();
    let number = super::trade_of(&book, asked);
    let scenario = book.scenario(&number);
    let Some(trade) = known(&mut book, &number, now) else { return not_exist() };
    Verdict::Done(told(&trade, status(&book, &trade, scenario, now)))
}

pub(super) fn close(simulator: &Simulator, asked: &Asked<'_>) -> Result<Verdict, NoEntropy> {
    let now = simulator.now();
    let mut book = simulator.book();
    let number = super::trade_of(&book, asked);
    let Some(trade) = known(&mut book, &number, now) else { return Ok(not_exist()) };
    Ok(match book.close(&number, now) {
        Closing::Done => {
            announce(simulator, &mut book, &number, now);
            Verdict::Done(vec![
                ("trade_no", trade.transaction_id.into()),
                ("out_trade_no", trade.out_trade_no.into()),
            ])
        }
        Closing::Paid => Verdict::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
        Closing::Already => {
            Verdict::business("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常，非待支付状态下不支持关单操作")
        }
        Closing::Unknown => not_exist(),
    })
}

/// The trade of that number, if it is one of Alipay's and exists there: what nobody has scanned does not.
pub fn known(book: &mut Book, number: &str, now: UnixMs) -> Option<Trade> {
    let trade = book.trade(number, now)?;
    (trade.protocol == Protocol::Alipay && !trade.unscanned).then(|| trade.clone())
}

pub(super) fn not_exist() -> Verdict {
    Verdict::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
}

/// Alipay's `trade_status`: a trade refunded whole is closed, and one past its refund window finished.
pub fn status(book: &Book, trade: &Trade, scenario: Scenario, now: UnixMs) -> &'static str {
    let Some(paid_at) = trade.paid_at else {
        return if trade.state == TradeState::Closed { "TRADE_CLOSED" } else { "WAIT_BUYER_PAY" };
    };
    let finished = scenario.finishes_after_secs().is_some_and(|secs| paid_at.plus_secs(secs) <= now);
    if book.refunds.refunded_fen(&trade.out_trade_no, now) >= trade.total_fee.get() {
        "TRADE_CLOSED"
    } else if finished {
        "TRADE_FINISHED"
    } else {
        "TRADE_SUCCESS"
    }
}

/// What a query says. Who paid and how much reached the merchant is there once it is paid.
fn told(trade: &Trade, status: &str) -> Node {
    let mut node: Node = vec![
        ("trade_no", trade.transaction_id.as_str().into()),
        ("out_trade_no", trade.out_trade_no.as_str().into()),
        ("trade_status", status.into()),
        ("total_amount", trade.total_fee.yuan().into()),
        ("buyer_logon_id", notify::BUYER_LOGON_ID.into()),
        ("buyer_user_id", notify::BUYER_ID.into()),
    ];
    let Some(paid_at) = trade.paid_at else {
        node.extend([("receipt_amount", "0.00".into()), ("buyer_pay_amount", "0.00".into())]);
        return node;
    };
    let money = notify::Money::of(trade);
    node.extend([
        ("send_pay_date", paid_at.beijing_text().into()),
        ("receipt_amount", money.receipt.into()),
        ("buyer_pay_amount", money.buyer_pay.clone().into()),
        ("invoice_amount", money.buyer_pay.clone().into()),
        ("point_amount", "0.00".into()),
        ("fund_bill_list", json!([{ "amount": money.buyer_pay, "fund_channel": "ALIPAYACCOUNT" }])),
    ]);
    node
}
