//! What the simulator's own tests share.

use super::*;
use crate::{
    config::{Origins, RsaKeys},
    domain::order::Environment,
    gateway::{
        rsa::{PrivateKey, PublicKey},
        wechat::Appids,
        wechat_v2::{
            ApiKey,
            sign::{self, SignType},
        },
        wechat_v3,
    },
};
use actix_web::test;
use serde_json::{Value, json};
use std::sync::OnceLock;

pub const NOW: UnixMs = UnixMs(1_770_000_000_000);
pub const NUMBER: &str = "order-000001";
pub const ORIGIN: &str = "http://shop.test";
pub const WEB: &str = "wxd930ea5d5a258f4f";
pub const MINI: &str = "wx00000000000mini0";
pub const APP: &str = "wx000000000000app0";

pub use crate::config::{
    SIMULATOR_ALIPAY_APP_ID as ALIPAY_APP_ID, SIMULATOR_ALIPAY_SELLER_ID as ALIPAY_SELLER_ID,
};

/// Both sides' keys at Alipay, read once for all tests because that takes long.
pub struct AlipayKeys {
    pub app: PrivateKey,
    pub platform: PrivateKey,
    pub platform_public: PublicKey,
}

pub fn alipay_keys() -> &'static AlipayKeys {
    static KEYS: OnceLock<AlipayKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let platform = PrivateKey::parse(&rsa().alipay_platform).unwrap();
        AlipayKeys {
            app: PrivateKey::parse(&rsa().alipay_app).unwrap(),
            platform_public: PublicKey::parse(&platform.public_base64().unwrap()).unwrap(),
            platform,
        }
    })
}

/// A simulator whose merchant is at Alipay too.
pub fn alipay_simulator() -> (Simulator, Clock) {
    opened(Options {
        alipay: AlipayApp::of(keys()),
        ..Options::new(account(), SecretString::from("an-app-secret"), ORIGIN.to_owned())
    })
}

pub fn simulator() -> (Simulator, Clock) {
    opened(Options {
        mini_secret: SecretString::from("a-mini-secret"),
        ..Options::new(account(), SecretString::from("an-app-secret"), ORIGIN.to_owned())
    })
}

fn account() -> Account {
    Account {
        appids: Appids { web: WEB.to_owned(), mini: Some(MINI.to_owned()), app: Some(APP.to_owned()) },
        mch_id: "10000100".to_owned(),
        key: ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap(),
        sign_type: SignType::HmacSha256,
        accept: vec![SignType::HmacSha256],
        public_url: ORIGIN.to_owned(),
        environment: Environment::Simulator,
    }
}

fn opened(options: Options) -> (Simulator, Clock) {
    let clock = Clock::manual(NOW);
    let http = Http::new(Origins::default()).unwrap();
    (Simulator::new(options, clock.clone(), http), clock)
}

/// A unifiedorder that keeps every rule, not signed yet.
pub fn order(simulator: &Simulator) -> Fields {
    let openid = simulator.openid_of(1);
    let (start, expire) = (NOW.beijing_compact(), NOW.plus_secs(900).beijing_compact());
    [
        ("appid", WEB),
        ("mch_id", "10000100"),
        ("nonce_str", "ibuaiVcKdpRxkhJA"),
        ("sign_type", "HMAC-SHA256"),
        ("body", "账户充值"),
        ("attach", "a-b"),
        ("out_trade_no", NUMBER),
        ("total_fee", "990"),
        ("spbill_create_ip", "127.0.0.1"),
        ("time_start", start.as_str()),
        ("time_expire", expire.as_str()),
        ("notify_url", "http://127.0.0.1:9/notify"),
        ("trade_type", "JSAPI"),
        ("openid", openid.as_str()),
    ]
    .into_iter()
    .collect()
}

pub fn about(number: &str) -> Fields {
    [
        ("appid", WEB),
        ("mch_id", "10000100"),
        ("nonce_str", "n"),
        ("sign_type", "HMAC-SHA256"),
        ("out_trade_no", number),
    ]
    .into_iter()
    .collect()
}

/// Signs, posts, and checks the signature of what comes back when it has to have one.
pub async fn call(simulator: &Simulator, path: &str, mut fields: Fields) -> Fields {
    let key = simulator.account().key.clone();
    let sign_type = fields.get("sign_type").and_then(SignType::parse).unwrap_or(SignType::Md5);
    let signature = sign::sign(&fields, &key, sign_type);
    fields.set("sign", &signature);
    let reply = post(simulator, path, fields.to_xml().into_bytes()).await;
    if reply.get("return_code") == Some("SUCCESS") {
        sign::verify(&reply, &key, &[sign_type]).unwrap();
    } else {
        assert_eq!(reply.get("sign"), None);
    }
    reply
}

pub async fn post(simulator: &Simulator, path: &str, body: Vec<u8>) -> Fields {
    let app = test::init_service(App::new().configure(routes(simulator))).await;
    let request = test::TestRequest::post().uri(path).set_payload(body).to_request();
    Fields::parse(&test::call_and_read_body(&app, request).await).unwrap()
}

/// A paid trade; answers with its prepay_id.
pub async fn paid(simulator: &Simulator) -> String {
    let prepay_id = prepay(simulator).await;
    simulator.pay(NUMBER).unwrap();
    prepay_id
}

/// A refund of that trade that keeps every rule, not signed yet.
pub fn refund_of(simulator: &Simulator, out_refund_no: &str, fen: i64) -> Fields {
    let mut fields = about(NUMBER);
    fields.remove("out_trade_no");
    let transaction_id = simulator.trade(NUMBER).unwrap().transaction_id.unwrap();
    for (name, value) in [
        ("transaction_id", transaction_id.as_str()),
        ("out_refund_no", out_refund_no),
        ("total_fee", "990"),
        ("refund_fee", fen.to_string().as_str()),
        ("refund_desc", "商品已售完"),
        ("notify_url", "http://127.0.0.1:9/notify/refund"),
    ] {
        fields.set(name, value);
    }
    fields
}

/// The same for another way to pay, under this appid.
pub fn order_as(simulator: &Simulator, trade_type: &str, appid: &str) -> Fields {
    let mut fields = order(simulator);
    fields.set("trade_type", trade_type);
    fields.set("appid", appid);
    match trade_type {
        "JSAPI" if appid == MINI => fields.set("openid", &simulator.mini_openid_of(1).unwrap()),
        "JSAPI" => {}
        _ => fields.remove("openid"),
    }
    match trade_type {
        "NATIVE" => fields.set("product_id", NUMBER),
        "MWEB" => {
            fields.set(
                "scene_info",
                r#"{"h5_info":{"type":"Wap","wap_url":"http://shop.test","wap_name":"店"}}"#,
            );
        }
        _ => {}
    }
    fields
}

pub async fn prepay(simulator: &Simulator) -> String {
    prepay_as(simulator, "JSAPI", WEB).await
}

pub async fn prepay_as(simulator: &Simulator, trade_type: &str, appid: &str) -> String {
    let reply = call(simulator, "/pay/unifiedorder", order_as(simulator, trade_type, appid)).await;
    reply.get("prepay_id").unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

/// RSA keys take long to make: one set for all tests.
pub fn keys() -> &'static SimulatorKeys {
    static KEYS: OnceLock<SimulatorKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = SimulatorKeys::marked(["a".repeat(32), "b".repeat(32), "c".repeat(32)]);
        assert!(keys.complete());
        keys
    })
}

pub fn rsa() -> &'static RsaKeys {
    keys().rsa.as_ref().unwrap()
}

pub fn api_v3_key() -> String {
    keys().api_v3_key()
}

pub fn merchant_key() -> PrivateKey {
    PrivateKey::parse(&rsa().merchant).unwrap()
}

/// Our own account there, in certificate mode or with WeChat's public key.
pub fn v3_account(public_key: bool) -> wechat_v3::Account {
    let ours = keys().wechat_v3(&account()).unwrap();
    wechat_v3::Account { public_key: ours.public_key.clone().filter(|_| public_key), ..ours }
}

/// One that speaks V3 too.
pub fn v3_simulator() -> (Simulator, Clock) {
    opened(Options::of(keys(), account(), ORIGIN.to_owned()))
}

/// An order that keeps every rule of its product.
pub fn v3_order(simulator: &Simulator, product: &str) -> Value {
    let appid = if product == "app" { APP } else { WEB };
    let mut order = json!({
        "appid": appid,
        "mchid": "10000100",
        "description": "账户充值",
        "out_trade_no": NUMBER,
        "time_expire": "2026-02-02T10:55:00+08:00",
        "attach": "a-b",
        "notify_url": "http://127.0.0.1:9/notify",
        "amount": { "total": 990, "currency": "CNY" },
    });
    match product {
        "jsapi" => order["payer"] = json!({ "openid": simulator.openid_of(1) }),
        "h5" => {
            order["scene_info"] = json!({ "payer_client_ip": "127.0.0.1", "h5_info": { "type": "Wap" } });
        }
        _ => {}
    }
    order
}

/// The headers a merchant asks with: signed over these very bytes.
pub fn authorized(method: &str, target: &str, body: &str, secs: i64) -> String {
    let signature = merchant_key().sign(format!("{method}\n{target}\n{secs}\nn1\n{body}\n").as_bytes());
    let serial_no = rsa().merchant_serial();
    format!(
        "accept: application/json\nauthorization: WECHATPAY2-SHA256-RSA2048 mchid=\"10000100\",nonce_str=\"n1\",\
         timestamp=\"{secs}\",serial_no=\"{serial_no}\",signature=\"{signature}\"\n"
    )
}

/// Asks without a network, and checks the signature of what comes back.
pub fn v3_ask(simulator: &Simulator, method: &str, target: &str, body: &str) -> (u16, Value) {
    let headers = authorized(method, target, body, simulator.now().secs());
    v3_ask_with(simulator, method, target, &headers, body)
}

pub fn v3_ask_with(
    simulator: &Simulator,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> (u16, Value) {
    let asked = Asked { method, target, headers: Headers(headers), body: body.as_bytes() };
    let answer = simulator.answer(&asked).unwrap().unwrap();
    let text = std::str::from_utf8(&answer.body).unwrap();
    v3_verify(Headers(&answer.headers), text).unwrap_or_else(|| panic!("{}{text}", answer.headers));
    (answer.status, serde_json::from_str(text).unwrap_or_default())
}

/// Whose signature this is: the key's own name.
pub fn v3_verify(headers: Headers<'_>, body: &str) -> Option<&'static str> {
    let of = |name| headers.only(name);
    let serial = of("wechatpay-serial")?;
    let keys = V3Keys::of(keys()).unwrap();
    let (name, private) = if serial == rsa().public_key_id() {
        ("public key", &rsa().wechat_public)
    } else if serial == keys.serials()[0] {
        ("certificate", &rsa().platform)
    } else if serial == keys.serials()[1] {
        ("next certificate", &rsa().next_platform)
    } else {
        return None;
    };
    let public = PrivateKey::parse(private).unwrap().public_base64().unwrap();
    let message = format!("{}\n{}\n{body}\n", of("wechatpay-timestamp")?, of("wechatpay-nonce")?);
    let right = of("wechatpay-signature-type") == Some("WECHATPAY2-SHA256-RSA2048")
        && PublicKey::parse(&public).unwrap().verify(message.as_bytes(), of("wechatpay-signature")?);
    right.then_some(name)
}

/// An order placed; answers with what the payer is shown.
pub fn v3_prepay(simulator: &Simulator, product: &str) -> String {
    let order = v3_order(simulator, product).to_string();
    let (status, reply) = v3_ask(simulator, "POST", &format!("/v3/pay/transactions/{product}"), &order);
    let shown = ["prepay_id", "code_url", "h5_url"].iter().find_map(|name| reply[name].as_str());
    shown.unwrap_or_else(|| panic!("{status} {reply}")).to_owned()
}
