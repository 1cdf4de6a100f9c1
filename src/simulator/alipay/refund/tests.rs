//! Refunds as a merchant meets them at Alipay.

use crate::{
    gateway::wechat_v2::xml::Fields,
    simulator::{
        Scenario,
        alipay::tests::{about, call, due, notice, paid, precreate, refund_of},
        testing::*,
    },
};
use serde_json::json;

#[test]
fn a_refund_moves_money_once_and_says_so_once() {
    let (simulator, clock) = alipay_simulator();
    let refund = |biz| call(&simulator, &clock, "alipay.trade.refund", biz);
    assert_eq!(refund(refund_of("r-1", "4.00")).get("sub_code"), "ACQ.TRADE_NOT_EXIST");
    precreate(&simulator, &clock);
    simulator.scan(NUMBER).unwrap();
    assert_eq!(refund(refund_of("r-1", "4.00")).get("sub_code"), "ACQ.TRADE_STATUS_ERROR");
    simulator.pay(NUMBER).unwrap();
    due(&simulator, &clock);

    for fund_change in ["Y", "N"] {
        let told = refund(refund_of("r-1", "4.00"));
        assert_eq!((told.get("fund_change"), told.get("refund_fee")), (fund_change, "4.00"));
    }
    assert_eq!(refund(refund_of("r-1", "4.01")).get("sub_code"), "ACQ.DISCORDANT_REPEAT_REQUEST");
    assert_eq!(refund(refund_of("r-2", "5.91")).get("sub_code"), "ACQ.REASON_TRADE_REFUND_FEE_ERR");
    let numberless = json!({ "out_trade_no": NUMBER, "refund_amount": "1.00" });
    assert_eq!(refund(numberless).get("sub_code"), "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(told.get("trade_status"), "TRADE_SUCCESS");

    let told = refund(refund_of("r-2", "5.90"));
    assert_eq!((told.get("fund_change"), told.get("refund_fee")), ("Y", "9.90"), "cumulative");
    let told = call(&simulator, &clock, "alipay.trade.query", about());
    assert_eq!(
        (told.get("trade_status"), told.get("send_pay_date")),
        ("TRADE_CLOSED", NOW.beijing_text().as_str())
    );
    assert_eq!(simulator.refunded_total_fen(), 990);

    let heard: Vec<Fields> = due(&simulator, &clock).iter().map(|body| notice(body)).collect();
    let told: Vec<_> = heard
        .iter()
        .map(|fields| ["trade_status", "refund_fee", "out_biz_no"].map(|name| fields.get(name).unwrap()))
        .collect();
    assert_eq!(told, [["TRADE_SUCCESS", "4.00", "r-1"], ["TRADE_CLOSED", "9.90", "r-2"]]);
    assert_eq!(heard[0].get("gmt_refund"), Some(format!("{}.000", clock.now().beijing_text()).as_str()));
    assert_eq!(heard[0].get("total_amount"), Some("9.90"));
    assert_ne!(heard[0].get("notify_id"), heard[1].get("notify_id"));
    assert_eq!(simulator.calls().last().unwrap(), &format!("alipay.trade.query {NUMBER}"));
    assert!(simulator.calls().contains(&"alipay.trade.refund r-2".to_owned()));
}

#[test]
fn a_refund_query_says_success_only_when_money_has_moved() {
    let (simulator, clock) = alipay_simulator();
    let about = |number: &str| json!({ "out_trade_no": NUMBER, "out_request_no": number });
    let query = |number: &str| call(&simulator, &clock, "alipay.trade.fastpay.refund.query", about(number));
    assert_eq!(query("r-1").get("sub_code"), "ACQ.TRADE_NOT_EXIST");
    paid(&simulator, &clock);
    let told = query("r-1");
    assert_eq!((told.get("code"), told.get("out_request_no"), told.get("refund_status")), ("10000", "", ""));
    simulator.set_scenario(NUMBER, Scenario::RefundProcessing);
    let told = call(&simulator, &clock, "alipay.trade.refund", refund_of("r-1", "4.00"));
    assert_eq!((told.get("fund_change"), told.get("refund_fee")), ("N", "4.00"));
    let told = query("r-1");
    assert_eq!(
        (told.get("out_request_no"), told.get("refund_status"), told.get("refund_amount")),
        ("r-1", "", "")
    );
    clock.advance_ms(3 * 24 * 3_600_000);
    let told = query("r-1");
    assert_eq!((told.get("refund_status"), told.get("refund_amount")), ("REFUND_SUCCESS", "4.00"));
    assert_eq!(told.get("total_amount"), "9.90");
}

#[test]
fn refunds_meet_the_mischief_of_their_trade() {
    let (simulator, clock) = alipay_simulator();
    paid(&simulator, &clock);
    due(&simulator, &clock);
    let refund = |number, amount| call(&simulator, &clock, "alipay.trade.refund", refund_of(number, amount));
    simulator.set_scenario(NUMBER, Scenario::RefundNotEnough);
    for _ in 0..2 {
        assert_eq!(refund("r-1", "1.00").get("sub_code"), "ACQ.SELLER_BALANCE_NOT_ENOUGH");
    }
    assert_eq!(refund("r-1", "1.00").get("fund_change"), "Y");
    simulator.set_scenario(NUMBER, Scenario::RefundLostReply);
    assert_eq!(refund("r-2", "1.00").get("sub_code"), "ACQ.SYSTEM_ERROR");
    assert_eq!(refund("r-2", "1.00").get("fund_change"), "N", "it was done all the same");
    assert_eq!(due(&simulator, &clock).len(), 2);
    simulator.set_scenario(NUMBER, Scenario::RefundNotifyLost);
    assert_eq!(refund("r-3", "1.00").get("fund_change"), "Y");
    assert_eq!(due(&simulator, &clock), Vec::<String>::new());
}
