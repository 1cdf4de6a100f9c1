//! refundquery: asks where a refund stands. Its reply is signed, so this alone ends a refund.
//!
//! Source: the refund query page beside 4011984092 (read 2026-11). `refund_recv_accout_$n` is spelt so by the protocol.

use super::{
    Account,
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    canary::{self, Canary},
    domain::{money::Fen, refund::Refund},
    gateway::{
        RefundNews, RefundStanding, Request, Response, Stamp, Untrusted, VerifiedRefund, wechat,
        words::{with_text, word},
    },
};

/// Groups in one reply: by our own refund number there is one; by an order's number there would be up to 20.
const GROUPS: usize = 50;

pub fn request(account: &Account, refund: &Refund, stamp: &Stamp) -> Request {
    let fields: Fields = [("out_refund_no", refund.out_refund_no.as_str())].into_iter().collect();
    super::signed_request(
        account,
        wechat::appid_of_account(&refund.account),
        "refundquery",
        "/pay/refundquery",
        fields,
        stamp,
    )
}

/// A status this program has never heard of is `Unknown`.
///
/// # Errors
/// A reply that may not be used; one that speaks of another refund, payment or amount.
pub fn read(account: &Account, answer: &Response, refund: &Refund) -> Result<RefundNews, Untrusted> {
    let fields = match reply::read(account, answer, &refund.out_trade_no)? {
        Reply::Done(fields) => fields,
        Reply::Failed { err_code, .. } if err_code == "REFUNDNOTEXIST" => return Ok(RefundNews::NotFound),
        Reply::Failed { err_code, err_code_des } => {
            return Ok(RefundNews::Unknown { code: with_text(&err_code, &err_code_des) });
        }
    };
    let mut groups = (0..GROUPS)
        .filter(|n| fields.get(&format!("out_refund_no_{n}")) == Some(refund.out_refund_no.as_str()));
    // Two refunds under one number are none that we asked for.
    let (Some(group), None) = (groups.next(), groups.next()) else {
        return Err(Untrusted::Identity("out_refund_no"));
    };
    let of_group = |name: &str| fields.get(&format!("{name}_{group}"));
    let amount = |text: Option<&str>| text.and_then(|text| Fen::parse_fen(text).ok());
    if fields.get("transaction_id").is_some_and(|named| named != refund.transaction_id.as_str()) {
        return Err(Untrusted::Identity("transaction_id"));
    }
    if amount(of_group("refund_fee")) != Some(refund.amount) {
        return Err(Untrusted::Identity("refund_fee"));
    }
    // Not among the fields a reply must have.
    if fields.get("total_fee").is_some_and(|named| amount(Some(named)) != Some(refund.total)) {
        return Err(Untrusted::Identity("total_fee"));
    }
    let status = of_group("refund_status").ok_or(Untrusted::Incomplete("refund_status"))?;
    let refund_id = of_group("refund_id").ok_or(Untrusted::Incomplete("refund_id"))?;
    if refund.refund_id.as_deref().is_some_and(|accepted| accepted != refund_id) {
        return Err(Untrusted::Identity("refund_id"));
    }
    let standing = match status {
        "SUCCESS" => RefundStanding::Success,
        "PROCESSING" if canary::sings(Canary::ProcessingIsRefunded) => RefundStanding::Success,
        "PROCESSING" => RefundStanding::Processing,
        "CHANGE" => RefundStanding::Abnormal,
        "REFUNDCLOSE" => RefundStanding::Closed,
        unknown => return Ok(RefundNews::Unknown { code: word(unknown) }),
    };
    Ok(RefundNews::Found(VerifiedRefund {
        out_refund_no: refund.out_refund_no.clone(),
        standing,
        refund_id: refund_id.to_owned(),
        received_by: word(of_group("refund_recv_accout").unwrap_or_default()),
    }))
}
