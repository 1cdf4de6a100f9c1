//! Whole stories of WeChat Pay V3 and of Alipay against the simulator: paid, paid late, paid twice, not paid, paid back.
//! The same books and the same rules as for V2; what differs is what the gateways can do.

use crate::{
    channels::{COMPUTER, PHONE, channels_of, drawn, order, pay_of, same_user, user_of},
    harness::{Answer, Browser, Shop},
    refund_pages::{press, refund as post_refund},
};
use reqwest::{Client, redirect::Policy};
use shouyin::{
    app::App,
    domain::{
        ledger::Account,
        order::{Channel, Provider, Source},
        refund::RefundState,
    },
    flow::{
        confirm::{self, PageResult},
        notify,
    },
    gateway::Protocol,
    jobs,
    simulator::{Content, RefundStatus, TradeState, faults::Scenario},
    store::{refund_settlement, refunds},
};

const TWO_HOURS_MS: i64 = 2 * 3600 * 1000;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// V3 in certificate mode: it knows no key before it has asked.
pub async fn open_by_certificate() -> Shop {
    Shop::open_with_keys(|config, keys| {
        let mut account = keys.wechat_v3(config.wechat_v2.as_ref().unwrap()).unwrap();
        account.public_key = None;
        config.wechat_v3 = Some(account);
    })
    .await
}

pub async fn fetch_keys(shop: &Shop) -> usize {
    jobs::gateway_keys::run_once(shop.app.clone()).await.unwrap()
}

/// Whether each try of the callback about this number was accepted.
fn accepted(shop: &Shop, number: &str) -> Vec<bool> {
    shop.simulator.trade(number).unwrap().callbacks.iter().map(|sent| sent.accepted).collect()
}

/// One credit of 50 yuan, brought by this source, and nothing for anybody to look at.
pub async fn credited(shop: &Shop, number: &str, via: Source) {
    let books = shop.books(number).await;
    assert_eq!((books.balance, books.order.settled_by), (5000, Some(via)));
    assert_eq!(books.work, []);
    let trade = shop.simulator.trade(number).unwrap();
    assert_eq!(books.order.transaction_id.unwrap().as_str(), trade.transaction_id.unwrap());
}

pub async fn work(shop: &Shop) -> Vec<String> {
    shop.work_items().await.into_iter().rev().map(|item| item.kind).collect()
}

pub fn alerts(app: &App) -> Vec<String> {
    let metrics = app.metrics.render();
    let lines = metrics.lines().filter(|line| line.starts_with("alerts_total{") && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}

/// Another program's GET, which follows nothing.
pub async fn visit(url: &str) -> Answer {
    let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    Answer::of(client.get(url).send().await.unwrap()).await
}

async fn v3_ordered() -> (Shop, Browser, String) {
    let shop = Shop::open_v3().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    assert_eq!(shop.simulator.trade(&number).unwrap().protocol, Protocol::WechatV3);
    (shop, user, number)
}

/// A code on ann's computer.
async fn alipay_ordered() -> (Shop, Browser, String) {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    assert_eq!(channels_of(&shop, &number).await, [(Channel::AlipayQr, true)]);
    (shop, user, number)
}

#[actix_web::test]
async fn every_way_of_v3_is_prepared_paid_and_credited_by_its_callback() {
    let shop = Shop::open_v3().await;
    let user = shop.user("ann").await;
    let mut expected = 0;
    for (channel, call, kind) in [
        ("wechat_jsapi", "transactions/jsapi", "jsapi"),
        ("wechat_native", "transactions/native", "qr"),
        ("wechat_h5", "transactions/h5", "redirect"),
        ("wechat_app", "transactions/app", "app"),
    ] {
        let (number, pay) = pay_of(&user, channel).await;
        assert_eq!(pay["kind"], kind, "{channel}: {pay}");
        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        assert_eq!(accepted(&shop, &number), [true], "{channel}");
        let books = shop.books(&number).await;
        expected += 5000;
        assert_eq!((books.balance, books.order.settled_by), (expected, Some(Source::Notify)), "{channel}");
        assert_eq!(shop.calls(&number), [call]);
    }
    assert_eq!(shop.verdicts().await, ["ok"; 4]);
}

#[actix_web::test]
async fn a_lost_callback_of_v3_is_found_by_the_page_and_by_the_sweep() {
    let (shop, user, number) = v3_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 0);
    assert_eq!(user.status(&number).await["paid"], true);
    credited(&shop, &number, Source::Query).await;
    assert_eq!(shop.calls(&number), ["transactions/jsapi", "transactions/out-trade-no"]);

    let (shop, _, number) = v3_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    credited(&shop, &number, Source::Sweep).await;
}

#[actix_web::test]
async fn an_unpaid_order_of_v3_is_closed_at_its_end_and_before_it_by_query_close_query() {
    let (shop, _, number) = v3_ordered().await;
    shop.clock.advance_ms(TWO_HOURS_MS);
    assert_eq!(shop.close_expired().await, 1);
    assert!(shop.order(&number).await.closed_at.is_some());
    assert_eq!(shop.simulator.trade(&number).unwrap().state, TradeState::Closed);
    assert_eq!(shop.calls(&number), ["transactions/jsapi", "transactions/out-trade-no"]);

    let shop = Shop::open_v3().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    let phone = same_user(&shop, "ann", PHONE).await;
    assert_eq!(phone.get(&format!("/orders/{number}/pay?channel=wechat_h5")).await.status, 200);
    let (query, close) = ("transactions/out-trade-no", "transactions/close");
    assert_eq!(shop.calls(&number), ["transactions/native", query, close, query]);
    assert_eq!(shop.simulator.trade(&number).unwrap().state, TradeState::Closed);
}

#[actix_web::test]
async fn a_late_payment_of_v3_is_credited_and_shown() {
    let (shop, _, number) = v3_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.clock.advance_ms(TWO_HOURS_MS);
    shop.close_expired().await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.late), (5000, true));
    assert_eq!((accepted(&shop, &number), work(&shop).await), (vec![true], vec!["late_payment".to_owned()]));
}

#[actix_web::test]
async fn a_kept_callback_of_v3_is_replayed_days_later_by_its_own_time_and_credits_once() {
    let (shop, _, number) = v3_ordered().await;
    let genuine = shop.simulator.v3_notify(&number, &[]).unwrap().unwrap();
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let kept = shop.all_notices().await.remove(0);
    shop.clock.advance_ms(3 * DAY_MS);

    // From outside it is a recording that somebody made, whoever signed it once.
    let lines: Vec<_> = genuine.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let outside = shop.call_back("/notify/wechat/v3", &lines, genuine.body.clone()).await;
    assert_eq!((outside.status, shop.verdicts().await), (400, vec!["ok".to_owned(), "stale".to_owned()]));

    // By a person it is read as it was read when it came.
    let replayed = notify::replay(shop.app.clone(), "boss", &kept.id).await.unwrap();
    assert_eq!(replayed.status, 200, "{}", replayed.body);
    assert_eq!(shop.verdicts().await, ["ok", "stale", "duplicate"]);
    assert_eq!(shop.books(&number).await.balance, 5000);

    let admin = shop.admin().await;
    assert_eq!(press(&admin, &format!("/admin/notices/{}/replay", kept.id), &[]).await.status, 303);
    assert_eq!(shop.verdicts().await, ["ok", "stale", "duplicate", "duplicate"]);
    // And what was too old when it came stays so.
    let stale = shop.all_notices().await.into_iter().find(|notice| notice.verdict == "stale").unwrap();
    let again = notify::replay(shop.app.clone(), "boss", &stale.id).await.unwrap();
    assert_eq!(again.status, 400, "{}", again.body);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

/// From the administrator's form to the payer's money, over the gateway's own callback.
pub async fn refunded(shop: &Shop, number: &str, provider: Provider, notice: &str) {
    let admin = shop.admin().await;
    let home = format!("/admin/orders/{number}");
    let asked = post_refund(&admin, &home, "intent-of-a-refund-0001", "20").await;
    assert!(asked.status < 400, "{} {}", asked.status, asked.body);
    let at_gateway = shop.simulator.refunds().remove(0);
    assert_eq!((at_gateway.amount.get(), shop.simulator.refunds().len()), (2000, 1));
    let owner = shop.order(number).await.user_id;
    let ledger = async || {
        (
            shop.balance(owner).await,
            shop.stands_at(Account::Refunds).await,
            shop.stands_at(Account::Gateway(provider)).await,
        )
    };
    assert_eq!(shop.balance(owner).await, 3000);
    // Its callback only makes us ask; the query ends it. A second try of the callback changes nothing.
    shop.clock.advance_ms(30_000);
    shop.deliver().await;
    shop.follow_refunds().await;
    shop.wait_for_refunds(3, 60).await;
    assert_eq!(ledger().await, (3000, 0, -3000));
    assert_eq!(shop.simulator.refunds()[0].status, RefundStatus::Success);
    let order = admin.get_json("/admin/refunds").await;
    assert_eq!(order.status, 200, "{}", order.body);
    assert!(shop.order(number).await.is_paid());
    assert!(shop.verdicts().await.contains(&notice.to_owned()), "{:?}", shop.verdicts().await);
    assert_eq!(work(shop).await, Vec::<String>::new());
    let kept = shop.all_notices().await.into_iter().find(|kept| kept.verdict == notice).unwrap();
    notify::replay(shop.app.clone(), "boss", &kept.id).await.unwrap();
    assert_eq!(ledger().await, (3000, 0, -3000));
    assert_eq!(work(shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_refund_by_v3_goes_from_the_form_to_its_end_and_its_callback() {
    let (shop, _, number) = v3_ordered().await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    refunded(&shop, &number, Provider::Wechat, "refund_hint").await;
}

#[actix_web::test]
async fn a_refund_by_alipay_goes_from_the_form_to_its_end_and_its_callback() {
    let (shop, _, number) = alipay_ordered().await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    refunded(&shop, &number, Provider::Alipay, "refund_hint").await;
}

#[actix_web::test]
async fn in_certificate_mode_nothing_is_believed_before_the_certificates_are_fetched() {
    let shop = open_by_certificate().await;
    let user = shop.user("ann").await;
    let busy = user.try_top_up("50").await;
    assert_eq!(busy.status, 503, "{}", busy.body);
    assert_eq!(fetch_keys(&shop).await, 1);
    assert_eq!(fetch_keys(&shop).await, 0, "once is enough");
    let number = user.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
    let serial = shop.all_notices().await.remove(0).headers;
    assert!(!serial.contains("PUB_KEY_ID"), "{serial}");
}

#[actix_web::test]
async fn a_certificate_that_takes_over_in_the_middle_is_fetched_and_the_next_try_is_believed() {
    let shop = open_by_certificate().await;
    assert_eq!(fetch_keys(&shop).await, 1);
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    shop.simulator.set_scenario(&number, Scenario::CertRotated);
    shop.clock.advance_ms(60_000);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(
        (shop.order(&number).await.is_paid(), shop.verdicts().await),
        (false, vec!["bad_sign".to_owned()])
    );
    assert_eq!(fetch_keys(&shop).await, 1, "an unknown serial asks for it");
    shop.clock.advance_ms(15_000);
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
    assert_eq!(accepted(&shop, &number), [false, true]);
}

#[actix_web::test]
async fn a_probe_is_refused_in_silence_and_the_true_callback_behind_it_is_believed() {
    let (shop, _, number) = v3_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::SignTestProbe);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!((shop.order(&number).await.is_paid(), accepted(&shop, &number)), (false, vec![false]));
    assert!(shop.app.metrics.render().contains("\"sign_probe\""), "counted apart");
    assert_eq!((alerts(&shop.app), work(&shop).await), (vec![], vec![]), "nobody needs to look");
    shop.clock.advance_ms(15_000);
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
}

#[actix_web::test]
async fn a_callback_ten_minutes_off_is_refused_and_the_sweep_asks_at_once() {
    let (shop, _, number) = v3_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::ClockSkew);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(
        (shop.order(&number).await.is_paid(), shop.verdicts().await),
        (false, vec!["stale".to_owned()])
    );
    assert_eq!(shop.sweep().await, 1);
    credited(&shop, &number, Source::Sweep).await;
    shop.clock.advance_ms(15_000);
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(accepted(&shop, &number), [false, true]);
    assert_eq!(shop.books(&number).await.balance, 5000);
}

/// Every mischief of the simulator that does not wait in real time, for orders made like this.
async fn every_scenario_ends_in_one_credit(shop: &Shop, channel: &str, protocol: Protocol) {
    let slow = [Scenario::SystemError, Scenario::TimeoutAfterAccept];
    let mut expected = 0;
    for scenario in Scenario::ALL.into_iter().filter(|scenario| !slow.contains(scenario)) {
        let name = scenario.name();
        let user = user_of(shop, &format!("u-{name}"), COMPUTER).await;
        let (number, _) = order(&user, channel).await;
        assert_eq!(shop.simulator.trade(&number).unwrap().protocol, protocol, "{name}");
        shop.simulator.set_scenario(&number, scenario);
        shop.simulator.pay(&number).unwrap();
        for _ in 0..4 {
            shop.deliver().await;
            fetch_keys(shop).await;
            shop.sweep().await;
            shop.clock.advance_ms(15_000);
        }
        expected += 5000;
        assert_eq!(shop.books(&number).await.balance, 5000, "{name}");
        assert_eq!(shop.simulator.paid_total_fen(), expected);
    }
}

#[actix_web::test]
async fn every_scenario_of_the_simulator_ends_in_one_credit_by_v3() {
    let shop = Shop::open_v3().await;
    every_scenario_ends_in_one_credit(&shop, "wechat_native", Protocol::WechatV3).await;
}

#[actix_web::test]
async fn every_scenario_of_the_simulator_ends_in_one_credit_by_v3_with_certificates() {
    let shop = open_by_certificate().await;
    fetch_keys(&shop).await;
    every_scenario_ends_in_one_credit(&shop, "wechat_native", Protocol::WechatV3).await;
}

#[actix_web::test]
async fn every_scenario_of_the_simulator_ends_in_one_credit_by_alipay() {
    let shop = Shop::open().await;
    every_scenario_ends_in_one_credit(&shop, "alipay_qr", Protocol::Alipay).await;
}

#[actix_web::test]
async fn alipays_code_is_shown_scanned_paid_and_credited_by_its_callback() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "alipay_qr").await;
    let code = shop.attempts(&number).await.remove(0).prepay_id.unwrap();
    assert!(code.starts_with("https://qr.alipay.com/"), "{code}");
    assert!(page.body.contains(&drawn(&code)) && page.body.contains("支付宝"), "{}", page.body);
    assert_eq!(user.status(&number).await["paid"], false);
    shop.simulator.scan(&number).unwrap();
    assert_eq!(user.status(&number).await["paid"], false);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    credited(&shop, &number, Source::Notify).await;
    assert_eq!(shop.stands_at(Account::Gateway(Provider::Alipay)).await, -5000);
    assert_eq!(shop.stands_at(Account::Gateway(Provider::Wechat)).await, 0);
    let sent = shop.simulator.trade(&number).unwrap().callbacks.remove(0);
    assert_eq!((sent.status, sent.reply.as_str()), (Some(200), "success"));
    let result = user.get(&format!("/orders/{number}")).await.body;
    assert!(result.contains("支付成功") && result.contains("支付宝 · 扫码"), "{result}");
}

#[actix_web::test]
async fn alipays_pages_are_visited_paid_and_come_back_to_the_order() {
    for (channel, agent) in [("alipay_page", COMPUTER), ("alipay_wap", PHONE)] {
        let shop = Shop::open().await;
        let user = user_of(&shop, "ann", agent).await;
        let (number, pay) = pay_of(&user, channel).await;
        let url = pay["url"].as_str().unwrap().to_owned();
        assert_eq!(pay["kind"], "redirect");
        assert_eq!(shop.calls(&number), Vec::<String>::new(), "the browser brings the order there");
        let cashier = visit(&url).await;
        assert!(matches!(cashier.status, 200 | 302 | 303), "{channel}: {} {}", cashier.status, cashier.body);
        shop.simulator.set_scenario(&number, Scenario::NotifyLost);
        shop.simulator.pay(&number).unwrap();
        let back = shop.simulator.alipay_return(&number).unwrap();
        let returned = user.get(&format!("/return/{number}?{back}")).await;
        let home = format!("/orders/{number}");
        assert_eq!((returned.status, returned.header("location")), (303, home.as_str()), "{}", returned.body);
        credited(&shop, &number, Source::Query).await;
        // The notice that was lost comes after all.
        shop.simulator.resend(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        assert_eq!(accepted(&shop, &number), [true]);
        credited(&shop, &number, Source::Query).await;
    }
}

#[actix_web::test]
async fn a_lost_callback_of_alipay_is_found_by_the_sweep() {
    let (shop, _, number) = alipay_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    credited(&shop, &number, Source::Sweep).await;
    assert_eq!(shop.calls(&number), ["alipay.trade.precreate", "alipay.trade.query"]);
}

#[actix_web::test]
async fn an_order_at_alipay_is_closed_at_its_end_whether_anybody_scanned_its_code_or_not() {
    for scanned in [false, true] {
        let (shop, user, number) = alipay_ordered().await;
        if scanned {
            shop.simulator.scan(&number).unwrap();
        }
        shop.clock.advance_ms(TWO_HOURS_MS - 1);
        assert_eq!(shop.close_expired().await, 0);
        // Ours may be ahead of Alipay's clock by ten minutes.
        shop.clock.advance_ms(10 * 60_000 + 1);
        shop.close_expired().await;
        assert!(
            shop.order(&number).await.closed_at.is_some(),
            "scanned {scanned}: {:?}",
            shop.calls(&number)
        );
        assert!(shop.simulator.pay(&number).is_err(), "scanned {scanned}: it can still be paid");
        let page = user.get(&format!("/orders/{number}")).await.body;
        assert!(page.contains("订单已关闭"), "{page}");
        assert_eq!(shop.books(&number).await.balance, 0);
    }
}

#[actix_web::test]
async fn an_order_at_alipay_that_was_scanned_is_closed_there_before_another_way_is_opened() {
    let (shop, user, number) = alipay_ordered().await;
    shop.simulator.scan(&number).unwrap();
    let page = user.get(&format!("/orders/{number}/pay?channel=wechat_native")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (query, close) = ("alipay.trade.query", "alipay.trade.close");
    assert_eq!(shop.calls(&number), ["alipay.trade.precreate", query, close, query]);
    assert!(shop.simulator.pay(&number).is_err(), "two can be paid");
    assert_eq!(
        channels_of(&shop, &number).await,
        [(Channel::AlipayQr, false), (Channel::WechatNative, true)]
    );
}

#[actix_web::test]
async fn a_late_payment_at_alipay_is_credited_and_shown() {
    let (shop, _, number) = alipay_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.clock.advance_ms(TWO_HOURS_MS + 11 * 60_000);
    shop.close_expired().await;
    assert!(shop.order(&number).await.closed_at.is_some());
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.late), (5000, true));
    assert_eq!((accepted(&shop, &number), work(&shop).await), (vec![true], vec!["late_payment".to_owned()]));
}

/// Our clock may be ahead of Alipay's, for which the code that we give up can still be paid.
#[actix_web::test]
async fn a_code_whose_time_is_over_by_our_clock_alone_is_found_paid_within_two_minutes() {
    let (shop, _, number) = alipay_ordered().await;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    shop.clock.advance_ms(TWO_HOURS_MS + 60_000);
    shop.close_expired().await;
    assert!(shop.order(&number).await.closed_at.is_some());
    shop.simulator.pay(&number).unwrap();
    for _ in 0..12 {
        shop.clock.advance_ms(10_000);
        shop.sweep().await;
    }
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.settled_by, books.order.late), (5000, Some(Source::Sweep), true));
}

/// Nobody had scanned Alipay's code, so it could only be set aside; the phone still shows it.
async fn set_aside_for_wechat() -> (Shop, String, String) {
    let (shop, user, number) = alipay_ordered().await;
    let page = user.get(&format!("/orders/{number}/pay?channel=wechat_native")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(
        channels_of(&shop, &number).await,
        [(Channel::AlipayQr, false), (Channel::WechatNative, true)]
    );
    let second = shop.attempts(&number).await[1].out_trade_no.as_str().to_owned();
    (shop, number, second)
}

#[actix_web::test]
async fn a_code_of_alipay_that_was_set_aside_and_is_paid_second_is_a_refund_task_and_no_second_credit() {
    let (shop, number, second) = set_aside_for_wechat().await;
    shop.simulator.pay(&second).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(shop.books(&number).await.balance, 5000);
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    let books = shop.books(&number).await;
    assert_eq!((books.balance, shop.simulator.paid_total_fen()), (5000, 10_000));
    assert_eq!(work(&shop).await, ["second_payment"]);
    assert_eq!((accepted(&shop, &number), accepted(&shop, &second)), (vec![true], vec![true]));

    // It is paid back where it came from: through Alipay, and nothing of it touches the balance.
    let admin = shop.admin().await;
    let item = shop.work_items().await.remove(0).id;
    let asked =
        post_refund(&admin, &format!("/admin/work-items/{item}"), "intent-of-a-refund-0002", "50").await;
    assert!(asked.status < 400, "{} {}", asked.status, asked.body);
    shop.wait_for_refunds(3, 60).await;
    let refunds = shop.simulator.refunds();
    assert_eq!((refunds.len(), refunds[0].amount.get(), refunds[0].status), (1, 5000, RefundStatus::Success));
    let refund = shop.app.store.read(move |db| refunds::of_work_item(db, item)).await.unwrap().remove(0);
    assert_eq!((refund.provider, refund.state), (Provider::Alipay, RefundState::Success));
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_code_of_alipay_that_was_set_aside_and_paid_is_found_by_the_sweep() {
    let (shop, number, second) = set_aside_for_wechat().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    for _ in 0..12 {
        shop.clock.advance_ms(10_000);
        shop.sweep().await;
    }
    let books = shop.books(&number).await;
    assert_eq!((books.balance, books.order.settled_by), (5000, Some(Source::Sweep)));
    // The other way was closed at once, so nobody can pay the order a second time.
    assert!(shop.simulator.pay(&second).is_err());
    assert_eq!((shop.books(&number).await.balance, work(&shop).await), (5000, vec![]));
}

#[actix_web::test]
async fn a_code_set_aside_that_was_paid_while_alipay_was_out_of_reach_for_a_day_is_credited_afterwards() {
    let (mut shop, number, _second) = set_aside_for_wechat().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.cut_off().await;
    // The order's two hours, a day, and one more: twice, because asking goes on.
    for hours in [27, 1] {
        shop.clock.advance_ms(hours * 3_600_000);
        assert_eq!(shop.sweep().await, 2, "both attempts, without an answer");
    }
    shop.reconnect();
    shop.clock.advance_ms(3_600_000);
    shop.sweep().await;
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_refund_alipay_took_on_and_knows_nothing_of_is_asked_for_again_under_its_number() {
    let (mut shop, _, number) = alipay_ordered().await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    shop.cut_off().await;
    let asked = shop.refund(&number, "20").await.unwrap();
    let (refund, now) = (shop.same_refund(&asked).await, shop.clock.now());
    assert_eq!((refund.state, refund.asked), (RefundState::Asking, 1));
    // Alipay's answer was that it is taken on; nothing came of it there.
    let taken_on = move |db: &mut _| refund_settlement::accepted(db, &refund, "", now, now);
    shop.app.store.write(taken_on).await.unwrap();
    shop.reconnect();
    shop.wait_for_refunds(3, 3600).await;
    let waiting = shop.same_refund(&asked).await;
    assert_eq!((waiting.state, waiting.asked), (RefundState::Processing, 1), "it may not be through yet");
    assert!(shop.simulator.refunds().is_empty());
    shop.wait_for_refunds(6, 3600).await;
    let ended = shop.same_refund(&asked).await;
    assert_eq!((ended.state, ended.asked), (RefundState::Success, 2));
    let there = shop.simulator.refunds();
    assert_eq!((there.len(), there[0].amount.get()), (1, 2000));
    assert_eq!(shop.books(&number).await.balance, 3000);
}

#[actix_web::test]
async fn a_page_that_comes_back_hurries_the_question_about_a_code_that_was_set_aside() {
    let (shop, number, _second) = set_aside_for_wechat().await;
    shop.clock.advance_ms(10_000);
    shop.sweep().await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    confirm::returned(&shop.app, &shop.order(&number).await, PageResult::Ok).await.unwrap();
    shop.clock.advance_ms(2_000);
    shop.sweep().await;
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn a_callback_one_fen_short_credits_nothing_by_either_protocol_until_the_query_tells_the_truth() {
    let v3 = v3_ordered().await;
    let alipay = alipay_ordered().await;
    for (shop, user, number) in [v3, alipay] {
        shop.simulator.set_scenario(&number, Scenario::WrongAmount);
        assert!(Scenario::WrongAmount.callbacks().iter().all(|plan| plan.content == Content::OneFenLess));
        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        assert_eq!(
            (shop.books(&number).await.balance, work(&shop).await),
            (0, vec!["amount_mismatch".to_owned()])
        );
        assert_eq!(accepted(&shop, &number), [false]);
        assert_eq!(user.status(&number).await["paid"], true);
        assert_eq!(shop.books(&number).await.balance, 5000);
    }
}
