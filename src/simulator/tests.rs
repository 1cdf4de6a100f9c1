//! Our own gateways at the simulator, over HTTP.

use super::{testing::*, *};
use crate::{
    config::Origins,
    domain::{
        ids::{Openid, OutTradeNo},
        order::{Attempt, Channel, Environment},
    },
    gateway::{Gateway, Prepaid, Trade, wechat_v2::WechatV2},
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
