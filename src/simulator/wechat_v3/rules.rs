//! The field rules of the V3 calls, as tables: what must be there, of which JSON type, and what each value may be. No I/O.
//!
//! Source: the official pages of the four orders, of closing and of refunds. Names nobody has heard of are refused, which
//! the real one does not do: whoever sends them has misspelt something.

use super::Fault;
use crate::{
    domain::time::UnixMs,
    gateway::wechat_v2::xml::Fields,
    simulator::rules::{
        is_bmp, is_notify_url, is_openid, is_out_refund_no, is_out_trade_no, is_transaction_id,
    },
};
use serde_json::Value;
use std::net::IpAddr;

/// One field of a body. What nests is named with points.
pub struct Rule {
    name: &'static str,
    /// V2's words for the ways to pay that need it; all of them, or none.
    needed: &'static [&'static str],
    valid: fn(&Value) -> bool,
    wanted: &'static str,
}

const ALL: &[&str] = &["JSAPI", "NATIVE", "MWEB", "APP", ""];
const NONE: &[&str] = &[];

const fn rule(
    name: &'static str,
    needed: &'static [&'static str],
    valid: fn(&Value) -> bool,
    wanted: &'static str,
) -> Rule {
    Rule { name, needed, valid, wanted }
}

const NUMBER: &str = "6 到 32 位数字、字母或 _-|*";
const ADDRESS: &str = "不超过 255 字节的 http 或 https 地址，不带参数";

pub const ORDER: &[Rule] = &[
    rule("appid", ALL, |v| text(v, |t| t.len() <= 32), "不超过 32 字节"),
    rule("mchid", ALL, |v| text(v, |t| t.len() <= 32), "不超过 32 字节"),
    rule("description", ALL, |v| text(v, |t| t.len() <= 127 && is_bmp(t)), "不超过 127 字节，不含四字节字符"),
    rule("out_trade_no", ALL, |v| text(v, is_out_trade_no), NUMBER),
    rule("time_expire", NONE, |v| text(v, |t| parse_time(t).is_some()), "yyyy-MM-DDTHH:mm:ss+08:00"),
    rule(
        "attach",
        NONE,
        |v| text(v, |t| t.len() <= 128 && is_bmp(t) && !t.trim().is_empty()),
        "不超过 128 字节，不全是空格",
    ),
    rule("notify_url", ALL, |v| text(v, |t| t.len() <= 255 && is_notify_url(t)), ADDRESS),
    rule("goods_tag", NONE, |v| text(v, |t| t.len() <= 32), "不超过 32 字节"),
    rule("support_fapiao", NONE, Value::is_boolean, "布尔值"),
    rule("amount.total", ALL, is_fen, "正整数，单位分"),
    rule("amount.currency", NONE, |v| text(v, |t| t == "CNY"), "CNY"),
    rule("payer.openid", &["JSAPI"], |v| text(v, is_openid), "不超过 128 位数字、字母或 _-"),
    rule("scene_info.payer_client_ip", &["MWEB"], |v| text(v, |t| t.parse::<IpAddr>().is_ok()), "IP 地址"),
    rule("scene_info.device_id", NONE, |v| text(v, |t| t.len() <= 32), "不超过 32 字节"),
    rule(
        "scene_info.h5_info.type",
        &["MWEB"],
        |v| text(v, |t| ["Wap", "iOS", "Android"].contains(&t)),
        "Wap、iOS 或 Android",
    ),
    rule("scene_info.h5_info.app_name", NONE, |v| text(v, |t| t.len() <= 64), "不超过 64 字节"),
    rule("scene_info.h5_info.app_url", NONE, |v| text(v, |t| t.len() <= 128), "不超过 128 字节"),
    rule("settle_info.profit_sharing", NONE, Value::is_boolean, "布尔值"),
    rule("limit_pay", NONE, Value::is_array, "数组"),
];

pub const CLOSE: &[Rule] = &[rule("mchid", ALL, |v| text(v, |t| t.len() <= 32), "不超过 32 字节")];

pub const REFUND: &[Rule] = &[
    rule("transaction_id", NONE, |v| text(v, is_transaction_id), "不超过 32 位"),
    rule("out_trade_no", NONE, |v| text(v, is_out_trade_no), NUMBER),
    rule("out_refund_no", ALL, |v| text(v, is_out_refund_no), "不超过 64 位数字、字母或 _-|*@"),
    rule("reason", NONE, |v| text(v, |t| t.len() <= 80 && is_bmp(t)), "不超过 80 字节，不含四字节字符"),
    rule("notify_url", NONE, |v| text(v, |t| t.len() <= 255 && is_notify_url(t)), ADDRESS),
    rule("funds_account", NONE, |v| text(v, |t| ["AVAILABLE", "UNSETTLED"].contains(&t)), "出资账户之一"),
    rule("amount.refund", ALL, is_fen, "正整数，单位分"),
    rule("amount.total", ALL, is_fen, "正整数，单位分"),
    rule("amount.currency", ALL, |v| text(v, |t| t == "CNY"), "CNY"),
    rule("goods_detail", NONE, Value::is_array, "数组"),
];

/// The body's fields, each as text under its name with points, once they keep the rules of this way to pay.
///
/// # Errors
/// The first field that is missing, unknown or breaks its rule; no JSON object.
pub fn checked(body: &[u8], rules: &[Rule], trade_type: &str) -> Result<Fields, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Fault::param("body", "请求体不是 JSON"))?;
    if !value.is_object() {
        return Err(Fault::param("body", "请求体不是 JSON 对象"));
    }
    let mut leaves = Vec::new();
    flatten("", &value, &mut leaves);
    for rule in rules {
        let needed = rule.needed.contains(&trade_type);
        if needed && !leaves.iter().any(|(name, _)| name == rule.name) {
            return Err(Fault::param(rule.name, "缺少参数"));
        }
    }
    let mut fields = Fields::default();
    for (name, value) in leaves {
        match rules.iter().find(|rule| rule.name == name) {
            None => return Err(Fault::param(&name, "没有这个参数")),
            Some(rule) if !(rule.valid)(value) => {
                return Err(Fault::param(&name, &format!("应为{}", rule.wanted)));
            }
            Some(_) => fields.set(&name, value.as_str().unwrap_or(&value.to_string())),
        }
    }
    Ok(fields)
}

/// Everything but objects, under its name with points.
fn flatten<'a>(above: &str, value: &'a Value, leaves: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) if !members.is_empty() || above.is_empty() => {
            for (name, member) in members {
                let name = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
                flatten(&name, member, leaves);
            }
        }
        leaf => leaves.push((above.to_owned(), leaf)),
    }
}

/// A JSON text that is not empty.
fn text(value: &Value, valid: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && valid(text))
}

/// A JSON integer from one fen on; `990.0` and `"990"` are none.
fn is_fen(value: &Value) -> bool {
    value.as_i64().is_some_and(|fen| (1..=10_000_000_000).contains(&fen))
}

/// `2018-06-08T10:34:56+08:00`. `None` for anything that is not a real moment of Beijing time.
pub fn parse_time(text: &str) -> Option<UnixMs> {
    let local = text.strip_suffix("+08:00")?;
    let compact: String = local.chars().filter(char::is_ascii_digit).collect();
    UnixMs::parse_beijing_compact(&compact).filter(|at| write_time(*at) == text)
}

pub fn write_time(at: UnixMs) -> String {
    format!("{}+08:00", at.beijing_text().replace(' ', "T"))
}
