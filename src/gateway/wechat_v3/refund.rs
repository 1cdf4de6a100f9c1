//! refund/domestic/refunds: asks for a refund. 200 means taken on, never refunded, whatever `status` says.
//!
//! Source: the V3 page on applying for a refund. No client certificate is shown.

use super::{
    Account, WechatV3, error_code,
    json::Object,
    reply::{self, Reply},
    sign,
};
use crate::{
    domain::refund::Refund,
    gateway::{RefundAsked, Request, Response, Stamp, Untrusted, words::with_text},
};
use serde::Serialize;

#[derive(Serialize)]
struct Body<'a> {
    transaction_id: &'a str,
    out_refund_no: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    notify_url: &'a str,
    amount: Amount,
}

#[derive(Serialize)]
struct Amount {
    /// Fen.
    refund: i64,
    /// Of the payment, in fen.
    total: i64,
    currency: &'static str,
}

/// Every parameter comes from the stored refund, so a repeated call is the same refund to WeChat.
pub(super) fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let body = Body {
        transaction_id: refund.transaction_id.as_str(),
        out_refund_no: refund.out_refund_no.as_str(),
        reason: &refund.reason,
        notify_url: &refund.notify_url,
        amount: Amount { refund: refund.amount.get(), total: refund.total.get(), currency: "CNY" },
    };
    // Texts and numbers alone: writing them cannot fail.
    let body = serde_json::to_string(&body).unwrap_or_default();
    sign::request(account, "refunds", "/v3/refund/domestic/refunds".to_owned(), Some(body), stamp)
}

/// # Errors
/// A reply that may not be used, or that speaks of another refund: the outcome is unknown.
pub(super) fn read(gateway: &WechatV3, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted> {
    let told = match reply::read(gateway, answer)? {
        Reply::Told(told) => told,
        Reply::NoContent => return Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) => {
            let meaning = error_code::refund_meaning(failure.status, &failure.code);
            return Ok(meaning.asked(with_text(&failure.code, &failure.message)));
        }
    };
    check_identity(&told, refund)?;
    Ok(RefundAsked::Accepted { refund_id: refund_id(&told)?.to_owned() })
}

/// Checks that a message speaks of this refund: both numbers of it and of its payment, and both amounts.
///
/// # Errors
/// What it speaks of instead.
pub(super) fn check_identity(told: &Object, refund: &Refund) -> Result<(), Untrusted> {
    for (name, ours) in [
        ("out_refund_no", refund.out_refund_no.as_str()),
        ("transaction_id", refund.transaction_id.as_str()),
        ("out_trade_no", refund.out_trade_no.as_str()),
    ] {
        if told.text(name) != Some(ours) {
            return Err(Untrusted::Identity(name));
        }
    }
    let amount = told.object("amount").ok_or(Untrusted::Incomplete("amount"))?;
    for (name, ours) in [("refund", refund.amount), ("total", refund.total)] {
        if amount.fen(name) != Some(ours) {
            return Err(Untrusted::Identity(name));
        }
    }
    Ok(())
}

/// # Errors
/// None, or one that is too long to be WeChat's or cannot be printed.
pub(super) fn refund_id(told: &Object) -> Result<&str, Untrusted> {
    let usable = |id: &&str| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic());
    told.text("refund_id").filter(usable).ok_or(Untrusted::Incomplete("refund_id"))
}
