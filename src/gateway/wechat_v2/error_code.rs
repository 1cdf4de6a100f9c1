//! What each `err_code` of unifiedorder, orderquery and closeorder asks us to do.
//!
//! Source: the error tables of pages 4011936530 (unified order) and its neighbours, read 2026-11.

/// What to do about an `err_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Perhaps done: repeat with the same number and parameters, then query.
    UnknownOutcome,
    /// Not now: back off, then the same again.
    Throttled,
    Paid,
    Closed,
    /// Used with other parameters: query that number, never switch silently.
    NumberUsed,
    NotFound,
    /// The merchant's account or our settings; no retry helps.
    Configuration,
    /// We sent something wrong; no retry helps.
    OurDefect,
}

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
