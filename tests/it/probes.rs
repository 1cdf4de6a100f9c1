//! WeChat signs a reply wrongly now and then, on purpose, to see whether we look. It is believed as little as any other
//! wrong signature, and nobody is called: it is counted apart, and what was asked is asked again.

use crate::{
    channels::{COMPUTER, user_of},
    harness::{Shop, admin_called},
    protocols::{alerts, credited, open_by_certificate, work},
    reconcile::hearing,
};
use shouyin::{
    app::App,
    domain::{
        ids::OutTradeNo,
        money::Fen,
        order::{Channel, Source},
        refund::RefundState,
    },
    flow::{
        close::{self, Closed},
        query::{self, Asked},
        request_refund::{self, Payment, Wish as RefundWish},
        top_up::{self, Pay, Wish},
    },
    gateway::Response,
    jobs,
    simulator::faults::Scenario,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const PROBE: &str = "WECHATPAY/SIGNTEST/";

/// The shop with another way to WeChat: the first reply to a call below this path has its signature spoilt by this
/// beginning. WeChat itself has done what it was asked for.
fn spoilt(shop: &Shop, below: &'static str, beginning: &'static str) -> Arc<App> {
    let done = AtomicBool::new(false);
    hearing(shop, move |path, answer| {
        if !path.starts_with(below) || done.swap(true, Ordering::SeqCst) {
            return answer;
        }
        let (before, after) = answer.headers.split_once("wechatpay-signature: ").unwrap();
        let headers = format!("{before}wechatpay-signature: {beginning}{after}");
        Response { headers, ..answer }
    })
}

fn counted(app: &App, call: &str, outcome: &str) -> u64 {
    app.metrics.gateway_calls.with_label_values(&[call, outcome]).get()
}

/// Ann's order of 50 yuan by a code, as far as it got over this line.
async fn order(app: &App) -> (i64, String) {
    let wish = Wish {
        user_id: 1,
        amount: Fen::parse_yuan("50").unwrap(),
        channel: Channel::WechatNative,
        intent: "intent-0001".to_owned(),
    };
    let order = top_up::create(app, wish).await.unwrap();
    (order.id, order.out_trade_no.as_str().to_owned())
}

async fn prepare(app: &App, id: i64) -> Pay {
    top_up::checkout(app, id, Channel::WechatNative, None, "127.0.0.1").await.unwrap()
}

#[actix_web::test]
async fn a_probe_on_a_prepay_calls_nobody_and_the_same_number_is_asked_for_again() {
    for (beginning, outcome, alarms) in [(PROBE, "sign_probe", 0), ("AAAA", "no_answer", 1)] {
        let shop = Shop::open_v3().await;
        user_of(&shop, "ann", COMPUTER).await;
        let app = spoilt(&shop, "/v3/pay/transactions/native", beginning);
        let (id, number) = order(&app).await;
        assert_eq!(prepare(&app, id).await, Pay::Busy);
        let kept = shop.attempts(&number).await.remove(0);
        assert_eq!((kept.prepay_id, kept.closed_at), (None, None), "nothing in it is believed");
        assert!(kept.asked_at.is_some(), "perhaps it was prepared");
        for known in ["sign_probe", "no_answer", "answered"] {
            let times = counted(&app, "transactions/native", known);
            assert_eq!(times, u64::from(known == outcome), "{beginning}: {known}");
        }
        assert_eq!(app.metrics.alerts.with_label_values(&["prepay_no_answer"]).get(), alarms, "{beginning}");
        assert_eq!(u64::try_from(alerts(&app).len()).unwrap(), alarms, "{beginning}: {:?}", alerts(&app));
        assert!(matches!(prepare(&app, id).await, Pay::Ready(_)), "{beginning}");
        assert_eq!(shop.calls(&number), ["transactions/native"; 2], "{beginning}");
        assert_eq!(shop.attempts(&number).await.len(), 1, "{beginning}");
        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        credited(&shop, &number, Source::Notify).await;
    }
}

#[actix_web::test]
async fn a_probe_on_a_query_or_on_closing_leaves_the_order_as_it_was() {
    let shop = Shop::open_v3().await;
    user_of(&shop, "ann", COMPUTER).await;
    let app = spoilt(&shop, "/v3/pay/transactions/out-trade-no/", PROBE);
    let (id, number) = order(&app).await;
    assert!(matches!(prepare(&app, id).await, Pay::Ready(_)));
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let attempt = shop.attempts(&number).await.remove(0);
    let asked = query::ask(&app, &attempt, Source::Query).await.unwrap();
    assert!(matches!(asked, Asked::Unknown(_)), "{asked:?}");
    assert!(!shop.order(&number).await.is_paid(), "it was paid, and nobody vouches for it");
    assert_eq!(counted(&app, "transactions/out-trade-no", "sign_probe"), 1);
    assert_eq!((alerts(&app), work(&shop).await), (vec![], vec![]));
    query::ask(&app, &attempt, Source::Query).await.unwrap();
    credited(&shop, &number, Source::Query).await;

    let shop = Shop::open_v3().await;
    user_of(&shop, "ann", COMPUTER).await;
    let (id, number) = order(&shop.app).await;
    assert!(matches!(prepare(&shop.app, id).await, Pay::Ready(_)));
    let address: &'static str = format!("/v3/pay/transactions/out-trade-no/{number}/close").leak();
    let app = spoilt(&shop, address, PROBE);
    let attempt = shop.attempts(&number).await.remove(0);
    let closed = close::close_attempt(&app, &attempt, Source::Query).await.unwrap();
    assert!(matches!(closed, Closed::Unknown(_)), "{closed:?}");
    assert_eq!(shop.attempts(&number).await[0].closed_at, None);
    assert_eq!(counted(&app, "transactions/close", "sign_probe"), 1);
    assert_eq!((alerts(&app), work(&shop).await), (vec![], vec![]));
    let again = close::close_attempt(&app, &attempt, Source::Query).await.unwrap();
    assert!(matches!(again, Closed::Closed), "{again:?}");
}

#[actix_web::test]
async fn a_probe_on_a_refund_leaves_it_unknown_until_it_is_asked_about() {
    let shop = Shop::open_v3().await;
    let number = shop.paid("ann", "50").await;
    let app = spoilt(&shop, "/v3/refund/domestic/refunds", PROBE);
    let wish = RefundWish {
        payment: Payment::OfOrder(OutTradeNo::parse(&number).unwrap()),
        amount: Fen::parse_yuan("20").unwrap(),
        reason: "商品已售完".to_owned(),
        intent: "intent-of-a-refund".to_owned(),
    };
    let refund = request_refund::request(&app, &admin_called("boss"), wish).await.unwrap();
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Asking, "perhaps it was made");
    assert_eq!((counted(&app, "refunds", "sign_probe"), counted(&app, "refunds", "untrusted")), (1, 0));
    assert_eq!((alerts(&app), work(&shop).await), (vec![], vec![]));
    shop.wait_for_refunds(3, 60).await;
    assert_eq!(shop.same_refund(&refund).await.state, RefundState::Success);
    assert_eq!((shop.simulator.refunds().len(), shop.simulator.refunded_total_fen()), (1, 2000));
}

#[actix_web::test]
async fn a_probe_on_the_list_of_certificates_brings_none_and_the_next_list_does() {
    let shop = open_by_certificate().await;
    let app = spoilt(&shop, "/v3/certificates", PROBE);
    assert_eq!(jobs::gateway_keys::run_once(app.clone()).await.unwrap(), 0);
    assert_eq!((counted(&app, "certificates", "sign_probe"), alerts(&app)), (1, vec![]));
    shop.clock.advance_ms(60_000);
    assert_eq!(jobs::gateway_keys::run_once(app.clone()).await.unwrap(), 1);
    assert_eq!(counted(&app, "certificates", "answered"), 1);
}
