//! alipay.trade.query: asks what became of an order. `trade_status` alone decides.
//!
//! A reply names neither app nor seller. Who it is for is proven by the question, which names our app, and by the
//! signature, since Alipay has a key for each app; which order it is about, by `out_trade_no`.

use super::{
    Account, payment,
    raw_json::Object,
    reply::{self, Reply},
    sub_code::Meaning,
};
use crate::{
    domain::{
        ids::{OutTradeNo, TransactionId},
        money::Fen,
    },
    gateway::{RefundedPayment, Request, Response, Stamp, Trade, Untrusted, VerifiedPayment, words::word},
};
use serde_json::{Value, json};

const METHOD: &str = "alipay.trade.query";
/// What a reply says of a trade that money has gone back from.
const OF_REFUNDS: [&str; 5] =
    ["refund_fee", "refund_amount", "gmt_refund", "gmt_refund_pay", "refund_detail_item_list"];
/// What a reply says of a trade that was once paid.
const OF_PAYMENT: [&str; 4] = ["send_pay_date", "receipt_amount", "buyer_pay_amount", "fund_bill_list"];

pub fn request(account: &Account, out_trade_no: &OutTradeNo, stamp: &Stamp) -> Request {
    ask(account, &json!({ "out_trade_no": out_trade_no.as_str() }), stamp)
}

/// By Alipay's own number, which the query prefers: also for orders we do not know.
pub fn request_by_payment(account: &Account, payment: &TransactionId, stamp: &Stamp) -> Request {
    ask(account, &json!({ "trade_no": payment.as_str() }), stamp)
}

fn ask(account: &Account, content: &Value, stamp: &Stamp) -> Request {
    super::call(account, METHOD, super::parameters(account, METHOD, content, stamp))
}

/// A status this program has never heard of is `Pending`: not paid, not failed.
///
/// # Errors
/// A reply that may not be used; one about another order; a paid one without trade_no or total_amount.
pub fn read(account: &Account, answer: &Response, asked: &OutTradeNo) -> Result<Trade, Untrusted> {
    let fields = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => fields,
        Reply::Failed(failure) => {
            return Ok(match failure.meaning() {
                Meaning::NotFound => Trade::NotFound,
                _ => Trade::Pending { state: failure.word() },
            });
        }
    };
    reply::must_be(&fields, "out_trade_no", asked.as_str())?;
    let state = fields.text("trade_status").ok_or(Untrusted::Incomplete("trade_status"))?;
    let shows = |names: &[&str]| names.iter().any(|name| has_something(&fields, name));
    let paid = || paid(account, &fields);
    Ok(match state.as_str() {
        "TRADE_SUCCESS" | "TRADE_FINISHED" if shows(&OF_REFUNDS) => refunded(paid().ok()),
        "TRADE_SUCCESS" | "TRADE_FINISHED" => Trade::Paid(paid().map_err(Untrusted::Incomplete)?),
        // One word for two ends: never paid, or paid and sent back as a whole.
        "TRADE_CLOSED" if shows(&OF_REFUNDS) || shows(&OF_PAYMENT) => refunded(paid().ok()),
        "TRADE_CLOSED" => Trade::Closed { state },
        _ => Trade::Pending { state: word(&state) },
    })
}

fn paid(account: &Account, fields: &Object<'_>) -> Result<VerifiedPayment, &'static str> {
    payment::read(account, |name| fields.text(name), fields.yuan("total_amount"), "send_pay_date")
}

fn refunded(payment: Option<VerifiedPayment>) -> Trade {
    Trade::Refunded { payment: payment.map(RefundedPayment) }
}

/// An amount of zero is nothing.
fn has_something(fields: &Object<'_>, name: &str) -> bool {
    fields.says(name) && fields.yuan(name) != Some(Fen::ZERO)
}
