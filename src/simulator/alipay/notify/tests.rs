//! Alipay's notices as they leave, mischief included.

use super::*;
use crate::simulator::{
    alipay::tests::{about, call, due, notice, paid, precreate, refund_of},
    testing::*,
};

fn statuses(bodies: &[String]) -> Vec<String> {
    bodies.iter().map(|body| notice(body).get("trade_status").unwrap().to_owned()).collect()
}

#[test]
fn a_payment_is_notified_with_everything_the_page_names() {
    let (simulator, clock) = alipay_simulator();
    let trade_no = paid(&simulator, &clock);
    let bodies = due(&simulator, &clock);
    assert_eq!(bodies.len(), 1);
    let fields = notice(&bodies[0]);
    let now = clock.now().beijing_text();
    for (name, value) in [
        ("notify_type", "trade_status_sync"),
        ("app_id", ALIPAY_APP_ID),
        ("auth_app_id", ALIPAY_APP_ID),
        ("seller_id", ALIPAY_SELLER_ID),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("sign_type", "RSA2"),
        ("trade_no", trade_no.as_str()),
        ("out_trade_no", NUMBER),
        ("trade_status", "TRADE_SUCCESS"),
        ("total_amount", "9.90"),
        ("receipt_amount", "9.90"),
        ("subject", "账户充值"),
        ("gmt_create", now.as_str()),
        ("gmt_payment", now.as_str()),
        ("notify_time", now.as_str()),
        ("fund_bill_list", r#"[{"amount":"9.90","fundChannel":"ALIPAYACCOUNT"}]"#),
    ] {
        assert_eq!(fields.get(name), Some(value), "{name}");
    }
    for name in ["refund_fee", "gmt_refund", "out_biz_no", "gmt_close"] {
        assert_eq!(fields.get(name), None, "{name}");
    }
    let again = sent_again(&simulator, &bodies[0], Content::True, clock.now().plus_secs(240));
    assert_eq!(notice(&again).get("notify_id"), fields.get("notify_id"));
    assert_ne!(notice(&again).get("notify_time"), fields.get("notify_time"));
}

#[test]
fn the_general_mischief_is_done_to_alipays_notices_too() {
    for (scenario, amount, sign_type, genuine) in [
        (Scenario::WrongAmount, "9.89", "RSA2", true),
        (Scenario::WrongSign, "9.90", "RSA2", false),
        (Scenario::Md5Sign, "9.90", "RSA", true),
        (Scenario::Coupon, "9.90", "RSA2", true),
    ] {
        let (simulator, clock) = alipay_simulator();
        simulator.set_default_scenario(scenario);
        paid(&simulator, &clock);
        let body = due(&simulator, &clock).remove(0);
        let fields = form::read(&body).unwrap();
        assert_eq!(fields.get("total_amount"), Some(amount), "{}", scenario.name());
        assert_eq!(fields.get("sign_type"), Some(sign_type), "{}", scenario.name());
        let true_sign = form::notice_sign(&fields, &alipay_keys().platform);
        assert_eq!(fields.get("sign") == Some(true_sign.as_str()), genuine, "{}", scenario.name());
        let again = sent_again(&simulator, &body, Content::WrongSign, clock.now());
        assert_eq!(again, body, "a forged notice stays forged");
        if scenario == Scenario::Coupon {
            assert_eq!(fields.get("receipt_amount"), Some("8.91"));
            assert!(fields.get("voucher_detail_list").is_some());
        }
    }
    for scenario in [Scenario::NotifyLost, Scenario::NotifyTwice, Scenario::NotifyX20Parallel] {
        let (simulator, clock) = alipay_simulator();
        simulator.set_default_scenario(scenario);
        paid(&simulator, &clock);
        assert_eq!(due(&simulator, &clock).len(), scenario.callbacks().len(), "{}", scenario.name());
    }
}

#[test]
fn a_trade_that_finishes_says_so_later_and_is_refunded_no_more() {
    let (simulator, clock) = alipay_simulator();
    simulator.set_default_scenario(Scenario::TradeFinished);
    paid(&simulator, &clock);
    assert_eq!(statuses(&due(&simulator, &clock)), ["TRADE_SUCCESS"]);
    clock.advance_ms(30_000);
    assert_eq!(statuses(&due(&simulator, &clock)), ["TRADE_FINISHED"]);
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(told.get("trade_status"), "TRADE_FINISHED");
    let told = call(&simulator, &clock, "alipay.trade.refund", refund_of("r-1", "9.90"));
    assert_eq!(told.get("sub_code"), "ACQ.TRADE_HAS_FINISHED");
}

#[test]
fn who_ordered_every_status_hears_of_the_scan_the_close_and_late_of_the_scan_again() {
    let (simulator, clock) = alipay_simulator();
    simulator.set_default_scenario(Scenario::WaitBuyerPay);
    precreate(&simulator, &clock);
    simulator.scan(NUMBER).unwrap();
    simulator.scan(NUMBER).unwrap();
    assert_eq!(statuses(&due(&simulator, &clock)), ["WAIT_BUYER_PAY"]);
    simulator.pay(NUMBER).unwrap();
    assert_eq!(statuses(&due(&simulator, &clock)), ["TRADE_SUCCESS"]);
    clock.advance_ms(30_000);
    let late = due(&simulator, &clock);
    assert_eq!(statuses(&late), ["WAIT_BUYER_PAY"]);
    assert_eq!(notice(&late[0]).get("gmt_payment"), None);

    let (simulator, clock) = alipay_simulator();
    simulator.set_default_scenario(Scenario::WaitBuyerPay);
    precreate(&simulator, &clock);
    simulator.scan(NUMBER).unwrap();
    call(&simulator, &clock, "alipay.trade.close", about());
    let heard = due(&simulator, &clock);
    assert_eq!(statuses(&heard), ["WAIT_BUYER_PAY", "TRADE_CLOSED"]);
    assert_eq!(notice(&heard[1]).get("gmt_close"), Some(clock.now().beijing_text().as_str()));
    let ids: Vec<_> = heard.iter().map(|body| notice(body).get("notify_id").unwrap().to_owned()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn tests_can_have_any_notice_signed() {
    let (simulator, clock) = alipay_simulator();
    let trade_no = paid(&simulator, &clock);
    let get = |overrides: &[(&str, &str)], name: &str| {
        notice(&simulator.alipay_notify(NUMBER, overrides)).get(name).map(str::to_owned)
    };
    assert_eq!(get(&[], "trade_no"), Some(trade_no));
    assert_eq!(get(&[("total_amount", "0.01")], "total_amount").as_deref(), Some("0.01"));
    assert_eq!(get(&[("notify_id", "")], "notify_id"), None);
    let unknown = notice(&simulator.alipay_notify("never-placed", &[]));
    assert_eq!(
        (unknown.get("total_amount"), unknown.get("out_trade_no")),
        (Some("0.01"), Some("never-placed"))
    );
    let back = notice(&simulator.alipay_return(NUMBER).unwrap());
    assert_eq!((back.get("trade_status"), back.get("notify_id")), (None, None));
    assert_eq!(simulator.alipay_return("never-placed"), None);
    call(&simulator, &clock, "alipay.trade.refund", refund_of("r-1", "1.00"));
    let refund = notice(&simulator.alipay_refund_notify("r-1", &[("refund_fee", "9.90")]).unwrap());
    assert_eq!((refund.get("out_biz_no"), refund.get("refund_fee")), (Some("r-1"), Some("9.90")));
}
