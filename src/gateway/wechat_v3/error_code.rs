//! What each `code` of V3 asks us to do. Pages spell them with and without underscores, so they are compared without.
//!
//! Source: the error tables of the V3 pages of each call.

use crate::gateway::{RefundMeaning, wechat::Meaning};

/// A code as it is compared: `ORDER_PAID` and `ORDERPAID` are one.
fn plain(code: &str) -> String {
    code.replace('_', "")
}

/// Codes nobody has documented are treated as an unknown outcome, and so is whatever WeChat says with 202 or 5xx:
/// query before deciding.
pub(super) fn meaning(status: u16, code: &str, message: &str) -> Meaning {
    match status {
        429 => return Meaning::Throttled,
        400..=499 => {}
        _ => return Meaning::UnknownOutcome,
    }
    match plain(code).as_str() {
        "ORDERPAID" => Meaning::Paid,
        "ORDERCLOSED" => Meaning::Closed,
        "OUTTRADENOUSED" => Meaning::NumberUsed,
        // WeChat reports changed parameters under this general code, with a text of its own.
        "INVALIDREQUEST" if is_about_reuse(message) => Meaning::NumberUsed,
        "ORDERNOTEXIST" | "RESOURCENOTEXISTS" => Meaning::NotFound,
        "FREQUENCYLIMITED" | "RATELIMITEXCEEDED" | "RATELIMITED" => Meaning::Throttled,
        "NOAUTH" | "SIGNERROR" | "APPIDMCHIDNOTMATCH" | "APPIDNOTEXIST" | "MCHNOTEXISTS" | "MCHNOTEXIST"
        | "ACCOUNTERROR" | "RULELIMIT" => Meaning::Configuration,
        "PARAMERROR" | "INVALIDREQUEST" => Meaning::OurDefect,
        _ => Meaning::UnknownOutcome,
    }
}

/// The number was used before, with other parameters.
fn is_about_reuse(message: &str) -> bool {
    ["重入", "首次请求", "订单号重复"].iter().any(|words| message.contains(words))
}

/// The same for a refund request. What our settings forbid can be put right, and then the same number succeeds.
pub(super) fn refund_meaning(status: u16, code: &str) -> RefundMeaning {
    match status {
        429 => return RefundMeaning::Throttled,
        400..=499 => {}
        _ => return RefundMeaning::UnknownOutcome,
    }
    match plain(code).as_str() {
        "NOTENOUGH" => RefundMeaning::NotEnough,
        "FREQUENCYLIMITED" | "RATELIMITEXCEEDED" | "RATELIMITED" | "INVALIDREQTOOMUCH" => {
            RefundMeaning::Throttled
        }
        "PARAMERROR"
        | "INVALIDREQUEST"
        | "TRADEOVERDUE"
        | "USERACCOUNTABNORMAL"
        | "INVALIDTRANSACTIONID"
        | "ORDERNOTEXIST"
        | "RESOURCENOTEXISTS"
        | "REFUNDFEEMISMATCH"
        | "MCHNOTEXISTS"
        | "MCHNOTEXIST" => RefundMeaning::Refused,
        _ => RefundMeaning::UnknownOutcome,
    }
}

/// Whether a refund query says that there is no such refund.
pub(super) fn knows_no_refund(status: u16, code: &str) -> bool {
    status == 404
        && matches!(plain(code).as_str(), "RESOURCENOTEXISTS" | "REFUNDNOTEXIST" | "REFUNDNOTEXISTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_means_the_same_with_and_without_underscores() {
        use Meaning::*;
        for (status, code, means) in [
            (400, "ORDER_PAID", Paid),
            (400, "ORDERPAID", Paid),
            (400, "ORDER_CLOSED", Closed),
            (400, "ORDERCLOSED", Closed),
            (403, "OUT_TRADE_NO_USED", NumberUsed),
            (404, "ORDER_NOT_EXIST", NotFound),
            (404, "ORDERNOTEXIST", NotFound),
            (404, "RESOURCE_NOT_EXISTS", NotFound),
            (404, "MCH_NOT_EXISTS", Configuration),
            (429, "FREQUENCY_LIMITED", Throttled),
            (429, "RATELIMIT_EXCEEDED", Throttled),
            (429, "RATE_LIMITED", Throttled),
            (429, "PARAM_ERROR", Throttled),
            (403, "RATELIMITED", Throttled),
            (401, "SIGN_ERROR", Configuration),
            (403, "NO_AUTH", Configuration),
            (403, "RULE_LIMIT", Configuration),
            (403, "ACCOUNT_ERROR", Configuration),
            (400, "APPID_MCHID_NOT_MATCH", Configuration),
            (400, "PARAM_ERROR", OurDefect),
            (400, "INVALID_REQUEST", OurDefect),
            (500, "SYSTEM_ERROR", UnknownOutcome),
            (500, "SYSTEMERROR", UnknownOutcome),
            (502, "SERVICE_UNAVAILABLE", UnknownOutcome),
            (503, "ORDER_CLOSED", UnknownOutcome),
            (500, "PARAM_ERROR", UnknownOutcome),
            (202, "ACCEPTED", UnknownOutcome),
            (400, "SOMETHING_NEW", UnknownOutcome),
            (400, "UNKNOWN", UnknownOutcome),
        ] {
            assert_eq!(meaning(status, code, ""), means, "{status} {code}");
        }
    }

    #[test]
    fn changed_parameters_are_told_from_wrong_ones_by_their_text() {
        for text in ["请求重入时，参数与首次请求时不一致", "201 商户订单号重复"] {
            assert_eq!(meaning(400, "INVALID_REQUEST", text), Meaning::NumberUsed, "{text}");
            assert_eq!(meaning(400, "PARAM_ERROR", text), Meaning::OurDefect, "{text}");
        }
        assert_eq!(meaning(400, "INVALID_REQUEST", "appid和openid不匹配"), Meaning::OurDefect);
    }

    #[test]
    fn only_what_certainly_was_not_refunded_is_refused() {
        use RefundMeaning::*;
        for (status, code, means) in [
            (403, "NOT_ENOUGH", NotEnough),
            (403, "NOTENOUGH", NotEnough),
            (500, "NOT_ENOUGH", UnknownOutcome),
            (429, "FREQUENCY_LIMITED", Throttled),
            (400, "INVALID_REQ_TOO_MUCH", Throttled),
            (400, "PARAM_ERROR", Refused),
            (400, "INVALID_REQUEST", Refused),
            (403, "USER_ACCOUNT_ABNORMAL", Refused),
            (404, "RESOURCE_NOT_EXISTS", Refused),
            (404, "MCH_NOT_EXISTS", Refused),
            (401, "SIGN_ERROR", UnknownOutcome),
            (403, "NO_AUTH", UnknownOutcome),
            (500, "SYSTEM_ERROR", UnknownOutcome),
            (500, "INVALID_REQUEST", UnknownOutcome),
            (202, "ACCEPTED", UnknownOutcome),
            (400, "SOMETHING_NEW", UnknownOutcome),
        ] {
            assert_eq!(refund_meaning(status, code), means, "{status} {code}");
        }
    }

    #[test]
    fn only_a_404_about_the_refund_itself_says_that_there_is_none() {
        assert!(knows_no_refund(404, "RESOURCE_NOT_EXISTS"));
        assert!(knows_no_refund(404, "REFUNDNOTEXIST"));
        for (status, code) in [
            (404, "MCH_NOT_EXISTS"),
            (404, "ORDER_NOT_EXIST"),
            (400, "RESOURCE_NOT_EXISTS"),
            (500, "REFUNDNOTEXIST"),
        ] {
            assert!(!knows_no_refund(status, code), "{status} {code}");
        }
    }
}
