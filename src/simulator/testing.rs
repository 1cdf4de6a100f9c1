//! What the simulator's own tests share.

use super::*;
use crate::{
    config::Origins,
    domain::order::Environment,
    gateway::{
        rsa::{PrivateKey, PublicKey},
        wechat::Appids,
        wechat_v2::{
            ApiKey,
            sign::{self, SignType},
        },
    },
};
use actix_web::test;
use std::sync::OnceLock;

pub const NOW: UnixMs = UnixMs(1_770_000_000_000);
pub const NUMBER: &str = "order-000001";
pub const ORIGIN: &str = "http://shop.test";
pub const WEB: &str = "wxd930ea5d5a258f4f";
pub const MINI: &str = "wx00000000000mini0";
pub const APP: &str = "wx000000000000app0";

pub const ALIPAY_APP_ID: &str = "2021000122600001";
pub const ALIPAY_SELLER_ID: &str = "2088102146225135";

/// Both sides' keys at Alipay, made once for all tests because that takes long.
pub struct AlipayKeys {
    pub app: PrivateKey,
    pub platform: PrivateKey,
    pub platform_public: PublicKey,
}

pub fn alipay_keys() -> &'static AlipayKeys {
    static KEYS: OnceLock<AlipayKeys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let (app, platform) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let platform_public = PublicKey::parse(&platform.public_base64().unwrap()).unwrap();
        AlipayKeys { app, platform, platform_public }
    })
}

/// A simulator whose merchant is at Alipay too.
pub fn alipay_simulator() -> (Simulator, Clock) {
    let keys = alipay_keys();
    let app = AlipayApp {
        app_id: ALIPAY_APP_ID.to_owned(),
        seller_id: ALIPAY_SELLER_ID.to_owned(),
        app_public_key: PublicKey::parse(&keys.app.public_base64().unwrap()).unwrap(),
        key: keys.platform.clone(),
    };
    let (simulator, clock) = simulator();
    let options = Options { alipay: Some(app), ..simulator.0.options.clone() };
    (Simulator::new(options, clock.clone(), simulator.0.http.clone()), clock)
}

pub fn simulator() -> (Simulator, Clock) {
    let account = Account {
        appids: Appids { web: WEB.to_owned(), mini: Some(MINI.to_owned()), app: Some(APP.to_owned()) },
        mch_id: "10000100".to_owned(),
        key: ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap(),
        sign_type: SignType::HmacSha256,
        accept: vec![SignType::HmacSha256],
        public_url: ORIGIN.to_owned(),
        environment: Environment::Simulator,
    };
    let options = Options {
        account,
        app_secret: SecretString::from("an-app-secret"),
        mini_secret: SecretString::from("a-mini-secret"),
        v3: None,
        alipay: None,
        speed: 1,
        scenario: Scenario::Ok,
        bridge_origin: ORIGIN.to_owned(),
        strict_openid: true,
    };
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

pub async fn prepay(simulator: &Simulator) -> String {
    let reply = call(simulator, "/pay/unifiedorder", order(simulator)).await;
    reply.get("prepay_id").unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}
