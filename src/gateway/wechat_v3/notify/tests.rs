use super::*;
use crate::gateway::{
    Gateway, RefundNotified,
    wechat_v3::{testing, testing::*},
};
use serde_json::{Value, json};

/// As the public key signs it.
fn read(body: &str) -> Notified {
    gateway().notified(testing::notify(&headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW), body))
}

fn success(contents: &Value) -> Notified {
    read(&callback("TRANSACTION.SUCCESS", &contents.to_string()))
}

fn rejected(rejection: Rejection) -> Notified {
    Notified::Rejected { rejection, out_trade_no: OutTradeNo::parse("P1|*_-") }
}

#[test]
fn an_authentic_callback_is_a_payment() {
    let Notified::Paid(payment) = success(&transaction()) else { panic!() };
    assert_eq!((payment.amount().get(), payment.out_trade_no().as_str()), (100, "P1|*_-"));
}

/// Verified or not, and as long as WeChat sealed it, a message names its order for a query.
#[test]
fn a_callback_that_is_not_believed_names_its_order_and_nothing_else() {
    let body = callback("TRANSACTION.SUCCESS", &transaction().to_string());
    let genuine = headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW);
    let without = |name: &str| -> String {
        genuine.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect()
    };
    let probe = genuine.replace("wechatpay-signature: ", "wechatpay-signature: WECHATPAY/SIGNTEST/");
    let stale = |secs| headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW.plus_secs(secs));
    for (headers, rejection) in [
        (without("wechatpay-signature:"), Rejection::BadSign),
        (without("wechatpay-timestamp"), Rejection::BadSign),
        (without("wechatpay-nonce"), Rejection::BadSign),
        (without("wechatpay-serial"), Rejection::BadSign),
        (format!("{genuine}wechatpay-nonce: d824f2e086d3c1df967785d13fcd22ef\n"), Rejection::BadSign),
        (genuine.replace("RSA2048", "SM2"), Rejection::BadSign),
        (genuine.replace(": 1722850421", ": +1722850421"), Rejection::BadSign),
        (headers(&STRANGER, PUBLIC_KEY_ID, body.as_bytes(), NOW), Rejection::BadSign),
        (headers(&WECHAT, "0123", body.as_bytes(), NOW), Rejection::BadSign),
        (headers(&STRANGER, PUBLIC_KEY_ID, body.as_bytes(), NOW.plus_secs(-360)), Rejection::BadSign),
        (probe.clone(), Rejection::SignProbe),
        (probe.replace(PUBLIC_KEY_ID, "0123"), Rejection::BadSign),
        (stale(-360), Rejection::Stale),
        (stale(-301), Rejection::Stale),
        (stale(301), Rejection::Stale),
    ] {
        assert_eq!(gateway().notified(testing::notify(&headers, &body)), rejected(rejection), "{headers}");
    }
    for secs in [-300, 0, 300] {
        assert!(
            matches!(gateway().notified(testing::notify(&stale(secs), &body)), Notified::Paid(_)),
            "{secs}"
        );
    }
    assert!(matches!(
        gateway().notified(testing::notify(&without("wechatpay-signature-type"), &body)),
        Notified::Paid(_)
    ));
}

#[test]
fn a_body_that_nobody_sealed_for_us_names_nothing() {
    let forged = json!({ "event_type": "TRANSACTION.SUCCESS", "out_trade_no": "P1", "resource": {
        "algorithm": "AEAD_AES_256_GCM", "nonce": "nonce-nonce-", "ciphertext": "AAAA", "out_trade_no": "P1" } });
    for body in [forged.to_string(), "{}".to_owned(), String::new(), "<xml/>".to_owned()] {
        let forged = gateway().notified(testing::notify("", &body));
        assert_eq!(forged, Notified::Rejected { rejection: Rejection::BadSign, out_trade_no: None });
    }
}

#[test]
fn the_same_json_written_otherwise_is_not_what_was_signed() {
    let body = callback("TRANSACTION.SUCCESS", &transaction().to_string());
    let headers = headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW);
    for other in [body.replace(':', ": "), format!("{body}\n"), format!(" {body}")] {
        assert_eq!(gateway().notified(testing::notify(&headers, &other)), rejected(Rejection::BadSign));
    }
}

#[test]
fn a_seal_that_does_not_open_is_not_looked_into() {
    let body = callback("TRANSACTION.SUCCESS", &transaction().to_string());
    let body: Value = serde_json::from_str(&body).unwrap();
    for (name, value) in [
        ("algorithm", json!("AEAD_AES_128_GCM")),
        ("associated_data", json!("")),
        ("associated_data", json!("refund")),
        ("nonce", json!("nonce-nonce")),
        ("nonce", json!("nonce-nonce.")),
        ("ciphertext", json!("AAAA")),
        ("ciphertext", json!("")),
        ("ciphertext", Value::Null),
    ] {
        let mut body = body.clone();
        body["resource"][name] = value.clone();
        let bad = Notified::Rejected { rejection: Rejection::BadCipher, out_trade_no: None };
        assert_eq!(read(&body.to_string()), bad, "{name} {value}");
    }
}

#[test]
fn an_authentic_callback_that_opens_and_holds_no_strict_json_is_kept_for_a_person() {
    let contents = transaction().to_string();
    let doubled = contents.replace("\"total\":100", "\"total\":1,\"total\":100");
    let unreadable = Notified::Rejected { rejection: Rejection::Incomplete, out_trade_no: None };
    for contents in [doubled.as_str(), "", "[]", "not json", "{\"out_trade_no\":\"\\ud800\"}"] {
        assert_eq!(read(&callback("TRANSACTION.SUCCESS", contents)), unreadable, "{contents}");
        let body = callback("REFUND.SUCCESS", contents);
        let headers = headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW);
        let read = gateway().refund_notified(testing::notify(&headers, &body));
        let unreadable = RefundNotified::Rejected { rejection: Rejection::Incomplete, out_trade_no: None };
        assert_eq!(read, unreadable, "{contents}");
    }
}

#[test]
fn an_authentic_callback_around_which_there_is_no_strict_json_is_malformed() {
    let contents = transaction().to_string();
    let envelope = callback("TRANSACTION.SUCCESS", &contents);
    for body in [
        callback("", &contents),
        envelope.replacen('{', "{\"event_type\":\"TRANSACTION.SUCCESS\",", 1),
        envelope.replace("\"resource\":{", "\"resource\":{\"nonce\":\"nonce-nonce-\","),
        "{}".to_owned(),
        "not json".to_owned(),
        "{\"event_type\":\"TRANSACTION.SUCCESS\",\"resource\":\"x\"}".to_owned(),
    ] {
        let Notified::Rejected { rejection, .. } = read(&body) else { panic!("{body}") };
        assert_eq!(rejection, Rejection::Malformed, "{body}");
    }
}

#[test]
fn an_amount_that_is_no_plain_integer_credits_nobody() {
    for written in
        ["\"100\"", "100.0", "1e2", "-100", "0", "null", "9007199254740993", "0100", "1,\"total\":100"]
    {
        let contents = transaction().to_string().replace("\"total\":100", &format!("\"total\":{written}"));
        assert!(contents.contains(&format!("\"total\":{written}")));
        let Notified::Rejected { rejection: found, .. } = read(&callback("TRANSACTION.SUCCESS", &contents))
        else {
            panic!("{written}")
        };
        assert_eq!(found, Rejection::Incomplete, "{written}");
    }
}

#[test]
fn anything_but_success_is_no_payment() {
    let not_paid = Notified::NotPaid { out_trade_no: OutTradeNo::parse("P1|*_-") };
    for state in ["NOTPAY", "CLOSED", "REFUND", "USERPAYING", "PAYERROR", "REVOKED", "", "success"] {
        let mut contents = transaction();
        contents["trade_state"] = json!(state);
        assert_eq!(success(&contents), not_paid, "{state}");
    }
    for event in ["TRANSACTION.CLOSED", "TRANSACTION.SUCCESS2", "SOMETHING.NEW", "transaction.success"] {
        assert_eq!(read(&callback(event, &transaction().to_string())), not_paid, "{event}");
    }
    assert_eq!(read(&callback("SOMETHING.NEW", "{\"a\":1}")), Notified::NotPaid { out_trade_no: None });
}

#[test]
fn a_payment_to_somebody_else_or_with_a_field_missing_is_kept_for_a_person() {
    for (name, value, rejection) in [
        ("mchid", json!("10000999"), Rejection::MchIdMismatch),
        ("mchid", Value::Null, Rejection::MchIdMismatch),
        ("appid", json!("wx0000"), Rejection::AppidMismatch),
        ("appid", Value::Null, Rejection::AppidMismatch),
        ("transaction_id", Value::Null, Rejection::Incomplete),
        ("amount", Value::Null, Rejection::Incomplete),
        ("trade_state", Value::Null, Rejection::Incomplete),
        ("trade_state", json!(1), Rejection::Incomplete),
    ] {
        let mut contents = transaction();
        contents[name] = value.clone();
        assert_eq!(success(&contents), rejected(rejection), "{name} {value}");
    }
    let mut contents = transaction();
    contents["out_trade_no"] = json!("订单");
    let nameless = Notified::Rejected { rejection: Rejection::Incomplete, out_trade_no: None };
    assert_eq!(success(&contents), nameless);
}

fn refund_contents(status: &str) -> Value {
    let mut contents = refund_told();
    contents["mchid"] = json!("10000100");
    contents["refund_status"] = json!(status);
    contents
}

#[test]
fn a_refund_callback_is_a_hint_in_the_words_the_books_know_at_either_door() {
    for (event, status, word) in [
        ("REFUND.SUCCESS", "SUCCESS", "SUCCESS"),
        ("REFUND.ABNORMAL", "ABNORMAL", "CHANGE"),
        ("REFUND.CLOSED", "CLOSED", "REFUNDCLOSE"),
    ] {
        let body = callback(event, &refund_contents(status).to_string());
        let headers = headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW);
        let RefundNotified::Hint(hint) = gateway().refund_notified(testing::notify(&headers, &body)) else {
            panic!("{event}")
        };
        assert!(refund().is_named_by(&hint), "{hint:?}");
        assert_eq!(hint.status, word);
        assert_eq!(read(&body), Notified::Refund(hint));
    }
}

#[test]
fn a_refund_callback_that_is_not_believed_is_no_hint() {
    let refused = |body: &str, headers: &str| match gateway().refund_notified(testing::notify(headers, body))
    {
        RefundNotified::Rejected { rejection, .. } => rejection,
        RefundNotified::Hint(hint) => panic!("{hint:?}"),
    };
    let signed = |body: &str| refused(body, &headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW));
    let body = callback("REFUND.SUCCESS", &refund_contents("SUCCESS").to_string());
    assert_eq!(refused(&body, ""), Rejection::BadSign);
    let stale = headers(&WECHAT, PUBLIC_KEY_ID, body.as_bytes(), NOW.plus_secs(-301));
    assert_eq!(refused(&body, &stale), Rejection::Stale);
    assert_eq!(signed(&callback("TRANSACTION.SUCCESS", &transaction().to_string())), Rejection::Malformed);
    for (name, value, rejection) in [
        ("mchid", json!("10000999"), Rejection::MchIdMismatch),
        ("amount", json!({ "total": 100, "refund": "7" }), Rejection::Incomplete),
        ("amount", json!({ "refund": 7 }), Rejection::Incomplete),
        ("out_refund_no", Value::Null, Rejection::Incomplete),
        ("out_trade_no", Value::Null, Rejection::Incomplete),
        ("transaction_id", Value::Null, Rejection::Incomplete),
        ("refund_status", Value::Null, Rejection::Incomplete),
    ] {
        let mut contents = refund_contents("SUCCESS");
        contents[name] = value.clone();
        assert_eq!(signed(&callback("REFUND.SUCCESS", &contents.to_string())), rejection, "{name} {value}");
    }
}

#[test]
fn only_what_was_received_is_answered_with_200() {
    let received = gateway().ack(Ack::Received);
    assert_eq!((received.status, received.content_type), (200, "application/json"));
    assert_eq!(received.body, r#"{"code":"SUCCESS","message":"OK"}"#);
    let refused = gateway().ack(Ack::Refused("MESSAGE \"TOO\" OLD"));
    assert_eq!((refused.status, refused.content_type), (400, "application/json"));
    assert_eq!(refused.body, r#"{"code":"FAIL","message":"MESSAGE \"TOO\" OLD"}"#);
}
