//! Many at once: for one credit, for one name, for our patience. Fewer rounds than the catalogue asks
//! for, as debug builds share two cores.

use super::{
    Outcome, Table,
    effects::credited,
    table,
    world::{Snapshot, World, genuine, rows, signed},
};
use crate::harness::{Answer, PASSWORD, Shop};
use futures_util::future::join_all;
use reqwest::{Client, Method};
use shouyin::{
    domain::{ids::Openid, money::Fen, order::Channel},
    flow::top_up::{self, Pay, Wish},
    gateway::wechat_v2::sign::SignType,
};
use std::time::{Duration, Instant};

pub const CASES: Table = table! {
    "RACE-01" => same_callback,
    "RACE-02" => callback_and_query,
    "RACE-05" => orders_of_one_user,
    "RACE-07" => double_submit,
    "RACE-09" => same_name,
};

pub const RATE: Table = table! {
    "RATE-01" => forged_flood,
    "RATE-04" => spoofed_address,
};

const ROUNDS: usize = 40;

/// Prepared orders of ann, made below the web and its limits.
async fn orders(shop: &Shop, count: usize) -> Vec<String> {
    let payer = Openid::parse(&shop.simulator.openid_of(1)).unwrap();
    let mut numbers = Vec::new();
    for _ in 0..count {
        let wish = Wish {
            user_id: 1,
            amount: Fen::new(100).unwrap(),
            channel: Channel::WechatJsapi,
            intent: shop.clock.nonce().unwrap(),
        };
        let order = top_up::create(&shop.app, wish).await.unwrap();
        let pay =
            top_up::checkout(&shop.app, order.id, Channel::WechatJsapi, Some(&payer), "127.0.0.1").await;
        assert!(matches!(pay, Ok(Pay::Ready(_))), "{pay:?}");
        numbers.push(order.out_trade_no.as_str().to_owned());
    }
    numbers
}

async fn post(client: &Client, shop: &Shop, body: String) -> Answer {
    Answer::of(client.post(format!("{}/notify/wechat", shop.url)).body(body).send().await.unwrap()).await
}

async fn same_callback(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let (client, body) = (Client::new(), world.changed(&[]));
    let answers = join_all((0..100).map(|_| post(&client, &shop, body.clone()))).await;
    answers.iter().for_each(|answer| world.record(answer));
    let verdicts = shop.verdicts().await;
    let first = verdicts.iter().filter(|verdict| *verdict == "ok").count();
    let right = verdicts.len() == 100 && first == 1 && verdicts.iter().all(|v| v == "ok" || v == "duplicate");
    world.holds("100 rows in the notify record", right, format!("{} rows, {first} ok", verdicts.len()));
    Ok(())
}

async fn callback_and_query(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let client = Client::new();
    let mut wrong = Vec::new();
    for _ in 0..ROUNDS {
        let number = orders(&shop, 1).await.remove(0);
        shop.simulator.pay(&number).unwrap();
        shop.clock.advance_ms(11_000);
        let before = Snapshot::of(&shop).await;
        let body = signed(&shop, genuine(&shop, &number), SignType::Md5);
        let polls = join_all((0..10).map(|_| user.status(&number)));
        let (answer, polled, _) = tokio::join!(post(&client, &shop, body), polls, shop.sweep());
        world.record(&answer);
        wrong.extend(credited(&before, &Snapshot::of(&shop).await, &number, Some(100)).err());
        // A poll may be answered before the credit; the next may not.
        let last = user.status(&number).await;
        world.expect(polled.len() == 10 && last["paid"] == true, &last);
    }
    world.holds("CREDIT_ONCE per round", wrong.is_empty(), format!("{wrong:?}"));
    Ok(())
}

async fn orders_of_one_user(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let client = Client::new();
    let mut lost = Vec::new();
    for round in 0..ROUNDS {
        let numbers = orders(&shop, 16).await;
        let before = shop.balance(1).await;
        let bodies = numbers.iter().enumerate().map(|(index, number)| {
            let mut fields = genuine(&shop, number);
            // Any payer and any number of WeChat's own.
            fields.set("transaction_id", &format!("4200{round:012}{index:012}"));
            signed(&shop, fields, SignType::Md5)
        });
        for answer in join_all(bodies.map(|body| post(&client, &shop, body))).await {
            world.record(&answer);
        }
        let gained = shop.balance(1).await - before;
        if gained != 1600 {
            lost.push(gained);
        }
    }
    world.holds("balance grows by the exact sum", lost.is_empty(), format!("{lost:?}"));
    Ok(())
}

async fn double_submit(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let user = shop.user("ann").await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
    let answers = join_all((0..20).map(|_| user.post_json("/top-up", &fields))).await;
    let first = answers[0].json()["out_trade_no"].clone();
    for answer in &answers {
        world.expect(answer.status == 201 && answer.json()["out_trade_no"] == first, &answer.body);
    }
    let asked = shop.simulator.calls().iter().filter(|call| call.starts_with("unifiedorder")).count();
    let made = rows(&shop, "orders").await.len();
    world.holds("1 order, at most 1", made == 1 && asked <= 1, format!("{made} orders, {asked} calls"));
    Ok(())
}

async fn same_name(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let browser = shop.browser();
    let token = browser.form_token("/register").await;
    let fields = [("token", token.as_str()), ("username", "ann"), ("password", PASSWORD)];
    let cookie = browser.cookie().unwrap();
    let answers = join_all((0..50).map(async |_| {
        let own = shop.browser();
        own.set_cookie(&cookie);
        own.post("/register", &fields).await.status
    }))
    .await;
    let won = answers.iter().filter(|status| **status == 303).count();
    // Passwords are hashed two at a time; whoever waits too long is asked to come again.
    let others = answers.iter().all(|status| matches!(status, 303 | 409 | 422 | 503));
    let users = rows(&shop, "users").await.len();
    world.holds(
        "exactly one user row",
        won == 1 && others && users == 1,
        format!("{users} users, {answers:?}"),
    );
    Ok(())
}

/// The flood of one simulated minute against forty orders, with a genuine payer in the middle of it.
async fn forged_flood(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let client = Client::new();
    let mut numbers = orders(&shop, 40).await;
    // Everything has just been asked by the timetable and will not be again for an hour.
    shop.clock.advance_ms(31 * 60_000);
    settle_timetable(&shop).await;
    shop.clock.advance_ms(61_000);
    let asked_before = queries(&shop);
    let payer = numbers.pop().unwrap();
    let honest = signed(&shop, genuine(&shop, &payer), SignType::Md5);
    let (started, mut waits) = (Instant::now(), Vec::new());
    for _ in 0..6 {
        let forged = numbers.iter().flat_map(|number| {
            (0..5).map(|_| {
                let mut fields = genuine(&shop, number);
                fields.set("sign", "0123456789ABCDEF0123456789ABCDEF");
                post(&client, &shop, fields.to_xml())
            })
        });
        let genuine = async {
            let mut waits = Vec::new();
            for _ in 0..5 {
                let asked = Instant::now();
                let answer = post(&client, &shop, honest.clone()).await;
                waits.push((asked.elapsed(), answer.body.contains("SUCCESS")));
            }
            waits
        };
        let (answers, round) = tokio::join!(join_all(forged.collect::<Vec<_>>()), genuine);
        answers.iter().for_each(|answer| world.record(answer));
        waits.extend(round);
        shop.sweep().await;
        shop.clock.advance_ms(9_000);
        shop.sweep().await;
    }
    let asked = queries(&shop) - asked_before;
    let per_second = 10 * (started.elapsed().as_secs() + 2);
    // Once for each of the forty: the payer's is asked about too when a busy machine puts its callback off.
    let within = (1..=numbers.len() + 1).contains(&asked) && u64::try_from(asked).unwrap() <= per_second;
    world.holds(
        "orderquery calls <= the budget",
        within,
        format!("{asked} calls in {:?}", started.elapsed()),
    );
    let slowest = waits.iter().map(|(wait, _)| *wait).max().unwrap();
    let credited = waits.iter().all(|(_, received)| *received) && shop.balance(1).await == 100;
    println!(
        "RATE-01: {asked} queries after 1,170 forgeries; the slowest of 30 genuine callbacks {slowest:?}"
    );
    world.holds(
        "genuine notifies keep",
        credited && slowest < Duration::from_secs(5),
        format!("{slowest:?}"),
    );
    world.notes.push(
        "1,170 forgeries about 39 orders; time limit of WeChat (5 s) instead of 500 ms in a debug build",
    );
    Ok(())
}

fn queries(shop: &Shop) -> usize {
    shop.simulator.calls().iter().filter(|call| call.starts_with("orderquery")).count()
}

async fn settle_timetable(shop: &Shop) {
    let now = shop.clock.now().0;
    while rows(shop, "pending_queries").await.iter().any(|row| row["next_at"].as_i64() <= Some(now)) {
        shop.sweep().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn spoofed_address(world: &mut World) -> Outcome {
    let shop = world.open().await;
    shop.browser().register("ann").await;
    let browser = shop.browser();
    let token = browser.form_token("/login").await;
    let mut statuses = Vec::new();
    for number in 0..20 {
        let from = format!("203.0.113.{number}");
        let headers =
            [("x-forwarded-for", from.as_str()), ("forwarded", "for=203.0.113.9"), ("x-real-ip", &from)];
        let fields = [("token", token.as_str()), ("username", "ann"), ("password", "wrong one")];
        let answer = browser.send(Method::POST, "/login", &headers, Some(&fields)).await;
        statuses.push(answer.status);
    }
    let limited = statuses.iter().filter(|status| **status == 429).count();
    world.holds("limit keyed on the real peer", limited >= 8, format!("{statuses:?}"));
    Ok(())
}
