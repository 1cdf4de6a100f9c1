//! Refunds at the simulated WeChat: what it takes on, refuses, says when asked and calls back with.

use super::{Asked, Verdict, query};
use crate::{
    domain::time::UnixMs,
    gateway::{
        Gateway, Notify, RefundNotified,
        wechat_v2::{WechatV2, sign::SignType, xml::Fields},
    },
    simulator::{RefundStatus, Scenario, Simulator, testing::*},
};

const REFUND: &str = "/secapi/pay/refund";
const QUERY: &str = "/pay/refundquery";
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 3_600_000;

async fn ask(simulator: &Simulator, number: &str, fen: i64) -> Fields {
    call(simulator, REFUND, refund_of(simulator, number, fen)).await
}

/// SUCCESS or the err_code.
async fn asked(simulator: &Simulator, number: &str, fen: i64) -> String {
    word(&ask(simulator, number, fen).await)
}

fn word(reply: &Fields) -> String {
    let word = reply.get("err_code").or(reply.get("result_code")).or(reply.get("return_msg"));
    word.unwrap_or_default().to_owned()
}

async fn found(simulator: &Simulator, name: &str, value: &str) -> Fields {
    let mut fields = about(NUMBER);
    fields.remove("out_trade_no");
    fields.set(name, value);
    call(simulator, QUERY, fields).await
}

async fn status(simulator: &Simulator, number: &str) -> String {
    let reply = found(simulator, "out_refund_no", number).await;
    reply.get("refund_status_0").map_or_else(|| word(&reply), str::to_owned)
}

#[actix_web::test]
async fn a_refund_is_taken_on_and_succeeds_a_little_later() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    let reply = ask(&simulator, "r-1", 400).await;
    let transaction_id = simulator.trade(NUMBER).unwrap().transaction_id.unwrap();
    for (name, value) in [
        ("result_code", "SUCCESS"),
        ("transaction_id", &transaction_id),
        ("out_trade_no", NUMBER),
        ("out_refund_no", "r-1"),
        ("total_fee", "990"),
        ("settlement_total_fee", "990"),
        ("cash_fee", "990"),
        ("fee_type", "CNY"),
        ("refund_fee", "400"),
        ("settlement_refund_fee", "400"),
        ("cash_refund_fee", "400"),
        ("coupon_refund_count", "0"),
    ] {
        assert_eq!(reply.get(name), Some(value), "{name}");
    }
    let refund_id = reply.get("refund_id").unwrap().to_owned();
    assert_eq!(refund_id.len(), 29);
    let trade = call(&simulator, "/pay/orderquery", about(NUMBER)).await;
    assert_eq!((trade.get("trade_state"), trade.get("total_fee")), (Some("REFUND"), Some("990")));

    assert_eq!(status(&simulator, "r-1").await, "PROCESSING");
    assert_eq!(simulator.refunded_total_fen(), 0);
    clock.advance_ms(20_000);
    let reply = found(&simulator, "out_refund_no", "r-1").await;
    let succeeded_at = NOW.plus_secs(20).beijing_text();
    for (name, value) in [
        ("refund_status_0", "SUCCESS"),
        ("refund_id_0", &refund_id),
        ("refund_fee_0", "400"),
        ("refund_channel_0", "ORIGINAL"),
        ("refund_account_0", "REFUND_SOURCE_UNSETTLED_FUNDS"),
        ("refund_recv_accout_0", "支付用户零钱"),
        ("refund_success_time_0", &succeeded_at),
        ("refund_count", "1"),
        ("total_refund_count", "1"),
        ("out_trade_no", NUMBER),
        ("total_fee", "990"),
    ] {
        assert_eq!(reply.get(name), Some(value), "{name}");
    }
    assert_eq!(simulator.refunded_total_fen(), 400);
    assert_eq!(simulator.paid_total_fen(), 990);
}

#[actix_web::test]
async fn the_same_number_is_the_same_refund_and_with_other_amounts_it_is_refused() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    let first = ask(&simulator, "r-1", 400).await;
    let again = ask(&simulator, "r-1", 400).await;
    assert_eq!(first.get("refund_id"), again.get("refund_id"));
    assert_eq!(asked(&simulator, "r-1", 401).await, "REFUND_FEE_MISMATCH");
    let mut fields = refund_of(&simulator, "r-1", 400);
    fields.set("total_fee", "991");
    assert_eq!(word(&call(&simulator, REFUND, fields).await), "REFUND_FEE_MISMATCH");
    clock.advance_ms(DAY);
    assert_eq!(asked(&simulator, "r-1", 400).await, "SUCCESS");
    assert_eq!(simulator.refunds().len(), 1);
    let subjects = simulator.calls();
    assert_eq!(subjects.last().unwrap(), "refund r-1");
}

#[actix_web::test]
async fn parts_are_a_minute_apart_and_never_more_than_the_whole() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    assert_eq!(asked(&simulator, "r-1", 400).await, "SUCCESS");
    clock.advance_ms(MINUTE - 1);
    assert_eq!(asked(&simulator, "r-2", 590).await, "FREQUENCY_LIMITED");
    clock.advance_ms(1);
    assert_eq!(asked(&simulator, "r-2", 591).await, "INVALID_REQUEST");
    assert_eq!(asked(&simulator, "r-2", 590).await, "SUCCESS");
    clock.advance_ms(MINUTE);
    assert_eq!(asked(&simulator, "r-3", 1).await, "INVALID_REQUEST");
    assert_eq!(asked(&simulator, "r-3", 991).await, "REFUND_FEE_MISMATCH");
    assert_eq!(simulator.refunded_total_fen(), 990);
}

#[actix_web::test]
async fn a_payment_has_at_most_fifty_refunds() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    for n in 0..50 {
        assert_eq!(asked(&simulator, &format!("r-{n}"), 1).await, "SUCCESS");
        clock.advance_ms(MINUTE);
    }
    assert_eq!(asked(&simulator, "r-50", 1).await, "INVALID_REQUEST");
    assert_eq!(asked(&simulator, "r-49", 1).await, "SUCCESS");
    assert_eq!(simulator.refunded_total_fen(), 50);
}

#[actix_web::test]
async fn what_was_never_paid_or_long_ago_is_not_refunded() {
    let (simulator, clock) = simulator();
    prepay(&simulator).await;
    let mut fields = about(NUMBER);
    for (name, value) in [("out_refund_no", "r-1"), ("total_fee", "990"), ("refund_fee", "1")] {
        fields.set(name, value);
    }
    assert_eq!(word(&call(&simulator, REFUND, fields.clone()).await), "ORDERNOTEXIST");
    fields.set("transaction_id", "4200000000000000000000000000");
    assert_eq!(word(&call(&simulator, REFUND, fields.clone()).await), "INVALID_TRANSACTIONID");
    fields.remove("transaction_id");
    fields.remove("out_trade_no");
    assert_eq!(word(&call(&simulator, REFUND, fields).await), "LACK_PARAMS");
    simulator.pay(NUMBER).unwrap();
    clock.advance_ms(365 * DAY);
    assert_eq!(asked(&simulator, "r-1", 1).await, "SUCCESS");
    clock.advance_ms(MINUTE);
    assert_eq!(asked(&simulator, "r-2", 1).await, "TRADE_OVERDUE");
}

#[actix_web::test]
async fn a_refund_with_a_wrong_signature_identity_or_field_is_refused() {
    let (simulator, _) = simulator();
    paid(&simulator).await;
    let mut forged = refund_of(&simulator, "r-1", 1);
    forged.set("sign", "00000000000000000000000000000000");
    assert_eq!(word(&post(&simulator, REFUND, forged.to_xml().into_bytes()).await), "签名错误");
    for (name, value, code) in [
        ("mch_id", "10000101", "MCHID_NOT_EXIST"),
        ("appid", "wx0000000000000000", "APPID_NOT_EXIST"),
        ("out_refund_no", "", "LACK_PARAMS"),
        ("refund_fee", "", "LACK_PARAMS"),
        ("refund_fee", "0", "PARAM_ERROR"),
        ("refund_fee", "1.00", "PARAM_ERROR"),
        ("refund_fee_type", "USD", "PARAM_ERROR"),
        ("notify_url", "http://a/b?c=d", "PARAM_ERROR"),
    ] {
        let mut fields = refund_of(&simulator, "r-1", 1);
        fields.set(name, value);
        assert_eq!(word(&call(&simulator, REFUND, fields).await), code, "{name} {value}");
    }
    assert_eq!(simulator.refunds(), []);
}

#[actix_web::test]
async fn a_query_by_the_most_particular_number_wins_and_an_order_gives_twenty_rows() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    assert_eq!(status(&simulator, "r-0").await, "REFUNDNOTEXIST");
    for n in 0..21 {
        ask(&simulator, &format!("r-{n}"), 10 + n).await;
        clock.advance_ms(MINUTE);
    }
    let refunds = simulator.refunds();
    let mut fields = about(NUMBER);
    fields.set("out_refund_no", "r-3");
    let reply = call(&simulator, QUERY, fields.clone()).await;
    assert_eq!((reply.get("out_refund_no_0"), reply.get("out_refund_no_1")), (Some("r-3"), None));
    fields.set("refund_id", &refunds[5].refund_id);
    let reply = call(&simulator, QUERY, fields).await;
    assert_eq!(reply.get("out_refund_no_0"), Some("r-5"));
    let mut rest = about(NUMBER);
    rest.set("offset", "18");
    let reply = call(&simulator, QUERY, rest.clone()).await;
    assert_eq!((reply.get("refund_count"), reply.get("total_refund_count")), (Some("3"), Some("21")));
    assert_eq!((reply.get("refund_fee_0"), reply.get("refund_fee_2")), (Some("28"), Some("30")));
    rest.set("offset", "21");
    assert_eq!(word(&call(&simulator, QUERY, rest).await), "REFUNDNOTEXIST");
    // Twenty rows have more fields than our own reader takes, so they are looked at before they are written.
    let asked = Asked { fields: about(NUMBER), sign_type: SignType::HmacSha256 };
    let Verdict::Done(all) = query(&simulator, &asked) else { panic!("no refunds") };
    assert_eq!((all.get("refund_count"), all.get("total_refund_count")), (Some("20"), Some("21")));
    assert_eq!((all.get("out_refund_no_19"), all.get("out_refund_no_20")), (Some("r-19"), None));
}

#[actix_web::test]
async fn each_scenario_gives_a_refund_its_own_course() {
    for (scenario, replies, courses) in [
        (Scenario::Ok, vec!["SUCCESS"], vec![(19, "PROCESSING"), (20, "SUCCESS")]),
        (
            Scenario::RefundNotEnough,
            vec!["NOTENOUGH", "NOTENOUGH", "SUCCESS", "SUCCESS"],
            vec![(20, "SUCCESS")],
        ),
        (
            Scenario::RefundProcessing,
            vec!["SUCCESS"],
            vec![(2 * 86_400, "PROCESSING"), (3 * 86_400, "SUCCESS")],
        ),
        (Scenario::RefundAbnormal, vec!["SUCCESS"], vec![(19, "PROCESSING"), (86_400, "CHANGE")]),
        (Scenario::RefundClosed, vec!["SUCCESS"], vec![(19, "PROCESSING"), (86_400, "REFUNDCLOSE")]),
        (Scenario::RefundLostReply, vec!["SYSTEMERROR", "SUCCESS"], vec![(20, "SUCCESS")]),
        (Scenario::RefundNotifyLost, vec!["SUCCESS"], vec![(20, "SUCCESS")]),
    ] {
        let (simulator, clock) = simulator();
        paid(&simulator).await;
        simulator.set_scenario(NUMBER, scenario);
        for reply in replies {
            assert_eq!(asked(&simulator, "r-1", 400).await, reply, "{}", scenario.name());
        }
        let mut last = 0;
        for (secs, expected) in courses {
            clock.advance_ms((secs - last) * 1000);
            last = secs;
            assert_eq!(status(&simulator, "r-1").await, expected, "{} after {secs}", scenario.name());
        }
    }
}

#[actix_web::test]
async fn a_closed_refund_leaves_its_amount_to_another_number() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    simulator.set_scenario(NUMBER, Scenario::RefundClosed);
    assert_eq!(asked(&simulator, "r-1", 990).await, "SUCCESS");
    clock.advance_ms(MINUTE);
    assert_eq!(status(&simulator, "r-1").await, "REFUNDCLOSE");
    simulator.set_scenario(NUMBER, Scenario::Ok);
    assert_eq!(asked(&simulator, "r-1", 990).await, "SUCCESS");
    assert_eq!(status(&simulator, "r-1").await, "REFUNDCLOSE");
    assert_eq!(asked(&simulator, "r-2", 990).await, "SUCCESS");
    clock.advance_ms(MINUTE);
    assert_eq!(simulator.refunded_total_fen(), 990);
}

#[actix_web::test]
async fn funds_that_were_topped_up_take_the_same_number_on() {
    let (simulator, _) = simulator();
    paid(&simulator).await;
    simulator.set_scenario(NUMBER, Scenario::RefundNotEnough);
    assert_eq!(asked(&simulator, "r-1", 400).await, "NOTENOUGH");
    assert_eq!(simulator.refunds(), []);
    assert_eq!(simulator.trade(NUMBER).unwrap().state.as_str(), "SUCCESS");
    simulator.set_scenario(NUMBER, Scenario::Ok);
    assert_eq!(asked(&simulator, "r-1", 400).await, "SUCCESS");
}

#[actix_web::test]
async fn the_callback_comes_at_the_end_unsigned_and_opens_with_our_key() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    simulator.deliver_due().await;
    ask(&simulator, "r-1", 400).await;
    clock.advance_ms(19_999);
    let mut about_payments = simulator.trade(NUMBER).unwrap().callbacks.len();
    simulator.deliver_due().await;
    about_payments += 1;
    clock.advance_ms(1);
    assert_eq!(simulator.deliver_due().await, 1);
    let sent = simulator.refunds()[0].callbacks.clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(simulator.trade(NUMBER).unwrap().callbacks.len(), about_payments, "kept apart");
    let outer = Fields::parse(sent[0].body.as_bytes()).unwrap();
    assert_eq!((outer.get("return_code"), outer.get("sign")), (Some("SUCCESS"), None));
    let gateway = WechatV2 { account: simulator.account().clone() };
    let RefundNotified::Hint(hint) =
        gateway.refund_notified(Notify { body: sent[0].body.as_bytes(), ..Notify::default() })
    else {
        panic!("{}", sent[0].body);
    };
    assert_eq!((hint.out_refund_no.as_str(), hint.out_trade_no.as_str()), ("r-1", NUMBER));
    assert_eq!((hint.amount.unwrap().get(), hint.total.get(), hint.status.as_str()), (400, 990, "SUCCESS"));
    // Nobody acknowledged it, so it comes again with the gaps of payments.
    clock.advance_ms(15_000);
    assert_eq!(simulator.deliver_due().await, 2, "the payment's callback is repeated too");
    assert_eq!(simulator.refunds()[0].callbacks.len(), 2);
}

#[actix_web::test]
async fn a_lost_callback_is_never_sent_and_tests_can_have_any_made() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    simulator.deliver_due().await;
    simulator.set_scenario(NUMBER, Scenario::RefundNotifyLost);
    ask(&simulator, "r-1", 400).await;
    clock.advance_ms(DAY);
    simulator.deliver_due().await;
    assert_eq!(simulator.refunds()[0].callbacks, []);
    let gateway = WechatV2 { account: simulator.account().clone() };
    let heard =
        |body: String| match gateway.refund_notified(Notify { body: body.as_bytes(), ..Notify::default() }) {
            RefundNotified::Hint(hint) => format!("{} {}", hint.out_refund_no, hint.amount.unwrap().get()),
            RefundNotified::Rejected { rejection, .. } => rejection.verdict().to_owned(),
        };
    assert_eq!(heard(simulator.refund_notify("r-1", &[], &[])), "r-1 400");
    assert_eq!(heard(simulator.refund_notify("r-1", &[], &[("refund_fee", "401")])), "r-1 401");
    assert_eq!(heard(simulator.refund_notify("r-1", &[("mch_id", "1")], &[])), "mch_id_mismatch");
    assert_eq!(heard(simulator.refund_notify("r-1", &[("req_info", "")], &[])), "decrypt_failed");
    assert_eq!(heard(simulator.refund_notify("r-9", &[], &[])), "r-9 1");
}

#[actix_web::test]
async fn a_coupon_goes_back_in_proportion() {
    let (simulator, clock) = simulator();
    prepay(&simulator).await;
    simulator.set_scenario(NUMBER, Scenario::Coupon);
    simulator.pay(NUMBER).unwrap();
    let reply = ask(&simulator, "r-1", 495).await;
    for (name, value) in [
        ("settlement_total_fee", "891"),
        ("cash_fee", "891"),
        ("settlement_refund_fee", "446"),
        ("cash_refund_fee", "446"),
        ("coupon_refund_fee", "49"),
        ("coupon_refund_count", "1"),
        ("coupon_refund_fee_0", "49"),
    ] {
        assert_eq!(reply.get(name), Some(value), "{name}");
    }
    clock.advance_ms(MINUTE);
    let reply = found(&simulator, "out_refund_no", "r-1").await;
    assert_eq!((reply.get("refund_fee_0"), reply.get("settlement_refund_fee_0")), (Some("495"), Some("446")));
}

#[actix_web::test]
async fn what_was_refunded_elsewhere_cannot_be_refunded_again() {
    let (simulator, clock) = simulator();
    paid(&simulator).await;
    assert_eq!(asked(&simulator, "r-1", 400).await, "SUCCESS");
    clock.advance_ms(MINUTE);
    simulator.refund(NUMBER).unwrap();
    let seen: Vec<_> = simulator.refunds().iter().map(|r| (r.amount.get(), r.status, r.elsewhere)).collect();
    assert_eq!(seen, [(400, RefundStatus::Success, false), (590, RefundStatus::Success, true)]);
    assert_eq!(asked(&simulator, "r-2", 1).await, "INVALID_REQUEST");
    simulator.refund(NUMBER).unwrap();
    assert_eq!(simulator.refunds().len(), 2);
    assert_eq!(simulator.now(), UnixMs(NOW.0 + MINUTE));
}
