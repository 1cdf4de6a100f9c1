//! The field rules of Alipay's calls, as tables: what must be there and what each value may be. No I/O.
//!
//! Source: the pages of alipay.trade.precreate, page.pay, wap.pay, query, close, refund and fastpay.refund.query.

use crate::{
    domain::{money::Fen, time::UnixMs},
    gateway::wechat_v2::xml::Fields,
};
use serde_json::Value;
use url::Url;

/// 0.01 to 100 000 000 yuan, in fen.
const AMOUNTS: std::ops::RangeInclusive<i64> = 1..=10_000_000_000;
/// The longest `timeout_express`: 15 days, in minutes.
const LONGEST_MINUTES: i64 = 15 * 24 * 60;

/// One parameter of a call.
pub struct Rule {
    pub name: &'static str,
    pub needed: bool,
    pub valid: fn(&str) -> bool,
    pub wanted: &'static str,
}

/// A parameter that breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Lacking(&'static str),
    Wrong(&'static str, &'static str),
}

const fn needs(name: &'static str, valid: fn(&str) -> bool, wanted: &'static str) -> Rule {
    Rule { name, needed: true, valid, wanted }
}

const fn may(name: &'static str, valid: fn(&str) -> bool, wanted: &'static str) -> Rule {
    Rule { name, needed: false, valid, wanted }
}

/// Beside `app_id`, `method`, `sign_type`, `sign` and `timestamp`, which are looked at one by one.
pub const PUBLIC: &[Rule] = &[
    may("format", |v| v == "JSON", "JSON"),
    needs("charset", |v| v.eq_ignore_ascii_case("utf-8"), "utf-8"),
    needs("version", |v| v == "1.0", "1.0"),
    may("notify_url", is_bare_url, "不超过 256 字节的 http 或 https 地址，不带参数"),
    may("return_url", is_bare_url, "不超过 256 字节的 http 或 https 地址，不带参数"),
    may("app_auth_token", |v| v.len() <= 40, "不超过 40 字节"),
    may("app_cert_sn", is_hex, "证书序列号"),
    may("alipay_root_cert_sn", |v| v.split('_').all(is_hex), "证书序列号，以 _ 相连"),
    needs("biz_content", |v| !v.is_empty(), "JSON 对象"),
];

/// What all calls that place an order share.
pub const ORDER: &[Rule] = &[
    needs("out_trade_no", is_out_trade_no, "不超过 64 位字母、数字、_ 或 -"),
    needs("total_amount", is_amount, "0.01 到 100000000，单位元，最多两位小数"),
    needs("subject", is_subject, "不超过 256 个字符，不含 / = &"),
    may("body", |v| v.chars().count() <= 128, "不超过 128 个字符"),
    may("time_expire", |v| parse_time(v).is_some(), "yyyy-MM-dd HH:mm:ss"),
    may("timeout_express", |v| parse_minutes(v).is_some(), "1m 到 15d"),
    may("passback_params", |v| v.len() <= 512, "不超过 512 字节"),
    may("goods_detail", |v| is_json(v, Value::is_array), "JSON 数组"),
    may("extend_params", |v| is_json(v, Value::is_object), "JSON 对象"),
    may("store_id", |v| v.len() <= 32, "不超过 32 字节"),
    may("seller_id", is_user_id, "2088 开头的 16 位数字"),
];

pub const PRECREATE: &[Rule] = &[
    may("product_code", |v| matches!(v, "FACE_TO_FACE_PAYMENT" | "QR_CODE_OFFLINE"), "FACE_TO_FACE_PAYMENT"),
    may("qr_code_timeout_express", |v| parse_minutes(v).is_some(), "1m 到 15d"),
    may("discountable_amount", is_amount, "单位元，最多两位小数"),
    may("operator_id", |v| v.len() <= 28, "不超过 28 字节"),
    may("terminal_id", |v| v.len() <= 32, "不超过 32 字节"),
];

pub const PAGE_PAY: &[Rule] = &[
    needs("product_code", |v| v == "FAST_INSTANT_TRADE_PAY", "FAST_INSTANT_TRADE_PAY"),
    may("qr_pay_mode", |v| matches!(v, "0" | "1" | "2" | "3" | "4"), "0 到 4"),
];

pub const WAP_PAY: &[Rule] = &[
    needs("product_code", |v| v == "QUICK_WAP_WAY", "QUICK_WAP_WAY"),
    may("quit_url", |v| v.len() <= 400 && is_url(v), "不超过 400 字节的 http 或 https 地址"),
];

pub const BILL: &[Rule] =
    &[needs("bill_type", |v| v == "trade", "trade"), needs("bill_date", |v| v.len() == 10, "yyyy-MM-dd")];

/// Which trade: one of the two must be there, and trade_no goes first.
pub const NUMBERS: &[Rule] = &[
    may("trade_no", |v| v.len() <= 64 && v.bytes().all(|b| b.is_ascii_digit()), "不超过 64 位数字"),
    may("out_trade_no", is_out_trade_no, "不超过 64 位字母、数字、_ 或 -"),
];

pub const QUERY: &[Rule] = &[may("query_options", |v| is_json(v, Value::is_array), "JSON 数组")];

pub const CLOSE: &[Rule] = &[may("operator_id", |v| v.len() <= 28, "不超过 28 字节")];

pub const REFUND: &[Rule] = &[
    needs("refund_amount", is_amount, "0.01 到 100000000，单位元，最多两位小数"),
    may("out_request_no", is_out_trade_no, "不超过 64 位字母、数字、_ 或 -"),
    may("refund_reason", |v| v.chars().count() <= 256, "不超过 256 个字符"),
    may("operator_id", |v| v.len() <= 28, "不超过 28 字节"),
];

pub const REFUND_QUERY: &[Rule] = &[
    needs("out_request_no", is_out_trade_no, "不超过 64 位字母、数字、_ 或 -"),
    may("query_options", |v| is_json(v, Value::is_array), "JSON 数组"),
];

/// Presence first, then values.
///
/// # Errors
/// The first parameter that is missing or breaks its rule.
pub fn check(fields: &Fields, tables: &[&'static [Rule]]) -> Result<(), Broken> {
    let rules = || tables.iter().copied().flatten();
    if let Some(rule) = rules().find(|rule| rule.needed && fields.get(rule.name).is_none()) {
        return Err(Broken::Lacking(rule.name));
    }
    let wrong = rules().find(|rule| fields.get(rule.name).is_some_and(|value| !(rule.valid)(value)));
    wrong.map_or(Ok(()), |rule| Err(Broken::Wrong(rule.name, rule.wanted)))
}

/// The object of biz_content: texts as they are, arrays and objects as their JSON. `None` when it is no object, or
/// has a bare number or boolean, which the merchant side never needs: its amounts are texts.
pub fn biz_content(text: &str) -> Option<Fields> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return None };
    let mut fields = Fields::default();
    for (name, value) in object {
        match value {
            Value::String(text) => fields.set(&name, &text),
            Value::Array(_) | Value::Object(_) => fields.set(&name, &value.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) => return None,
        }
    }
    Some(fields)
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing; `None` for anything else.
pub fn parse_time(text: &str) -> Option<UnixMs> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    UnixMs::parse_beijing_compact(&digits).filter(|at| at.beijing_text() == text)
}

/// `90m`, `2h` or `1d` in minutes, up to 15 days.
pub fn parse_minutes(text: &str) -> Option<i64> {
    let (number, unit) = match text.strip_suffix(['m', 'h', 'd']) {
        Some(number) => (number, text.strip_prefix(number)?),
        None => return None,
    };
    let each = match unit {
        "m" => 1,
        "h" => 60,
        _ => 24 * 60,
    };
    let number = Fen::parse_fen(number).ok()?.get();
    number.checked_mul(each).filter(|minutes| (1..=LONGEST_MINUTES).contains(minutes))
}

/// Yuan as a call writes them; zero when it is no amount, which `check` has refused.
pub fn yuan(text: &str) -> Fen {
    Fen::parse_yuan(text).unwrap_or_default()
}

fn is_amount(value: &str) -> bool {
    Fen::parse_yuan(value).is_ok_and(|fen| AMOUNTS.contains(&fen.get()))
}

fn is_out_trade_no(value: &str) -> bool {
    (1..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn is_subject(value: &str) -> bool {
    (1..=256).contains(&value.chars().count()) && !value.contains(['/', '=', '&'])
}

fn is_user_id(value: &str) -> bool {
    value.len() == 16 && value.starts_with("2088") && value.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_json(value: &str, kind: fn(&Value) -> bool) -> bool {
    serde_json::from_str(value).is_ok_and(|value| kind(&value))
}

fn is_url(value: &str) -> bool {
    Url::parse(value).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty()
    })
}

/// Its own parameters would mix with those Alipay signs.
fn is_bare_url(value: &str) -> bool {
    value.len() <= 256 && is_url(value) && !value.contains(['?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(name: &'static str, values: &[&str]) {
        let tables =
            [PUBLIC, ORDER, PRECREATE, PAGE_PAY, WAP_PAY, NUMBERS, QUERY, CLOSE, REFUND, REFUND_QUERY];
        let mut named = tables.into_iter().flatten().filter(|rule| rule.name == name).peekable();
        assert!(named.peek().is_some(), "{name}");
        for rule in named {
            for value in values {
                assert!(!(rule.valid)(value), "{name} accepts {value:?}");
            }
        }
    }

    #[test]
    fn a_value_outside_its_rule_is_refused() {
        refuses(
            "total_amount",
            &["", "0", "0.00", "1.234", "01.00", "-1", "+1", "1e3", "1.", ".5", "100000000.01"],
        );
        refuses("refund_amount", &["0.00", "1,00", "１", " 1"]);
        refuses("out_trade_no", &["", "a b", "a|b", "订单", &"9".repeat(65)]);
        refuses("subject", &["", "a/b", "a=b", "a&b", &"中".repeat(257)]);
        refuses(
            "time_expire",
            &["2026-02-30 00:00:00", "20260201000000", "2026-02-01T00:00:00", "2026-02-01 00:00"],
        );
        refuses("timeout_express", &["0m", "16d", "90", "m", "1.5h", "01m", "1w", "一m"]);
        refuses("notify_url", &["/notify", "ftp://a/b", "https://a/b?c=d", "https://a/b?", "https://a/b#c"]);
        refuses("charset", &["gbk", "utf8"]);
        refuses("version", &["1", "2.0"]);
        refuses("format", &["json", "XML"]);
        refuses("product_code", &["", "GENERAL_WITHHOLDING"]);
        refuses("goods_detail", &["{}", "x"]);
        refuses("extend_params", &["[]", "x"]);
        refuses("seller_id", &["2088", "1088102146225135"]);
        refuses("app_cert_sn", &["50FA7BC5DC305A4FBDBE166689DDC827"]);
        refuses("trade_no", &["abc"]);
    }

    #[test]
    fn times_and_spans_are_read_as_alipay_writes_them() {
        assert_eq!(parse_time("2019-04-15 20:30:40"), Some(UnixMs(1_555_331_440_000)));
        for (text, minutes) in [("1m", 1), ("90m", 90), ("2h", 120), ("15d", 21_600)] {
            assert_eq!(parse_minutes(text), Some(minutes), "{text}");
        }
    }

    #[test]
    fn biz_content_is_an_object_of_texts() {
        let fields = biz_content(r#"{"out_trade_no":"a","goods_detail":[{"price":"1"}]}"#).unwrap();
        assert_eq!(fields.get("goods_detail"), Some(r#"[{"price":"1"}]"#));
        for text in ["", "[]", "null", r#"{"total_amount":9.9}"#, r#"{"a":null}"#, "{\"a\":\"1\"} x"] {
            assert_eq!(biz_content(text), None, "{text}");
        }
    }
}
