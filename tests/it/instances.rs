//! Several instances of the program on the books of one server. Skipped where the books are a file.

use crate::{
    database::sql,
    harness::{Answer, Browser, Instance, PASSWORD, START, Shop, WECHAT},
    refund_pages::refund,
};
use futures_util::future::join_all;
use reqwest::{Client, redirect::Policy};
use shouyin::{
    app::App,
    domain::order::Source,
    flow::confirm,
    jobs,
    store::{Store, audits, books, limits::Pace, refunds},
};
use std::sync::Arc;

/// The same person at another instance: the load balancer chose it.
fn moved(browser: &Browser, to: &Instance) -> Browser {
    let there = Browser::new(to.url.clone(), WECHAT);
    there.set_cookie(&browser.cookie().unwrap());
    there
}

async fn notify(url: &str, body: &str) -> Answer {
    let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let request =
        client.post(format!("{url}/notify/wechat")).header("content-type", "text/xml").body(body.to_owned());
    Answer::of(request.send().await.unwrap()).await
}

#[actix_web::test]
async fn who_is_signed_in_at_one_instance_is_signed_in_at_all_and_signed_out_likewise() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let ann = shop.user("ann").await;
    let there = moved(&ann, &other);
    let number = there.top_up("50").await;
    assert_eq!(ann.status(&number).await["status"], 0);
    let token = there.form_token("/top-up").await;
    assert_eq!(there.post("/logout", &[("token", &token)]).await.status, 303);
    assert_eq!(ann.get("/orders").await.status, 303);
}

#[actix_web::test]
async fn a_page_that_waits_at_one_instance_hears_of_a_callback_at_another() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let number = shop.user("ann").await.top_up("50").await;
    let order = shop.order(&number).await;
    let waiting = {
        let app = other.app.clone();
        tokio::spawn(async move { confirm::status(&app, order, 25).await.unwrap() })
    };
    while other.app.waiting.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(jobs::hear_of_others::run_once(other.app.clone()).await.unwrap(), 0, "nothing to hear yet");
    // The simulator holds the trade for unpaid, so that no query can be what settles.
    let answer = shop.notify(shop.simulator.signed_notify(&number, &[])).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    // Until the page has looked at the books, it cannot be told.
    while !waiting.is_finished() {
        jobs::hear_of_others::run_once(other.app.clone()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let seen = waiting.await.unwrap();
    assert_eq!(seen.settled_by, Some(Source::Notify));
}

#[actix_web::test]
async fn the_same_callbacks_at_two_instances_at_once_credit_each_order_once() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let mut callbacks = Vec::new();
    for name in ["ann", "bob", "cid"] {
        let user = shop.user(name).await;
        for _ in 0..4 {
            let number = user.top_up("50").await;
            shop.simulator.pay(&number).unwrap();
            callbacks.push((number.clone(), shop.simulator.signed_notify(&number, &[])));
        }
    }
    // In opposite orders, so that two batches hold some of each other's rows.
    let here = callbacks.iter().map(|(_, body)| notify(&shop.url, body));
    let there = callbacks.iter().rev().map(|(_, body)| notify(&other.url, body));
    let (here, there) = tokio::join!(join_all(here), join_all(there));
    for answer in here.iter().chain(&there) {
        assert!(answer.body.contains("SUCCESS"), "{}: {}", answer.status, answer.body);
    }
    for (number, _) in &callbacks {
        let books = shop.books(number).await;
        assert_eq!((books.order.is_paid(), books.balance), (true, 20_000), "{number}");
    }
    let mut verdicts = shop.verdicts().await;
    verdicts.sort();
    verdicts.dedup();
    assert_eq!(verdicts, ["duplicate", "ok"]);
}

#[actix_web::test]
async fn tries_to_sign_in_count_at_all_instances_together() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    shop.user("ann").await;
    let here = shop.browser();
    let there = Browser::new(other.url.clone(), WECHAT);
    for _ in 0..5 {
        for browser in [&here, &there] {
            assert_eq!(browser.log_in("ann", "not the password").await.status, 422);
        }
    }
    for browser in [&here, &there] {
        let answer = browser.log_in("ann", PASSWORD).await;
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!((1..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    }
    assert_eq!(here.log_in("bob", PASSWORD).await.status, 422, "another name");
    let half_a_minute = "UPDATE rate_limits SET calm_at = calm_at - 30000 WHERE key LIKE 'sign_in_by_pair%'";
    shop.app.store.write(sql(half_a_minute)).await.unwrap();
    assert_eq!(there.log_in("ann", PASSWORD).await.status, 303);
    assert_eq!(here.log_in("ann", PASSWORD).await.status, 429, "one in half a minute");
}

#[actix_web::test]
async fn what_is_limited_is_used_up_by_all_instances_together_and_given_back_with_time() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let pace = Pace { every_ms: 3_600_000, at_once: 3 };
    let take = |app: &Arc<App>| {
        let store = app.store.clone();
        async move { store.take("a key".to_owned(), pace).await }
    };
    for app in [&shop.app, &other.app, &shop.app] {
        assert_eq!(take(app).await, 0);
    }
    let wait = take(&other.app).await;
    assert!((3_000_000..=3_600_000).contains(&wait), "{wait}");
    assert_eq!(other.app.store.take("another key".to_owned(), pace).await, 0);
    jobs::housekeeping::run_once(other.app.clone()).await.unwrap();
    assert!(take(&shop.app).await > 0, "nobody has forgotten it");
    shop.app.store.write(sql("UPDATE rate_limits SET calm_at = 0 WHERE key = 'another key'")).await.unwrap();
    jobs::housekeeping::run_once(other.app.clone()).await.unwrap();
    let forgotten =
        "DO $$ BEGIN ASSERT NOT EXISTS (SELECT 1 FROM rate_limits WHERE key = 'another key'); END $$";
    shop.app.store.write(sql(forgotten)).await.unwrap();
    let an_hour = "UPDATE rate_limits SET calm_at = calm_at - 3600000";
    shop.app.store.write(sql(an_hour)).await.unwrap();
    assert_eq!(take(&other.app).await, 0);
    assert!(take(&shop.app).await > 0);
    let set_back_a_day = "UPDATE rate_limits SET calm_at = calm_at + 86400000";
    shop.app.store.write(sql(set_back_a_day)).await.unwrap();
    assert_eq!([take(&shop.app).await, take(&other.app).await, take(&shop.app).await], [0, 0, 0]);
    assert!(take(&other.app).await > 0);
}

#[actix_web::test]
async fn questions_that_nobody_waits_for_are_limited_over_all_instances() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    assert!(shop.app.may_sweep().await);
    let used_up = "UPDATE rate_limits SET calm_at = EXTRACT(EPOCH FROM clock_timestamp()) * 1000 + 1000 WHERE key = 'sweep'";
    let mut refused = false;
    // A tenth of a second later one more may be asked: on a busy machine that is soon.
    for _ in 0..8 {
        shop.app.store.write(sql(used_up)).await.unwrap();
        refused |= !other.app.may_sweep().await;
    }
    assert!(refused);
}

#[actix_web::test]
async fn one_instance_audits_for_all_and_the_others_say_what_it_found() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    shop.paid("ann", "50").await;
    let audit = |app: &Arc<App>| jobs::audit::run_once(app.clone());
    assert_eq!(audit(&shop.app).await.unwrap(), 0);
    let broken = "ALTER TABLE ledger DISABLE TRIGGER USER; UPDATE ledger SET amount_fen = amount_fen + 1";
    shop.app.store.write(sql(broken)).await.unwrap();
    shop.clock.advance_ms(3_599_000);
    assert_eq!(audit(&other.app).await.unwrap(), 0, "it was done less than an hour ago");
    let gauges = |app: &Arc<App>| (app.metrics.books_clean.get(), app.metrics.last_audit_at.get());
    assert_eq!(gauges(&other.app), (1, START.secs()));
    shop.clock.advance_ms(1_000);
    let found = audit(&other.app).await.unwrap();
    assert!(found > 0);
    assert_eq!(audit(&shop.app).await.unwrap(), found);
    assert_eq!(gauges(&shop.app), (0, START.secs() + 3_600));
    // Whoever begins and never ends is waited for for three hours, and is not believed afterwards.
    shop.clock.advance_ms(3_600_000);
    let (mended, begun) = ("UPDATE ledger SET amount_fen = amount_fen - 1", shop.clock.now());
    shop.app.store.write(sql(mended)).await.unwrap();
    assert!(shop.app.store.write(move |db| audits::begin(db, begun)).await.unwrap());
    assert_eq!(audit(&shop.app).await.unwrap(), found, "somebody is at it");
    shop.clock.advance_ms(3 * 3_600_000);
    assert_eq!(audit(&other.app).await.unwrap(), 0);
    let now = shop.clock.now();
    shop.app.store.write(move |db| audits::finish(db, begun, now, 9)).await.unwrap();
    assert_eq!(audit(&shop.app).await.unwrap(), 0);
    assert_eq!(gauges(&shop.app), (1, now.secs()));
}

#[actix_web::test]
async fn an_audit_that_comes_to_nothing_is_due_again_in_ten_minutes_and_what_it_found_first_is_kept() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    shop.paid("ann", "50").await;
    let audit = |app: &Arc<App>| jobs::audit::run_once(app.clone());
    let hide = |table: &str| sql(&format!("ALTER TABLE {table} RENAME TO hidden"));
    let show = |table: &str| sql(&format!("ALTER TABLE hidden RENAME TO {table}"));
    shop.app.store.write(hide("corrections")).await.unwrap();
    assert!(audit(&shop.app).await.is_err());
    shop.app.store.write(show("corrections")).await.unwrap();
    shop.clock.advance_ms(599_000);
    assert_eq!((audit(&other.app).await.unwrap(), other.app.metrics.last_audit_at.get()), (0, 0), "not yet");
    // The rules find something, and then the audit log cannot be read.
    let broken = "ALTER TABLE ledger DISABLE TRIGGER USER; UPDATE ledger SET amount_fen = amount_fen + 1";
    shop.app.store.write(sql(broken)).await.unwrap();
    shop.app.store.write(hide("audit_seal")).await.unwrap();
    shop.clock.advance_ms(1_000);
    assert!(audit(&shop.app).await.is_err());
    shop.app.store.write(show("audit_seal")).await.unwrap();
    assert!(audit(&other.app).await.unwrap() > 0, "what was found is known to all");
    assert_eq!((shop.app.metrics.books_clean.get(), other.app.metrics.books_clean.get()), (0, 0));
    assert!(audit(&shop.app).await.unwrap() > 0);
    assert_eq!(shop.app.metrics.books_clean.get(), 0);
    shop.app.store.write(sql("UPDATE ledger SET amount_fen = amount_fen - 1")).await.unwrap();
}

#[actix_web::test]
async fn sweeps_of_two_instances_ask_about_each_order_once() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let user = shop.user("ann").await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let number = user.top_up("50").await;
        shop.simulator.pay(&number).unwrap();
        numbers.push(number);
    }
    shop.clock.advance_ms(60_000);
    let round = |app| jobs::query_pending::run_once(app);
    let (here, there) = tokio::join!(round(shop.app.clone()), round(other.app.clone()));
    assert_eq!(here.unwrap() + there.unwrap(), numbers.len());
    for number in &numbers {
        assert_eq!(shop.books(number).await.balance, 20_000, "{number}");
    }
}

#[actix_web::test]
async fn refunds_of_one_payment_asked_for_at_two_instances_never_exceed_it() {
    let shop = Shop::open().await;
    let Some(other) = shop.server_beside() else { return };
    let number = shop.paid("ann", "50").await;
    let admin = shop.admin().await;
    let home = format!("/admin/orders/{number}");
    let there = moved(&admin, &other);
    let asked = (0..8).map(|n| {
        let (browser, home, intent) =
            (if n % 2 == 0 { &admin } else { &there }, &home, shop.clock.nonce().unwrap());
        async move { refund(browser, home, &intent, "20").await }
    });
    let answers = join_all(asked).await;
    let order = shop.order(&number).await;
    let made = shop.app.store.read(move |db| refunds::of_order(db, order.id)).await.unwrap();
    let sum: i64 = made.iter().map(|refund| refund.amount.get()).sum();
    let said: Vec<_> = answers.iter().map(|answer| (answer.status, answer.body.clone())).collect();
    assert_eq!((made.len(), sum), (2, 4_000), "{said:?}");
}

#[actix_web::test]
async fn instances_that_start_together_on_an_empty_server_migrate_once_and_both_serve() {
    let shop = Shop::open().await;
    let Some(url) = crate::database::server() else { return };
    let empty = crate::database::on_server(&url);
    let open = |database| tokio::task::spawn_blocking(move || Store::open(&database).unwrap());
    let stores = join_all((0..4).map(|_| open(empty.clone()))).await;
    for store in stores {
        assert!(store.unwrap().read(books::breaches).await.unwrap().is_empty());
    }
    crate::database::forget(&empty);
    drop(shop);
}
