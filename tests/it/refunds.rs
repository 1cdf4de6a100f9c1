//! Refunds from the reservation to the payer's money: what each answer of WeChat does, and what nothing can do twice.

use crate::harness::{Books, Browser, Shop, WECHAT, admin_called};
use futures_util::future::join_all;
use shouyin::{
    app::App,
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        money::Fen,
        order::{Claim, Provider},
        refund::{Refund, RefundState},
    },
    flow::{
        decide_refund,
        request_refund::{self, Payment, RefundError, Wish},
    },
    jobs,
    simulator::{RefundStatus, Scenario},
    store::{
        Db,
        refunds::{self, NewRefund},
        work_items::{self, Matter},
    },
};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn of(number: &str) -> Payment {
    Payment::OfOrder(OutTradeNo::parse(number).unwrap())
}

/// Fen of ann, on their way back, and of the gateway.
pub async fn ledger(shop: &Shop) -> (i64, i64, i64) {
    (
        shop.balance(1).await,
        shop.stands_at(Account::Refunds).await,
        shop.stands_at(Account::Gateway(Provider::Wechat)).await,
    )
}

/// Kinds of the open work items, oldest first.
pub async fn work(shop: &Shop) -> Vec<String> {
    let open = shop.work_items().await.into_iter().rev().filter(|item| item.closed_at.is_none());
    open.map(|item| item.kind).collect()
}

/// What the simulated WeChat made of our requests: number, fen, status.
pub fn at_wechat(shop: &Shop) -> Vec<(String, i64, RefundStatus)> {
    shop.simulator.refunds().into_iter().map(|r| (r.out_refund_no, r.amount.get(), r.status)).collect()
}

/// How often each call named this refund.
pub fn calls(shop: &Shop, refund: &Refund) -> (usize, usize) {
    let calls = shop.calls(refund.out_refund_no.as_str());
    let count = |name: &str| calls.iter().filter(|call| *call == name).count();
    (count("refund"), count("refundquery"))
}

#[actix_web::test]
async fn a_refund_takes_its_amount_at_once_and_ends_when_a_query_says_so() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!(refund.state, RefundState::Processing);
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    assert_eq!(shop.order(&number).await.refundable().get(), 3000);
    assert_eq!(shop.simulator.refunded_total_fen(), 0);

    shop.wait_for_refunds(1, 10).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    shop.wait_for_refunds(1, 20).await;
    let ended = shop.same_refund(&refund).await;
    assert_eq!(ended.state, RefundState::Success);
    assert_eq!((ended.next_at, ended.finished_at), (None, Some(shop.clock.now())));
    assert_eq!(ledger(&shop).await, (3000, 0, -3000));
    assert_eq!(shop.simulator.refunded_total_fen(), 2000);
    assert!(shop.order(&number).await.is_paid(), "status stays 1: the sheet of money is the ledger");
    assert_eq!(work(&shop).await, Vec::<String>::new());
    // Finished, so nobody asks any more.
    shop.wait_for_refunds(3, HOUR).await;
    assert_eq!(calls(&shop, &refund), (1, 2));
}

#[actix_web::test]
async fn the_reply_that_ends_a_refund_is_kept_under_the_name_of_the_protocol_it_came_by() {
    for (shop, protocol) in [(Shop::open().await, "wechat"), (Shop::open_v3().await, "wechat_v3")] {
        let number = shop.paid("ann", "50").await;
        let refund = shop.refund(&number, "20").await.unwrap();
        shop.wait_for_refunds(3, 20).await;
        assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
        let notices = shop.all_notices().await;
        let reply = notices.iter().find(|notice| notice.verdict == "refund_success").unwrap();
        assert_eq!((reply.source.as_str(), reply.provider.as_str()), ("refund_query", protocol));
    }
}

#[actix_web::test]
async fn parts_asked_for_at_once_go_out_a_minute_apart_and_never_exceed_the_whole() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let mut parts = Vec::new();
    for yuan in ["10", "15", "25"] {
        parts.push(shop.refund(&number, yuan).await.unwrap());
        shop.clock.advance_ms(1_000);
    }
    assert_eq!(ledger(&shop).await, (0, 5000, -5000));
    assert_eq!(at_wechat(&shop).len(), 1, "the others wait their turn");
    shop.wait_for_refunds(30, 10).await;
    for part in &parts {
        assert_eq!(shop.same_refund(part).await.state, RefundState::Success);
        assert_eq!(calls(&shop, part).0, 1);
    }
    assert_eq!(ledger(&shop).await, (0, 0, 0));
    assert_eq!(shop.simulator.refunded_total_fen(), 5000);
    assert!(matches!(shop.refund(&number, "0.01").await, Err(RefundError::TooMuch(left)) if left.get() == 0));
}

#[actix_web::test]
async fn a_refund_whose_reply_is_lost_is_found_and_stays_one() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundLostReply);
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!(
        (refund.state, refund.last_answer.as_deref()),
        (RefundState::Asking, Some("SYSTEMERROR 接口返回错误"))
    );
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    shop.wait_for_refunds(1, 10).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    shop.wait_for_refunds(2, 20).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(at_wechat(&shop), [(refund.out_refund_no.to_string(), 2000, RefundStatus::Success)]);
    // Even the very same request once more is the same refund there.
    let gateway = shop.app.speaker(shouyin::gateway::Protocol::WechatV2).unwrap();
    let again = gateway.refund(&refund, &shop.clock.stamp().unwrap());
    gateway.refund_asked(&shop.app.http.send(&again).await.unwrap(), &refund).unwrap();
    assert_eq!(at_wechat(&shop).len(), 1);
}

#[actix_web::test]
async fn a_request_that_never_arrived_is_repeated_with_the_same_number() {
    let mut shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.cut_off().await;
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!((refund.state, refund.asked), (RefundState::Asking, 1));
    shop.wait_for_refunds(2, 30).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Asking);
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    shop.reconnect();
    shop.wait_for_refunds(1, HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    shop.wait_for_refunds(1, HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(at_wechat(&shop), [(refund.out_refund_no.to_string(), 2000, RefundStatus::Success)]);
}

#[actix_web::test]
async fn without_funds_the_same_number_is_asked_again_until_they_are_there() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundNotEnough);
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!((refund.state, refund.last_answer.as_deref()), (RefundState::Asking, Some("NOTENOUGH")));
    assert_eq!(work(&shop).await, ["refund_not_enough"]);
    shop.wait_for_refunds(1, 10).await;
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    assert_eq!(at_wechat(&shop), []);
    shop.wait_for_refunds(1, MINUTE).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    assert_eq!(work(&shop).await, Vec::<String>::new(), "it has become true by itself");
    shop.wait_for_refunds(1, MINUTE).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(at_wechat(&shop), [(refund.out_refund_no.to_string(), 2000, RefundStatus::Success)]);
    assert_eq!(calls(&shop, &refund).0, 3);
}

#[actix_web::test]
async fn a_refund_that_takes_days_never_expires() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundProcessing);
    let refund = shop.refund(&number, "50").await.unwrap();
    shop.wait_for_refunds(7, 10 * HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    assert_eq!(calls(&shop, &refund), (1, 7));
    assert_eq!(ledger(&shop).await, (0, 5000, -5000));
    assert_eq!(work(&shop).await, Vec::<String>::new());
    shop.wait_for_refunds(1, 2 * HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(ledger(&shop).await, (0, 0, 0));
}

#[actix_web::test]
async fn an_abnormal_refund_keeps_its_hold_until_somebody_has_sorted_it_out() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundAbnormal);
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.wait_for_refunds(2, 20).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Abnormal);
    assert_eq!(work(&shop).await, ["refund_abnormal"]);
    shop.wait_for_refunds(3, 10 * HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Abnormal);
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    assert!(matches!(shop.refund(&number, "30.01").await, Err(RefundError::TooMuch(_))));

    shop.simulator.resolve_refund(refund.out_refund_no.as_str()).unwrap();
    assert_eq!(shop.deliver().await, 1);
    // Asked a moment ago, so it is asked again after ten seconds and not in an hour.
    assert_eq!(shop.follow_refunds().await, 0);
    shop.wait_for_refunds(1, 10).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(ledger(&shop).await, (3000, 0, -3000));
    assert_eq!(work(&shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_closed_refund_gives_everything_back_and_another_number_may_try() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundClosed);
    let refund = shop.refund(&number, "50").await.unwrap();
    assert_eq!(ledger(&shop).await, (0, 5000, -5000));
    shop.wait_for_refunds(3, 20).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Closed);
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    assert_eq!(work(&shop).await, ["refund_failed"]);
    shop.simulator.set_scenario(&number, Scenario::Ok);
    shop.wait_for_refunds(1, MINUTE).await;
    let other = shop.refund(&number, "50").await.unwrap();
    assert_ne!(other.out_refund_no, refund.out_refund_no);
    shop.wait_for_refunds(2, 30).await;
    assert_eq!(shop.same_refund(&other).await.state, RefundState::Success);
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Closed);
    assert_eq!(ledger(&shop).await, (0, 0, 0));
}

#[actix_web::test]
async fn a_refused_request_fails_only_after_a_query_and_when_none_can_be_under_way() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    // Nothing is left at WeChat, which our books do not know.
    shop.simulator.refund(&number).unwrap();
    let refund = shop.refund(&number, "20").await.unwrap();
    let answer = refund.last_answer.as_deref().unwrap();
    assert!(answer.starts_with("INVALID_REQUEST ") && answer.contains('退'), "{answer}");
    shop.wait_for_refunds(29, 10).await;
    let waiting = shop.same_refund(&refund).await;
    assert_eq!(waiting.state, RefundState::Asking);
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    shop.wait_for_refunds(1, 10).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Failed);
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    assert_eq!(work(&shop).await, ["refund_failed"]);
    let (asked, queried) = calls(&shop, &refund);
    assert_eq!(asked, 1, "a refusal is not repeated");
    assert!(queried >= 2, "{queried}");
}

#[actix_web::test]
async fn no_message_about_a_refund_changes_anything_by_itself() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    let name = refund.out_refund_no.as_str();
    let stranger = Shop::open().await;
    let foreign = stranger.simulator.refund_notify(name, &[], &[]);
    let us = (
        shop.app.config.wechat_v2.as_ref().unwrap().appids.web.clone(),
        shop.app.config.wechat_v2.as_ref().unwrap().mch_id.clone(),
    );
    assert!(foreign.contains(&us.0) && foreign.contains(&us.1), "told apart by the key alone");
    let ours = |outside: &[(&str, &str)], inside: &[(&str, &str)]| {
        shop.simulator.refund_notify(name, outside, inside)
    };
    let before = (shop.books(&number).await, ledger(&shop).await);
    for body in [
        "<xml><return_code>SUCCESS</return_code></xml>".to_owned(),
        ours(&[("req_info", "")], &[]),
        ours(&[("req_info", "bm90IG91cnM=")], &[]),
        ours(&[("return_code", "FAIL")], &[]),
        ours(&[("mch_id", "1000000001")], &[]),
        ours(&[("appid", "wx0000000000000000")], &[]),
        ours(&[], &[("refund_fee", "5000")]),
        ours(&[], &[("total_fee", "2000")]),
        ours(&[], &[("transaction_id", "4200000000000000000000000000")]),
        ours(&[], &[("out_trade_no", "another")]),
        ours(&[], &[("refund_fee", "")]),
        foreign,
    ] {
        let answer = shop.notify_refund(body.clone()).await;
        assert!(answer.body.contains("FAIL") && !answer.body.contains("SUCCESS"), "{body}: {}", answer.body);
        assert_eq!(shop.same_refund(&refund).await.next_at, refund.next_at, "{body}");
    }
    // One that fits, and lies about the end: it makes us ask, and the answer is believed.
    shop.clock.advance_ms(4_000);
    assert_eq!(shop.follow_refunds().await, 0);
    let answer = shop.notify_refund(ours(&[], &[])).await;
    assert!(answer.body.contains("SUCCESS"), "{}", answer.body);
    assert_eq!(calls(&shop, &refund), (1, 0));
    assert_eq!(shop.follow_refunds().await, 1);
    assert_eq!(calls(&shop, &refund), (1, 1));
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    assert_eq!(ledger(&shop).await, before.1);
    let after = shop.books(&number).await;
    let unwritten = |books: Books| (books.order, books.balance, books.work);
    assert_eq!(unwritten(after), unwritten(before.0));
}

#[actix_web::test]
async fn a_refund_nobody_here_asked_for_is_shown_to_the_administrator_and_books_nothing() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let transaction_id = shop.order(&number).await.transaction_id.unwrap();
    let inside = [("out_trade_no", number.as_str()), ("transaction_id", transaction_id.as_str())];
    let answer = shop.notify_refund(shop.simulator.refund_notify("never-asked-for", &[], &inside)).await;
    assert!(answer.body.contains("FAIL"), "{}", answer.body);
    assert_eq!(work(&shop).await, ["refunded_elsewhere"]);
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    // About a payment that is not ours, it is only noise.
    shop.notify_refund(shop.simulator.refund_notify("never-asked-for", &[], &[])).await;
    assert_eq!(work(&shop).await.len(), 1);
}

#[actix_web::test]
async fn after_a_change_of_merchant_nobody_asks_the_new_account_about_an_old_refund() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundLostReply);
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!(refund.state, RefundState::Asking);
    let mut config = shop.app.config.clone();
    config.wechat_v2.as_mut().unwrap().mch_id = "1000000001".to_owned();
    let moved = App::new(config, shop.app.store.clone(), shop.clock.clone()).unwrap();
    for _ in 0..3 {
        shop.clock.advance_ms(HOUR * 1000);
        assert_eq!(jobs::refunds::run_once(moved.clone()).await.unwrap(), 1);
    }
    let waiting = shop.same_refund(&refund).await;
    assert_eq!((waiting.state, waiting.asked, calls(&shop, &refund)), (RefundState::Asking, 1, (1, 0)));
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    shop.wait_for_refunds(1, HOUR).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
}

#[actix_web::test]
async fn a_reason_the_gateway_would_refuse_is_refused_at_once() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let with = async |reason: String| {
        let wish = Wish {
            payment: of(&number),
            amount: Fen::new(1).unwrap(),
            reason,
            intent: "a-form-of-ours".into(),
        };
        request_refund::request(&shop.app, &admin_called("boss"), wish).await
    };
    for reason in ["", "   ", "退款🎉", "a\nb", "退".repeat(27).as_str(), "x".repeat(81).as_str()] {
        assert!(matches!(with(reason.to_owned()).await, Err(RefundError::BadReason(_))), "{reason}");
    }
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    let longest = "退".repeat(26) + "xy";
    assert_eq!((longest.len(), with(longest).await.unwrap().state), (80, RefundState::Processing));
}

#[actix_web::test]
async fn a_true_message_ends_a_refund_within_one_round_and_twenty_copies_end_it_once() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.wait_for_refunds(1, 10).await;
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.follow_refunds().await, 0, "the next look is later");
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    assert_eq!(shop.follow_refunds().await, 1);
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    let sent = shop.simulator.refunds().remove(0).callbacks;
    assert_eq!(sent.iter().map(|sent| sent.accepted).collect::<Vec<_>>(), [true]);
    let copies = (0..20).map(|_| shop.notify_refund(sent[0].body.clone()));
    for answer in join_all(copies).await {
        assert!(answer.body.contains("SUCCESS"), "{}", answer.body);
    }
    shop.wait_for_refunds(2, MINUTE).await;
    assert_eq!(calls(&shop, &refund), (1, 2));
    assert_eq!(ledger(&shop).await, (3000, 0, -3000));
}

#[actix_web::test]
async fn of_twenty_parallel_refunds_that_do_not_fit_together_one_is_made() {
    let shop = Shop::open().await;
    let ann = shop.user("ann").await;
    // Her balance would bear all of them: only the payment does not.
    let (number, other) = (ann.top_up("100").await, ann.top_up("5000").await);
    for order in [&number, &other] {
        shop.simulator.pay(order).unwrap();
    }
    shop.deliver().await;
    let made = join_all((0..20).map(|_| shop.refund(&number, "60"))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((accepted.len(), refused.len()), (1, 19));
    for refusal in refused {
        assert!(matches!(refusal, Err(RefundError::TooMuch(left)) if left.get() == 4000), "{refusal:?}");
    }
    assert_eq!(ledger(&shop).await, (504_000, 6000, -510_000));
    assert_eq!(at_wechat(&shop).len(), 1);
}

#[actix_web::test]
async fn one_form_is_one_refund_however_often_it_is_sent() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let ask = |yuan: &'static str| shop.ask_refund("boss", of(&number), yuan, "a-double-click");
    let (first, second) = tokio::join!(ask("20"), ask("20"));
    assert_eq!(first.unwrap().id, second.unwrap().id);
    assert_eq!(ask("20").await.unwrap().amount.get(), 2000);
    assert!(matches!(ask("21").await, Err(RefundError::IntentReused)));
    let other = shop.paid("bob", "50").await;
    let reused = shop.ask_refund("boss", of(&other), "20", "a-double-click").await;
    assert!(matches!(reused, Err(RefundError::IntentReused)));
    assert_eq!(ledger(&shop).await, (3000, 2000, -10_000));
    assert_eq!(at_wechat(&shop).len(), 1);
}

#[actix_web::test]
async fn above_the_limit_a_second_administrator_decides_and_parts_are_summed() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "1000").await;
    let (boss, vice) = (admin_called("boss"), admin_called("vice"));
    let small = shop.refund(&number, "500").await.unwrap();
    assert_eq!(small.state, RefundState::Processing);
    let large = shop.refund(&number, "0.01").await.unwrap();
    assert_eq!((large.state, large.next_at), (RefundState::Waiting, None), "500 and a fen are above 500");
    assert_eq!(ledger(&shop).await, (49_999, 50_001, -100_000));
    shop.wait_for_refunds(5, HOUR).await;
    assert_eq!(at_wechat(&shop).len(), 1, "nobody agreed");
    let decide =
        |admin, agreed| decide_refund::decide(&shop.app, admin, &large.out_refund_no, agreed, String::new());
    assert!(matches!(decide(&boss, true).await, Err(RefundError::OwnRequest)));
    assert_eq!(decide(&vice, true).await.unwrap().state, RefundState::Processing);
    assert!(matches!(decide(&vice, false).await, Err(RefundError::DecidedBefore)));
    shop.wait_for_refunds(1, MINUTE).await;
    assert_eq!(shop.same_refund(&large).await.state, RefundState::Success);

    let refused = shop.refund(&number, "400").await.unwrap();
    let no = decide_refund::decide(&shop.app, &vice, &refused.out_refund_no, false, "no".to_owned()).await;
    assert_eq!(no.unwrap().state, RefundState::Rejected);
    assert_eq!(ledger(&shop).await, (49_999, 0, -49_999));
    assert_eq!(calls(&shop, &refused), (0, 0));
}

/// A crash after the reservation leaves this, and nothing was asked.
pub async fn reserved(shop: &Shop, number: &str) -> Refund {
    let order = shop.order(number).await;
    let attempt = shop.attempts(number).await.remove(0);
    let new = NewRefund {
        out_refund_no: shop.clock.out_refund_no().unwrap(),
        intent: "before-the-crash".to_owned(),
        order_id: Some(order.id),
        work_item_id: None,
        user_id: Some(order.user_id),
        provider: Provider::Wechat,
        account: attempt.account,
        environment: order.environment,
        out_trade_no: attempt.out_trade_no,
        transaction_id: order.transaction_id.unwrap(),
        total: order.amount,
        amount: order.amount,
        reason: "商品已售完".to_owned(),
        notify_url: shop.app.config.url("/notify/wechat/refund"),
        requested_by: "boss".to_owned(),
        requested_at: shop.clock.now(),
        state: RefundState::Asking,
        next_at: Some(shop.clock.now()),
    };
    let write = move |db: &mut _| {
        assert!(refunds::reserve_of_order(db, order.id, new.amount)?);
        let id = refunds::insert(db, &new)?;
        refunds::by_id(db, id)
    };
    shop.app.store.write(write).await.unwrap().unwrap()
}

#[actix_web::test]
async fn a_refund_written_before_a_crash_is_asked_for_by_the_job() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = reserved(&shop, &number).await;
    assert_eq!((refund.asked, calls(&shop, &refund)), (0, (0, 0)));
    assert_eq!(ledger(&shop).await, (0, 5000, -5000));
    assert_eq!(shop.follow_refunds().await, 1);
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    shop.wait_for_refunds(2, 30).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(calls(&shop, &refund).0, 1);
}

/// An order paid from two phones: the payment that credited nobody is a work item.
pub async fn paid_twice(shop: &Shop) -> i64 {
    let number = shop.user("ann").await.top_up("50").await;
    let phone = Browser::new(shop.url.clone(), WECHAT);
    phone.log_in("ann", crate::harness::PASSWORD).await;
    phone.go_to_wechat_and_back().await;
    let page = phone.get(&format!("/orders/{number}/pay")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let second = shop.attempts(&number).await.remove(1).out_trade_no;
    shop.simulator.set_scenario(&number, Scenario::LatePayment);
    for paid in [number.as_str(), second.as_str()] {
        shop.simulator.pay(paid).unwrap();
        shop.deliver().await;
    }
    assert_eq!(work(shop).await, ["second_payment"]);
    shop.work_items().await.remove(0).id
}

#[actix_web::test]
async fn a_second_payment_goes_back_without_touching_any_balance() {
    let shop = Shop::open().await;
    let item = paid_twice(&shop).await;
    let before = ledger(&shop).await;
    assert_eq!(before.0, 5000);
    let ask = |yuan: &'static str, intent: &'static str| {
        shop.ask_refund("boss", Payment::OfWorkItem(item), yuan, intent)
    };
    assert!(matches!(ask("50.01", "first-form").await, Err(RefundError::TooMuch(_))));
    let refund = ask("50", "second-form").await.unwrap();
    assert_eq!((refund.user_id, refund.order_id), (None, None));
    assert!(matches!(ask("50", "third-form").await, Err(RefundError::TooMuch(_))));
    shop.wait_for_refunds(2, 30).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(ledger(&shop).await, before);
    assert_eq!(shop.simulator.refunded_total_fen(), 5000);
    assert_eq!(work(&shop).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_payment_told_of_by_two_items_goes_back_once() {
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::ZERO).await;
    let first = paid_twice(&shop).await;
    let (item, now) = (shop.work_items().await.remove(0), shop.clock.now());
    let open_another = move |db: &mut Db| {
        let payment = item.payment().unwrap();
        let claim = Claim {
            provider: payment.provider,
            account: &payment.account,
            environment: payment.environment,
            transaction_id: &payment.transaction_id,
            amount: payment.amount,
            currency: "CNY",
        };
        let matter = Matter {
            kind: "unknown_order",
            out_trade_no: payment.out_trade_no.as_str(),
            transaction_id: payment.transaction_id.as_str(),
            payment: Some(claim),
            ..Matter::default()
        };
        work_items::open_once(db, matter, now)
    };
    assert!(shop.app.store.write(open_another).await.unwrap());
    let second = shop.work_items().await.iter().map(|item| item.id).find(|id| *id != first).unwrap();
    let ask = |id, intent| shop.ask_refund("boss", Payment::OfWorkItem(id), "50", intent);
    // It waits for a second administrator, so WeChat has not heard of it.
    assert_eq!(ask(first, "first-form").await.unwrap().state, RefundState::Waiting);
    let again = ask(second, "second-form").await;
    assert!(matches!(again, Err(RefundError::TooMuch(Fen::ZERO))), "{again:?}");
}

#[actix_web::test]
async fn a_payment_that_only_a_message_knows_is_not_sent_back_and_the_true_one_credits() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    shop.notify(shop.simulator.signed_notify(&number, &[("total_fee", "1")])).await;
    assert_eq!(work(&shop).await, ["amount_mismatch"]);
    let item = shop.work_items().await.remove(0).id;
    let asked = shop.ask_refund("boss", Payment::OfWorkItem(item), "0.01", "first-form").await;
    assert!(matches!(asked, Err(RefundError::NotConfirmed(_))), "{asked:?}");
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert!(shop.order(&number).await.is_paid());
}

#[actix_web::test]
async fn the_payments_callback_during_its_refund_credits_nothing_again() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    for _ in 0..5 {
        shop.simulator.resend(&number).unwrap();
        shop.deliver().await;
        shop.wait_for_refunds(1, 10).await;
    }
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!(ledger(&shop).await, (3000, 0, -3000));
    let verdicts = shop.verdicts().await;
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "ok").count(), 1);
    assert_eq!(verdicts.iter().filter(|verdict| *verdict == "duplicate").count(), 5);
}
