//! V3 and Alipay answer with an error, or not at all, and may have done what they were asked to: nothing is concluded
//! from it, and the next question carries the same number.

use crate::{
    channels::{COMPUTER, order, user_of},
    harness::{Browser, Shop, admin_called},
};
use futures_util::FutureExt;
use shouyin::{
    app::App,
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        money::Fen,
        order::{Provider, Source},
        refund::{Refund, RefundState},
    },
    flow::{
        query::{self, Asked},
        request_refund::{self, Payment, Wish},
    },
    gateway::{Headers, Response, rsa::PrivateKey},
    http::{Http, HttpError, Letter},
    jobs,
    simulator::{self, AlipayApp, RefundStatus, Signer, Simulator, faults::Scenario},
    web::{Web, server},
};
use std::{net::TcpListener, sync::Arc};
use url::form_urlencoded;

const MINUTE_MS: i64 = 60_000;

/// A way to pay that both sides sign by RSA, and what the gateway calls its own interfaces.
struct Way {
    channel: &'static str,
    provider: Provider,
    prepay: &'static str,
    refund: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        channel: "wechat_native",
        provider: Provider::Wechat,
        prepay: "transactions/native",
        refund: "refunds",
    },
    Way {
        channel: "alipay_qr",
        provider: Provider::Alipay,
        prepay: "alipay.trade.precreate",
        refund: "alipay.trade.refund",
    },
];

/// What comes back instead of an answer.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Under the gateway's own signature: something is wrong with it.
    SystemError,
    Nothing,
}

/// Every fault, after the gateway has done what it was asked to, and without that it has heard of it.
const FAULTS: [(Fault, bool); 4] = [
    (Fault::SystemError, true),
    (Fault::SystemError, false),
    (Fault::Nothing, true),
    (Fault::Nothing, false),
];

/// A shop that speaks V3 and Alipay, and the key Alipay signs with.
async fn open() -> (Shop, PrivateKey) {
    let mut key = None;
    let shop = Shop::open_with_keys(|config, keys| {
        config.wechat_v3 = keys.wechat_v3(config.wechat_v2.as_ref().unwrap());
        key = AlipayApp::of(keys).map(|app| app.key);
    })
    .await;
    shop.simulator.sign_callbacks_with(Some(Signer::PublicKey));
    (shop, key.unwrap())
}

/// The same shop on a day on which every call of its comes back so; with `done`, the gateway has done it nevertheless.
fn on_a_bad_day(shop: &Shop, key: &PrivateKey, (fault, done): (Fault, bool)) -> Arc<App> {
    let (simulator, key) = (shop.simulator.clone(), key.clone());
    let line = move |letter: Letter| {
        let path = letter.url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
        if done {
            let asked = simulator::Asked {
                method: if letter.post { "POST" } else { "GET" },
                target: &path,
                headers: Headers(&letter.headers),
                body: &letter.body,
            };
            simulator.answer(&asked).unwrap().unwrap();
        }
        let answer = match fault {
            Fault::Nothing => Err(HttpError::Timeout),
            Fault::SystemError if path.starts_with("/v3/") => Ok(v3_error(&simulator)),
            Fault::SystemError => Ok(alipay_error(&key, &letter.body)),
        };
        async move { answer }.boxed()
    };
    let http = Http::in_process(shop.app.config.origins.clone(), Arc::new(line));
    App::with_http(shop.app.config.clone(), shop.app.store.clone(), shop.clock.clone(), http).unwrap()
}

fn v3_error(simulator: &Simulator) -> Response {
    let said = simulator.v3_sign(r#"{"code":"SYSTEM_ERROR","message":"系统错误"}"#, "").unwrap().unwrap();
    Response { headers: said.lines(), ..Response::new(500, said.body.into_bytes()) }
}

fn alipay_error(key: &PrivateKey, asked: &[u8]) -> Response {
    let (_, method) = form_urlencoded::parse(asked).find(|(name, _)| name == "method").unwrap();
    let node = r#"{"code":"20000","msg":"Service Currently Unavailable","sub_code":"isp.unknow-error"}"#;
    let (name, sign) = (method.replace('.', "_"), key.sign(node.as_bytes()));
    Response::new(200, format!(r#"{{"{name}_response":{node},"sign":"{sign}"}}"#).into_bytes())
}

/// Neither paid nor failed: the order is open, nothing is credited, and its page says so.
async fn undecided(shop: &Shop, user: &Browser, number: &str, title: &str) {
    let books = shop.books(number).await;
    assert_eq!((books.balance, books.order.is_paid(), books.order.closed_at), (0, false, None));
    let page = user.get(&format!("/orders/{number}")).await.body;
    assert!(page.contains(&format!("<h1>{title}</h1>")) && !page.contains("支付失败"), "{page}");
}

#[actix_web::test]
async fn a_code_that_could_not_be_made_for_certain_is_asked_for_again_under_the_same_number() {
    for way in &WAYS {
        for fault in FAULTS {
            let (shop, key) = open().await;
            let user = user_of(&shop, "ann", COMPUTER).await;
            let bad = on_a_bad_day(&shop, &key, fault);
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut there = user.clone();
            there.origin = format!("http://{}", listener.local_addr().unwrap());
            let serving = server::serve(Web::new(bad, None, Box::new(|| true)), listener, 1).unwrap();
            let handle = serving.handle();
            tokio::spawn(serving);
            let (number, page) = order(&there, way.channel).await;
            assert!(page.body.contains("支付通道繁忙"), "{fault:?}: {}", page.body);
            assert!(page.body.contains("请勿重复支付"), "{fault:?}: {}", page.body);
            undecided(&shop, &user, &number, "待支付").await;
            handle.stop(false).await;

            let page = user.get(&format!("/orders/{number}/pay?channel={}", way.channel)).await;
            assert!(page.body.contains("扫一扫"), "{fault:?}: {}", page.body);
            assert_eq!(shop.attempts(&number).await.len(), 1, "{fault:?}: one number, one payment");
            assert!(shop.calls(&number).iter().all(|call| call == way.prepay), "{:?}", shop.calls(&number));
            shop.simulator.pay(&number).unwrap();
            assert_eq!(shop.deliver().await, 1);
            assert_eq!((shop.books(&number).await.balance, shop.simulator.paid_total_fen()), (5000, 5000));
        }
    }
}

#[actix_web::test]
async fn a_payment_that_a_query_could_not_tell_of_is_neither_credited_nor_given_up() {
    for way in &WAYS {
        for fault in [(Fault::SystemError, true), (Fault::Nothing, false)] {
            let (shop, key) = open().await;
            let user = user_of(&shop, "ann", COMPUTER).await;
            let (number, _) = order(&user, way.channel).await;
            shop.simulator.set_scenario(&number, Scenario::NotifyLost);
            shop.simulator.pay(&number).unwrap();
            let bad = on_a_bad_day(&shop, &key, fault);
            let attempt = shop.attempts(&number).await.remove(0);
            let asked = query::ask(&bad, &attempt, Source::Query).await.unwrap();
            assert!(matches!(asked, Asked::Unknown(_) | Asked::Pending(_)), "{fault:?}: {asked:?}");
            shop.clock.advance_ms(MINUTE_MS);
            assert_eq!(jobs::query_pending::run_once(bad.clone()).await.unwrap(), 1);
            undecided(&shop, &user, &number, "待支付").await;
            // Nor when its time is over.
            shop.clock.advance_ms(130 * MINUTE_MS);
            jobs::close_expired::run_once(bad).await.unwrap();
            undecided(&shop, &user, &number, "结果确认中").await;
            assert_eq!(shop.attempts(&number).await[0].closed_at, None);
            for _ in 0..6 {
                shop.clock.advance_ms(10 * MINUTE_MS);
                shop.sweep().await;
                shop.close_expired().await;
            }
            let books = shop.books(&number).await;
            assert_eq!((books.balance, books.order.is_paid(), books.order.late), (5000, true, false));
        }
    }
}

/// An administrator sends 20 yuan of an order back.
async fn refund(app: &App, number: &str, intent: &str) -> Refund {
    let wish = Wish {
        payment: Payment::OfOrder(OutTradeNo::parse(number).unwrap()),
        amount: Fen::parse_yuan("20").unwrap(),
        reason: "商品已售完".to_owned(),
        intent: intent.to_owned(),
    };
    request_refund::request(app, &admin_called("boss"), wish).await.unwrap()
}

#[actix_web::test]
async fn a_refund_that_nobody_can_tell_of_keeps_its_hold_and_is_asked_for_under_the_same_number() {
    for way in &WAYS {
        for fault in FAULTS {
            let (shop, key) = open().await;
            let user = user_of(&shop, "ann", COMPUTER).await;
            let (number, _) = order(&user, way.channel).await;
            shop.simulator.pay(&number).unwrap();
            assert_eq!(shop.deliver().await, 1);
            let owner = shop.order(&number).await.user_id;
            let ledger = async || {
                let gateway = shop.stands_at(Account::Gateway(way.provider)).await;
                (shop.balance(owner).await, shop.stands_at(Account::Refunds).await, gateway)
            };
            let bad = on_a_bad_day(&shop, &key, fault);
            let asked = refund(&bad, &number, &shop.clock.nonce().unwrap()).await;
            assert_eq!((asked.state, asked.asked), (RefundState::Asking, 1), "{fault:?}");
            assert_eq!(ledger().await, (3000, 2000, -5000), "{fault:?}");
            for _ in 0..3 {
                shop.clock.advance_ms(MINUTE_MS);
                jobs::refunds::run_once(bad.clone()).await.unwrap();
            }
            assert_eq!(shop.same_refund(&asked).await.state, RefundState::Asking, "{fault:?}");
            assert_eq!(ledger().await, (3000, 2000, -5000), "{fault:?}");
            // How many there are at the gateway: the one, or none it has heard of.
            assert_eq!(shop.simulator.refunds().len(), usize::from(fault.1), "{fault:?}");

            shop.wait_for_refunds(6, 3600).await;
            assert_eq!(shop.same_refund(&asked).await.state, RefundState::Success, "{fault:?}");
            assert_eq!(ledger().await, (3000, 0, -3000), "{fault:?}");
            let there = shop.simulator.refunds();
            let there: Vec<_> =
                there.iter().map(|one| (one.out_refund_no.as_str(), one.amount.get(), one.status)).collect();
            assert_eq!(there, [(asked.out_refund_no.as_str(), 2000, RefundStatus::Success)], "{fault:?}");
            assert!(shop.calls(asked.out_refund_no.as_str()).iter().any(|call| call == way.refund));
        }
    }
}
