//! Between order and credit: expiry and closing, outages, the sweep's timetable, numbers that are spent,
//! and more than one attempt at the same order.

use crate::harness::{Browser, PASSWORD, START, Shop, WECHAT, nowhere};
use futures_util::{FutureExt, future::join_all};
use shouyin::{
    domain::{
        ids::{Openid, OutTradeNo},
        money::Fen,
        order::{Channel, Source},
    },
    flow::{
        close::{self, Closed},
        confirm::{self, PageResult},
        top_up::{self, Pay},
    },
    gateway::Gateway,
    gateway::wechat_v2::WechatV2,
    jobs,
    simulator::{TradeState, faults::Scenario},
    store::{
        events::{self, Event, EventKind},
        pending::{self, Turn},
    },
};

const HOUR_MS: i64 = 3600 * 1000;
const TWO_HOURS_MS: i64 = 2 * HOUR_MS;

async fn ordered(shop: &Shop) -> (Browser, String) {
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    (user, number)
}

/// Another phone of the same user: signed in, with an openid of its own.
async fn other_phone(shop: &Shop) -> Browser {
    let phone = Browser::new(shop.url.clone(), WECHAT);
    assert_eq!(phone.log_in("ann", PASSWORD).await.status, 303);
    phone.go_to_wechat_and_back().await;
    phone
}

/// What closing wrote into the story of an order.
async fn closings(shop: &Shop, number: &str) -> Vec<String> {
    let id = shop.order(number).await.id;
    let story = shop.app.store.read(move |db| events::of_order(db, id)).await.unwrap();
    story.into_iter().filter(|event| event.kind == EventKind::Close).map(|event| event.detail).collect()
}

async fn open_pay_page(user: &Browser, number: &str) -> crate::harness::Answer {
    user.get(&format!("/orders/{number}/pay")).await
}

#[actix_web::test]
async fn an_expired_order_is_asked_about_before_it_is_closed() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    shop.clock.advance_ms(TWO_HOURS_MS - 1);
    assert_eq!(shop.close_expired().await, 0);
    shop.clock.advance_ms(1);
    assert_eq!(shop.close_expired().await, 1);
    let order = shop.order(&number).await;
    assert_eq!((order.closed_at, order.is_paid()), (Some(shop.clock.now()), false));
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
    assert_eq!(shop.close_expired().await, 0);
    let page = open_pay_page(&user, &number).await;
    assert_eq!((page.status, page.header("location")), (303, format!("/orders/{number}").as_str()));
}

#[actix_web::test]
async fn an_open_trade_is_closed_by_query_closeorder_query_in_this_order() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let order = shop.order(&number).await;
    assert_eq!(close::close_order(&shop.app, &order, Source::Sweep).await.unwrap(), Closed::Closed);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery", "closeorder", "orderquery"]);
    assert_eq!(shop.simulator.trade(&number).unwrap().state, TradeState::Closed);
    assert!(shop.order(&number).await.closed_at.is_some());
    let told = [format!("closeorder {number}: SUCCESS"), "closed: not paid in time".to_owned()];
    assert_eq!(closings(&shop, &number).await, told);
}

#[actix_web::test]
async fn a_number_wechat_does_not_know_is_closed_once_a_late_request_could_not_make_it_payable() {
    let mut shop = Shop::open().await;
    let user = shop.user("ann").await;
    shop.cut_off().await;
    assert_eq!(user.try_top_up("50").await.status, 503, "asked, and nothing arrived");
    shop.reconnect();
    let orders = user.get_json("/orders").await.json();
    let number = orders["orders"][0]["out_trade_no"].as_str().unwrap();
    let order = shop.order(number).await;
    // Our clock may be ten minutes ahead of WeChat's.
    shop.clock.advance_ms(TWO_HOURS_MS + 600_000 - 1);
    let unknown = Closed::Unknown("ORDERNOTEXIST".to_owned());
    assert_eq!(close::close_order(&shop.app, &order, Source::Sweep).await.unwrap(), unknown);
    assert_eq!(shop.order(number).await.closed_at, None);
    shop.clock.advance_ms(1);
    assert_eq!(close::close_order(&shop.app, &order, Source::Sweep).await.unwrap(), Closed::Closed);
    assert!(shop.order(number).await.closed_at.is_some());
    let told = format!("closeorder {number}: ORDERNOTEXIST");
    assert_eq!(closings(&shop, number).await, [told.as_str(), &told, "closed: not paid in time"]);
}

#[actix_web::test]
async fn an_order_that_was_paid_in_time_is_credited_and_not_closed() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(TWO_HOURS_MS);
    assert_eq!(shop.close_expired().await, 1);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.closed_at, books.order.late), (5000, None, false));
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn an_order_wechat_never_heard_of_is_closed_without_a_call() {
    let shop = Shop::open().await;
    let user = shop.browser();
    user.register("bob").await;
    let answer = user.try_top_up("50").await;
    assert_eq!((answer.status, answer.json()["pay"]["kind"].as_str()), (201, Some("redirect")));
    let number = answer.json()["out_trade_no"].as_str().unwrap().to_owned();
    shop.clock.advance_ms(TWO_HOURS_MS);
    assert_eq!(shop.close_expired().await, 1);
    assert!(shop.order(&number).await.closed_at.is_some());
    assert!(shop.calls(&number).is_empty());
}

#[actix_web::test]
async fn while_wechat_cannot_be_reached_an_expired_order_stays_open_and_is_tried_again() {
    let mut shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.cut_off().await;
    shop.clock.advance_ms(TWO_HOURS_MS);
    for _ in 0..3 {
        assert_eq!(shop.close_expired().await, 1);
        assert_eq!(shop.close_expired().await, 0, "not again within a minute");
        let order = shop.order(&number).await;
        assert_eq!((order.closed_at, order.is_paid()), (None, false));
        let page = user.get(&format!("/orders/{number}")).await.body;
        assert!(page.contains("结果确认中") && page.contains("请勿重复支付"), "{page}");
        assert_eq!(user.status(&number).await["final"], false);
        shop.clock.advance_ms(60_000);
    }
    shop.reconnect();
    assert_eq!(shop.close_expired().await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn with_every_origin_down_an_order_is_kept_and_neither_failed_nor_closed() {
    let shop = Shop::open_with(|config| config.origins.wechat_api = vec![nowhere(), nowhere()]).await;
    let user = shop.user("ann").await;
    let busy = user.try_top_up("50").await;
    assert_eq!((busy.status, busy.header("retry-after")), (503, "3"));
    let number =
        user.get_json("/orders").await.json()["orders"][0]["out_trade_no"].as_str().unwrap().to_owned();
    let page = open_pay_page(&user, &number).await;
    assert!(page.status == 200 && page.body.contains("支付通道繁忙"), "{}", page.body);
    shop.clock.advance_ms(TWO_HOURS_MS);
    assert_eq!(shop.close_expired().await, 1);
    assert_eq!(shop.order(&number).await.closed_at, None);
    assert_eq!(shop.attempts(&number).await.len(), 1);
}

#[actix_web::test]
async fn the_second_origin_is_used_when_the_first_cannot_be_connected_to() {
    let shop = Shop::open_with(|config| config.origins.wechat_api.insert(0, nowhere())).await;
    let (user, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(user.status(&number).await["paid"], true);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn the_right_to_ask_is_given_once_a_while() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let number = OutTradeNo::parse(&number).unwrap();
    for (wait_ms, given) in [(0, true), (1999, false), (1, true), (2000, true), (0, false)] {
        shop.clock.advance_ms(wait_ms);
        let (number, now) = (number.clone(), shop.clock.now());
        let turn = Turn::Unasked { gap_ms: 2000 };
        let claimed = shop.app.store.write(move |db| pending::claim(db, &number, now, turn)).await.unwrap();
        assert_eq!(claimed.is_some(), given, "{wait_ms} ms later");
    }
}

#[actix_web::test]
async fn the_sweep_keeps_its_timetable_and_ends_when_wechat_has_closed_the_trade() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    // Ten at most, because so many are allowed in one second; the table itself is tested in `domain::order`.
    let mut now = 0;
    for (asked, at) in [10, 30, 60, 120, 230, 340, 7_190, 7_300].into_iter().enumerate() {
        let due = shop.app.store.read(pending::backlog).await.unwrap();
        assert_eq!(due, (1, Some(START.plus_secs(at.min(now + 110)))));
        shop.clock.advance_ms((at - now) * 1000 - 1);
        if at - now <= 110 {
            assert_eq!(shop.sweep().await, 0, "before {at} s");
        }
        shop.clock.advance_ms(1);
        assert_eq!(shop.sweep().await, 1, "at {at} s");
        now = at;
        assert_eq!(shop.calls(&number).len(), asked + 2);
    }
    // The last time WeChat said CLOSED: there is nothing more to ask.
    assert_eq!(shop.app.store.read(pending::backlog).await.unwrap(), (0, None));
    assert!(!shop.order(&number).await.is_paid());
}

#[actix_web::test]
async fn two_instances_never_ask_about_the_same_attempt_at_the_same_time() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let other = shop.second_instance();
    let both = || {
        let sweeps = [shop.app.clone(), other.clone()].map(jobs::query_pending::run_once);
        async { join_all(sweeps).await.into_iter().map(Result::unwrap).sum::<usize>() }
    };
    for at in [10, 20, 30] {
        shop.clock.advance_ms(at * 1000);
        assert_eq!(both().await, 1, "{at} s later");
    }
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery", "orderquery", "orderquery"]);
    // Closing takes its turn by the order.
    shop.clock.advance_ms(TWO_HOURS_MS);
    join_all([shop.app.clone(), other.clone()].map(jobs::close_expired::run_once)).await;
    assert_eq!(shop.calls(&number).len(), 5);
    assert!(shop.order(&number).await.closed_at.is_some());
}

#[actix_web::test]
async fn a_question_nobody_finished_comes_again_after_15_s_and_not_before() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let attempt = shop.attempts(&number).await.remove(0).out_trade_no;
    shop.clock.advance_ms(10_000);
    // The instance that asked is never heard of again.
    let (now, dead) = (shop.clock.now(), attempt.clone());
    let lease = shop.app.store.write(move |db| pending::claim(db, &dead, now, Turn::Due)).await.unwrap();
    assert!(lease.is_some());
    shop.clock.advance_ms(14_999);
    assert_eq!(shop.sweep().await, 0);
    shop.clock.advance_ms(1);
    assert_eq!(shop.sweep().await, 1);
}

#[actix_web::test]
async fn what_the_page_wishes_while_we_ask_is_not_forgotten_with_the_answer() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let order = shop.order(&number).await;
    let attempt = shop.attempts(&number).await.remove(0).out_trade_no;
    shop.clock.advance_ms(300_000);
    let (now, asking) = (shop.clock.now(), attempt.clone());
    let claim = move |db: &mut _| pending::claim(db, &asking, now, Turn::Due);
    let lease = shop.app.store.write(claim).await.unwrap().unwrap();
    // The payer pays and comes back after WeChat has said NOTPAY, before we have written that down.
    confirm::returned(&shop.app, &order, PageResult::Ok).await.unwrap();
    let later = now.plus_secs(110);
    shop.app.store.write(move |db| pending::ask_again(db, &attempt, lease, later)).await.unwrap();
    assert_eq!(shop.app.store.read(pending::backlog).await.unwrap(), (1, Some(now.plus_secs(2))));
}

#[actix_web::test]
async fn an_order_about_which_wechat_could_not_be_asked_for_a_day_is_asked_about_when_it_can() {
    let mut shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.cut_off().await;
    shop.clock.advance_ms(TWO_HOURS_MS + 25 * HOUR_MS);
    assert_eq!(shop.sweep().await, 1);
    shop.reconnect();
    shop.clock.advance_ms(HOUR_MS);
    shop.sweep().await;
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn an_order_that_was_asked_about_for_days_still_tells_how_it_ended() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let (id, at) = (shop.order(&number).await.id, shop.clock.now());
    let event = move |kind| Event { at, kind, detail: String::new() };
    let kept = shop.app.store.write(move |db| {
        for _ in 0..300 {
            events::insert(db, id, &event(EventKind::Query))?;
        }
        for _ in 0..300 {
            events::insert(db, id, &event(EventKind::Close))?;
        }
        events::insert(db, id, &event(EventKind::Credit))?;
        events::of_order(db, id)
    });
    let kept: Vec<EventKind> = kept.await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!((kept[199], kept[200], kept[299]), (EventKind::Query, EventKind::Close, EventKind::Close));
    assert_eq!(kept[300..], [EventKind::Credit]);
}

#[actix_web::test]
async fn a_page_that_asks_often_makes_us_ask_every_two_seconds_only() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    for asked in 1..=3 {
        for _ in 0..5 {
            assert_eq!(user.status(&number).await["paid"], false);
        }
        assert_eq!(shop.calls(&number).len(), 1 + asked);
        shop.clock.advance_ms(2_000);
    }
}

#[actix_web::test]
async fn a_waiting_page_is_answered_when_the_callback_comes() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    assert_eq!(user.status(&number).await["paid"], false);
    let path = format!("/orders/{number}/status?wait=25");
    let body = shop.simulator.signed_notify(&number, &[]);
    let (status, _) = tokio::join!(user.get_json(&path), shop.notify(body));
    assert_eq!(status.json()["paid"], true);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn pages_that_wait_for_an_order_are_woken_by_any_of_its_attempts_and_by_closing() {
    let shop = Shop::open().await;
    let (user, first) = ordered(&shop).await;
    let second = user.top_up("50").await;
    open_pay_page(&other_phone(&shop).await, &second).await;
    let other_attempt = shop.attempts(&second).await.remove(1).out_trade_no;
    let third = user.top_up("50").await;
    for (number, paid_as) in
        [(&first, Some(first.as_str())), (&second, Some(other_attempt.as_str())), (&third, None)]
    {
        let news = shop.app.waiting.on(number);
        let mut woken = Box::pin(news.notified());
        woken.as_mut().enable();
        match paid_as {
            Some(paid_as) => drop(shop.notify(shop.simulator.signed_notify(paid_as, &[])).await),
            None => {
                let order = shop.order(number).await;
                close::close_order(&shop.app, &order, Source::Sweep).await.unwrap();
            }
        }
        assert!(woken.now_or_never().is_some(), "{number}");
    }
}

#[actix_web::test]
async fn an_order_that_turns_out_paid_when_prepared_again_is_settled_by_a_query() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    // The prepay_id is too old to be handed out again.
    shop.clock.advance_ms(111 * 60_000);
    let page = open_pay_page(&user, &number).await;
    assert_eq!((page.status, page.header("location")), (303, format!("/orders/{number}").as_str()));
    assert_eq!(shop.calls(&number), ["unifiedorder", "unifiedorder", "orderquery"]);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn an_old_prepay_id_is_renewed_with_the_same_number_and_parameters() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    let prepay_id = shop.simulator.trade(&number).unwrap().prepay_id;
    for (wait_min, calls) in [(110, 1), (1, 2), (0, 2)] {
        shop.clock.advance_ms(wait_min * 60_000);
        let page = open_pay_page(&user, &number).await;
        assert!(page.body.contains(&format!("prepay_id={prepay_id}")), "{}", page.body);
        assert_eq!(shop.calls(&number).len(), calls);
    }
    assert_eq!(shop.attempts(&number).await.len(), 1);
}

#[actix_web::test]
async fn a_number_used_with_other_parameters_is_closed_before_a_new_one_is_tried() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let openid = Openid::parse(&shop.simulator.openid_of(7)).unwrap();
    let number = bare_order(&shop).await;
    let order = shop.order(&number).await;
    // Somebody, perhaps we before a restore, has used this number for another amount.
    let first = top_up::checkout(&shop.app, order.id, Channel::WechatJsapi, None, "127.0.0.1").await;
    assert_eq!(first.unwrap(), Pay::NeedOpenid);
    let mut other = template_attempt(&shop, &user).await;
    other.out_trade_no = order.out_trade_no.clone();
    other.amount = Fen::new(1).unwrap();
    let gateway = WechatV2 { account: shop.app.config.wechat_v2.clone().unwrap() };
    let request = gateway.prepay(&other, &shop.clock.stamp().unwrap());
    let placed = shop.app.http.send(&request.unwrap()).await.unwrap();
    let placed = String::from_utf8(placed.body).unwrap();
    assert!(placed.contains("prepay_id"), "{placed}");

    let pay = top_up::checkout(&shop.app, order.id, Channel::WechatJsapi, Some(&openid), "127.0.0.1").await;
    assert!(matches!(pay.unwrap(), Pay::Ready(_)));
    assert_eq!(
        shop.calls(&number),
        ["unifiedorder", "unifiedorder", "orderquery", "closeorder", "orderquery"]
    );
    let attempts = shop.attempts(&number).await;
    let (open, closed): (Vec<_>, Vec<_>) = attempts.iter().partition(|attempt| attempt.closed_at.is_none());
    assert_eq!(
        closed.iter().map(|attempt| attempt.out_trade_no.as_str()).collect::<Vec<_>>(),
        [number.as_str()]
    );
    let new = open[0].out_trade_no.as_str();
    assert_eq!(shop.calls(new), ["unifiedorder"]);
    shop.simulator.pay(new).unwrap();
    shop.deliver().await;
    assert!(shop.order(&number).await.is_paid());
    assert_eq!(shop.books(&number).await.balance, 5000);
}

/// An order of 50 yuan of user 1 nobody has tried to pay yet.
async fn bare_order(shop: &Shop) -> String {
    let wish = top_up::Wish {
        user_id: 1,
        amount: Fen::new(5000).unwrap(),
        channel: Channel::WechatJsapi,
        intent: shop.clock.nonce().unwrap(),
    };
    top_up::create(&shop.app, wish).await.unwrap().out_trade_no.as_str().to_owned()
}

/// An attempt of another order, to be changed.
async fn template_attempt(shop: &Shop, user: &Browser) -> shouyin::domain::order::Attempt {
    let number = user.top_up("1").await;
    shop.attempts(&number).await.remove(0)
}

#[actix_web::test]
async fn a_refused_prepay_says_so_and_keeps_the_order() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let number = bare_order(&shop).await;
    let id = shop.order(&number).await.id;
    let stranger = Openid::parse("oNobodyTheSimulatorHasEverSeen").unwrap();
    let pay = top_up::checkout(&shop.app, id, Channel::WechatJsapi, Some(&stranger), "127.0.0.1").await;
    assert_eq!(pay.unwrap(), Pay::Refused);
    assert_eq!(shop.order(&number).await.closed_at, None);
    assert_eq!(shop.calls(&number), ["unifiedorder"]);
}

#[actix_web::test]
async fn another_phone_gets_a_new_attempt_after_the_old_one_is_closed_at_wechat() {
    let shop = Shop::open().await;
    let (first, number) = ordered(&shop).await;
    let second = other_phone(&shop).await;
    let page = open_pay_page(&second, &number).await;
    assert!(page.status == 200 && page.body.contains("去微信支付"), "{}", page.body);
    let attempts = shop.attempts(&number).await;
    assert_eq!(attempts.len(), 2);
    assert_ne!(attempts[0].payer, attempts[1].payer);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery", "closeorder", "orderquery"]);
    let new = attempts[1].out_trade_no.as_str();
    assert_eq!(shop.calls(new), ["unifiedorder"]);
    assert!(page.body.contains(&shop.simulator.trade(new).unwrap().prepay_id));
    shop.simulator.pay(new).unwrap();
    shop.deliver().await;
    assert_eq!(first.status(&number).await["paid"], true);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.work.len()), (5000, 0));
}

#[actix_web::test]
async fn another_phone_is_told_that_the_first_has_paid() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let second = other_phone(&shop).await;
    let page = open_pay_page(&second, &number).await;
    assert_eq!((page.status, page.header("location")), (303, format!("/orders/{number}").as_str()));
    assert_eq!(shop.attempts(&number).await.len(), 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn while_the_old_attempt_cannot_be_closed_there_is_no_new_one() {
    let mut shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let second = other_phone(&shop).await;
    shop.cut_off().await;
    let page = open_pay_page(&second, &number).await;
    assert!(page.body.contains("支付通道繁忙"), "{}", page.body);
    assert_eq!(shop.attempts(&number).await.len(), 1);
}

#[actix_web::test]
async fn two_paid_attempts_of_one_order_are_one_credit_and_one_refund_task() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let second = other_phone(&shop).await;
    open_pay_page(&second, &number).await;
    let new = shop.attempts(&number).await.remove(1).out_trade_no;
    // The first phone's payment was under way when its attempt was closed.
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.simulator.pay(&number).unwrap();
    shop.simulator.pay(new.as_str()).unwrap();
    assert_eq!(shop.deliver().await, 2);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, shop.simulator.paid_total_fen()), (5000, 10_000));
    assert_eq!(books.work.iter().map(|item| item.0.as_str()).collect::<Vec<_>>(), ["second_payment"]);
    let mut verdicts = books.verdicts;
    verdicts.sort();
    assert_eq!(verdicts, ["ok", "second_payment"]);
}

#[actix_web::test]
async fn a_second_attempt_paid_without_a_callback_is_found_by_the_sweep() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let second = other_phone(&shop).await;
    open_pay_page(&second, &number).await;
    let new = shop.attempts(&number).await.remove(1).out_trade_no;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert!(shop.order(&number).await.is_paid());
    shop.simulator.set_scenario(new.as_str(), Scenario::NotifyLost);
    shop.simulator.pay(new.as_str()).unwrap();
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    let books = shop.books(&number).await;
    assert_eq!(books.balance, 5000);
    assert_eq!(books.work.iter().map(|item| item.0.as_str()).collect::<Vec<_>>(), ["second_payment"]);
}

#[actix_web::test]
async fn money_that_went_back_elsewhere_is_not_credited_and_is_shown_to_the_administrator() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.simulator.refund(&number).unwrap();
    assert_eq!(user.status(&number).await["paid"], false);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.is_paid()), (0, false));
    assert_eq!(books.work.iter().map(|item| item.0.as_str()).collect::<Vec<_>>(), ["refunded_elsewhere"]);
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 0);
    // Nobody can pay it any more, so it ends with its time. What is left to decide is in the work item.
    shop.clock.advance_ms(TWO_HOURS_MS);
    assert_eq!((shop.close_expired().await, shop.close_expired().await), (1, 0));
    assert_eq!(shop.order(&number).await.closed_at, Some(shop.clock.now()));
    assert_eq!(closings(&shop, &number).await, ["closed: what was paid credited nobody"]);
}
