//! Refunds that come to nothing: given up by a person, contradicted by WeChat, and what becomes of the matters around
//! them.

use crate::{
    attacks::rows,
    books::sql,
    harness::{Shop, admin_called},
    refunds::{at_wechat, calls, ledger, paid_twice, reserved, work},
};
use shouyin::{
    app::App,
    clock::Clock,
    domain::{
        ids::OutTradeNo,
        money::Fen,
        refund::{Refund, RefundState},
    },
    flow::{
        decide_refund, refund,
        request_refund::{self, Kept, Payment, RefundError, Wish},
    },
    gateway::{
        Response,
        wechat_v2::{sign, xml::Fields},
    },
    simulator::Scenario,
    store::StoreError,
};
use std::sync::{Arc, Barrier};

const MINUTE: i64 = 60;
/// So long after the last request none is on its way, by whatever clock it was sent.
const QUIET: i64 = 25 * MINUTE;

async fn give_up(shop: &Shop, refund: &Refund) -> Result<Refund, RefundError> {
    give_up_at(&shop.app, shop, refund).await
}

async fn give_up_at(instance: &App, shop: &Shop, refund: &Refund) -> Result<Refund, RefundError> {
    let refund = shop.same_refund(refund).await;
    decide_refund::give_up(instance, &admin_called("boss"), &refund, "微信说已全额退款".to_owned()).await
}

/// Another instance on the same books, at the same WeChat, whose clock is off by so much.
fn instance_off_by(shop: &Shop, minutes: i64) -> Arc<App> {
    let clock = Clock::manual(shop.clock.now().plus_secs(minutes * MINUTE));
    App::new(shop.app.config.clone(), shop.app.store.clone(), clock).unwrap()
}

/// Times an alert was counted.
fn alerts(shop: &Shop, name: &str) -> u64 {
    shop.app.metrics.alerts.with_label_values(&[name]).get()
}

/// Twenty yuan of ann's fifty, for which the merchant lacks funds: sent once, and unknown to WeChat.
async fn unfunded() -> (Shop, String, Refund) {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundNotEnough);
    let refund = shop.refund(&number, "20").await.unwrap();
    assert_eq!((refund.state, refund.asked), (RefundState::Asking, 1));
    (shop, number, refund)
}

/// The same, given up as soon as that is possible.
async fn given_up() -> (Shop, String, Refund) {
    let (shop, number, refund) = unfunded().await;
    shop.clock.advance_ms(QUIET * 1000);
    let ended = give_up(&shop, &refund).await.unwrap();
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    (shop, number, ended)
}

#[actix_web::test]
async fn a_refund_that_is_written_is_said_to_be_written_whatever_its_first_step_comes_to() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    // Nobody can read the books until this test lets go of them.
    let (held, let_go) = (Arc::new(Barrier::new(5)), Arc::new(Barrier::new(5)));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, held, let_go) = (shop.app.store.clone(), held.clone(), let_go.clone());
            tokio::spawn(async move {
                // A connection may take longer than a reader waits for one.
                loop {
                    let (held, let_go) = (held.clone(), let_go.clone());
                    let hold = move |_: &mut _| {
                        held.wait();
                        let_go.wait();
                        Ok(())
                    };
                    match store.read(hold).await {
                        Err(StoreError::NoReader) => continue,
                        done => return done.unwrap(),
                    }
                }
            })
        })
        .collect();
    tokio::task::spawn_blocking(move || held.wait()).await.unwrap();
    let asked = shop.refund(&number, "20").await;
    tokio::task::spawn_blocking(move || let_go.wait()).await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    let refund = asked.expect("it is written");
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Processing);
    assert_eq!(at_wechat(&shop).len(), 1);
}

#[actix_web::test]
async fn a_refund_that_wechat_does_not_know_is_given_up_by_name_and_not_while_it_may_be_on_its_way() {
    let (mut shop, number, refund) = unfunded().await;
    shop.clock.advance_ms(QUIET * 1000 - 1);
    let early = give_up(&shop, &refund).await;
    assert!(matches!(early, Err(RefundError::NotGivenUp(Kept::TooSoon))), "{early:?}");
    assert_eq!(calls(&shop, &refund), (1, 0), "nobody was asked");
    shop.clock.advance_ms(1);
    shop.cut_off().await;
    let unheard = give_up(&shop, &refund).await;
    assert!(matches!(unheard, Err(RefundError::NotGivenUp(Kept::NotDenied))), "{unheard:?}");
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    shop.reconnect();
    shop.clock.advance_ms(3_000);
    let ended = give_up(&shop, &refund).await.unwrap();
    assert_eq!((ended.state, ended.is_given_up(), ended.next_at), (RefundState::Failed, true, None));
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
    assert_eq!(shop.order(&number).await.refundable().get(), 5000);
    assert_eq!(work(&shop).await, Vec::<String>::new(), "the matter of the funds is over");
    let act = rows(&shop, "audit_log").await.pop().unwrap();
    assert_eq!((&act["action"], &act["actor"]), (&"refund_given_up".into(), &"boss".into()));
    assert_eq!((&act["was"], &act["became"]), (&"asking".into(), &"failed".into()));
    assert_eq!(act["detail"], "微信说已全额退款");
    // It is over: nobody asks for it again, and nobody gives it up again.
    shop.wait_for_refunds(3, 3600).await;
    assert_eq!(calls(&shop, &refund), (1, 1));
    let twice = give_up(&shop, &refund).await;
    assert!(matches!(twice, Err(RefundError::NotGivenUp(Kept::NotAsking))), "{twice:?}");
    assert_eq!(shop.refund(&number, "50").await.unwrap().amount.get(), 5000);
}

#[actix_web::test]
async fn a_refund_sent_by_a_clock_that_is_behind_is_not_given_up_too_soon_by_one_that_is_ahead() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundNotEnough);
    let (behind, ahead) = (instance_off_by(&shop, -10), instance_off_by(&shop, 10));
    let wish = Wish {
        payment: Payment::OfOrder(OutTradeNo::parse(&number).unwrap()),
        amount: Fen::parse_yuan("20").unwrap(),
        reason: "商品已售完".to_owned(),
        intent: "first-form".to_owned(),
    };
    let refund = request_refund::request(&behind, &admin_called("ann"), wish).await.unwrap();
    assert_eq!((refund.state, refund.asked), (RefundState::Asking, 1));
    // Twenty minutes by their clocks, and none in truth: the request may still be on its way for five.
    for pass_ms in [0, 5 * MINUTE * 1000 - 1] {
        ahead.clock.advance_ms(pass_ms);
        let early = give_up_at(&ahead, &shop, &refund).await;
        assert!(matches!(early, Err(RefundError::NotGivenUp(Kept::TooSoon))), "{early:?}");
    }
    assert_eq!(ledger(&shop).await, (3000, 2000, -5000));
    ahead.clock.advance_ms(1);
    assert!(give_up_at(&ahead, &shop, &refund).await.unwrap().is_given_up());
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
}

#[actix_web::test]
async fn a_refusal_ends_no_refund_while_an_earlier_request_may_be_on_its_way_by_another_clock() {
    let mut shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.cut_off().await;
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.reconnect();
    // Nothing is left at WeChat, so the second request is refused; of the first nobody has heard.
    shop.simulator.refund(&number).unwrap();
    shop.wait_for_refunds(1, 10).await;
    let refused = shop.same_refund(&refund).await;
    assert_eq!(
        (refused.state, refused.asked, refused.refused_at),
        (RefundState::Asking, 2, Some(shop.clock.now()))
    );
    let ahead = instance_off_by(&shop, 20);
    for (pass_ms, state) in [
        (30_000, RefundState::Asking),
        (5 * MINUTE * 1000 - 33_000, RefundState::Asking),
        (3_000, RefundState::Failed),
    ] {
        ahead.clock.advance_ms(pass_ms);
        refund::look(&ahead, &shop.same_refund(&refund).await).await.unwrap();
        assert_eq!(shop.same_refund(&refund).await.state, state, "{pass_ms} ms later");
    }
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
}

#[actix_web::test]
async fn a_refund_that_wechat_has_is_not_given_up_and_goes_on() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundLostReply);
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.clock.advance_ms(QUIET * 1000);
    let kept = give_up(&shop, &refund).await;
    assert!(matches!(kept, Err(RefundError::NotGivenUp(Kept::NotDenied))), "{kept:?}");
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success, "the question was not in vain");
    assert_eq!(ledger(&shop).await, (3000, 0, -3000));
}

#[actix_web::test]
async fn a_refund_that_was_never_sent_is_given_up_at_once_and_does_not_count() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = reserved(&shop, &number).await;
    assert_eq!(ledger(&shop).await, (0, 5000, -5000));
    assert_eq!(give_up(&shop, &refund).await.unwrap().state, RefundState::Failed);
    assert_eq!((ledger(&shop).await, calls(&shop, &refund)), ((5000, 0, -5000), (0, 0)));
    assert_eq!(rows(&shop, "orders").await[0]["refunds"], 0);
    shop.wait_for_refunds(2, 3600).await;
    assert_eq!(at_wechat(&shop), []);
}

#[actix_web::test]
async fn of_fifty_refunds_those_that_never_reached_wechat_do_not_count() {
    let shop = Shop::open_with(|config| {
        config.refund_second_admin_above = shouyin::domain::money::Fen::ZERO;
    })
    .await;
    let number = shop.paid("ann", "50").await;
    for _ in 0..51 {
        let asked = shop.refund(&number, "0.01").await.unwrap();
        decide_refund::decide(&shop.app, &admin_called("boss"), &asked.out_refund_no, false, "x".to_owned())
            .await
            .unwrap();
    }
    assert_eq!(shop.refund(&number, "0.01").await.unwrap().state, RefundState::Waiting);
}

#[actix_web::test]
async fn a_message_that_says_a_given_up_refund_was_paid_out_opens_a_matter_and_moves_nothing() {
    let (shop, number, refund) = given_up().await;
    let before = (shop.order(&number).await, ledger(&shop).await);
    let inside = [
        ("out_trade_no", number.as_str()),
        ("transaction_id", refund.transaction_id.as_str()),
        ("total_fee", "5000"),
        ("refund_fee", "2000"),
    ];
    let named = refund.out_refund_no.as_str();
    let closed = [inside.as_slice(), &[("refund_status", "REFUNDCLOSE")]].concat();
    shop.notify_refund(shop.simulator.refund_notify(named, &[], &closed)).await;
    assert_eq!((work(&shop).await.len(), alerts(&shop, "refund_contradicted")), (0, 0), "no contradiction");
    for _ in 0..3 {
        let answer = shop.notify_refund(shop.simulator.refund_notify(named, &[], &inside)).await;
        assert!(answer.body.contains("SUCCESS"), "{}", answer.body);
    }
    assert_eq!(work(&shop).await, ["refund_contradicted"]);
    assert_eq!(alerts(&shop, "refund_contradicted"), 1, "the same news three times");
    assert_eq!(shop.same_refund(&refund).await, refund);
    assert_eq!((shop.order(&number).await, ledger(&shop).await), before);
}

#[actix_web::test]
async fn wechats_signed_word_against_a_refund_that_came_to_nothing_is_kept_and_moves_nothing() {
    let (shop, number, refund) = given_up().await;
    let look = async || decide_refund::look_now(&shop.app, &admin_called("boss"), &refund).await.unwrap();
    shop.clock.advance_ms(3_000);
    assert_eq!(look().await, shop.same_refund(&refund).await);
    assert_eq!((work(&shop).await.len(), calls(&shop, &refund).1), (0, 2), "asked, and still unknown there");
    // The very request comes to WeChat after all.
    shop.simulator.set_scenario(&number, Scenario::Ok);
    let gateway = shop.app.speaker(shouyin::gateway::Protocol::WechatV2).unwrap();
    let late = gateway.refund(&refund, &shop.clock.stamp().unwrap());
    gateway.refund_asked(&shop.app.http.send(&late).await.unwrap(), &refund).unwrap();
    shop.clock.advance_ms(MINUTE * 1000);
    assert_eq!(look().await.state, RefundState::Failed);
    assert_eq!(work(&shop).await, ["refund_contradicted"]);
    assert_eq!(alerts(&shop, "refund_contradicted"), 1);
    let item = shop.work_items().await.remove(0);
    let evidence = shop.all_notices().await.into_iter().find(|notice| notice.id == item.notice_id).unwrap();
    assert_eq!((evidence.source.as_str(), evidence.verdict.as_str()), ("refund_query", "refund_success"));
    assert_eq!(ledger(&shop).await, (5000, 0, -5000));
}

#[actix_web::test]
async fn a_matter_whose_refund_comes_to_nothing_is_open_again() {
    let shop = Shop::open().await;
    let item = paid_twice(&shop).await;
    let number = shop.work_items().await.remove(0).out_trade_no;
    shop.simulator.set_scenario(&number, Scenario::RefundClosed);
    let payment = Payment::OfWorkItem(item);
    let refund = shop.ask_refund("boss", payment.clone(), "50", "first-form").await.unwrap();
    let close = sql("UPDATE work_items SET closed_at = 1, closed_by = 'boss', note = 'refunded'");
    shop.app.store.write(close).await.unwrap();
    shop.wait_for_refunds(2, 30).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Closed);
    assert_eq!(work(&shop).await, ["second_payment", "refund_failed"]);
    let acts = rows(&shop, "audit_log").await;
    let act = acts.iter().find(|row| row["action"] == "work_item_reopened").unwrap();
    assert_eq!((&act["actor"], &act["target"]), (&"shouyin".into(), &item.to_string().into()));
    shop.simulator.set_scenario(&number, Scenario::Ok);
    shop.clock.advance_ms(MINUTE * 1000);
    assert!(shop.ask_refund("boss", payment, "50", "second-form").await.is_ok());
}

#[actix_web::test]
async fn a_closed_matter_refunds_nothing_and_wechat_is_not_asked() {
    let shop = Shop::open().await;
    let item = paid_twice(&shop).await;
    shop.app
        .store
        .write(sql("UPDATE work_items SET closed_at = 1, closed_by = 'boss', note = 'x'"))
        .await
        .unwrap();
    let calls = shop.simulator.calls();
    let asked = shop.ask_refund("boss", Payment::OfWorkItem(item), "50", "first-form").await;
    assert!(matches!(asked, Err(RefundError::Closed)), "{asked:?}");
    assert_eq!(shop.simulator.calls(), calls);
}

#[actix_web::test]
async fn an_answer_about_two_refunds_or_about_another_one_is_not_believed() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    let refund = shop.refund(&number, "20").await.unwrap();
    let gateway = shop.app.speaker(shouyin::gateway::Protocol::WechatV2).unwrap();
    let query = gateway.refund_query(&refund, &shop.clock.stamp().unwrap());
    let genuine = shop.app.http.send(&query).await.unwrap();
    let read_of = |mut fields: Fields| {
        fields.remove("sign");
        let account = shop.app.config.wechat_v2.as_ref().unwrap();
        let signature = sign::sign(&fields, &account.key, account.sign_type);
        fields.set("sign", &signature);
        gateway.refund_news(&Response::new(200, fields.to_xml().into_bytes()), &refund)
    };
    let read = |changes: &[(&str, &str)]| {
        let mut fields = Fields::parse(&genuine.body).unwrap();
        changes.iter().for_each(|(name, value)| fields.set(name, value));
        read_of(fields)
    };
    assert!(read(&[]).is_ok(), "signed anew, it is the same");
    // What the payment was is WeChat's to repeat or not, but not to change.
    assert!(read(&[("total_fee", "4999")]).is_err() && read(&[("total_fee", "5000.0")]).is_err());
    let without = {
        let mut fields = Fields::parse(&genuine.body).unwrap();
        fields.remove("total_fee");
        fields
    };
    assert!(read_of(without).is_ok());
    for changes in [
        [("out_refund_no_1", refund.out_refund_no.as_str()), ("refund_fee_1", "2000")],
        [("refund_id_0", "50000000000000000000000000001"), ("refund_fee_0", "2000")],
    ] {
        assert!(read(&changes).is_err(), "{changes:?}");
    }
}

#[actix_web::test]
async fn wechats_word_about_a_refund_of_another_number_of_its_own_raises_an_alert_and_moves_nothing() {
    let shop = Shop::open().await;
    let number = shop.paid("ann", "50").await;
    shop.simulator.set_scenario(&number, Scenario::RefundLostReply);
    let refund = shop.refund(&number, "20").await.unwrap();
    shop.app.store.write(sql("UPDATE refunds SET refund_id = 'another'")).await.unwrap();
    shop.wait_for_refunds(1, 10).await;
    assert_eq!((shop.same_refund(&refund).await.state, calls(&shop, &refund)), (RefundState::Asking, (1, 1)));
    assert_eq!(alerts(&shop, "refund_mismatch"), 1);
}
