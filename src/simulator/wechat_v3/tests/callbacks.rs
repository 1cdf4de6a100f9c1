//! Callbacks of V3 as the merchant hears them.

use super::*;

#[actix_web::test]
async fn callbacks_are_signed_by_the_key_their_scenario_or_order_names() {
    for (scenario, named, by) in [
        (Scenario::Ok, false, "certificate"),
        (Scenario::Ok, true, "public key"),
        (Scenario::PublicKeyMode, false, "public key"),
        (Scenario::CertRotated, false, "next certificate"),
        (Scenario::CertRotated, true, "next certificate"),
    ] {
        let (simulator, _) = v3_simulator();
        let order = v3_order(&simulator, "native").to_string();
        let target = "/v3/pay/transactions/native";
        let mut headers = authorized("POST", target, &order, NOW.secs());
        if named {
            headers.push_str(&format!("wechatpay-serial: {}\n", rsa().public_key_id()));
        }
        assert_eq!(v3_ask_with(&simulator, "POST", target, &headers, &order).0, 200);
        simulator.set_scenario(NUMBER, scenario);
        simulator.pay(NUMBER).unwrap();
        simulator.deliver_due().await;
        let sent = simulator.trade(NUMBER).unwrap().callbacks.remove(0);
        let notify = SignedNotify { headers: sent.headers, body: sent.body };
        assert_eq!(v3_verify(Headers(&notify.lines()), &notify.body), Some(by), "{}", scenario.name());
        assert_eq!(sent.content_type, "application/json");
        let inside = inside(&notify);
        assert_eq!((&inside["trade_state"], &inside["amount"]["total"]), (&json!("SUCCESS"), &json!(990)));
        simulator.sign_callbacks_with(Some(Signer::PublicKey));
        let notify = simulator.v3_notify(NUMBER, &[]).unwrap().unwrap();
        let forced = matches!(scenario, Scenario::CertRotated);
        let by = if forced { "next certificate" } else { "public key" };
        assert_eq!(v3_verify(Headers(&notify.lines()), &notify.body), Some(by));
    }
}

#[actix_web::test]
async fn a_first_try_that_is_wrong_on_purpose_is_followed_by_a_right_one() {
    for (scenario, signed, content) in [
        (Scenario::SignTestProbe, false, Content::SignTest),
        (Scenario::ClockSkew, true, Content::SkewedClock),
        (Scenario::WrongSign, false, Content::WrongSign),
        (Scenario::Md5Sign, false, Content::OtherAlgorithm),
    ] {
        let (simulator, clock) = v3_simulator();
        v3_prepay(&simulator, "native");
        simulator.set_scenario(NUMBER, scenario);
        simulator.pay(NUMBER).unwrap();
        simulator.deliver_due().await;
        clock.advance_ms(15_000);
        simulator.deliver_due().await;
        let sent = simulator.trade(NUMBER).unwrap().callbacks;
        let tries: Vec<SignedNotify> =
            sent.into_iter().map(|sent| SignedNotify { headers: sent.headers, body: sent.body }).collect();
        let verify = |notify: &SignedNotify| v3_verify(Headers(&notify.lines()), &notify.body).is_some();
        let secs = |notify: &SignedNotify| -> i64 {
            Headers(&notify.lines()).only("wechatpay-timestamp").unwrap().parse().unwrap()
        };
        assert_eq!(tries.len(), 2);
        assert_eq!(tries[0].body, tries[1].body, "the same message");
        assert_eq!(verify(&tries[0]), signed, "{}", scenario.name());
        let skew = if scenario == Scenario::ClockSkew { 600 } else { 0 };
        assert_eq!(secs(&tries[0]), NOW.secs() - skew);
        assert_eq!(secs(&tries[1]), NOW.secs() + 15, "signed anew");
        let right_at_last = content.of_retry() == Content::True;
        assert_eq!(verify(&tries[1]), right_at_last, "{}", scenario.name());
        let probe = tries[0].lines().contains("WECHATPAY/SIGNTEST/");
        assert_eq!(probe, scenario == Scenario::SignTestProbe);
    }
}

#[actix_web::test]
async fn a_wrong_amount_is_sealed_and_signed_all_the_same() {
    let (simulator, _) = v3_simulator();
    v3_prepay(&simulator, "native");
    simulator.set_scenario(NUMBER, Scenario::WrongAmount);
    simulator.pay(NUMBER).unwrap();
    simulator.deliver_due().await;
    let sent = simulator.trade(NUMBER).unwrap().callbacks.remove(0);
    let notify = SignedNotify { headers: sent.headers, body: sent.body };
    assert!(v3_verify(Headers(&notify.lines()), &notify.body).is_some());
    assert_eq!(inside(&notify)["amount"]["total"], 989);
}

#[actix_web::test]
async fn a_refunds_end_is_told_in_v3s_words() {
    for (scenario, event, status) in [
        (Scenario::Ok, "REFUND.SUCCESS", "SUCCESS"),
        (Scenario::RefundAbnormal, "REFUND.ABNORMAL", "ABNORMAL"),
        (Scenario::RefundClosed, "REFUND.CLOSED", "CLOSED"),
    ] {
        let (simulator, clock) = v3_simulator();
        v3_prepay(&simulator, "native");
        simulator.pay(NUMBER).unwrap();
        simulator.set_scenario(NUMBER, scenario);
        refund(&simulator, "r1", 400);
        clock.advance_ms(20_000);
        simulator.deliver_due().await;
        let sent = simulator.refunds()[0].callbacks[0].clone();
        let notify = SignedNotify { headers: sent.headers, body: sent.body };
        assert!(v3_verify(Headers(&notify.lines()), &notify.body).is_some());
        assert!(notify.body.contains(event));
        let inside = inside(&notify);
        assert_eq!((&inside["refund_status"], &inside["amount"]["refund"]), (&json!(status), &json!(400)));
        assert_eq!(inside["amount"]["total"], 990);
        let made = simulator.v3_refund_notify("r1", &[("amount.refund", json!(1))]).unwrap().unwrap();
        assert_eq!(super::tests::inside(&made)["amount"]["refund"], 1);
    }
}

#[test]
fn tests_can_have_any_callback_sealed_and_signed() {
    let (simulator, _) = v3_simulator();
    let unknown = simulator.v3_notify("never-placed", &[]).unwrap().unwrap();
    assert_eq!(inside(&unknown)["amount"]["total"], 1);
    v3_prepay(&simulator, "native");
    let overrides = [("amount.total", json!("990")), ("payer", Value::Null), ("appid", json!("wx1"))];
    let notify = simulator.v3_notify(NUMBER, &overrides).unwrap().unwrap();
    assert!(v3_verify(Headers(&notify.lines()), &notify.body).is_some());
    let inside = inside(&notify);
    assert_eq!((&inside["amount"]["total"], inside.get("payer")), (&json!("990"), None));
    let any = simulator.v3_sign("not json", NUMBER).unwrap().unwrap();
    assert!(v3_verify(Headers(&any.lines()), "not json").is_some());
    let (without, _) = super::super::super::testing::simulator();
    assert_eq!(without.v3_notify(NUMBER, &[]).unwrap(), None);
    let asked = Asked { method: "GET", target: "/v3/certificates", headers: Headers(""), body: b"" };
    assert!(without.answer(&asked).unwrap().is_none());
}
