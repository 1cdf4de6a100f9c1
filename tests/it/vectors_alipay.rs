//! Every known answer for Alipay in `tests/vectors` through the public codecs. No I/O, no clock, no database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use shouyin::{
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        order::{Attempt, Channel, Environment, Order, Provider, Refusal, Settled, Source, Status, explain},
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    gateway::{
        Ack, Gateway, Notified, Notify, Prepaid, RefundAsked, RefundNews, Response, Trade, Untrusted,
        alipay::{
            Account, Alipay,
            cert_sn::{self, Certificate},
            form::Form,
            reply::{self, Reply},
            sign::{self, Params},
        },
        rsa::{PrivateKey, PublicKey},
    },
};
use std::collections::{BTreeMap, BTreeSet};
use url::form_urlencoded;

macro_rules! vectors {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/", $file, ".json"))
    };
}

const SIGN: &str = vectors!("alipay_sign");
const NOTIFY: &str = vectors!("alipay_notify");
const RESPONSE: &str = vectors!("alipay_response");
const CERT_SN: &str = vectors!("alipay_cert_sn");

const APP_ID: &str = "2021000122600001";
const TRADE_NO: &str = "2019041522001468450512500001";

/// One file.
#[derive(Deserialize)]
struct Set<I, E> {
    area: String,
    count: usize,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    apps: BTreeMap<String, App>,
    #[serde(default)]
    alipay_public_key: String,
    cases: Vec<Case<I, E>>,
}

#[derive(Deserialize)]
struct Case<I, E> {
    id: String,
    input: I,
    expect: E,
}

#[derive(Deserialize)]
struct App {
    alipay_public_key: String,
    seller_id: String,
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
        println!("{}: {} cases", self.area, ran.len());
        assert_eq!(ran.len(), self.count, "{}", self.area);
        assert_eq!(ran.len(), expected, "{}: the file changed, this test did not", self.area);
    }
}

/// The app's own key signs nothing in these messages: any will do.
fn alipay(app_id: &str, seller_id: &str, public_key: &str) -> Alipay {
    let key = Set::<SignInput, SignExpect>::load(SIGN).keys["app_private_key_pkcs8"].clone();
    Alipay {
        account: Account {
            app_id: app_id.to_owned(),
            seller_id: seller_id.to_owned(),
            key: PrivateKey::parse(&key).unwrap(),
            public_key: PublicKey::parse(public_key).unwrap(),
            certificates: None,
            gateway_url: "https://openapi.alipay.com/gateway.do".to_owned(),
            public_url: "https://pay.example.com".to_owned(),
            environment: Environment::Live,
        },
    }
}

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

#[derive(Deserialize)]
struct SignInput {
    key: String,
    params: Params,
}

#[derive(Deserialize)]
struct SignExpect {
    string_to_sign: String,
    sign: String,
    query: String,
}

#[test]
fn every_request_is_signed_and_written_as_the_gateway_expects() {
    let set = Set::<SignInput, SignExpect>::load(SIGN);
    let public = PublicKey::parse(&set.keys["app_public_key"]).unwrap();
    set.run(11, |id, input, expect| {
        assert_eq!(input.key, "app_private_key", "{id}");
        assert_eq!(sign::request_text(&input.params), expect.string_to_sign, "{id}");
        for form in ["pkcs8", "pkcs1"] {
            let key = PrivateKey::parse(&set.keys[&format!("app_private_key_{form}")]).unwrap();
            assert_eq!(key.sign(expect.string_to_sign.as_bytes()), expect.sign, "{id}");
            assert_eq!(sign::signed_form(input.params.clone(), &key), expect.query, "{id}");
        }
        assert!(public.verify(expect.string_to_sign.as_bytes(), &expect.sign), "{id}");
    });
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NotifyInput {
    /// A message captured from Alipay, by its parameters.
    Captured {
        alipay_public_key: String,
        params: Params,
    },
    Callback {
        order: StoredOrder,
        body_b64: String,
    },
}

/// The order in our books when the notify comes.
#[derive(Deserialize)]
struct StoredOrder {
    out_trade_no: String,
    app_id: String,
    total_fen: i64,
    state: String,
}

#[derive(Deserialize)]
struct NotifyExpect {
    decision: String,
    #[serde(default)]
    acceptable: Vec<String>,
    #[serde(default)]
    hardness: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    reply: String,
    #[serde(default)]
    rule: String,
    params: Option<BTreeMap<String, String>>,
    string_to_sign: Option<String>,
    other_rule_must_fail: Option<bool>,
}

impl StoredOrder {
    fn rows(&self, account: String) -> (Attempt, Order) {
        assert!(["PAID", "UNPAID"].contains(&self.state.as_str()));
        let paid = self.state == "PAID";
        let attempt = Attempt { account, ..attempt(&self.out_trade_no, self.total_fen) };
        let order = Order {
            id: attempt.order_id,
            out_trade_no: attempt.out_trade_no.clone(),
            user_id: 7,
            goods_name: attempt.goods_name.clone(),
            amount: attempt.amount,
            status: if paid { Status::Paid } else { Status::Created },
            environment: attempt.environment,
            created_at: attempt.created_at,
            expires_at: attempt.expires_at,
            closed_at: None,
            paid_at: paid.then_some(attempt.created_at),
            told_paid_at: None,
            transaction_id: paid.then(|| TransactionId::parse(TRADE_NO).unwrap()),
            settled_by: paid.then_some(Source::Notify),
            late: false,
            reserved: Fen::ZERO,
        };
        (attempt, order)
    }
}

fn attempt(out_trade_no: &str, total_fen: i64) -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse(out_trade_no).unwrap(),
        order_id: 1,
        channel: Channel::AlipayQr,
        account: format!("{APP_ID}:2088102146225135"),
        environment: Environment::Live,
        amount: Fen::new(total_fen).unwrap(),
        goods_name: "账户充值".to_owned(),
        payer: None,
        client_ip: "203.0.113.9".to_owned(),
        notify_url: "https://pay.example.com/notify/alipay".to_owned(),
        created_at: UnixMs(1_555_331_400_000),
        expires_at: UnixMs(1_555_332_300_000),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

/// Reads a notify and settles it against one stored order, with no database: the decision in the vectors' word, and ours.
fn settle(gateway: &Alipay, body: &[u8], stored: &StoredOrder) -> (&'static str, &'static str) {
    let payment = match gateway.notified(Notify { body, ..Notify::default() }) {
        Notified::Paid(payment) => payment,
        Notified::NotPaid { .. } => {
            let closed = Form::parse(body).unwrap().get("trade_status") == Some("TRADE_CLOSED");
            return (if closed { "closed" } else { "not_paid" }, "not_paid");
        }
        Notified::Refund(hint) => {
            assert_eq!(hint.out_trade_no.as_str(), stored.out_trade_no);
            return ("refund_info", "refund_hint");
        }
        Notified::Rejected { rejection, .. } => return ("reject", rejection.verdict()),
    };
    let (attempt, order) = stored.rows(gateway.account.name());
    let found = (payment.out_trade_no() == &attempt.out_trade_no).then_some((&attempt, &order));
    let settled = match explain(payment.claim(), found) {
        // No other order exists here, so this answer for an unpaid order means that nothing stood in the way: the
        // conditional update would have settled it.
        Settled::Refused(Refusal::TransactionReused) if !order.is_paid() => Settled::Now,
        other => other,
    };
    let decision = match settled {
        Settled::Now | Settled::Late => "paid",
        Settled::Already => "duplicate",
        Settled::SecondPayment => "conflict",
        Settled::Refused(_) => "reject",
    };
    (decision, settled.verdict())
}

/// The word we keep with a notice, for each reason the vectors give.
fn verdict_for(reason: &str, decision: &str) -> &'static str {
    match (reason, decision) {
        ("ok", "paid") => "ok",
        ("ok", "duplicate") => "duplicate",
        ("ok", "not_paid" | "closed") => "not_paid",
        ("refund", "refund_info") => "refund_hint",
        ("amount", _) => "amount_mismatch",
        ("unknown_order", _) => "unknown_order",
        ("app_id", _) => "appid_mismatch",
        ("seller_id", _) => "mch_id_mismatch",
        ("signature" | "sign_missing" | "sign_type", _) => "bad_sign",
        other => panic!("a reason without a verdict: {other:?}"),
    }
}

#[test]
fn every_notify_leads_to_the_decision_the_protocol_asks_for() {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let mut decided: BTreeMap<String, usize> = BTreeMap::new();
    set.run(22, |id, input, expect| {
        let (order, body) = match input {
            NotifyInput::Captured { alipay_public_key, params } => {
                captured(id, alipay_public_key, params, expect);
                *decided.entry(expect.decision.clone()).or_default() += 1;
                return;
            }
            NotifyInput::Callback { order, body_b64 } => (order, bytes(body_b64)),
        };
        let app = &set.apps[&order.app_id];
        let gateway = alipay(&order.app_id, &app.seller_id, &app.alipay_public_key);
        let (decision, verdict) = settle(&gateway, &body, order);
        *decided.entry(decision.to_owned()).or_default() += 1;
        assert!(expect.acceptable.iter().any(|word| word == decision), "{id}: {verdict}");
        assert_eq!(verdict, verdict_for(&expect.reason, decision), "{id}");
        match expect.hardness.as_str() {
            "must" => assert_eq!(decision, expect.decision, "{id}"),
            // Signed with `sign_type` inside: the official rule leaves it out, and so do we.
            "policy" => assert_eq!((id, decision), ("alipay_notify-p-020", "reject")),
            other => panic!("{id}: {other}"),
        }
        let ack = if decision == "reject" { Ack::Refused("NO") } else { Ack::Received };
        let answer = gateway.ack(ack).body;
        match expect.reply.as_str() {
            "success" => assert_eq!(answer.as_bytes(), b"success", "{id}"),
            "not success" => assert_ne!(answer, "success", "{id}"),
            any => assert_eq!(any, "any", "{id}"),
        }
        if let (Some(params), Some(text)) = (&expect.params, &expect.string_to_sign) {
            let form = Form::parse(&body).unwrap();
            let read: BTreeMap<String, String> =
                form.iter().map(|(name, _)| (name.to_owned(), form.get(name).unwrap().to_owned())).collect();
            assert_eq!(&read, params, "{id}");
            assert_eq!(sign::notify_text(&form, |_| true), text.as_bytes(), "{id}");
        }
    });
    let right = [
        ("closed", 1),
        ("duplicate", 2),
        ("not_paid", 1),
        ("paid", 4),
        ("refund_info", 2),
        ("reject", 10),
        ("signature_valid", 2),
    ];
    assert_eq!(decided, right.map(|(decision, count)| (decision.to_owned(), count)).into());
}

/// Two real messages: one about a trade, and one of another kind that is signed with its `sign_type`, like requests.
fn captured(id: &str, public_key: &str, params: &Params, expect: &NotifyExpect) {
    let key = PublicKey::parse(public_key).unwrap();
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let form = Form::parse(text.as_bytes()).unwrap();
    let with_type = sign::request_text(params);
    let without_type = String::from_utf8(sign::notify_text(&form, |_| true)).unwrap();
    assert_eq!(expect.other_rule_must_fail, Some(true), "{id}");
    let (right, wrong, about_a_trade) = match expect.rule.as_str() {
        "drop sign and sign_type" => (without_type, with_type, true),
        "drop sign only" => (with_type, without_type, false),
        other => panic!("{id}: {other}"),
    };
    assert_eq!(Some(&right), expect.string_to_sign.as_ref(), "{id}");
    assert!(key.verify(right.as_bytes(), &params["sign"]), "{id}");
    assert!(!key.verify(wrong.as_bytes(), &params["sign"]), "{id}");
    assert_eq!(sign::notify_verifies(&form, &key), about_a_trade, "{id}");
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ResponseInput {
    Signed { alipay_public_key: String, signed_text: String, sign: String },
    Reply { method: String, body_b64: String },
}

#[derive(Deserialize)]
struct ResponseExpect {
    decision: String,
    #[serde(default)]
    acceptable: Vec<String>,
    #[serde(default)]
    hardness: String,
    #[serde(default)]
    detail: String,
    signed_text: Option<String>,
}

#[test]
fn every_reply_is_believed_or_not_as_its_signature_says() {
    let set = Set::<ResponseInput, ResponseExpect>::load(RESPONSE);
    let gateway = alipay(APP_ID, "2088102146225135", &set.alipay_public_key);
    set.run(16, |id, input, expect| {
        let (method, answer) = match input {
            ResponseInput::Signed { alipay_public_key, signed_text, sign } => {
                assert_eq!(expect.decision, "signature_valid", "{id}");
                let key = PublicKey::parse(alipay_public_key).unwrap();
                assert!(key.verify(signed_text.as_bytes(), sign), "{id}");
                assert!(!key.verify(format!("{signed_text} ").as_bytes(), sign), "{id}");
                return;
            }
            ResponseInput::Reply { method, body_b64 } => (method, Response::new(200, bytes(body_b64))),
        };
        let (decision, detail) = match reply::read(&gateway.account, method, &answer) {
            Ok(Reply::Done(_)) => ("ok", "10000".to_owned()),
            Ok(Reply::Failed(failure)) => ("business_fail", failure.word()),
            Err(Untrusted::BadSign(why)) if why == "no sign" => ("untrusted", "sign_missing".to_owned()),
            Err(Untrusted::BadSign(_)) => ("untrusted", "signature".to_owned()),
            Err(other) => panic!("{id}: {other}"),
        };
        assert!(expect.acceptable.iter().any(|word| word == decision), "{id}: {decision}");
        assert_eq!((decision, &detail), (expect.decision.as_str(), &expect.detail), "{id}");
        assert!(["must", "policy"].contains(&expect.hardness.as_str()), "{id}");
        if let Some(text) = &expect.signed_text {
            let arrived = String::from_utf8(answer.body.clone()).unwrap();
            assert!(arrived.contains(text), "{id}");
            // One byte more inside the signed text, and it is nobody's.
            let changed = arrived.replacen(text, &text.replacen('{', "{ ", 1), 1);
            let changed = Response::new(200, changed.into_bytes());
            let read = reply::read(&gateway.account, method, &changed);
            assert!(matches!(read, Err(Untrusted::BadSign(_))), "{id}");
        }
        means(id, &gateway, method, &answer, &expect.detail);
    });
}

/// What a reply means to us: paid only with 10000 and TRADE_SUCCESS, refunded by none of these.
fn means(id: &str, gateway: &Alipay, method: &str, answer: &Response, detail: &str) {
    let attempt = attempt("P-ALI-20190415-0001", 8880);
    let trusted = !["sign_missing", "signature"].contains(&detail);
    match method {
        "alipay.trade.query" => {
            let trade = gateway.trade(answer, &attempt);
            match detail {
                "10000" => {
                    let Ok(Trade::Paid(payment)) = trade else { panic!("{id}: {trade:?}") };
                    assert_eq!(payment.amount(), attempt.amount, "{id}");
                    assert_eq!(payment.transaction_id().as_str(), TRADE_NO, "{id}");
                }
                "ACQ.TRADE_NOT_EXIST" => assert_eq!(trade, Ok(Trade::NotFound), "{id}"),
                "isv.invalid-app-id" => assert!(matches!(trade, Ok(Trade::Pending { .. })), "{id}"),
                _ => assert!(!trusted && trade.is_err(), "{id}"),
            }
        }
        "alipay.trade.precreate" => {
            let ready = Prepaid::Ready { prepay_id: "https://qr.alipay.com/bavh4wjlxf12tper3a".to_owned() };
            assert_eq!(gateway.prepaid(answer, &attempt), Ok(ready), "{id}");
        }
        "alipay.trade.refund" => {
            let accepted = RefundAsked::Accepted { refund_id: String::new() };
            assert_eq!(gateway.refund_asked(answer, &refund()), Ok(accepted), "{id}");
        }
        "alipay.trade.fastpay.refund.query" => {
            assert_eq!(gateway.refund_news(answer, &refund()), Ok(RefundNews::NotFound), "{id}");
        }
        other => panic!("{id}: {other}"),
    }
}

fn refund() -> Refund {
    Refund {
        id: 1,
        out_refund_no: OutRefundNo::parse("RQ-1").unwrap(),
        order_id: Some(1),
        work_item_id: None,
        user_id: Some(7),
        provider: Provider::Alipay,
        account: format!("{APP_ID}:2088102146225135"),
        environment: Environment::Live,
        out_trade_no: OutTradeNo::parse("P-ALI-20190415-0001").unwrap(),
        transaction_id: TransactionId::parse(TRADE_NO).unwrap(),
        total: Fen::new(8880).unwrap(),
        amount: Fen::new(7).unwrap(),
        reason: String::new(),
        notify_url: String::new(),
        requested_by: "ann".to_owned(),
        requested_at: UnixMs(0),
        decided_by: None,
        state: RefundState::Asking,
        refund_id: None,
        last_answer: None,
        asked: 1,
        asked_at: None,
        refused_at: None,
        queried_at: None,
        next_at: None,
        finished_at: None,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CertInput {
    Parts { issuer_text: String, serial_decimal: String },
    Bundle { bundle_pem: String },
    Certificate { certificate_pem: String },
}

#[derive(Deserialize)]
struct CertExpect {
    sn: Option<String>,
    alipay_root_cert_sn: Option<String>,
}

#[test]
fn certificates_are_named_as_alipay_names_them() {
    Set::<CertInput, CertExpect>::load(CERT_SN).run(5, |id, input, expect| match input {
        CertInput::Parts { issuer_text, serial_decimal } => {
            assert_eq!(Some(cert_sn::digest(issuer_text, serial_decimal)), expect.sn, "{id}");
        }
        CertInput::Bundle { bundle_pem } => {
            assert!(expect.alipay_root_cert_sn.is_some(), "{id}");
            assert_eq!(cert_sn::of_roots(bundle_pem), expect.alipay_root_cert_sn, "{id}");
        }
        CertInput::Certificate { certificate_pem } => {
            assert_eq!(Some(Certificate::parse(certificate_pem).unwrap().sn), expect.sn, "{id}");
        }
    });
    assert_eq!(cert_sn::of_roots("no certificate"), None);
}
