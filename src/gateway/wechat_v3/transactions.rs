//! transactions: prepares a payment by JSAPI (also for mini programs), Native, H5 or App, and reads one that was made.
//!
//! Source: the V3 order page of each product, and the fields of a transaction on the order query page.

use super::{
    Account, WechatV3, app, error_code, jsapi,
    json::Object,
    reply::{self, Reply},
    sign,
};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::{Openid, OutTradeNo, TransactionId},
        order::{Attempt, Channel},
        time::UnixMs,
    },
    gateway::{
        Checkout, Prepaid, Protocol, Request, Response, Stamp, Untrusted, VerifiedPayment,
        wechat::{self, Meaning},
        words::word,
    },
};
use serde::Serialize;

#[derive(Serialize)]
struct Order<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: &'a str,
    out_trade_no: &'a str,
    time_expire: String,
    notify_url: &'a str,
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<Payer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scene_info: Option<SceneInfo<'a>>,
}

#[derive(Serialize)]
struct Amount {
    /// Fen.
    total: i64,
    currency: &'static str,
}

#[derive(Serialize)]
struct Payer<'a> {
    openid: &'a str,
}

#[derive(Serialize)]
struct SceneInfo<'a> {
    payer_client_ip: &'a str,
    h5_info: H5Info,
}

#[derive(Serialize)]
struct H5Info {
    r#type: &'static str,
}

/// Every parameter comes from the stored attempt, so a repeated call is a true repetition to WeChat.
pub(super) fn request(account: &Account, attempt: &Attempt, stamp: &Stamp) -> Option<Request> {
    let (call, path) = match attempt.channel {
        Channel::WechatJsapi | Channel::WechatMini => ("transactions/jsapi", "/v3/pay/transactions/jsapi"),
        Channel::WechatNative => ("transactions/native", "/v3/pay/transactions/native"),
        Channel::WechatH5 => ("transactions/h5", "/v3/pay/transactions/h5"),
        Channel::WechatApp => ("transactions/app", "/v3/pay/transactions/app"),
        // No attempt of these is ever made for an account at WeChat.
        Channel::AlipayQr | Channel::AlipayPage | Channel::AlipayWap => return None,
    };
    let payer = attempt.payer.as_ref().filter(|_| attempt.channel.names_payer());
    let scene_info = SceneInfo { payer_client_ip: &attempt.client_ip, h5_info: H5Info { r#type: "Wap" } };
    let order = Order {
        appid: appid(attempt),
        mchid: &account.mch_id,
        description: wechat::description(&attempt.goods_name),
        out_trade_no: attempt.out_trade_no.as_str(),
        time_expire: attempt.expires_at.beijing_rfc3339(),
        notify_url: &attempt.notify_url,
        amount: Amount { total: attempt.amount.get(), currency: "CNY" },
        payer: payer.map(|openid| Payer { openid: openid.as_str() }),
        scene_info: (attempt.channel == Channel::WechatH5).then_some(scene_info),
    };
    // Texts and numbers alone: writing them cannot fail.
    let body = serde_json::to_string(&order).unwrap_or_default();
    Some(sign::request(account, call, path.to_owned(), Some(body), stamp))
}

/// The appid an attempt was made under.
fn appid(attempt: &Attempt) -> &str {
    wechat::appid_of_account(&attempt.account)
}

/// # Errors
/// A reply that may not be used: the outcome is unknown.
pub(super) fn read(gateway: &WechatV3, answer: &Response, attempt: &Attempt) -> Result<Prepaid, Untrusted> {
    match reply::read(gateway, answer)? {
        Reply::Told(told) => ready(&told, attempt.channel),
        Reply::NoContent => Err(Untrusted::Status(answer.status)),
        Reply::Failed(failure) => {
            Ok(match error_code::meaning(failure.status, &failure.code, &failure.message) {
                Meaning::Paid => Prepaid::Paid,
                Meaning::Closed => Prepaid::Closed,
                Meaning::NumberUsed => Prepaid::NumberUsed,
                Meaning::UnknownOutcome | Meaning::Throttled | Meaning::NotFound => {
                    Prepaid::Unknown { code: failure.code }
                }
                Meaning::Configuration | Meaning::OurDefect => Prepaid::Refused { code: failure.code },
            })
        }
    }
}

fn ready(told: &Object, channel: Channel) -> Result<Prepaid, Untrusted> {
    let (name, usable): (_, fn(&str) -> bool) = match channel {
        Channel::WechatNative => ("code_url", wechat::is_code_url),
        Channel::WechatH5 => ("h5_url", wechat::is_h5_url),
        _ => ("prepay_id", wechat::is_prepay_id),
    };
    let found = told.text(name).filter(|text| usable(text));
    Ok(Prepaid::Ready { prepay_id: found.ok_or(Untrusted::Incomplete(name))?.to_owned() })
}

/// What the payer needs, from what `read` brought.
pub(super) fn checkout(account: &Account, attempt: &Attempt, prepay_id: &str, stamp: &Stamp) -> Checkout {
    match attempt.channel {
        Channel::WechatJsapi | Channel::WechatMini => {
            Checkout::Jsapi { params: jsapi::sign(account, appid(attempt), prepay_id, stamp) }
        }
        Channel::WechatApp => Checkout::App { params: app::sign(account, appid(attempt), prepay_id, stamp) },
        Channel::WechatH5 => {
            let url = wechat::with_return(prepay_id, &account.public_url, &attempt.out_trade_no);
            Checkout::Redirect { url }
        }
        Channel::WechatNative | Channel::AlipayQr | Channel::AlipayPage | Channel::AlipayWap => {
            Checkout::Qr { code_url: prepay_id.to_owned() }
        }
    }
}

/// Reads the payment out of a transaction whose signature and identity were checked by the caller.
/// `amount.total` is the amount: coupons make `payer_total` smaller.
///
/// # Errors
/// The name of the field that is missing or unreadable.
pub(super) fn payment(account: &Account, told: &Object) -> Result<VerifiedPayment, &'static str> {
    let amount = told.object("amount").ok_or("amount")?;
    let currency = match amount.value("currency") {
        None => "CNY",
        Some(_) => amount.text("currency").ok_or("currency")?,
    };
    let appid = told.text("appid").ok_or("appid")?;
    let total = if canary::sings(Canary::V3PayerTotal) { "payer_total" } else { "total" };
    Ok(VerifiedPayment {
        protocol: Protocol::WechatV3,
        account: wechat::account_name(&account.mch_id, appid),
        environment: account.environment,
        out_trade_no: told.text("out_trade_no").and_then(OutTradeNo::parse).ok_or("out_trade_no")?,
        transaction_id: told.text("transaction_id").and_then(TransactionId::parse).ok_or("transaction_id")?,
        amount: amount.fen(total).filter(|fen| fen.get() > 0).ok_or("amount.total")?,
        currency: word(currency),
        trade_type: word(told.text("trade_type").unwrap_or_default()),
        payer: told.object("payer").and_then(|payer| payer.text("openid")).and_then(Openid::parse),
        paid_at: told.text("success_time").and_then(UnixMs::parse_rfc3339),
    })
}
