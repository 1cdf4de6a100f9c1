//! Everything at once: callbacks, queries, the sweep, waiting pages and closing race for the same orders
//! from eight threads. Each order is credited once and nobody gets an error.

use crate::harness::{Answer, Shop};
use reqwest::{Client, redirect::Policy};
use shouyin::{
    app::App,
    domain::{
        ids::{Openid, Username},
        money::Fen,
        order::{Channel, Order, Settled, Source},
        user::Role,
    },
    flow::{
        close, confirm,
        notify::{self, Incoming},
        query::{self, Asked},
        settle::Evidence,
        top_up::{self, Pay, Wish},
    },
    jobs,
    simulator::faults::Scenario,
    store::{attempts, orders, users},
};
use std::{future::Future, sync::Arc};
use tokio::sync::Barrier;

const THREADS: usize = 8;

/// One order of the race and its true callback.
#[derive(Clone)]
struct Racer {
    order: Order,
    callback: String,
}

/// Orders of 8 users, paid at WeChat, not yet known to be paid here.
async fn paid_orders(shop: &Shop, count: usize, scenario: Scenario) -> Vec<Racer> {
    let now = shop.clock.now();
    let made = shop.app.store.write(move |db| {
        (1..=8)
            .map(|n| {
                users::insert(db, &Username::parse(&format!("user{n}")).unwrap(), "none", Role::User, now)
            })
            .collect::<Result<Vec<_>, _>>()
    });
    let ids: Vec<i64> = made.await.unwrap().into_iter().flatten().collect();
    let mut racers = Vec::new();
    for n in 0..count {
        let wish = Wish {
            user_id: ids[n % ids.len()],
            amount: Fen::new(i64::try_from(n).unwrap() + 1).unwrap(),
            channel: Channel::WechatJsapi,
            intent: shop.clock.nonce().unwrap(),
        };
        let order = top_up::create(&shop.app, wish).await.unwrap();
        let pay = checkout(&shop.app, order.id, &shop.simulator.openid_of(1)).await;
        assert!(matches!(pay, Pay::Ready(_)));
        let number = order.out_trade_no.as_str();
        shop.simulator.set_scenario(number, scenario);
        shop.simulator.pay(number).unwrap();
        racers.push(Racer { callback: shop.simulator.signed_notify(number, &[]), order });
    }
    racers
}

async fn checkout(app: &App, order_id: i64, openid: &str) -> Pay {
    let openid = Openid::parse(openid).unwrap();
    top_up::checkout(app, order_id, Channel::WechatJsapi, Some(&openid), "127.0.0.1").await.unwrap()
}

/// Runs `act` on eight threads over all racers; for each racer all threads start together.
async fn race<F, R>(app: &Arc<App>, racers: &[Racer], act: F)
where
    F: Fn(usize, Arc<App>, Racer) -> R + Clone + Send + 'static,
    R: Future<Output = ()>,
{
    let barrier = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (app, racers, act, barrier) = (app.clone(), racers.to_vec(), act.clone(), barrier.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for racer in racers {
                        barrier.wait().await;
                        act(thread, app.clone(), racer).await;
                    }
                    // Connections live on the thread that opened them and are shared: leave together.
                    barrier.wait().await;
                });
            })
        })
        .collect();
    // The test's own runtime goes on, for the connections it has opened.
    let joined =
        tokio::task::spawn_blocking(|| threads.into_iter().try_for_each(std::thread::JoinHandle::join));
    joined.await.unwrap().unwrap();
}

async fn by_flow(app: &Arc<App>, racer: &Racer) {
    let evidence = Evidence { body: racer.callback.clone().into_bytes(), ..Evidence::default() };
    let incoming =
        Incoming { protocol: shouyin::gateway::Protocol::WechatV2, evidence, received_at: app.clock.now() };
    let answer = notify::receive(app.clone(), incoming).await.unwrap();
    assert!(answer.body.contains("[SUCCESS]"), "{}", answer.body);
}

async fn by_http(app: &Arc<App>, racer: &Racer) {
    let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let request = client.post(app.config.url("/notify/wechat")).body(racer.callback.clone());
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("[SUCCESS]"), "{}", answer.body);
}

async fn by_query(app: &Arc<App>, racer: &Racer, source: Source) {
    let number = racer.order.out_trade_no.clone();
    let attempt = app.store.read(move |db| attempts::by_number(db, &number)).await.unwrap().unwrap();
    let asked = query::ask(app, &attempt, source).await.unwrap();
    let settled = [Settled::Now, Settled::Already, Settled::Late].map(Asked::Paid);
    assert!(settled.contains(&asked), "{asked:?}");
}

/// Every racer is paid and credited once, and the books agree with what was paid at WeChat.
async fn all_credited_once(shop: &Shop, racers: &[Racer]) {
    let credits =
        shop.verdicts().await.iter().filter(|v| ["ok", "late_payment"].contains(&v.as_str())).count();
    assert_eq!(credits, racers.len());
    let mut balances = 0;
    for user in 1..=8 {
        balances += shop.balance(user).await;
    }
    assert_eq!(balances, shop.simulator.paid_total_fen());
    for racer in racers {
        assert!(shop.order(racer.order.out_trade_no.as_str()).await.is_paid());
    }
}

#[actix_web::test]
async fn two_hundred_orders_raced_by_eight_threads_are_two_hundred_credits() {
    let shop = Shop::open().await;
    let racers = paid_orders(&shop, 200, Scenario::Ok).await;
    // The sweep's first look at each is due.
    shop.clock.advance_ms(10_000);
    race(&shop.app, &racers, |thread, app, racer| async move {
        match thread {
            0 | 1 => by_flow(&app, &racer).await,
            2 | 3 => by_http(&app, &racer).await,
            4 => by_query(&app, &racer, Source::Query).await,
            5 => by_query(&app, &racer, Source::Admin).await,
            6 => drop(jobs::query_pending::run_once(app).await.unwrap()),
            _ => drop(confirm::status(&app, racer.order, 0).await.unwrap()),
        }
    })
    .await;
    all_credited_once(&shop, &racers).await;
    assert_eq!(shop.work_items().await.len(), 0);
    // WeChat's own callbacks come last, and every one is acknowledged.
    assert_eq!(shop.deliver().await, 200);
    for racer in &racers {
        let sent = shop.simulator.trade(racer.order.out_trade_no.as_str()).unwrap().callbacks;
        assert!(sent.iter().all(|sent| sent.accepted));
    }
    all_credited_once(&shop, &racers).await;
}

#[actix_web::test]
async fn closing_races_with_payment_and_no_money_is_lost() {
    let shop = Shop::open().await;
    let racers = paid_orders(&shop, 40, Scenario::LatePayment).await;
    shop.clock.advance_ms(2 * 3600 * 1000);
    race(&shop.app, &racers, |thread, app, racer| async move {
        match thread {
            0 | 1 => drop(close::close_order(&app, &racer.order, Source::Sweep).await.unwrap()),
            2 => drop(jobs::close_expired::run_once(app).await.unwrap()),
            3 => by_http(&app, &racer).await,
            4 => by_flow(&app, &racer).await,
            5 => by_query(&app, &racer, Source::Query).await,
            // Closed here by hand, as if the gateway had confirmed it a moment before the payment.
            6 => {
                let (id, now) = (racer.order.id, app.clock.now());
                app.store.write(move |db| orders::close(db, id, now)).await.unwrap();
            }
            _ => drop(jobs::query_pending::run_once(app).await.unwrap()),
        }
    })
    .await;
    all_credited_once(&shop, &racers).await;
}

#[actix_web::test]
async fn many_phones_at_once_leave_one_open_attempt_at_most() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    for _ in 0..5 {
        let wish = Wish {
            user_id: 1,
            amount: Fen::new(5000).unwrap(),
            channel: Channel::WechatJsapi,
            intent: shop.clock.nonce().unwrap(),
        };
        let id = top_up::create(&shop.app, wish).await.unwrap().id;
        let phones: Vec<String> = (1..=4).map(|person| shop.simulator.openid_of(person)).collect();
        let pays = phones.iter().map(|openid| checkout(&shop.app, id, openid));
        let pays = futures_util::future::join_all(pays).await;
        assert!(pays.iter().all(|pay| matches!(pay, Pay::Ready(_) | Pay::Busy)), "{pays:?}");
        let all = shop.app.store.read(move |db| attempts::of_order(db, id)).await.unwrap();
        assert!(all.iter().filter(|attempt| attempt.closed_at.is_none()).count() <= 1);
        for attempt in all.iter().filter(|attempt| attempt.closed_at.is_some()) {
            let payable = shop.simulator.pay(attempt.out_trade_no.as_str()).is_ok();
            assert!(!payable, "closed here and open at WeChat: {}", attempt.out_trade_no);
        }
    }
}
