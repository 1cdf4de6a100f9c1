//! How long a page that waits at one instance takes to hear of what another has credited.

use super::shop;
use crate::postgres::Schema;
use shouyin::{
    app::App,
    domain::{ids::OutTradeNo, order::Source},
    flow::{
        confirm,
        settle::{self, Evidence},
    },
    gateway::{Gateway, Notified, Notify, wechat_v2::WechatV2},
    jobs::Jobs,
    store::orders,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const ORDERS: usize = 41;

pub async fn at_another(server: &str) {
    let schema = Schema::new(server, "shouyin_bench_hearing");
    let [here, there] = [shop::open(schema.database()), shop::open(schema.database())];
    let bodies = shop::prepare(&here, ORDERS, ORDERS).await;
    let jobs = Jobs::start(&there);
    let mut waits = vec![];
    for (nth, body) in bodies.iter().enumerate() {
        waits.push(heard_after(&here, &there, nth, body).await.as_secs_f64() * 1e3);
    }
    jobs.stop().await;
    waits.sort_by(f64::total_cmp);
    println!(
        "PostgreSQL: a page that waits at another instance hears of a credit after {:.0} ms ({:.0} to {:.0}; {ORDERS} pages, one after the other)",
        waits[ORDERS / 2],
        waits[0],
        waits[ORDERS - 1]
    );
}

async fn heard_after(here: &App, there: &Arc<App>, nth: usize, body: &str) -> Duration {
    let number = OutTradeNo::parse(&shop::number(nth)).unwrap();
    let order = there.store.read(move |db| orders::by_number(db, &number)).await.unwrap().unwrap();
    let page = {
        let there = there.clone();
        tokio::spawn(async move { confirm::status(&there, order, 25).await.unwrap() })
    };
    while there.waiting.orders().is_empty() {
        tokio::task::yield_now().await;
    }
    // At any point between two looks of that instance.
    tokio::time::sleep(Duration::from_millis((nth as u64 * 137) % 500)).await;
    let wechat = WechatV2 { account: here.config.wechat_v2.clone().unwrap() };
    let Notified::Paid(payment) = wechat.notified(Notify { body: body.as_bytes(), ..Notify::default() })
    else {
        panic!("a genuine callback")
    };
    let settled = settle::settle(here, payment, Source::Notify, Evidence::default()).await.unwrap();
    assert!(settled.credited(), "{settled:?}");
    let credited = Instant::now();
    assert!(page.await.unwrap().is_paid());
    credited.elapsed()
}
