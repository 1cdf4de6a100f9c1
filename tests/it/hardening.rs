//! What was once wrong and must stay right: phones and rights, refunds made elsewhere, clocks set back,
//! changed accounts, floods, and what the machines around us are told.

use crate::{
    books::{Files, sql},
    harness::{Browser, PASSWORD, Shop, WECHAT},
    oauth::{ANN, BOB, at_wechat, phone},
};
use shouyin::{
    config::PublicUrl,
    domain::{
        ids::{Openid, OutTradeNo},
        order::Channel,
    },
    flow::{
        set_up,
        top_up::{self, Pay},
    },
    simulator::faults::Scenario,
    store::{attempts, openids, pending},
};
use std::os::unix::fs::PermissionsExt;

const HOUR_MS: i64 = 3_600_000;
/// Where a phone lands that signs nobody in.
const NOBODY: &str = "/login?next=%2Forders";

/// To WeChat and back as this person; gives where the shop sends the browser then.
async fn trip(shop: &Shop, browser: &Browser, person: &str) -> String {
    let back = at_wechat(shop, browser, person).await;
    let done = browser.get(&back).await;
    assert_eq!(done.status, 303, "{}", done.body);
    done.header("location").to_owned()
}

async fn log_out(browser: &Browser) {
    let token = browser.form_token("/top-up").await;
    assert_eq!(browser.post("/logout", &[("token", &token)]).await.status, 303);
}

fn person(shop: &Shop, number: u64) -> Openid {
    Openid::parse(&shop.simulator.openid_of(number)).unwrap()
}

/// Whom the shop has bound to this phone.
async fn bound(shop: &Shop, number: u64) -> Option<i64> {
    let (appid, openid) = (shop.app.config.wechat.appid.clone(), person(shop, number));
    let user = shop.app.store.read(move |db| openids::user_of(db, &appid, &openid)).await.unwrap();
    user.map(|user| user.id)
}

fn alerts(shop: &Shop, name: &str) -> u64 {
    shop.app.metrics.alerts.with_label_values(&[name]).get()
}

async fn kinds_of_work(shop: &Shop) -> Vec<String> {
    shop.work_items().await.into_iter().rev().map(|item| item.kind).collect()
}

#[actix_web::test]
async fn an_administrator_is_never_bound_to_a_phone_nor_signed_in_by_one() {
    let shop = Shop::open().await;
    shop.admin().await;
    let browser = phone(&shop);
    assert_eq!(browser.log_in("boss", PASSWORD).await.status, 303);
    assert_eq!(browser.get("/admin/orders").await.status, 200);
    assert_eq!(trip(&shop, &browser, ANN).await, "/orders");
    assert_eq!(bound(&shop, 0xaa).await, None);
    log_out(&browser).await;
    for browser in [browser, phone(&shop)] {
        assert_eq!(trip(&shop, &browser, ANN).await, NOBODY);
        assert_eq!(browser.get("/admin/orders").await.status, 303);
        assert_eq!(browser.get("/orders").await.status, 303);
    }
}

#[actix_web::test]
async fn a_phone_bound_to_somebody_who_is_an_administrator_by_now_signs_nobody_in() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    trip(&shop, &ann, ANN).await;
    shop.app.store.write(sql("UPDATE users SET role = 'owner' WHERE username = 'ann'")).await.unwrap();
    let later = phone(&shop);
    assert_eq!(trip(&shop, &later, ANN).await, NOBODY);
    assert_eq!(later.get("/admin/orders").await.status, 303);
}

#[actix_web::test]
async fn an_account_keeps_the_first_phone_it_was_used_on_and_any_other_only_pays() {
    let shop = Shop::open().await;
    let first = phone(&shop);
    first.register("ann").await;
    assert_eq!(trip(&shop, &first, ANN).await, "/orders");
    log_out(&first).await;

    let second = phone(&shop);
    assert_eq!(second.log_in("ann", PASSWORD).await.status, 303);
    assert_eq!(trip(&shop, &second, BOB).await, "/orders");
    let number = second.top_up("50").await;
    assert_eq!(shop.attempts(&number).await[0].payer, person(&shop, 0xbb));
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert_eq!(shop.books(&number).await.balance, 5000);
    log_out(&second).await;
    assert_eq!(trip(&shop, &second, BOB).await, NOBODY);
    assert_eq!(second.get("/orders").await.status, 303);
    assert_eq!(bound(&shop, 0xbb).await, None);

    assert_eq!(trip(&shop, &first, ANN).await, "/orders");
    assert_eq!(first.get_json("/orders").await.json()["balance_fen"], 5000);
}

#[actix_web::test]
async fn a_password_reset_forgets_the_phone_until_the_new_password_was_used_on_one() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    trip(&shop, &ann, ANN).await;
    assert!(bound(&shop, 0xaa).await.is_some());
    let fresh = "a fresh horse battery";
    assert!(set_up::reset_password(&shop.app, "ann", fresh.to_owned()).await.unwrap());
    for browser in [ann, phone(&shop)] {
        assert_eq!(trip(&shop, &browser, ANN).await, NOBODY);
        assert_eq!(browser.get("/orders").await.status, 303);
    }
    let new = phone(&shop);
    assert_eq!(new.log_in("ann", fresh).await.status, 303);
    assert_eq!(trip(&shop, &new, BOB).await, "/orders");
    assert_eq!(trip(&shop, &phone(&shop), BOB).await, "/orders");
}

#[actix_web::test]
async fn an_order_refunded_elsewhere_is_not_closed_as_unpaid_and_a_late_callback_is_looked_at() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let callback = shop.simulator.signed_notify(&number, &[]);
    shop.simulator.refund(&number).unwrap();
    shop.clock.advance_ms(2 * HOUR_MS);
    for _ in 0..2 {
        assert_eq!(shop.close_expired().await, 1);
        let books = shop.books(&number).await;
        assert_eq!((books.order.closed_at, books.order.is_paid(), books.balance), (None, false, 0));
        assert_eq!(shop.attempts(&number).await[0].closed_at, None);
        assert_eq!(kinds_of_work(&shop).await, ["refunded_elsewhere"]);
        assert_eq!(shop.close_expired().await, 0, "a person looks at it, not we every minute");
        shop.clock.advance_ms(24 * HOUR_MS);
    }
    for verdicts in [vec!["ok"], vec!["ok", "duplicate"]] {
        assert!(shop.notify(callback.clone()).await.body.contains("SUCCESS"));
        assert_eq!(shop.verdicts().await, verdicts);
        assert_eq!(shop.books(&number).await.balance, 5000);
        assert_eq!(kinds_of_work(&shop).await, ["refunded_elsewhere", "credited_after_refund"]);
    }
    assert!(!shop.order(&number).await.late);
}
