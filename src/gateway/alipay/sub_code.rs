//! What `code` and `sub_code` of a reply ask us to do.
//!
//! Source: the page of common error codes and the tables of alipay.trade.precreate, query, close and refund
//! (opendocs, read 2026-11). Codes nobody has documented are an unknown outcome: ask before deciding.

use crate::gateway::RefundMeaning;

/// What to do about a call that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Perhaps done: repeat with the same number and parameters, then query.
    UnknownOutcome,
    /// Paid, or in a state in which a trade can only be after payment or closing: query.
    Paid,
    Closed,
    /// Used with other parameters: query that number, never switch silently.
    NumberUsed,
    /// For a trade prepared as a code or a page no proof of anything: it is only made when somebody scans or signs in.
    NotFound,
    /// The app, its rights or what we sent; no retry helps.
    Refused,
}

pub fn meaning(code: &str, sub_code: &str) -> Meaning {
    match (code, plain(sub_code)) {
        ("20000", _) => Meaning::UnknownOutcome,
        (_, sub_code) if is_throttled(code, sub_code) => Meaning::UnknownOutcome,
        ("20001" | "40001" | "40002" | "40003" | "40006", _) => Meaning::Refused,
        (_, "ACQ.TRADE_HAS_SUCCESS" | "ACQ.TRADE_STATUS_ERROR" | "ACQ.REASON_TRADE_STATUS_INVALID") => {
            Meaning::Paid
        }
        (_, "ACQ.TRADE_HAS_CLOSE") => Meaning::Closed,
        (_, "ACQ.TRADE_NOT_EXIST") => Meaning::NotFound,
        (_, "ACQ.CONTEXT_INCONSISTENT") => Meaning::NumberUsed,
        (
            _,
            "ACQ.INVALID_PARAMETER"
            | "ACQ.ACCESS_FORBIDDEN"
            | "ACQ.EXIST_FORBIDDEN_WORD"
            | "ACQ.PARTNER_ERROR"
            | "ACQ.TOTAL_FEE_EXCEED"
            | "ACQ.NOT_SUPPORT_PAYMENT_INST",
        ) => Meaning::Refused,
        (_, sub_code) if sub_code.starts_with("isv.") => Meaning::Refused,
        _ => Meaning::UnknownOutcome,
    }
}

/// What the refund page lists and no repetition can help against. Not among them: DISCORDANT_REPEAT_REQUEST, which says
/// that a refund of this number is through, and codes of things we never send, like royalties.
const REFUND_REFUSED: [&str; 17] = [
    "ACQ.BUYER_ENABLE_STATUS_FORBID",
    "ACQ.BUYER_ERROR",
    "ACQ.BUYER_NOT_EXIST",
    "ACQ.CURRENCY_NOT_SUPPORT",
    "ACQ.CUSTOMER_VALIDATE_ERROR",
    "ACQ.INVALID_PARAMETER",
    "ACQ.NOT_ALLOW_PARTIAL_REFUND",
    "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR",
    "ACQ.REASON_TRADE_STATUS_INVALID",
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "ACQ.REFUND_FEE_ERROR",
    "ACQ.TRADE_HAS_CLOSE",
    "ACQ.TRADE_HAS_FINISHED",
    "ACQ.TRADE_NOT_ALLOW_REFUND",
    "ACQ.TRADE_NOT_EXIST",
    "ACQ.TRADE_STATUS_ERROR",
];

pub fn refund_meaning(code: &str, sub_code: &str) -> RefundMeaning {
    match (code, plain(sub_code)) {
        ("20000", _) => RefundMeaning::UnknownOutcome,
        (_, sub_code) if is_throttled(code, sub_code) => RefundMeaning::Throttled,
        (_, "ACQ.SELLER_BALANCE_NOT_ENOUGH") => RefundMeaning::NotEnough,
        (_, sub_code) if ["isp.", "aop."].iter().any(|fault| sub_code.starts_with(fault)) => {
            RefundMeaning::UnknownOutcome
        }
        ("40004", sub_code) if REFUND_REFUSED.contains(&sub_code) => RefundMeaning::Refused,
        ("20001" | "40001" | "40002" | "40003" | "40006", sub_code) if sub_code != "ACQ.SYSTEM_ERROR" => {
            RefundMeaning::Refused
        }
        // A system error may have done it; a frozen trade can be refunded once somebody has thawed it; and of a code
        // that no page lists nobody knows.
        _ => RefundMeaning::UnknownOutcome,
    }
}

/// The gateway hands some business codes on with its own name before them, `aop.ACQ.SYSTEM_ERROR`.
fn plain(sub_code: &str) -> &str {
    sub_code.strip_prefix("aop.").filter(|rest| rest.starts_with("ACQ.")).unwrap_or(sub_code)
}

fn is_throttled(code: &str, sub_code: &str) -> bool {
    code == "40005" || sub_code.ends_with("call-limited")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_says_what_to_do_and_an_unknown_one_decides_nothing() {
        for (code, sub_code, right) in [
            ("20000", "isp.unknow-error", Meaning::UnknownOutcome),
            ("20000", "ACQ.TRADE_HAS_SUCCESS", Meaning::UnknownOutcome),
            ("20000", "aop.unknow-error", Meaning::UnknownOutcome),
            ("10003", "", Meaning::UnknownOutcome),
            ("20001", "aop.invalid-auth-token", Meaning::Refused),
            ("40001", "isv.missing-signature", Meaning::Refused),
            ("40002", "isv.invalid-signature", Meaning::Refused),
            ("40002", "isv.app-call-limited", Meaning::UnknownOutcome),
            ("40005", "isv.method-call-limited", Meaning::UnknownOutcome),
            ("40006", "isv.insufficient-isv-permissions", Meaning::Refused),
            ("40004", "ACQ.SYSTEM_ERROR", Meaning::UnknownOutcome),
            ("40004", "aop.ACQ.SYSTEM_ERROR", Meaning::UnknownOutcome),
            ("40004", "ACQ.TRADE_HAS_SUCCESS", Meaning::Paid),
            ("40004", "aop.ACQ.TRADE_HAS_SUCCESS", Meaning::Paid),
            ("40004", "ACQ.TRADE_STATUS_ERROR", Meaning::Paid),
            ("40004", "ACQ.TRADE_HAS_CLOSE", Meaning::Closed),
            ("40004", "ACQ.TRADE_NOT_EXIST", Meaning::NotFound),
            ("40004", "ACQ.CONTEXT_INCONSISTENT", Meaning::NumberUsed),
            ("40004", "ACQ.INVALID_PARAMETER", Meaning::Refused),
            ("40004", "ACQ.SOMETHING_NEW", Meaning::UnknownOutcome),
            ("40004", "", Meaning::UnknownOutcome),
            ("", "", Meaning::UnknownOutcome),
        ] {
            assert_eq!(meaning(code, sub_code), right, "{code} {sub_code}");
        }
    }

    #[test]
    fn a_refund_is_refused_only_by_a_code_that_is_known_to_refuse() {
        for (code, sub_code, right) in [
            ("20000", "isp.unknow-error", RefundMeaning::UnknownOutcome),
            ("20000", "ACQ.SELLER_BALANCE_NOT_ENOUGH", RefundMeaning::UnknownOutcome),
            ("40004", "ACQ.SYSTEM_ERROR", RefundMeaning::UnknownOutcome),
            ("40004", "aop.ACQ.SYSTEM_ERROR", RefundMeaning::UnknownOutcome),
            ("40004", "isp.unknow-error", RefundMeaning::UnknownOutcome),
            ("40004", "ACQ.REASON_TRADE_BEEN_FREEZEN", RefundMeaning::UnknownOutcome),
            ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", RefundMeaning::NotEnough),
            ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", RefundMeaning::UnknownOutcome),
            ("40004", "ACQ.REFUND_CHARGE_ERROR", RefundMeaning::UnknownOutcome),
            ("40004", "ACQ.SOMETHING_NEW", RefundMeaning::UnknownOutcome),
            ("40004", "", RefundMeaning::UnknownOutcome),
            ("40002", "ACQ.SYSTEM_ERROR", RefundMeaning::UnknownOutcome),
            ("40004", "aop.ACQ.TRADE_NOT_ALLOW_REFUND", RefundMeaning::Refused),
            ("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", RefundMeaning::Refused),
            ("40004", "ACQ.TRADE_HAS_FINISHED", RefundMeaning::Refused),
            ("40004", "ACQ.TRADE_NOT_EXIST", RefundMeaning::Refused),
            ("40002", "isv.invalid-signature", RefundMeaning::Refused),
            ("40002", "isv.app-call-limited", RefundMeaning::Throttled),
            ("40005", "", RefundMeaning::Throttled),
            ("10003", "", RefundMeaning::UnknownOutcome),
            ("99999", "ACQ.NEW", RefundMeaning::UnknownOutcome),
        ] {
            assert_eq!(refund_meaning(code, sub_code), right, "{code} {sub_code}");
        }
    }
}
