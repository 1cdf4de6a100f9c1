//! What a second reader, of bills and of administrators, found wrong: each as the story that ends right now.

use crate::{
    attacks::rows,
    harness::{PASSWORD, Shop, admin_called},
    protocols::{fetch_keys, open_by_certificate},
    reconcile::{alerts, bill, by_hand, day, differences, job, morning, through, unequal, work},
    refund_pages::press,
    refunds::at_wechat,
};
use shouyin::{
    domain::{bill::Bucket, money::Fen, refund::RefundState, time::UnixMs, user::User},
    flow::{
        accounts::{self, AccountError},
        log_in,
        reconcile::{self, Outcome},
        set_up,
    },
    jobs,
    simulator::faults::Scenario,
    store::{
        bills::{self, BillState},
        sessions::Place,
        users,
        work_items::WorkItem,
    },
};
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What the books themselves did to work items: action and target, oldest first.
async fn by_the_books(shop: &Shop) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let log = rows(shop, "audit_log").await.into_iter().filter(|act| act["actor"] == "shouyin");
    log.map(|act| (text(&act["action"]), text(&act["target"]))).collect()
}

#[actix_web::test]
async fn a_bill_that_is_not_made_yet_is_no_day_without_payments() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    // The books know of no payment, and WeChat says "No Bill Exist" because it has not made the bill.
    morning(&shop, 9 * 60);
    let early = by_hand(&shop.app, day()).await;
    assert!(matches!(early[0], Outcome::NotYet(_)), "{early:?}");
    assert_eq!(bill(&shop).await.state, BillState::Waiting);
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_day_without_payments_is_even_from_noon_on() {
    let shop = Shop::open().await;
    shop.user("ann").await.top_up("50").await;
    morning(&shop, 10 * 60 + 10);
    assert_eq!((job(&shop).await, bill(&shop).await.state), (0, BillState::Waiting));
    morning(&shop, 12 * 60);
    assert_eq!((job(&shop).await, bill(&shop).await.state), (1, BillState::Balanced));
    assert_eq!((alerts(&shop, "bill_overdue"), work(&shop).await), (0, Vec::new()));
}

#[actix_web::test]
async fn a_gateway_that_has_no_bill_any_more_takes_nothing_of_a_compared_day_away() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.paid("ann", "50").await;
    morning(&shop, 10 * 60 + 10);
    assert_eq!(job(&shop).await, 1);
    let (before, compared) = (rows(&shop, "bill_rows").await, bill(&shop).await);
    assert_eq!((before.len(), compared.state), (1, BillState::Balanced));
    shop.simulator.set_scenario(&number, Scenario::BillMissing);
    shop.clock.advance_ms(DAY_MS);
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let page = format!("/admin/bills/{}", compared.id);
    let done = press(&admin, &format!("{page}/reconcile"), &[]).await;
    assert_eq!((done.status, done.header("location")), (303, &*format!("{page}?did=kept")), "{}", done.body);
    assert!(admin.get(done.header("location")).await.body.contains("都保留着"));
    let after = bill(&shop).await;
    assert_eq!(
        (after.state, after.theirs, after.compared_at),
        (compared.state, compared.theirs, compared.compared_at)
    );
    assert_eq!((rows(&shop, "bill_rows").await, work(&shop).await), (before, Vec::new()));
    assert_eq!(alerts(&shop, "bill_overdue"), 0);
}

async fn missing_item(shop: &Shop) -> WorkItem {
    shop.work_items().await.into_iter().find(|item| item.kind == "bill_missing").unwrap()
}

#[actix_web::test]
async fn a_difference_that_comes_back_opens_its_work_item_again_unless_a_person_closed_it() {
    let (shop, [_, missing, _]) = unequal().await;
    let admin = shop.admin().await;
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    let id = missing_item(&shop).await.id;
    let compare = async |scenario: Scenario| {
        shop.clock.advance_ms(60_000);
        shop.simulator.set_scenario(&missing, scenario);
        by_hand(&shop.app, day()).await;
        missing_item(&shop).await.closed_by
    };
    assert_eq!(compare(Scenario::Ok).await.as_deref(), Some("shouyin"));
    let alerted = alerts(&shop, "bill_difference");
    assert_eq!(compare(Scenario::BillMissing).await, None, "there it is again");
    assert_eq!(alerts(&shop, "bill_difference"), alerted + 1);
    let acts = ["work_item_closed", "work_item_reopened"].map(|act| (act.to_owned(), id.to_string()));
    assert_eq!(by_the_books(&shop).await, acts);
    // Once more the same tells nobody anything.
    assert_eq!(compare(Scenario::BillMissing).await, None);
    assert_eq!(by_the_books(&shop).await.len(), 2);
    // Somebody has looked and said what it is.
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let closed = press(&admin, &format!("/admin/work-items/{id}/close"), &[("note", "平台漏了")]).await;
    assert_eq!(closed.status, 303, "{}", closed.body);
    compare(Scenario::Ok).await;
    assert_eq!(compare(Scenario::BillMissing).await.as_deref(), Some("boss"));
    assert_eq!(by_the_books(&shop).await.len(), 2);
}

#[actix_web::test]
async fn a_refund_that_waits_for_a_second_administrator_is_not_the_one_in_the_bill() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::ZERO).await;
    let number = shop.paid("ann", "50").await;
    let waiting = shop.refund(&number, "50").await.unwrap();
    assert_eq!(waiting.state, RefundState::Waiting);
    // Somebody with the key refunds it under our number.
    shop.simulator.refund(&number).unwrap();
    let (theirs, ours) = (at_wechat(&shop)[0].0.clone(), waiting.out_refund_no.as_str().to_owned());
    morning(&shop, 10 * 60 + 10);
    let number_in_bill = ours.clone();
    let app = through(&shop, move |path, body| {
        if path == "/pay/downloadbill" { body.replace(&theirs, &number_in_bill) } else { body }
    });
    assert_eq!(jobs::reconcile::run_once(app).await.unwrap(), 1);
    let found = differences(&shop).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, &found[0].2), (Bucket::Extra, &ours));
}

#[actix_web::test]
async fn comparing_again_ends_although_nobody_waits_for_it() {
    let shop = Shop::open().await;
    shop.paid("ann", "50").await;
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    let (begun, now) = (bill(&shop).await, shop.clock.now());
    let id = begun.id;
    shop.app.store.write(move |db| bills::begin_rows(db, id, now)).await.unwrap();
    assert_eq!((bill(&shop).await.state, rows(&shop, "bill_rows").await.len()), (BillState::Waiting, 0));
    drop(reconcile::again(shop.app.clone(), admin_called("boss"), begun));
    let ended = async {
        while bill(&shop).await.state != BillState::Balanced {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it goes on by itself");
}

#[actix_web::test]
async fn a_day_that_was_begun_is_brought_to_an_end_however_old_it_is() {
    let shop = Shop::open().await;
    shop.paid("ann", "50").await;
    morning(&shop, 12 * 60);
    assert_eq!(job(&shop).await, 1);
    let (id, now) = (bill(&shop).await.id, shop.clock.now());
    shop.app.store.write(move |db| bills::begin_rows(db, id, now)).await.unwrap();
    shop.clock.advance_ms(20 * DAY_MS);
    job(&shop).await;
    assert_eq!((bill(&shop).await.state, rows(&shop, "bill_rows").await.len()), (BillState::Balanced, 1));
    assert_eq!(work(&shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn of_a_day_whose_bill_was_not_to_be_had_for_a_week_somebody_is_told_once() {
    let mut shop = Shop::open().await;
    shop.paid("ann", "50").await;
    shop.cut_off().await;
    morning(&shop, 12 * 60);
    job(&shop).await;
    assert_eq!(work(&shop).await, Vec::<String>::new());
    shop.clock.advance_ms(7 * DAY_MS);
    for _ in 0..2 {
        job(&shop).await;
        assert_eq!(work(&shop).await, ["bill_overdue"]);
    }
    assert_eq!(shop.work_items().await[0].out_trade_no, day().to_string());
}

#[actix_web::test]
async fn a_process_that_has_just_begun_fetches_the_keys_a_bill_is_signed_with() {
    let shop = open_by_certificate().await;
    fetch_keys(&shop).await;
    shop.paid("ann", "50").await;
    morning(&shop, 10 * 60 + 10);
    let outcomes = by_hand(&shop.second_instance(), day()).await;
    assert!(matches!(outcomes[0], Outcome::Compared(_)), "{outcomes:?}");
}

#[actix_web::test]
async fn a_password_that_was_right_when_it_was_typed_opens_nothing_once_it_is_another() {
    let shop = Shop::open().await;
    shop.admin().await;
    let typed = || log_in::check(&shop.app, "boss", PASSWORD.to_owned());
    let enter = async |(user, proof): (User, log_in::Proof)| {
        let (browser, next) = ("browser".to_owned(), "/admin".to_owned());
        log_in::enter(&shop.app, (&user, proof), browser, None, Place::default(), next).await.unwrap()
    };
    assert!(enter(typed().await.unwrap().unwrap()).await.is_some());
    let slow = typed().await.unwrap().unwrap();
    let id = slow.0.id;
    shop.app.store.write(move |db| users::set_disabled(db, id, Some(UnixMs(1)))).await.unwrap();
    assert!(enter(slow).await.is_none(), "closed meanwhile");
    shop.app.store.write(move |db| users::set_disabled(db, id, None)).await.unwrap();
    let slow = typed().await.unwrap().unwrap();
    assert!(set_up::reset_password(&shop.app, "boss", "another good password".to_owned()).await.unwrap());
    assert!(enter(slow).await.is_none(), "another password meanwhile");
    assert_eq!(rows(&shop, "sessions").await.len(), 0);
}

#[actix_web::test]
async fn of_two_who_change_one_password_at_once_the_second_does_not_know_it_any_more() {
    let shop = Shop::open().await;
    shop.admin().await;
    let boss = shop.app.store.read(users::admins).await.unwrap().remove(0).user;
    let change = |new: &str| {
        accounts::change_password(&shop.app, &boss, "browser", PASSWORD.to_owned(), new.to_owned())
    };
    let (one, other) = tokio::join!(change("the first of two"), change("the second of two"));
    let lost = [one, other].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(matches!(lost[..], [AccountError::WrongPassword]), "{lost:?}");
}
