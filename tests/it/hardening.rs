//! What was once wrong and must stay right: phones and rights, refunds made elsewhere, clocks set back,
//! changed accounts, floods, and what the machines around us are told.

use crate::{
    books::{Files, sql},
    database,
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
        notify::{self, Incoming},
        set_up,
        settle::Evidence,
        top_up::{self, Pay},
    },
    gateway::Protocol,
    simulator::{SignedNotify, Signer, faults::Scenario},
    store::{attempts, openids, pending},
};
use std::os::unix::fs::PermissionsExt;

const HOUR_MS: i64 = 3_600_000;
/// Where a phone lands that signs nobody in.
const NOBODY: &str = "/login?next=%2Forders&wechat=unknown";

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
    let (appid, openid) =
        (shop.app.config.wechat_v2.as_ref().unwrap().appids.web.clone(), person(shop, number));
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
    assert_eq!(shop.attempts(&number).await[0].payer, Some(person(&shop, 0xbb)));
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
async fn an_order_refunded_elsewhere_ends_with_its_time_and_a_late_callback_is_looked_at() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let callback = shop.simulator.signed_notify(&number, &[]);
    shop.simulator.refund(&number).unwrap();
    shop.clock.advance_ms(2 * HOUR_MS);
    assert_eq!((shop.close_expired().await, shop.close_expired().await), (1, 0));
    let books = shop.books(&number).await;
    let now = Some(shop.clock.now());
    assert_eq!((books.order.closed_at, books.order.is_paid(), books.balance), (now, false, 0));
    assert_eq!(shop.attempts(&number).await[0].closed_at, now);
    assert_eq!(kinds_of_work(&shop).await, ["refunded_elsewhere"]);
    for verdicts in [vec!["late_payment"], vec!["late_payment", "duplicate"]] {
        assert!(shop.notify(callback.clone()).await.body.contains("SUCCESS"));
        assert_eq!(shop.verdicts().await, verdicts);
        assert_eq!(shop.books(&number).await.balance, 5000);
        let kinds = ["refunded_elsewhere", "credited_after_refund", "late_payment"];
        assert_eq!(kinds_of_work(&shop).await, kinds);
    }
    assert!(shop.order(&number).await.late);
}

#[actix_web::test]
async fn after_a_clock_was_set_back_nobody_waits_for_claims_taken_in_the_future() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    // Asked by the page just now; then the clock is an hour behind.
    assert_eq!(user.status(&number).await["paid"], false);
    shop.clock.advance_ms(-HOUR_MS);
    let (now, key) = (shop.clock.now(), OutTradeNo::parse(&number).unwrap());
    let page = pending::Turn::Unasked { gap_ms: 2_000 };
    let claims = shop.app.store.write(move |db| {
        Ok((
            [attempts::claim_prepay(db, &key, now, 6_000)?, attempts::claim_prepay(db, &key, now, 6_000)?],
            [pending::claim(db, &key, now, page)?, pending::claim(db, &key, now, page)?],
        ))
    });
    let (prepay, query) = claims.await.unwrap();
    assert_eq!(prepay, [true, false], "free once, then taken as ever");
    assert_eq!(query.map(|asked| asked.is_some()), [true, false]);

    // Nor does a message we do not believe, which makes the sweep ask about the order it names.
    shop.clock.advance_ms(-2 * HOUR_MS);
    assert_eq!(shop.sweep().await, 1, "two hours ahead");
    shop.clock.advance_ms(-60_001);
    let forged =
        shop.simulator.signed_notify(&number, &[]).replacen("<sign><![CDATA[", "<sign><![CDATA[0", 1);
    shop.notify(forged).await;
    assert_eq!(shop.sweep().await, 1, "hurried");

    shop.clock.advance_ms(-HOUR_MS);
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(user.status(&number).await["paid"], true);
}

#[actix_web::test]
async fn while_a_clock_is_hours_behind_the_sweep_does_not_ask_at_every_round() {
    let shop = Shop::open().await;
    shop.user("ann").await.top_up("50").await;
    shop.clock.advance_ms(-3 * HOUR_MS);
    assert_eq!(shop.sweep().await, 1);
    shop.clock.advance_ms(2_000);
    assert_eq!(shop.sweep().await, 0);
    shop.clock.advance_ms(HOUR_MS);
    assert_eq!(shop.sweep().await, 1);
}

#[actix_web::test]
async fn a_query_due_hours_ahead_is_asked_now_and_one_due_soon_is_not() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(-HOUR_MS);
    assert_eq!(shop.sweep().await, 0, "an hour ahead may be our own timetable");
    shop.clock.advance_ms(-HOUR_MS);
    assert_eq!(shop.sweep().await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn an_attempt_made_for_another_merchant_account_is_left_to_a_person() {
    let files = Files::new();
    let database = files.database();
    let shop = Shop::open_with(move |config| config.database = database).await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let session = user.cookie().unwrap();
    let old = shop.close().await;

    let database = files.database();
    let shop = Shop::open_with(move |config| {
        config.database = database;
        config.wechat_v2 = old.wechat_v2;
        config.wechat_v2.as_mut().unwrap().mch_id = "1900000109".to_owned();
        config.secret_key = old.secret_key;
    })
    .await;
    // Neither is the old prepay_id handed out, nor the old number used at the new account.
    let returning = Browser::new(shop.url.clone(), WECHAT);
    returning.set_cookie(&session);
    for minutes in [0, 111] {
        shop.clock.advance_ms(minutes * 60_000);
        let page = returning.get(&format!("/orders/{number}/pay")).await;
        assert!(page.body.contains("支付通道繁忙"), "{}", page.body);
    }
    shop.clock.advance_ms(HOUR_MS);
    assert_eq!((shop.sweep().await, shop.sweep().await), (1, 0));
    // This account's WeChat would say ORDERNOTEXIST, which proves nothing. It is looked at every hour.
    for _ in 0..3 {
        assert_eq!(shop.close_expired().await, 1);
        shop.clock.advance_ms(HOUR_MS - 1);
        assert_eq!(shop.close_expired().await, 0);
        shop.clock.advance_ms(1);
        assert_eq!(shop.order(&number).await.closed_at, None);
        assert_eq!(shop.attempts(&number).await[0].closed_at, None);
    }
    assert_eq!(shop.calls(&number), [""; 0]);
    // One order is one matter, however often it was looked at.
    assert_eq!(alerts(&shop, "foreign_account"), 1);
    assert_eq!(kinds_of_work(&shop).await, ["foreign_account"]);

    let paid = [("total_fee", "5000"), ("cash_fee", "5000")];
    let answer = shop.notify(shop.simulator.signed_notify(&number, &paid)).await;
    assert!(answer.body.contains("FAIL"), "{}", answer.body);
    assert_eq!(shop.verdicts().await, ["account_mismatch"]);
    assert_eq!(kinds_of_work(&shop).await, ["foreign_account", "account_mismatch"]);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.is_paid()), (0, false));
}

#[actix_web::test]
async fn a_page_that_came_back_from_the_pay_sheet_makes_the_sweep_ask_within_two_seconds() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    // So old that the timetable asks every 110 s.
    shop.clock.advance_ms(36 * 60_000);
    assert_eq!((shop.sweep().await, shop.sweep().await), (1, 0));
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let token = user.form_token("/top-up").await;
    let fields = [("token", token.as_str()), ("result", "ok")];
    assert_eq!(user.post(&format!("/orders/{number}/returned"), &fields).await.status, 204);
    shop.clock.advance_ms(1_999);
    assert_eq!(shop.sweep().await, 0);
    shop.clock.advance_ms(1);
    assert_eq!(shop.sweep().await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn pages_that_say_they_came_back_too_often_are_told_to_wait_and_nobody_else_is() {
    let shop = Shop::open().await;
    let (ann, bob) = (shop.user("ann").await, shop.user("bob").await);
    let number = ann.top_up("50").await;
    let say = async |user: &Browser, number: &str| {
        let token = user.form_token("/top-up").await;
        user.post(&format!("/orders/{number}/returned"), &[("token", &token), ("result", "cancel")]).await
    };
    let mut told = Vec::new();
    while told.len() < 60 && told.last() != Some(&429) {
        let answer = say(&ann, &number).await;
        assert!(answer.status != 429 || !answer.header("retry-after").is_empty());
        told.push(answer.status);
    }
    assert!(
        told.len() > 10 && told.pop() == Some(429) && told.iter().all(|status| *status == 204),
        "{told:?}"
    );
    let other = bob.top_up("50").await;
    assert_eq!(say(&bob, &other).await.status, 204);
}

#[actix_web::test]
async fn an_order_is_tried_ten_times_at_most_and_then_says_that_a_new_one_is_needed() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
    let made = user.post_json("/top-up", &fields).await;
    let number = made.json()["out_trade_no"].as_str().unwrap().to_owned();
    let id = shop.order(&number).await.id;
    let phones = [person(&shop, 1), person(&shop, 2)];
    for attempt in 2..=12 {
        let payer = Some(&phones[attempt % 2]);
        let pay = top_up::checkout(&shop.app, id, Channel::WechatJsapi, payer, "127.0.0.1").await.unwrap();
        if attempt <= 10 {
            assert!(matches!(pay, Pay::Ready(_)), "attempt {attempt}: {pay:?}");
        } else {
            assert_eq!(pay, Pay::UsedUp, "attempt {attempt}");
        }
        assert_eq!(shop.attempts(&number).await.len(), attempt.min(10));
    }
    assert_eq!(shop.order(&number).await.closed_at, None);
    let again = user.post_json("/top-up", &fields).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("conflict")), "{}", again.body);
    let page = user.get(&format!("/orders/{number}/pay")).await;
    assert!(page.status == 200 && page.body.contains("重新下单"), "{}", page.body);
}

#[actix_web::test]
async fn a_flood_of_forged_callbacks_is_refused_without_being_written_down_and_holds_up_no_money() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let genuine = shop.simulator.signed_notify(&number, &[]);
    let forged = genuine.replacen("<sign><![CDATA[", "<sign><![CDATA[0", 1);
    assert_ne!(forged, genuine);
    let first = shop.notify(forged.clone()).await;
    assert!(first.status == 200 && first.body.contains("FAIL"), "{}", first.body);
    assert_eq!((shop.verdicts().await.len(), shop.app.metrics.notices_dropped.get()), (1, 0));
    for round in 0..40 {
        // The allowance grows again by and by; a flood takes all of it.
        while shop.app.has_room_for_junk() {}
        let evidence = Evidence { body: forged.clone().into_bytes(), ..Evidence::default() };
        let incoming = Incoming {
            protocol: shouyin::gateway::Protocol::WechatV2,
            evidence,
            received_at: shop.clock.now(),
        };
        assert_eq!(notify::receive(shop.app.clone(), incoming).await.unwrap().body, first.body);
        if round == 20 {
            while shop.app.has_room_for_junk() {}
            assert!(shop.notify(genuine.clone()).await.body.contains("SUCCESS"));
            assert_eq!(shop.books(&number).await.balance, 5000);
        }
    }
    let dropped = shop.app.metrics.notices_dropped.get();
    let written = shop.verdicts().await.iter().filter(|verdict| *verdict != "ok").count();
    assert!(dropped > 0, "none of 40 was dropped");
    assert_eq!(u64::try_from(written).unwrap() + dropped, 41);
    let metrics = shop.browser().get("/metrics").await.body;
    assert!(metrics.contains(&format!("notify_dropped_total {dropped}")), "{metrics}");
}

/// What a load balancer hears: the status and the words.
async fn ready(shop: &Shop) -> (u16, String) {
    let answer = shop.browser().get("/readyz").await;
    assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.body);
    (answer.status, answer.body)
}

#[actix_web::test]
async fn a_server_told_to_stop_says_so_in_plain_words() {
    let shop = Shop::open().await;
    assert_eq!(ready(&shop).await, (200, "ready\n".to_owned()));
    shop.web.drain();
    assert_eq!(ready(&shop).await, (503, "not ready: stopping\n".to_owned()));
    assert_eq!(shop.browser().get("/healthz").await.status, 200);
}

#[actix_web::test]
async fn a_server_whose_books_take_no_writes_is_not_ready() {
    let deaf = (503, "not ready: the database does not take writes\n".to_owned());
    // As a full disk would: a transaction begins and ends, only nothing can be written in it.
    let in_a_file = [
        "PRAGMA query_only = ON",
        "CREATE TRIGGER full BEFORE UPDATE ON heartbeat BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    ];
    let on_a_server = [
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "CREATE TRIGGER disk_full BEFORE UPDATE ON heartbeat EXECUTE FUNCTION refuse('disk full')",
    ];
    for change in if database::server().is_some() { on_a_server } else { in_a_file } {
        let shop = Shop::open().await;
        assert_eq!(ready(&shop).await.0, 200);
        let _ = shop.app.store.write(sql(change)).await;
        assert_eq!(ready(&shop).await, deaf, "{change}");
    }
}

#[actix_web::test]
async fn behind_a_proxy_nobody_named_the_metrics_are_hidden() {
    let url = PublicUrl::parse("https://pay.shop.cn").unwrap();
    for (https, trusted, forwarded, status) in [
        (false, false, false, 200),
        (false, false, true, 404),
        (true, false, false, 404),
        (true, true, false, 200),
        (true, true, true, 404),
    ] {
        let url = url.clone();
        let shop = Shop::open_with(move |config| {
            if https {
                config.public_url = url;
            }
            if trusted {
                config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            }
        })
        .await;
        let headers: &[_] = if forwarded { &[("x-forwarded-for", "203.0.113.9")] } else { &[] };
        let answer = shop.browser().send(reqwest::Method::GET, "/metrics", headers, None).await;
        assert_eq!(answer.status, status, "https {https}, trusted {trusted}, forwarded {forwarded}");
    }
}

#[actix_web::test]
async fn no_insert_or_replace_rewrites_what_is_kept_for_ever() {
    let shop = Shop::open().await;
    if shop.app.config.database.file().is_none() {
        eprintln!("skipped: REPLACE is a statement of SQLite alone");
        return;
    }
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let before = shop.books(&number).await;
    let order = "id, out_trade_no, user_id, intent, goods_name, amount_fen, environment, created_at, expires_at, \
                 close_after";
    let rest = "order_id, channel, provider, account, environment, amount_fen, goods_name, payer, client_ip, \
                'https://evil.example', created_at, expires_at, asked_at, prepay_id, prepaid_at, closed_at";
    let entry = "kind, source_id, order_id, account, amount_fen, notice_id, created_at";
    let doubled = entry.replace("amount_fen", "2 * amount_fen");
    for refused in [
        format!("INSERT OR REPLACE INTO orders ({order}, status) SELECT {order}, 0 FROM orders"),
        format!("REPLACE INTO orders ({order}) SELECT {} FROM orders", order.replacen("id", "id + 100", 1)),
        format!("INSERT OR REPLACE INTO attempts SELECT out_trade_no, {rest} FROM attempts"),
        format!("INSERT OR REPLACE INTO ledger (id, {entry}) SELECT id, {doubled} FROM ledger"),
        format!("INSERT OR REPLACE INTO ledger ({entry}) SELECT {doubled} FROM ledger"),
        "INSERT OR REPLACE INTO notices SELECT id, received_at, provider, source, verdict, out_trade_no, \
         transaction_id, remote_ip, headers, 'forged', reply FROM notices"
            .to_owned(),
        "UPDATE OR REPLACE orders SET id = id + 1".to_owned(),
    ] {
        let said = shop.app.store.write(sql(&refused)).await.expect_err(&refused).to_string();
        assert!(["never", "keeps"].iter().any(|word| said.contains(word)), "{refused}: {said}");
    }
    assert_eq!(shop.books(&number).await, before);
    assert_eq!((before.balance, before.order.is_paid()), (5000, true));
}

#[actix_web::test]
async fn only_this_user_can_read_the_database_files() {
    let files = Files::new();
    let database = files.database();
    let path = database.file().unwrap().to_owned();
    let shop = Shop::open_with(move |config| config.database = database).await;
    shop.user("ann").await;
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        seen.push(entry.file_name().into_string().unwrap());
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{seen:?}");
    }
    seen.sort();
    assert_eq!(seen, ["books.db", "books.db-shm", "books.db-wal", "books.db.lock"]);
}

/// Hands the shop a callback of V3; gives the status it is answered with.
async fn hand_in(shop: &Shop, message: SignedNotify, about_refund: bool) -> u16 {
    let evidence =
        Evidence { headers: message.lines(), body: message.body.into_bytes(), ..Evidence::default() };
    let incoming = Incoming { protocol: Protocol::WechatV3, evidence, received_at: shop.clock.now() };
    let answer = if about_refund {
        notify::receive_refund(shop.app.clone(), incoming).await
    } else {
        notify::receive(shop.app.clone(), incoming).await
    };
    answer.unwrap().status
}

#[actix_web::test]
async fn a_signed_callback_that_opens_and_cannot_be_read_is_evidence_and_a_persons_work() {
    let shop = Shop::open_v3().await;
    shop.simulator.sign_callbacks_with(Some(Signer::PublicKey));
    let odd = r#"{"out_trade_no":"1","amount":{"total":1,"total":100}}"#;
    let message = shop.simulator.v3_message("TRANSACTION.SUCCESS", odd, "1").unwrap().unwrap();
    assert_eq!(hand_in(&shop, message, false).await, 400);
    assert_eq!(shop.verdicts().await, ["incomplete"]);
    assert_eq!(kinds_of_work(&shop).await, ["incomplete"]);
    assert_eq!(alerts(&shop, "incomplete"), 1);
    let rejected = shop.app.store.read(|db| shouyin::store::notices::list(db, true, None, 9)).await.unwrap();
    assert_eq!(rejected.len(), 0, "it is not in the ring, where it would be forgotten");
}

#[actix_web::test]
async fn a_signed_callback_that_does_not_open_or_comes_late_raises_an_alert_and_is_nobodys_work() {
    let shop = Shop::open_v3().await;
    shop.simulator.sign_callbacks_with(Some(Signer::PublicKey));
    let genuine = shop.simulator.v3_notify("1", &[]).unwrap().unwrap();
    let spoilt = genuine.body.replace("\"associated_data\":\"", "\"associated_data\":\"x");
    assert_ne!(spoilt, genuine.body);
    for (about_refund, count) in [(false, 1), (true, 2)] {
        let message = shop.simulator.v3_sign(&spoilt, "1").unwrap().unwrap();
        assert_eq!(hand_in(&shop, message, about_refund).await, 400);
        assert_eq!(alerts(&shop, "decrypt_failed"), count);
    }
    shop.clock.advance_ms(301_000);
    for (about_refund, count) in [(false, 1), (true, 2)] {
        assert_eq!(hand_in(&shop, genuine.clone(), about_refund).await, 400);
        assert_eq!(alerts(&shop, "stale"), count);
    }
    // Anybody can send this one.
    let unsigned = SignedNotify { headers: Vec::new(), body: spoilt };
    assert_eq!(hand_in(&shop, unsigned, false).await, 400);
    let (bad_sign, work) = (alerts(&shop, "bad_sign"), kinds_of_work(&shop).await);
    assert_eq!((bad_sign, work), (0, Vec::<String>::new()));
    let mut verdicts = shop.verdicts().await;
    verdicts.sort();
    assert_eq!(verdicts, ["bad_sign", "decrypt_failed", "decrypt_failed", "stale", "stale"]);
}
