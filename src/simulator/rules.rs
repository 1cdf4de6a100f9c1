//! The field rules of the V2 calls, as tables: what must be there and what each value may be. No I/O.
//!
//! Source: pages 4011936530 (unified order), 4011984092 (refund) and 4011941162 (parameter rules).

use crate::{
    domain::{money::Fen, time::UnixMs},
    gateway::wechat_v2::{sign::SignType, xml::Fields},
};
use std::net::IpAddr;
use url::Url;

/// When a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Always,
    /// For this trade_type only.
    For(&'static str),
    Never,
}

/// One field of a call.
pub struct Rule {
    pub name: &'static str,
    pub need: Need,
    pub valid: fn(&str) -> bool,
    pub wanted: &'static str,
}

/// A field that breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Lacking(&'static str),
    Wrong(&'static str, &'static str),
}

const fn rule(name: &'static str, need: Need, valid: fn(&str) -> bool, wanted: &'static str) -> Rule {
    Rule { name, need, valid, wanted }
}

pub const COMMON: &[Rule] = &[
    rule("appid", Need::Always, |v| v.len() <= 32, "不超过 32 字节"),
    rule("mch_id", Need::Always, |v| v.len() <= 32, "不超过 32 字节"),
    rule("nonce_str", Need::Always, |v| v.len() <= 32, "1 到 32 字节"),
    rule("sign_type", Need::Never, |v| SignType::parse(v).is_some(), "MD5 或 HMAC-SHA256"),
];

pub const UNIFIED_ORDER: &[Rule] = &[
    rule("device_info", Need::Never, |v| v.len() <= 32, "不超过 32 字节"),
    rule("body", Need::Always, |v| v.len() <= 127 && is_bmp(v), "不超过 127 字节，不含四字节字符"),
    rule("detail", Need::Never, |v| v.len() <= 6000 && is_bmp(v), "不超过 6000 字节，不含四字节字符"),
    rule("attach", Need::Never, |v| v.len() <= 127 && is_bmp(v), "不超过 127 字节，不含四字节字符"),
    rule("out_trade_no", Need::Always, is_out_trade_no, "6 到 32 位数字、字母或 _-|*"),
    rule("fee_type", Need::Never, |v| v == "CNY", "CNY"),
    rule("total_fee", Need::Always, is_total_fee, "正整数，单位分"),
    rule("spbill_create_ip", Need::Always, |v| v.parse::<IpAddr>().is_ok(), "IPv4 或 IPv6 地址"),
    rule("time_start", Need::Never, is_time, "yyyyMMddHHmmss"),
    rule("time_expire", Need::Never, is_time, "yyyyMMddHHmmss"),
    rule("goods_tag", Need::Never, |v| v.len() <= 32, "不超过 32 字节"),
    rule("notify_url", Need::Always, is_notify_url, "http 或 https 地址，不带参数"),
    rule("trade_type", Need::Always, |v| TRADE_TYPES.contains(&v), "JSAPI、NATIVE、APP 或 MWEB"),
    rule("product_id", Need::For("NATIVE"), |v| v.len() <= 32, "不超过 32 字节"),
    rule("limit_pay", Need::Never, |v| v == "no_credit", "no_credit"),
    rule("openid", Need::For("JSAPI"), is_openid, "不超过 128 位字母、数字或 _-"),
    rule("receipt", Need::Never, |v| v == "Y", "Y"),
    rule("profit_sharing", Need::Never, |v| matches!(v, "Y" | "N"), "Y 或 N"),
    rule("scene_info", Need::For("MWEB"), is_scene_info, "不超过 256 字节的 JSON 对象"),
];

pub const ORDER_QUERY: &[Rule] = &[
    rule("transaction_id", Need::Never, is_transaction_id, "不超过 32 位"),
    rule("out_trade_no", Need::Never, is_out_trade_no, "6 到 32 位数字、字母或 _-|*"),
];

pub const CLOSE_ORDER: &[Rule] =
    &[rule("out_trade_no", Need::Always, is_out_trade_no, "6 到 32 位数字、字母或 _-|*")];

pub const REFUND: &[Rule] = &[
    rule("transaction_id", Need::Never, is_transaction_id, "不超过 32 位"),
    rule("out_trade_no", Need::Never, is_out_trade_no, "6 到 32 位数字、字母或 _-|*"),
    rule("out_refund_no", Need::Always, is_out_refund_no, "不超过 64 位数字、字母或 _-|*@"),
    rule("total_fee", Need::Always, is_total_fee, "正整数，单位分"),
    rule("refund_fee", Need::Always, is_total_fee, "正整数，单位分"),
    rule("refund_fee_type", Need::Never, |v| v == "CNY", "CNY"),
    rule("refund_desc", Need::Never, |v| v.len() <= 80 && is_bmp(v), "不超过 80 字节，不含四字节字符"),
    rule("refund_account", Need::Never, |v| REFUND_ACCOUNTS.contains(&v), "两种出资账户之一"),
    rule("notify_url", Need::Never, is_notify_url, "http 或 https 地址，不带参数"),
];

pub const REFUND_QUERY: &[Rule] = &[
    rule("transaction_id", Need::Never, is_transaction_id, "不超过 32 位"),
    rule("out_trade_no", Need::Never, is_out_trade_no, "6 到 32 位数字、字母或 _-|*"),
    rule("out_refund_no", Need::Never, is_out_refund_no, "不超过 64 位数字、字母或 _-|*@"),
    rule("refund_id", Need::Never, is_transaction_id, "不超过 32 位"),
    rule("offset", Need::Never, |v| v.parse::<u8>().is_ok(), "不大于 255 的整数"),
];

pub const DOWNLOAD_BILL: &[Rule] = &[
    rule("bill_date", Need::Always, |v| v.len() == 8 && v.bytes().all(|b| b.is_ascii_digit()), "yyyyMMdd"),
    rule("bill_type", Need::Never, |v| v == "ALL", "ALL（模拟器没有别的）"),
];

const REFUND_ACCOUNTS: [&str; 2] = ["REFUND_SOURCE_UNSETTLED_FUNDS", "REFUND_SOURCE_RECHARGE_FUNDS"];
const TRADE_TYPES: [&str; 4] = ["JSAPI", "NATIVE", "APP", "MWEB"];
/// From time_start to time_expire; older pages insist on it and it satisfies the newer ones.
const SHORTEST_ORDER_MS: i64 = 5 * 60 * 1000;

/// Checks presence first, then values, then what fields say about each other.
///
/// # Errors
/// The first field that is missing or breaks its rule.
pub fn check(fields: &Fields, own: &[Rule]) -> Result<(), Broken> {
    let rules = || COMMON.iter().chain(own);
    let trade_type = fields.get("trade_type").unwrap_or_default();
    for rule in rules() {
        let needed = match rule.need {
            Need::Always => true,
            Need::For(only) => only == trade_type,
            Need::Never => false,
        };
        if needed && fields.get(rule.name).is_none() {
            return Err(Broken::Lacking(rule.name));
        }
    }
    for rule in rules() {
        if fields.get(rule.name).is_some_and(|value| !(rule.valid)(value)) {
            return Err(Broken::Wrong(rule.name, rule.wanted));
        }
    }
    if trade_type == "MWEB" && !fields.get("scene_info").is_some_and(names_h5) {
        return Err(Broken::Wrong("scene_info", H5_INFO));
    }
    check_times(fields)
}

fn check_times(fields: &Fields) -> Result<(), Broken> {
    let time = |name| fields.get(name).and_then(UnixMs::parse_beijing_compact);
    match (time("time_start"), time("time_expire")) {
        (Some(start), Some(expire)) if expire.since(start) < SHORTEST_ORDER_MS => {
            Err(Broken::Wrong("time_expire", "至少晚于 time_start 5 分钟"))
        }
        _ => Ok(()),
    }
}

pub fn is_bmp(value: &str) -> bool {
    value.chars().all(|character| character.len_utf8() < 4)
}

pub fn is_out_trade_no(value: &str) -> bool {
    (6..=32).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|*".contains(&b))
}

pub fn is_out_refund_no(value: &str) -> bool {
    value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b))
}

pub fn is_transaction_id(value: &str) -> bool {
    value.len() <= 32 && value.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_total_fee(value: &str) -> bool {
    Fen::parse_fen(value).is_ok_and(|fen| fen.get() >= 1)
}

fn is_time(value: &str) -> bool {
    UnixMs::parse_beijing_compact(value).is_some()
}

pub fn is_notify_url(value: &str) -> bool {
    value.len() <= 256
        && Url::parse(value).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}

pub fn is_openid(value: &str) -> bool {
    value.len() <= 128 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn is_scene_info(value: &str) -> bool {
    value.len() <= 256
        && serde_json::from_str::<serde_json::Value>(value).is_ok_and(|scene| scene.is_object())
}

const H5_INFO: &str = "h5_info：type 为 Wap（带 wap_url、wap_name）、IOS（带 app_name、bundle_id）或 Android（带 app_name、package_name）";

/// Where an H5 payer comes from, as the table of `scene_info` wants it; other ways to pay may say other things there.
fn names_h5(scene: &str) -> bool {
    let scene: serde_json::Value = serde_json::from_str(scene).unwrap_or_default();
    let text = |name| scene.pointer(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let wanted = match text("/h5_info/type") {
        "Wap" => ["/h5_info/wap_url", "/h5_info/wap_name"],
        "IOS" => ["/h5_info/app_name", "/h5_info/bundle_id"],
        "Android" => ["/h5_info/app_name", "/h5_info/package_name"],
        _ => return false,
    };
    wanted.into_iter().all(|name| !text(name).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong(name: &'static str, values: &[&str]) {
        let rule = UNIFIED_ORDER.iter().chain(REFUND).chain(COMMON).find(|rule| rule.name == name).unwrap();
        for value in values {
            assert!(!(rule.valid)(value), "{name} accepts {value:?}");
        }
    }

    #[test]
    fn a_value_outside_its_rule_is_refused() {
        wrong("body", &["中".repeat(43).as_str(), "充值🎉"]);
        wrong("out_trade_no", &["12345", "with space", "a&b12345", "订单一二三四", &"9".repeat(33)]);
        wrong("total_fee", &["0", "-1", "1.00", "01", "1e3", "１００", " 1"]);
        wrong("spbill_create_ip", &["localhost", "1.2.3", "1.2.3.4.5"]);
        wrong("notify_url", &["/notify", "ftp://a/b", "http://a/b?c=d", "https://a/b#c", "http://u@a/b"]);
        wrong("trade_type", &["jsapi", "MICROPAY"]);
        wrong("time_expire", &["2026-01-01 00:00:00", "20260230000000"]);
        wrong("fee_type", &["USD"]);
        wrong("limit_pay", &["no_debit"]);
        wrong("scene_info", &["[]", "not json"]);
        wrong("out_refund_no", &["with space", "a&b", "退款一", &"9".repeat(65)]);
        wrong("refund_fee", &["0", "-1", "1.00", "01"]);
        wrong("refund_fee_type", &["USD"]);
        wrong("refund_desc", &["退".repeat(27).as_str(), "退款🎉"]);
        wrong("refund_account", &["REFUND_SOURCE_MY_POCKET"]);
        wrong("sign_type", &["md5", "HMAC-SHA1"]);
        wrong("nonce_str", &["a".repeat(33).as_str()]);
    }

    #[test]
    fn an_order_shorter_than_five_minutes_is_refused() {
        let times = |expire| -> Fields {
            [("time_start", "20260101000000"), ("time_expire", expire)].into_iter().collect()
        };
        assert_eq!(check_times(&times("20260101000500")), Ok(()));
        assert!(check_times(&times("20260101000459")).is_err());
    }

    #[test]
    fn an_h5_order_says_where_its_payer_comes_from_and_others_may_say_what_they_like() {
        let of = |trade_type: &str, scene: &str| -> Fields {
            [
                ("appid", "wx0"),
                ("mch_id", "1"),
                ("nonce_str", "n"),
                ("body", "充值"),
                ("out_trade_no", "order-000001"),
                ("total_fee", "1"),
                ("spbill_create_ip", "127.0.0.1"),
                ("notify_url", "https://shop.test/n"),
                ("trade_type", trade_type),
                ("product_id", "1"),
                ("openid", "o1"),
                ("scene_info", scene),
            ]
            .into_iter()
            .collect()
        };
        let wap = r#"{"h5_info":{"type":"Wap","wap_url":"https://shop.test","wap_name":"店"}}"#;
        for good in [
            wap,
            r#"{"h5_info":{"type":"IOS","app_name":"店","bundle_id":"com.shop"}}"#,
            r#"{"h5_info":{"type":"Android","app_name":"店","package_name":"com.shop"}}"#,
        ] {
            assert_eq!(check(&of("MWEB", good), UNIFIED_ORDER), Ok(()), "{good}");
        }
        for bad in [
            "{}",
            r#"{"h5_info":{}}"#,
            r#"{"h5_info":"Wap"}"#,
            r#"{"store_info":{"id":"1"}}"#,
            &wap.replace("Wap", "wap"),
            &wap.replace("Wap", "Android"),
            &wap.replace("wap_url", "url"),
            &wap.replace("店", ""),
            r#"{"h5_info":{"type":"IOS","app_name":"店","package_name":"com.shop"}}"#,
        ] {
            let refused = check(&of("MWEB", bad), UNIFIED_ORDER);
            assert_eq!(refused, Err(Broken::Wrong("scene_info", H5_INFO)), "{bad}");
        }
        for other in ["JSAPI", "NATIVE", "APP"] {
            for scene in [wap, "{}", r#"{"store_info":{"id":"1"}}"#] {
                assert_eq!(check(&of(other, scene), UNIFIED_ORDER), Ok(()), "{other} {scene}");
            }
        }
    }
}
