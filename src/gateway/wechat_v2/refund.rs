//! secapi/pay/refund: asks for a refund. SUCCESS means taken on, never refunded.
//!
//! Source: page 4011984092 (partner pages, read 2026-11). The call wants the merchant's client certificate.

use super::{
    Account, error_code,
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    domain::refund::Refund,
    gateway::{RefundAsked, Request, Response, Stamp, Untrusted, wechat, words::with_text},
};

/// Every parameter comes from the stored refund, so a repeated call is the same refund to WeChat.
pub fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let (total_fee, refund_fee) = (refund.total.get().to_string(), refund.amount.get().to_string());
    let fields: Fields = [
        ("transaction_id", refund.transaction_id.as_str()),
        ("out_refund_no", refund.out_refund_no.as_str()),
        ("total_fee", total_fee.as_str()),
        ("refund_fee", refund_fee.as_str()),
        ("refund_fee_type", "CNY"),
        ("refund_desc", refund.reason.as_str()),
        ("notify_url", refund.notify_url.as_str()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect();
    super::signed_request(
        account,
        wechat::appid_of_account(&refund.account),
        "refund",
        "/secapi/pay/refund",
        fields,
        stamp,
    )
}

/// # Errors
/// A reply that may not be used, or that speaks of another refund: the outcome is unknown.
pub fn read(account: &Account, answer: &Response, refund: &Refund) -> Result<RefundAsked, Untrusted> {
    let fields = match reply::read(account, answer, &refund.out_trade_no)? {
        Reply::Done(fields) => fields,
        Reply::Failed { err_code, err_code_des } => {
            return Ok(error_code::refund_meaning(&err_code).asked(with_text(&err_code, &err_code_des)));
        }
    };
    let says = |name, ours: &str| fields.get(name).is_none_or(|theirs| theirs == ours);
    if fields.get("out_refund_no") != Some(refund.out_refund_no.as_str()) {
        return Err(Untrusted::Identity("out_refund_no"));
    }
    if !says("transaction_id", refund.transaction_id.as_str()) {
        return Err(Untrusted::Identity("transaction_id"));
    }
    if !says("refund_fee", &refund.amount.get().to_string()) {
        return Err(Untrusted::Identity("refund_fee"));
    }
    let refund_id = fields.get("refund_id").filter(|id| (1..=64).contains(&id.len()));
    Ok(RefundAsked::Accepted { refund_id: refund_id.ok_or(Untrusted::Incomplete("refund_id"))?.to_owned() })
}
