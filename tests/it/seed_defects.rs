//! The defects of the programs this one replaces, S1 to S16: each test fails on their logic.
//!
//! S11 was written for Alipay, and its rule holds at every door: it is tested at WeChat's too.

use crate::{
    channels::{COMPUTER, order, user_of},
    harness::{Browser, Shop},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use shouyin::{
    gateway::wechat_v2::{
        ApiKey,
        sign::{self, SignType},
        xml::Fields,
    },
    simulator::faults::Scenario,
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

const OK: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

/// A gateway that answers every call with what it was last told to, and keeps what it was asked.
#[derive(Clone)]
struct Scripted {
    url: String,
    reply: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn listen() -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let scripted = Scripted { url, reply: Arc::default(), asked: Arc::default() };
        let answering = scripted.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|caller| answering.answer(caller)));
        scripted
    }

    fn answer(&self, mut caller: TcpStream) {
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        while !text.contains("</xml>") {
            let read = caller.read(&mut chunk).unwrap_or(0);
            if read == 0 {
                return;
            }
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        let asked = text.split_once("\r\n\r\n").unwrap().1.to_owned();
        self.asked.lock().unwrap().push(asked);
        let reply = self.reply.lock().unwrap().clone();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", reply.len());
        caller.write_all(format!("{head}{reply}").as_bytes()).ok();
    }

    fn says(&self, reply: &str) {
        *self.reply.lock().unwrap() = reply.to_owned();
    }
}

/// A shop whose WeChat is scripted, and a user who has an openid.
async fn scripted() -> (Shop, Scripted, Browser) {
    let gateway = Scripted::listen();
    let url = gateway.url.clone();
    let shop = Shop::open_with(move |config| config.origins.wechat_api = vec![url]).await;
    let user = shop.user("ann").await;
    (shop, gateway, user)
}

/// An authentic reply with these fields besides the usual ones.
fn signed(shop: &Shop, fields: &[(&str, &str)]) -> String {
    let account = shop.app.config.wechat_v2.as_ref().unwrap();
    let usual = [
        ("return_code", "SUCCESS"),
        ("return_msg", "OK"),
        ("result_code", "SUCCESS"),
        ("appid", account.appids.web.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("nonce_str", "n"),
    ];
    shop.simulator.sign_notify(usual.into_iter().chain(fields.iter().copied()).collect())
}

async fn ordered(shop: &Shop) -> (Browser, String) {
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    (user, number)
}

#[actix_web::test]
async fn s1_a_query_that_was_understood_is_not_a_payment() {
    let (shop, gateway, user) = scripted().await;
    gateway.says(&signed(&shop, &[("prepay_id", "wx1"), ("trade_type", "JSAPI")]));
    let number = user.top_up("50").await;
    let paid = [("out_trade_no", number.as_str()), ("transaction_id", "4200000001"), ("total_fee", "5000")];
    let with = |state: &str| signed(&shop, &[paid.as_slice(), &[("trade_state", state)]].concat());
    let other = [("out_trade_no", "another"), paid[1], paid[2], ("trade_state", "SUCCESS")];
    let mut replies: Vec<String> = ["NOTPAY", "USERPAYING", "PAYERROR", "success", "SUCCESS ", "BRAND_NEW"]
        .into_iter()
        .map(with)
        .collect();
    replies.extend([
        signed(&shop, &paid),
        with("SUCCESS").replace("<total_fee>", "<total_fee_0>").replace("</total_fee>", "</total_fee_0>"),
        with("SUCCESS").replace("4200000001", "4200000002"),
        signed(&shop, &other),
        signed(&shop, &[paid.as_slice(), &[("trade_state", "SUCCESS"), ("appid", "wx2")]].concat()),
        signed(&shop, &[paid.as_slice(), &[("trade_state", "SUCCESS"), ("result_code", "FAIL")]].concat()),
        "<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code><trade_state>SUCCESS</trade_state></xml>".to_owned(),
        "ok".to_owned(),
    ]);
    for reply in replies {
        gateway.says(&reply);
        shop.clock.advance_ms(2_000);
        let status = user.status(&number).await;
        assert_eq!((&status["paid"], &status["closed"]), (&json!(false), &json!(false)), "{reply}");
    }
    assert_eq!(shop.books(&number).await.balance, 0);
    gateway.says(&with("SUCCESS"));
    shop.clock.advance_ms(2_000);
    assert_eq!(user.status(&number).await["paid"], true);
}

#[actix_web::test]
async fn s2_an_order_that_does_not_exist_is_not_found() {
    let shop = Shop::open().await;
    let (user, _) = ordered(&shop).await;
    for number in ["0123456789abcdef0123456789abcdef", "x", "%00", "%3Cscript%3E", "a%20b", "%FF"] {
        for page in ["", "/pay", "/status"] {
            let answer = user.get(&format!("/orders/{number}{page}")).await;
            assert_eq!(answer.status, 404, "{number}{page}");
            assert!(!answer.body.contains("<script>") && !answer.body.contains("panicked"));
        }
    }
}

#[actix_web::test]
async fn s3_an_order_of_somebody_else_does_not_exist_and_nobody_is_asked_about_it() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let other = shop.user("bob").await;
    let token = other.form_token("/top-up").await;
    for page in ["", "/pay", "/status", "/status?wait=1"] {
        let path = format!("/orders/{number}{page}");
        assert_eq!((other.get(&path).await.status, other.get_json(&path).await.status), (404, 404), "{path}");
        assert_eq!(shop.browser().get_json(&path).await.status, 401, "{path}");
    }
    let returned = format!("/orders/{number}/returned");
    assert_eq!(other.post(&returned, &[("token", &token), ("result", "ok")]).await.status, 404);
    assert_eq!(shop.calls(&number), ["unifiedorder"]);
    assert!(other.get_json("/orders").await.json()["orders"].as_array().unwrap().is_empty());
}

#[actix_web::test]
async fn s4_amount_currency_appid_and_merchant_are_compared() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    for forged in
        [("total_fee", "1"), ("fee_type", "JPY"), ("appid", "wxsomebodyelse00"), ("mch_id", "1900000109")]
    {
        let answer = shop.notify(shop.simulator.signed_notify(&number, &[forged])).await;
        assert!(answer.body.contains("FAIL"), "{forged:?}");
        let books = shop.books(&number).await;
        assert_eq!((books.balance, books.order.is_paid()), (0, false), "{forged:?}");
    }
}

#[actix_web::test]
async fn s5_a_payment_is_kept_with_its_transaction_credited_once_and_also_found_by_asking() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    let transaction_id = shop.simulator.pay(&number).unwrap();
    let admin = shop.admin().await;
    let page = format!("/admin/orders/{number}");
    let token = admin.form_token(&page).await;
    for word in ["credited", "paid_before"] {
        let asked = admin.post(&format!("{page}/query"), &[("token", &token)]).await;
        assert_eq!(asked.header("location"), format!("{page}?asked={word}"));
        let books = shop.books(&number).await;
        assert_eq!(
            (books.balance, books.order.transaction_id.unwrap().as_str()),
            (5000, transaction_id.as_str())
        );
    }
}

#[actix_web::test]
async fn s6_what_went_wrong_inside_is_told_to_nobody_outside() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        shop.app.store.write(move |db| Ok(diesel::RunQueryDsl::execute(diesel::sql_query(sql.as_str()), db)?))
    };
    rename("orders", "put_aside").await.unwrap();
    let notified = shop.notify(shop.simulator.signed_notify(&number, &[])).await;
    let page = user.get("/orders").await;
    let api = user.get_json("/orders").await;
    rename("put_aside", "orders").await.unwrap();
    assert_eq!((notified.status, page.status, api.status), (503, 503, 503));
    assert!(notified.body.contains("<![CDATA[TRY AGAIN LATER]]>"), "{}", notified.body);
    assert_eq!(api.header("content-type"), "application/problem+json; charset=utf-8");
    for answer in [&notified, &page, &api] {
        for secret in ["orders", "put_aside", "SQL", "sqlite", "diesel", "no such table", ".rs"] {
            let said = answer.body.replace("/orders", "");
            assert!(!said.contains(secret), "{secret} in {said}");
        }
    }
    // A message's own words are not repeated either.
    let echo = shop.notify("<xml><return_code>]]><evil/></return_code></xml>").await;
    assert!(!echo.body.contains("evil"), "{}", echo.body);
}

#[actix_web::test]
async fn s7_an_amount_is_read_to_the_fen_or_refused() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    for (yuan, fen) in
        [("19.99", 1999), ("0.29", 29), ("4.35", 435), ("8.2", 820), ("0.01", 1), ("5000", 500_000)]
    {
        let number = user.top_up(yuan).await;
        assert_eq!(shop.order(&number).await.amount.get(), fen);
        assert_eq!(shop.simulator.trade(&number).unwrap().total_fee.get(), fen);
    }
    let before = shop.simulator.calls().len();
    for yuan in [
        "",
        "0",
        "0.00",
        "-1",
        "1e3",
        "1.001",
        "abc",
        "５０",
        "1,000",
        "5000.01",
        "0x10",
        "NaN",
        "inf",
        "99999999999999999999",
        "1 or 1=1",
        "1.2.3",
        "--1",
    ] {
        let answer = user.try_top_up(yuan).await;
        assert_eq!(answer.status, 422, "{yuan}");
    }
    assert_eq!(shop.simulator.calls().len(), before, "WeChat is not asked");
    assert_eq!(user.get_json("/orders").await.json()["orders"].as_array().unwrap().len(), 6);
}

#[actix_web::test]
async fn s8_the_time_stamp_shown_is_the_one_that_was_signed() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    for _ in 0..3 {
        shop.clock.advance_ms(999);
        let page = user.get(&format!("/orders/{number}/pay")).await;
        let params = page.body.split_once("data-params=\"").unwrap().1.split_once('"').unwrap().0;
        let params: Value =
            serde_json::from_str(&params.replace("&#34;", "\"").replace("&quot;", "\"")).unwrap();
        assert_eq!(params["timeStamp"], shop.clock.now().secs().to_string());
        assert_eq!(bridge(&shop, &params).await["ok"], true, "{params}");
        let mut later = params.clone();
        later["timeStamp"] = json!((shop.clock.now().secs() + 1).to_string());
        assert_eq!(bridge(&shop, &later).await["ok"], false);
    }
}

/// What the WeChat browser makes of the parameters.
async fn bridge(shop: &Shop, params: &Value) -> Value {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.request(Method::POST, format!("{}/bridge/check", shop.simulator_url));
    let answer = request.header("origin", &shop.url).body(params.to_string()).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[actix_web::test]
async fn s9_a_prepay_id_is_taken_from_an_authentic_success_alone() {
    let (shop, gateway, user) = scripted().await;
    let prepay = ("prepay_id", "wxSTOLEN");
    let good = signed(&shop, &[prepay]);
    for (reply, status) in [
        (good.replace("<![CDATA[OK]]>", "<![CDATA[NO]]>"), 503),
        (good.replace("wxSTOLEN", "wxSTOLEN2"), 503),
        (signed(&shop, &[prepay, ("return_code", "FAIL")]), 503),
        (signed(&shop, &[prepay, ("appid", "wx2")]), 503),
        (signed(&shop, &[prepay, ("mch_id", "2")]), 503),
        (signed(&shop, &[prepay, ("result_code", "FAIL"), ("err_code", "NOAUTH")]), 502),
        (signed(&shop, &[("prepay_id", "wxSTOLEN&package=x")]), 503),
        (signed(&shop, &[]), 503),
        ("<xml><return_code>SUCCESS</return_code><result_code>SUCCESS</result_code><prepay_id>wxSTOLEN</prepay_id></xml>".to_owned(), 503),
        ("<html>502 Bad Gateway wxSTOLEN</html>".to_owned(), 503),
        (String::new(), 503),
    ] {
        gateway.says(&reply);
        let answer = user.try_top_up("50").await;
        assert_eq!(answer.status, status, "{reply}");
        assert!(!answer.body.contains("STOLEN"), "{reply}");
        let list = user.get_json("/orders").await.json();
        let number = list["orders"][0]["out_trade_no"].as_str().unwrap();
        assert_eq!(shop.attempts(number).await[0].prepay_id, None);
    }
    gateway.says(&good);
    assert_eq!(user.try_top_up("50").await.status, 201);
}

#[actix_web::test]
async fn s10_a_payer_who_came_back_is_never_told_that_the_payment_failed() {
    let shop = Shop::open().await;
    let (user, number) = ordered(&shop).await;
    let page = user.get(&format!("/orders/{number}/pay")).await.body;
    let script =
        page.split("src=\"").map(|part| part.split_once('"').unwrap().0).find(|url| url.contains("pay.js"));
    let script = user.get(script.unwrap()).await;
    assert_eq!(script.status, 200);
    assert!(page.contains("请不要重复支付") && page.contains("请勿重复支付"));
    for text in [&page, &script.body] {
        assert!(!text.contains("支付失败") && !text.contains("payment failed"));
    }
    let token = page.split_once("data-token=\"").unwrap().1.split_once('"').unwrap().0;
    let returned = format!("/orders/{number}/returned");
    for result in ["ok", "fail", "cancel"] {
        assert_eq!(user.post(&returned, &[("token", token), ("result", result)]).await.status, 204);
        let status = user.status(&number).await;
        assert_eq!((&status["final"], &status["closed"]), (&json!(false), &json!(false)), "{result}");
        assert!(!user.get(&format!("/orders/{number}")).await.body.contains("支付失败"));
    }
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert_eq!(user.status(&number).await["paid"], true);
}

#[actix_web::test]
async fn s11_every_parameter_of_a_callback_of_alipay_and_its_result_are_really_checked() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let notified = async |changed: &[(&str, &str)]| {
        let body = shop.simulator.alipay_notify(&number, changed);
        shop.call_back("/notify/alipay", &form, body).await.body
    };
    for (name, value, answer) in [
        ("out_trade_no", "ffffffffffffffffffffffffffffffff", "fail"),
        ("total_amount", "49.99", "fail"),
        ("seller_id", "2088000000000009", "fail"),
        ("app_id", "2021000000000009", "fail"),
        // True, and no payment.
        ("trade_status", "WAIT_BUYER_PAY", "success"),
        ("trade_status", "TRADE_CLOSED", "success"),
        ("trade_status", "SUCCESS", "fail"),
    ] {
        // Each signed with Alipay's own key, so that nothing but the parameter is wrong.
        assert_eq!(notified(&[(name, value)]).await, answer, "{name}={value}");
        assert!(!shop.order(&number).await.is_paid(), "{name}={value} is not checked");
    }
    assert_eq!(notified(&[]).await, "success");
    assert!(shop.order(&number).await.is_paid());
    assert_eq!(shop.balance(1).await, 5000);
}

/// The same rule at WeChat's door.
#[actix_web::test]
async fn s11_every_parameter_of_a_callback_and_its_result_are_really_checked() {
    let shop = Shop::open().await;
    let number = shop.user("ann").await.top_up("50").await;
    for (field, value) in [
        ("out_trade_no", "ffffffffffffffffffffffffffffffff"),
        ("total_fee", "4999"),
        ("appid", "wx0000000000000000"),
        ("mch_id", "1000000001"),
        ("fee_type", "USD"),
        ("result_code", "FAIL"),
    ] {
        // Each signed with our own key, so that nothing but the parameter is wrong.
        shop.notify(shop.simulator.signed_notify(&number, &[(field, value)])).await;
        assert!(!shop.order(&number).await.is_paid(), "{field} is not checked");
    }
    shop.notify(shop.simulator.signed_notify(&number, &[])).await;
    assert!(shop.order(&number).await.is_paid());
    assert_eq!(shop.balance(1).await, 5000);
}

#[actix_web::test]
async fn s12_success_and_repetition_are_acknowledged_and_an_unknown_order_is_not() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let unknown = shop.simulator.signed_notify("never-placed", &[]);
    assert!(shop.notify(unknown).await.body.contains("[FAIL]"));
    shop.simulator.pay(&number).unwrap();
    let body = shop.simulator.signed_notify(&number, &[]);
    for _ in 0..3 {
        assert_eq!(shop.notify(body.clone()).await.body, OK);
    }
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn s13_every_answer_is_the_xml_wechat_reads_also_when_sign_is_absent() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let mut unsigned = Fields::parse(shop.simulator.signed_notify(&number, &[]).as_bytes()).unwrap();
    unsigned.remove("sign");
    for body in [unsigned.to_xml(), "<xml></xml>".to_owned(), "success".to_owned(), String::new()] {
        let answer = shop.notify(body).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/xml; charset=utf-8"));
        assert_eq!(Fields::parse(answer.body.as_bytes()).unwrap().get("return_code"), Some("FAIL"));
    }
}

#[actix_web::test]
async fn s14_knowing_the_address_credits_nobody() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    let signed = shop.simulator.signed_notify(&number, &[]);
    let mut forged = Fields::parse(signed.as_bytes()).unwrap();
    for sign in ["", "0", &"F".repeat(32), &"F".repeat(64)] {
        forged.set("sign", sign);
        let answer = shop.notify(forged.to_xml()).await;
        assert!(answer.body.contains("SIGNATURE NOT ACCEPTED"));
    }
    // Signed with a key anybody can guess.
    for guess in ["key", "1", "00000000000000000000000000000000"] {
        forged.remove("sign");
        forged.set("sign", &sign::sign(&forged, &ApiKey::new(guess).unwrap(), SignType::HmacSha256));
        assert!(shop.notify(forged.to_xml()).await.body.contains("SIGNATURE NOT ACCEPTED"));
    }
    assert_eq!(shop.verdicts().await, ["bad_sign"; 7]);
    assert_eq!(shop.books(&number).await.balance, 0);
}

#[actix_web::test]
async fn s15_a_paid_order_is_not_written_again_and_amounts_are_whole_fen() {
    let shop = Shop::open().await;
    let (_, number) = ordered(&shop).await;
    for text in ["5000.0", "50.00", "5000 ", "5e3", "05000", "4999.999999"] {
        shop.notify(shop.simulator.signed_notify(&number, &[("total_fee", text)])).await;
        assert!(!shop.order(&number).await.is_paid(), "{text}");
    }
    shop.notify(shop.simulator.signed_notify(&number, &[])).await;
    let paid = shop.order(&number).await;
    assert!(paid.is_paid());
    shop.clock.advance_ms(60_000);
    for change in [
        ("nonce_str", "again"),
        ("transaction_id", "4200000009"),
        ("total_fee", "1"),
        ("result_code", "FAIL"),
    ] {
        shop.notify(shop.simulator.signed_notify(&number, &[change])).await;
        assert_eq!(shop.order(&number).await, paid, "{change:?}");
    }
    assert_eq!(shop.books(&number).await.balance, 5000);
}

#[actix_web::test]
async fn s16_requests_are_signed_as_configured_and_no_entity_is_ever_expanded() {
    for sign_type in SignType::ALL {
        let gateway = Scripted::listen();
        let url = gateway.url.clone();
        let shop = Shop::open_with(move |config| {
            config.origins.wechat_api = vec![url];
            config.wechat_v2.as_mut().unwrap().sign_type = sign_type;
            config.wechat_v2.as_mut().unwrap().accept = vec![sign_type];
        })
        .await;
        let user = shop.user("ann").await;
        gateway.says(&signed(&shop, &[("prepay_id", "wx1")]));
        user.top_up("19.99").await;
        let asked = Fields::parse(gateway.asked.lock().unwrap()[0].as_bytes()).unwrap();
        assert_eq!(asked.get("sign_type"), Some(sign_type.as_str()));
        assert_eq!(asked.get("total_fee"), Some("1999"));
        let xxe = "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/hostname\">]><xml><out_trade_no>&e;</out_trade_no></xml>";
        gateway.says(xxe);
        assert_eq!(user.try_top_up("50").await.status, 503);
        assert!(shop.notify(xxe).await.body.contains("MESSAGE NOT UNDERSTOOD"));
    }
}
