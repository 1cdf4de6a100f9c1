//! Every known answer in `tests/vectors` through the public codecs. No I/O, no clock, no database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use shouyin::{
    domain::{
        ids::{Openid, OutRefundNo, OutTradeNo, TransactionId},
        money::Fen,
        order::{Attempt, Channel, Environment, Order, Provider, Refusal, Settled, Source, Status, explain},
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    gateway::{
        Ack, Checkout, Closing, Gateway, Notified, Notify, Prepaid, RefundNotified, Rejection, Response,
        Stamp, Trade, Untrusted,
        wechat::Appids,
        wechat_oauth::{self, OauthFault},
        wechat_v2::{
            Account, ApiKey, WechatV2, refund_notify,
            reply::{self, Reply},
            sign::{self, SignFault, SignType},
            xml::Fields,
        },
    },
};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! vectors {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/", $file, ".json"))
    };
}

const SIGN: &str = vectors!("wechat_v2_sign");
const PAYSIGN: &str = vectors!("wechat_v2_paysign");
const NOTIFY: &str = vectors!("wechat_v2_notify");
const REFUND_NOTIFY: &str = vectors!("wechat_v2_refund_notify");
const RESPONSE: &str = vectors!("wechat_v2_response");
const AMOUNT_TIME: &str = vectors!("amount_time");
const OAUTH: &str = vectors!("wechat_oauth");

/// One file.
#[derive(Deserialize)]
struct Set<I, E> {
    area: String,
    count: usize,
    merchant_default: Option<Merchant>,
    cases: Vec<Case<I, E>>,
}

#[derive(Deserialize)]
struct Case<I, E> {
    id: String,
    input: I,
    expect: E,
}

#[derive(Clone, Deserialize)]
struct Merchant {
    appid: String,
    mch_id: String,
    key: String,
    /// None where nothing is signed.
    #[serde(default)]
    allowed_sign_types: Vec<String>,
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

    fn gateway(&self, own: Option<&Merchant>) -> WechatV2 {
        let merchant = own.or(self.merchant_default.as_ref()).unwrap();
        let accept: Vec<SignType> =
            merchant.allowed_sign_types.iter().map(|name| SignType::parse(name).unwrap()).collect();
        WechatV2 {
            account: Account {
                appids: Appids { web: merchant.appid.clone(), mini: None, app: None },
                public_url: String::new(),
                mch_id: merchant.mch_id.clone(),
                key: ApiKey::new(&merchant.key).unwrap(),
                sign_type: accept.first().copied().unwrap_or(SignType::HmacSha256),
                accept,
                environment: Environment::Live,
            },
        }
    }
}

fn fields(pairs: &BTreeMap<String, String>) -> Fields {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

#[derive(Deserialize)]
struct SignInput {
    key: String,
    sign_type: String,
    params: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct SignExpect {
    string_to_sign: String,
    sign: String,
}

#[test]
fn every_published_signature_is_reproduced_and_verifies() {
    Set::<SignInput, SignExpect>::load(SIGN).run(42, |id, input, expect| {
        let key = ApiKey::new(&input.key).unwrap();
        let sign_type = SignType::parse(&input.sign_type).unwrap();
        let mut message = fields(&input.params);
        assert_eq!(format!("{}&key={}", sign::canonical(&message), input.key), expect.string_to_sign, "{id}");
        assert_eq!(sign::sign(&message, &key, sign_type), expect.sign, "{id}");

        // Some cases sign a message that names the other algorithm, to show the arithmetic only.
        let named = input.params.get("sign_type").and_then(|name| SignType::parse(name));
        let verdict = if named.is_some_and(|named| named != sign_type) {
            Err(SignFault::TypeMismatch)
        } else {
            Ok(sign_type)
        };
        message.set("sign", &expect.sign);
        assert_eq!(sign::verify(&message, &key, &SignType::ALL), verdict, "{id}");
        let written = Fields::parse(message.to_xml().as_bytes()).unwrap();
        assert_eq!(written, message, "{id}: what is sent is what was signed");
    });
}

#[test]
fn two_different_messages_can_share_a_signature_so_their_difference_must_be_kept() {
    let mut folded: BTreeMap<String, Vec<Fields>> = BTreeMap::new();
    Set::<SignInput, SignExpect>::load(SIGN).run(42, |id, input, expect| {
        if ["039", "040", "041", "042"].iter().any(|number| id.ends_with(number)) {
            folded.entry(expect.sign.clone()).or_default().push(fields(&input.params));
        }
    });
    assert_eq!(folded.len(), 2, "one pair for each algorithm");
    for pair in folded.values() {
        assert_eq!(pair.len(), 2);
        assert_ne!(pair[0], pair[1]);
        assert_eq!(sign::canonical(&pair[0]), sign::canonical(&pair[1]));
    }
}

#[derive(Deserialize)]
struct PaysignInput {
    client: String,
    key: String,
    sign_type: String,
    signed_fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PaysignExpect {
    string_to_sign: String,
    signature: String,
    params: serde_json::Value,
}

#[test]
fn the_pay_sheet_parameters_are_signed_as_weixin_js_bridge_checks_them() {
    let mut clients: BTreeMap<String, usize> = BTreeMap::new();
    Set::<PaysignInput, PaysignExpect>::load(PAYSIGN).run(9, |id, input, expect| {
        *clients.entry(input.client.clone()).or_default() += 1;
        let key = ApiKey::new(&input.key).unwrap();
        let sign_type = SignType::parse(&input.sign_type).unwrap();
        let signed = fields(&input.signed_fields);
        assert_eq!(format!("{}&key={}", sign::canonical(&signed), input.key), expect.string_to_sign, "{id}");
        assert_eq!(sign::sign(&signed, &key, sign_type), expect.signature, "{id}");
        let named = |jsapi: &str, app: &str| {
            let name = if input.client == "JSAPI" { jsapi } else { app };
            input.signed_fields[name].clone()
        };
        let appid = named("appId", "appid");
        let account = Account {
            appids: Appids { web: "wx0".to_owned(), mini: Some(appid.clone()), app: Some(appid.clone()) },
            mch_id: "10000100".to_owned(),
            key,
            sign_type,
            accept: vec![sign_type],
            public_url: String::new(),
            environment: Environment::Live,
        };
        let secs: i64 = named("timeStamp", "timestamp").parse().unwrap();
        let stamp = Stamp { now: UnixMs(secs * 1000 + 999), nonce: named("nonceStr", "noncestr") };
        let prepay_id = named("package", "prepayid").replace("prepay_id=", "");
        let channel = if input.client == "JSAPI" { Channel::WechatMini } else { Channel::WechatApp };
        let attempt = Attempt { channel, ..attempt("1", 1) };
        let params = match (WechatV2 { account }).checkout(&attempt, &prepay_id, &stamp) {
            Checkout::Jsapi { params } => serde_json::to_value(&params).unwrap(),
            Checkout::App { params } => serde_json::to_value(&params).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(params, expect.params, "{id}");
    });
    assert_eq!(clients, BTreeMap::from([("APP".to_owned(), 3), ("JSAPI".to_owned(), 6)]));
}

#[derive(Deserialize)]
struct NotifyInput {
    merchant: Option<Merchant>,
    order: StoredOrder,
    body_b64: String,
}

/// The order in our books when the notify comes. Its `attach` is left out: we neither send nor read one.
#[derive(Deserialize)]
struct StoredOrder {
    out_trade_no: String,
    total_fee: i64,
    state: String,
    transaction_id: Option<String>,
}

#[derive(Deserialize)]
struct NotifyExpect {
    decision: String,
    acceptable: Vec<String>,
    hardness: String,
    reason: String,
    reply_return_code: String,
    order_state_after: String,
    fields: Option<BTreeMap<String, String>>,
}

impl StoredOrder {
    fn is_paid(&self) -> bool {
        assert!(["PAID", "UNPAID"].contains(&self.state.as_str()));
        self.state == "PAID"
    }

    fn rows(&self) -> (Attempt, Order) {
        let attempt = attempt(&self.out_trade_no, self.total_fee);
        let paid = self.is_paid();
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
            transaction_id: self.transaction_id.as_deref().map(|id| TransactionId::parse(id).unwrap()),
            settled_by: paid.then_some(Source::Notify),
            late: false,
            reserved: Fen::ZERO,
        };
        (attempt, order)
    }
}

fn attempt(out_trade_no: &str, total_fee: i64) -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse(out_trade_no).unwrap(),
        order_id: 1,
        channel: Channel::WechatJsapi,
        account: "10000100:wx2421b1c4370ec43b".to_owned(),
        environment: Environment::Live,
        amount: Fen::new(total_fee).unwrap(),
        goods_name: "账户充值".to_owned(),
        payer: Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE"),
        client_ip: "203.0.113.9".to_owned(),
        notify_url: "https://pay.example.com/notify/wechat".to_owned(),
        created_at: UnixMs(1_555_331_400_000),
        expires_at: UnixMs(1_555_332_300_000),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

/// What a notify led to, in the vectors' word, in ours, and in the answer WeChat reads.
struct Outcome {
    decision: &'static str,
    verdict: &'static str,
    ack: Ack,
}

/// Reads a notify and settles it against one stored order, with no database.
fn settle(gateway: &WechatV2, body: &[u8], stored: &StoredOrder) -> Outcome {
    let payment = match gateway.notified(Notify { body, ..Notify::default() }) {
        Notified::Paid(payment) => payment,
        Notified::Refund(_) => panic!("V2 reports refunds at another door"),
        Notified::NotPaid { .. } => {
            return Outcome { decision: "not_paid", verdict: "not_paid", ack: Ack::Received };
        }
        Notified::Rejected { rejection, .. } => {
            let verdict = rejection.verdict();
            return Outcome { decision: "reject", verdict, ack: Ack::Refused(verdict) };
        }
    };
    let (attempt, order) = stored.rows();
    let found = (payment.out_trade_no() == &attempt.out_trade_no).then_some((&attempt, &order));
    let settled = match explain(payment.claim(), found) {
        // No other order exists here, so this answer for an unpaid order means that nothing stood
        // in the way: the conditional update would have settled it.
        Settled::Refused(Refusal::TransactionReused) if !order.is_paid() => Settled::Now,
        other => other,
    };
    let verdict = settled.verdict();
    let (decision, ack) = match settled {
        Settled::Now | Settled::Late => ("paid", Ack::Received),
        Settled::Already => ("duplicate", Ack::Received),
        Settled::SecondPayment => ("conflict", Ack::Received),
        Settled::Refused(_) => ("reject", Ack::Refused(verdict)),
    };
    Outcome { decision, verdict, ack }
}

/// The word we keep with a notice, for each reason the vectors give.
fn verdict_for(reason: &str) -> &'static str {
    match reason {
        "ok" => "ok",
        // Ours to decide: attach carries nothing for us, so a foreign one changes nothing.
        "attach" => "ok",
        "same_transaction" => "duplicate",
        "other_transaction" => "second_payment",
        "amount" => "amount_mismatch",
        "unknown_order" => "unknown_order",
        "appid" => "appid_mismatch",
        "mch_id" => "mch_id_mismatch",
        "return_code" => "comm_fail",
        "result_code" => "not_paid",
        "sign_missing" | "sign_empty" | "sign_invalid" | "sign_not_allowed" | "sign_lower_case" => "bad_sign",
        "doctype" | "empty_body" | "nested_element" | "malformed_xml" => "malformed",
        other => panic!("a reason without a verdict: {other}"),
    }
}

#[test]
fn every_notify_leads_to_the_decision_the_protocol_asks_for() {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let mut decided: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut policy: BTreeMap<String, &'static str> = BTreeMap::new();
    set.run(37, |id, input, expect| {
        let gateway = set.gateway(input.merchant.as_ref());
        let body = bytes(&input.body_b64);
        let outcome = settle(&gateway, &body, &input.order);

        *decided.entry(outcome.decision).or_default() += 1;
        assert!(expect.acceptable.iter().any(|word| word == outcome.decision), "{id}: {}", outcome.verdict);
        assert_eq!(outcome.verdict, verdict_for(&expect.reason), "{id}");
        if expect.hardness == "policy" {
            policy.insert(expect.reason.clone(), outcome.decision);
        } else {
            assert_eq!(expect.hardness, "must", "{id}");
            assert_eq!(outcome.decision, expect.decision, "{id}");
        }
        let paid_after = input.order.is_paid() || outcome.decision == "paid";
        if outcome.decision == expect.decision {
            assert_eq!(paid_after, expect.order_state_after == "PAID", "{id}");
        }
        if let Some(expected) = &expect.fields {
            assert_eq!(Fields::parse(&body).unwrap(), fields(expected), "{id}");
        }
        let answer = gateway.ack(outcome.ack);
        let answer = Fields::parse(answer.body.as_bytes()).unwrap();
        let code = answer.get("return_code").unwrap();
        assert!(["any", code].contains(&expect.reply_return_code.as_str()), "{id}: {code}");
    });
    assert_eq!(
        decided,
        BTreeMap::from([("conflict", 1), ("duplicate", 1), ("not_paid", 1), ("paid", 15), ("reject", 19)])
    );
    let ours = [("attach", "paid"), ("return_code", "reject"), ("sign_lower_case", "reject")];
    assert_eq!(policy, ours.map(|(reason, decision)| (reason.to_owned(), decision)).into());
}

#[test]
fn the_answer_to_a_notify_is_the_xml_that_wechat_reads() {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let gateway = set.gateway(None);
    let received = gateway.ack(Ack::Received);
    assert_eq!(received.content_type, "text/xml; charset=utf-8");
    assert_eq!(
        received.body,
        "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
    );
    let refused = gateway.ack(Ack::Refused(Rejection::BadSign.verdict()));
    assert_eq!(refused.content_type, "text/xml; charset=utf-8");
    assert_eq!(
        refused.body,
        "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[bad_sign]]></return_msg></xml>"
    );
}

/// A genuine notify with coupons (`wechat_v2_notify-p-005`) and who may believe it.
fn genuine() -> (WechatV2, Vec<u8>) {
    let set = Set::<NotifyInput, NotifyExpect>::load(NOTIFY);
    let case = set.cases.iter().find(|case| case.id == "wechat_v2_notify-p-005").unwrap();
    (set.gateway(case.input.merchant.as_ref()), bytes(&case.input.body_b64))
}

fn is_rejected(gateway: &WechatV2, body: &[u8]) -> bool {
    matches!(gateway.notified(Notify { body, ..Notify::default() }), Notified::Rejected { .. })
}

#[test]
fn a_genuine_notify_with_any_one_field_changed_is_rejected() {
    let (gateway, body) = genuine();
    let genuine = Fields::parse(&body).unwrap();
    assert!(matches!(
        gateway.notified(Notify { body: genuine.to_xml().as_bytes(), ..Notify::default() }),
        Notified::Paid(_)
    ));
    let mut tried = 0;
    for (name, value) in genuine.iter() {
        let longer = format!("{value}0");
        let shorter: String = value.chars().skip(1).collect();
        for changed in [longer.as_str(), shorter.as_str(), "1", " ", ""] {
            let mut forged = genuine.clone();
            forged.set(name, changed);
            assert!(is_rejected(&gateway, forged.to_xml().as_bytes()), "{name} = {changed:?}");
        }
        let mut forged = genuine.clone();
        forged.remove(name);
        assert!(is_rejected(&gateway, forged.to_xml().as_bytes()), "without {name}");
        let mut forged = genuine.clone();
        forged.set(&format!("{name}_0_0"), value);
        assert!(is_rejected(&gateway, forged.to_xml().as_bytes()), "{name} once more");
        tried += 1;
    }
    assert_eq!(tried, 25);
}

#[test]
fn a_sign_with_any_one_character_changed_is_rejected() {
    let (gateway, body) = genuine();
    let genuine = Fields::parse(&body).unwrap();
    for sign_type in SignType::ALL {
        let right = sign::sign(&genuine, &gateway.account.key, sign_type);
        let mut signed = genuine.clone();
        signed.set("sign", &right);
        assert!(!is_rejected(&gateway, signed.to_xml().as_bytes()));
        for at in 0..right.len() {
            for other in "0123456789ABCDEFabcdef+ ".chars() {
                let wrong: String =
                    right.chars().enumerate().map(|(i, c)| if i == at { other } else { c }).collect();
                signed.set("sign", &wrong);
                assert_eq!(is_rejected(&gateway, signed.to_xml().as_bytes()), wrong != right, "{wrong}");
            }
        }
    }
}

#[test]
fn a_genuine_notify_with_any_one_bit_flipped_or_its_tail_cut_says_nothing_new() {
    let (gateway, body) = genuine();
    let genuine = gateway.notified(Notify { body: &body, ..Notify::default() });
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut damaged = body.clone();
            damaged[at] ^= 1 << bit;
            let read = gateway.notified(Notify { body: &damaged, ..Notify::default() });
            let harmless = matches!(read, Notified::Rejected { .. }) || read == genuine;
            assert!(harmless, "byte {at} bit {bit}: {read:?}");
        }
        assert!(is_rejected(&gateway, &body[..at]), "cut at {at}");
    }
}

#[derive(Deserialize)]
struct ResponseInput {
    api: String,
    merchant: Option<Merchant>,
    asked: Asked,
    body_b64: String,
}

#[derive(Deserialize)]
struct Asked {
    out_trade_no: String,
}

#[derive(Deserialize)]
struct ResponseExpect {
    decision: String,
    acceptable: Vec<String>,
    hardness: String,
    detail: String,
    means_paid: bool,
    fields: Option<BTreeMap<String, String>>,
}

/// The vectors' decision and detail about a reply.
fn judged(api: &str, read: &Result<Reply, Untrusted>) -> (&'static str, String) {
    match read {
        Ok(Reply::Done(fields)) if api == "orderquery" => ("ok", fields.get("trade_state").unwrap().into()),
        Ok(Reply::Done(_)) => ("ok", "ok".into()),
        Ok(Reply::Failed { err_code, .. }) => ("business_fail", err_code.clone()),
        Err(Untrusted::CommFail(_)) => ("transport_fail", "return_code".into()),
        Err(Untrusted::BadSign(why)) if *why == SignFault::Missing.to_string() => {
            ("untrusted", "sign_missing".into())
        }
        Err(Untrusted::BadSign(_)) => ("untrusted", "sign_invalid".into()),
        Err(Untrusted::Identity("out_trade_no")) => ("untrusted", "out_trade_no".into()),
        Err(Untrusted::Identity(_)) => ("untrusted", "identity".into()),
        Err(Untrusted::Malformed(_)) => ("untrusted", "malformed".into()),
        Err(fault @ (Untrusted::Status(_) | Untrusted::Incomplete(_) | Untrusted::Probe)) => {
            panic!("{fault}")
        }
    }
}

#[test]
fn every_reply_is_judged_by_shape_signature_and_identity_before_its_words_count() {
    let set = Set::<ResponseInput, ResponseExpect>::load(RESPONSE);
    let mut decided: BTreeMap<&'static str, usize> = BTreeMap::new();
    set.run(31, |id, input, expect| {
        assert_eq!((expect.hardness.as_str(), expect.acceptable.len()), ("must", 1), "{id}");
        let gateway = set.gateway(input.merchant.as_ref());
        let attempt = attempt(&input.asked.out_trade_no, 20);
        let answer = Response::new(200, bytes(&input.body_b64));
        let read = reply::read(&gateway.account, &answer, &attempt.out_trade_no);

        let (decision, detail) = judged(&input.api, &read);
        *decided.entry(decision).or_default() += 1;
        assert_eq!(decision, expect.decision, "{id}: {read:?}");
        // The two ways of not being XML are one to us.
        let expected = match expect.detail.as_str() {
            "text_outside_element" | "empty_body" => "malformed",
            other => other,
        };
        assert_eq!(detail, expected, "{id}");
        if let Some(expected) = &expect.fields {
            assert_eq!(Fields::parse(&answer.body).unwrap(), fields(expected), "{id}");
        }

        let fault = read.err();
        let paid = match input.api.as_str() {
            "unifiedorder" => {
                let prepaid = gateway.prepaid(&answer, &attempt);
                assert_eq!(prepaid.clone().err(), fault, "{id}");
                check_prepaid(id, prepaid.ok(), expect);
                false
            }
            "orderquery" => {
                let trade = gateway.trade(&answer, &attempt);
                assert_eq!(trade.clone().err(), fault, "{id}");
                check_trade(id, trade.ok(), expect)
            }
            "closeorder" => {
                let closing = gateway.closing(&answer, &attempt);
                assert_eq!(closing.clone().err(), fault, "{id}");
                check_closing(id, closing.ok(), expect);
                false
            }
            other => panic!("{id}: {other}"),
        };
        assert_eq!(paid, expect.means_paid, "{id}");

        // The very same words under an HTTP error are nobody's words.
        let error_page = Response { status: 502, ..answer };
        assert_eq!(gateway.trade(&error_page, &attempt), Err(Untrusted::Status(502)), "{id}");
    });
    assert_eq!(
        decided,
        BTreeMap::from([("business_fail", 10), ("ok", 14), ("transport_fail", 1), ("untrusted", 6)])
    );
}

fn check_prepaid(id: &str, prepaid: Option<Prepaid>, expect: &ResponseExpect) {
    let Some(prepaid) = prepaid else { return };
    let code = expect.detail.clone();
    match code.as_str() {
        "ok" => {
            let prepay_id = expect.fields.as_ref().unwrap()["prepay_id"].clone();
            assert_eq!(prepaid, Prepaid::Ready { prepay_id }, "{id}");
        }
        "ORDERPAID" => assert_eq!(prepaid, Prepaid::Paid, "{id}"),
        "ORDERCLOSED" => assert_eq!(prepaid, Prepaid::Closed, "{id}"),
        "OUT_TRADE_NO_USED" => assert_eq!(prepaid, Prepaid::NumberUsed, "{id}"),
        "SYSTEMERROR" | "FREQUENCY_LIMITED" | "SOME_NEW_CODE" => {
            assert_eq!(prepaid, Prepaid::Unknown { code }, "{id}");
        }
        "APPID_MCHID_NOT_MATCH" => assert_eq!(prepaid, Prepaid::Refused { code }, "{id}"),
        // The payer's balance, a fault of cards and codes: it must only never look like success or an end.
        "NOTENOUGH" => assert!(matches!(prepaid, Prepaid::Unknown { .. } | Prepaid::Refused { .. }), "{id}"),
        other => panic!("{id}: {other}"),
    }
}

/// Says whether the order may be booked.
fn check_trade(id: &str, trade: Option<Trade>, expect: &ResponseExpect) -> bool {
    let Some(trade) = trade else { return false };
    let state = expect.detail.clone();
    match state.as_str() {
        "SUCCESS" => {
            let Trade::Paid(payment) = trade else { panic!("{id}: {trade:?}") };
            let said = expect.fields.as_ref().unwrap();
            assert_eq!(payment.out_trade_no().as_str(), said["out_trade_no"], "{id}");
            assert_eq!(payment.transaction_id().as_str(), said["transaction_id"], "{id}");
            assert_eq!(payment.amount().get().to_string(), said["total_fee"], "{id}");
            assert_eq!(payment.paid_at().unwrap().beijing_compact(), said["time_end"], "{id}");
            return true;
        }
        "REFUND" => assert!(matches!(trade, Trade::Refunded { .. }), "{id}: {trade:?}"),
        "CLOSED" | "REVOKED" => assert_eq!(trade, Trade::Closed { state }, "{id}"),
        "ORDERNOTEXIST" => assert_eq!(trade, Trade::NotFound, "{id}"),
        "NOTPAY" | "USERPAYING" | "PAYERROR" | "ACCEPT" | "BRAND_NEW_STATE" => {
            assert_eq!(trade, Trade::Pending { state }, "{id}");
        }
        other => panic!("{id}: {other}"),
    }
    false
}

fn check_closing(id: &str, closing: Option<Closing>, expect: &ResponseExpect) {
    match expect.detail.as_str() {
        "ok" => assert_eq!(closing, Some(Closing::Closed), "{id}"),
        "ORDERPAID" => assert_eq!(closing, Some(Closing::Paid), "{id}"),
        other => panic!("{id}: {other}"),
    }
}

#[derive(Deserialize)]
struct TextInput {
    kind: String,
    text: String,
}

#[derive(Deserialize)]
struct NumberExpect {
    value: Option<i64>,
    epoch: Option<i64>,
}

#[test]
fn amounts_and_times_are_read_strictly_or_not_at_all() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    Set::<TextInput, NumberExpect>::load(AMOUNT_TIME).run(36, |id, input, expect| {
        *kinds.entry(input.kind.clone()).or_default() += 1;
        let text = input.text.as_str();
        match input.kind.as_str() {
            "fen" => assert_eq!(Fen::parse_fen(text).ok().map(Fen::get), expect.value, "{id}"),
            "yuan" => assert_eq!(Fen::parse_yuan(text).ok().map(Fen::get), expect.value, "{id}"),
            "time_v2" => {
                let read = UnixMs::parse_beijing_compact(text);
                assert_eq!(read.map(UnixMs::secs), expect.epoch, "{id}");
                assert!(read.is_none_or(|at| at.beijing_compact() == text), "{id}");
            }
            // API V3 writes times with an offset and this program speaks V2 only: the V2 reader refuses it.
            "time_v3" => assert_eq!(UnixMs::parse_beijing_compact(text), None, "{id}"),
            other => panic!("{id}: {other}"),
        }
    });
    let expected = [("fen", 12), ("time_v2", 7), ("time_v3", 1), ("yuan", 16)];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OauthInput {
    Authorize { appid: String, redirect_uri: String, scope: String, state: String },
    Token { http_status: u16, body_text: String },
}

#[derive(Deserialize)]
struct OauthExpect {
    url: Option<String>,
    decision: Option<String>,
}

#[test]
fn web_authorisation_sends_the_payer_out_and_reads_who_came_back() {
    Set::<OauthInput, OauthExpect>::load(OAUTH).run(7, |id, input, expect| match input {
        OauthInput::Authorize { appid, redirect_uri, scope, state } => {
            assert_eq!(scope, "snsapi_base", "{id}");
            let url = wechat_oauth::authorize_url("https://open.weixin.qq.com", appid, redirect_uri, state);
            assert_eq!(Some(url), expect.url, "{id}");
        }
        OauthInput::Token { http_status, body_text } => {
            let answer = Response::new(*http_status, body_text.clone().into_bytes());
            let decision = match wechat_oauth::openid(&answer) {
                Ok(openid) => {
                    assert_eq!(openid.as_str(), "oUpF8uMEb4qRXf22hE3X68TekukE", "{id}");
                    "openid"
                }
                Err(OauthFault::Restart) => "restart_authorize",
                Err(OauthFault::Configuration) => "configuration_alarm",
                Err(OauthFault::Busy | OauthFault::Unusable) => "error",
            };
            assert_eq!(Some(decision), expect.decision.as_deref(), "{id}");
        }
    });
}

#[derive(Deserialize)]
struct RefundInput {
    merchant: Option<Merchant>,
    refund: Option<StoredRefund>,
    body_b64: Option<String>,
    key: Option<String>,
    req_info: Option<String>,
    raw_key_ascii: Option<String>,
    ciphertext_b64: Option<String>,
}

#[derive(Deserialize)]
struct StoredRefund {
    out_refund_no: String,
    out_trade_no: String,
    transaction_id: String,
    refund_fee: i64,
    total_fee: i64,
}

#[derive(Deserialize)]
struct RefundExpect {
    decision: String,
    #[serde(default)]
    acceptable: Vec<String>,
    hardness: Option<String>,
    #[serde(default)]
    reason: String,
    reply_return_code: Option<String>,
    fields: Option<BTreeMap<String, String>>,
    plaintext_b64: Option<String>,
    aes_key_ascii: Option<String>,
}

impl StoredRefund {
    fn row(&self) -> Refund {
        Refund {
            id: 1,
            out_refund_no: OutRefundNo::parse(&self.out_refund_no).unwrap(),
            order_id: Some(1),
            work_item_id: None,
            user_id: Some(7),
            provider: Provider::Wechat,
            account: "10000100:wx2421b1c4370ec43b".to_owned(),
            environment: Environment::Live,
            out_trade_no: OutTradeNo::parse(&self.out_trade_no).unwrap(),
            transaction_id: TransactionId::parse(&self.transaction_id).unwrap(),
            total: Fen::new(self.total_fee).unwrap(),
            amount: Fen::new(self.refund_fee).unwrap(),
            reason: "商品已售完".to_owned(),
            notify_url: "https://pay.example.com/notify/wechat/refund".to_owned(),
            requested_by: "boss".to_owned(),
            requested_at: UnixMs(1_555_331_400_000),
            decided_by: None,
            state: RefundState::Processing,
            refund_id: None,
            last_answer: None,
            asked: 1,
            asked_at: Some(UnixMs(1_555_331_400_000)),
            refused_at: None,
            queried_at: None,
            next_at: None,
            finished_at: None,
        }
    }
}

/// What a refund notify comes to with this refund in the books: the vectors' decision, our verdict, the answer.
/// A decision is a reason to query, and no more.
fn hinted(gateway: &WechatV2, body: &[u8], refund: &Refund) -> Outcome {
    let refused = |verdict| Outcome { decision: "reject", verdict, ack: Ack::Refused(verdict) };
    let hint = match gateway.refund_notified(Notify { body, ..Notify::default() }) {
        RefundNotified::Rejected { rejection, .. } => return refused(rejection.verdict()),
        RefundNotified::Hint(hint) if !refund.is_named_by(&hint) => return refused("mismatch"),
        RefundNotified::Hint(hint) => hint,
    };
    let decision = match hint.status.as_str() {
        "SUCCESS" => "refund_success",
        "CHANGE" => "refund_change",
        "REFUNDCLOSE" => "refund_closed",
        other => panic!("{other}"),
    };
    Outcome { decision, verdict: "ok", ack: Ack::Received }
}

/// The word we keep with a refund's notice, for each reason the vectors give. Those about the secret part are one.
fn refund_verdict_for(reason: &str) -> &'static str {
    match reason {
        "ok" => "ok",
        "padding" | "base64" | "block_length" | "req_info_missing" => "decrypt_failed",
        "amount" | "out_refund_no" => "mismatch",
        "identity" => "mch_id_mismatch",
        "return_code" => "comm_fail",
        other => panic!("a reason without a verdict: {other}"),
    }
}

/// A ciphertext alone, or a key alone.
fn check_cipher(id: &str, input: &RefundInput, expect: &RefundExpect) {
    let key = input.key.as_deref().map(|key| ApiKey::new(key).unwrap());
    let plain = match (&key, &input.req_info, &input.raw_key_ascii, &input.ciphertext_b64) {
        (Some(key), Some(req_info), None, None) => refund_notify::open(key, req_info).unwrap(),
        (None, None, Some(raw), Some(text)) => refund_notify::decrypt(raw.as_bytes(), text).unwrap(),
        (Some(key), None, None, None) => {
            assert_eq!(expect.decision, "derive_only", "{id}");
            let sealed = refund_notify::seal(key, "told apart by the key").unwrap();
            let opened = refund_notify::decrypt(expect.aes_key_ascii.as_ref().unwrap().as_bytes(), &sealed);
            assert_eq!(opened.as_deref(), Some(b"told apart by the key".as_slice()), "{id}");
            return;
        }
        _ => panic!("{id}: another kind of case"),
    };
    assert_eq!(expect.decision, "decrypt_only", "{id}");
    assert_eq!(plain, bytes(expect.plaintext_b64.as_ref().unwrap()), "{id}");
    if let Some(expected) = &expect.fields {
        assert_eq!(Fields::parse_root(&plain, "root").unwrap(), fields(expected), "{id}");
    }
}

#[test]
fn every_refund_notify_is_opened_and_is_at_most_a_reason_to_ask() {
    let set = Set::<RefundInput, RefundExpect>::load(REFUND_NOTIFY);
    let mut decided: BTreeMap<String, usize> = BTreeMap::new();
    set.run(19, |id, input, expect| {
        *decided.entry(expect.decision.clone()).or_default() += 1;
        let (Some(stored), Some(body)) = (&input.refund, &input.body_b64) else {
            return check_cipher(id, input, expect);
        };
        let gateway = set.gateway(input.merchant.as_ref());
        let outcome = hinted(&gateway, &bytes(body), &stored.row());
        assert_eq!(outcome.decision, expect.decision, "{id}");
        assert_eq!(
            (expect.hardness.as_deref(), &expect.acceptable[..]),
            (Some("must"), &[expect.decision.clone()][..]),
            "{id}"
        );
        assert_eq!(outcome.verdict, refund_verdict_for(&expect.reason), "{id}");
        let answer = gateway.ack(outcome.ack);
        let answer = Fields::parse(answer.body.as_bytes()).unwrap();
        assert_eq!(answer.get("return_code"), expect.reply_return_code.as_deref(), "{id}");
        if let Some(expected) = &expect.fields {
            let outer = Fields::parse(&bytes(body)).unwrap();
            let plain = refund_notify::open(&gateway.account.key, outer.get("req_info").unwrap()).unwrap();
            assert_eq!(Fields::parse_root(&plain, "root").unwrap(), fields(expected), "{id}");
        }
    });
    let expected = [("decrypt_only", 3), ("derive_only", 1), ("refund_change", 1), ("refund_closed", 1)];
    let expected = expected.into_iter().chain([("refund_success", 3), ("reject", 10)]);
    assert_eq!(decided, expected.map(|(decision, count)| (decision.to_owned(), count)).collect());
}
