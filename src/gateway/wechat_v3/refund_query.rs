//! The refund query: asks where a refund stands. This alone ends a refund.
//!
//! Source: the V3 page on querying one refund. Here the state is called `status`, in callbacks `refund_status`.

use super::{
    Account, WechatV3, component, error_code,
    refund::{check_identity, refund_id},
    reply::{self, Reply},
    sign,
};
use crate::{
    domain::refund::Refund,
    gateway::{
        RefundNews, RefundStanding, Request, Response, Stamp, Untrusted, VerifiedRefund,
        words::{with_text, word},
    },
};

pub(super) fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let path = format!("/v3/refund/domestic/refunds/{}", component(refund.out_refund_no.as_str()));
    sign::request(account, "refunds/query", path, None, stamp)
}

/// A status this program has never heard of is `Unknown`.
///
/// # Errors
/// A reply that may not be used; one that speaks of another refund, payment or amount.
pub(super) fn read(gateway: &WechatV3, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted> {
    let told = match reply::read(gateway, answer)? {
        Reply::Told(told) => told,
        Reply::NoContent => return Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) if error_code::knows_no_refund(failure.status, &failure.code) => {
            return Ok(RefundNews::NotFound);
        }
        Reply::Failed(failure) => {
            return Ok(RefundNews::Unknown { code: with_text(&failure.code, &failure.message) });
        }
    };
    check_identity(&told, refund)?;
    let status = told.text("status").ok_or(Untrusted::Incomplete("status"))?;
    let refund_id = refund_id(&told)?;
    if refund.refund_id.as_deref().is_some_and(|accepted| accepted != refund_id) {
        return Err(Untrusted::Identity("refund_id"));
    }
    let standing = match status {
        "SUCCESS" => RefundStanding::Success,
        "PROCESSING" => RefundStanding::Processing,
        "ABNORMAL" => RefundStanding::Abnormal,
        "CLOSED" => RefundStanding::Closed,
        unknown => return Ok(RefundNews::Unknown { code: word(unknown) }),
    };
    Ok(RefundNews::Found(VerifiedRefund {
        out_refund_no: refund.out_refund_no.clone(),
        standing,
        refund_id: refund_id.to_owned(),
        received_by: word(told.text("user_received_account").unwrap_or_default()),
    }))
}
