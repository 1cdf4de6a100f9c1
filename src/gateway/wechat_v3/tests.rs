use super::testing::*;
use super::*;
use crate::{
    domain::time::UnixMs,
    gateway::{RefundStanding, wechat_v3::sign::lines},
};
use serde_json::{Value, json};

mod probes;

fn sent(request: &Request) -> Value {
    serde_json::from_str(request.body.as_deref().unwrap()).unwrap()
}

/// What WeChat does with a request of ours.
fn is_signed(request: &Request) -> bool {
    let authorization = &request.headers.iter().find(|(name, _)| *name == "Authorization").unwrap().1;
    let pairs = authorization.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").unwrap();
    let of = |name: &str| {
        let pair = pairs.split(',').find(|pair| pair.starts_with(name)).unwrap();
        pair.strip_prefix(name).unwrap().trim_matches(['=', '"']).to_owned()
            + if name == "signature" { "==" } else { "" }
    };
    assert_eq!((of("mchid"), of("serial_no")), ("10000100".to_owned(), "4A6B".to_owned()));
    assert_eq!((of("timestamp"), of("nonce_str")), (NOW.secs().to_string(), stamp().nonce));
    let method = if request.body.is_some() { "POST" } else { "GET" };
    let body = request.body.as_deref().unwrap_or_default();
    let (secs, nonce) = (of("timestamp"), of("nonce_str"));
    let message = [method, &request.path, &secs, &nonce, body].map(str::as_bytes);
    public(&MERCHANT).verify(&lines(message), &of("signature"))
}

#[test]
fn each_channel_asks_its_own_product_with_the_stored_parameters() {
    let basic = json!({
        "appid": "wx2421b1c4370ec43b", "mchid": "10000100", "description": "账户充值", "out_trade_no": "P1|*_-",
        "time_expire": "2019-04-15T20:30:40+08:00", "notify_url": "https://pay.example.com/notify/wechat/v3",
        "amount": { "total": 100, "currency": "CNY" },
    });
    for (channel, product, appid, with) in [
        (Channel::WechatJsapi, "jsapi", "wx2421b1c4370ec43b", "payer"),
        (Channel::WechatMini, "jsapi", "wxmini0000000001", "payer"),
        (Channel::WechatNative, "native", "wx2421b1c4370ec43b", ""),
        (Channel::WechatH5, "h5", "wx2421b1c4370ec43b", "scene_info"),
        (Channel::WechatApp, "app", "wxapp00000000001", ""),
    ] {
        let request = gateway().prepay(&attempt(channel), &stamp()).unwrap();
        let mut expected = basic.clone();
        expected["appid"] = json!(appid);
        match with {
            "payer" => expected["payer"] = json!({ "openid": "oUpF8uMEb4qRXf22hE3X68TekukE" }),
            "scene_info" => {
                expected["scene_info"] =
                    json!({ "payer_client_ip": "2001:db8::1", "h5_info": { "type": "Wap" } });
            }
            _ => {}
        }
        assert_eq!(sent(&request), expected, "{channel:?}");
        assert_eq!(request.path, format!("/v3/pay/transactions/{product}"));
        assert_eq!(gateway().prepay(&attempt(channel), &stamp()).unwrap().body, request.body);
        assert!(is_signed(&request), "{channel:?}");
    }
}

#[test]
fn what_is_signed_is_the_path_as_it_is_sent_with_every_unusual_character_escaped() {
    let gateway = gateway();
    let (attempt, refund) = (attempt(Channel::WechatJsapi), refund());
    let query = gateway.query(&attempt, &stamp());
    assert_eq!(query.path, "/v3/pay/transactions/out-trade-no/P1%7C%2A_-?mchid=10000100");
    let by_payment = gateway.query_payment(&refund.transaction_id, &refund.account, &stamp());
    assert_eq!(by_payment.path, "/v3/pay/transactions/id/4200000290201904150837155038?mchid=10000100");
    let close = gateway.close(&attempt, &stamp());
    assert_eq!(close.path, "/v3/pay/transactions/out-trade-no/P1%7C%2A_-/close");
    assert_eq!(sent(&close), json!({ "mchid": "10000100" }));
    let refunds = gateway.refund_query(&refund, &stamp());
    assert_eq!(refunds.path, "/v3/refund/domestic/refunds/RF%401%7C");
    for request in [&query, &by_payment, &refunds] {
        assert_eq!(request.body, None, "{}", request.call);
    }
    for request in [query, by_payment, close, refunds, gateway.refund(&refund, &stamp())] {
        assert!(is_signed(&request), "{}", request.call);
        let header =
            |name| request.headers.iter().find(|(named, _)| *named == name).map(|(_, value)| value.as_str());
        assert_eq!(header("Accept"), Some("application/json"));
        assert_eq!(header("Wechatpay-Serial"), Some(PUBLIC_KEY_ID));
        assert!(!request.certificate);
    }
    let by_certificates = gateway_with(Vec::new()).close(&attempt, &stamp());
    assert!(by_certificates.headers.iter().all(|(name, _)| *name != "Wechatpay-Serial"));
}

#[test]
fn a_refund_is_asked_for_with_both_amounts_and_without_what_is_empty() {
    let request = gateway().refund(&refund(), &stamp());
    assert_eq!(request.path, "/v3/refund/domestic/refunds");
    assert_eq!(
        sent(&request),
        json!({
            "transaction_id": "4200000290201904150837155038", "out_refund_no": "RF@1|", "reason": "七天无理由",
            "notify_url": "https://pay.example.com/notify/wechat/v3/refund",
            "amount": { "refund": 7, "total": 100, "currency": "CNY" },
        })
    );
    let bare = Refund { reason: String::new(), notify_url: String::new(), ..refund() };
    let bare = sent(&gateway().refund(&bare, &stamp()));
    assert_eq!((bare.get("reason"), bare.get("notify_url")), (None, None));
}

/// Every way a reply can fail to be WeChat's, made from one that is.
fn impostors(genuine: &Response) -> Vec<(&'static str, Response)> {
    let with = |headers: String| Response { headers, ..genuine.clone() };
    let without = |name: &str| {
        let lines = genuine.headers.lines().filter(|line| !line.starts_with(name));
        with(lines.map(|line| format!("{line}\n")).collect())
    };
    let text = String::from_utf8(genuine.body.clone()).unwrap();
    let twice = |name: &str| {
        let line = genuine.headers.lines().find(|line| line.starts_with(name)).unwrap();
        with(format!("{}{line}\n", genuine.headers))
    };
    let later = |secs| Response { received_at: NOW.plus_secs(secs), ..genuine.clone() };
    vec![
        ("unsigned", with(String::new())),
        ("no timestamp", without("wechatpay-timestamp")),
        ("no nonce", without("wechatpay-nonce")),
        ("no signature", without("wechatpay-signature:")),
        ("no serial", without("wechatpay-serial")),
        ("two timestamps", twice("wechatpay-timestamp")),
        ("two nonces", twice("wechatpay-nonce")),
        ("two signatures", twice("wechatpay-signature:")),
        ("two serials", twice("wechatpay-serial")),
        ("two algorithms", twice("wechatpay-signature-type")),
        ("another algorithm", with(genuine.headers.replace("RSA2048", "SM2"))),
        (
            "a stranger's key",
            Response { status: genuine.status, ..reply_by(&STRANGER, PUBLIC_KEY_ID, 0, &text) },
        ),
        ("our own key", Response { status: genuine.status, ..reply_by(&MERCHANT, PUBLIC_KEY_ID, 0, &text) }),
        (
            "an unknown key",
            Response { status: genuine.status, ..reply_by(&WECHAT, "PUB_KEY_ID_9", 0, &text) },
        ),
        ("another body", Response { body: format!("{text} ").into_bytes(), ..genuine.clone() }),
        (
            "a probe",
            with(
                genuine.headers.replace("wechatpay-signature: ", "wechatpay-signature: WECHATPAY/SIGNTEST/"),
            ),
        ),
        ("301 s old", later(301)),
        ("301 s ahead", later(-301)),
    ]
}

#[test]
fn nothing_is_known_from_a_reply_that_is_not_signed_by_wechat_whatever_it_says() {
    let gateway = gateway();
    let (native, refund) = (attempt(Channel::WechatNative), refund());
    for genuine in [
        reply(200, &transaction()),
        failure(404, "ORDER_NOT_EXIST"),
        failure(400, "ORDER_PAID"),
        failure(500, "SYSTEM_ERROR"),
    ] {
        assert!(gateway.trade(&genuine, &native).is_ok());
        for (what, reply) in impostors(&genuine) {
            assert!(gateway.trade(&reply, &native).is_err(), "{what}");
            assert!(gateway.payment(&reply, &native.out_trade_no).is_err(), "{what}");
        }
    }
    let genuine = reply(200, &json!({ "code_url": "weixin://wxpay/bizpayurl?pr=1" }));
    assert!(matches!(gateway.prepaid(&genuine, &native), Ok(Prepaid::Ready { .. })));
    assert!(impostors(&genuine).iter().all(|(_, reply)| gateway.prepaid(reply, &native).is_err()));
    let genuine = reply_by(&WECHAT, PUBLIC_KEY_ID, 204, "");
    assert_eq!(gateway.closing(&genuine, &native), Ok(Closing::Closed));
    assert!(impostors(&genuine).iter().all(|(_, reply)| gateway.closing(reply, &native).is_err()));
    let genuine = reply(200, &refund_told());
    assert!(
        gateway.refund_asked(&genuine, &refund).is_ok() && gateway.refund_news(&genuine, &refund).is_ok()
    );
    for (what, reply) in impostors(&genuine) {
        assert!(gateway.refund_asked(&reply, &refund).is_err(), "{what}");
        assert!(gateway.refund_news(&reply, &refund).is_err(), "{what}");
    }
    let proxy = Response { headers: String::new(), ..failure(502, "") };
    assert_eq!(gateway.trade(&proxy, &native), Err(Untrusted::Status(502)));
}

#[test]
fn a_reply_up_to_300_s_off_our_clock_is_believed() {
    for secs in [-300, 300] {
        let answer = Response { received_at: NOW.plus_secs(secs), ..reply(200, &transaction()) };
        assert!(gateway().trade(&answer, &attempt(Channel::WechatNative)).is_ok(), "{secs}");
    }
}

#[test]
fn signed_bytes_that_are_not_strict_json_tell_nothing() {
    let native = attempt(Channel::WechatNative);
    let transaction = transaction().to_string();
    for body in ["", "[]", "<html>", &transaction.replacen('{', "{\"trade_state\":\"SUCCESS\",", 1)] {
        for status in [200, 400, 500] {
            let reply = reply_by(&WECHAT, PUBLIC_KEY_ID, status, body);
            assert!(matches!(gateway().trade(&reply, &native), Err(Untrusted::Malformed(_))), "{body}");
        }
    }
    for status in [100, 201, 206, 301, 302] {
        let reply = reply_by(&WECHAT, PUBLIC_KEY_ID, status, &transaction);
        assert_eq!(gateway().trade(&reply, &native), Err(Untrusted::Status(status)));
    }
}

fn prepaid(channel: Channel, told: Value) -> Result<Prepaid, Untrusted> {
    gateway().prepaid(&reply(200, &told), &attempt(channel))
}

#[test]
fn each_product_brings_back_what_its_payer_needs() {
    let h5_url = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx20&package=1";
    for (channel, name, value) in [
        (Channel::WechatJsapi, "prepay_id", "wx2922abc"),
        (Channel::WechatMini, "prepay_id", "wx2922abc"),
        (Channel::WechatApp, "prepay_id", "wx2922abc"),
        (Channel::WechatNative, "code_url", "weixin://wxpay/bizpayurl?pr=NwY5Mz9"),
        (Channel::WechatH5, "h5_url", h5_url),
    ] {
        let ready = prepaid(channel, json!({ name: value })).unwrap();
        assert_eq!(ready, Prepaid::Ready { prepay_id: value.to_owned() }, "{channel:?}");
        for odd in [json!({}), json!({ name: "" }), json!({ name: 1 }), json!({ name: "<script>" })] {
            assert_eq!(prepaid(channel, odd), Err(Untrusted::Incomplete(name)), "{channel:?}");
        }
        let checkout = gateway().checkout(&attempt(channel), value, &stamp());
        let account = account();
        match channel {
            Channel::WechatNative => assert_eq!(checkout, Checkout::Qr { code_url: value.to_owned() }),
            Channel::WechatH5 => {
                let Checkout::Redirect { url } = checkout else { panic!("{checkout:?}") };
                let url = url::Url::parse(&url).unwrap();
                let back = url.query_pairs().find(|(name, _)| name == "redirect_url").unwrap().1;
                assert_eq!(back, "https://pay.example.com/return/P1|*_-");
            }
            Channel::WechatApp => {
                let params = app::sign(&account, "wxapp00000000001", value, &stamp());
                assert_eq!(checkout, Checkout::App { params });
            }
            _ => {
                let appid = account.appids.of(channel).unwrap();
                let params = jsapi::sign(&account, appid, value, &stamp());
                assert_eq!(checkout, Checkout::Jsapi { params });
            }
        }
    }
}

#[test]
fn a_request_that_was_not_taken_says_what_became_of_the_number() {
    let read = |answer: Response| gateway().prepaid(&answer, &attempt(Channel::WechatJsapi)).unwrap();
    assert_eq!(read(failure(400, "ORDERPAID")), Prepaid::Paid);
    assert_eq!(read(failure(400, "ORDER_CLOSED")), Prepaid::Closed);
    assert_eq!(read(failure(403, "OUT_TRADE_NO_USED")), Prepaid::NumberUsed);
    for (status, code) in
        [(500, "SYSTEM_ERROR"), (429, "RATE_LIMITED"), (404, "ORDER_NOT_EXIST"), (400, "NEW")]
    {
        assert_eq!(read(failure(status, code)), Prepaid::Unknown { code: code.to_owned() });
    }
    for (status, code) in [(400, "PARAM_ERROR"), (401, "SIGN_ERROR"), (403, "NO_AUTH")] {
        assert_eq!(read(failure(status, code)), Prepaid::Refused { code: code.to_owned() });
    }
    assert_eq!(read(reply(202, &json!({}))), Prepaid::Unknown { code: "ACCEPTED".to_owned() });
}

fn trade(told: &Value) -> Result<Trade, Untrusted> {
    gateway().trade(&reply(200, told), &attempt(Channel::WechatNative))
}

/// The transaction with one field changed, or left out for null.
fn changed(pointer: &str, value: Value) -> Value {
    let mut told = transaction();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = told.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.remove(name);
    if !value.is_null() {
        parent.insert(name.to_owned(), value);
    }
    told
}

#[test]
fn a_transaction_is_paid_for_its_total_whatever_the_payer_gave() {
    let Ok(Trade::Paid(payment)) = trade(&transaction()) else { panic!() };
    assert_eq!(payment.amount().get(), 100);
    assert_eq!((payment.claim().account, payment.claim().currency), ("10000100:wx2421b1c4370ec43b", "CNY"));
    assert_eq!(payment.transaction_id().as_str(), "4200000290201904150837155038");
    assert_eq!(payment.out_trade_no().as_str(), "P1|*_-");
    assert_eq!((payment.trade_type(), payment.protocol()), ("JSAPI", Protocol::WechatV3));
    assert_eq!(payment.payer().unwrap().as_str(), "oUpF8uMEb4qRXf22hE3X68TekukE");
    assert_eq!(payment.paid_at(), Some(UnixMs(1_722_428_010_000)));
    let Ok(Trade::Paid(payment)) = trade(&changed("/appid", json!("wxmini0000000001"))) else { panic!() };
    assert_eq!(payment.claim().account, "10000100:wxmini0000000001");
    let Ok(Trade::Paid(payment)) = trade(&changed("/amount/currency", json!("USD"))) else { panic!() };
    assert_eq!(payment.claim().currency, "USD", "for the books to refuse");
    let Ok(Trade::Paid(payment)) = trade(&changed("/amount/currency", Value::Null)) else { panic!() };
    assert_eq!(payment.claim().currency, "CNY");
}

#[test]
fn the_state_alone_decides_and_an_unknown_one_is_neither_paid_nor_failed() {
    let state = |state: &str| trade(&changed("/trade_state", json!(state)));
    for pending in ["NOTPAY", "USERPAYING", "ACCEPT", "PAYERROR", "success", "SOMETHING_NEW"] {
        assert_eq!(state(pending), Ok(Trade::Pending { state: pending.to_owned() }));
    }
    for closed in ["CLOSED", "REVOKED"] {
        assert_eq!(state(closed), Ok(Trade::Closed { state: closed.to_owned() }));
    }
    assert!(matches!(state("REFUND"), Ok(Trade::Refunded { payment: Some(_) })));
    let mut bare = changed("/transaction_id", Value::Null);
    bare["trade_state"] = json!("REFUND");
    assert_eq!(trade(&bare), Ok(Trade::Refunded { payment: None }));
    assert_eq!(state(""), Err(Untrusted::Incomplete("trade_state")));
    let read = |answer| gateway().trade(&answer, &attempt(Channel::WechatNative));
    assert_eq!(read(failure(404, "ORDER_NOT_EXIST")), Ok(Trade::NotFound));
    for (status, code) in
        [(404, "MCH_NOT_EXISTS"), (500, "ORDER_NOT_EXIST"), (400, "ORDER_CLOSED"), (429, "RATE_LIMITED")]
    {
        assert_eq!(read(failure(status, code)), Ok(Trade::Pending { state: code.to_owned() }));
    }
    assert_eq!(read(reply_by(&WECHAT, PUBLIC_KEY_ID, 204, "")), Err(Untrusted::Status(204)));
}

#[test]
fn a_transaction_of_somebody_else_or_without_its_money_is_not_used() {
    for (pointer, value, fault) in [
        ("/mchid", json!("10000999"), Untrusted::Identity("mchid")),
        ("/mchid", Value::Null, Untrusted::Identity("mchid")),
        ("/appid", json!("wx0000"), Untrusted::Identity("appid")),
        ("/appid", Value::Null, Untrusted::Identity("appid")),
        ("/out_trade_no", json!("P2"), Untrusted::Identity("out_trade_no")),
        ("/out_trade_no", Value::Null, Untrusted::Identity("out_trade_no")),
        ("/transaction_id", Value::Null, Untrusted::Incomplete("transaction_id")),
        ("/transaction_id", json!(42), Untrusted::Incomplete("transaction_id")),
        ("/amount", Value::Null, Untrusted::Incomplete("amount")),
        ("/amount", json!(100), Untrusted::Incomplete("amount")),
        ("/amount/total", Value::Null, Untrusted::Incomplete("amount.total")),
        ("/amount/total", json!("100"), Untrusted::Incomplete("amount.total")),
        ("/amount/total", json!(0), Untrusted::Incomplete("amount.total")),
        ("/amount/total", json!(-100), Untrusted::Incomplete("amount.total")),
        ("/amount/currency", json!(""), Untrusted::Incomplete("currency")),
        ("/amount/currency", json!(156), Untrusted::Incomplete("currency")),
    ] {
        assert_eq!(trade(&changed(pointer, value.clone())), Err(fault), "{pointer} {value}");
    }
}

/// PostgreSQL refuses NUL, and a payment must not wait for that.
#[test]
fn words_of_wechats_that_are_kept_can_be_printed_and_have_an_end() {
    let (odd, long) = (json!("A\0B\u{1b}"), json!("A".repeat(300)));
    for (said, kept) in [(odd, "A\u{fffd}B\u{fffd}".to_owned()), (long, "A".repeat(64))] {
        let Ok(Trade::Paid(payment)) = trade(&changed("/trade_type", said.clone())) else { panic!() };
        assert_eq!(payment.trade_type(), kept);
        let Ok(Trade::Paid(payment)) = trade(&changed("/amount/currency", said.clone())) else { panic!() };
        assert_eq!(payment.claim().currency, kept);
        let pending = Ok(Trade::Pending { state: kept.clone() });
        assert_eq!(trade(&changed("/trade_state", said.clone())), pending);
        let failed = reply(400, &json!({ "code": said, "message": "" }));
        assert_eq!(gateway().trade(&failed, &attempt(Channel::WechatNative)), pending);
        let code = kept.trim_end().to_owned();
        assert_eq!(gateway().refund_asked(&failed, &refund()), Ok(RefundAsked::Unknown { code }));
        let mut told = refund_told();
        told["user_received_account"] = said.clone();
        let Ok(RefundNews::Found(found)) = gateway().refund_news(&reply(200, &told), &refund()) else {
            panic!()
        };
        assert_eq!(found.received_by(), kept);
        told["status"] = said;
        let news = gateway().refund_news(&reply(200, &told), &refund());
        assert_eq!(news, Ok(RefundNews::Unknown { code: kept }));
    }
}

#[test]
fn closed_is_said_with_204_and_by_an_error_that_says_so() {
    let read = |answer| gateway().closing(&answer, &attempt(Channel::WechatNative));
    assert_eq!(read(reply_by(&WECHAT, PUBLIC_KEY_ID, 204, "")), Ok(Closing::Closed));
    assert_eq!(read(reply(200, &json!({}))), Err(Untrusted::Status(200)));
    assert_eq!(read(failure(400, "ORDER_CLOSED")), Ok(Closing::Closed));
    assert_eq!(read(failure(400, "ORDERPAID")), Ok(Closing::Paid));
    assert_eq!(read(failure(404, "ORDER_NOT_EXIST")), Ok(Closing::NotFound));
    for (status, code) in [(500, "ORDER_CLOSED"), (429, "ORDERPAID"), (400, "PARAM_ERROR"), (400, "NEW")] {
        assert_eq!(read(failure(status, code)), Ok(Closing::Unknown { code: code.to_owned() }));
    }
    assert_eq!(read(reply(202, &json!({}))), Ok(Closing::Unknown { code: "ACCEPTED".to_owned() }));
}

#[test]
fn a_refund_that_was_taken_on_is_not_yet_done() {
    let read = |answer| gateway().refund_asked(&answer, &refund());
    let accepted = RefundAsked::Accepted { refund_id: "50000408942018111907145868882".to_owned() };
    for status in ["SUCCESS", "PROCESSING", "ABNORMAL", "CLOSED", "NEW"] {
        let mut told = refund_told();
        told["status"] = json!(status);
        assert_eq!(read(reply(200, &told)), Ok(accepted.clone()), "{status}");
    }
    let code = |code: &str| format!("{code} text");
    assert_eq!(read(failure(403, "NOT_ENOUGH")), Ok(RefundAsked::NotEnough));
    assert_eq!(read(failure(500, "SYSTEM_ERROR")), Ok(RefundAsked::Unknown { code: code("SYSTEM_ERROR") }));
    assert_eq!(read(failure(429, "RATE_LIMITED")), Ok(RefundAsked::Throttled { code: code("RATE_LIMITED") }));
    assert_eq!(read(failure(400, "PARAM_ERROR")), Ok(RefundAsked::Refused { code: code("PARAM_ERROR") }));
    assert_eq!(read(reply(202, &json!({}))), Ok(RefundAsked::Unknown { code: "ACCEPTED".to_owned() }));
}

#[test]
fn only_a_query_about_this_very_refund_says_where_it_stands() {
    let read = |answer| gateway().refund_news(&answer, &refund());
    for (status, standing) in [
        ("SUCCESS", RefundStanding::Success),
        ("PROCESSING", RefundStanding::Processing),
        ("ABNORMAL", RefundStanding::Abnormal),
        ("CLOSED", RefundStanding::Closed),
    ] {
        let mut told = refund_told();
        told["status"] = json!(status);
        let Ok(RefundNews::Found(found)) = read(reply(200, &told)) else { panic!("{status}") };
        assert_eq!((found.standing(), found.received_by()), (standing, "支付用户零钱"));
        assert_eq!(
            (found.out_refund_no().as_str(), found.refund_id()),
            ("RF@1|", "50000408942018111907145868882")
        );
    }
    let mut told = refund_told();
    told["status"] = json!("REFUNDED");
    assert_eq!(read(reply(200, &told)), Ok(RefundNews::Unknown { code: "REFUNDED".to_owned() }));
    assert_eq!(read(failure(404, "RESOURCE_NOT_EXISTS")), Ok(RefundNews::NotFound));
    assert_eq!(
        read(failure(404, "MCH_NOT_EXISTS")),
        Ok(RefundNews::Unknown { code: "MCH_NOT_EXISTS text".to_owned() })
    );
    let asked = Refund { refund_id: Some("500".to_owned()), ..refund() };
    assert_eq!(
        gateway().refund_news(&reply(200, &refund_told()), &asked),
        Err(Untrusted::Identity("refund_id"))
    );
}

#[test]
fn a_reply_about_another_refund_payment_or_amount_is_not_used() {
    for (pointer, value) in [
        ("/out_refund_no", json!("RF2")),
        ("/transaction_id", json!("4200000290201904150837155039")),
        ("/out_trade_no", json!("P2")),
        ("/amount/refund", json!(8)),
        ("/amount/refund", json!("7")),
        ("/amount/total", json!(101)),
        ("/amount", json!(7)),
        ("/refund_id", json!("")),
        ("/refund_id", json!("5".repeat(65))),
        ("/refund_id", json!("5\0")),
    ] {
        let mut told = refund_told();
        *told.pointer_mut(pointer).unwrap() = value.clone();
        let told = reply(200, &told);
        assert!(gateway().refund_news(&told, &refund()).is_err(), "{pointer} {value}");
        assert!(gateway().refund_asked(&told, &refund()).is_err(), "{pointer} {value}");
    }
}

#[test]
fn what_was_made_for_another_account_or_environment_is_not_ours_to_ask_about() {
    let gateway = gateway();
    for (account, ours) in [
        ("10000100:wx2421b1c4370ec43b", true),
        ("10000100:wxmini0000000001", true),
        ("10000999:wx2421b1c4370ec43b", false),
        ("10000100:wx0000", false),
        ("10000100", false),
        ("", false),
    ] {
        assert_eq!(gateway.is_ours(account, Environment::Live), ours, "{account}");
        assert!(!gateway.is_ours(account, Environment::Simulator), "{account}");
    }
    assert_eq!(gateway.account(Channel::WechatMini).as_deref(), Some("10000100:wxmini0000000001"));
    assert_eq!(gateway.account(Channel::AlipayQr), None);
    let minutes = |channel| gateway.prepaid_life_ms(channel) / 60_000;
    assert_eq!((minutes(Channel::WechatNative), minutes(Channel::WechatH5)), (110, 4));
}

#[test]
fn no_key_is_printed() {
    let printed = format!("{:?}", gateway());
    assert!(!printed.contains(API_V3_KEY), "{printed}");
    assert!(!printed.contains(MERCHANT.to_base64().unwrap().get(40..80).unwrap()));
}
