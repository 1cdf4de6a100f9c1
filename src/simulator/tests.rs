//! Our own gateways at the simulator, over HTTP.

use super::{testing::*, *};
use crate::{
    config::Origins,
    domain::{
        ids::{Openid, OutRefundNo, OutTradeNo, TransactionId},
        order::{Attempt, Channel, Environment, Provider},
        refund::{Refund, RefundState},
    },
    gateway::{
        Base, Checkout, Closing, Gateway, Notified, Notify, Prepaid, RefundAsked, RefundNews, Request, Trade,
        Untrusted,
        alipay::{self, Alipay},
        rsa::PublicKey,
        wechat_v2::WechatV2,
    },
};
use actix_web::HttpResponse;

mod of_v3;

fn attempt(simulator: &Simulator, notify_url: &str) -> Attempt {
    Attempt {
        out_trade_no: OutTradeNo::parse(NUMBER).unwrap(),
        order_id: 1,
        channel: Channel::WechatJsapi,
        account: String::new(),
        environment: Environment::Simulator,
        amount: Fen::new(990).unwrap(),
        goods_name: "账户充值".to_owned(),
        payer: Openid::parse(&simulator.openid_of(1)),
        client_ip: "127.0.0.1".to_owned(),
        notify_url: notify_url.to_owned(),
        created_at: NOW,
        expires_at: NOW.plus_secs(900),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }
}

#[actix_web::test]
async fn our_own_gateway_orders_queries_and_is_notified_over_http() {
    let (simulator, clock) = simulator();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    actix_web::rt::spawn(serve(simulator.clone(), listener).unwrap());
    let http = Http::new(Origins { wechat_api: vec![origin], ..Origins::default() }).unwrap();

    let shop = TcpListener::bind("127.0.0.1:0").unwrap();
    let notify_url = format!("http://{}/notify", shop.local_addr().unwrap());
    let (heard, mut hear) = tokio::sync::mpsc::unbounded_channel();
    let server = HttpServer::new(move || {
        let heard = heard.clone();
        App::new().default_service(web::to(move |body: web::Bytes| {
            heard.send(body).unwrap();
            async { HttpResponse::Ok().body("<xml><return_code>SUCCESS</return_code></xml>") }
        }))
    });
    actix_web::rt::spawn(server.workers(1).disable_signals().listen(shop).unwrap().run());
    actix_web::rt::spawn(simulator.clone().run());

    let gateway = WechatV2 { account: simulator.account().clone() };
    let attempt = attempt(&simulator, &notify_url);
    let ask = gateway.prepay(&attempt, &clock.stamp().unwrap()).unwrap();
    let answer = http.send(&ask).await.unwrap();
    let prepay_id = match gateway.prepaid(&answer, &attempt).unwrap() {
        Prepaid::Ready { prepay_id } => prepay_id,
        other => panic!("{other:?}"),
    };
    assert_eq!(simulator.trade(NUMBER).unwrap().prepay_id, prepay_id);

    let transaction_id = simulator.pay(NUMBER).unwrap();
    let ask = gateway.query(&attempt, &clock.stamp().unwrap());
    match gateway.trade(&http.send(&ask).await.unwrap(), &attempt).unwrap() {
        Trade::Paid(payment) => assert_eq!(payment.transaction_id().as_str(), transaction_id),
        other => panic!("{other:?}"),
    }
    let body = tokio::time::timeout(Duration::from_secs(5), hear.recv()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&body).contains(&transaction_id));
    let names: Vec<String> = simulator.calls();
    assert_eq!(names, [format!("unifiedorder {NUMBER}"), format!("orderquery {NUMBER}")]);
}

#[actix_web::test]
async fn a_get_is_not_a_call() {
    let (simulator, _) = simulator();
    let app = actix_web::test::init_service(App::new().configure(routes(&simulator))).await;
    let request = actix_web::test::TestRequest::get().uri("/pay/unifiedorder").to_request();
    let body = actix_web::test::call_and_read_body(&app, request).await;
    let reply = Fields::parse(&body).unwrap();
    assert_eq!(reply.get("return_code"), Some("FAIL"));
}

fn alipay_gateway() -> Alipay {
    let platform = &alipay_keys().platform;
    Alipay {
        account: alipay::Account {
            app_id: ALIPAY_APP_ID.to_owned(),
            seller_id: ALIPAY_SELLER_ID.to_owned(),
            key: alipay_keys().app.clone(),
            public_key: PublicKey::parse(&platform.public_base64().unwrap()).unwrap(),
            certificates: None,
            gateway_url: "http://alipay.test/gateway.do".to_owned(),
            public_url: ORIGIN.to_owned(),
            environment: Environment::Simulator,
        },
    }
}

/// What our own codec wrote, answered by the simulator, which reads with a codec of its own.
fn alipay_answers(simulator: &Simulator, request: &Request) -> Response {
    assert_eq!(request.base, Base::Alipay);
    let body = request.body.as_deref().unwrap().as_bytes();
    let asked = Asked { method: "POST", target: "/gateway.do", headers: Headers::default(), body };
    simulator.answer(&asked).unwrap().unwrap()
}

fn heard(simulator: &Simulator, gateway: &Alipay) -> Vec<Notified> {
    let due = simulator.book().take_due(simulator.now());
    let read = |body: &str| gateway.notified(Notify { body: body.as_bytes(), ..Notify::default() });
    due.iter().map(|callback| read(&callback.body)).collect()
}

#[test]
fn our_own_alipay_orders_by_code_closes_is_paid_and_notified() {
    let (simulator, clock) = alipay_simulator();
    let gateway = alipay_gateway();
    let attempt =
        Attempt { channel: Channel::AlipayQr, ..attempt(&simulator, "http://127.0.0.1:9/notify/alipay") };
    let stamp = || clock.stamp().unwrap();
    let answers = |request: Request| alipay_answers(&simulator, &request);
    let order = || gateway.prepaid(&answers(gateway.prepay(&attempt, &stamp()).unwrap()), &attempt);
    let query = || gateway.trade(&answers(gateway.query(&attempt, &stamp())), &attempt);
    let close = || gateway.closing(&answers(gateway.close(&attempt, &stamp())), &attempt);

    assert_eq!(query(), Ok(Trade::NotFound));
    let Ok(Prepaid::Ready { prepay_id }) = order() else { panic!("{:?}", order()) };
    assert_eq!(simulator.number_of(&prepay_id).as_deref(), Some(NUMBER));
    assert_eq!((query(), close()), (Ok(Trade::NotFound), Ok(Closing::Unbegun)), "nobody has scanned it");
    simulator.scan(NUMBER).unwrap();
    assert_eq!(query(), Ok(Trade::Pending { state: "WAIT_BUYER_PAY".to_owned() }));
    let trade_no = simulator.pay(NUMBER).unwrap();
    let Ok(Trade::Paid(payment)) = query() else { panic!("{:?}", query()) };
    assert_eq!((payment.transaction_id().as_str(), payment.amount().get()), (trade_no.as_str(), 990));
    assert_eq!(payment.paid_at(), Some(NOW));
    assert_eq!((order(), close()), (Ok(Prepaid::Paid), Ok(Closing::Paid)));
    let payments = heard(&simulator, &gateway);
    assert!(matches!(payments.as_slice(), [Notified::Paid(told)] if *told == payment), "{payments:?}");

    let query = gateway.query_payment(payment.transaction_id(), &attempt.account, &stamp());
    assert_eq!(gateway.payment(&answers(query), &attempt.out_trade_no), Ok(Trade::Paid(payment)));
}

#[test]
fn our_own_alipay_is_not_fooled_by_any_mischief_of_the_simulator() {
    for (scenario, believed) in [
        (Scenario::Coupon, Some(990)),
        (Scenario::WrongAmount, Some(989)),
        (Scenario::WrongSign, None),
        (Scenario::Md5Sign, None),
        (Scenario::WaitBuyerPay, Some(990)),
    ] {
        let (simulator, clock) = alipay_simulator();
        let gateway = alipay_gateway();
        let attempt = Attempt { channel: Channel::AlipayQr, ..attempt(&simulator, "http://127.0.0.1:9/") };
        simulator.set_default_scenario(scenario);
        let request = gateway.prepay(&attempt, &clock.stamp().unwrap()).unwrap();
        assert!(matches!(
            gateway.prepaid(&alipay_answers(&simulator, &request), &attempt),
            Ok(Prepaid::Ready { .. })
        ));
        simulator.pay(NUMBER).unwrap();
        let amounts: Vec<i64> = heard(&simulator, &gateway)
            .into_iter()
            .filter_map(|notified| match notified {
                Notified::Paid(payment) => Some(payment.amount().get()),
                _ => None,
            })
            .collect();
        assert_eq!(amounts, believed.into_iter().collect::<Vec<_>>(), "{}", scenario.name());
    }
    // The browser's return is signed with the same key and proves nothing.
    let (simulator, clock) = alipay_simulator();
    let gateway = alipay_gateway();
    let attempt = Attempt { channel: Channel::AlipayPage, ..attempt(&simulator, "http://127.0.0.1:9/") };
    let Checkout::Redirect { url } = gateway.checkout(&attempt, "", &clock.stamp().unwrap()) else {
        panic!("no address")
    };
    let target = url.strip_prefix("http://alipay.test").unwrap();
    let asked = Asked { method: "GET", target, headers: Headers::default(), body: b"" };
    let answer = simulator.answer(&asked).unwrap().unwrap();
    assert!(answer.headers.starts_with("location: /cashier?prepay_id="), "{answer:?}");
    let back = simulator.alipay_return(NUMBER).unwrap();
    let read = gateway.notified(Notify { body: back.as_bytes(), ..Notify::default() });
    assert!(matches!(read, Notified::Rejected { .. }), "{read:?}");
}

#[test]
fn an_alipay_that_is_asked_by_another_app_answers_nothing_we_could_believe() {
    let (simulator, clock) = alipay_simulator();
    let mut gateway = alipay_gateway();
    let attempt = Attempt { channel: Channel::AlipayQr, ..attempt(&simulator, "http://127.0.0.1:9/") };
    gateway.account.key = alipay_keys().platform.clone();
    let request = gateway.prepay(&attempt, &clock.stamp().unwrap()).unwrap();
    let read = gateway.prepaid(&alipay_answers(&simulator, &request), &attempt);
    assert!(matches!(read, Err(Untrusted::CommFail(_))), "{read:?}");
    assert_eq!(simulator.trade(NUMBER), None);
}

fn refund(simulator: &Simulator, number: &str, amount: i64) -> Refund {
    let trade_no = simulator.trade(NUMBER).unwrap().transaction_id.unwrap();
    Refund {
        id: 1,
        out_refund_no: OutRefundNo::parse(number).unwrap(),
        order_id: Some(1),
        work_item_id: None,
        user_id: Some(1),
        provider: Provider::Alipay,
        account: String::new(),
        environment: Environment::Simulator,
        out_trade_no: OutTradeNo::parse(NUMBER).unwrap(),
        transaction_id: TransactionId::parse(&trade_no).unwrap(),
        total: Fen::new(990).unwrap(),
        amount: Fen::new(amount).unwrap(),
        reason: "商品已售完".to_owned(),
        notify_url: String::new(),
        requested_by: "boss".to_owned(),
        requested_at: NOW,
        decided_by: None,
        state: RefundState::Processing,
        refund_id: None,
        last_answer: None,
        asked: 0,
        asked_at: None,
        refused_at: None,
        queried_at: None,
        next_at: None,
        finished_at: None,
    }
}

#[test]
fn our_own_alipay_refunds_once_and_only_the_query_ends_it() {
    let (simulator, clock) = alipay_simulator();
    let gateway = alipay_gateway();
    let attempt = Attempt { channel: Channel::AlipayQr, ..attempt(&simulator, "http://127.0.0.1:9/") };
    let stamp = || clock.stamp().unwrap();
    alipay_answers(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap());
    simulator.pay(NUMBER).unwrap();
    heard(&simulator, &gateway);
    let ask = |refund: &Refund| {
        gateway.refund_asked(&alipay_answers(&simulator, &gateway.refund(refund, &stamp())), refund)
    };
    let query = |refund: &Refund| {
        gateway.refund_news(&alipay_answers(&simulator, &gateway.refund_query(refund, &stamp())), refund)
    };
    let (slow, rest) = (refund(&simulator, "RF000001", 400), refund(&simulator, "RF000002", 590));
    assert_eq!(query(&slow), Ok(RefundNews::NotFound));
    simulator.set_scenario(NUMBER, Scenario::RefundProcessing);
    for _ in 0..2 {
        assert!(matches!(ask(&slow), Ok(RefundAsked::Accepted { .. })), "{:?}", ask(&slow));
        assert!(matches!(query(&slow), Ok(RefundNews::Unknown { .. })), "{:?}", query(&slow));
    }
    simulator.set_scenario(NUMBER, Scenario::RefundNotEnough);
    assert_eq!((ask(&rest), ask(&rest)), (Ok(RefundAsked::NotEnough), Ok(RefundAsked::NotEnough)));
    simulator.set_scenario(NUMBER, Scenario::RefundLostReply);
    assert!(matches!(ask(&rest), Ok(RefundAsked::Unknown { .. })));
    assert!(matches!(ask(&rest), Ok(RefundAsked::Accepted { .. })));
    assert!(
        matches!(query(&rest), Ok(RefundNews::Found(found)) if found.out_refund_no() == &rest.out_refund_no)
    );
    let other = Refund { amount: Fen::new(1).unwrap(), ..rest.clone() };
    let discordant = ask(&other);
    assert!(matches!(discordant, Ok(RefundAsked::Unknown { .. })), "a refund of that number is through");

    let hints = heard(&simulator, &gateway);
    assert!(matches!(hints.as_slice(), [Notified::Refund(hint)] if rest.is_named_by(hint)), "{hints:?}");
    clock.advance_ms(3 * 24 * 3_600_000);
    assert!(matches!(query(&slow), Ok(RefundNews::Found(_))));
    let hints = heard(&simulator, &gateway);
    assert!(matches!(hints.as_slice(), [Notified::Refund(hint)] if slow.is_named_by(hint)), "{hints:?}");
    let whole = gateway.trade(&alipay_answers(&simulator, &gateway.query(&attempt, &stamp())), &attempt);
    assert!(matches!(whole, Ok(Trade::Refunded { payment: Some(_) })), "{whole:?}");
}
