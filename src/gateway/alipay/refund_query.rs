//! alipay.trade.fastpay.refund.query: asks where a refund stands. This alone ends a refund.
//!
//! Code 10000 says that the question was answered, no more. `refund_status` REFUND_SUCCESS is the one word that means
//! refunded; the page says that without it the request was not received, has failed, or is not through yet.

use super::{
    Account,
    reply::{self, Reply},
    sub_code::Meaning,
};
use crate::{
    domain::refund::Refund,
    gateway::{RefundNews, RefundStanding, Request, Response, Stamp, Untrusted, VerifiedRefund, words::word},
};
use serde_json::json;

const METHOD: &str = "alipay.trade.fastpay.refund.query";
/// What a reply names when it has found a refund.
const OF_REFUND: [&str; 3] = ["out_request_no", "refund_amount", "refund_status"];

pub fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let content = json!({
        "trade_no": refund.transaction_id.as_str(),
        "out_request_no": refund.out_refund_no.as_str(),
    });
    super::call(account, METHOD, super::parameters(account, METHOD, &content, stamp))
}

/// Without a word about the refund the answer is `NotFound`, which by itself ends nothing: a refund that was accepted
/// stays open and goes out again after six hours, one that was not at once, under its number, which for Alipay is the
/// same refund; only five quiet minutes after the last request with this answer at their end let a refusal stand or a
/// person give it up; the refund page asks for five seconds between request and query, older pages for ten. With the
/// refund but without REFUND_SUCCESS it is `Unknown`, which never ends one.
///
/// # Errors
/// A reply that may not be used; one that speaks of another refund, payment or amount.
pub fn read(account: &Account, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted> {
    let fields = match reply::read(account, METHOD, answer)? {
        Reply::Done(fields) => fields,
        Reply::Failed(failure) if failure.meaning() == Meaning::NotFound => return Ok(RefundNews::NotFound),
        Reply::Failed(failure) => return Ok(RefundNews::Unknown { code: failure.text() }),
    };
    reply::may_be(&fields, "trade_no", refund.transaction_id.as_str())?;
    reply::may_be(&fields, "out_trade_no", refund.out_trade_no.as_str())?;
    if OF_REFUND.iter().all(|name| fields.raw(name).is_none()) {
        return Ok(RefundNews::NotFound);
    }
    reply::must_be(&fields, "out_request_no", refund.out_refund_no.as_str())?;
    let Some(status) = fields.text("refund_status") else {
        return Ok(RefundNews::Unknown { code: "10000 without refund_status".to_owned() });
    };
    if status != "REFUND_SUCCESS" {
        return Ok(RefundNews::Unknown { code: word(&status) });
    }
    reply::must_be(&fields, "trade_no", refund.transaction_id.as_str())?;
    // Unlike `refund_fee` elsewhere it is this refund's own amount.
    if fields.yuan("refund_amount") != Some(refund.amount) {
        return Err(Untrusted::Identity("refund_amount"));
    }
    if fields.raw("total_amount").is_some() && fields.yuan("total_amount") != Some(refund.total) {
        return Err(Untrusted::Identity("total_amount"));
    }
    Ok(RefundNews::Found(VerifiedRefund {
        out_refund_no: refund.out_refund_no.clone(),
        standing: RefundStanding::Success,
        refund_id: String::new(),
        received_by: String::new(),
    }))
}
