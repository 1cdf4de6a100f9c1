//! An account of our own for tests, and WeChat's side of it: its keys, its signatures, its seals.

use super::{Account, ApiV3Key, PlatformCertificate, WechatPublicKey, WechatV3, aead, sign::lines};
use crate::{
    domain::{
        ids::{Openid, OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        order::{Attempt, Channel, Environment, Provider},
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    gateway::{
        Headers, Notify, Response, Stamp,
        rsa::{PrivateKey, PublicKey, certificate_der},
        wechat::Appids,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub const NOW: UnixMs = UnixMs(1_722_850_421_000);
pub const API_V3_KEY: &str = "TestsOnlyApiV3Key_0123456789abcd";
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0100001000020250101000000001";

/// Making a key takes a while, so all tests share these.
pub static MERCHANT: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
pub static WECHAT: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
pub static STRANGER: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

pub fn public(key: &PrivateKey) -> PublicKey {
    PublicKey::parse(&key.public_base64().unwrap()).unwrap()
}

/// In public-key mode.
pub fn account() -> Account {
    Account {
        appids: Appids {
            web: "wx2421b1c4370ec43b".to_owned(),
            mini: Some("wxmini0000000001".to_owned()),
            app: Some("wxapp00000000001".to_owned()),
        },
        mch_id: "10000100".to_owned(),
        key: MERCHANT.clone(),
        serial: "4A6B".to_owned(),
        api_v3_key: ApiV3Key::new(API_V3_KEY).unwrap(),
        public_key: Some(WechatPublicKey { id: PUBLIC_KEY_ID.to_owned(), key: public(&WECHAT) }),
        certificates: Vec::new(),
        public_url: "https://pay.example.com".to_owned(),
        environment: Environment::Live,
    }
}

pub fn gateway() -> WechatV3 {
    WechatV3::new(account())
}

/// In certificate mode, with these.
pub fn gateway_with(certificates: Vec<PlatformCertificate>) -> WechatV3 {
    WechatV3::new(Account { public_key: None, certificates, ..account() })
}

pub fn stamp() -> Stamp {
    Stamp { now: NOW, nonce: "6OQ37L7i6JN1PRLD".to_owned() }
}

/// The headers a message is signed with, as they are kept.
pub fn headers(key: &PrivateKey, serial: &str, body: &[u8], at: UnixMs) -> String {
    let (secs, nonce) = (at.secs().to_string(), "d824f2e086d3c1df967785d13fcd22ef");
    let signature = key.sign(&lines([secs.as_bytes(), nonce.as_bytes(), body]));
    format!(
        "wechatpay-timestamp: {secs}\nwechatpay-nonce: {nonce}\nwechatpay-signature: {signature}\n\
         wechatpay-serial: {serial}\nwechatpay-signature-type: WECHATPAY2-SHA256-RSA2048\n"
    )
}

/// A reply signed by whoever, just now.
pub fn reply_by(key: &PrivateKey, serial: &str, status: u16, body: &str) -> Response {
    Response {
        status,
        headers: headers(key, serial, body.as_bytes(), NOW),
        body: body.as_bytes().to_vec(),
        received_at: NOW,
    }
}

/// A reply signed by WeChat's public key.
pub fn reply(status: u16, body: &Value) -> Response {
    reply_by(&WECHAT, PUBLIC_KEY_ID, status, &body.to_string())
}

/// An error as WeChat says it.
pub fn failure(status: u16, code: &str) -> Response {
    reply(status, &json!({ "code": code, "message": "text" }))
}

/// What stands in `resource` or `encrypt_certificate`.
pub fn sealed(key: &str, associated_data: &str, plain: &str) -> Value {
    let key = ApiV3Key::new(key).unwrap();
    json!({
        "algorithm": aead::ALGORITHM,
        "nonce": "nonce-nonce-",
        "associated_data": associated_data,
        "ciphertext": aead::seal(&key, "nonce-nonce-", associated_data, plain).unwrap(),
    })
}

/// The body of a callback around these contents.
pub fn callback(event_type: &str, contents: &str) -> String {
    let resource = sealed(API_V3_KEY, "transaction", contents);
    json!({ "id": "1", "event_type": event_type, "resource_type": "encrypt-resource", "resource": resource })
        .to_string()
}

pub fn notify<'a>(headers: &'a str, body: &'a str) -> Notify<'a> {
    Notify { headers: Headers(headers), body: body.as_bytes(), received_at: NOW }
}

/// A transaction of `attempt`, paid.
pub fn transaction() -> Value {
    json!({
        "appid": "wx2421b1c4370ec43b", "mchid": "10000100", "out_trade_no": "P1|*_-",
        "transaction_id": "4200000290201904150837155038", "trade_type": "JSAPI", "trade_state": "SUCCESS",
        "success_time": "2024-07-31T20:13:30+08:00", "payer": { "openid": "oUpF8uMEb4qRXf22hE3X68TekukE" },
        "amount": { "total": 100, "payer_total": 1, "currency": "CNY", "payer_currency": "CNY" },
    })
}

pub fn attempt(channel: Channel) -> Attempt {
    let account = account();
    let appid = account.appids.of(channel).unwrap();
    Attempt {
        out_trade_no: OutTradeNo::parse("P1|*_-").unwrap(),
        order_id: 1,
        channel,
        account: format!("{}:{appid}", account.mch_id),
        environment: Environment::Live,
        amount: Fen::new(100).unwrap(),
        goods_name: "账户充值".to_owned(),
        payer: Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE"),
        client_ip: "2001:db8::1".to_owned(),
        notify_url: "https://pay.example.com/notify/wechat/v3".to_owned(),
        created_at: NOW,
        expires_at: UnixMs(1_555_331_440_000),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

pub fn refund() -> Refund {
    Refund {
        id: 1,
        out_refund_no: OutRefundNo::parse("RF@1|").unwrap(),
        order_id: Some(1),
        work_item_id: None,
        user_id: Some(1),
        provider: Provider::Wechat,
        account: "10000100:wx2421b1c4370ec43b".to_owned(),
        environment: Environment::Live,
        out_trade_no: OutTradeNo::parse("P1|*_-").unwrap(),
        transaction_id: TransactionId::parse("4200000290201904150837155038").unwrap(),
        total: Fen::new(100).unwrap(),
        amount: Fen::new(7).unwrap(),
        reason: "七天无理由".to_owned(),
        notify_url: "https://pay.example.com/notify/wechat/v3/refund".to_owned(),
        requested_by: "ann".to_owned(),
        requested_at: NOW,
        decided_by: None,
        state: RefundState::Asking,
        refund_id: None,
        last_answer: None,
        asked: 0,
        asked_at: None,
        refused_at: None,
        queried_at: None,
        next_at: None,
        finished_at: None,
    }
}

/// A refund of it, as a reply tells of it.
pub fn refund_told() -> Value {
    json!({
        "refund_id": "50000408942018111907145868882", "out_refund_no": "RF@1|", "out_trade_no": "P1|*_-",
        "transaction_id": "4200000290201904150837155038", "user_received_account": "支付用户零钱",
        "status": "SUCCESS", "amount": { "total": 100, "refund": 7, "currency": "CNY" },
    })
}

/// A platform certificate in PEM, of this key and serial number, that ends in that year.
pub fn certificate_pem(key: &PrivateKey, serial: &[u8], ends: i32) -> String {
    let der = STANDARD.decode(key.to_base64().unwrap()).unwrap();
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &rcgen::PKCS_RSA_SHA256)
        .unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(ends, 1, 1);
    params.self_signed(&pair).unwrap().pem()
}

pub fn certificate(key: &PrivateKey, serial: &[u8], ends: i32) -> PlatformCertificate {
    let der = certificate_der(&certificate_pem(key, serial, ends)).unwrap();
    PlatformCertificate::from_der(&der).unwrap()
}
