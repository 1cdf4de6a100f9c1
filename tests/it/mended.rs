//! What a reader of the ways to pay found wrong, each as the story that ends right now.

use crate::{
    channels::{COMPUTER, PHONE, channels_of, order, pay_of, same_user, user_of},
    harness::{Answer, Browser, Shop},
    refund_pages::{press, refund as post_refund},
};
use reqwest::Method;
use serde_json::json;
use shouyin::{
    domain::{
        ids::OutTradeNo,
        order::{Channel, Order, Settled},
    },
    flow::{
        ask_order, notify,
        query::Asked,
        timeline::{self, Step, What},
    },
    gateway::wechat_v2::xml::Fields,
    jobs,
    simulator::faults::Scenario,
    store::{
        events::EventKind,
        notices::{self, Notice},
    },
};

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];

async fn work(shop: &Shop) -> Vec<String> {
    shop.work_items().await.into_iter().rev().map(|item| item.kind).collect()
}

/// Somebody refunds 0.40 of this trade at Alipay's own pages, which tell us so.
async fn refunded_in_part_at_alipay(shop: &Shop, number: &str) {
    let part =
        [("refund_fee", "0.40"), ("gmt_refund", "2026-11-20 20:00:00.123"), ("out_biz_no", "elsewhere-1")];
    let told = shop.call_back("/notify/alipay", &FORM, shop.simulator.alipay_notify(number, &part)).await;
    assert_eq!((told.status, told.body.as_str()), (200, "success"));
}

/// A code of Alipay's that nobody had scanned, set aside for WeChat's; the phone still shows it.
async fn set_aside(shop: &Shop) -> (Browser, String, String) {
    let user = user_of(shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    let page = user.get(&format!("/orders/{number}/pay?channel=wechat_native")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(channels_of(shop, &number).await, [(Channel::AlipayQr, false), (Channel::WechatNative, true)]);
    let second = shop.attempts(&number).await[1].out_trade_no.as_str().to_owned();
    (user, number, second)
}

async fn minutes(shop: &Shop, minutes: usize) {
    for _ in 0..minutes {
        shop.clock.advance_ms(60_000);
        shop.sweep().await;
    }
}

/// An order paid by WeChat twice, in an app whose attempt was closed too late and by a code: the app's payment waits
/// for a decision in item 1.
async fn paid_twice(shop: &Shop) -> (Order, String) {
    let user = user_of(shop, "ann", COMPUTER).await;
    let (number, _) = pay_of(&user, "wechat_app").await;
    assert_eq!(user.get(&format!("/orders/{number}/pay?channel=wechat_native")).await.status, 200);
    let second = shop.attempts(&number).await[1].out_trade_no.as_str().to_owned();
    shop.simulator.pay(&second).unwrap();
    while shop.deliver().await > 0 {}
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    assert_eq!(work(shop).await, ["second_payment"]);
    (shop.order(&number).await, number)
}

async fn credit(shop: &Shop, admin: &Browser, more: &[(&str, &str)]) -> Answer {
    let item = shop.work_items().await.pop().unwrap().id;
    let fields = [&[("reason", "用户愿意留作余额")][..], more].concat();
    press(admin, &format!("/admin/work-items/{item}/credit"), &fields).await
}

async fn steps(shop: &Shop, number: &str) -> Vec<Step> {
    timeline::of(&shop.app, shop.order(number).await).await.unwrap().steps
}

async fn notice(shop: &Shop, source: &str) -> Notice {
    let all = shop.all_notices().await;
    all.into_iter().find(|notice| notice.source == source).unwrap_or_else(|| panic!("no {source}"))
}

#[actix_web::test]
async fn of_a_payment_refunded_in_part_at_alipay_before_we_heard_of_it_nothing_is_credited() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    refunded_in_part_at_alipay(&shop, &number).await;
    assert_eq!(work(&shop).await, ["refunded_elsewhere"]);
    minutes(&shop, 1).await;
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.is_paid()), (0, false), "Alipay still says TRADE_SUCCESS");
    // What is left of it can be dealt with: the payment is in an item of its own.
    let items = shop.work_items().await;
    assert_eq!(work(&shop).await, ["refunded_elsewhere", "refunded_elsewhere"]);
    assert_eq!(items[0].payment().map(|payment| payment.amount.get()), Some(5000));
    let calls = shop.calls(&number).len();
    minutes(&shop, 5).await;
    assert_eq!(shop.calls(&number).len(), calls, "no more asking");
    shop.clock.advance_ms(3 * 3_600_000);
    shop.close_expired().await;
    let books = shop.books(&number).await;
    assert!(books.order.closed_at.is_some() && books.balance == 0);
    assert_eq!(books.work.len(), 2);
}

#[actix_web::test]
async fn a_payment_credited_before_a_part_of_it_went_back_is_still_known_as_credited() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    refunded_in_part_at_alipay(&shop, &number).await;
    let order = shop.order(&number).await;
    let answers = ask_order::ask(&shop.app, "boss", &order).await.unwrap();
    assert_eq!(answers[0].1, Asked::Paid(Settled::Already));
    assert_eq!(
        (work(&shop).await, shop.books(&number).await.balance),
        (vec!["refunded_elsewhere".to_owned()], 5000)
    );
}

#[actix_web::test]
async fn a_payment_refunded_in_part_at_alipay_is_not_credited_by_hand() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (_, number, second) = set_aside(&shop).await;
    shop.simulator.pay(&second).unwrap();
    while shop.deliver().await > 0 {}
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    assert_eq!(work(&shop).await, ["second_payment"]);
    refunded_in_part_at_alipay(&shop, &number).await;
    let refused = credit(&shop, &admin, &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn nor_is_one_of_no_order_of_ours() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    user_of(&shop, "ann", COMPUTER).await;
    let unknown = "00000000000000000000000000000001";
    let told = shop.call_back("/notify/alipay", &FORM, shop.simulator.alipay_notify(unknown, &[])).await;
    assert_eq!((told.body.as_str(), work(&shop).await), ("fail", vec!["unknown_order".to_owned()]));
    refunded_in_part_at_alipay(&shop, unknown).await;
    assert_eq!(work(&shop).await, ["unknown_order", "refunded_elsewhere"]);
    let refused = credit(&shop, &admin, &[("username", "ann")]).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
}

#[actix_web::test]
async fn an_h5_payment_is_made_for_the_network_the_browser_is_in() {
    let proxied = "127.0.0.0/8".parse().unwrap();
    let v2 = Shop::open_with(|config| config.trusted_proxies = vec![proxied]).await;
    let v3 = Shop::open_with_keys(|config, keys| {
        config.trusted_proxies = vec![proxied];
        config.wechat_v3 = keys.wechat_v3(config.wechat_v2.as_ref().unwrap());
    })
    .await;
    for shop in [v2, v3] {
        let user = user_of(&shop, "ann", PHONE).await;
        let (number, _) = pay_of(&user, "wechat_h5").await;
        let from = async |ip: &str| {
            let path = format!("/orders/{number}/pay");
            let page = user.send(Method::GET, &path, &[("x-forwarded-for", ip)], None).await;
            assert!(page.body.contains("去微信付款"), "{}", page.body);
            let attempts = shop.attempts(&number).await;
            let open: Vec<_> = attempts.iter().filter(|attempt| attempt.closed_at.is_none()).collect();
            assert_eq!((open.len(), open[0].client_ip.as_str()), (1, ip));
            attempts.len()
        };
        assert_eq!(from("203.0.113.7").await, 2, "at home");
        assert_eq!(from("203.0.113.7").await, 2, "once more");
        assert_eq!(from("198.51.100.9").await, 3, "on the way");
        assert!(shop.simulator.pay(&number).is_err(), "what was made for another address can be paid");
    }
    // No other way to pay minds.
    let shop = Shop::open_with(|config| config.trusted_proxies = vec![proxied]).await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    let path = format!("/orders/{number}/pay");
    user.send(Method::GET, &path, &[("x-forwarded-for", "203.0.113.7")], None).await;
    assert_eq!(channels_of(&shop, &number).await, [(Channel::WechatNative, true)]);
}

#[actix_web::test]
async fn a_code_scanned_after_it_was_set_aside_is_closed_at_alipay() {
    let shop = Shop::open().await;
    let (_, number, second) = set_aside(&shop).await;
    shop.simulator.scan(&number).unwrap();
    minutes(&shop, 1).await;
    assert!(shop.calls(&number).contains(&"alipay.trade.close".to_owned()), "{:?}", shop.calls(&number));
    assert!(shop.simulator.pay(&number).is_err(), "two can be paid");
    minutes(&shop, 3).await;
    let calls = shop.calls(&number);
    minutes(&shop, 5).await;
    assert_eq!(shop.calls(&number), calls, "it is known to be closed");
    shop.simulator.pay(&second).unwrap();
    shop.deliver().await;
    assert_eq!((shop.books(&number).await.balance, work(&shop).await), (5000, vec![]));
}

#[actix_web::test]
async fn when_the_code_that_was_set_aside_is_paid_the_other_is_closed() {
    let shop = Shop::open().await;
    let (_, number, second) = set_aside(&shop).await;
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    assert_eq!(shop.books(&number).await.balance, 5000);
    minutes(&shop, 2).await;
    assert!(shop.calls(&second).contains(&"closeorder".to_owned()), "{:?}", shop.calls(&second));
    assert!(shop.simulator.pay(&second).is_err(), "it can be paid a second time");
    minutes(&shop, 3).await;
    assert_eq!(channels_of(&shop, &number).await[1], (Channel::WechatNative, false));
    assert_eq!((shop.books(&number).await.balance, work(&shop).await), (5000, vec![]));
}

#[actix_web::test]
async fn an_open_order_is_not_closed_by_being_asked_about() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    minutes(&shop, 10).await;
    let calls = shop.calls(&number);
    assert!(calls.len() > 3 && calls.iter().skip(1).all(|call| call == "orderquery"), "{calls:?}");
    shop.simulator.pay(&number).unwrap();
}

/// V3 in certificate mode, with an order that was paid and that nobody told us of.
async fn paid_by_certificate() -> (Shop, String) {
    let shop = Shop::open_with_keys(|config, keys| {
        let mut account = keys.wechat_v3(config.wechat_v2.as_ref().unwrap()).unwrap();
        account.public_key = None;
        config.wechat_v3 = Some(account);
    })
    .await;
    assert_eq!(jobs::gateway_keys::run_once(shop.app.clone()).await.unwrap(), 1);
    let number = shop.user("ann").await.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    (shop, number)
}

#[actix_web::test]
async fn a_command_that_nobody_fetched_keys_for_asks_and_replays_by_certificate() {
    let (shop, number) = paid_by_certificate().await;
    let order = shop.order(&number).await;
    let answers = ask_order::ask(&shop.second_instance(), "command", &order).await.unwrap();
    assert_eq!(answers[0].1, Asked::Paid(Settled::Now));

    let (shop, _) = paid_by_certificate().await;
    assert_eq!(shop.deliver().await, 1);
    let kept = notice(&shop, "notify").await;
    let replayed = notify::replay(shop.second_instance(), "command", &kept.id).await.unwrap();
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    assert_eq!(shop.verdicts().await, ["ok", "duplicate"]);
}

/// A message about a refund, signed by WeChat, at the door for refunds.
async fn tell_of_refund(shop: &Shop, inside: serde_json::Value, probe: bool) -> Answer {
    let number = inside["out_trade_no"].as_str().unwrap();
    let made = shop.simulator.v3_message("REFUND.SUCCESS", &inside.to_string(), number).unwrap().unwrap();
    let lines = made.headers.iter().map(|(name, value)| match *name {
        name if probe && name.eq_ignore_ascii_case("wechatpay-signature") => (name, "WECHATPAY/SIGNTEST/x"),
        name => (name, value.as_str()),
    });
    shop.call_back("/notify/wechat/v3/refund", &lines.collect::<Vec<_>>(), made.body.clone()).await
}

#[actix_web::test]
async fn what_v3_signed_about_a_refund_and_cannot_be_used_is_somebodys_to_look_at() {
    let shop = Shop::open_v3().await;
    let number = shop.user("ann").await.top_up("50").await;
    let mch_id = shop.app.config.wechat_v2.as_ref().unwrap().mch_id.clone();
    let contents = |mch_id: &str| json!({ "mchid": mch_id, "out_trade_no": number });
    for (inside, kind) in [(contents(&mch_id), "incomplete"), (contents("1900000001"), "mch_id_mismatch")] {
        let answer = tell_of_refund(&shop, inside, false).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.body.contains("MESSAGE NOT ACCEPTED"), "{}", answer.body);
        let item = shop.work_items().await.remove(0);
        assert_eq!((item.kind.as_str(), item.out_trade_no.as_str()), (kind, number.as_str()));
    }
    let kept = notice(&shop, "refund_notify").await;
    let again = notify::replay(shop.app.clone(), "boss", &kept.id).await.unwrap();
    assert_eq!((again.status, shop.work_items().await.len()), (400, 2), "through the door for refunds");
    assert_eq!(tell_of_refund(&shop, contents(&mch_id), true).await.status, 400);
    assert!(shop.app.metrics.render().contains("verdict=\"sign_probe\""), "a probe is counted apart");
    assert_eq!(shop.work_items().await.len(), 2);
}

#[actix_web::test]
async fn what_nobody_signed_about_a_refund_calls_nobody() {
    let shop = Shop::open().await;
    let foreign: Fields =
        [("return_code", "SUCCESS"), ("appid", "wxother"), ("mch_id", "1900000001")].into_iter().collect();
    assert_eq!(shop.notify_refund(foreign.to_xml()).await.status, 200);
    assert_eq!((shop.verdicts().await, work(&shop).await), (vec!["appid_mismatch".to_owned()], vec![]));
}

#[actix_web::test]
async fn the_story_says_of_every_protocol_what_its_callbacks_were_answered() {
    for (shop, channel) in [
        (Shop::open().await, "wechat_native"),
        (Shop::open_v3().await, "wechat_native"),
        (Shop::open().await, "alipay_qr"),
    ] {
        let user = user_of(&shop, "ann", COMPUTER).await;
        let (number, _) = order(&user, channel).await;
        shop.simulator.set_scenario(&number, Scenario::WrongAmount);
        shop.simulator.pay(&number).unwrap();
        shop.deliver().await;
        minutes(&shop, 1).await;
        shop.simulator.resend(&number).unwrap();
        while shop.deliver().await > 0 {}
        let told: Vec<_> = steps(&shop, &number)
            .await
            .into_iter()
            .filter(|step| matches!(&step.what, What::Notice { source, .. } if source == "notify"))
            .map(|step| step.detail)
            .collect();
        assert!(told[0].starts_with("amount_mismatch") && told[0].ends_with(" → FAIL"), "{told:?}");
        assert!(told.iter().any(|told| told.ends_with(" → SUCCESS")), "{channel}: {told:?}");
        let asked = steps(&shop, &number)
            .await
            .into_iter()
            .find(|step| matches!(&step.what, What::Notice { source, .. } if source == "sweep"));
        assert!(!asked.unwrap().detail.contains('→'), "a reply to a question of ours is answered by nobody");
    }
}

#[actix_web::test]
async fn a_browsers_visit_leaves_an_apps_payment_alone_until_another_way_is_chosen() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = pay_of(&user, "wechat_app").await;
    let phone = same_user(&shop, "ann", PHONE).await;
    for browser in [&user, &phone] {
        let page = browser.get(&format!("/orders/{number}/pay")).await;
        assert!(page.status == 200 && page.body.contains("商家的 App"), "{}", page.body);
    }
    let page = user.get(&format!("/orders/{number}/pay")).await.body;
    let other = format!("/orders/{number}/pay?channel=wechat_native");
    assert!(page.contains(&other) && page.contains("data-watch"), "{page}");
    assert_eq!(channels_of(&shop, &number).await, [(Channel::WechatApp, true)]);
    assert_eq!(user.get(&other).await.status, 200);
    assert_eq!(
        channels_of(&shop, &number).await,
        [(Channel::WechatApp, false), (Channel::WechatNative, true)]
    );
}

#[actix_web::test]
async fn asked_again_a_paid_order_is_never_called_unpaid() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (_, number, _) = set_aside(&shop).await;
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    let asked = press(&admin, &format!("/admin/orders/{number}/query"), &[]).await;
    assert_eq!(asked.header("location"), format!("/admin/orders/{number}?asked=paid_before"));
}

#[actix_web::test]
async fn a_payment_of_an_app_is_asked_about_under_the_apps_appid() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (order, number) = paid_twice(&shop).await;
    let credited = credit(&shop, &admin, &[]).await;
    assert_eq!(credited.status, 303, "{}", credited.body);
    assert_eq!(shop.balance(order.user_id).await, 10_000);
    assert_eq!(notice(&shop, "admin").await.out_trade_no.as_deref(), Some(number.as_str()));
}

#[actix_web::test]
async fn the_evidence_of_v3_says_who_said_it_and_keeps_the_signature() {
    let shop = Shop::open_v3().await;
    let admin = shop.admin().await;
    let (order, number) = paid_twice(&shop).await;
    assert_eq!(credit(&shop, &admin, &[]).await.status, 303);
    assert_eq!(shop.balance(order.user_id).await, 10_000);
    let user = same_user(&shop, "ann", COMPUTER).await;
    let (lost, _) = self::order(&user, "").await;
    shop.simulator.set_scenario(&lost, Scenario::NotifyLost);
    shop.simulator.pay(&lost).unwrap();
    assert_eq!(user.status(&lost).await["paid"], true);
    let home = format!("/admin/orders/{number}");
    assert!(post_refund(&admin, &home, "intent-of-a-refund-0003", "20").await.status < 400);
    shop.wait_for_refunds(3, 60).await;
    for source in ["admin", "query", "refund_query"] {
        let kept = notice(&shop, source).await;
        assert_eq!(kept.provider, "wechat_v3", "{source}");
        assert!(kept.headers.contains("wechatpay-signature: "), "{source}: {}", kept.headers);
        assert!(!notify::can_replay(&kept), "{source}");
    }
}

#[actix_web::test]
async fn of_alipays_pages_the_story_says_that_the_browser_brings_the_order_there() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_page").await;
    let kinds: Vec<_> = steps(&shop, &number).await.into_iter().map(|step| step.what).collect();
    assert_eq!(kinds, [What::Event(EventKind::Created), What::Event(EventKind::Handed)]);
    let page = shop.admin().await.get(&format!("/admin/orders/{number}")).await.body;
    assert!(page.contains("给出付款页地址") && !page.contains("预下单成功"), "{page}");
}

#[actix_web::test]
async fn a_refund_at_alipay_without_a_number_of_its_own_is_no_riddle() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    shop.simulator.pay(&number).unwrap();
    while shop.deliver().await > 0 {}
    let all = [("refund_fee", "50.00"), ("trade_status", "TRADE_CLOSED")];
    let told = shop.call_back("/notify/alipay", &FORM, shop.simulator.alipay_notify(&number, &all)).await;
    assert_eq!(told.body, "success");
    let item = shop.work_items().await.remove(0);
    assert_eq!((item.kind.as_str(), item.out_refund_no), ("refunded_elsewhere", number.clone()));
    let id = OutTradeNo::parse(&number).unwrap();
    let kept = shop.app.store.read(move |db| notices::of_attempts(db, &[id])).await.unwrap();
    assert!(kept.iter().any(|notice| notice.verdict == "unknown_refund"));
}
