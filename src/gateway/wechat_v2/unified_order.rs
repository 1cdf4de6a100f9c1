//! unifiedorder: prepares a JSAPI payment and brings back its `prepay_id`.
//!
//! Source: page 4011936530 (updated 2025-12-04).

use super::{
    Account,
    error_code::{self, Meaning},
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    canary::{self, Canary},
    domain::order::Attempt,
    gateway::{Prepaid, Request, Response, Stamp, Untrusted},
};

/// Longest `body` we send, in bytes of UTF-8 (the pages say 127 and 128; the smaller is safe).
const MAX_BODY: usize = 127;

/// Every parameter comes from the stored attempt, so a repeated call is a true repetition to WeChat.
pub fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Request {
    let total_fee = attempt.amount.get().to_string();
    let off_secs = if canary::sings(Canary::NoZone) { -8 * 3600 } else { 0 };
    let time_start = attempt.created_at.plus_secs(off_secs).beijing_compact();
    let time_expire = attempt.expires_at.plus_secs(off_secs).beijing_compact();
    let fields: Fields = [
        ("body", truncated(&attempt.goods_name)),
        ("out_trade_no", attempt.out_trade_no.as_str()),
        ("total_fee", total_fee.as_str()),
        ("fee_type", "CNY"),
        ("spbill_create_ip", attempt.client_ip.as_str()),
        ("time_start", time_start.as_str()),
        ("time_expire", time_expire.as_str()),
        ("notify_url", attempt.notify_url.as_str()),
        ("trade_type", "JSAPI"),
        ("openid", attempt.payer.as_str()),
    ]
    .into_iter()
    .collect();
    super::signed_request(account, "unifiedorder", "/pay/unifiedorder", fields, stamp)
}

/// # Errors
/// A reply that may not be used: the outcome is unknown.
pub fn read(account: &Account, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
    match reply::read(account, answer, &attempt.out_trade_no)? {
        Reply::Done(fields) => {
            let prepay_id = fields.get("prepay_id").ok_or(Untrusted::Incomplete("prepay_id"))?;
            // It goes into a page and into a signed text: nothing but what WeChat's ids are made of.
            if prepay_id.len() > 64
                || !prepay_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            {
                return Err(Untrusted::Incomplete("prepay_id"));
            }
            Ok(Prepaid::Ready { prepay_id: prepay_id.to_owned() })
        }
        Reply::Failed { err_code, err_code_des } => Ok(match error_code::meaning(&err_code, &err_code_des) {
            Meaning::Paid => Prepaid::Paid,
            Meaning::Closed => Prepaid::Closed,
            Meaning::NumberUsed => Prepaid::NumberUsed,
            Meaning::UnknownOutcome | Meaning::Throttled | Meaning::NotFound => {
                Prepaid::Unknown { code: err_code }
            }
            Meaning::Configuration | Meaning::OurDefect => Prepaid::Refused { code: err_code },
        }),
    }
}

/// Cut to 127 bytes without splitting a character.
fn truncated(text: &str) -> &str {
    let end = (0..=MAX_BODY.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_between_characters() {
        assert_eq!(truncated(&"中".repeat(50)).len(), 126);
        assert_eq!(truncated("账户充值"), "账户充值");
        assert_eq!(truncated(&"a".repeat(200)).len(), 127);
    }
}
