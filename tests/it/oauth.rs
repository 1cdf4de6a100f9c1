//! The silent trip to WeChat: state, code and openid belong to one browser and work once.

use crate::harness::{Answer, Browser, PASSWORD, Shop, WECHAT};
use reqwest::Method;
use serde_json::json;

/// To WeChat as this person; gives the address WeChat sends the browser back to, without our origin.
pub async fn at_wechat(shop: &Shop, browser: &Browser, person: &str) -> String {
    let out = browser.get("/wechat/login?next=%2Forders").await;
    assert_eq!(out.status, 302, "{}", out.body);
    let cookie = format!("shouyin_simulated_person={person}");
    let authorized = browser.send(Method::GET, out.header("location"), &[("cookie", &cookie)], None).await;
    assert_eq!(authorized.status, 302, "{}", authorized.body);
    authorized.header("location").strip_prefix(&shop.url).unwrap().to_owned()
}

pub fn phone(shop: &Shop) -> Browser {
    Browser::new(shop.url.clone(), WECHAT)
}

fn token_calls(shop: &Shop) -> usize {
    shop.simulator.calls().iter().filter(|call| *call == "access_token").count()
}

fn refused(answer: &Answer) {
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.headers.get("set-cookie").is_none() || !answer.body.contains("orders"));
}

pub const ANN: &str = "00000000000000aa";
pub const BOB: &str = "00000000000000bb";

#[actix_web::test]
async fn the_way_back_works_once() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    let back = at_wechat(&shop, &ann, ANN).await;
    let done = ann.get(&back).await;
    assert_eq!((done.status, done.header("location")), (303, "/orders"));
    assert_eq!(token_calls(&shop), 1);
    // The same address again, as a reload or a leaked link would: no second call to WeChat.
    refused(&ann.get(&back).await);
    assert_eq!(token_calls(&shop), 1);
    // The old code under a new state: WeChat says it is used, and the trip starts again.
    let fresh = at_wechat(&shop, &ann, ANN).await;
    let (old_code, new_state) = (parameter(&back, "code"), parameter(&fresh, "state"));
    refused(&ann.get(&format!("/wechat/callback?code={old_code}&state={new_state}")).await);
    assert_eq!(token_calls(&shop), 2);
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(named, _)| named == name);
    found.unwrap().1.into_owned()
}

#[actix_web::test]
async fn a_state_that_is_missing_foreign_or_old_brings_nothing() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    let back = at_wechat(&shop, &ann, ANN).await;
    let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
    refused(&ann.get("/wechat/callback").await);
    refused(&ann.get(&format!("/wechat/callback?code={code}")).await);
    refused(&ann.get(&format!("/wechat/callback?code={code}&state=")).await);
    refused(&ann.get(&format!("/wechat/callback?code={code}&state={}", state.to_uppercase())).await);

    // Another browser is handed the link: neither signed in nor bound.
    let victim = phone(&shop);
    victim.register("victim").await;
    refused(&victim.get(&back).await);
    refused(&phone(&shop).get(&back).await);
    assert_eq!(token_calls(&shop), 0);

    shop.clock.advance_ms(600_000);
    refused(&ann.get(&back).await);
    assert_eq!(token_calls(&shop), 0);
}

#[actix_web::test]
async fn the_openid_comes_from_wechats_answer_alone() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    let back = at_wechat(&shop, &ann, ANN).await;
    let evil = shop.simulator.openid_of(0xbb);
    let done = ann.get(&format!("{back}&openid={evil}")).await;
    assert_eq!(done.status, 303);
    let number = ann.top_up("50").await;
    assert_eq!(
        shop.attempts(&number).await[0].payer.as_ref().unwrap().as_str(),
        shop.simulator.openid_of(0xaa)
    );
}

#[actix_web::test]
async fn addresses_are_made_from_the_configuration_and_never_from_the_host_header() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    for headers in [
        vec![("host", "evil.example")],
        vec![("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")],
        vec![("forwarded", "host=evil.example;proto=https")],
    ] {
        let out = ann.send(Method::GET, "/wechat/login", &headers, None).await;
        let location = out.header("location");
        assert!(!location.contains("evil"), "{location}");
        assert_eq!(parameter(location, "redirect_uri"), format!("{}/wechat/callback", shop.url));
        assert_eq!(parameter(location, "scope"), "snsapi_base");
        assert!(location.ends_with("#wechat_redirect"));
    }
    ann.go_to_wechat_and_back().await;
    let page = ann.get("/top-up").await;
    let (token, intent) = (page.hidden("token"), page.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
    let headers = [("accept", "application/json"), ("x-forwarded-host", "evil.example")];
    let made = ann.send(Method::POST, "/top-up", &headers, Some(&fields)).await;
    let number = made.json()["out_trade_no"].as_str().unwrap().to_owned();
    assert_eq!(shop.attempts(&number).await[0].notify_url, format!("{}/notify/wechat", shop.url));
    assert!(!made.body.contains("evil"));
}

#[actix_web::test]
async fn a_known_phone_signs_in_silently_with_a_session_of_its_own() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    let back = at_wechat(&shop, &ann, ANN).await;
    ann.get(&back).await;
    let number = ann.top_up("50").await;

    let later = phone(&shop);
    let back = at_wechat(&shop, &later, ANN).await;
    let before = later.cookie().unwrap();
    let done = later.get(&back).await;
    assert_eq!((done.status, done.header("location")), (303, "/orders"));
    assert_ne!(later.cookie().unwrap(), before);
    assert_eq!(later.get_json("/orders").await.json()["orders"][0]["out_trade_no"], number.as_str());
}

#[actix_web::test]
async fn an_unknown_phone_is_asked_to_sign_in_and_is_nobody() {
    let shop = Shop::open().await;
    let stranger = phone(&shop);
    let back = at_wechat(&shop, &stranger, BOB).await;
    let done = stranger.get(&back).await;
    let login = "/login?next=%2Forders&wechat=unknown";
    assert_eq!((done.status, done.header("location")), (303, login));
    // Another trip to WeChat would end here again, so this page offers none.
    let page = stranger.get(login).await.body;
    assert!(
        page.contains("这个微信还没有账号") && page.contains("href=\"/register?next=/orders\""),
        "{page}"
    );
    assert!(!page.contains("/wechat/login"), "{page}");
    assert_eq!(stranger.get("/orders").await.status, 303);
}

#[actix_web::test]
async fn a_borrowed_phone_pays_for_its_user_and_stays_its_owners() {
    let shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    ann.get(&at_wechat(&shop, &ann, ANN).await).await;
    // Bob signs in on Ann's phone and tops up his own account.
    let bob = phone(&shop);
    bob.register("bob").await;
    bob.get(&at_wechat(&shop, &bob, ANN).await).await;
    let number = bob.top_up("50").await;
    assert_eq!(
        shop.attempts(&number).await[0].payer.as_ref().unwrap().as_str(),
        shop.simulator.openid_of(0xaa)
    );
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let order = shop.order(&number).await;
    assert_eq!((shop.balance(order.user_id).await, shop.balance(1).await), (5000, 0));
    // The phone is still Ann's.
    let later = phone(&shop);
    later.get(&at_wechat(&shop, &later, ANN).await).await;
    let records = later.get_json("/orders").await.json();
    assert_eq!((&records["balance_fen"], records["orders"].as_array().unwrap().len()), (&json!(0), 0));
}

#[actix_web::test]
async fn when_wechat_does_not_answer_nobody_is_signed_in_and_a_new_trip_works() {
    let mut shop = Shop::open().await;
    let ann = phone(&shop);
    ann.register("ann").await;
    let back = at_wechat(&shop, &ann, ANN).await;
    shop.cut_off().await;
    assert_eq!(ann.get(&back).await.status, 503);
    shop.reconnect();
    refused(&ann.get(&back).await);
    let back = at_wechat(&shop, &ann, ANN).await;
    assert_eq!(ann.get(&back).await.status, 303);
    assert_eq!(phone(&shop).log_in("ann", PASSWORD).await.status, 303);
}
