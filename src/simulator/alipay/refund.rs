//! alipay.trade.refund and alipay.trade.fastpay.refund.query as Alipay answers them.
//!
//! Source: the pages of both methods. A refund number belongs to its trade at Alipay; here it is one of a kind.

use super::{Asked, Verdict, notify, rules, trade};
use crate::{
    clock::NoEntropy,
    domain::{money::Fen, time::UnixMs},
    gateway::Protocol,
    simulator::{
        Scenario, Simulator, deliver, refund_notify,
        refunds::{self, NotTaken, Refund, RefundStatus, Taken, Wanted},
        trades::{Book, Trade},
    },
};

/// The answer to a request for a refund; one that is new gets its notice.
pub(super) fn take_on(simulator: &Simulator, asked: &Asked<'_>) -> Result<Verdict, NoEntropy> {
    let now = simulator.now();
    let refund_id = refund_notify::refund_id(&simulator.0.clock)?;
    let mut book = simulator.book();
    let number = super::trade_of(&book, asked);
    let scenario = book.scenario(&number);
    let Some(trade) = trade::known(&mut book, &number, now) else { return Ok(trade::not_exist()) };
    if trade::status(&book, &trade, scenario, now) == "TRADE_FINISHED" {
        return Ok(Verdict::business("ACQ.TRADE_HAS_FINISHED", "交易已完结"));
    }
    let amount = rules::yuan(asked.get("refund_amount"));
    let request_no = match asked.biz.get("out_request_no") {
        Some(request_no) => request_no.to_owned(),
        None if amount == trade.total_fee => trade.out_trade_no.clone(),
        None => {
            return Ok(Verdict::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "部分退款必须传 out_request_no"));
        }
    };
    if amount > trade.total_fee {
        return Ok(Verdict::business("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"));
    }
    let times = book.refunds.count_asked(&request_no);
    let known = book.refunds.by_number(&request_no).is_some();
    if !known && scenario.lacks_funds(times) {
        return Ok(Verdict::business("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足"));
    }
    let wanted = wanted(simulator, &trade, (request_no, refund_id, amount), scenario, now);
    Ok(match refunds::take_on(&mut book, wanted, now) {
        Err(refused) => not_taken(refused),
        Ok(Taken::Again(refund)) => Verdict::Done(accepted(&book, &trade, &refund, false, now)),
        Ok(Taken::New(refund)) => {
            let callback = deliver::about_refund(simulator, &mut book, &refund, "");
            book.schedule(callback.filter(|_| scenario.notifies_refunds()).into_iter().collect());
            if scenario.loses_refund_reply() {
                return Ok(Verdict::business("ACQ.SYSTEM_ERROR", "系统错误"));
            }
            let moved = refund.status(now) == RefundStatus::Success;
            Verdict::Done(accepted(&book, &trade, &refund, moved, now))
        }
    })
}

fn wanted(
    simulator: &Simulator,
    trade: &Trade,
    (out_refund_no, refund_id, refund_fee): (String, String, Fen),
    scenario: Scenario,
    now: UnixMs,
) -> Wanted {
    // Alipay moves the money while it answers, unless the scenario keeps everybody waiting.
    let secs = if scenario == Scenario::RefundProcessing { scenario.refund_course().0 } else { 0 };
    Wanted {
        protocol: Protocol::Alipay,
        out_refund_no,
        refund_id,
        out_trade_no: trade.out_trade_no.clone(),
        refund_fee,
        total_fee: trade.total_fee,
        notify_url: Some(trade.notify_url.clone()).filter(|url| !url.is_empty()),
        account: None,
        elsewhere: false,
        ends_at: refunds::ends_at(simulator, secs, now),
        end: RefundStatus::Success,
    }
}

fn not_taken(refused: NotTaken) -> Verdict {
    match refused {
        NotTaken::Unpaid => Verdict::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"),
        NotTaken::Mismatch => Verdict::business("ACQ.DISCORDANT_REPEAT_REQUEST", "同一笔退款请求参数不一致"),
        NotTaken::TooOld => Verdict::business("ACQ.TRADE_HAS_FINISHED", "交易已完结"),
        NotTaken::TooMuch => Verdict::business("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"),
        NotTaken::TooMany | NotTaken::TooSoon => {
            Verdict::business("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款")
        }
    }
}

/// `fund_change` is whether this very call moved money, and `refund_fee` the sum of the trade's refunds so far, this one
/// included.
fn accepted(book: &Book, trade: &Trade, refund: &Refund, moved: bool, now: UnixMs) -> super::Node {
    let refunded = Fen::new(book.refunds.reserved_fen(&trade.out_trade_no, now)).unwrap_or_default();
    vec![
        ("trade_no", trade.transaction_id.as_str().into()),
        ("out_trade_no", trade.out_trade_no.as_str().into()),
        ("buyer_logon_id", notify::BUYER_LOGON_ID.into()),
        ("buyer_user_id", notify::BUYER_ID.into()),
        ("fund_change", if moved { "Y" } else { "N" }.into()),
        ("refund_fee", refunded.yuan().into()),
        ("gmt_refund_pay", refund.ends_at.beijing_text().into()),
    ]
}

/// Code 10000 says that the question was understood: only `refund_status` says that money moved, and a refund nobody
/// asked for gets a reply without a word on it.
pub(super) fn query(simulator: &Simulator, asked: &Asked<'_>) -> Verdict {
    let now = simulator.now();
    let mut book = simulator.book();
    let number = super::trade_of(&book, asked);
    let Some(trade) = trade::known(&mut book, &number, now) else { return trade::not_exist() };
    let refund = book.refunds.by_number(asked.get("out_request_no"));
    let Some(refund) = refund.filter(|refund| refund.out_trade_no == trade.out_trade_no) else {
        return Verdict::Done(Vec::new());
    };
    let mut node = vec![
        ("trade_no", trade.transaction_id.as_str().into()),
        ("out_trade_no", trade.out_trade_no.as_str().into()),
        ("out_request_no", refund.out_refund_no.as_str().into()),
    ];
    if refund.status(now) == RefundStatus::Success {
        node.extend([
            ("total_amount", refund.total_fee.yuan().into()),
            ("refund_amount", refund.refund_fee.yuan().into()),
            ("refund_status", "REFUND_SUCCESS".into()),
            ("gmt_refund_pay", refund.ends_at.beijing_text().into()),
        ]);
    }
    Verdict::Done(node)
}

#[cfg(test)]
mod tests;
