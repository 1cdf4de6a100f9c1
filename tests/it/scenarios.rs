//! Each mischief of the simulated WeChat, end to end: what the page says at each moment, what is asked
//! of WeChat, and one credit at the end.

use crate::harness::{Browser, Shop};
use reqwest::{Client, redirect::Policy};
use serde_json::json;
use shouyin::{domain::order::Source, simulator::faults::Scenario};

/// A shop, a user, and an order of 50 yuan whose payment will behave so.
async fn ordered(scenario: Scenario) -> (Shop, Browser, String) {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.simulator.set_scenario(&number, scenario);
    says(&user, &number, "待支付").await;
    (shop, user, number)
}

/// The title of the order's page; an unpaid order is never called failed.
async fn says(user: &Browser, number: &str, title: &str) {
    let page = user.get(&format!("/orders/{number}")).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains(&format!("<h1>{title}</h1>")), "not {title}: {}", page.body);
    assert!(!page.body.contains("支付失败"));
}

/// One credit of 50 yuan, brought by this source, shown as paid everywhere.
async fn credited_once(shop: &Shop, user: &Browser, number: &str, via: Source) {
    let books = shop.books(number).await;
    assert_eq!((books.balance, books.order.settled_by), (5000, Some(via)));
    assert_eq!(shop.simulator.paid_total_fen(), 5000);
    let trade = shop.simulator.trade(number).unwrap();
    assert_eq!(books.order.transaction_id.unwrap().as_str(), trade.transaction_id.unwrap());
    says(user, number, "支付成功").await;
    let status = user.status(number).await;
    let next = format!("/orders/{number}");
    assert_eq!(
        status,
        json!({"status": 1, "paid": true, "closed": status["closed"], "final": true, "next": next})
    );
    let pay = user.get(&format!("/orders/{number}/pay")).await;
    assert_eq!((pay.status, pay.header("location")), (303, next.as_str()), "nobody is asked to pay again");
}

fn accepted(shop: &Shop, number: &str) -> Vec<bool> {
    shop.simulator.trade(number).unwrap().callbacks.iter().map(|sent| sent.accepted).collect()
}

/// The payer presses the button on the pay sheet; gives what the page hears.
async fn press_pay(shop: &Shop, number: &str) -> String {
    let prepay_id = shop.simulator.trade(number).unwrap().prepay_id;
    let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let form = [("prepay_id", prepay_id.as_str()), ("scenario", "")];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client
        .post(format!("{}/cashier/pay", shop.simulator_url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").unwrap().to_str().unwrap();
    location.split_once("&result=").unwrap().1.to_owned()
}

/// The page tells the server what it heard.
async fn returned(user: &Browser, number: &str, result: &str) {
    let token = user.get(&format!("/orders/{number}/pay")).await.body;
    let token = token.split_once("data-token=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let told =
        user.post(&format!("/orders/{number}/returned"), &[("token", &token), ("result", result)]).await;
    assert_eq!(told.status, 204, "{}", told.body);
}

#[actix_web::test]
async fn ok_costs_one_call_and_is_credited_by_the_callback() {
    let (shop, user, number) = ordered(Scenario::Ok).await;
    let page = user.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains("data-params=") && page.body.contains("去微信支付"), "{}", page.body);
    assert_eq!(press_pay(&shop, &number).await, "ok");
    says(&user, &number, "待支付").await;
    assert_eq!(shop.deliver().await, 1);
    credited_once(&shop, &user, &number, Source::Notify).await;
    assert_eq!(accepted(&shop, &number), [true]);
    assert_eq!(shop.calls(&number), ["unifiedorder"]);
}

#[actix_web::test]
async fn notify_lost_is_found_by_the_page() {
    let (shop, user, number) = ordered(Scenario::NotifyLost).await;
    assert_eq!(press_pay(&shop, &number).await, "ok");
    assert_eq!(shop.deliver().await, 0);
    returned(&user, &number, "ok").await;
    says(&user, &number, "待支付").await;
    assert_eq!(user.status(&number).await["paid"], true);
    credited_once(&shop, &user, &number, Source::Query).await;
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn notify_lost_is_found_by_the_sweep_without_a_browser() {
    let (shop, user, number) = ordered(Scenario::NotifyLost).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.sweep().await, 0);
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    credited_once(&shop, &user, &number, Source::Sweep).await;
    assert_eq!(shop.sweep().await, 0);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn notify_delayed_finds_the_order_credited_by_the_sweep() {
    let (shop, user, number) = ordered(Scenario::NotifyDelayed).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 0);
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    credited_once(&shop, &user, &number, Source::Sweep).await;
    shop.clock.advance_ms(20_000);
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(accepted(&shop, &number), [true]);
    assert_eq!(shop.verdicts().await, ["ok", "duplicate"]);
    credited_once(&shop, &user, &number, Source::Sweep).await;
}

#[actix_web::test]
async fn notify_twice_is_acknowledged_twice_and_credited_once() {
    let (shop, user, number) = ordered(Scenario::NotifyTwice).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 2);
    assert_eq!(accepted(&shop, &number), [true, true]);
    assert_eq!(shop.verdicts().await, ["ok", "duplicate"]);
    credited_once(&shop, &user, &number, Source::Notify).await;
}

#[actix_web::test]
async fn notify_x20_parallel_is_acknowledged_twenty_times_and_credited_once() {
    let (shop, user, number) = ordered(Scenario::NotifyX20Parallel).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 20);
    assert_eq!(accepted(&shop, &number), [true; 20]);
    assert_eq!(shop.verdicts().await.iter().filter(|verdict| *verdict == "ok").count(), 1);
    credited_once(&shop, &user, &number, Source::Notify).await;
}

#[actix_web::test]
async fn notify_before_return_finds_the_page_already_paid() {
    let (shop, user, number) = ordered(Scenario::NotifyBeforeReturn).await;
    assert_eq!(press_pay(&shop, &number).await, "ok");
    credited_once(&shop, &user, &number, Source::Notify).await;
    assert_eq!(shop.calls(&number), ["unifiedorder"], "a paid order is not asked about");
}

#[actix_web::test]
async fn wrong_amount_credits_nothing_until_the_query_tells_the_truth() {
    let (shop, user, number) = ordered(Scenario::WrongAmount).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(accepted(&shop, &number), [false]);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.is_paid(), books.work.len()), (0, false, 1));
    says(&user, &number, "订单需人工核对").await;
    assert_eq!(user.status(&number).await["paid"], true);
    credited_once(&shop, &user, &number, Source::Query).await;
    // WeChat comes again with the same wrong words, and they stay refused.
    shop.clock.advance_ms(15_000);
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(shop.verdicts().await, ["amount_mismatch", "ok", "amount_mismatch"]);
    assert_eq!(shop.work_items().await.len(), 1);
    credited_once(&shop, &user, &number, Source::Query).await;
}

#[actix_web::test]
async fn wrong_sign_makes_the_sweep_ask_at_once() {
    let (shop, user, number) = ordered(Scenario::WrongSign).await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!((accepted(&shop, &number), shop.verdicts().await), (vec![false], vec!["bad_sign".to_owned()]));
    says(&user, &number, "待支付").await;
    assert_eq!(shop.sweep().await, 1);
    credited_once(&shop, &user, &number, Source::Sweep).await;
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
    assert!(shop.work_items().await.is_empty());
}

#[actix_web::test]
async fn md5_sign_on_an_hmac_order_makes_the_sweep_ask_at_once() {
    let (shop, user, number) = ordered(Scenario::Md5Sign).await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert_eq!((accepted(&shop, &number), shop.verdicts().await), (vec![false], vec!["bad_sign".to_owned()]));
    assert_eq!(shop.sweep().await, 1);
    credited_once(&shop, &user, &number, Source::Sweep).await;
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"]);
}

#[actix_web::test]
async fn md5_sign_is_believed_when_the_account_accepts_it() {
    use shouyin::gateway::wechat_v2::sign::SignType;
    let shop =
        Shop::open_with(|config| config.wechat_v2.as_mut().unwrap().accept = SignType::ALL.to_vec()).await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::Md5Sign);
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    credited_once(&shop, &user, &number, Source::Notify).await;
}

#[actix_web::test]
async fn cancel_after_paid_is_not_believed() {
    let (shop, user, number) = ordered(Scenario::CancelAfterPaid).await;
    assert_eq!(press_pay(&shop, &number).await, "cancel");
    returned(&user, &number, "cancel").await;
    let order = shop.order(&number).await;
    assert_eq!((order.is_paid(), order.closed_at), (false, None));
    says(&user, &number, "待支付").await;
    shop.deliver().await;
    credited_once(&shop, &user, &number, Source::Notify).await;
    assert_eq!(shop.calls(&number), ["unifiedorder"]);
}

#[actix_web::test]
async fn systemerror_is_repeated_with_the_same_number() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    shop.simulator.set_default_scenario(Scenario::SystemError);
    let number = user.top_up("50").await;
    assert_eq!(shop.calls(&number), ["unifiedorder"; 3]);
    assert_eq!(shop.attempts(&number).await.len(), 1);
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    credited_once(&shop, &user, &number, Source::Notify).await;
}

#[actix_web::test]
async fn timeout_after_accept_keeps_the_order_and_asks_again_with_the_same_number() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    shop.simulator.set_default_scenario(Scenario::TimeoutAfterAccept);
    let busy = user.try_top_up("50").await;
    assert_eq!((busy.status, busy.header("retry-after")), (503, "3"), "{}", busy.body);
    assert_eq!(busy.json()["code"], "gateway_busy");
    let list = user.get_json("/orders").await.json();
    assert_eq!(list["orders"].as_array().unwrap().len(), 1);
    let number = list["orders"][0]["out_trade_no"].as_str().unwrap().to_owned();
    says(&user, &number, "待支付").await;
    let accepted = shop.simulator.trade(&number).unwrap().prepay_id;
    let page = user.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains(&format!("prepay_id={accepted}")), "{}", page.body);
    assert_eq!(shop.calls(&number), ["unifiedorder"; 2]);
    assert_eq!(shop.attempts(&number).await.len(), 1);
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    credited_once(&shop, &user, &number, Source::Notify).await;
}

#[actix_web::test]
async fn late_payment_of_an_order_we_closed_is_credited_and_shown_to_the_administrator() {
    let (shop, user, number) = ordered(Scenario::LatePayment).await;
    shop.clock.advance_ms(2 * 3600 * 1000);
    says(&user, &number, "结果确认中").await;
    assert_eq!(shop.close_expired().await, 1);
    says(&user, &number, "订单已关闭").await;
    let status = user.status(&number).await;
    assert_eq!(
        (&status["closed"], &status["paid"], &status["final"]),
        (&json!(true), &json!(false), &json!(true))
    );
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(accepted(&shop, &number), [true]);
    credited_once(&shop, &user, &number, Source::Notify).await;
    assert_eq!(shop.verdicts().await, ["late_payment"]);
    let admin = shop.admin().await;
    let items = admin.get_json("/admin/work-items").await.json();
    assert_eq!(items["work_items"][0]["kind"], "late_payment");
    let page = user.get(&format!("/orders/{number}")).await;
    assert!(page.body.contains("已照常计入余额"), "{}", page.body);
}

#[actix_web::test]
async fn coupon_credits_the_order_amount_and_not_the_cash() {
    let (shop, user, number) = ordered(Scenario::Coupon).await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let body = shop.all_notices().await.remove(0).body;
    assert!(String::from_utf8(body).unwrap().contains("4500"), "the cash part is smaller");
    credited_once(&shop, &user, &number, Source::Notify).await;
    // The query says the same with the same fields.
    let other = user.top_up("20").await;
    shop.simulator.set_scenario(&other, Scenario::Coupon);
    shop.simulator.pay(&other).unwrap();
    assert_eq!(user.status(&other).await["paid"], true);
    assert_eq!(shop.books(&other).await.balance, 7000);
}

#[actix_web::test]
async fn every_scenario_of_the_simulator_ends_in_one_credit() {
    let shop = Shop::open().await;
    let mut expected = 0;
    // Their own tests wait for WeChat in real time.
    let slow = [Scenario::SystemError, Scenario::TimeoutAfterAccept];
    for scenario in Scenario::ALL.into_iter().filter(|scenario| !slow.contains(scenario)) {
        let user = shop.user(&format!("u-{}", scenario.name())).await;
        let number = user.top_up("50").await;
        shop.simulator.set_scenario(&number, scenario);
        shop.simulator.pay(&number).unwrap();
        for _ in 0..4 {
            shop.deliver().await;
            shop.sweep().await;
            shop.clock.advance_ms(15_000);
        }
        expected += 5000;
        assert_eq!(shop.books(&number).await.balance, 5000, "{}", scenario.name());
        assert_eq!(shop.simulator.paid_total_fen(), expected);
    }
}
