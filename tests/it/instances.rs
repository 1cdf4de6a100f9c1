//! Several instances of the program on the books of one server. Skipped where the books are a file.

use crate::{
    harness::{Answer, Browser, Instance, Shop, WECHAT},
    refund_pages::refund,
};
use futures_util::future::join_all;
use reqwest::{Client, redirect::Policy};
use shouyin::{
    domain::order::Source,
    flow::confirm,
    jobs,
    store::{Store, books, refunds},
};

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
