//! unifiedorder: prepares a payment and brings back its `prepay_id`, or the address that stands for it.
//!
//! Source: page 4011936530 (updated 2025-12-04).

use super::{
    Account, error_code,
    reply::{self, Reply},
    xml::Fields,
};
use crate::{
    canary::{self, Canary},
    domain::order::{Attempt, Channel},
    gateway::{
        Prepaid, Request, Response, Stamp, Untrusted,
        wechat::{self, Meaning},
    },
};
use serde_json::json;

/// WeChat's word for a channel; a mini program pays as JSAPI, under its own appid.
const fn trade_type(channel: Channel) -> &'static str {
    match channel {
        Channel::WechatNative => "NATIVE",
        Channel::WechatH5 => "MWEB",
        Channel::WechatApp => "APP",
        _ => "JSAPI",
    }
}

/// JSON in a field: which site sends the payer (H5 page of unifiedorder).
fn scene_info(account: &Account, attempt: &Attempt) -> String {
    let h5_info = json!({
        "type": "Wap",
        "wap_url": account.public_url,
        "wap_name": wechat::description(&attempt.goods_name),
    });
    json!({ "h5_info": h5_info }).to_string()
}

/// Every parameter comes from the stored attempt, so a repeated call is a true repetition to WeChat.
pub fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Request {
    let total_fee = attempt.amount.get().to_string();
    let off_secs = if canary::sings(Canary::NoZone) { -8 * 3600 } else { 0 };
    let time_start = attempt.created_at.plus_secs(off_secs).beijing_compact();
    let time_expire = attempt.expires_at.plus_secs(off_secs).beijing_compact();
    let mut fields: Fields = [
        ("body", wechat::description(&attempt.goods_name)),
        ("out_trade_no", attempt.out_trade_no.as_str()),
        ("total_fee", total_fee.as_str()),
        ("fee_type", "CNY"),
        ("spbill_create_ip", attempt.client_ip.as_str()),
        ("time_start", time_start.as_str()),
        ("time_expire", time_expire.as_str()),
        ("notify_url", attempt.notify_url.as_str()),
        ("trade_type", trade_type(attempt.channel)),
    ]
    .into_iter()
    .collect();
    match attempt.channel {
        Channel::WechatNative => fields.set("product_id", attempt.out_trade_no.as_str()),
        Channel::WechatH5 => fields.set("scene_info", &scene_info(account, attempt)),
        _ => {}
    }
    if let Some(payer) = &attempt.payer {
        fields.set("openid", payer.as_str());
    }
    super::signed_request(
        account,
        account.appid_of(attempt.channel),
        "unifiedorder",
        "/pay/unifiedorder",
        fields,
        stamp,
    )
}

/// # Errors
/// A reply that may not be used: the outcome is unknown.
pub fn read(account: &Account, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
    match reply::read(account, answer, &attempt.out_trade_no)? {
        Reply::Done(fields) => {
            let (name, usable): (_, fn(&str) -> bool) = match attempt.channel {
                Channel::WechatNative => ("code_url", wechat::is_code_url),
                Channel::WechatH5 => ("mweb_url", wechat::is_h5_url),
                _ => ("prepay_id", wechat::is_prepay_id),
            };
            let prepay_id = fields.get(name).filter(|value| usable(value));
            Ok(Prepaid::Ready { prepay_id: prepay_id.ok_or(Untrusted::Incomplete(name))?.to_owned() })
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
