//! Every known answer of WeChat Pay V3 in `tests/vectors` through the public codec. No I/O, no clock, no database.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use shouyin::{
    domain::{
        ids::{Openid, OutTradeNo, TransactionId},
        money::Fen,
        order::{Attempt, Channel, Environment, Order, Refusal, Settled, Status, explain},
        time::UnixMs,
    },
    gateway::{
        Ack, Checkout, Gateway, Headers, Notified, Notify, RefundNotified, Stamp,
        rsa::{PrivateKey, PublicKey},
        wechat::Appids,
        wechat_v3::{
            Account, ApiV3Key, PlatformCertificate, WechatPublicKey, WechatV3, aead, app, jsapi,
            json::Object,
            sign::{self, Signature},
        },
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

const SIGN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/wechat_v3_sign.json"));
const NOTIFY: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/wechat_v3_notify.json"));

const APPID: &str = "wx2421b1c4370ec43b";
const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

#[derive(Deserialize)]
struct Set<I, E> {
    count: usize,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    cases: Vec<Case<I, E>>,
}

#[derive(Deserialize)]
struct Case<I, E> {
    id: String,
    input: I,
    expect: E,
}

impl<I: DeserializeOwned, E: DeserializeOwned> Set<I, E> {
    fn load(text: &str) -> Set<I, E> {
        serde_json::from_str(text).unwrap()
    }

    /// Runs every case under its id, and fails unless they are all there, each once.
    fn run(&self, expected: usize, mut check: impl FnMut(&str, &I, &E)) {
        let mut ran = BTreeSet::new();
        for case in &self.cases {
            check(&case.id, &case.input, &case.expect);
            assert!(ran.insert(case.id.as_str()), "{} twice", case.id);
        }
        assert_eq!((ran.len(), self.count), (expected, expected), "the file changed, this test did not");
    }
}

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

/// Who signs in the vectors: they name the serial number in `authorization` alone.
fn account(key: PrivateKey, mch_id: &str, appid: &str) -> Account {
    Account {
        appids: Appids { web: appid.to_owned(), mini: None, app: Some(appid.to_owned()) },
        mch_id: mch_id.to_owned(),
        key,
        serial: "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C".to_owned(),
        api_v3_key: ApiV3Key::new(&"k".repeat(32)).unwrap(),
        public_key: None,
        certificates: Vec::new(),
        public_url: "https://pay.example.com".to_owned(),
        environment: Environment::Live,
    }
}

fn attempt(channel: Channel, out_trade_no: &str, total: i64) -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse(out_trade_no).unwrap(),
        order_id: 1,
        channel,
        account: format!("10000100:{APPID}"),
        environment: Environment::Live,
        amount: Fen::new(total).unwrap(),
        goods_name: "龙井".to_owned(),
        payer: None,
        client_ip: "203.0.113.9".to_owned(),
        notify_url: "https://pay.example.com/notify/wechat/v3".to_owned(),
        created_at: UnixMs(1_555_331_400_000),
        expires_at: UnixMs(1_555_332_300_000),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

#[derive(Deserialize)]
struct SignInput {
    kind: String,
    key: String,
    #[serde(default)]
    lines: Vec<String>,
    message_text: Option<String>,
}

#[derive(Deserialize)]
struct SignExpect {
    message_b64: String,
    signature: String,
    authorization: Option<String>,
}

fn stamp(secs: &str, nonce: &str) -> Stamp {
    let secs: i64 = secs.parse().unwrap();
    Stamp { now: UnixMs(secs * 1000 + 999), nonce: nonce.to_owned() }
}

#[test]
fn every_published_signature_is_reproduced_and_verifies() {
    let set = Set::<SignInput, SignExpect>::load(SIGN);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    set.run(14, |id, input, expect| {
        *kinds.entry(input.kind.clone()).or_default() += 1;
        let key = PrivateKey::parse(&set.keys[&input.key]).unwrap();
        let public = PublicKey::parse(&key.public_base64().unwrap()).unwrap();
        let message = bytes(&expect.message_b64);
        assert_eq!(key.sign(&message), expect.signature, "{id}");
        assert!(public.verify(&message, &expect.signature), "{id}");
        let lines: Vec<&str> = input.lines.iter().map(String::as_str).collect();
        match (input.kind.as_str(), lines.as_slice()) {
            ("raw", []) => assert_eq!(input.message_text.as_ref().unwrap().as_bytes(), message, "{id}"),
            ("request", [method, path, secs, nonce, body]) => {
                let signed = [*method, path, secs, nonce, body].map(str::as_bytes);
                assert_eq!(sign::lines(signed), message, "{id}");
                let account = account(key, "10000100", APPID);
                let header = sign::authorization(&account, method, path, body, &stamp(secs, nonce));
                assert!(header.contains(&format!("signature=\"{}\"", expect.signature)), "{id}");
                let expected = expect.authorization.as_ref();
                assert!(expected.is_none_or(|expected| *expected == header), "{id}: {header}");
                assert_eq!(expected.is_some(), input.key == "merchant", "{id}");
            }
            ("jsapi", [appid, secs, nonce, package]) => {
                assert_eq!(sign::lines([*appid, secs, nonce, package].map(str::as_bytes)), message, "{id}");
                let account = account(key, "10000100", appid);
                let prepay_id = package.strip_prefix("prepay_id=").unwrap();
                let params = jsapi::sign(&account, appid, prepay_id, &stamp(secs, nonce));
                assert_eq!((&params.pay_sign, params.sign_type.as_str()), (&expect.signature, "RSA"), "{id}");
                assert_eq!(
                    [&params.app_id, &params.time_stamp, &params.nonce_str, &params.package],
                    lines[..],
                    "{id}"
                );
            }
            ("app", [appid, secs, nonce, prepay_id]) => {
                assert_eq!(sign::lines([*appid, secs, nonce, prepay_id].map(str::as_bytes)), message, "{id}");
                let account = account(key, "10000100", appid);
                let params = app::sign(&account, appid, prepay_id, &stamp(secs, nonce));
                assert_eq!(
                    (&params.sign, params.package.as_str()),
                    (&expect.signature, "Sign=WXPay"),
                    "{id}"
                );
                assert_eq!(
                    [&params.appid, &params.timestamp, &params.noncestr, &params.prepayid],
                    lines[..],
                    "{id}"
                );
                assert_eq!(params.partnerid, "10000100", "{id}");
            }
            odd => panic!("{id}: {odd:?}"),
        }
    });
    let expected = [("app", 2), ("jsapi", 2), ("raw", 1), ("request", 9)];
    assert_eq!(kinds, expected.map(|(kind, cases)| (kind.to_owned(), cases)).into());
}

#[test]
fn our_own_calls_are_the_published_ones_to_the_letter() {
    let set = Set::<SignInput, SignExpect>::load(SIGN);
    let gateway =
        WechatV3::new(account(PrivateKey::parse(&set.keys["merchant"]).unwrap(), "10000100", APPID));
    let stamp = stamp("1722850421", "6OQ37L7i6JN1PRLD");
    let attempt = attempt(Channel::WechatNative, "P20190415203040A", 20);
    let payment = TransactionId::parse("4200000290201904150837155038").unwrap();
    for (case, request) in [
        ("006", gateway.query(&attempt, &stamp)),
        ("007", gateway.query_payment(&payment, &attempt.account, &stamp)),
        ("008", gateway.close(&attempt, &stamp)),
    ] {
        let case = set.cases.iter().find(|known| known.id.ends_with(case)).unwrap();
        let sent = [request.path.as_str(), request.body.as_deref().unwrap_or_default()];
        assert_eq!(sent, [case.input.lines[1].as_str(), &case.input.lines[4]], "{}", case.id);
        let authorization = request.headers.iter().find(|(name, _)| *name == "Authorization").unwrap();
        assert_eq!(Some(&authorization.1), case.expect.authorization.as_ref(), "{}", case.id);
    }
}

#[test]
fn what_a_checkout_hands_out_is_signed_as_published() {
    let set = Set::<SignInput, SignExpect>::load(SIGN);
    let gateway =
        WechatV3::new(account(PrivateKey::parse(&set.keys["merchant"]).unwrap(), "10000100", APPID));
    let stamp = stamp("1722850421", "6OQ37L7i6JN1PRLD");
    let signature = |number: &str| {
        let case = set.cases.iter().find(|known| known.id.ends_with(number)).unwrap();
        case.expect.signature.clone()
    };
    let hand_out = |channel| gateway.checkout(&attempt(channel, "P1", 1), "wx2922abc", &stamp);
    let Checkout::Jsapi { params } = hand_out(Channel::WechatJsapi) else { panic!() };
    assert_eq!(params.pay_sign, signature("013"));
    let Checkout::App { params } = hand_out(Channel::WechatApp) else { panic!() };
    assert_eq!(params.sign, signature("014"));
}

/// Of a callback, of a signature alone, or of a seal alone.
#[derive(Deserialize)]
struct NotifyInput {
    kind: Option<String>,
    now: Option<i64>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body_b64: Option<String>,
    apiv3_key: Option<String>,
    #[serde(default)]
    verify_keys: BTreeMap<String, String>,
    order: Option<StoredOrder>,
    timestamp: Option<String>,
    nonce: Option<String>,
    signature: Option<String>,
    public_key: Option<String>,
    associated_data: Option<String>,
    ciphertext: Option<String>,
}

/// The order, or the refund, in our books when the callback comes.
#[derive(Deserialize)]
struct StoredOrder {
    mchid: String,
    out_trade_no: String,
    total: i64,
    appid: Option<String>,
    out_refund_no: Option<String>,
    refund: Option<i64>,
}

#[derive(Deserialize)]
struct NotifyExpect {
    decision: String,
    #[serde(default)]
    acceptable: Vec<String>,
    hardness: Option<String>,
    reason: Option<String>,
    http_status_class: Option<String>,
    plaintext: Option<serde_json::Value>,
    plaintext_text: Option<String>,
}

/// Callbacks are read without a key of ours.
static UNUSED: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

/// A callback of the vectors as our door takes it.
struct Callback {
    gateway: WechatV3,
    headers: String,
    body: Vec<u8>,
    now: UnixMs,
}

impl Callback {
    fn of(input: &NotifyInput) -> Callback {
        let order = input.order.as_ref().unwrap();
        let parsed = |pem: &String| PublicKey::parse(pem).unwrap();
        let (public, certificates): (Vec<_>, Vec<_>) =
            input.verify_keys.iter().partition(|(name, _)| name.starts_with(PUBLIC_KEY_PREFIX));
        let account = Account {
            api_v3_key: ApiV3Key::new(input.apiv3_key.as_ref().unwrap()).unwrap(),
            public_key: public
                .first()
                .map(|(id, pem)| WechatPublicKey { id: (*id).clone(), key: parsed(pem) }),
            certificates: certificates
                .iter()
                .map(|(serial, pem)| PlatformCertificate {
                    serial: (*serial).clone(),
                    key: parsed(pem),
                    not_after: UnixMs(i64::MAX),
                })
                .collect(),
            ..account(UNUSED.clone(), &order.mchid, order.appid.as_deref().unwrap_or(APPID))
        };
        let headers = input.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase()));
        Callback {
            gateway: WechatV3::new(account),
            headers: headers.collect(),
            body: bytes(input.body_b64.as_ref().unwrap()),
            now: UnixMs(input.now.unwrap() * 1000),
        }
    }

    fn notify(&self) -> Notify<'_> {
        Notify { headers: Headers(&self.headers), body: &self.body, received_at: self.now }
    }

    /// What the resource says, as JSON; `None` when it does not open.
    fn plaintext(&self, key: &str) -> Option<serde_json::Value> {
        let envelope = Object::parse(&self.body).unwrap();
        let plain = aead::open(&ApiV3Key::new(key).unwrap(), envelope.object("resource").unwrap())?;
        Some(serde_json::from_slice(&plain).unwrap())
    }
}

/// What a callback led to, in the vectors' word, in ours, and in the answer WeChat reads.
struct Outcome {
    decision: &'static str,
    verdict: &'static str,
    ack: Ack,
}

/// Reads a callback and settles it against the one stored order, with no database.
fn settle(callback: &Callback, stored: &StoredOrder) -> Outcome {
    let payment = match callback.gateway.notified(callback.notify()) {
        Notified::Paid(payment) => payment,
        Notified::NotPaid { out_trade_no } => {
            // An event of another kind speaks of no order of ours.
            let decision = if out_trade_no.is_some() { "not_paid" } else { "ack_unknown_event" };
            return Outcome { decision, verdict: "not_paid", ack: Ack::Received };
        }
        Notified::Refund(hint) => return refunded(callback, stored, &hint.status),
        Notified::Rejected { rejection, .. } => {
            let verdict = rejection.counted();
            return Outcome { decision: "reject", verdict, ack: Ack::Refused(verdict) };
        }
    };
    let attempt = attempt(Channel::WechatNative, &stored.out_trade_no, stored.total);
    let order = unpaid(&attempt);
    let found = (payment.out_trade_no() == &attempt.out_trade_no).then_some((&attempt, &order));
    match explain(payment.claim(), found) {
        // No other order exists here, so this answer means that nothing stood in the way: the conditional update
        // would have settled it.
        Settled::Refused(Refusal::TransactionReused) => {
            assert_eq!(payment.payer(), Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE").as_ref());
            assert_eq!(payment.paid_at(), Some(UnixMs(1_722_428_010_000)));
            Outcome { decision: "paid", verdict: "ok", ack: Ack::Received }
        }
        settled @ Settled::Refused(_) => {
            Outcome { decision: "reject", verdict: settled.verdict(), ack: Ack::Refused(settled.verdict()) }
        }
        settled => panic!("{settled:?}"),
    }
}

/// The same message at the door for refunds must say the same, and name the stored refund.
fn refunded(callback: &Callback, stored: &StoredOrder, status: &str) -> Outcome {
    let RefundNotified::Hint(hint) = callback.gateway.refund_notified(callback.notify()) else { panic!() };
    assert_eq!(hint.out_refund_no.as_str(), stored.out_refund_no.as_ref().unwrap());
    assert_eq!(hint.out_trade_no.as_str(), stored.out_trade_no);
    assert_eq!((hint.amount.map(Fen::get), hint.total.get()), (stored.refund, stored.total));
    assert_eq!(hint.status, status);
    let decision = match status {
        "SUCCESS" => "refund_success",
        "CHANGE" => "refund_abnormal",
        "REFUNDCLOSE" => "refund_closed",
        other => panic!("{other}"),
    };
    Outcome { decision, verdict: "ok", ack: Ack::Received }
}

fn unpaid(attempt: &Attempt) -> Order {
    Order {
        id: attempt.order_id,
        out_trade_no: attempt.out_trade_no.clone(),
        user_id: 7,
        goods_name: attempt.goods_name.clone(),
        amount: attempt.amount,
        status: Status::Created,
        environment: attempt.environment,
        created_at: attempt.created_at,
        expires_at: attempt.expires_at,
        closed_at: None,
        paid_at: None,
        told_paid_at: None,
        transaction_id: None,
        settled_by: None,
        late: false,
        reserved: Fen::ZERO,
    }
}

/// The words we count under, for each reason the vectors give.
fn verdicts_for(reason: &str) -> &'static [&'static str] {
    match reason {
        "ok" => &["ok"],
        "timestamp_window" => &["stale"],
        "signature" => &["bad_sign", "sign_probe"],
        "unknown_serial" | "missing_wechatpay-signature" => &["bad_sign"],
        "decrypt" => &["decrypt_failed"],
        "identity" => &["appid_mismatch", "mch_id_mismatch"],
        "amount" => &["amount_mismatch"],
        "unknown_order" => &["unknown_order"],
        "trade_state" => &["not_paid"],
        other => panic!("a reason without a verdict: {other}"),
    }
}

#[test]
fn every_notify_leads_to_the_decision_the_protocol_asks_for() {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let mut decided: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut counted: BTreeMap<&'static str, usize> = BTreeMap::new();
    set.run(30, |id, input, expect| {
        if let Some(kind) = &input.kind {
            let decision = alone(id, kind, input, expect);
            assert_eq!(decision, expect.decision, "{id}");
            *decided.entry(decision).or_default() += 1;
            return;
        }
        let callback = Callback::of(input);
        let outcome = settle(&callback, input.order.as_ref().unwrap());
        *decided.entry(outcome.decision).or_default() += 1;
        *counted.entry(outcome.verdict).or_default() += 1;
        assert_eq!(outcome.decision, expect.decision, "{id}: {}", outcome.verdict);
        assert!(expect.acceptable.contains(&expect.decision), "{id}");
        assert!(["must", "policy"].contains(&expect.hardness.as_deref().unwrap()), "{id}");
        if outcome.decision != "ack_unknown_event" {
            let verdicts = verdicts_for(expect.reason.as_ref().unwrap());
            assert!(verdicts.contains(&outcome.verdict), "{id}: {}", outcome.verdict);
        }
        if let Some(expected) = &expect.plaintext {
            assert_eq!(
                callback.plaintext(input.apiv3_key.as_ref().unwrap()).as_ref(),
                Some(expected),
                "{id}"
            );
        }
        let status = callback.gateway.ack(outcome.ack).status;
        match expect.http_status_class.as_deref().unwrap() {
            "2xx" => assert!((200..300).contains(&status), "{id}: {status}"),
            "4xx/5xx" => assert!((400..600).contains(&status), "{id}: {status}"),
            other => assert_eq!(other, "any", "{id}"),
        }
    });
    assert_eq!(
        decided,
        BTreeMap::from([
            ("ack_unknown_event", 1),
            ("decrypted", 1),
            ("not_paid", 1),
            ("paid", 8),
            ("refund_abnormal", 1),
            ("refund_closed", 1),
            ("refund_success", 1),
            ("reject", 14),
            ("signature_valid", 2),
        ])
    );
    assert_eq!((counted["sign_probe"], counted["stale"], counted["decrypt_failed"]), (1, 2, 2));
    assert_eq!((counted["appid_mismatch"], counted["mch_id_mismatch"], counted["bad_sign"]), (1, 1, 5));
}

/// Cases about one half of the protocol.
fn alone(id: &str, kind: &str, input: &NotifyInput, expect: &NotifyExpect) -> &'static str {
    match kind {
        "verify_only" => {
            let (secs, nonce) = (input.timestamp.as_ref().unwrap(), input.nonce.as_ref().unwrap());
            let headers = format!(
                "wechatpay-timestamp: {secs}\nwechatpay-nonce: {nonce}\nwechatpay-signature: {}\n\
                 wechatpay-serial: any\n",
                input.signature.as_ref().unwrap(),
            );
            let key = PublicKey::parse(input.public_key.as_ref().unwrap()).unwrap();
            let (mut body, now) =
                (bytes(input.body_b64.as_ref().unwrap()), UnixMs(secs.parse::<i64>().unwrap() * 1000));
            let signature = Signature::read(Headers(&headers)).unwrap();
            assert_eq!(signature.check(&key, &body, now), Ok(()), "{id}");
            body.push(b' ');
            assert!(signature.check(&key, &body, now).is_err(), "{id}");
            "signature_valid"
        }
        "decrypt_only" => {
            let key = ApiV3Key::new(input.apiv3_key.as_ref().unwrap()).unwrap();
            let [nonce, data, text] = [&input.nonce, &input.associated_data, &input.ciphertext]
                .map(|part| part.as_deref().unwrap());
            let plain = aead::decrypt(&key, nonce, data, text).unwrap();
            assert_eq!(plain, expect.plaintext_text.as_ref().unwrap().as_bytes(), "{id}");
            "decrypted"
        }
        other => panic!("{id}: {other}"),
    }
}

/// A genuine callback (`wechat_v3_notify-p-004`).
fn genuine() -> Callback {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let case = set.cases.iter().find(|case| case.id == "wechat_v3_notify-p-004").unwrap();
    Callback::of(&case.input)
}

#[test]
fn a_genuine_notify_with_any_one_bit_flipped_or_its_tail_cut_is_rejected() {
    let callback = genuine();
    let rejected = |body: &[u8]| {
        let read = callback.gateway.notified(Notify { body, ..callback.notify() });
        matches!(read, Notified::Rejected { .. })
    };
    assert!(!rejected(&callback.body));
    for at in 0..callback.body.len() {
        let mut damaged = callback.body.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(rejected(&damaged), "byte {at}");
        assert!(rejected(&callback.body[..at]), "cut at {at}");
    }
}

#[test]
fn a_genuine_notify_with_any_one_character_of_its_signed_headers_changed_is_rejected() {
    let callback = genuine();
    let mut tried = 0;
    for name in ["timestamp", "nonce", "signature", "serial", "signature-type"] {
        let start = callback.headers.find(&format!("wechatpay-{name}: ")).unwrap()
            + format!("wechatpay-{name}: ").len();
        let end = start + callback.headers[start..].find('\n').unwrap();
        for at in start..end {
            let mut headers = callback.headers.clone();
            let other = if &headers[at..=at] == "1" { "2" } else { "1" };
            headers.replace_range(at..=at, other);
            let read = callback.gateway.notified(Notify { headers: Headers(&headers), ..callback.notify() });
            assert!(matches!(read, Notified::Rejected { .. }), "{headers}");
            tried += 1;
        }
    }
    assert_eq!(tried, 10 + 16 + 344 + 40 + 25);
}
