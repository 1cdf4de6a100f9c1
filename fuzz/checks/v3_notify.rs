//! V3's callback. The input is what WeChat would seal: sealed and signed as WeChat does it, the verdict and the payment
//! in it are those of the second reader. Neither fits without WeChat's key or our own, whatever the input.

use super::{
    opinion::{Opinion, Refund},
    second::{APPID, MCH_ID, Payment, beijing_ms, is_number, is_payment, kept},
    second_json::Json,
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use shouyin::{
    domain::{order::Environment, time::UnixMs},
    gateway::{
        Gateway, Headers, Notified, Notify, Protocol, RefundNotified, Rejection,
        rsa::{PrivateKey, PublicKey},
        wechat::Appids,
        wechat_v3::{Account, ApiV3Key, WechatPublicKey, WechatV3},
    },
};
use std::sync::LazyLock;

/// The clock that every callback arrives by, in seconds.
const NOW: i64 = 1_722_850_421;
/// The appid of a mini program of the same merchant.
const MINI: &str = "wxmini0000000001";
const API_V3_KEY: &str = "FuzzingOnlyApiV3Key_0123456789ab";
const OTHER_KEY: &str = "FuzzingOnlyApiV3Key_0123456789aB";
const KEY_ID: &str = "PUB_KEY_ID_0100001000020250101000000001";
const PAYMENT: &str = "TRANSACTION.SUCCESS";
const REFUND: &str = "REFUND.SUCCESS";

/// Made anew by each process: a corpus can hold nothing that they signed.
static WECHAT: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().expect("randomness"));
static STRANGER: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().expect("randomness"));

static GATEWAY: LazyLock<WechatV3> = LazyLock::new(|| {
    let public = WECHAT.public_base64().expect("a public half");
    let key = PublicKey::parse(&public).expect("a public key");
    WechatV3::new(Account {
        appids: Appids { web: APPID.to_owned(), mini: Some(MINI.to_owned()), app: None },
        mch_id: MCH_ID.to_owned(),
        key: STRANGER.clone(),
        serial: "4A6B".to_owned(),
        api_v3_key: ApiV3Key::new(API_V3_KEY).expect("32 bytes"),
        public_key: Some(WechatPublicKey { id: KEY_ID.to_owned(), key }),
        certificates: Vec::new(),
        public_url: String::new(),
        environment: Environment::Live,
    })
});

/// The input as a callback, then signed, and then sealed and signed: that far no fuzzer gets by itself.
pub fn check(data: &[u8]) {
    nobody_s_word_is_refused(data);
    a_signature_opens_nothing(data);
    let contents = Json::object(data);
    judge_payment(data, contents.as_ref());
    judge_refund(data, contents.as_ref());
}

/// A callback as it is sent.
struct Sent {
    headers: String,
    body: Vec<u8>,
}

impl Sent {
    fn by(key: &PrivateKey, body: Vec<u8>) -> Sent {
        let text = [format!("{NOW}\nnonce\n").as_bytes(), &body, b"\n"].concat();
        Sent { headers: headers(&key.sign(&text)), body }
    }

    /// What the program makes of it, so many seconds after it was signed.
    fn read(&self, later: i64) -> Notified {
        GATEWAY.notified(Notify { received_at: UnixMs((NOW + later) * 1000), ..self.notify() })
    }

    fn notify(&self) -> Notify<'_> {
        Notify { headers: Headers(&self.headers), body: &self.body, received_at: UnixMs(NOW * 1000) }
    }

    fn opinion(&self) -> Opinion {
        Opinion::of(&self.read(0), Protocol::WechatV3)
    }
}

fn headers(signature: &str) -> String {
    format!(
        "wechatpay-timestamp: {NOW}\nwechatpay-nonce: nonce\nwechatpay-signature: {signature}\n\
         wechatpay-serial: {KEY_ID}\nwechatpay-signature-type: WECHATPAY2-SHA256-RSA2048\n"
    )
}

/// A callback around any secret part.
fn envelope(event: &str, key: &str, plain: &[u8]) -> Vec<u8> {
    let (nonce, data) = ("nonce-nonce-", "transaction");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).expect("32 bytes"));
    let once = Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("12 bytes");
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(once, Aad::from(data), &mut sealed).expect("the cipher works");
    let ciphertext = STANDARD.encode(sealed);
    format!(
        r#"{{"id":"1","event_type":"{event}","resource_type":"encrypt-resource","resource":{{"algorithm":"AEAD_AES_256_GCM","nonce":"{nonce}","associated_data":"{data}","ciphertext":"{ciphertext}"}}}}"#
    )
    .into_bytes()
}

/// Without headers, with the input itself as headers, and with a signature of the right length.
fn nobody_s_word_is_refused(data: &[u8]) {
    let made_up = headers(&STANDARD.encode([1; 256]));
    let own = String::from_utf8_lossy(data);
    for headers in ["", &own, &format!("{own}\n{made_up}"), &made_up, &headers(&own)] {
        for body in [data, b""] {
            let notify = Notify { headers: Headers(headers), body, received_at: UnixMs(NOW * 1000) };
            let Notified::Rejected { rejection, .. } = GATEWAY.notified(notify) else {
                panic!("believed, and signed by nobody");
            };
            assert!(matches!(rejection, Rejection::BadSign | Rejection::SignProbe), "{rejection:?}");
            let refund = GATEWAY.refund_notified(notify);
            assert!(
                matches!(refund, RefundNotified::Rejected { rejection: at, .. } if at == rejection),
                "{refund:?}"
            );
        }
    }
}

/// The input as a whole callback that WeChat signed: what is not sealed with our key says nothing.
fn a_signature_opens_nothing(data: &[u8]) {
    let sent = Sent::by(&WECHAT, data.to_vec());
    let envelope = Json::object(data).filter(|envelope| {
        envelope.text("event_type").is_some() && matches!(envelope.get("resource"), Some(Json::Object(_)))
    });
    let verdict = if envelope.is_some() { "decrypt_failed" } else { "malformed" };
    assert_eq!(sent.opinion(), Opinion::Rejected { verdict, out_trade_no: None });
}

fn judge_payment(plain: &[u8], contents: Option<&Json>) {
    let sent = Sent::by(&WECHAT, envelope(PAYMENT, API_V3_KEY, plain));
    let ours = sent.opinion();
    assert_eq!(ours, payment_expected(contents, &ours));
    let refund = GATEWAY.refund_notified(sent.notify());
    assert!(matches!(refund, RefundNotified::Rejected { .. }), "a payment is no refund");
    if let Opinion::Paid { payment, .. } = ours {
        nothing_else_is_paid(&sent, plain, &payment.out_trade_no);
    }
}

/// What the second reader would answer, in the order the protocol is to be checked. `ours` lends it times in forms that
/// it does not read.
fn payment_expected(contents: Option<&Json>, ours: &Opinion) -> Opinion {
    let out_trade_no = contents.and_then(out_trade_no);
    let rejected = |verdict| Opinion::Rejected { verdict, out_trade_no: out_trade_no.clone() };
    let Some(contents) = contents else { return rejected("incomplete") };
    match contents.get("trade_state") {
        Some(Json::Text(state)) if state == "SUCCESS" => {}
        Some(Json::Text(_)) => return Opinion::NotPaid { out_trade_no },
        _ => return rejected("incomplete"),
    }
    let Some(appid) = contents.text("appid").filter(|appid| [APPID, MINI].contains(appid)) else {
        return rejected("appid_mismatch");
    };
    if !contents.says("mchid", MCH_ID) {
        return rejected("mch_id_mismatch");
    }
    let Some(mut payment) = payment(contents) else { return rejected("incomplete") };
    if let (Opinion::Paid { payment: ours, .. }, None) = (ours, payment.paid_at) {
        payment.paid_at = ours.paid_at;
    }
    let payer = contents.get("payer").and_then(|payer| payer.text("openid"));
    let payer = payer.filter(|openid| fits(openid, 128, "_-")).map(str::to_owned);
    Opinion::Paid { payment, account: format!("{MCH_ID}:{appid}"), payer }
}

fn payment(contents: &Json) -> Option<Payment> {
    let amount = contents.get("amount").filter(|amount| matches!(amount, Json::Object(_)))?;
    let currency = match amount.get("currency") {
        None => "CNY",
        Some(_) => amount.text("currency")?,
    };
    Some(Payment {
        out_trade_no: out_trade_no(contents)?,
        transaction_id: contents.text("transaction_id").filter(|id| is_payment(id))?.to_owned(),
        amount: amount.fen("total").filter(|fen| *fen > 0)?,
        currency: kept(currency),
        trade_type: kept(contents.text("trade_type").unwrap_or_default()),
        paid_at: contents.text("success_time").and_then(beijing),
    })
}

fn judge_refund(plain: &[u8], contents: Option<&Json>) {
    let sent = Sent::by(&WECHAT, envelope(REFUND, API_V3_KEY, plain));
    let out_trade_no = contents.and_then(out_trade_no);
    let rejected = |verdict| Opinion::Rejected { verdict, out_trade_no };
    let expected = match contents {
        Some(contents) if !contents.says("mchid", MCH_ID) => rejected("mch_id_mismatch"),
        contents => contents.and_then(refund).map_or_else(|| rejected("incomplete"), Opinion::Refund),
    };
    assert_eq!(sent.opinion(), expected);
    match (GATEWAY.refund_notified(sent.notify()), expected) {
        (RefundNotified::Hint(hint), Opinion::Refund(refund)) => assert_eq!(Refund::of(&hint), refund),
        (
            RefundNotified::Rejected { rejection, out_trade_no: named },
            Opinion::Rejected { verdict, out_trade_no },
        ) => {
            assert_eq!(rejection.verdict(), verdict);
            assert_eq!(named.map(|number| number.as_str().to_owned()), out_trade_no);
        }
        (ours, expected) => panic!("two doors: {ours:?} and {expected:?}"),
    }
}

fn refund(contents: &Json) -> Option<Refund> {
    let amount = contents.get("amount")?;
    let status = match contents.text("refund_status")? {
        "ABNORMAL" => "CHANGE",
        "CLOSED" => "REFUNDCLOSE",
        other => other,
    };
    let number = contents.text("out_refund_no").filter(|number| fits(number, 64, "_-|*@"));
    Some(Refund {
        out_refund_no: number?.to_owned(),
        out_trade_no: out_trade_no(contents)?,
        transaction_id: contents.text("transaction_id").filter(|id| is_payment(id))?.to_owned(),
        total: amount.fen("total")?,
        amount: Some(amount.fen("refund")?),
        status: status.to_owned(),
    })
}

fn out_trade_no(contents: &Json) -> Option<String> {
    contents.text("out_trade_no").filter(|number| is_number(number, "_-|*")).map(str::to_owned)
}

fn fits(text: &str, longest: usize, also: &str) -> bool {
    text.len() <= longest && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

/// Milliseconds of a time in the one form WeChat writes: `yyyy-MM-ddTHH:mm:ss+08:00`.
fn beijing(text: &str) -> Option<i64> {
    let compact: String = text.strip_suffix("+08:00")?.chars().filter(char::is_ascii_digit).collect();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    (shape == "0000-00-00T00:00:00+00:00").then(|| beijing_ms(&compact)).flatten()
}

/// The same message by another key, for another key, at another time, or with anything changed.
fn nothing_else_is_paid(sent: &Sent, plain: &[u8], number: &str) {
    let verdict = |sent: &Sent, later| match sent.read(later) {
        Notified::Rejected { rejection, out_trade_no } => {
            assert!(out_trade_no.is_none_or(|named| named.as_str() == number));
            rejection.verdict()
        }
        _ => "believed",
    };
    let changed = |headers: String, body: &[u8]| Sent { headers, body: body.to_vec() };
    for (from, to) in
        [("timestamp: 1", "timestamp: 2"), ("nonce: n", "nonce: N"), ("-serial: P", "-serial: p")]
    {
        let headers = sent.headers.replace(from, to);
        assert_ne!(headers, sent.headers);
        assert_eq!(verdict(&changed(headers, &sent.body), 0), "bad_sign");
    }
    let other_event = String::from_utf8_lossy(&sent.body).replace(PAYMENT, REFUND);
    for body in [other_event.as_bytes(), &[&sent.body, b" ".as_slice()].concat(), plain, b""] {
        assert_eq!(verdict(&changed(sent.headers.clone(), body), 0), "bad_sign");
    }
    assert_eq!(verdict(&Sent::by(&STRANGER, sent.body.clone()), 0), "bad_sign");
    assert_eq!(verdict(&Sent::by(&WECHAT, envelope(PAYMENT, OTHER_KEY, plain)), 0), "decrypt_failed");
    for (later, word) in [(-301, "stale"), (-300, "believed"), (300, "believed"), (301, "stale")] {
        assert_eq!(verdict(sent, later), word, "{later}");
    }
    let other = Sent::by(&WECHAT, envelope("COUPON.USE", API_V3_KEY, plain));
    assert_eq!(other.opinion(), Opinion::NotPaid { out_trade_no: Some(number.to_owned()) });
}
