//! Our own gateways at the simulator, over HTTP.

use super::{testing::*, *};
use crate::{
    config::Origins,
    domain::{
        ids::{Openid, OutTradeNo},
        order::{Attempt, Channel, Environment},
    },
    gateway::{
        Checkout, Closing, Gateway, Notified, Notify, Prepaid, Request, Trade, wechat_v2::WechatV2,
        wechat_v3::WechatV3,
    },
};
use actix_web::HttpResponse;

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

/// Sends without a network, and receives at once.
fn sent(simulator: &Simulator, request: &Request) -> Response {
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
    let body = request.body.as_deref().unwrap_or_default();
    let method = if request.body.is_some() { "POST" } else { "GET" };
    let asked = Asked { method, target: &request.path, headers: Headers(&headers), body: body.as_bytes() };
    simulator.answer(&asked).unwrap().unwrap_or_else(|| panic!("{method} {}", request.path))
}

fn v3_attempt(simulator: &Simulator, gateway: &WechatV3, channel: Channel) -> Attempt {
    let payer = match channel {
        Channel::WechatJsapi => Some(simulator.openid_of(1)),
        Channel::WechatMini => simulator.mini_openid_of(1),
        _ => None,
    };
    Attempt {
        channel,
        account: gateway.account(channel).unwrap(),
        payer: payer.as_deref().and_then(Openid::parse),
        ..attempt(simulator, "http://127.0.0.1:9/notify")
    }
}

#[test]
fn our_own_v3_gateway_pays_by_every_channel_with_either_kind_of_key() {
    for public_key in [true, false] {
        for channel in [
            Channel::WechatJsapi,
            Channel::WechatMini,
            Channel::WechatNative,
            Channel::WechatH5,
            Channel::WechatApp,
        ] {
            let (simulator, clock) = v3_simulator();
            let gateway = WechatV3::new(v3_account(public_key));
            let stamp = || clock.stamp().unwrap();
            let attempt = v3_attempt(&simulator, &gateway, channel);
            let keys = gateway.keys(&stamp());
            assert_eq!(keys.is_none(), public_key, "certificates are asked for by who needs them");
            if let Some(ask) = keys {
                gateway.keys_told(&sent(&simulator, &ask)).unwrap();
            }
            let answer = sent(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap());
            let prepay_id = match gateway.prepaid(&answer, &attempt) {
                Ok(Prepaid::Ready { prepay_id }) => prepay_id,
                other => panic!("{channel:?} {other:?} {}", String::from_utf8_lossy(&answer.body)),
            };
            let number = match gateway.checkout(&attempt, &prepay_id, &stamp()) {
                Checkout::Jsapi { params } => simulator.number_of(&simulator.opens_sheet(&params).unwrap()),
                Checkout::App { params } => simulator.number_of(&simulator.opens_app(&params).unwrap()),
                Checkout::Qr { code_url } => simulator.number_of(&code_url),
                Checkout::Redirect { url } => simulator.number_of(&url),
            };
            assert_eq!(number.as_deref(), Some(NUMBER), "{channel:?}");
            let ask = || sent(&simulator, &gateway.query(&attempt, &stamp()));
            assert!(matches!(gateway.trade(&ask(), &attempt), Ok(Trade::Pending { .. })));
            let payment = simulator.pay(NUMBER).unwrap();
            match gateway.trade(&ask(), &attempt) {
                Ok(Trade::Paid(paid)) => assert_eq!(paid.transaction_id().as_str(), payment),
                other => panic!("{channel:?} {other:?}"),
            }
            let answer = sent(&simulator, &gateway.close(&attempt, &stamp()));
            assert_eq!(gateway.closing(&answer, &attempt), Ok(Closing::Paid));
            let callback = simulator.v3_notify(NUMBER, &[]).unwrap().unwrap();
            let notify = Notify {
                headers: Headers(&callback.lines()),
                body: callback.body.as_bytes(),
                received_at: clock.now(),
            };
            assert!(matches!(gateway.notified(notify), Notified::Paid(_)), "{channel:?} {public_key}");
        }
    }
}

#[test]
fn our_own_v3_gateway_closes_and_a_number_used_otherwise_is_known_for_it() {
    let (simulator, clock) = v3_simulator();
    let gateway = WechatV3::new(v3_account(true));
    let stamp = || clock.stamp().unwrap();
    let attempt = v3_attempt(&simulator, &gateway, Channel::WechatNative);
    let close = || sent(&simulator, &gateway.close(&attempt, &stamp()));
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::NotFound));
    let ask = sent(&simulator, &gateway.query(&attempt, &stamp()));
    assert_eq!(gateway.trade(&ask, &attempt), Ok(Trade::NotFound));
    let prepay = |attempt: &Attempt| {
        let answer = sent(&simulator, &gateway.prepay(attempt, &stamp()).unwrap());
        gateway.prepaid(&answer, attempt).unwrap()
    };
    simulator.set_scenario(NUMBER, Scenario::SystemError);
    assert!(matches!(prepay(&attempt), Prepaid::Unknown { .. }));
    assert!(matches!(prepay(&attempt), Prepaid::Unknown { .. }));
    assert!(matches!(prepay(&attempt), Prepaid::Ready { .. }));
    let dearer = Attempt { amount: Fen::new(991).unwrap(), ..attempt.clone() };
    assert_eq!(prepay(&dearer), Prepaid::NumberUsed);
    let renamed = Attempt { goods_name: "other".to_owned(), ..attempt.clone() };
    assert_eq!(prepay(&renamed), Prepaid::NumberUsed);
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::Closed));
    assert_eq!(gateway.closing(&close(), &attempt), Ok(Closing::Closed));
    assert_eq!(prepay(&attempt), Prepaid::Closed);
    let ask = sent(&simulator, &gateway.query(&attempt, &stamp()));
    assert!(matches!(gateway.trade(&ask, &attempt), Ok(Trade::Closed { .. })));
}

/// Every callback of a scenario as our gateway hears it: at each try, with certificates fetched between them.
async fn heard(scenario: Scenario, public_key: bool) -> Vec<String> {
    let (simulator, clock) = v3_simulator();
    let gateway = WechatV3::new(v3_account(public_key));
    let stamp = || clock.stamp().unwrap();
    let fetch = || {
        if let Some(ask) = gateway.keys(&stamp()) {
            gateway.keys_told(&sent(&simulator, &ask)).unwrap();
        }
    };
    fetch();
    let attempt = v3_attempt(&simulator, &gateway, Channel::WechatNative);
    let answer = sent(&simulator, &gateway.prepay(&attempt, &stamp()).unwrap());
    gateway.prepaid(&answer, &attempt).unwrap();
    clock.advance_ms(61_000);
    simulator.set_scenario(NUMBER, scenario);
    simulator.pay(NUMBER).unwrap();
    let mut verdicts = Vec::new();
    for _ in 0..2 {
        simulator.deliver_due().await;
        let sent = simulator.trade(NUMBER).unwrap().callbacks.pop().unwrap();
        let callback = SignedNotify { headers: sent.headers, body: sent.body };
        let lines = callback.lines();
        let notify =
            Notify { headers: Headers(&lines), body: callback.body.as_bytes(), received_at: clock.now() };
        verdicts.push(match gateway.notified(notify) {
            Notified::Paid(payment) => format!("{} fen", payment.amount().get()),
            Notified::Rejected { rejection, .. } => rejection.counted().to_owned(),
            other => format!("{other:?}"),
        });
        fetch();
        clock.advance_ms(15_000);
    }
    verdicts
}

#[actix_web::test]
async fn our_own_v3_gateway_believes_what_is_true_and_nothing_else() {
    for (scenario, public_key, verdicts) in [
        (Scenario::Ok, true, ["990 fen", "990 fen"]),
        (Scenario::Coupon, false, ["990 fen", "990 fen"]),
        (Scenario::WrongAmount, true, ["989 fen", "989 fen"]),
        (Scenario::WrongSign, true, ["bad_sign", "bad_sign"]),
        (Scenario::Md5Sign, false, ["bad_sign", "bad_sign"]),
        (Scenario::SignTestProbe, true, ["sign_probe", "990 fen"]),
        (Scenario::ClockSkew, true, ["stale", "990 fen"]),
        (Scenario::CertRotated, false, ["bad_sign", "990 fen"]),
        (Scenario::CertRotated, true, ["bad_sign", "bad_sign"]),
        (Scenario::PublicKeyMode, true, ["990 fen", "990 fen"]),
        (Scenario::PublicKeyMode, false, ["bad_sign", "bad_sign"]),
    ] {
        assert_eq!(heard(scenario, public_key).await, verdicts, "{} {public_key}", scenario.name());
    }
}
