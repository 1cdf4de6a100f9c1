//! What a refund leaves behind besides its money: alerts, names in the audit log, counts, and what a second hearing
//! of the same news does.

use crate::{
    attacks::rows,
    harness::{Shop, admin_called},
    refunds::{at_wechat, ledger, paid_twice, work},
};
use shouyin::{
    app::App,
    domain::{
        ids::OutTradeNo,
        refund::{Refund, RefundState},
    },
    flow::{
        decide_refund,
        request_refund::{Payment, RefundError},
    },
    gateway::{Protocol, RefundNews},
    simulator::Scenario,
    store::{
        notices::Notice,
        refund_settlement::{self, Concluded},
    },
};

const MINUTE: i64 = 60;

fn alerts(app: &App) -> [u64; 4] {
    ["refund_not_enough", "refund_abnormal", "refund_failed", "foreign_account"]
        .map(|name| app.metrics.alerts.with_label_values(&[name]).get())
}

#[actix_web::test]
async fn what_a_refund_meets_is_counted_once_and_a_smooth_one_rings_no_bell() {
    for (scenario, rung) in [
        (Scenario::Ok, [0, 0, 0, 0]),
        (Scenario::RefundNotEnough, [2, 0, 0, 0]),
        (Scenario::RefundAbnormal, [0, 1, 0, 0]),
        (Scenario::RefundClosed, [0, 0, 1, 0]),
    ] {
        let shop = Shop::open().await;
        let number = shop.paid("ann", "50").await;
        shop.simulator.set_scenario(&number, scenario);
        shop.refund(&number, "20").await.unwrap();
        shop.wait_for_refunds(6, MINUTE).await;
        assert_eq!(alerts(&shop.app), rung, "{scenario:?}");
    }
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.refund(&number).unwrap();
    shop.refund(&number, "20").await.unwrap();
    shop.wait_for_refunds(6, MINUTE).await;
    assert_eq!(alerts(&shop.app), [0, 0, 1, 0], "refused");
}

#[actix_web::test]
async fn who_asks_about_a_refund_stands_in_the_audit_log_with_what_it_was() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.clock.advance_ms(MINUTE * 1000);
    let boss = admin_called("boss");
    let seen = decide_refund::look_now(&shop.app, &boss, &refund).await.unwrap();
    assert_eq!(seen.state, RefundState::Success);
    let act = rows(&shop, "audit_log").await.pop().unwrap();
    let told = ["actor", "action", "target", "was"].map(|name| act[name].as_str().unwrap());
    assert_eq!(told, ["boss", "refund_queried", refund.out_refund_no.as_str(), "processing"]);
}

#[actix_web::test]
async fn who_says_no_and_who_takes_back_are_told_apart() {
    let shop =
        Shop::open_with(|config| config.refund_second_admin_above = shouyin::domain::money::Fen::ZERO).await;
    let number = shop.paid("ann", "50").await;
    for (who, action) in [("vice", "refund_rejected"), ("boss", "refund_withdrawn")] {
        let asked = shop.refund(&number, "20").await.unwrap();
        let admin = admin_called(who);
        let no = decide_refund::decide(&shop.app, &admin, &asked.out_refund_no, false, "no".to_owned());
        let ended = no.await.unwrap();
        assert_eq!((ended.state, ended.is_withdrawn()), (RefundState::Rejected, who == "boss"));
        assert!(!ended.is_given_up());
        let act = rows(&shop, "audit_log").await.pop().unwrap();
        assert_eq!((act["action"].as_str(), act["actor"].as_str()), (Some(action), Some(who)));
    }
}

#[actix_web::test]
async fn a_payment_the_gateway_confirms_with_another_amount_is_not_sent_back() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.notify(shop.simulator.signed_notify(&number, &[("total_fee", "4999")])).await;
    assert_eq!(work(&shop).await, ["amount_mismatch"]);
    let item = shop.work_items().await.remove(0).id;
    let asked = shop.ask_refund("boss", Payment::OfWorkItem(item), "49.99", "first-form").await;
    assert!(matches!(asked, Err(RefundError::NotConfirmed(Some(_)))), "{asked:?}");
    assert_eq!(at_wechat(&shop), []);
    assert_eq!(rows(&shop, "refunds").await.len(), 0);
}

#[actix_web::test]
async fn parts_of_a_payment_without_an_order_are_counted_and_one_that_was_never_sent_is_not() {
    let shop = Shop::open().await;
    let item = paid_twice(&shop).await;
    let ask = |yuan: &'static str, intent: &'static str| {
        shop.ask_refund("boss", Payment::OfWorkItem(item), yuan, intent)
    };
    let sent = ask("20", "first-form").await.unwrap();
    assert_eq!(ask("20", "first-form").await.unwrap().id, sent.id, "one form is one refund");
    // Within the same minute, so it waits.
    let unsent = ask("10", "second-form").await.unwrap();
    assert_eq!((sent.asked, unsent.asked), (1, 0));
    let kept = async || {
        let row = rows(&shop, "work_items").await.remove(0);
        (row["refund_fen"].as_i64().unwrap(), row["refunds"].as_i64().unwrap())
    };
    assert_eq!(kept().await, (3000, 2));
    let ended = decide_refund::give_up(&shop.app, &admin_called("boss"), &unsent, "不退了".to_owned()).await;
    assert_eq!(ended.unwrap().state, RefundState::Failed);
    assert_eq!(kept().await, (2000, 1));
    assert!(matches!(ask("30.01", "third-form").await, Err(RefundError::TooMuch(_))));
}

/// WeChat's genuine word about a refund, and a record of it to keep.
async fn word(shop: &Shop, refund: &Refund) -> (shouyin::gateway::VerifiedRefund, Notice) {
    let gateway = shop.app.speaker(Protocol::WechatV2).unwrap();
    let query = gateway.refund_query(refund, &shop.clock.stamp().unwrap());
    let answer = shop.app.http.send(&query).await.unwrap();
    let RefundNews::Found(verified) = gateway.refund_news(&answer, refund).unwrap() else {
        panic!("not found");
    };
    let notice = Notice {
        id: shop.clock.ordered_id().unwrap(),
        received_at: shop.clock.now().0,
        provider: "wechat_v2".to_owned(),
        source: "refund_query".to_owned(),
        verdict: format!("refund_{}", verified.standing().state().as_str()),
        out_trade_no: Some(refund.out_trade_no.as_str().to_owned()),
        transaction_id: Some(refund.transaction_id.as_str().to_owned()),
        remote_ip: String::new(),
        headers: String::new(),
        body: answer.body,
        reply: String::new(),
    };
    (verified, notice)
}

#[actix_web::test]
async fn the_same_end_heard_by_two_at_once_is_booked_once_and_contradicts_nothing() {
    for (scenario, end) in
        [(Scenario::Ok, RefundState::Success), (Scenario::RefundClosed, RefundState::Closed)]
    {
        let shop = Shop::open().await;
        let number = shop.paid("ann", "50").await;
        shop.simulator.set_scenario(&number, scenario);
        let refund = shop.refund(&number, "20").await.unwrap();
        shop.clock.advance_ms(MINUTE * 1000);
        let now = shop.clock.now();
        for expected in [Concluded::Moved, Concluded::Already] {
            let ((verified, notice), refund) = (word(&shop, &refund).await, refund.clone());
            let concluded = shop
                .app
                .store
                .write(move |db| refund_settlement::conclude(db, &refund, &verified, &notice, now, now));
            assert_eq!(concluded.await.unwrap(), expected, "{scenario:?}");
        }
        assert_eq!(shop.same_refund(&refund).await.state, end);
        assert!(!work(&shop).await.contains(&"refund_contradicted".to_owned()));
    }
}

#[actix_web::test]
async fn a_refund_of_another_account_that_has_ended_calls_nobody() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.wait_for_refunds(3, 20).await;
    let ended = shop.same_refund(&refund).await;
    assert_eq!(ended.state, RefundState::Success);
    let mut config = shop.app.config.clone();
    config.wechat_v2.as_mut().unwrap().mch_id = "1000000001".to_owned();
    let moved = App::new(config, shop.app.store.clone(), shop.clock.clone()).unwrap();
    let calls = shop.simulator.calls();
    assert_eq!(decide_refund::look_now(&moved, &admin_called("boss"), &ended).await.unwrap(), ended);
    assert_eq!((alerts(&moved), shop.simulator.calls()), ([0; 4], calls));
}

#[actix_web::test]
async fn a_form_without_a_usable_intent_makes_no_refund() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let of = || Payment::OfOrder(OutTradeNo::parse(&number).unwrap());
    let long = "x".repeat(65);
    for intent in ["", "7-short", "with space", "with_underline", "unübliches", long.as_str()] {
        let asked = shop.ask_refund("boss", of(), "1", intent).await;
        assert!(matches!(asked, Err(RefundError::BadIntent)), "{intent}: {asked:?}");
    }
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    assert!(shop.ask_refund("boss", of(), "1", "Eight-8s").await.is_ok());
}
