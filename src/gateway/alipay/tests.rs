use super::*;
use crate::{
    domain::{ids::OutRefundNo, money::Fen, order::Provider, refund::RefundState, time::UnixMs},
    gateway::{RefundStanding, rsa::PrivateKey, rsa::PublicKey},
};
use form::Form;
use std::sync::LazyLock;

mod refunds;

static APP: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());
static ALIPAY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate().unwrap());

pub(super) fn public(key: &PrivateKey) -> PublicKey {
    PublicKey::parse(&key.public_base64().unwrap()).unwrap()
}

/// Signs as Alipay does.
pub(super) fn alipay_signs(text: &[u8]) -> String {
    ALIPAY.sign(text)
}

/// Signs as the merchant's app does, which Alipay never would.
pub(super) fn app_signs(text: &[u8]) -> String {
    APP.sign(text)
}

pub(super) fn account() -> Account {
    Account {
        app_id: "2021000122600001".to_owned(),
        seller_id: "2088102146225135".to_owned(),
        key: APP.clone(),
        public_key: public(&ALIPAY),
        certificates: None,
        gateway_url: "https://openapi.alipay.com/gateway.do".to_owned(),
        public_url: "https://pay.shop.cn".to_owned(),
        environment: Environment::Live,
    }
}

fn alipay() -> Alipay {
    Alipay { account: account() }
}

fn attempt(channel: Channel) -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse("a1").unwrap(),
        order_id: 1,
        channel,
        account: account().name(),
        environment: Environment::Live,
        amount: Fen::new(990).unwrap(),
        goods_name: "账户充值".to_owned(),
        payer: None,
        client_ip: "203.0.113.9".to_owned(),
        notify_url: "https://pay.shop.cn/notify/alipay".to_owned(),
        created_at: UnixMs(1_555_331_440_000),
        expires_at: UnixMs(1_555_338_640_000),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

fn refund_of(fen: i64) -> Refund {
    Refund {
        id: 1,
        out_refund_no: OutRefundNo::parse("r1").unwrap(),
        order_id: Some(1),
        work_item_id: None,
        user_id: Some(1),
        provider: Provider::Alipay,
        account: account().name(),
        environment: Environment::Live,
        out_trade_no: OutTradeNo::parse("a1").unwrap(),
        transaction_id: TransactionId::parse("2019041522001468450512500001").unwrap(),
        total: Fen::new(990).unwrap(),
        amount: Fen::new(fen).unwrap(),
        reason: "多充了".to_owned(),
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

fn stamp() -> Stamp {
    Stamp { now: UnixMs(1_555_331_440_000), nonce: "n".repeat(32) }
}

/// A reply with this node, signed by Alipay.
fn reply(node: &str, text: &str) -> Response {
    let sign = alipay_signs(text.as_bytes());
    Response::new(200, format!("{{\"{node}\":{text},\"sign\":\"{sign}\"}}").into_bytes())
}

fn failure(node: &str, code: &str, sub_code: &str) -> Response {
    reply(node, &format!(r#"{{"code":"{code}","msg":"m","sub_code":"{sub_code}","sub_msg":"t"}}"#))
}

fn trade(fields: &str) -> Result<Trade, Untrusted> {
    let text = format!(r#"{{"code":"10000","msg":"Success",{fields}}}"#);
    alipay().trade(&reply("alipay_trade_query_response", &text), &attempt(Channel::AlipayQr))
}

const WHOLE: &str = r#""out_trade_no":"a1","trade_no":"2019041522001468450512500001","total_amount":"9.90""#;

fn sent(request: &Request) -> (Form, serde_json::Value) {
    assert_eq!((request.base, request.path.as_str(), request.certificate), (Base::Alipay, "", false));
    assert_eq!(request.content_type, "application/x-www-form-urlencoded;charset=utf-8");
    signed(request.body.as_deref().unwrap())
}

/// A form of ours, after its signature was checked as Alipay does.
fn signed(text: &str) -> (Form, serde_json::Value) {
    let form = Form::parse(text.as_bytes()).unwrap();
    let params: Params =
        form.iter().map(|(name, _)| (name.to_owned(), form.get(name).unwrap().to_owned())).collect();
    let request_text = sign::request_text(&params);
    assert!(public(&APP).verify(request_text.as_bytes(), &params["sign"]));
    assert_eq!((form.get("sign_type"), form.get("charset")), (Some("RSA2"), Some("utf-8")));
    assert_eq!((form.get("version"), form.get("format")), (Some("1.0"), Some("JSON")));
    assert_eq!(form.get("timestamp"), Some("2019-04-15 20:30:40"));
    assert_eq!(form.get("app_id"), Some("2021000122600001"));
    let content = serde_json::from_str(form.get("biz_content").unwrap()).unwrap();
    (form, content)
}

#[test]
fn a_code_is_asked_for_with_an_absolute_end_in_beijing_and_no_other() {
    let (form, content) = sent(&alipay().prepay(&attempt(Channel::AlipayQr), &stamp()).unwrap());
    assert_eq!(form.get("method"), Some("alipay.trade.precreate"));
    assert_eq!(form.get("notify_url"), Some("https://pay.shop.cn/notify/alipay"));
    let right = serde_json::json!({
        "out_trade_no": "a1", "total_amount": "9.90", "subject": "账户充值", "time_expire": "2019-04-15 22:30:40",
    });
    assert_eq!(content, right);
}

#[test]
fn pages_are_opened_by_a_signed_address_and_nothing_is_asked_before() {
    for (channel, method, product) in [
        (Channel::AlipayPage, "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        (Channel::AlipayWap, "alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    ] {
        assert!(alipay().prepay(&attempt(channel), &stamp()).is_none());
        let Checkout::Redirect { url } = alipay().checkout(&attempt(channel), "", &stamp()) else { panic!() };
        let (form, content) = signed(url.strip_prefix("https://openapi.alipay.com/gateway.do?").unwrap());
        assert_eq!(form.get("method"), Some(method));
        assert_eq!(form.get("return_url"), Some("https://pay.shop.cn/return/a1"));
        assert_eq!(form.get("notify_url"), Some("https://pay.shop.cn/notify/alipay"));
        assert_eq!((&content["product_code"], &content["total_amount"]), (&product.into(), &"9.90".into()));
        assert_eq!(content["time_expire"], "2019-04-15 22:30:40");
        assert!(content.get("timeout_express").is_none());
    }
    let qr = alipay().checkout(&attempt(Channel::AlipayQr), "https://qr.alipay.com/bax", &stamp());
    assert_eq!(qr, Checkout::Qr { code_url: "https://qr.alipay.com/bax".to_owned() });
}

#[test]
fn a_subject_holds_no_character_the_gateway_refuses_and_never_is_empty() {
    for (name, right) in
        [("a/b=c&d\n", "abcd".to_owned()), ("/&", "a1".to_owned()), (&"充".repeat(300), "充".repeat(256))]
    {
        assert_eq!(subject(&Attempt { goods_name: name.to_owned(), ..attempt(Channel::AlipayQr) }), right);
    }
}

#[test]
fn certificate_mode_names_its_certificates_and_believes_no_other() {
    let certificates = Certificates {
        app_cert_sn: "aa".to_owned(),
        alipay_root_cert_sn: "bb_cc".to_owned(),
        alipay_cert_sn: "dd".to_owned(),
        app_ends: UnixMs(1),
        alipay_ends: UnixMs(2),
    };
    let gateway = Alipay { account: Account { certificates: Some(certificates), ..account() } };
    assert_eq!(gateway.certificates().iter().map(|(_, ends)| ends.0).collect::<Vec<_>>(), [1, 2]);
    let attempt = attempt(Channel::AlipayQr);
    let (form, _) = sent(&gateway.query(&attempt, &stamp()));
    assert_eq!((form.get("app_cert_sn"), form.get("alipay_root_cert_sn")), (Some("aa"), Some("bb_cc")));
    let text = format!(r#"{{"code":"10000",{WHOLE},"trade_status":"TRADE_SUCCESS"}}"#);
    let sign = alipay_signs(text.as_bytes());
    let with = |more: &str| {
        let body = format!(r#"{{"alipay_trade_query_response":{text}{more},"sign":"{sign}"}}"#);
        gateway.trade(&Response::new(200, body.into_bytes()), &attempt)
    };
    assert!(matches!(with(r#","alipay_cert_sn":"dd""#), Ok(Trade::Paid(_))));
    for more in ["", r#","alipay_cert_sn":"ee""#, r#","alipay_cert_sn":null"#] {
        assert!(matches!(with(more), Err(Untrusted::BadSign(_))), "{more}");
    }
}

#[test]
fn a_trade_is_paid_only_by_the_two_words_for_it() {
    for state in ["TRADE_SUCCESS", "TRADE_FINISHED"] {
        let Ok(Trade::Paid(payment)) =
            trade(&format!(r#"{WHOLE},"trade_status":"{state}","send_pay_date":"2019-04-15 20:31:00""#))
        else {
            panic!("{state}");
        };
        let claim = payment.claim();
        assert_eq!((claim.amount.get(), claim.currency), (990, "CNY"));
        assert_eq!((claim.provider, claim.account), (Provider::Alipay, "2021000122600001:2088102146225135"));
        assert_eq!(claim.transaction_id.as_str(), "2019041522001468450512500001");
        assert_eq!((payment.out_trade_no().as_str(), payment.protocol()), ("a1", Protocol::Alipay));
        assert_eq!(payment.paid_at(), Some(UnixMs(1_555_331_460_000)));
    }
    for state in ["WAIT_BUYER_PAY", "trade_success", "TRADE_SUCCESS ", "SUCCESS", "TRADE_PENDING"] {
        let answer = trade(&format!(r#"{WHOLE},"trade_status":"{state}""#));
        assert_eq!(answer, Ok(Trade::Pending { state: state.to_owned() }));
    }
    for fields in [WHOLE.to_owned(), format!(r#"{WHOLE},"trade_status":1"#)] {
        assert_eq!(trade(&fields), Err(Untrusted::Incomplete("trade_status")), "{fields}");
    }
    let foreign = trade(&format!(r#"{WHOLE},"trade_status":"TRADE_SUCCESS","trans_currency":"USD""#));
    assert!(matches!(foreign, Ok(Trade::Paid(payment)) if payment.claim().currency == "USD"));
}

#[test]
fn a_paid_trade_without_a_readable_payment_is_no_answer() {
    let of = |no: &str, trade_no: &str, amount: &str| {
        trade(&format!(
            r#""out_trade_no":{no},"trade_no":{trade_no},"total_amount":{amount},"trade_status":"TRADE_SUCCESS""#
        ))
    };
    for amount in ["\"0.00\"", "\"9.900\"", "\"09.90\"", "\"+9.90\"", "\"1e1\"", "\"\"", "null", "\"9.90元\""]
        .into_iter()
        .chain(["0", "0.00", "9.900", "-9.90", "99e-1", "990E-2", "[9.90]", "{}", "true"])
    {
        assert_eq!(of("\"a1\"", "\"t1\"", amount), Err(Untrusted::Incomplete("total_amount")), "{amount}");
    }
    // Alipay's page: 64 characters.
    let long = |digits| format!("\"{}\"", "1".repeat(digits));
    assert_eq!(of("\"a1\"", &long(65), "\"9.90\""), Err(Untrusted::Incomplete("trade_no")));
    assert!(of("\"a1\"", &long(64), "\"9.90\"").is_ok());
    assert_eq!(of("\"a1\"", "\"\"", "\"9.90\""), Err(Untrusted::Incomplete("trade_no")));
    for amount in ["9.90", "9.9"] {
        let Ok(Trade::Paid(payment)) = of("\"a1\"", "\"t1\"", amount) else { panic!("{amount}") };
        assert_eq!(payment.amount().get(), 990, "{amount}");
    }
    for no in ["\"a2\"", "\"\"", "\"A1\"", "null"] {
        assert_eq!(of(no, "\"t1\"", "\"9.90\""), Err(Untrusted::Identity("out_trade_no")), "{no}");
    }
}

#[test]
fn a_closed_trade_was_never_paid_or_was_sent_back_and_both_are_told_apart() {
    let closed = |more: &str| trade(&format!(r#"{WHOLE},"trade_status":"TRADE_CLOSED"{more}"#)).unwrap();
    for more in
        ["", r#","send_pay_date":"","buyer_pay_amount":"0.00","receipt_amount":"0.00","fund_bill_list":[]"#]
    {
        assert_eq!(closed(more), Trade::Closed { state: "TRADE_CLOSED".to_owned() }, "{more}");
    }
    for more in [
        r#","send_pay_date":"2019-04-15 20:31:00""#,
        r#","receipt_amount":"9.90""#,
        r#","fund_bill_list":[{"amount":"9.90"}]"#,
        r#","refund_fee":"9.90""#,
    ] {
        let Trade::Refunded { payment: Some(payment) } = closed(more) else { panic!("{more}") };
        assert_eq!(payment.claim().amount.get(), 990);
    }
    let open = |more: &str| trade(&format!(r#"{WHOLE},"trade_status":"TRADE_SUCCESS"{more}"#)).unwrap();
    for more in
        [r#","refund_fee":"0.01""#, r#","gmt_refund_pay":"2019-04-15 20:31:00""#, r#","refund_amount":1"#]
    {
        assert!(matches!(open(more), Trade::Refunded { payment: Some(_) }), "{more}");
    }
    for zero in ["\"0.00\"", "0", "0.00", "\"\"", "null"] {
        let more = format!(r#","refund_fee":{zero},"refund_detail_item_list":[]"#);
        assert!(matches!(open(&more), Trade::Paid(_)), "{zero}");
    }
}

#[test]
fn a_word_of_alipay_s_is_kept_printable_and_short_and_no_other_becomes_known_by_it() {
    let answer = trade(&format!(r#"{WHOLE},"trade_status":"TRADE_SUCCESS\u0000""#));
    assert_eq!(answer, Ok(Trade::Pending { state: "TRADE_SUCCESS\u{fffd}".to_owned() }));
    let answer = trade(&format!(r#"{WHOLE},"trade_status":"{}""#, "X".repeat(70)));
    assert_eq!(answer, Ok(Trade::Pending { state: "X".repeat(64) }));
    let paid = trade(&format!(r#"{WHOLE},"trade_status":"TRADE_SUCCESS","trans_currency":"CNY\u0000""#));
    assert!(matches!(paid, Ok(Trade::Paid(payment)) if payment.claim().currency == "CNY\u{fffd}"));
    let failed = failure("alipay_trade_refund_response", "40004", "ACQ.\\u0000X\\u202e");
    let unknown = RefundAsked::Unknown { code: "ACQ.\u{fffd}X\u{fffd} t".to_owned() };
    assert_eq!(alipay().refund_asked(&failed, &refund_of(7)), Ok(unknown));
}

#[test]
fn nothing_unsigned_or_signed_over_other_bytes_is_read() {
    let attempt = attempt(Channel::AlipayQr);
    let text = format!(r#"{{"code":"10000",{WHOLE},"trade_status":"TRADE_SUCCESS","msg":"{{\"}}"}}"#);
    let sign = alipay_signs(text.as_bytes());
    let read = |body: String| alipay().trade(&Response::new(200, body.into_bytes()), &attempt);
    let node = "alipay_trade_query_response";
    assert!(matches!(read(format!(r#"{{"{node}": {text} , "sign":"{sign}"}}"#)), Ok(Trade::Paid(_))));
    let spaced = text.replace(":\"10000\"", ": \"10000\"");
    let ours = app_signs(text.as_bytes());
    for body in [
        format!(r#"{{"{node}":{text}}}"#),
        format!(r#"{{"{node}":{text},"sign":""}}"#),
        format!(r#"{{"{node}":{text},"sign":null}}"#),
        format!(r#"{{"{node}":{text},"sign":"{}"}}"#, sign.replace('+', " ").trim_end_matches('=')),
        format!(r#"{{"{node}":{spaced},"sign":"{sign}"}}"#),
        format!(r#"{{"{node}":{text},"sign":"{ours}"}}"#),
    ] {
        assert!(matches!(read(body.clone()), Err(Untrusted::BadSign(_))), "{body}");
    }
    for body in [
        format!(r#"{{"{node}":{text},"{node}":{text},"sign":"{sign}"}}"#),
        format!(r#"{{"{node}":{text},"sign":"x","sign":"{sign}"}}"#),
        format!(r#"{{"{node}":{text},"error_response":{text},"sign":"{sign}"}}"#),
        format!(r#"{{"alipay_trade_close_response":{text},"sign":"{sign}"}}"#),
        format!(r#"{{"x":{{"{node}":{text}}},"sign":"{sign}"}}"#),
        format!(r#"{{"{node}":{text},"sign":"{sign}"}} "#) + "x",
        String::new(),
        "<html>502</html>".to_owned(),
    ] {
        assert!(matches!(read(body.clone()), Err(Untrusted::Malformed(_))), "{body}");
    }
    let status = Response { status: 502, ..reply(node, &text) };
    assert_eq!(alipay().trade(&status, &attempt), Err(Untrusted::Status(502)));
}

#[test]
fn a_reply_to_another_call_or_with_a_field_twice_is_no_answer() {
    let twice = format!(r#"{WHOLE},"trade_status":"WAIT_BUYER_PAY","trade_status":"TRADE_SUCCESS""#);
    assert!(matches!(trade(&twice), Err(Untrusted::Malformed(_))));
    let list = reply("alipay_trade_query_response", "[]");
    assert!(matches!(alipay().trade(&list, &attempt(Channel::AlipayQr)), Err(Untrusted::Malformed(_))));
    let encrypted = reply("alipay_trade_query_response", "\"c2VjcmV0\"");
    assert!(matches!(alipay().trade(&encrypted, &attempt(Channel::AlipayQr)), Err(Untrusted::Malformed(_))));
    let silent = reply("alipay_trade_query_response", "{}");
    let code = Err(Untrusted::Incomplete("code"));
    assert_eq!(alipay().trade(&silent, &attempt(Channel::AlipayQr)), code);
}

#[test]
fn a_failed_query_says_not_found_or_nothing() {
    let node = "alipay_trade_query_response";
    let asked = |answer: Response| alipay().trade(&answer, &attempt(Channel::AlipayQr));
    assert_eq!(asked(failure(node, "40004", "ACQ.TRADE_NOT_EXIST")), Ok(Trade::NotFound));
    for (node, code, sub_code) in [
        (node, "40004", "ACQ.SYSTEM_ERROR"),
        (node, "20000", "isp.unknow-error"),
        ("error_response", "40002", "isv.invalid-app-id"),
        (node, "40004", "ACQ.TRADE_HAS_SUCCESS"),
    ] {
        let pending = Ok(Trade::Pending { state: sub_code.to_owned() });
        assert_eq!(asked(failure(node, code, sub_code)), pending);
    }
    let unsigned = br#"{"error_response":{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}}"#;
    assert!(matches!(asked(Response::new(200, unsigned.to_vec())), Err(Untrusted::CommFail(_))));
}

#[test]
fn a_code_is_believed_for_its_own_order_and_refused_only_in_signed_words() {
    let attempt = attempt(Channel::AlipayQr);
    let node = "alipay_trade_precreate_response";
    let made = |no: &str, code: &str| {
        let text = format!(r#"{{"code":"10000","out_trade_no":"{no}","qr_code":"{code}"}}"#);
        alipay().prepaid(&reply(node, &text), &attempt)
    };
    let code = "https://qr.alipay.com/bax03";
    assert_eq!(
        made("a1", "https:\\/\\/qr.alipay.com\\/bax03"),
        Ok(Prepaid::Ready { prepay_id: code.to_owned() })
    );
    assert_eq!(made("a2", code), Err(Untrusted::Identity("out_trade_no")));
    for code in ["", "https://qr.alipay.com/<b>", "a b", "a\\\"b", &"x".repeat(257)] {
        assert_eq!(made("a1", code), Err(Untrusted::Incomplete("qr_code")), "{code}");
    }
    for (code, sub_code, right) in [
        ("40004", "ACQ.TRADE_HAS_SUCCESS", Prepaid::Paid),
        ("40004", "ACQ.TRADE_HAS_CLOSE", Prepaid::Closed),
        ("40004", "ACQ.CONTEXT_INCONSISTENT", Prepaid::NumberUsed),
        ("40004", "ACQ.SYSTEM_ERROR", Prepaid::Unknown { code: "ACQ.SYSTEM_ERROR".to_owned() }),
        ("20000", "aop.unknow-error", Prepaid::Unknown { code: "aop.unknow-error".to_owned() }),
        ("40006", "isv.no-right", Prepaid::Refused { code: "isv.no-right".to_owned() }),
    ] {
        assert_eq!(alipay().prepaid(&failure(node, code, sub_code), &attempt), Ok(right));
    }
    let refused = Prepaid::Refused { code: "isv.invalid-signature".to_owned() };
    let signed = failure("error_response", "40002", "isv.invalid-signature");
    assert_eq!(alipay().prepaid(&signed, &attempt), Ok(refused));
    let unsigned = br#"{"error_response":{"code":"40002","sub_code":"isv.invalid-signature"}}"#.to_vec();
    assert!(alipay().prepaid(&Response::new(200, unsigned), &attempt).is_err());
}

#[test]
fn what_nobody_has_begun_to_pay_cannot_be_closed_and_what_is_paid_is_not_closed() {
    let attempt = attempt(Channel::AlipayQr);
    let node = "alipay_trade_close_response";
    let closing = |answer: Response| alipay().closing(&answer, &attempt);
    let (form, content) = sent(&alipay().close(&attempt, &stamp()));
    assert_eq!(form.get("method"), Some("alipay.trade.close"));
    assert_eq!(content, serde_json::json!({"out_trade_no": "a1"}));
    assert_eq!(closing(reply(node, r#"{"code":"10000","out_trade_no":"a1"}"#)), Ok(Closing::Closed));
    let other = reply(node, r#"{"code":"10000","out_trade_no":"a2"}"#);
    assert_eq!(closing(other), Err(Untrusted::Identity("out_trade_no")));
    for (code, sub_code, right) in [
        ("40004", "ACQ.TRADE_NOT_EXIST", Closing::Unbegun),
        ("40004", "ACQ.TRADE_STATUS_ERROR", Closing::Paid),
        ("40004", "ACQ.REASON_TRADE_STATUS_INVALID", Closing::Paid),
        ("40004", "ACQ.TRADE_HAS_CLOSE", Closing::Closed),
        ("40004", "ACQ.SYSTEM_ERROR", Closing::Unknown { code: "ACQ.SYSTEM_ERROR".to_owned() }),
        ("40002", "isv.invalid-signature", Closing::Unknown { code: "isv.invalid-signature".to_owned() }),
        ("20000", "ACQ.TRADE_NOT_EXIST", Closing::Unknown { code: "ACQ.TRADE_NOT_EXIST".to_owned() }),
    ] {
        assert_eq!(closing(failure(node, code, sub_code)), Ok(right));
    }
}

#[test]
fn only_its_own_channels_accounts_and_environment_are_alipay_s() {
    let gateway = alipay();
    for channel in Channel::ALL {
        let ours =
            channel.as_str().starts_with("alipay").then(|| "2021000122600001:2088102146225135".to_owned());
        assert_eq!(gateway.account(channel), ours);
    }
    assert!(gateway.is_ours("2021000122600001:2088102146225135", Environment::Live));
    assert!(!gateway.is_ours("2021000122600001:2088102146225135", Environment::Simulator));
    assert!(!gateway.is_ours("2021000122600002:2088102146225135", Environment::Live));
    let minutes = |channel| gateway.prepaid_life_ms(channel) / MINUTE_MS;
    assert_eq!((minutes(Channel::AlipayQr), minutes(Channel::AlipayPage)), (110, 1440));
    let refused = gateway.refund_notified(Notify { body: b"a=1", ..Notify::default() });
    assert_eq!(refused, RefundNotified::Rejected { rejection: Rejection::Malformed, out_trade_no: None });
}
