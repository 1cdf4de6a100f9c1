//! Alipay's callback. The input is a form without signature: signed as Alipay does it, the verdict and the payment in
//! it are those of the second reader, and no pair of a form that is believed can be changed.

use super::{
    opinion::{Opinion, Refund},
    second::{Payment, beijing_ms, is_number, is_payment, yuan},
    second_form::{Pairs, escaped},
};
use shouyin::{
    domain::order::Environment,
    gateway::{
        Gateway, Notified, Notify, Protocol, RefundNotified, Rejection,
        alipay::{Account, Alipay},
        rsa::{PrivateKey, PublicKey},
    },
};
use std::sync::LazyLock;

/// The app of every form in the corpus: that of `tests/vectors`.
const APP_ID: &str = "2021000122600001";
const SELLER_ID: &str = "2088102146225135";

/// Made anew by each process: a corpus can hold nothing that they signed.
static ALIPAY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().expect("randomness"));
static OURS: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().expect("randomness"));

static GATEWAY: LazyLock<Alipay> = LazyLock::new(|| {
    let public = ALIPAY.public_base64().expect("a public half");
    Alipay {
        account: Account {
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            key: OURS.clone(),
            public_key: PublicKey::parse(&public).expect("a public key"),
            certificates: None,
            gateway_url: String::new(),
            public_url: String::new(),
            environment: Environment::Live,
        },
    }
});

/// The form as it is, and then with the signature it would need: that far no fuzzer gets by itself.
pub fn check(body: &[u8]) {
    let pairs = Pairs::read(body);
    let text = pairs.as_ref().map_or_else(|| body.to_vec(), |pairs| pairs.signed_text(true));
    // Without a signature, with one of the right length, and with one of our own, which any payer gets to see.
    refused(body);
    refused(&with_sign(body, &[b"AQEB".repeat(85).as_slice(), b"AQ=="].concat()));
    judge(&with_sign(body, ALIPAY.sign(&text).as_bytes()), true);
    let Some(pairs) = pairs else { return };
    refused(&with_sign(body, OURS.sign(&text).as_bytes()));
    if pairs.empty() > 0 {
        let sign = ALIPAY.sign(&pairs.signed_text(false));
        judge(&with_sign(body, sign.as_bytes()), false);
    }
}

fn with_sign(body: &[u8], sign: &[u8]) -> Vec<u8> {
    [body, b"&sign=", escaped(sign).as_bytes()].concat()
}

fn notified(body: &[u8]) -> Notified {
    let notify = Notify { body, ..Notify::default() };
    let no_door = RefundNotified::Rejected { rejection: Rejection::Malformed, out_trade_no: None };
    assert_eq!(GATEWAY.refund_notified(notify), no_door);
    GATEWAY.notified(notify)
}

fn refused(body: &[u8]) {
    let Notified::Rejected { rejection, .. } = notified(body) else {
        panic!("believed, and not signed by Alipay");
    };
    assert!(matches!(rejection, Rejection::BadSign | Rejection::Malformed), "{rejection:?}");
}

/// A form that Alipay signed, `with_empty` pairs or without them. Then they are under no signature, so there may be
/// eight at most, and whether they are there must make no difference.
fn judge(body: &[u8], with_empty: bool) {
    let ours = Opinion::of(&notified(body), Protocol::Alipay);
    let malformed = Opinion::Rejected { verdict: "malformed", out_trade_no: None };
    let Some(pairs) = Pairs::read(body) else { return assert_eq!(ours, malformed) };
    if pairs.is_foreign() && ours == malformed {
        return;
    }
    let counts = with_empty || pairs.empty() <= 8;
    assert_eq!(same_words(ours.clone(), &pairs), expected(&pairs, counts));
    if !matches!(ours, Opinion::Paid { .. } | Opinion::Refund(_)) {
        return;
    }
    for (changed, was_empty) in pairs.changes() {
        let opinion = Opinion::of(&notified(&changed), Protocol::Alipay);
        if was_empty && !with_empty {
            assert_eq!(opinion, ours);
        } else {
            assert!(matches!(opinion, Opinion::Rejected { .. }), "{:?}", String::from_utf8_lossy(&changed));
        }
    }
}

/// What the second reader would answer, in the order the protocol is to be checked.
fn expected(pairs: &Pairs, counts: bool) -> Opinion {
    let out_trade_no = out_trade_no(pairs);
    let rejected = |verdict| Opinion::Rejected { verdict, out_trade_no: out_trade_no.clone() };
    if !counts || !pairs.says("sign_type", "RSA2") || pairs.is_ambiguous() {
        return rejected("bad_sign");
    }
    if !pairs.says("app_id", APP_ID) {
        return rejected("appid_mismatch");
    }
    if !pairs.says("seller_id", SELLER_ID) {
        return rejected("mch_id_mismatch");
    }
    if !pairs.says("notify_type", "trade_status_sync")
        || !pairs.has("notify_id")
        || !pairs.has("trade_status")
    {
        return rejected("malformed");
    }
    let refunded = pairs.has("refund_fee") && pairs.get("refund_fee").and_then(yuan) != Some(0);
    if refunded || pairs.has("out_biz_no") || pairs.has("gmt_refund") {
        return refund(pairs).map_or_else(|| rejected("incomplete"), Opinion::Refund);
    }
    match pairs.get("trade_status") {
        Some("TRADE_SUCCESS" | "TRADE_FINISHED") => match payment(pairs) {
            Some(payment) => Opinion::Paid { payment, account: format!("{APP_ID}:{SELLER_ID}"), payer: None },
            None => rejected("incomplete"),
        },
        Some("WAIT_BUYER_PAY" | "TRADE_CLOSED") => Opinion::NotPaid { out_trade_no },
        _ => rejected("incomplete"),
    }
}

fn payment(pairs: &Pairs) -> Option<Payment> {
    let currency =
        if pairs.has("trans_currency") { pairs.get("trans_currency").unwrap_or("") } else { "CNY" };
    Some(Payment {
        out_trade_no: out_trade_no(pairs)?,
        transaction_id: pairs.get("trade_no").filter(|id| is_payment(id))?.to_owned(),
        amount: pairs.get("total_amount").and_then(yuan).filter(|fen| *fen > 0)?,
        currency: currency.to_owned(),
        trade_type: "ALIPAY".to_owned(),
        paid_at: pairs.get("gmt_payment").and_then(beijing),
    })
}

fn refund(pairs: &Pairs) -> Option<Refund> {
    let under = if pairs.has("out_biz_no") {
        "out_biz_no"
    } else {
        // Without a number of its own it is refunded under the trade's.
        pairs.get("refund_fee").and_then(yuan).filter(|fen| *fen > 0)?;
        "out_trade_no"
    };
    let number = pairs.get(under).filter(|number| {
        number.len() <= 64 && number.chars().all(|c| c.is_ascii_alphanumeric() || "_-|*@".contains(c))
    });
    Some(Refund {
        out_refund_no: number?.to_owned(),
        out_trade_no: out_trade_no(pairs)?,
        transaction_id: pairs.get("trade_no").filter(|id| is_payment(id))?.to_owned(),
        total: pairs.get("total_amount").and_then(yuan)?,
        amount: None,
        status: "SUCCESS".to_owned(),
    })
}

fn out_trade_no(pairs: &Pairs) -> Option<String> {
    pairs.get("out_trade_no").filter(|number| is_number(number, "_-|*")).map(str::to_owned)
}

/// Milliseconds of `yyyy-MM-dd HH:mm:ss` in Beijing.
fn beijing(text: &str) -> Option<i64> {
    let compact: String = text.chars().filter(char::is_ascii_digit).collect();
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    (shape == "0000-00-00 00:00:00").then(|| beijing_ms(&compact)).flatten()
}

/// With the currency as it was sent, where the program keeps a word of it: 64 characters, and one that stands for those
/// which cannot be printed. It must never keep CNY for another.
fn same_words(mut ours: Opinion, pairs: &Pairs) -> Opinion {
    let Opinion::Paid { payment, .. } = &mut ours else { return ours };
    if !pairs.has("trans_currency") || pairs.says("trans_currency", &payment.currency) {
        return ours;
    }
    assert_ne!(payment.currency, "CNY");
    let sent = pairs.get("trans_currency").unwrap_or("").to_owned();
    if !pairs.is_foreign() {
        assert_eq!(payment.currency.chars().count(), sent.chars().take(64).count());
        let alike =
            |(kept, sent): (char, char)| kept == sent || (kept == '\u{fffd}' && !(' '..='~').contains(&sent));
        assert!(payment.currency.chars().zip(sent.chars()).all(alike), "{:?}", payment.currency);
    }
    payment.currency = sent;
    ours
}
