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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ids::OutTradeNo, money::Fen, order::Environment, time::UnixMs},
        gateway::{
            wechat::Appids,
            wechat_v2::{ApiKey, sign::SignType},
        },
    };

    const NOW: UnixMs = UnixMs(1_722_850_421_000);

    fn account() -> Account {
        Account {
            appids: Appids { web: "wx2421b1c4370ec43b".to_owned(), mini: None, app: None },
            mch_id: "10000100".to_owned(),
            key: ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap(),
            sign_type: SignType::HmacSha256,
            accept: vec![SignType::HmacSha256],
            public_url: "https://pay.example.com".to_owned(),
            environment: Environment::Live,
        }
    }

    fn sent(channel: Channel, goods_name: &str) -> Fields {
        let attempt = Attempt {
            out_trade_no: OutTradeNo::parse("P20190415203040A").unwrap(),
            order_id: 1,
            channel,
            account: "10000100:wx2421b1c4370ec43b".to_owned(),
            environment: Environment::Live,
            amount: Fen::new(100).unwrap(),
            goods_name: goods_name.to_owned(),
            payer: None,
            client_ip: "2001:db8::1".to_owned(),
            notify_url: "https://pay.example.com/notify/wechat".to_owned(),
            created_at: NOW,
            expires_at: NOW.plus_secs(7200),
            asked_at: None,
            prepay_id: None,
            prepaid_at: None,
            closed_at: None,
        };
        let stamp = Stamp { now: NOW, nonce: "6OQ37L7i6JN1PRLD".to_owned() };
        Fields::parse(request(&account(), &attempt, &stamp).body.unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn a_phones_browser_is_said_to_come_from_our_site_and_nobody_else_is() {
        let fields = sent(Channel::WechatH5, "账户充值");
        assert_eq!(fields.get("trade_type"), Some("MWEB"));
        let scene: serde_json::Value = serde_json::from_str(fields.get("scene_info").unwrap()).unwrap();
        let h5 = json!({ "type": "Wap", "wap_url": "https://pay.example.com", "wap_name": "账户充值" });
        assert_eq!(scene, json!({ "h5_info": h5 }));
        for other in [Channel::WechatNative, Channel::WechatApp] {
            assert_eq!(sent(other, "账户充值").get("scene_info"), None, "{other:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_so_that_the_field_keeps_its_256_bytes() {
        let fields = sent(Channel::WechatH5, &"店".repeat(200));
        let scene = fields.get("scene_info").unwrap();
        let read: serde_json::Value = serde_json::from_str(scene).unwrap();
        assert_eq!(read["h5_info"]["wap_name"], fields.get("body").unwrap());
        assert!(scene.len() <= 256, "{} bytes of {scene}", scene.len());
    }
}
