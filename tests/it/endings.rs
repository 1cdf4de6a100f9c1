//! How orders and refunds come to their end when something goes wrong on the way: attempts opened while others close,
//! payments that credit nobody, clocks that were wrong, a gateway that is asked too often or does not answer.

use crate::{
    exceptions::{like_the_order, pay_at_wechat},
    harness::{Browser, PASSWORD, Shop, WECHAT, answered},
    refund_pages::{press, refund},
};
use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use shouyin::{
    app::App,
    domain::{
        ids::{Openid, OutTradeNo, Username},
        money::Fen,
        order::{Attempt, Channel, Source},
        refund::{Refund, RefundState},
        time::UnixMs,
        user::Role,
    },
    flow::{
        close::{self, Closed},
        top_up::{self, Pay},
    },
    gateway::{
        Response,
        wechat_v2::{sign, xml::Fields},
    },
    http::Http,
    jobs,
    simulator::faults::Scenario,
    store::{
        Db, Disk, Store, StoreError, attempts,
        pending::{self, Turn},
        refunds, users,
    },
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Barrier;

const MINUTE_MS: i64 = 60_000;
const TWO_HOURS_MS: i64 = 120 * MINUTE_MS;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

type Answer = BoxFuture<'static, String>;

/// Another instance on the same books; `wire` is given each call's path and what WeChat would answer if it were asked.
fn instance(shop: &Shop, wire: impl Fn(&str, Answer) -> Answer + Send + Sync + 'static) -> Arc<App> {
    let simulator = shop.simulator.clone();
    let line = move |shouyin::http::Letter { url, body, .. }| {
        let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap());
        let (simulator, asked) = (simulator.clone(), path.clone());
        let truth = async move { answered(&simulator, &asked, &body).unwrap() }.boxed();
        let answer = wire(&path, truth);
        async move { Ok(Response::new(200, answer.await.into_bytes())) }.boxed()
    };
    let http = Http::in_process(shop.app.config.origins.clone(), Arc::new(line));
    App::with_http(shop.app.config.clone(), shop.app.store.clone(), shop.clock.clone(), http).unwrap()
}

async fn kinds(shop: &Shop) -> Vec<String> {
    shop.work_items().await.into_iter().map(|item| item.kind).collect()
}

#[actix_web::test]
async fn an_order_is_not_closed_over_an_attempt_another_phone_opened_meanwhile() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    let order = shop.order(&number).await;
    let phone = Openid::parse(&shop.simulator.openid_of(7)).unwrap();
    // While WeChat's answer to closeorder is on its way, the second phone opens the page at the first instance.
    let (first, id, once) = (shop.app.clone(), order.id, AtomicBool::new(true));
    let closing = instance(&shop, move |path, truth| {
        let meddles = path == "/pay/closeorder" && once.swap(false, Ordering::SeqCst);
        let (app, phone) = (first.clone(), phone.clone());
        async move {
            let answer = truth.await;
            if meddles {
                let pay = top_up::checkout(&app, id, Channel::WechatJsapi, Some(&phone), "127.0.0.1").await;
                assert!(matches!(pay.unwrap(), Pay::Ready(_)));
            }
            answer
        }
        .boxed()
    });
    let closed = close::close_order(&closing, &order, Source::Sweep).await.unwrap();
    assert_eq!(closed, Closed::Unknown("another attempt is open".to_owned()));
    let attempts = shop.attempts(&number).await;
    let open: Vec<bool> = attempts.iter().map(|attempt| attempt.closed_at.is_none()).collect();
    assert_eq!((open.as_slice(), shop.order(&number).await.closed_at), ([false, true].as_slice(), None));
    // It is paid like any other, and its own time ends the order if it is not.
    shop.simulator.pay(attempts[1].out_trade_no.as_str()).unwrap();
    shop.deliver().await;
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.late, books.work.len()), (5000, false, 0));
}

/// Books in memory; once, just before a write, somebody else does something.
#[derive(Default)]
struct Meanwhile(Mutex<Option<BoxFuture<'static, ()>>>);

impl Disk for Meanwhile {
    fn before(&self, writes: bool) -> BoxFuture<'static, Result<(), StoreError>> {
        let others = self.0.lock().unwrap().take_if(|_| writes);
        async move {
            if let Some(others) = others {
                others.await;
            }
            Ok(())
        }
        .boxed()
    }

    fn after(&self, _writes: bool) -> BoxFuture<'static, Result<(), StoreError>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[actix_web::test]
async fn no_attempt_is_opened_for_an_order_that_was_closed_meanwhile() {
    let shop = Shop::open().await;
    let disk = Arc::new(Meanwhile::default());
    let store = Store::in_memory(disk.clone()).unwrap();
    let http = Http::in_process(shop.app.config.origins.clone(), Arc::new(|letter| panic!("{}", letter.url)));
    let app = App::with_http(shop.app.config.clone(), store, shop.clock.clone(), http).unwrap();
    let (name, now) = (Username::parse("ann").unwrap(), shop.clock.now());
    let user = app.store.write(move |db| users::insert(db, &name, "", Role::User, now)).await.unwrap();
    let wish = top_up::Wish {
        user_id: user.unwrap(),
        amount: Fen::new(5000).unwrap(),
        channel: Channel::WechatJsapi,
        intent: shop.clock.nonce().unwrap(),
    };
    let order = top_up::create(&app, wish).await.unwrap();
    // The page has read the order as open; by another instance's clock its time is over.
    let (other, closing) = (app.clone(), order.clone());
    let others = async move {
        let closed = close::close_order(&other, &closing, Source::Sweep).await.unwrap();
        assert_eq!(closed, Closed::Closed);
    };
    *disk.0.lock().unwrap() = Some(others.boxed());
    let phone = Openid::parse("o1").unwrap();
    let pay = top_up::checkout(&app, order.id, Channel::WechatJsapi, Some(&phone), "127.0.0.1").await;
    assert_eq!(pay.unwrap(), Pay::Closed);
    let id = order.id;
    assert_eq!(app.store.read(move |db| attempts::of_order(db, id)).await.unwrap(), []);
}

/// An attempt of the order that was sent to WeChat as ours and is paid there as theirs; no callback comes.
async fn paid_otherwise(shop: &Shop, ours: Attempt, theirs: Attempt) -> String {
    let (number, now) = (ours.out_trade_no.clone(), shop.clock.now());
    let write = move |db: &mut Db| {
        attempts::insert(db, &ours)?;
        attempts::claim_prepay(db, &ours.out_trade_no, now, 0)?;
        pending::insert(db, &ours.out_trade_no, now)
    };
    shop.app.store.write(write).await.unwrap();
    shop.simulator.set_scenario(number.as_str(), Scenario::NotifyLost);
    pay_at_wechat(shop, &theirs);
    number.as_str().to_owned()
}

/// Two days of rounds, a minute apart while orders expire and then ten.
async fn two_days(shop: &Shop) {
    let steps = [(TWO_HOURS_MS + 20 * MINUTE_MS, MINUTE_MS), (2 * DAY_MS, 10 * MINUTE_MS)];
    for (length, step) in steps {
        for _ in 0..length / step {
            shop.clock.advance_ms(step);
            shop.sweep().await;
            shop.close_expired().await;
        }
    }
}

#[actix_web::test]
async fn a_payment_refused_for_its_amount_is_told_once_and_its_order_ends() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let ours = like_the_order(&shop, &number, "other-amount", 5000).await;
    let theirs = Attempt { amount: Fen::new(4900).unwrap(), ..ours.clone() };
    let paid = paid_otherwise(&shop, ours, theirs).await;
    two_days(&shop).await;
    assert_eq!(shop.verdicts().await, ["amount_mismatch"], "the evidence, once");
    let item = shop.work_items().await.remove(0);
    assert_eq!((item.kind.as_str(), item.amount_fen, item.closed_at), ("amount_mismatch", Some(4900), None));
    let asked = shop.calls(&paid).iter().filter(|call| *call == "orderquery").count();
    assert!(asked <= 3, "{asked} questions");
    let order = shop.order(&number).await;
    let closed_ms = order.closed_at.expect("closed").since(order.expires_at);
    assert!(closed_ms <= 2 * MINUTE_MS, "{closed_ms} ms after its time");
    assert!(shop.attempts(&number).await.iter().all(|attempt| attempt.closed_at.is_some()));
    assert_eq!((order.is_paid(), user.status(&number).await["final"].clone()), (false, true.into()));
    // Whoever asks again hears the same, and the one row stays the one row.
    let all = shop.attempts(&number).await;
    let attempt = all.iter().find(|attempt| attempt.out_trade_no.as_str() == paid).unwrap();
    shouyin::flow::query::ask(&shop.app, attempt, Source::Admin).await.unwrap();
    assert_eq!((shop.verdicts().await.len(), kinds(&shop).await.len()), (1, 1));
    // And a right payment that comes late is credited all the same.
    shop.notify(shop.simulator.signed_notify(&number, &[("total_fee", "5000")])).await;
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.late), (5000, true));
}

#[actix_web::test]
async fn a_payment_credited_by_hand_does_not_keep_the_order_open_that_a_backup_brought_back() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    let lost = like_the_order(&shop, &number, "lost-and-found", 5000).await;
    pay_at_wechat(&shop, &lost);
    shop.deliver().await;
    let page = format!("/admin/work-items/{}/credit", shop.work_items().await[0].id);
    let credited = press(&admin, &page, &[("reason", "x"), ("username", "ann")]).await;
    assert_eq!(credited.status, 303, "{}", credited.body);
    let now = shop.clock.now();
    let restored = move |db: &mut Db| {
        attempts::insert(db, &lost)?;
        attempts::claim_prepay(db, &lost.out_trade_no, now, 0)?;
        pending::insert(db, &lost.out_trade_no, now)
    };
    shop.app.store.write(restored).await.unwrap();
    two_days(&shop).await;
    let told = shop.verdicts().await;
    assert_eq!(told.iter().filter(|verdict| *verdict == "transaction_reused").count(), 1, "{told:?}");
    let order = shop.order(&number).await;
    assert_eq!((order.closed_at.is_some(), order.is_paid()), (true, false));
    assert_eq!(shop.balance(order.user_id).await, 5000);
}

#[actix_web::test]
async fn a_payment_we_sent_back_ourselves_does_not_keep_its_order_open() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    let ours = like_the_order(&shop, &number, "sent-back", 5000).await;
    let theirs = Attempt { amount: Fen::new(4900).unwrap(), ..ours.clone() };
    paid_otherwise(&shop, ours, theirs).await;
    assert_eq!(shop.sweep().await, 1);
    let page = format!("/admin/work-items/{}", shop.work_items().await[0].id);
    assert_eq!(refund(&admin, &page, "abcdefgh", "49").await.status, 201);
    shop.wait_for_refunds(3, 20).await;
    assert_eq!(shop.simulator.refunded_total_fen(), 4900);
    two_days(&shop).await;
    assert!(shop.order(&number).await.closed_at.is_some());
    assert_eq!(kinds(&shop).await, ["amount_mismatch"], "nothing was refunded elsewhere");
}

#[actix_web::test]
async fn what_was_refunded_elsewhere_names_its_payment_and_offers_no_act() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    let payment = shop.simulator.pay(&number).unwrap();
    shop.simulator.refund(&number).unwrap();
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    let item = shop.work_items().await.remove(0);
    let told = (item.kind.as_str(), item.transaction_id.as_str(), item.amount_fen);
    assert_eq!(told, ("refunded_elsewhere", payment.as_str(), Some(5000)));
    let page = format!("/admin/work-items/{}", item.id);
    let shown = admin.get(&page).await.body;
    assert!(shown.contains(&payment) && shown.contains("50.00"), "{shown}");
    assert!(
        !shown.contains(&format!("{page}/refund")) && !shown.contains(&format!("{page}/credit")),
        "{shown}"
    );
    // How much of it is left nobody here knows.
    assert_eq!(refund(&admin, &page, "abcdefgh", "50").await.status, 409);
    assert_eq!(press(&admin, &format!("{page}/credit"), &[("reason", "x")]).await.status, 409);
}

#[actix_web::test]
async fn an_order_put_off_by_a_clock_that_was_a_day_ahead_is_closed_once_the_clock_is_right() {
    let mut shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.cut_off().await;
    shop.clock.advance_ms(DAY_MS + TWO_HOURS_MS);
    assert_eq!(shop.close_expired().await, 1);
    shop.clock.advance_ms(-DAY_MS);
    shop.reconnect();
    assert_eq!(shop.close_expired().await, 1);
    assert!(shop.order(&number).await.closed_at.is_some());
    // One whose time is not over is far ahead too, and rightly.
    user.top_up("50").await;
    assert_eq!(shop.close_expired().await, 0);
}

#[actix_web::test]
async fn a_refund_put_off_by_a_clock_that_was_a_day_ahead_is_looked_at_once_the_clock_is_right() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundProcessing);
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.wait_for_refunds(1, DAY_MS / 1000).await;
    shop.clock.advance_ms(-DAY_MS);
    assert_eq!(shop.follow_refunds().await, 1);
    assert_eq!(shop.follow_refunds().await, 0, "and not at every round");
    assert_eq!(shop.calls(refund.out_refund_no.as_str()), ["refund", "refundquery", "refundquery"]);
}

#[actix_web::test]
async fn a_refusal_by_a_clock_that_was_ahead_is_not_old_and_its_quiet_is_measured_anew() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.refund(&number).unwrap();
    shop.clock.advance_ms(DAY_MS);
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!(refund.last_answer.as_deref(), Some("INVALID_REQUEST 累计退款金额大于支付金额"));
    shop.clock.advance_ms(-DAY_MS);
    assert_eq!(shop.follow_refunds().await, 1);
    for (secs, state) in [(299, RefundState::Asking), (1, RefundState::Failed)] {
        shop.wait_for_refunds(1, secs).await;
        assert_eq!(shop.same_refund(&refund).await.state, state, "{secs} s later");
    }
}

#[actix_web::test]
async fn of_two_who_claim_within_a_millisecond_the_one_served_second_gets_nothing() {
    let shop = Shop::open().await;
    let refunded = shop.paid("ann", "50").await;
    let number = OutTradeNo::parse(&shop.user("bob").await.top_up("50").await).unwrap();
    let sent = asking(&shop, &refunded).await;
    shop.clock.advance_ms(10 * MINUTE_MS);
    let now = shop.clock.now();
    let claims = move |db: &mut Db| {
        let mut claimed = Vec::new();
        // The later one entered the queue first.
        for at in [now.plus_ms(1), now] {
            claimed.push([
                attempts::claim_prepay(db, &number, at, 6_000)?,
                pending::claim(db, &number, at, Turn::Unasked { gap_ms: 2_000 })?.is_some(),
                refunds::claim_request(db, sent.id, at, 10_000)?,
                refunds::claim_query(db, sent.id, at, 2_000)?,
            ]);
        }
        let planned = pending::backlog(db)?.1;
        pending::hurry(db, &number, now, MINUTE_MS)?;
        let hurried = pending::backlog(db)?.1;
        let asked = refunds::by_id(db, sent.id)?.unwrap();
        refunds::hurry(db, &asked, now, 2_000)?;
        Ok((claimed, planned == hurried, refunds::by_id(db, sent.id)?.unwrap().next_at))
    };
    let (claimed, calm, next_at) = shop.app.store.write(claims).await.unwrap();
    assert_eq!(claimed, [[true; 4], [false; 4]]);
    assert!(calm, "asked a millisecond ahead is asked just now");
    assert!(next_at.is_none_or(|at| at != now), "{next_at:?}");
}

/// A refund that was sent and not accepted: there is no money at WeChat for it.
async fn asking(shop: &Shop, number: &str) -> Refund {
    shop.simulator.set_scenario(number, Scenario::RefundNotEnough);
    let refund = shop.refund(number, "20").await.unwrap();
    assert_eq!(refund.state, RefundState::Asking);
    refund
}

/// An authentic failure, as WeChat signs it.
fn failure(shop: &Shop, err_code: &str) -> String {
    let account = shop.app.config.wechat_v2.as_ref().unwrap();
    let mut fields: Fields = [
        ("return_code", "SUCCESS"),
        ("appid", account.appids.web.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", "endings"),
        ("result_code", "FAIL"),
        ("err_code", err_code),
    ]
    .into_iter()
    .collect();
    fields.set("sign", &sign::sign(&fields, &account.key, account.sign_type));
    fields.to_xml()
}

#[actix_web::test]
async fn a_gateway_that_was_asked_too_often_is_left_alone_for_a_minute() {
    for (err_code, pause_secs) in [
        ("FREQUENCY_LIMITED", 60),
        ("RATELIMIT_EXCEEDED", 60),
        ("INVALID_REQ_TOO_MUCH", 60),
        ("SYSTEMERROR", 10),
    ] {
        let shop = Shop::open().await;
        let number = shop.paid("ann", "50").await;
        let refund = asking(&shop, &number).await;
        let reply = failure(&shop, err_code);
        let busy = instance(&shop, move |path, truth| match path {
            "/secapi/pay/refund" => std::future::ready(reply.clone()).boxed(),
            _ => truth,
        });
        shop.clock.advance_ms(10_000);
        assert_eq!(jobs::refunds::run_once(busy).await.unwrap(), 1);
        let after = shop.same_refund(&refund).await;
        assert_eq!(after.last_answer.as_deref(), Some(err_code));
        let pause = after.next_at.map(|at| at.since(shop.clock.now()));
        // The second try of its own is half a minute later, the first of a fault 10 s.
        assert_eq!(pause, Some(1000 * i64::max(pause_secs, 30)), "{err_code}");
    }
}

#[actix_web::test]
async fn a_gateway_that_hangs_is_asked_about_four_refunds_at_a_time() {
    let shop = Shop::open().await;
    let paid = join_all(["ann", "bob", "eve", "joe"].map(|name| shop.paid(name, "50"))).await;
    for number in &paid {
        shop.refund(number, "20").await.unwrap();
    }
    shop.clock.advance_ms(30_000);
    // Nobody is answered until all four have asked.
    let all = Arc::new(Barrier::new(4));
    let hanging = instance(&shop, move |_, truth| {
        let all = all.clone();
        async move {
            all.wait().await;
            truth.await
        }
        .boxed()
    });
    let round = tokio::time::timeout(Duration::from_secs(20), jobs::refunds::run_once(hanging));
    assert_eq!(round.await.expect("one after the other").unwrap(), 4);
    for row in shop.app.store.read(|db| refunds::ended(db, None, 10)).await.unwrap() {
        assert_eq!(row.state, RefundState::Success);
    }
}

#[actix_web::test]
async fn a_second_phone_is_busy_while_a_payment_that_credits_nobody_is_looked_at() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.simulator.refund(&number).unwrap();
    let phone = Browser::new(shop.url.clone(), WECHAT);
    assert_eq!(phone.log_in("ann", PASSWORD).await.status, 303);
    phone.go_to_wechat_and_back().await;
    let page = phone.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains("支付通道繁忙"), "{}", page.body);
    let attempts = shop.attempts(&number).await;
    assert_eq!((attempts.len(), attempts[0].closed_at), (1, None::<UnixMs>));
}
