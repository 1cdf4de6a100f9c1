//! refund and refundquery as WeChat answers them.
//!
//! Source: page 4011984092 and the query's beside it.

use super::{Asked, Verdict};
use crate::{
    clock::NoEntropy,
    domain::{money::Fen, time::UnixMs},
    gateway::{Protocol, wechat_v2::xml::Fields},
    simulator::{
        Simulator, deliver, notify, refund_notify,
        refunds::{self, NotTaken, Refund, RefundStatus, Taken, Wanted},
        trades::{Book, Trade},
    },
};

/// Rows of one reply about an order.
const ROWS: usize = 20;

/// The out_trade_no a call is about, by the most particular number it gives.
pub fn trade_of(book: &Book, asked: &Asked) -> String {
    let refund = book.refunds.by_refund_id(asked.get("refund_id"));
    let refund = refund.or_else(|| book.refunds.by_number(asked.get("out_refund_no")));
    let number = refund.map(|refund| refund.out_trade_no.clone());
    number
        .or_else(|| book.number_of_transaction_id(asked.get("transaction_id")))
        .unwrap_or_else(|| asked.get("out_trade_no").to_owned())
}

/// The answer to a request for a refund; one that is new gets its callback.
pub fn take_on(simulator: &Simulator, asked: &Asked) -> Result<Verdict, NoEntropy> {
    let now = simulator.now();
    let refund_id = refund_notify::refund_id(&simulator.0.clock)?;
    let nonce = simulator.0.clock.nonce()?;
    let mut book = simulator.book();
    let number = match (asked.fields.get("transaction_id"), asked.fields.get("out_trade_no")) {
        (Some(transaction_id), _) => match book.number_of_transaction_id(transaction_id) {
            Some(number) => number,
            None => return Ok(Verdict::fail("INVALID_TRANSACTIONID", "无效transaction_id")),
        },
        (None, Some(number)) => number.to_owned(),
        (None, None) => {
            return Ok(Verdict::fail("LACK_PARAMS", "缺少参数 transaction_id 或 out_trade_no"));
        }
    };
    let scenario = book.scenario(&number);
    let times = book.refunds.count_asked(asked.get("out_refund_no"));
    let known = book.refunds.by_number(asked.get("out_refund_no")).is_some();
    if !known && scenario.lacks_funds(times) {
        return Ok(Verdict::fail("NOTENOUGH", "基本账户余额不足，请充值后重新发起"));
    }
    let (secs, end) = scenario.refund_course();
    let wanted = wanted(asked, number, refund_id, refunds::ends_at(simulator, secs, now), end);
    let refund = match refunds::take_on(&mut book, wanted, now) {
        Err(refused) => return Ok(not_taken(refused)),
        Ok(Taken::Again(refund)) => refund,
        Ok(Taken::New(refund)) => {
            let callback = deliver::about_refund(simulator, &mut book, &refund, &nonce);
            book.schedule(callback.filter(|_| scenario.notifies_refunds()).into_iter().collect());
            if scenario.loses_refund_reply() {
                return Ok(Verdict::fail("SYSTEMERROR", "接口返回错误"));
            }
            refund
        }
    };
    Ok(Verdict::Done(accepted(&refund)))
}

fn wanted(
    asked: &Asked,
    out_trade_no: String,
    refund_id: String,
    ends_at: UnixMs,
    end: RefundStatus,
) -> Wanted {
    let amount = |name| Fen::parse_fen(asked.get(name)).unwrap_or_default();
    let text = |name| asked.fields.get(name).map(str::to_owned);
    Wanted {
        protocol: Protocol::WechatV2,
        out_refund_no: asked.get("out_refund_no").to_owned(),
        refund_id,
        out_trade_no,
        refund_fee: amount("refund_fee"),
        total_fee: amount("total_fee"),
        notify_url: text("notify_url"),
        account: text("refund_account"),
        elsewhere: false,
        ends_at,
        end,
    }
}

fn not_taken(refused: NotTaken) -> Verdict {
    match refused {
        NotTaken::Unpaid => Verdict::fail("ORDERNOTEXIST", "订单不存在或未支付"),
        NotTaken::Mismatch => {
            Verdict::fail("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")
        }
        NotTaken::TooOld => Verdict::fail("TRADE_OVERDUE", "订单已经超过可退款的最大期限"),
        NotTaken::TooMany => Verdict::fail("INVALID_REQUEST", "部分退款次数超过 50 次"),
        NotTaken::TooMuch => Verdict::fail("INVALID_REQUEST", "累计退款金额大于支付金额"),
        NotTaken::TooSoon => Verdict::fail("FREQUENCY_LIMITED", "同一订单的两笔退款应相隔 1 分钟以上"),
    }
}

/// Taken on, which is not yet refunded.
fn accepted(refund: &Refund) -> Fields {
    let mut fields = refund_notify::facts(refund);
    let amounts = [
        ("cash_fee", refund.total_fee.get().saturating_sub(refund.trade_coupon.get())),
        ("cash_refund_fee", refund.refund_fee.get().saturating_sub(refund.coupon.get())),
        ("coupon_refund_fee", refund.coupon.get()),
    ];
    for (name, fen) in amounts {
        fields.set(name, &fen.to_string());
    }
    fields.set("fee_type", "CNY");
    fields.set("coupon_refund_count", if refund.coupon > Fen::ZERO { "1" } else { "0" });
    if refund.coupon > Fen::ZERO {
        fields.set("coupon_type_0", "NO_CASH");
        fields.set("coupon_refund_id_0", "10000");
        fields.set("coupon_refund_fee_0", &refund.coupon.get().to_string());
    }
    fields
}

/// One refund by its own numbers, or up to 20 of an order from `offset` on.
pub fn query(simulator: &Simulator, asked: &Asked) -> Verdict {
    const NUMBERS: [&str; 4] = ["refund_id", "out_refund_no", "transaction_id", "out_trade_no"];
    let Some(name) = NUMBERS.into_iter().find(|name| asked.fields.get(name).is_some()) else {
        return Verdict::fail(
            "LACK_PARAMS",
            "缺少参数 refund_id、out_refund_no、transaction_id 或 out_trade_no",
        );
    };
    let now = simulator.now();
    let mut book = simulator.book();
    let value = asked.get(name);
    let number = trade_of(&book, asked);
    let found: Vec<Refund> = match name {
        "refund_id" => book.refunds.by_refund_id(value).into_iter().cloned().collect(),
        "out_refund_no" => book.refunds.by_number(value).into_iter().cloned().collect(),
        _ => book.refunds.of_trade(&number).into_iter().cloned().collect(),
    };
    let offset = asked.get("offset").parse::<usize>().unwrap_or_default();
    let rows: Vec<&Refund> = found.iter().skip(offset).take(ROWS).collect();
    match book.trade(&number, now) {
        Some(trade) if !rows.is_empty() => Verdict::Done(told(trade, &rows, found.len(), now)),
        _ => Verdict::fail("REFUNDNOTEXIST", "退款订单查询失败"),
    }
}

fn told(trade: &Trade, rows: &[&Refund], total: usize, now: UnixMs) -> Fields {
    let payment = notify::payment_fields(trade);
    let settled = trade.total_fee.get().saturating_sub(trade.coupon.map_or(0, Fen::get));
    let mut fields: Fields = ["transaction_id", "out_trade_no", "total_fee", "fee_type", "cash_fee"]
        .into_iter()
        .filter_map(|name| Some((name, payment.get(name)?)))
        .collect();
    fields.set("settlement_total_fee", &settled.to_string());
    fields.set("refund_count", &rows.len().to_string());
    fields.set("total_refund_count", &total.to_string());
    for (n, refund) in rows.iter().enumerate() {
        tell(&mut fields, n, refund, now);
    }
    fields
}

/// One numbered group. `refund_recv_accout` is spelt so by the protocol.
fn tell(fields: &mut Fields, n: usize, refund: &Refund, now: UnixMs) {
    let status = refund.status(now);
    let facts = refund_notify::facts(refund);
    for name in ["out_refund_no", "refund_id", "refund_fee", "settlement_refund_fee"] {
        fields.set(&format!("{name}_{n}"), facts.get(name).unwrap_or_default());
    }
    for (name, value) in [
        ("refund_channel", "ORIGINAL"),
        ("refund_status", status.as_str()),
        ("refund_account", refund_notify::account_of(refund)),
        ("refund_recv_accout", refund_notify::RECEIVED_BY),
    ] {
        fields.set(&format!("{name}_{n}"), value);
    }
    if refund.coupon > Fen::ZERO {
        let coupon = refund.coupon.get().to_string();
        fields.set(&format!("coupon_refund_fee_{n}"), &coupon);
        fields.set(&format!("coupon_refund_count_{n}"), "1");
        fields.set(&format!("coupon_type_{n}_0"), "NO_CASH");
        fields.set(&format!("coupon_refund_id_{n}_0"), "10000");
        fields.set(&format!("coupon_refund_fee_{n}_0"), &coupon);
    }
    if status == RefundStatus::Success {
        fields.set(&format!("refund_success_time_{n}"), &refund.ends_at.beijing_text());
    }
}

#[cfg(test)]
mod tests;
