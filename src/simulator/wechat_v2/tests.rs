//! The API as a merchant meets it: shape, signature, identity, field rules, the book.

use super::{super::testing::*, *};
use crate::simulator::{Scenario, rules::Need};

fn code(reply: &Fields) -> &str {
    reply.get("err_code").unwrap_or("none")
}

#[actix_web::test]
async fn a_call_with_a_bad_sign_is_refused_without_a_signature() {
    let (simulator, _) = simulator();
    let genuine = {
        let mut fields = order(&simulator);
        let signature = sign::sign(&fields, &simulator.account().key, SignType::HmacSha256);
        fields.set("sign", &signature);
        fields
    };
    let mut changed = genuine.clone();
    changed.set("total_fee", "1");
    let mut lower = genuine.clone();
    lower.set("sign", &genuine.get("sign").unwrap().to_lowercase());
    let mut missing = genuine.clone();
    missing.remove("sign");
    let mut undeclared = order(&simulator);
    undeclared.remove("sign_type");
    let signature = sign::sign(&undeclared, &simulator.account().key, SignType::HmacSha256);
    undeclared.set("sign", &signature);
    for fields in [changed, lower, missing, undeclared] {
        let reply = post(&simulator, "/pay/unifiedorder", fields.to_xml().into_bytes()).await;
        assert_eq!(reply.get("return_code"), Some("FAIL"));
        assert_eq!(reply.get("return_msg"), Some("签名错误"));
        assert_eq!(reply.get("sign"), None);
    }
    assert_eq!(simulator.trade(NUMBER), None);
}

#[actix_web::test]
async fn a_call_that_is_no_v2_document_is_refused() {
    let (simulator, _) = simulator();
    for (body, reason) in [
        ("", "post数据为空"),
        ("{}", "XML格式错误"),
        ("<xml><a>1</a><a>2</a></xml>", "XML格式错误"),
        ("<!DOCTYPE a []><xml></xml>", "XML格式错误"),
    ] {
        for path in ["/pay/unifiedorder", "/pay/orderquery", "/pay/closeorder"] {
            let reply = post(&simulator, path, body.as_bytes().to_vec()).await;
            assert_eq!(reply.get("return_msg"), Some(reason), "{path} {body}");
        }
    }
}

#[actix_web::test]
async fn each_required_field_is_missed() {
    let (simulator, _) = simulator();
    let required = rules::COMMON.iter().chain(rules::UNIFIED_ORDER).filter(|rule| rule.need != Need::Never);
    for rule in required {
        let mut fields = order(&simulator);
        if let Need::For(trade_type) = rule.need {
            fields.set("trade_type", trade_type);
        }
        fields.remove(rule.name);
        let reply = call(&simulator, "/pay/unifiedorder", fields).await;
        assert_eq!(code(&reply), "LACK_PARAMS", "{}", rule.name);
        assert!(reply.get("err_code_des").unwrap().contains(rule.name), "{}", rule.name);
    }
    assert_eq!(simulator.trade(NUMBER), None);
}

#[actix_web::test]
async fn a_wrong_value_is_named() {
    let (simulator, _) = simulator();
    for (name, value, expected) in [
        ("total_fee", "9.90", "PARAM_ERROR"),
        ("notify_url", "https://shop.test/notify?a=b", "PARAM_ERROR"),
        ("openid", "oUpF8uMEb4qRXf22hE3X68TekukE", "PARAM_ERROR"),
        ("time_expire", "20200101000000", "PARAM_ERROR"),
        ("appid", "wx0000000000000000", "APPID_NOT_EXIST"),
        ("mch_id", "1", "MCHID_NOT_EXIST"),
    ] {
        let mut fields = order(&simulator);
        fields.set(name, value);
        let reply = call(&simulator, "/pay/unifiedorder", fields).await;
        assert_eq!(code(&reply), expected, "{name}");
        if expected == "PARAM_ERROR" {
            assert!(reply.get("err_code_des").unwrap().contains(name), "{name}");
        }
    }
}

#[actix_web::test]
async fn the_same_order_gets_the_same_prepay_id_and_other_parameters_are_refused() {
    let (simulator, _) = simulator();
    let first = prepay(&simulator).await;
    assert!(first.starts_with("wx") && first.len() == 36, "{first}");
    let mut again = order(&simulator);
    again.set("nonce_str", "another");
    let reply = call(&simulator, "/pay/unifiedorder", again).await;
    assert_eq!(reply.get("prepay_id"), Some(first.as_str()));
    for (name, value) in [("total_fee", "991"), ("body", "other"), ("spbill_create_ip", "::1")] {
        let mut fields = order(&simulator);
        fields.set(name, value);
        let reply = call(&simulator, "/pay/unifiedorder", fields).await;
        assert_eq!(code(&reply), "OUT_TRADE_NO_USED", "{name}");
    }
    assert_eq!(simulator.calls().len(), 5);
    assert_eq!(simulator.calls()[0], format!("unifiedorder {NUMBER}"));
}

#[actix_web::test]
async fn a_trade_goes_from_notpay_to_success_and_cannot_be_ordered_or_closed_again() {
    let (simulator, _) = simulator();
    let reply = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!(code(&reply), "ORDERNOTEXIST");
    prepay(&simulator).await;
    let reply = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!(reply.get("trade_state"), Some("NOTPAY"));
    assert_eq!((reply.get("total_fee"), reply.get("attach")), (None, Some("a-b")));

    let transaction_id = simulator.pay(NUMBER).unwrap();
    assert!(transaction_id.starts_with("4200") && transaction_id.len() == 28, "{transaction_id}");
    assert!(simulator.pay(NUMBER).is_err());
    assert_eq!(simulator.paid_total_fen(), 990);
    let mut by_id = about(NUMBER);
    by_id.remove("out_trade_no");
    let reply = call(&simulator, "/pay/orderquery", by_id.clone()).await;
    assert_eq!(code(&reply), "LACK_PARAMS");
    by_id.set("transaction_id", &transaction_id);
    let reply = call(&simulator, "/pay/orderquery", by_id).await;
    assert_eq!(reply.get("trade_state"), Some("SUCCESS"));
    assert_eq!((reply.get("total_fee"), reply.get("out_trade_no")), (Some("990"), Some(NUMBER)));

    let reply = call(&simulator, "/pay/unifiedorder", order(&simulator)).await;
    assert_eq!(code(&reply), "ORDERPAID");
    let reply = call(&simulator, "/pay/closeorder", about(NUMBER)).await;
    assert_eq!(code(&reply), "ORDERPAID");
    simulator.refund(NUMBER).unwrap();
    let reply = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!(reply.get("trade_state"), Some("REFUND"));
}

#[actix_web::test]
async fn a_closed_trade_stays_closed_unless_the_payer_is_late() {
    let (simulator, clock) = simulator();
    let reply = call(&simulator, "/pay/closeorder", about(NUMBER)).await;
    assert_eq!(code(&reply), "ORDERNOTEXIST");
    prepay(&simulator).await;
    let reply = call(&simulator, "/pay/closeorder", about(NUMBER)).await;
    assert_eq!(reply.get("result_code"), Some("SUCCESS"));
    let reply = call(&simulator, "/pay/closeorder", about(NUMBER)).await;
    assert_eq!(code(&reply), "ORDERCLOSED");
    let reply = call(&simulator, "/pay/unifiedorder", order(&simulator)).await;
    assert_eq!(code(&reply), "ORDERCLOSED");
    assert!(simulator.pay(NUMBER).is_err());
    clock.advance_ms(3_600_000);
    simulator.set_scenario(NUMBER, Scenario::LatePayment);
    simulator.pay(NUMBER).unwrap();
    let reply = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!(reply.get("trade_state"), Some("SUCCESS"));
}

#[actix_web::test]
async fn an_unpaid_trade_is_closed_after_time_expire() {
    let (simulator, clock) = simulator();
    prepay(&simulator).await;
    clock.advance_ms(900_000);
    let reply = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!(reply.get("trade_state"), Some("CLOSED"));
    assert!(simulator.pay(NUMBER).is_err());
}

#[actix_web::test]
async fn systemerror_comes_twice_for_a_number_and_then_the_order_is_placed() {
    let (simulator, _) = simulator();
    simulator.set_default_scenario(Scenario::SystemError);
    for _ in 0..2 {
        let reply = call(&simulator, "/pay/unifiedorder", order(&simulator)).await;
        assert_eq!(code(&reply), "SYSTEMERROR");
    }
    prepay(&simulator).await;
}

#[actix_web::test]
async fn the_reply_uses_the_algorithm_of_the_request_and_none_means_md5() {
    let (simulator, _) = simulator();
    let mut fields = order(&simulator);
    fields.remove("sign_type");
    let reply = call(&simulator, "/pay/unifiedorder", fields).await;
    assert_eq!(reply.get("sign").map(str::len), Some(32));
}

#[actix_web::test]
async fn timeout_after_accept_takes_the_order_and_answers_only_the_repeat() {
    let (simulator, _) = simulator();
    simulator.set_default_scenario(Scenario::TimeoutAfterAccept);
    let patience = Duration::from_millis(100);
    assert!(tokio::time::timeout(patience, prepay(&simulator)).await.is_err());
    let accepted = simulator.trade(NUMBER).unwrap();
    assert_eq!(prepay(&simulator).await, accepted.prepay_id);
}

#[actix_web::test]
async fn each_way_to_pay_brings_what_its_payer_is_shown() {
    for (trade_type, appid, name, begins) in [
        ("JSAPI", WEB, "prepay_id", "wx"),
        ("JSAPI", MINI, "prepay_id", "wx"),
        ("APP", APP, "prepay_id", "wx"),
        ("NATIVE", WEB, "code_url", "weixin://wxpay/bizpayurl?pr="),
        ("MWEB", WEB, "mweb_url", "http://"),
    ] {
        let (simulator, _) = simulator();
        let reply = call(&simulator, "/pay/unifiedorder", order_as(&simulator, trade_type, appid)).await;
        let shown = reply.get(name).unwrap_or_else(|| panic!("{trade_type} {reply:?}")).to_owned();
        assert!(shown.starts_with(begins), "{shown}");
        assert_eq!(simulator.number_of(&shown).as_deref(), Some(NUMBER));
        let again = call(&simulator, "/pay/unifiedorder", order_as(&simulator, trade_type, appid)).await;
        assert_eq!(again.get(name), Some(shown.as_str()));
        simulator.pay(NUMBER).unwrap();
        let mut asked = about(NUMBER);
        asked.set("appid", appid);
        let reply = call(&simulator, "/pay/orderquery", asked).await;
        assert_eq!((reply.get("trade_type"), reply.get("appid")), (Some(trade_type), Some(appid)));
        let trade = simulator.trade(NUMBER).unwrap();
        assert_eq!((trade.trade_type.as_str(), trade.appid.as_str()), (trade_type, appid));
        let notice = Fields::parse(simulator.signed_notify(NUMBER, &[]).as_bytes()).unwrap();
        assert_eq!((notice.get("trade_type"), notice.get("appid")), (Some(trade_type), Some(appid)));
    }
}

#[actix_web::test]
async fn a_way_to_pay_that_its_appid_or_openid_does_not_fit_is_refused() {
    let (simulator, _) = simulator();
    for (trade_type, appid) in [("NATIVE", MINI), ("MWEB", APP), ("APP", WEB), ("APP", MINI), ("JSAPI", APP)]
    {
        let reply = call(&simulator, "/pay/unifiedorder", order_as(&simulator, trade_type, appid)).await;
        assert_eq!(code(&reply), "PARAM_ERROR", "{trade_type} {appid}");
        assert!(reply.get("err_code_des").unwrap().contains("trade_type"), "{trade_type} {appid}");
    }
    for (trade_type, appid, openid) in [
        ("NATIVE", WEB, Some(simulator.openid_of(1))),
        ("APP", APP, Some(simulator.openid_of(1))),
        ("JSAPI", MINI, Some(simulator.openid_of(1))),
        ("JSAPI", WEB, simulator.mini_openid_of(1)),
    ] {
        let mut fields = order_as(&simulator, trade_type, appid);
        fields.set("openid", &openid.unwrap());
        let reply = call(&simulator, "/pay/unifiedorder", fields).await;
        assert!(reply.get("err_code_des").unwrap().contains("openid"), "{trade_type} {appid}");
    }
    assert_eq!(simulator.trade(NUMBER), None);
}
