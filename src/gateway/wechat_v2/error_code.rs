//! What each `err_code` of unifiedorder, orderquery, closeorder and refund asks us to do.
//!
//! Source: the error tables of pages 4011936530 (unified order) and its neighbours, read 2026-11.

use crate::gateway::{RefundMeaning, wechat::Meaning};

/// Codes nobody has documented are treated as an unknown outcome: query before deciding.
pub fn meaning(err_code: &str, err_code_des: &str) -> Meaning {
    match err_code {
        "ORDERPAID" => Meaning::Paid,
        "ORDERCLOSED" => Meaning::Closed,
        "OUT_TRADE_NO_USED" => Meaning::NumberUsed,
        // WeChat reports changed parameters under this general code, with a text of its own.
        "INVALID_REQUEST" if err_code_des.contains("201") || err_code_des.contains("订单号重复") => {
            Meaning::NumberUsed
        }
        "ORDERNOTEXIST" => Meaning::NotFound,
        "FREQUENCY_LIMITED" | "RATELIMIT_EXCEEDED" => Meaning::Throttled,
        "NOAUTH" | "APPID_NOT_EXIST" | "MCHID_NOT_EXIST" | "APPID_MCHID_NOT_MATCH" | "SIGNERROR" => {
            Meaning::Configuration
        }
        "LACK_PARAMS"
        | "PARAM_ERROR"
        | "INVALID_REQUEST"
        | "XML_FORMAT_ERROR"
        | "POST_DATA_EMPTY"
        | "REQUIRE_POST_METHOD"
        | "NOT_UTF8" => Meaning::OurDefect,
        _ => Meaning::UnknownOutcome,
    }
}

/// Codes of page 4011984092 (read 2026-11). Codes nobody has documented are an unknown outcome, and so is `ERROR`,
/// whose text may say anything.
pub fn refund_meaning(err_code: &str) -> RefundMeaning {
    match err_code {
        "NOTENOUGH" => RefundMeaning::NotEnough,
        "FREQUENCY_LIMITED" | "RATELIMIT_EXCEEDED" | "INVALID_REQ_TOO_MUCH" => RefundMeaning::Throttled,
        "TRADE_OVERDUE"
        | "USER_ACCOUNT_ABNORMAL"
        | "INVALID_TRANSACTIONID"
        | "PARAM_ERROR"
        | "ORDERNOTEXIST"
        | "REFUND_FEE_MISMATCH"
        | "INVALID_REQUEST"
        | "APPID_NOT_EXIST"
        | "MCHID_NOT_EXIST" => RefundMeaning::Refused,
        _ => RefundMeaning::UnknownOutcome,
    }
}
