//! Alipay's gateway as a merchant meets it: public parameters, signature, field rules, the book, notices, the browser.

use super::{
    super::{Scenario, TradeState, testing::*},
    *,
};
use crate::{clock::Clock, domain::time::UnixMs};
use actix_web::{App, test as web_test};
use serde_json::json;

const NOTIFY: &str = "http://127.0.0.1:9/notify/alipay";
const RETURN: &str = "http://shop.test/return/order-000001";

/// The signed reply of a call: its node, read from the very text that was signed.
#[derive(Debug)]
pub(super) struct Told(Value);

impl Told {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn code(&self) -> (&str, &str) {
        (self.get("code"), self.get("sub_code"))
    }
}

fn public(method: &str, biz: &Value, now: UnixMs) -> Fields {
    [
        ("app_id", ALIPAY_APP_ID),
        ("method", method),
        ("format", "JSON"),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("timestamp", now.beijing_text().as_str()),
        ("version", "1.0"),
        ("notify_url", NOTIFY),
        ("biz_content", biz.to_string().as_str()),
    ]
    .into_iter()
    .collect()
}

/// Signed over the sorted pairs with sign_type among them, by hand.
fn signed(mut fields: Fields) -> Fields {
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, value)| *name != "sign" && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    fields.set("sign", &alipay_keys().app.sign(pairs.join("&").as_bytes()));
    fields
}

fn posted(simulator: &Simulator, fields: &Fields) -> Reply {
    answer(simulator, "POST", "", form::write(fields).as_bytes(), "").unwrap().reply
}

/// Signs, posts, and verifies the reply over the raw text of its node.
fn ask(simulator: &Simulator, fields: Fields) -> Told {
    let name = format!("\"{}_response\":", fields.get("method").unwrap().replace('.', "_"));
    let Reply::Json(text) = posted(simulator, &signed(fields)) else { panic!("no JSON") };
    let (node, sign) = text.rsplit_once(",\"sign\":\"").unwrap_or_else(|| panic!("{text}"));
    let node = node.strip_prefix('{').unwrap().strip_prefix(&name).unwrap_or_else(|| panic!("{text}"));
    assert!(
        alipay_keys().platform_public.verify(node.as_bytes(), sign.strip_suffix("\"}").unwrap()),
        "{text}"
    );
    Told(serde_json::from_str(node).unwrap())
}

pub(super) fn call(simulator: &Simulator, clock: &Clock, method: &str, biz: Value) -> Told {
    ask(simulator, public(method, &biz, clock.now()))
}

pub(super) fn order() -> Value {
    let time_expire = NOW.plus_secs(900).beijing_text();
    json!({ "out_trade_no": NUMBER, "total_amount": "9.90", "subject": "账户充值", "time_expire": time_expire })
}

fn page_order(product_code: &str) -> Value {
    let mut biz = order();
    biz["product_code"] = product_code.into();
    biz
}

pub(super) fn about() -> Value {
    json!({ "out_trade_no": NUMBER })
}

pub(super) fn precreate(simulator: &Simulator, clock: &Clock) -> String {
    let told = call(simulator, clock, "alipay.trade.precreate", order());
    assert_eq!(told.get("code"), "10000", "{told:?}");
    told.get("qr_code").to_owned()
}

pub(super) fn paid(simulator: &Simulator, clock: &Clock) -> String {
    precreate(simulator, clock);
    simulator.pay(NUMBER).unwrap()
}

/// What a notice says, after its signature was checked by hand: neither sign nor sign_type is in the text.
pub(super) fn notice(body: &str) -> Fields {
    let fields = form::read(body).unwrap();
    let pairs: Vec<String> = fields
        .iter()
        .filter(|(name, _)| !["sign", "sign_type"].contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let sign = fields.get("sign").unwrap();
    assert!(alipay_keys().platform_public.verify(pairs.join("&").as_bytes(), sign), "{body}");
    fields
}

/// The bodies of everything due by now.
pub(super) fn due(simulator: &Simulator, clock: &Clock) -> Vec<String> {
    simulator.book().take_due(clock.now()).into_iter().map(|callback| callback.body).collect()
}

#[test]
fn a_call_that_is_not_signed_by_the_app_changes_nothing_and_gets_an_unsigned_error() {
    let (simulator, clock) = alipay_simulator();
    let genuine = signed(public("alipay.trade.precreate", &order(), clock.now()));
    let with = |name: &str, value: &str| {
        let mut fields = genuine.clone();
        if value.is_empty() {
            fields.remove(name)
        } else {
            fields.set(name, value)
        }
        fields
    };
    let mut own = genuine.clone();
    own.set("sign", &alipay_keys().platform.sign(b"anything"));
    for (fields, sub_code) in [
        (with("biz_content", r#"{"out_trade_no":"order-000001"}"#), "isv.invalid-signature"),
        (with("notify_url", "http://thief.test/"), "isv.invalid-signature"),
        (own, "isv.invalid-signature"),
        (with("sign", ""), "isv.missing-signature"),
        (with("sign_type", "RSA"), "isv.invalid-signature-type"),
        (with("sign_type", ""), "isv.missing-signature-type"),
        (with("app_id", "2021000000000009"), "isv.invalid-app-id"),
        (with("app_id", ""), "isv.missing-app-id"),
        (with("method", "alipay.trade.create"), "isv.invalid-method"),
        (with("method", ""), "isv.missing-method"),
    ] {
        let Reply::Json(text) = posted(&simulator, &fields) else { panic!("no JSON") };
        let reply: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(reply["error_response"]["sub_code"], sub_code, "{text}");
        assert_eq!(reply.get("sign"), None);
    }
    for body in ["a=1&a=1", "a=%zz"] {
        let Reply::Json(text) = answer(&simulator, "POST", "", body.as_bytes(), "").unwrap().reply else {
            panic!()
        };
        assert!(text.contains("isv.invalid-parameter"), "{text}");
    }
    assert_eq!(simulator.trade(NUMBER), None);
    assert_eq!(posted_sub_code(&simulator, &genuine), "none");
}

fn posted_sub_code(simulator: &Simulator, fields: &Fields) -> String {
    let Reply::Json(text) = posted(simulator, fields) else { panic!("no JSON") };
    let text = text.split_once("\"sub_code\":\"").map_or("none", |(_, rest)| rest);
    text.split('"').next().unwrap().to_owned()
}

#[test]
fn a_public_parameter_outside_its_rule_is_refused_with_a_signature() {
    let (simulator, clock) = alipay_simulator();
    let late = clock.now().plus_ms(-3_600_001).beijing_text();
    let utc = clock.now().plus_secs(-8 * 3600).beijing_text();
    for (name, value, sub_code) in [
        ("charset", "gbk", "isv.invalid-charset"),
        ("charset", "", "isv.missing-charset"),
        ("version", "", "isv.missing-version"),
        ("version", "2.0", "isv.invalid-parameter"),
        ("format", "xml", "isv.invalid-format"),
        ("timestamp", "", "isv.missing-timestamp"),
        ("timestamp", "20260202103320", "isv.invalid-timestamp"),
        ("timestamp", late.as_str(), "isv.invalid-timestamp"),
        ("timestamp", utc.as_str(), "isv.invalid-timestamp"),
        ("notify_url", "http://shop.test/notify?a=b", "isv.invalid-parameter"),
        ("return_url", "shop.test", "isv.invalid-parameter"),
        ("biz_content", "", "isv.invalid-parameter"),
        ("biz_content", "[]", "ACQ.INVALID_PARAMETER"),
    ] {
        let mut fields = public("alipay.trade.precreate", &order(), clock.now());
        if value.is_empty() {
            fields.remove(name);
        } else {
            fields.set(name, value);
        }
        assert_eq!(ask(&simulator, fields).get("sub_code"), sub_code, "{name}={value}");
    }
    assert_eq!(simulator.trade(NUMBER), None);
}

#[test]
fn each_field_of_an_order_is_checked_and_named() {
    let (simulator, clock) = alipay_simulator();
    let past = clock.now().beijing_text();
    for (name, value) in [
        ("out_trade_no", json!(null)),
        ("out_trade_no", json!("a b")),
        ("total_amount", json!("9.900")),
        ("total_amount", json!("0.00")),
        ("subject", json!("a&b")),
        ("subject", json!("")),
        ("time_expire", json!("2026-02-02")),
        ("time_expire", json!(past)),
        ("timeout_express", json!("15m")),
    ] {
        let mut biz = order();
        match value {
            Value::Null => drop(biz.as_object_mut().unwrap().remove(name)),
            value => biz[name] = value,
        }
        let told = call(&simulator, &clock, "alipay.trade.precreate", biz);
        assert_eq!(told.code(), ("40004", "ACQ.INVALID_PARAMETER"), "{name}");
        assert!(told.get("sub_msg").contains(name), "{told:?}");
    }
    let mut number = order();
    number["total_amount"] = json!(9.9);
    let told = call(&simulator, &clock, "alipay.trade.precreate", number);
    assert_eq!(told.code(), ("40004", "ACQ.INVALID_PARAMETER"));
    let mut other = order();
    other["seller_id"] = "2088000000000009".into();
    let told = call(&simulator, &clock, "alipay.trade.precreate", other);
    assert_eq!(told.get("sub_code"), "ACQ.SELLER_NOT_EXIST");
    for method in ["alipay.trade.query", "alipay.trade.close"] {
        let told = call(&simulator, &clock, method, json!({}));
        assert_eq!(told.get("sub_code"), "ACQ.INVALID_PARAMETER", "{method}");
    }
}

#[test]
fn a_precreated_order_is_no_trade_until_somebody_scans_it() {
    let (simulator, clock) = alipay_simulator();
    let qr_code = precreate(&simulator, &clock);
    assert!(qr_code.starts_with("https://qr.alipay.com/"), "{qr_code}");
    assert_eq!(simulator.number_of(&qr_code).as_deref(), Some(NUMBER));
    for method in ["alipay.trade.query", "alipay.trade.close"] {
        let told = call(&simulator, &clock, method, about());
        assert_eq!(told.code(), ("40004", "ACQ.TRADE_NOT_EXIST"), "{method}");
    }
    // The close that found nothing has not killed the code.
    simulator.scan(NUMBER).unwrap();
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!((told.get("code"), told.get("trade_status")), ("10000", "WAIT_BUYER_PAY"));
    let trade_no = simulator.pay(NUMBER).unwrap();
    assert_eq!(trade_no.len(), 28, "{trade_no}");
    for biz in [about(), json!({ "trade_no": trade_no, "out_trade_no": "another" })] {
        let told = call(&simulator, &clock, "alipay.trade.query", biz);
        assert_eq!(told.get("trade_status"), "TRADE_SUCCESS");
        assert_eq!((told.get("total_amount"), told.get("trade_no")), ("9.90", trade_no.as_str()));
        assert_eq!(told.get("send_pay_date"), clock.now().beijing_text());
    }
    let told = call(&simulator, &clock, "alipay.trade.close", about());
    assert_eq!(told.get("sub_code"), "ACQ.TRADE_STATUS_ERROR");
    let told = call(&simulator, &clock, "alipay.trade.precreate", order());
    assert_eq!(told.get("sub_code"), "ACQ.TRADE_HAS_SUCCESS");
    assert_eq!(simulator.paid_total_fen(), 990);
    assert_eq!(simulator.calls()[1], format!("alipay.trade.query {NUMBER}"));
}

#[test]
fn the_same_order_keeps_its_code_and_other_parameters_are_refused() {
    let (simulator, clock) = alipay_simulator();
    let first = precreate(&simulator, &clock);
    assert_eq!(precreate(&simulator, &clock), first);
    let mut other = order();
    other["total_amount"] = "9.91".into();
    let told = call(&simulator, &clock, "alipay.trade.precreate", other);
    assert_eq!(told.get("sub_code"), "ACQ.CONTEXT_INCONSISTENT");
}

#[test]
fn a_scanned_trade_is_closed_once_and_then_only_a_late_payer_pays_it() {
    let (simulator, clock) = alipay_simulator();
    precreate(&simulator, &clock);
    simulator.scan(NUMBER).unwrap();
    let told = call(&simulator, &clock, "alipay.trade.close", about());
    assert_eq!((told.get("code"), told.get("out_trade_no")), ("10000", NUMBER));
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!((told.get("trade_status"), told.get("send_pay_date")), ("TRADE_CLOSED", ""));
    let told = call(&simulator, &clock, "alipay.trade.close", about());
    assert_eq!(told.get("sub_code"), "ACQ.REASON_TRADE_STATUS_INVALID");
    let told = call(&simulator, &clock, "alipay.trade.precreate", order());
    assert_eq!(told.get("sub_code"), "ACQ.TRADE_HAS_CLOSE");
    assert!(simulator.pay(NUMBER).is_err());
    simulator.set_scenario(NUMBER, Scenario::LatePayment);
    simulator.pay(NUMBER).unwrap();
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(told.get("trade_status"), "TRADE_SUCCESS");
}

#[test]
fn a_code_dies_with_its_order_or_after_two_hours_and_a_span_counts_from_the_scan() {
    let (simulator, clock) = alipay_simulator();
    precreate(&simulator, &clock);
    clock.advance_ms(900_000);
    assert!(simulator.scan(NUMBER).is_err() && simulator.pay(NUMBER).is_err());
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(told.get("sub_code"), "ACQ.TRADE_NOT_EXIST", "it was never scanned");

    let (simulator, clock) = alipay_simulator();
    let open =
        json!({ "out_trade_no": NUMBER, "total_amount": "9.90", "subject": "茶", "timeout_express": "90m" });
    call(&simulator, &clock, "alipay.trade.precreate", open);
    clock.advance_ms(7_200_000 - 1);
    simulator.scan(NUMBER).unwrap();
    clock.advance_ms(90 * 60_000 - 1);
    assert_eq!(simulator.trade(NUMBER).unwrap().state, TradeState::NotPay);
    clock.advance_ms(1);
    assert_eq!(simulator.trade(NUMBER).unwrap().state, TradeState::Closed);

    let (simulator, clock) = alipay_simulator();
    let open = json!({ "out_trade_no": NUMBER, "total_amount": "9.90", "subject": "茶" });
    call(&simulator, &clock, "alipay.trade.precreate", open);
    clock.advance_ms(7_200_000);
    assert!(simulator.pay(NUMBER).is_err());
}

#[test]
fn the_first_precreate_calls_fail_as_the_scenario_says() {
    let (simulator, clock) = alipay_simulator();
    simulator.set_default_scenario(Scenario::SystemError);
    for _ in 0..2 {
        let told = call(&simulator, &clock, "alipay.trade.precreate", order());
        assert_eq!(told.code(), ("20000", "isp.unknow-error"));
    }
    precreate(&simulator, &clock);

    let (simulator, clock) = alipay_simulator();
    simulator.set_default_scenario(Scenario::TimeoutAfterAccept);
    let fields = signed(public("alipay.trade.precreate", &order(), clock.now()));
    let held = |body: &str| answer(&simulator, "POST", "", body.as_bytes(), "").unwrap().held;
    let body = form::write(&fields);
    assert!(held(&body) && !held(&body));
}

pub(super) fn refund_of(out_request_no: &str, amount: &str) -> Value {
    json!({ "out_trade_no": NUMBER, "refund_amount": amount, "out_request_no": out_request_no })
}

fn page_url(method: &str, product_code: &str, now: UnixMs) -> String {
    let mut fields = public(method, &page_order(product_code), now);
    fields.set("return_url", RETURN);
    form::write(&signed(fields))
}

#[actix_web::test]
async fn the_browser_comes_with_a_signed_address_pays_and_goes_back() {
    for (method, product_code) in
        [("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"), ("alipay.trade.wap.pay", "QUICK_WAP_WAY")]
    {
        let (simulator, clock) = alipay_simulator();
        let app = web_test::init_service(App::new().configure(super::super::routes(&simulator))).await;
        let query = page_url(method, product_code, clock.now());
        let told = call(&simulator, &clock, "alipay.trade.query", about());
        assert_eq!(told.get("sub_code"), "ACQ.TRADE_NOT_EXIST", "nobody has come yet");
        let mut cashiers = Vec::new();
        for _ in 0..2 {
            let request = web_test::TestRequest::get().uri(&format!("{PATH}?{query}")).to_request();
            let response = web_test::call_service(&app, request).await;
            assert_eq!(response.status(), 302);
            cashiers.push(response.headers().get(header::LOCATION).unwrap().to_str().unwrap().to_owned());
        }
        assert_eq!(cashiers[0], cashiers[1], "the same address again is the same trade");
        let request = web_test::TestRequest::get().uri(&cashiers[0]).to_request();
        let sheet = web_test::call_and_read_body(&app, request).await;
        let sheet = String::from_utf8(sheet.to_vec()).unwrap();
        for text in ["支付宝", "class=\"alipay\"", "9.90", "账户充值", "模拟环境 SIMULATOR", "trade-finished"]
        {
            assert!(sheet.contains(text), "{text}");
        }
        assert!(!sheet.contains("refund-abnormal"));
        for button in ["cancel", "pay"] {
            let prepay_id = cashiers[0].split_once('=').unwrap().1;
            let form = [("prepay_id", prepay_id), ("scenario", "ok")];
            let request = web_test::TestRequest::post().uri(&format!("/cashier/{button}")).set_form(form);
            let response = web_test::call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), 303, "{button}");
            let back = response.headers().get(header::LOCATION).unwrap().to_str().unwrap();
            let (page, query) = back.split_once('?').unwrap();
            let fields = notice(query);
            assert_eq!((page, fields.get("method")), (RETURN, Some(format!("{method}.return").as_str())));
            assert_eq!((fields.get("total_amount"), fields.get("trade_status")), (Some("9.90"), None));
            assert_eq!(simulator.trade(NUMBER).unwrap().transaction_id.is_some(), button == "pay");
        }
        let told = call(&simulator, &clock, "alipay.trade.query", about());
        assert_eq!(told.get("trade_status"), "TRADE_SUCCESS");
        let request = web_test::TestRequest::get().uri(&format!("{PATH}?{query}")).to_request();
        let page = web_test::call_and_read_body(&app, request).await;
        assert!(String::from_utf8_lossy(&page).contains("ACQ.TRADE_HAS_SUCCESS"));
    }
}

#[test]
fn a_browser_with_a_forged_or_old_address_sees_no_cashier_and_an_api_call_is_a_post() {
    let (simulator, clock) = alipay_simulator();
    let query = page_url("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY", clock.now());
    let reply = |query: &str| match answer(&simulator, "GET", query, b"", "").unwrap().reply {
        Reply::Json(text) | Reply::Page(text) => text,
        Reply::Redirect(to) => to,
    };
    assert!(reply(&query.replace("9.90", "0.01")).contains("isv.invalid-signature"));
    let wrong = page_url("alipay.trade.page.pay", "QUICK_WAP_WAY", clock.now());
    assert!(reply(&wrong).contains("ACQ.INVALID_PARAMETER"));
    let old = page_url("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY", clock.now().plus_ms(-86_401_000));
    assert!(reply(&old).contains("isv.invalid-timestamp"));
    let api = form::write(&signed(public("alipay.trade.query", &about(), clock.now())));
    assert!(reply(&api).contains("isv.invalid-method"));
    assert_eq!(simulator.trade(NUMBER), None);
    assert!(reply(&query).starts_with("/cashier?prepay_id="));
}

#[actix_web::test]
async fn opening_the_sheet_of_a_precreated_order_is_scanning_it() {
    let (simulator, clock) = alipay_simulator();
    precreate(&simulator, &clock);
    let app = web_test::init_service(App::new().configure(super::super::routes(&simulator))).await;
    let list = web_test::call_and_read_body(&app, web_test::TestRequest::get().uri("/").to_request()).await;
    let prepay_id = simulator.trade(NUMBER).unwrap().prepay_id;
    let link = format!("/cashier?prepay_id={prepay_id}");
    assert!(String::from_utf8_lossy(&list).contains(&link));
    assert_eq!(
        call(&simulator, &clock, "alipay.trade.query", about()).get("sub_code"),
        "ACQ.TRADE_NOT_EXIST"
    );
    web_test::call_service(&app, web_test::TestRequest::get().uri(&link).to_request()).await;
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(told.get("trade_status"), "WAIT_BUYER_PAY");
}

#[test]
fn an_app_without_certificates_that_names_one_is_refused_before_its_signature_is_looked_at() {
    let (simulator, clock) = alipay_simulator();
    let mut fields = public("alipay.trade.query", &about(), clock.now());
    fields.set("app_cert_sn", "50fa7bc5dc305a4fbdbe166689ddc827");
    let Reply::Json(text) = posted(&simulator, &signed(fields)) else { panic!("no JSON") };
    assert!(text.starts_with("{\"error_response\":") && text.contains("isv.app-cert-not-exist"), "{text}");
    assert!(!text.contains("\"sign\""), "{text}");
}
