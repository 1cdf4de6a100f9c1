//! Settling new orders in books that have many: of users all over the books, under numbers as the program makes them.

use crate::shop;
use shouyin::{
    app::App,
    domain::{
        ids::{Openid, OutTradeNo},
        money::Fen,
        order::{Attempt, Channel, Environment, Source},
    },
    flow::settle::{self, Evidence},
    gateway::{Gateway, Notified, Notify, wechat_v2::WechatV2},
    store::{attempts, orders, pending},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Payments of this run so far: no two have one number.
static PAYMENTS: AtomicUsize = AtomicUsize::new(0);

/// Settlements a second of so many new orders by so many callers.
pub async fn per_second(app: &Arc<App>, users: i64, count: usize, callers: usize, seed: usize) -> f64 {
    let numbers = make(app, users, count, seed).await;
    let first = PAYMENTS.fetch_add(count, Ordering::Relaxed);
    let account = app.config.wechat_v2.as_ref().unwrap();
    let body = |(nth, number): (usize, &OutTradeNo)| shop::callback(account, number.as_str(), first + nth);
    let bodies: Arc<Vec<String>> = Arc::new(numbers.iter().enumerate().map(body).collect());
    let started = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (app, bodies, step) = (app.clone(), bodies.clone(), callers);
            tokio::spawn(async move {
                let wechat = WechatV2 { account: app.config.wechat_v2.clone().unwrap() };
                for body in bodies.iter().skip(caller).step_by(step) {
                    let notify = Notify { body: body.as_bytes(), ..Notify::default() };
                    let Notified::Paid(payment) = wechat.notified(notify) else {
                        panic!("a genuine callback")
                    };
                    let evidence = Evidence { body: body.clone().into_bytes(), ..Evidence::default() };
                    let settled = settle::settle(&app, payment, Source::Notify, evidence).await.unwrap();
                    assert!(settled.credited(), "{settled:?}");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

async fn make(app: &Arc<App>, users: i64, count: usize, seed: usize) -> Vec<OutTradeNo> {
    let numbers: Vec<OutTradeNo> = (0..count).map(|_| app.clock.out_trade_no().unwrap()).collect();
    let (now, account) = (app.clock.now(), app.gateway_for(Channel::WechatJsapi).unwrap().1);
    for (nth, chunk) in numbers.chunks(100).enumerate() {
        let (chunk, account) = (chunk.to_vec(), account.clone());
        app.store
            .write(move |db| {
                for (place, number) in chunk.iter().enumerate() {
                    let drawn = i64::try_from((seed * 100_003 + nth * 1_009 + place) * 7_919).unwrap();
                    let new = orders::NewOrder {
                        out_trade_no: number.clone(),
                        user_id: 1 + drawn % users,
                        intent: number.as_str().to_owned(),
                        goods_name: "账户充值".to_owned(),
                        amount: Fen::new(100).unwrap(),
                        environment: Environment::Simulator,
                        created_at: now,
                        expires_at: now.plus_secs(7200),
                    };
                    let attempt = Attempt {
                        out_trade_no: number.clone(),
                        order_id: orders::insert(db, &new)?,
                        channel: Channel::WechatJsapi,
                        account: account.clone(),
                        environment: new.environment,
                        amount: new.amount,
                        goods_name: new.goods_name,
                        payer: Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE"),
                        client_ip: "127.0.0.1".to_owned(),
                        notify_url: "https://pay.example.com/notify/wechat".to_owned(),
                        created_at: now,
                        expires_at: new.expires_at,
                        asked_at: None,
                        prepay_id: None,
                        prepaid_at: None,
                        closed_at: None,
                    };
                    attempts::insert(db, &attempt)?;
                    pending::insert(db, number, now.plus_secs(600))?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    numbers
}
