//! Refunds in V3: asking for one, and asking about it.

use super::{Fault, Verdict, put, rules, transactions::fen};
use crate::{
    clock::NoEntropy,
    domain::{order::Provider, time::UnixMs},
    gateway::{Protocol, wechat_v2::xml::Fields},
    simulator::{
        Asked, Simulator, deliver, refund_notify,
        refunds::{self, NotTaken, Refund, RefundStatus, Taken, Wanted},
        trades::Book,
    },
};
use serde_json::{Value, json};

type Done = Result<Verdict, Fault>;

/// # Errors
/// No random bytes.
pub fn take_on(simulator: &Simulator, asked: &Asked<'_>) -> Result<Done, NoEntropy> {
    let serial = asked.headers.only("wechatpay-serial");
    let asked = match rules::checked(asked.body, rules::REFUND, "") {
        Ok(asked) => asked,
        Err(fault) => return Ok(Err(fault)),
    };
    let refund_id = refund_notify::refund_id(&simulator.0.clock)?;
    let nonce = simulator.0.clock.nonce()?;
    Ok(taken(simulator, &asked, serial, refund_id, &nonce))
}

fn taken(
    simulator: &Simulator,
    asked: &Fields,
    serial: Option<&str>,
    refund_id: String,
    nonce: &str,
) -> Done {
    let now = simulator.now();
    let out_refund_no = asked.get("out_refund_no").unwrap_or_default();
    let mut book = simulator.book();
    let number = number_of(&book, asked)?;
    let scenario = book.scenario(&number);
    let times = book.refunds.count_asked(out_refund_no);
    let known = book.refunds.by_number(out_refund_no).is_some();
    if !known && scenario.lacks_funds(times) {
        return Err(Fault::new(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起"));
    }
    let (secs, end) = scenario.refund_course();
    let speed = i64::from(simulator.0.options.speed.max(1));
    let text = |name| asked.get(name).map(str::to_owned);
    let wanted = Wanted {
        protocol: Protocol::WechatV3,
        out_refund_no: out_refund_no.to_owned(),
        refund_id,
        out_trade_no: number,
        refund_fee: fen(asked, "amount.refund"),
        total_fee: fen(asked, "amount.total"),
        notify_url: text("notify_url"),
        account: text("funds_account"),
        elsewhere: false,
        ends_at: now.plus_ms(secs.saturating_mul(1000).checked_div(speed).unwrap_or_default()),
        end,
    };
    match refunds::take_on(&mut book, wanted, now).map_err(not_taken)? {
        Taken::Again(refund) => Ok(Verdict::done(told(&refund, now))),
        Taken::New(refund) => {
            // The payment may be one of V2, which has no such header.
            book.v3.remember(&refund.out_trade_no, serial);
            let callback = deliver::about_refund(simulator, &mut book, &refund, nonce);
            book.schedule(callback.filter(|_| scenario.notifies_refunds()).into_iter().collect());
            if scenario.loses_refund_reply() {
                return Err(Fault::new(500, "SYSTEM_ERROR", "接口返回错误"));
            }
            Ok(Verdict::done(told(&refund, now)))
        }
    }
}

/// WeChat's own number goes before the merchant's.
fn number_of(book: &Book, asked: &Fields) -> Result<String, Fault> {
    match (asked.get("transaction_id"), asked.get("out_trade_no")) {
        (Some(payment), _) => book.number_of_transaction_id(payment).ok_or_else(no_trade),
        (None, Some(number)) => Ok(number.to_owned()),
        (None, None) => Err(Fault::param("transaction_id", "与 out_trade_no 至少有一个")),
    }
}

fn no_trade() -> Fault {
    Fault::new(404, "RESOURCE_NOT_EXISTS", "订单不存在或未支付")
}

fn not_taken(refused: NotTaken) -> Fault {
    let invalid = |message| Fault::new(400, "INVALID_REQUEST", message);
    match refused {
        NotTaken::Unpaid => no_trade(),
        NotTaken::Mismatch => invalid("订单金额或退款金额与之前请求不一致，请核实后再试"),
        NotTaken::TooOld => invalid("订单已经超过可退款的最大期限"),
        NotTaken::TooMany => invalid("部分退款次数超过 50 次"),
        NotTaken::TooMuch => invalid("累计退款金额大于支付金额"),
        NotTaken::TooSoon => Fault::new(429, "FREQUENCY_LIMITED", "同一订单的两笔退款应相隔 1 分钟以上"),
    }
}

pub fn query(simulator: &Simulator, out_refund_no: &str) -> Done {
    let now = simulator.now();
    let mut book = simulator.book();
    let refund = book.refunds.by_number(out_refund_no).cloned();
    refund
        .filter(|refund| book.trade_with(Provider::Wechat, &refund.out_trade_no, now).is_some())
        .map(|refund| Verdict::done(told(&refund, now)))
        .ok_or_else(|| Fault::new(404, "RESOURCE_NOT_EXISTS", "退款单不存在"))
}

/// V3's word for where a refund stands.
pub const fn status_word(status: RefundStatus) -> &'static str {
    match status {
        RefundStatus::Processing => "PROCESSING",
        RefundStatus::Success => "SUCCESS",
        RefundStatus::Change => "ABNORMAL",
        RefundStatus::Closed => "CLOSED",
    }
}

/// The refund as request and query answer it.
fn told(refund: &Refund, now: UnixMs) -> Value {
    let status = refund.status(now);
    let mut amount = amounts(refund);
    let settled = [("settlement_refund", "payer_refund"), ("settlement_total", "payer_total")];
    for (name, same) in settled {
        let fen = amount.get(same).cloned().unwrap_or_default();
        put(&mut amount, name, fen);
    }
    put(&mut amount, "currency", "CNY");
    put(&mut amount, "from", json!([]));
    put(&mut amount, "discount_refund", refund.coupon.get());
    let mut body = json!({
        "amount": amount,
        "channel": "ORIGINAL",
        "create_time": rules::write_time(refund.started_at),
        "funds_account": refund.account.as_deref().unwrap_or("UNSETTLED"),
        "out_refund_no": refund.out_refund_no,
        "out_trade_no": refund.out_trade_no,
        "promotion_detail": [],
        "refund_id": refund.refund_id,
        "status": status_word(status),
        "transaction_id": refund.transaction_id,
        "user_received_account": refund_notify::RECEIVED_BY,
    });
    if status == RefundStatus::Success {
        put(&mut body, "success_time", rules::write_time(refund.ends_at));
    }
    body
}

/// What goes back in all, and what of it the payer had paid himself.
pub fn amounts(refund: &Refund) -> Value {
    let (total, amount) = (refund.total_fee.get(), refund.refund_fee.get());
    json!({
        "payer_refund": amount.saturating_sub(refund.coupon.get()),
        "payer_total": total.saturating_sub(refund.trade_coupon.get()),
        "refund": amount,
        "total": total,
    })
}
