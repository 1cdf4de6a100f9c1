//! Refunds: messages that say what nobody proved, and administrators who press too often.

use super::{
    Outcome, Table, table,
    world::{Snapshot, World, rows},
};
use crate::{
    harness::{Answer, Shop},
    refund_pages::refund,
};
use futures_util::future::join_all;
use serde_json::Value;
use shouyin::{
    domain::{ids::OutTradeNo, refund::Refund},
    flow::request_refund::{Payment, RefundError},
    simulator::Scenario,
};
use std::rc::Rc;

pub const CASES: Table = table! {
    "REFUND-01" => forged_notify,
    "REFUND-03" => replayed_notify,
    "REFUND-05" => bad_end,
    "REFUND-07" => parallel_refunds,
    "REFUND-08" => odd_amounts,
    "REFUND-12" => double_click,
};

/// O3 of the catalogue: ann's paid order of `yuan`.
async fn o3(world: &mut World, yuan: &str) -> Rc<Shop> {
    let shop = world.open().await;
    world.subject = shop.paid("ann", yuan).await;
    world.mark().await;
    shop
}

/// O3 with R1, a refund of 40 fen that WeChat has taken on.
async fn r1(world: &mut World, scenario: Scenario) -> (Rc<Shop>, Refund) {
    let shop = o3(world, "1").await;
    shop.simulator.set_scenario(&world.subject, scenario);
    let refund = shop.refund(&world.subject, "0.40").await.unwrap();
    (shop, refund)
}

async fn notify(world: &mut World, shop: &Shop, body: String) -> Answer {
    let answer = shop.notify_refund(body).await;
    world.record(&answer);
    answer
}

/// Legs of this kind in the ledger.
fn legs(snapshot: &Snapshot, kind: &str) -> usize {
    snapshot.ledger.iter().filter(|leg| leg["kind"] == kind).count()
}

async fn states(shop: &Shop) -> Vec<Value> {
    rows(shop, "refunds").await.into_iter().map(|row| row["state"].clone()).collect()
}

async fn forged_notify(world: &mut World) -> Outcome {
    let (shop, refund) = r1(world, Scenario::Ok).await;
    let mark = Snapshot::of(&shop).await;
    notify(world, &shop, "<xml><return_code>SUCCESS</return_code></xml>".to_owned()).await;
    let account = shop.app.config.wechat_v2.clone().unwrap();
    let named = format!(
        "<xml><return_code>SUCCESS</return_code><appid>{}</appid><mch_id>{}</mch_id>\
         <nonce_str>n</nonce_str><out_trade_no>{}</out_trade_no><out_refund_no>{}</out_refund_no>\
         <refund_fee>40</refund_fee><total_fee>100</total_fee><refund_status>SUCCESS</refund_status></xml>",
        account.appids.web, account.mch_id, world.subject, refund.out_refund_no
    );
    notify(world, &shop, named).await;
    let (refunds, after) = (states(&shop).await, Snapshot::of(&shop).await);
    let unmoved = refunds == ["processing"] && mark.orders == after.orders;
    world.holds("no refund state change", unmoved, format!("{refunds:?}"));
    world.holds("no ledger entry", mark.ledger == after.ledger, format!("{:?}", after.ledger));
    Ok(())
}

async fn replayed_notify(world: &mut World) -> Outcome {
    let (shop, _) = r1(world, Scenario::Ok).await;
    shop.clock.advance_ms(20_000);
    shop.deliver().await;
    shop.follow_refunds().await;
    world.expect(states(&shop).await == ["success"], "R1 has not succeeded");
    let bytes = shop.simulator.refunds()[0].callbacks[0].body.clone();
    for _ in 0..20 {
        notify(world, &shop, bytes.clone()).await;
        shop.clock.advance_ms(11_000);
        shop.follow_refunds().await;
    }
    let after = Snapshot::of(&shop).await;
    let entries = (legs(&after, "refund_hold"), legs(&after, "refund"), legs(&after, "refund_release"));
    world.holds("exactly one refund ledger entry", entries == (2, 2, 0), format!("{entries:?}"));
    Ok(())
}

async fn bad_end(world: &mut World) -> Outcome {
    for (scenario, state, released) in
        [(Scenario::RefundAbnormal, "abnormal", false), (Scenario::RefundClosed, "closed", true)]
    {
        let (shop, _) = r1(world, scenario).await;
        shop.clock.advance_ms(20_000);
        world.expect(shop.deliver().await == 1, "no callback");
        let sent = shop.simulator.refunds()[0].callbacks[0].clone();
        world.expect(sent.accepted && sent.reply.contains("SUCCESS"), &sent.reply);
        let hinted = Snapshot::of(&shop).await;
        let held = states(&shop).await == ["processing"] && legs(&hinted, "refund_release") == 0;
        world.expect(held, "the message alone moved it");
        shop.follow_refunds().await;
        let after = Snapshot::of(&shop).await;
        let right = states(&shop).await == [state]
            && legs(&after, "refund") == 0
            && (legs(&after, "refund_release") == 2) == released
            && after.work.len() == 1;
        world.holds("no final ledger debit", right, format!("{:?} {:?}", after.ledger, after.work));
        let alert = if released { "refund_failed" } else { "refund_abnormal" };
        world.expect(after.alerts.get(alert) > hinted.alerts.get(alert), format!("{:?}", after.alerts));
    }
    Ok(())
}

async fn parallel_refunds(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let ann = shop.user("ann").await;
    // Her balance would bear all of them: only the payment does not.
    world.subject = ann.top_up("1").await;
    for number in [world.subject.clone(), ann.top_up("100").await] {
        shop.simulator.pay(&number).unwrap();
    }
    shop.deliver().await;
    world.mark().await;
    let made = join_all((0..20).map(|_| shop.refund(&world.subject, "0.60"))).await;
    let accepted = made.iter().filter(|made| made.is_ok()).count();
    let refused = made.iter().filter(|made| matches!(made, Err(RefundError::TooMuch(_)))).count();
    world.expect((accepted, refused) == (1, 19), format!("{made:?}"));
    let sum: i64 = shop.simulator.refunds().iter().map(|refund| refund.amount.get()).sum();
    let order = shop.order(&world.subject).await;
    let within = sum == 60 && order.reserved.get() == 60;
    world.holds("sum of refunds <= 100", within, format!("{sum} there, {} here", order.reserved));
    let calls = shop.simulator.calls().iter().filter(|call| call.starts_with("refund ")).count();
    world.holds("one gateway call per accepted refund number", calls == 1, calls);
    Ok(())
}

async fn odd_amounts(world: &mut World) -> Outcome {
    let shop = o3(world, "100").await;
    let (admin, home) = (shop.admin().await, format!("/admin/orders/{}", world.subject));
    let right = refund(&admin, &home, "a-right-one", "0.01").await;
    world.expect(right.status == 201, format!("not even a right amount: {}", right.body));
    world.mark().await;
    let calls = shop.simulator.calls();
    // In yuan, as the form has them: what is left and a fen, and more fen than there are numbers.
    for text in ["0", "-1", "100", "0.015", "1e9", "9223372036854775807", "92233720368547758.07", "", "１"] {
        let refused = refund(&admin, &home, "an-odd-one", text).await;
        world.expect(refused.status == 422, format!("{text}: {} {}", refused.status, refused.body));
    }
    world.holds("no gateway call", shop.simulator.calls() == calls, "WeChat was asked");
    let (before, after) = (world.before.clone().unwrap(), Snapshot::of(&shop).await);
    let untouched = states(&shop).await.len() == 1 && before.ledger == after.ledger;
    world.expect(untouched, "a refund was made");
    Ok(())
}

async fn double_click(world: &mut World) -> Outcome {
    let shop = o3(world, "1").await;
    let payment = Payment::OfOrder(OutTradeNo::parse(&world.subject).unwrap());
    let click = || shop.ask_refund("boss", payment.clone(), "0.40", "one-form-twice");
    let (first, second) = tokio::join!(click(), click());
    let same = first.as_ref().is_ok_and(|first| second.as_ref().is_ok_and(|second| first.id == second.id));
    world.expect(same, format!("{first:?} {second:?}"));
    let (made, there) = (states(&shop).await.len(), shop.simulator.refunds().len());
    world.holds("one refund", (made, there) == (1, 1), format!("{made} here, {there} there"));
    Ok(())
}
