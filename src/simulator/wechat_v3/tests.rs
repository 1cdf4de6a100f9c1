//! The V3 API as a merchant meets it: who asks, field rules, the book, refunds, keys, callbacks.

use super::{super::testing::*, *};
use crate::{
    gateway::rsa::PrivateKey,
    simulator::{Content, Scenario, SignedNotify, Signer, SimulatorError, TradeState},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};

mod callbacks;

const JSAPI: &str = "/v3/pay/transactions/jsapi";
const REFUNDS: &str = "/v3/refund/domestic/refunds";

fn code(reply: &(u16, Value)) -> String {
    format!("{} {}", reply.0, reply.1["code"].as_str().unwrap_or("none"))
}

fn about(number: &str) -> String {
    format!("/v3/pay/transactions/out-trade-no/{number}?mchid=10000100")
}

fn close(simulator: &Simulator, number: &str) -> (u16, Value) {
    let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
    v3_ask(simulator, "POST", &target, r#"{"mchid":"10000100"}"#)
}

fn refund(simulator: &Simulator, out_refund_no: &str, fen: i64) -> (u16, Value) {
    let body = json!({
        "transaction_id": simulator.trade(NUMBER).unwrap().transaction_id.unwrap(),
        "out_refund_no": out_refund_no,
        "reason": "商品已售完",
        "notify_url": "http://127.0.0.1:9/notify/refund",
        "amount": { "refund": fen, "total": 990, "currency": "CNY" },
    });
    v3_ask(simulator, "POST", REFUNDS, &body.to_string())
}

/// What a sealed resource says.
fn unsealed(resource: &Value) -> String {
    let of = |name: &str| resource[name].as_str().unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, api_v3_key().as_bytes()).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(of("nonce").as_bytes()).unwrap();
    let mut bytes = STANDARD.decode(of("ciphertext")).unwrap();
    let plain = key.open_in_place(nonce, Aad::from(of("associated_data").as_bytes()), &mut bytes).unwrap();
    String::from_utf8(plain.to_vec()).unwrap()
}

fn inside(notify: &SignedNotify) -> Value {
    let outer: Value = serde_json::from_str(&notify.body).unwrap();
    assert_eq!(outer["resource"]["algorithm"], "AEAD_AES_256_GCM");
    serde_json::from_str(&unsealed(&outer["resource"])).unwrap()
}

#[test]
fn a_request_that_is_not_signed_by_the_merchant_as_it_arrived_is_refused() {
    let (simulator, _) = v3_simulator();
    let body = v3_order(&simulator, "jsapi").to_string();
    let good = authorized("POST", JSAPI, &body, NOW.secs());
    let ask = |target: &str, headers: &str, body: &str| {
        code(&v3_ask_with(&simulator, "POST", target, headers, body))
    };
    let stranger = PrivateKey::parse(&rsa().wechat_public).unwrap();
    let (before, rest) = good.split_once("signature=\"").unwrap();
    let forged = stranger.sign(format!("POST\n{JSAPI}\n{}\nn1\n{body}\n", NOW.secs()).as_bytes());
    for (headers, text) in [
        (String::new(), body.clone()),
        (good.replace("WECHATPAY2-SHA256-RSA2048", "WECHATPAY2-SM2-WITH-SM3"), body.clone()),
        (good.replace("mchid=\"10000100\"", "mchid=\"10000101\""), body.clone()),
        (good.replace(&rsa().merchant_serial(), &"0".repeat(40)), body.clone()),
        (good.replace("n1", "n2"), body.clone()),
        (good.replace("nonce_str=\"n1\",", ""), body.clone()),
        (good.replace("nonce_str=\"n1\"", "nonce_str=\"n1\",nonce_str=\"n1\""), body.clone()),
        (format!("{good}{good}"), body.clone()),
        (good.clone(), body.replace("990", "1")),
        (format!("{before}signature=\"{forged}\"\n"), body.clone()),
        (format!("{before}signature=\"WECHATPAY/SIGNTEST/{rest}"), body.clone()),
    ] {
        assert_eq!(ask(JSAPI, &headers, &text), "401 SIGN_ERROR", "{headers} {text}");
    }
    assert_eq!(ask("/v3/pay/transactions/native", &good, &body), "401 SIGN_ERROR");
    assert_eq!(ask(&format!("{JSAPI}?a=b"), &good, &body), "401 SIGN_ERROR");
    for (secs, expected) in
        [(-301, "401 SIGN_ERROR"), (301, "401 SIGN_ERROR"), (-300, "200 none"), (300, "200 none")]
    {
        let headers = authorized("POST", JSAPI, &body, NOW.secs() + secs);
        assert_eq!(ask(JSAPI, &headers, &body), expected, "{secs}");
    }
    assert_eq!(
        ask(JSAPI, &good.replace("accept: application/json", "accept: text/html"), &body),
        "406 PARAM_ERROR"
    );
}

#[test]
fn an_order_that_breaks_a_rule_names_the_field() {
    let (simulator, _) = v3_simulator();
    let mut tried = 0;
    for (product, pointer, value) in [
        ("jsapi", "/description", json!("")),
        ("jsapi", "/description", json!("中".repeat(43))),
        ("jsapi", "/out_trade_no", json!("a b")),
        ("jsapi", "/amount/total", json!("990")),
        ("jsapi", "/amount/total", json!(990.0)),
        ("jsapi", "/amount/total", json!(0)),
        ("jsapi", "/amount/total", json!(-1)),
        ("jsapi", "/amount/currency", json!("USD")),
        ("jsapi", "/amount", json!({})),
        ("jsapi", "/notify_url", json!("http://shop.test/notify?a=b")),
        ("jsapi", "/time_expire", json!("2026-02-02T10:55:00Z")),
        ("jsapi", "/time_expire", json!("2026-02-30T10:55:00+08:00")),
        ("jsapi", "/time_expire", json!("2026-02-02T10:39:59+08:00")),
        ("jsapi", "/payer/openid", json!(simulator.mini_openid_of(1))),
        ("jsapi", "/payer", json!({})),
        ("jsapi", "/mchid", json!("10000101")),
        ("jsapi", "/attach", json!("   ")),
        ("jsapi", "/total_fee", json!(990)),
        ("h5", "/scene_info/payer_client_ip", json!("localhost")),
        ("h5", "/scene_info/h5_info", json!({})),
        ("native", "/payer", json!({ "openid": simulator.openid_of(1) })),
        ("app", "/notify_url", Value::Null),
    ] {
        let mut order = v3_order(&simulator, product);
        let (above, member) = pointer.rsplit_once('/').unwrap();
        put(order.pointer_mut(above).unwrap(), member, value.clone());
        let target = format!("/v3/pay/transactions/{product}");
        let reply = v3_ask(&simulator, "POST", &target, &order.to_string());
        assert_eq!(code(&reply), "400 PARAM_ERROR", "{pointer} {value}");
        let field = reply.1["detail"]["field"].as_str().unwrap();
        assert!(field.starts_with(pointer), "{field} {pointer} {value}");
        tried += 1;
    }
    assert_eq!(tried, 22);
    for (product, appid, expected) in [
        ("jsapi", "wx0000000000000000", "400 APPID_MCHID_NOT_MATCH"),
        ("app", WEB, "403 NO_AUTH"),
        ("native", MINI, "403 NO_AUTH"),
        ("h5", APP, "403 NO_AUTH"),
    ] {
        let mut order = v3_order(&simulator, product);
        order["appid"] = json!(appid);
        let target = format!("/v3/pay/transactions/{product}");
        assert_eq!(code(&v3_ask(&simulator, "POST", &target, &order.to_string())), expected);
    }
    for body in ["", "[]", "{", "null"] {
        assert_eq!(code(&v3_ask(&simulator, "POST", JSAPI, body)), "400 PARAM_ERROR", "{body}");
    }
    assert_eq!(simulator.trade(NUMBER), None);
}

#[test]
fn each_product_brings_what_its_payer_is_shown_and_the_same_again() {
    for (product, begins, word) in [
        ("jsapi", "wx", "JSAPI"),
        ("app", "wx", "APP"),
        ("native", "weixin://wxpay/bizpayurl?pr=", "NATIVE"),
        ("h5", "http://127.0.0.1:", "MWEB"),
    ] {
        let (simulator, _) = v3_simulator();
        let shown = v3_prepay(&simulator, product);
        assert!(shown.starts_with(begins), "{shown}");
        assert_eq!(v3_prepay(&simulator, product), shown);
        assert_eq!(simulator.number_of(&shown).as_deref(), Some(NUMBER));
        simulator.pay(NUMBER).unwrap();
        let (status, reply) = v3_ask(&simulator, "GET", &about(NUMBER), "");
        assert_eq!((status, reply["trade_type"].as_str()), (200, Some(word)));
        let calls = simulator.calls();
        assert_eq!(calls[0], format!("transactions/{product} {NUMBER}"));
        assert_eq!(calls[2], format!("transactions/out-trade-no {NUMBER}"));
    }
}

#[test]
fn a_number_used_with_other_parameters_is_refused() {
    let (simulator, _) = v3_simulator();
    v3_prepay(&simulator, "jsapi");
    for (name, value, expected) in [
        ("amount", json!({ "total": 991, "currency": "CNY" }), "403 OUT_TRADE_NO_USED"),
        ("description", json!("other"), "400 INVALID_REQUEST"),
    ] {
        let mut order = v3_order(&simulator, "jsapi");
        order[name] = value;
        assert_eq!(code(&v3_ask(&simulator, "POST", JSAPI, &order.to_string())), expected);
    }
}

#[test]
fn a_trade_is_asked_about_paid_closed_and_never_both() {
    let (simulator, clock) = v3_simulator();
    assert_eq!(code(&v3_ask(&simulator, "GET", &about(NUMBER), "")), "404 ORDER_NOT_EXIST");
    assert_eq!(code(&close(&simulator, NUMBER)), "404 ORDER_NOT_EXIST");
    v3_prepay(&simulator, "native");
    let (_, reply) = v3_ask(&simulator, "GET", &about(NUMBER), "");
    assert_eq!((&reply["trade_state"], &reply["transaction_id"]), (&json!("NOTPAY"), &Value::Null));
    let wrong = format!("/v3/pay/transactions/out-trade-no/{NUMBER}?mchid=1");
    assert_eq!(code(&v3_ask(&simulator, "GET", &wrong, "")), "400 PARAM_ERROR");

    let payment = simulator.pay(NUMBER).unwrap();
    let by_payment = format!("/v3/pay/transactions/id/{payment}?mchid=10000100");
    for target in [about(NUMBER), by_payment] {
        let (status, reply) = v3_ask(&simulator, "GET", &target, "");
        assert_eq!((status, &reply["trade_state"]), (200, &json!("SUCCESS")));
        assert_eq!((&reply["amount"]["total"], &reply["attach"]), (&json!(990), &json!("a-b")));
        assert_eq!(reply["success_time"], "2026-02-02T10:40:00+08:00");
    }
    assert_eq!(code(&close(&simulator, NUMBER)), "400 ORDERPAID");
    let order = v3_order(&simulator, "native").to_string();
    let again = v3_ask(&simulator, "POST", "/v3/pay/transactions/native", &order);
    assert_eq!(code(&again), "400 ORDERPAID");

    let other = order.replace(NUMBER, "a*b|c-1");
    assert_eq!(v3_ask(&simulator, "POST", "/v3/pay/transactions/native", &other).0, 200);
    assert_eq!(close(&simulator, "a%2Ab%7Cc-1"), (204, Value::Null));
    assert_eq!(code(&close(&simulator, "a*b%7Cc-1")), "400 ORDER_CLOSED");
    assert!(matches!(simulator.pay("a*b|c-1"), Err(SimulatorError::NotPayable(..))));
    clock.advance_ms(1_000_000);
    simulator.set_scenario("a*b|c-1", Scenario::LatePayment);
    simulator.pay("a*b|c-1").unwrap();
    assert_eq!(simulator.trade("a*b|c-1").unwrap().state, TradeState::Success);
}

#[test]
fn faults_of_the_order_are_the_same_as_in_v2() {
    let (simulator, _) = v3_simulator();
    simulator.set_default_scenario(Scenario::SystemError);
    let order = v3_order(&simulator, "jsapi").to_string();
    for _ in 0..2 {
        assert_eq!(code(&v3_ask(&simulator, "POST", JSAPI, &order)), "500 SYSTEM_ERROR");
    }
    v3_prepay(&simulator, "jsapi");
    simulator.set_scenario(NUMBER, Scenario::Coupon);
    simulator.pay(NUMBER).unwrap();
    let (_, reply) = v3_ask(&simulator, "GET", &about(NUMBER), "");
    assert_eq!((&reply["amount"]["total"], &reply["amount"]["payer_total"]), (&json!(990), &json!(891)));
}

#[test]
fn v2_and_v3_see_the_same_trade_in_their_own_words() {
    let (simulator, _) = v3_simulator();
    v3_prepay(&simulator, "native");
    simulator.pay(NUMBER).unwrap();
    let mut asked = super::super::testing::about(NUMBER);
    let signature = crate::gateway::wechat_v2::sign::sign(
        &asked,
        &simulator.account().key,
        crate::gateway::wechat_v2::sign::SignType::HmacSha256,
    );
    asked.set("sign", &signature);
    let body = asked.to_xml();
    let call =
        Asked { method: "POST", target: "/pay/orderquery", headers: Headers(""), body: body.as_bytes() };
    let answer = simulator.answer(&call).unwrap().unwrap();
    assert!(String::from_utf8(answer.body).unwrap().contains("<total_fee>990</total_fee>"));
}

#[test]
fn a_reply_is_signed_by_the_key_the_merchant_names() {
    let (simulator, _) = v3_simulator();
    v3_prepay(&simulator, "jsapi");
    let signer = |named: Option<&str>| {
        let mut headers = authorized("GET", &about(NUMBER), "", NOW.secs());
        if let Some(serial) = named {
            headers.push_str(&format!("wechatpay-serial: {serial}\n"));
        }
        let asked = Asked { method: "GET", target: &about(NUMBER), headers: Headers(&headers), body: b"" };
        let answer = simulator.answer(&asked).unwrap().unwrap();
        let by = v3_verify(Headers(&answer.headers), std::str::from_utf8(&answer.body).unwrap());
        (answer.status, by.unwrap())
    };
    let [old, new] = simulator.0.options.v3.as_ref().unwrap().serials();
    assert_eq!(signer(None), (200, "certificate"));
    assert_eq!(signer(Some(&rsa().public_key_id())), (200, "public key"));
    assert_eq!(signer(Some(&new)).0, 400);
    simulator.rotate_certificate();
    assert_eq!(signer(None), (200, "next certificate"));
    assert_eq!(signer(Some(&new)), (200, "next certificate"));
    assert_eq!(signer(Some(&old)), (200, "certificate"));
    assert_eq!(signer(Some("PUB_KEY_ID_0")).0, 400);
}

#[test]
fn platform_certificates_open_with_our_key_and_the_old_one_vouches_for_the_new() {
    let (simulator, _) = v3_simulator();
    let keys = simulator.0.options.v3.as_ref().unwrap();
    let list = || {
        let (status, reply) = v3_ask(&simulator, "GET", "/v3/certificates", "");
        assert_eq!(status, 200);
        reply["data"].as_array().unwrap().clone()
    };
    assert_eq!(list().len(), 1);
    assert_eq!(unsealed(&list()[0]["encrypt_certificate"]), simulator.platform_certificate().unwrap());
    simulator.rotate_certificate();
    let serials: Vec<Value> = list().iter().map(|one| one["serial_no"].clone()).collect();
    assert_eq!(serials, keys.serials().map(Value::from));
    let pem = unsealed(&list()[1]["encrypt_certificate"]);
    assert_eq!(pem, simulator.platform_certificate().unwrap());
    let der = crate::gateway::rsa::certificate_der(&pem).unwrap();
    // The serial is in it as it is named outside, and so is the public key.
    let bytes: Vec<u8> = (0..20)
        .map(|at| u8::from_str_radix(keys.serials()[1].get(at * 2..at * 2 + 2).unwrap(), 16).unwrap())
        .collect();
    assert!(der.windows(20).any(|window| window == bytes));
    let public = PrivateKey::parse(&rsa().next_platform).unwrap().public_base64().unwrap();
    let public = STANDARD.decode(public).unwrap();
    assert!(der.windows(public.len()).any(|window| window == public));

    let headers = authorized("GET", "/v3/certificates", "", NOW.secs());
    let asked = Asked { method: "GET", target: "/v3/certificates", headers: Headers(&headers), body: b"" };
    let answer = simulator.answer(&asked).unwrap().unwrap();
    let by = v3_verify(Headers(&answer.headers), std::str::from_utf8(&answer.body).unwrap());
    assert_eq!(by, Some("certificate"));
    simulator.sign_callbacks_with(Some(Signer::PublicKey));
    assert_eq!(code(&v3_ask(&simulator, "GET", "/v3/certificates", "")), "404 RESOURCE_NOT_EXISTS");
}

#[test]
fn a_refund_is_taken_on_once_runs_and_ends_as_its_scenario_says() {
    for (scenario, first, end) in [
        (Scenario::Ok, "200 none", "SUCCESS"),
        (Scenario::RefundAbnormal, "200 none", "ABNORMAL"),
        (Scenario::RefundClosed, "200 none", "CLOSED"),
        (Scenario::RefundNotEnough, "403 NOT_ENOUGH", "none"),
        (Scenario::RefundLostReply, "500 SYSTEM_ERROR", "SUCCESS"),
    ] {
        let (simulator, clock) = v3_simulator();
        v3_prepay(&simulator, "jsapi");
        simulator.pay(NUMBER).unwrap();
        simulator.set_scenario(NUMBER, scenario);
        assert_eq!(code(&refund(&simulator, "r@1", 400)), first, "{}", scenario.name());
        let target = format!("{REFUNDS}/r%401");
        if end == "none" {
            assert_eq!(code(&v3_ask(&simulator, "GET", &target, "")), "404 RESOURCE_NOT_EXISTS");
            continue;
        }
        let status = || v3_ask(&simulator, "GET", &target, "").1["status"].clone();
        assert_eq!(status(), "PROCESSING", "{}", scenario.name());
        clock.advance_ms(20_000);
        assert_eq!(status(), end, "{}", scenario.name());
        let (_, reply) = refund(&simulator, "r@1", 400);
        assert_eq!((&reply["status"], &reply["amount"]["refund"]), (&json!(end), &json!(400)));
        assert_eq!(simulator.refunds().len(), 1);
        assert_eq!(code(&refund(&simulator, "r@1", 401)), "400 INVALID_REQUEST");
    }
}

#[test]
fn refunds_that_break_a_rule_are_refused() {
    let (simulator, clock) = v3_simulator();
    v3_prepay(&simulator, "jsapi");
    simulator.pay(NUMBER).unwrap();
    assert_eq!(code(&refund(&simulator, "r1", 991)), "400 INVALID_REQUEST");
    assert_eq!(refund(&simulator, "r1", 600).0, 200);
    assert_eq!(code(&refund(&simulator, "r2", 1)), "429 FREQUENCY_LIMITED");
    clock.advance_ms(60_000);
    assert_eq!(code(&refund(&simulator, "r2", 391)), "400 INVALID_REQUEST");
    let unknown = json!({
        "out_trade_no": "never-placed", "out_refund_no": "r3",
        "amount": { "refund": 1, "total": 1, "currency": "CNY" },
    });
    assert_eq!(code(&v3_ask(&simulator, "POST", REFUNDS, &unknown.to_string())), "404 RESOURCE_NOT_EXISTS");
    let mut text = unknown;
    text["amount"]["refund"] = json!("1");
    assert_eq!(code(&v3_ask(&simulator, "POST", REFUNDS, &text.to_string())), "400 PARAM_ERROR");
}

#[actix_web::test]
async fn over_http_the_reply_is_signed_and_unknown_paths_are_not() {
    let (simulator, _) = v3_simulator();
    let app =
        actix_web::test::init_service(actix_web::App::new().configure(super::super::routes(&simulator)))
            .await;
    let order = v3_order(&simulator, "h5").to_string();
    for (target, agent, status) in [
        ("/v3/pay/transactions/h5", "shouyin/1", 200),
        ("/v3/pay/transactions/h5", "", 403),
        ("/v3/pay/transactions/face", "shouyin/1", 404),
    ] {
        let mut request = actix_web::test::TestRequest::post()
            .uri(target)
            .insert_header(("content-type", "application/json"))
            .insert_header(("user-agent", agent))
            .set_payload(order.clone());
        for (name, value) in
            authorized("POST", target, &order, NOW.secs()).lines().filter_map(|line| line.split_once(": "))
        {
            request = request.insert_header((name, value));
        }
        let answer = actix_web::test::call_service(&app, request.to_request()).await;
        assert_eq!(answer.status(), status, "{target} {agent}");
        let lines: String = answer
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
            .collect();
        let body = actix_web::test::read_body(answer).await;
        let signed = v3_verify(Headers(&lines), std::str::from_utf8(&body).unwrap());
        assert_eq!(signed.is_some(), status != 404);
        if status == 200 {
            let reply: Value = serde_json::from_slice(&body).unwrap();
            let url = reply["h5_url"].as_str().unwrap();
            assert!(url.contains("/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx"), "{url}");
        }
    }
}
