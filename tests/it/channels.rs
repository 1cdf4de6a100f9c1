//! Every way to pay through one order: what each browser is offered, what it is shown, and what programs get.

use crate::{
    harness::{Answer, Browser, PASSWORD, Shop, WECHAT},
    pay_page::sign_in,
    webdriver::{self, Wish, told},
};
use fast_qr::{QRBuilder, convert::Builder, convert::svg::SvgBuilder};
use reqwest::Method;
use serde_json::{Value, json};
use shouyin::{
    domain::order::Channel,
    gateway::wechat_v2::{sign, xml::Fields},
    simulator::faults::Scenario,
};
use std::time::Duration;
use url::Url;

pub const COMPUTER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36";
pub const ALIPAY: &str = "Mozilla/5.0 (Linux; U; Android 14; zh-CN) AppleWebKit/537.36 Version/4.0 Chrome/105.0 UWS/5.10 Mobile Safari/537.36 AlipayDefined AliApp(AP/10.6.0) AlipayClient/10.6.0";
pub const PHONE: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36";

/// A registered user outside WeChat.
pub async fn user_of(shop: &Shop, name: &str, agent: &str) -> Browser {
    let browser = Browser::new(shop.url.clone(), agent);
    browser.register(name).await;
    browser
}

/// The same user in another browser.
pub async fn same_user(shop: &Shop, name: &str, agent: &str) -> Browser {
    let browser = Browser::new(shop.url.clone(), agent);
    assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
    browser
}

/// Posts the form with this channel, as a page or as a program would.
async fn post(user: &Browser, channel: &str, json: bool) -> Answer {
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", &intent), ("amount", "50"), ("channel", channel)];
    if json { user.post_json("/top-up", &fields).await } else { user.post("/top-up", &fields).await }
}

/// Makes an order as the form does; gives its number and the payment page.
pub async fn order(user: &Browser, channel: &str) -> (String, Answer) {
    let made = post(user, channel, false).await;
    assert_eq!(made.status, 303, "{}", made.body);
    let at = made.header("location").to_owned();
    let page = user.get(&at).await;
    assert_eq!(page.status, 200, "{at}: {}", page.body);
    (at.split('/').nth(2).unwrap().to_owned(), page)
}

/// What a program gets to pay with.
pub async fn pay_of(user: &Browser, channel: &str) -> (String, Value) {
    let made = post(user, channel, true).await;
    assert_eq!(made.status, 201, "{channel}: {}", made.body);
    let mut made = made.json();
    (made["out_trade_no"].as_str().unwrap().to_owned(), made["pay"].take())
}

/// The link of the button that leaves for the gateway.
pub fn link_of(page: &Answer) -> Url {
    let (_, rest) = page.body.split_once("<a class=\"btn").unwrap_or_else(|| panic!("{}", page.body));
    let (_, rest) = rest.split_once("href=\"").unwrap();
    Url::parse(&rest.split_once('"').unwrap().0.replace("&#38;", "&")).unwrap()
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs()
        .find(|(named, _)| named == name)
        .unwrap_or_else(|| panic!("{url} lacks {name}"))
        .1
        .into_owned()
}

pub fn drawn(text: &str) -> String {
    SvgBuilder::default().margin(2).to_str(&QRBuilder::new(text).build().unwrap())
}

pub async fn channels_of(shop: &Shop, number: &str) -> Vec<(Channel, bool)> {
    let attempts = shop.attempts(number).await;
    attempts.iter().map(|attempt| (attempt.channel, attempt.closed_at.is_none())).collect()
}

#[actix_web::test]
async fn a_computer_shows_wechats_own_code_and_the_scan_is_credited() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "").await;
    let attempt = shop.attempts(&number).await.remove(0);
    assert_eq!((attempt.channel, attempt.payer), (Channel::WechatNative, None));
    let code_url = attempt.prepay_id.unwrap();
    assert!(code_url.starts_with("weixin://"), "{code_url}");
    assert!(page.body.contains(&drawn(&code_url)), "{}", page.body);
    assert!(!page.body.contains(&drawn(&format!("{}/orders/{number}/pay", shop.url))));
    // Once more is the same code, and WeChat is not asked again.
    assert!(user.get(&format!("/orders/{number}/pay")).await.body.contains(&drawn(&code_url)));
    assert_eq!(shop.calls(&number), ["unifiedorder"]);
    assert_eq!(user.status(&number).await["paid"], false);
    assert_eq!(shop.simulator.number_of(&code_url).as_deref(), Some(number.as_str()));
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(user.status(&number).await["paid"], true);
    let result = user.get(&format!("/orders/{number}")).await.body;
    assert!(result.contains("支付成功") && result.contains("微信支付 · 扫码"), "{result}");
    assert_eq!(shop.balance(shop.order(&number).await.user_id).await, 5000);
}

#[actix_web::test]
async fn the_form_offers_what_works_in_this_browser_and_the_default_is_chosen() {
    let shop = Shop::open().await;
    let offered = |body: &str| -> Vec<String> {
        let radios = body.split("name=\"channel\"").skip(1);
        radios
            .map(|radio| radio.split("value=\"").nth(1).unwrap().split('>').next().unwrap().to_owned())
            .collect()
    };
    user_of(&shop, "ann", COMPUTER).await;
    for (agent, ways) in [
        (COMPUTER, &["wechat_native\" checked", "alipay_qr\"", "alipay_page\""][..]),
        (PHONE, &["wechat_h5\" checked", "alipay_wap\""]),
        (ALIPAY, &[]),
    ] {
        let user = same_user(&shop, "ann", agent).await;
        assert_eq!(offered(&user.get("/top-up").await.body), ways, "{agent}");
    }
    let phone = shop.user("bob").await;
    assert_eq!(offered(&phone.get("/top-up").await.body), [""; 0]);
}

#[actix_web::test]
async fn a_chosen_way_is_prepared_shown_and_credited() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let made = post(&user, "alipay_qr", false).await;
    let number = made.header("location").split('/').nth(2).unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/orders/{number}/pay?channel=alipay_qr"));
    let page = user.get(made.header("location")).await.body;
    let attempt = shop.attempts(&number).await.remove(0);
    assert_eq!(attempt.channel, Channel::AlipayQr);
    assert!(page.contains(&drawn(&attempt.prepay_id.unwrap())), "{page}");
    assert!(page.contains("请打开手机<strong>支付宝</strong>扫一扫"), "{page}");
    for other in ["wechat_native", "alipay_page"] {
        assert!(page.contains(&format!("/orders/{number}/pay?channel={other}")), "{page}");
    }
    assert!(!page.contains(&format!("href=\"/orders/{number}/pay?channel=alipay_qr\"><span>")), "{page}");
    shop.simulator.pay(&number).unwrap();
    // Paying a code that was only made tells of the scan first.
    while shop.deliver().await > 0 {}
    assert_eq!(user.status(&number).await["paid"], true);
    let result = user.get(&format!("/orders/{number}")).await.body;
    assert!(result.contains("支付宝 · 扫码") && result.contains("支付宝交易号"), "{result}");
    assert!(!result.contains("微信"), "{result}");
}

#[actix_web::test]
async fn alipays_own_page_is_left_for_and_come_back_from() {
    let shop = Shop::open().await;
    for (name, agent, channel, way) in
        [("ann", COMPUTER, "alipay_page", "支付宝 · 网页"), ("bob", ALIPAY, "", "支付宝 · 手机网页")]
    {
        let user = user_of(&shop, name, agent).await;
        let (number, page) = order(&user, channel).await;
        assert!(page.body.contains("去支付宝付款"), "{}", page.body);
        let link = link_of(&page);
        assert!(link.as_str().starts_with(&format!("{}/gateway.do?", shop.simulator_url)), "{link}");
        assert_eq!(parameter(&link, "return_url"), format!("{}/return/{number}", shop.url));
        let cashier = user.get(link.as_str()).await;
        assert!(cashier.status < 400, "{}", cashier.body);
        let back = user.get(&format!("/return/{number}?method=x&sign=y&total_amount=50.00")).await;
        assert!(back.status == 200 && back.body.contains("正在确认支付结果"), "{}", back.body);
        shop.simulator.pay(&number).unwrap();
        while shop.deliver().await > 0 {}
        let done = user.get(&format!("/return/{number}")).await;
        let result = format!("/orders/{number}");
        assert_eq!((done.status, done.header("location")), (303, result.as_str()));
        let result = user.get(&result).await.body;
        assert!(result.contains("支付成功") && result.contains(way), "{result}");
    }
}

#[actix_web::test]
async fn a_code_that_nobody_scanned_makes_room_for_another_way() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "alipay_qr").await;
    let page = user.get(&format!("/orders/{number}/pay?channel=wechat_native")).await;
    assert!(page.body.contains("请打开手机<strong>微信</strong>扫一扫"), "{}", page.body);
    assert_eq!(
        channels_of(&shop, &number).await,
        [(Channel::AlipayQr, false), (Channel::WechatNative, true)]
    );
    // Without a word the page goes on with what was begun, not with the default.
    let page = user.get(&format!("/orders/{number}/pay?channel=alipay_page")).await;
    assert!(page.body.contains("去支付宝付款"), "{}", page.body);
    let page = user.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains("去支付宝付款"), "{}", page.body);
}

#[actix_web::test]
async fn a_code_is_asked_for_anew_under_the_same_number_when_its_life_is_over() {
    let shop = Shop::open_with(|config| config.top_up.expire_minutes = 600).await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "").await;
    assert!(page.body.contains("data-life=\"6600000\""), "{}", page.body);
    shop.clock.advance_ms(111 * 60_000);
    let page = user.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains("data-life=\"6600000\""), "{}", page.body);
    assert_eq!(shop.calls(&number), ["unifiedorder", "unifiedorder"]);
    assert_eq!(shop.attempts(&number).await.len(), 1);
}

#[actix_web::test]
async fn a_phones_browser_is_handed_to_wechat_by_a_link_that_comes_back() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", PHONE).await;
    let (number, page) = order(&user, "wechat_h5").await;
    let link = link_of(&page);
    assert!(link.as_str().starts_with(&shop.simulator_url), "{link}");
    assert_eq!(parameter(&link, "redirect_url"), format!("{}/return/{number}", shop.url));
    assert!(page.body.contains("去微信付款") && !page.body.contains("data-go"), "{}", page.body);
    // WeChat looks at the referrer, so the browser must be let to send one.
    assert_eq!(page.header("referrer-policy"), "strict-origin-when-cross-origin");
    assert_eq!(channels_of(&shop, &number).await, [(Channel::WechatH5, true)]);
}

#[actix_web::test]
async fn where_the_browser_comes_back_to_says_nothing_of_paid_before_the_books_do() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", PHONE).await;
    let (number, _) = order(&user, "wechat_h5").await;
    for lie in ["", "?trade_status=TRADE_SUCCESS&result=ok&total_amount=50.00", "?paid=1"] {
        let page = user.get(&format!("/return/{number}{lie}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("正在确认支付结果") && page.body.contains("重新支付"), "{}", page.body);
        assert!(!page.body.contains("成功") && !page.body.contains("已收到"), "{}", page.body);
    }
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery"], "asked once in two seconds");
    let stranger = user_of(&shop, "eve", PHONE).await;
    assert_eq!(stranger.get(&format!("/return/{number}")).await.status, 404);
    assert_eq!(user.get("/return/00000000000000000000000000000000").await.status, 404);
    let nobody = Browser::new(shop.url.clone(), PHONE);
    let sent = nobody.get(&format!("/return/{number}?a=b")).await;
    let login = format!("/login?next=%2Freturn%2F{number}");
    assert_eq!((sent.status, sent.header("location")), (303, login.as_str()));

    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(2_000);
    let done = user.get(&format!("/return/{number}")).await;
    let result = format!("/orders/{number}");
    assert_eq!(
        (done.status, done.header("location")),
        (303, result.as_str()),
        "the page itself makes us ask"
    );
    assert!(user.get(&result).await.body.contains("支付成功"));
}

#[actix_web::test]
async fn another_way_closes_the_old_one_at_wechat_first() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    let phone = same_user(&shop, "ann", PHONE).await;
    let page = phone.get(&format!("/orders/{number}/pay")).await;
    assert!(page.body.contains("去微信付款"), "{}", page.body);
    assert_eq!(shop.calls(&number), ["unifiedorder", "orderquery", "closeorder", "orderquery"]);
    assert_eq!(
        channels_of(&shop, &number).await,
        [(Channel::WechatNative, false), (Channel::WechatH5, true)]
    );
    // What was begun is gone on with in a browser that can, without a word about it in the address.
    let again = phone.get(&format!("/orders/{number}/pay")).await;
    assert!(again.body.contains("去微信付款"));
    assert_eq!(shop.attempts(&number).await.len(), 2);
    // The way that was paid is the one that is named.
    let second = shop.attempts(&number).await[1].out_trade_no.as_str().to_owned();
    shop.simulator.pay(&second).unwrap();
    shop.deliver().await;
    let result = user.get(&format!("/orders/{number}")).await.body;
    assert!(result.contains("微信支付 · 手机网页"), "{result}");
}

#[actix_web::test]
async fn a_code_that_was_paid_is_a_success_wherever_the_order_is_opened_next() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    let phone = same_user(&shop, "ann", PHONE).await;
    let page = phone.get(&format!("/orders/{number}/pay?channel=wechat_h5")).await;
    let result = format!("/orders/{number}");
    assert_eq!((page.status, page.header("location")), (303, result.as_str()));
    assert_eq!(channels_of(&shop, &number).await.len(), 1, "nobody was asked to pay twice");
    assert!(shop.order(&number).await.is_paid());
}

#[actix_web::test]
async fn another_sites_link_puts_no_payment_aside() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&user, "").await;
    let phone = same_user(&shop, "ann", PHONE).await;
    let address = format!("/orders/{number}/pay?channel=wechat_h5");
    let foreign = phone.send(Method::GET, &address, &[("sec-fetch-site", "cross-site")], None).await;
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    assert_eq!(channels_of(&shop, &number).await, [(Channel::WechatNative, true)]);
    let own = phone.send(Method::GET, &address, &[("sec-fetch-site", "same-origin")], None).await;
    assert_eq!(own.status, 200, "{}", own.body);
    assert_eq!(channels_of(&shop, &number).await[1], (Channel::WechatH5, true));
}

#[actix_web::test]
async fn a_way_that_is_unknown_not_offered_or_not_possible_here_is_422_and_makes_nothing() {
    let missing = [Channel::WechatH5, Channel::AlipayQr];
    let shop = Shop::open_with(|config| config.channels.retain(|c| !missing.contains(c))).await;
    let computer = user_of(&shop, "ann", COMPUTER).await;
    let (number, _) = order(&computer, "").await;
    for (channel, by_page, by_program) in [
        ("bogus", "没有这种支付方式", 422),
        ("WECHAT_NATIVE", "没有这种支付方式", 422),
        ("wechat_h5", "现在不支持这种支付方式", 422),
        ("alipay_qr", "现在不支持这种支付方式", 422),
        // An app is no browser, and a program knows where its payer is.
        ("wechat_app", "这里不能用", 201),
        ("alipay_wap", "这里不能用", 201),
        ("wechat_jsapi", "这里不能用", 201),
    ] {
        let page = computer.get(&format!("/orders/{number}/pay?channel={channel}")).await;
        assert_eq!(page.status, 422, "{channel}");
        assert!(page.body.contains(by_page), "{channel}: {}", page.body);
        let before = computer.get_json("/orders").await.json()["orders"].as_array().unwrap().len();
        let form = post(&computer, channel, false).await;
        assert_eq!(form.status, 422, "{channel}");
        assert!(form.body.contains(by_page) && form.body.contains("name=\"intent\""), "{}", form.body);
        let after = computer.get_json("/orders").await.json()["orders"].as_array().unwrap().len();
        assert_eq!(before, after, "{channel} made an order");
        let program = post(&computer, channel, true).await;
        assert_eq!(program.status, by_program, "{channel}: {}", program.body);
        if by_program == 422 {
            assert!(program.json()["detail"].as_str().unwrap().contains(by_page), "{}", program.body);
        }
    }
    assert_eq!(channels_of(&shop, &number).await, [(Channel::WechatNative, true)]);
}

#[actix_web::test]
async fn programs_get_each_way_in_its_own_shape() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", "curl/8.8.0").await;
    let (number, pay) = pay_of(&user, "wechat_native").await;
    let code_url = shop.attempts(&number).await[0].prepay_id.clone().unwrap();
    assert_eq!(pay, json!({ "kind": "qr", "code_url": code_url }));

    let (number, pay) = pay_of(&user, "wechat_h5").await;
    let url = Url::parse(pay["url"].as_str().unwrap()).unwrap();
    assert_eq!(pay, json!({ "kind": "redirect", "url": url.as_str() }));
    assert_eq!(parameter(&url, "redirect_url"), format!("{}/return/{number}", shop.url));

    let (number, pay) = pay_of(&user, "alipay_qr").await;
    let code_url = shop.attempts(&number).await[0].prepay_id.clone().unwrap();
    assert_eq!(pay, json!({ "kind": "qr", "code_url": code_url }));

    for channel in ["alipay_page", "alipay_wap"] {
        let (number, pay) = pay_of(&user, channel).await;
        let url = Url::parse(pay["url"].as_str().unwrap()).unwrap();
        assert_eq!(pay, json!({ "kind": "redirect", "url": url.as_str() }));
        assert_eq!(parameter(&url, "return_url"), format!("{}/return/{number}", shop.url));
    }

    // No openid is known: only WeChat itself can go on.
    let (number, pay) = pay_of(&user, "wechat_jsapi").await;
    assert_eq!(pay, json!({ "kind": "redirect", "url": format!("{}/orders/{number}/pay", shop.url) }));
}

#[actix_web::test]
async fn an_app_gets_seven_texts_signed_with_our_key() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", "curl/8.8.0").await;
    let (number, pay) = pay_of(&user, "wechat_app").await;
    assert_eq!(pay["kind"], "app");
    let params = pay["params"].as_object().unwrap();
    let names: Vec<&str> = params.keys().map(String::as_str).collect();
    let mut wanted = ["appid", "noncestr", "package", "partnerid", "prepayid", "sign", "timestamp"];
    wanted.sort_unstable();
    let mut names_sorted = names.clone();
    names_sorted.sort_unstable();
    assert_eq!(names_sorted, wanted);
    let account = shop.app.config.wechat_v2.as_ref().unwrap();
    let text = |name: &str| params[name].as_str().unwrap();
    assert_eq!(Some(text("appid")), account.appids.app.as_deref());
    assert_eq!((text("partnerid"), text("package")), (account.mch_id.as_str(), "Sign=WXPay"));
    assert_eq!(text("prepayid"), shop.attempts(&number).await[0].prepay_id.as_deref().unwrap());
    let fields: Fields = names.iter().map(|name| (*name, text(name))).collect();
    assert_eq!(sign::verify(&fields, &account.key, &[account.sign_type]), Ok(account.sign_type));
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(user.status(&number).await["paid"], true);
}

#[actix_web::test]
async fn the_mini_programs_way_wants_to_know_its_payer_first() {
    let shop = Shop::open().await;
    // The openid of WeChat's browser is nobody under the mini program's appid.
    let user = shop.user("ann").await;
    let refused = post(&user, "wechat_mini", true).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.contains("/wechat/mini/login"), "{}", refused.body);
    let page = post(&user, "wechat_mini", false).await;
    assert_eq!(page.status, 422, "no browser pays as a mini program");
}

/// What a mini program sends after `wx.login`.
pub async fn mini_login(user: &Browser, code: &str) -> Answer {
    let token = user.get("/top-up").await.hidden("token");
    user.post_json("/wechat/mini/login", &[("token", &token), ("code", code)]).await
}

#[actix_web::test]
async fn a_mini_programs_payer_is_learnt_once_and_pays_under_its_appid() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", "curl/8.8.0").await;
    let code = |person| shop.simulator.js_code(person).unwrap().unwrap();
    let first = code(7);
    let bound = mini_login(&user, &first).await;
    assert_eq!((bound.status, bound.json()), (200, json!({ "bound": true })), "{}", bound.body);
    let again = mini_login(&user, &first).await;
    assert_eq!((again.status, &again.json()["code"]), (400, &json!("restart")), "a code is good once");
    assert_eq!(mini_login(&user, &code(7)).await.status, 200, "the same phone once more");
    assert_eq!(mini_login(&user, &code(8)).await.status, 409, "an account has one phone");
    let other = user_of(&shop, "bob", "curl/8.8.0").await;
    assert_eq!(mini_login(&other, &code(7)).await.status, 409, "and a phone has one account");
    assert_eq!(mini_login(&shop.admin().await, &code(9)).await.status, 409, "an administrator has none");
    for code in ["", "never-issued"] {
        assert_eq!(mini_login(&other, code).await.status, 400, "{code:?}");
    }

    let (number, pay) = pay_of(&user, "wechat_mini").await;
    let attempt = shop.attempts(&number).await.remove(0);
    assert_eq!(
        attempt.payer.as_ref().map(|openid| openid.as_str().to_owned()),
        shop.simulator.mini_openid_of(7)
    );
    assert_eq!(pay["kind"], "jsapi");
    let appids = &shop.app.config.wechat_v2.as_ref().unwrap().appids;
    assert_eq!(pay["params"]["appId"].as_str(), appids.mini.as_deref());
    assert_eq!(shop.simulator.trade(&number).unwrap().appid, appids.mini.clone().unwrap());
    shop.simulator.pay(&number).unwrap();
    assert_eq!(shop.deliver().await, 1);
    assert_eq!(user.status(&number).await["paid"], true);
    let result = user.get(&format!("/orders/{number}")).await.body;
    assert!(result.contains("微信支付 · 小程序"), "{result}");
    // Nothing of it signs anybody in to the website.
    let (_, pay) = pay_of(&user, "wechat_jsapi").await;
    assert_eq!(pay["kind"], "redirect", "in WeChat's browser nobody knows this phone");
}

#[actix_web::test]
async fn a_mini_programs_login_is_json_or_a_form_and_needs_token_user_and_mini_program() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", "curl/8.8.0").await;
    let code = || shop.simulator.js_code(7).unwrap().unwrap();
    let forged = user.post_json("/wechat/mini/login", &[("token", "0"), ("code", &code())]).await;
    assert_eq!(forged.status, 403, "{}", forged.body);
    let nobody = user_less(&shop).post_json("/wechat/mini/login", &[("code", &code())]).await;
    assert_eq!(nobody.status, 401, "{}", nobody.body);
    let token = user.get("/top-up").await.hidden("token");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client
        .post(format!("{}/wechat/mini/login", shop.url))
        .header("cookie", format!("shouyin={}", user.cookie().unwrap()))
        .header("content-type", "application/json")
        .body(json!({ "token": token, "code": code() }).to_string());
    let answer = Answer::of(sent.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "bound": true })), "{}", answer.body);

    let shop = Shop::open_with(|config| config.wechat_mini = None).await;
    let user = user_of(&shop, "ann", "curl/8.8.0").await;
    assert_eq!(mini_login(&user, "a-code").await.status, 404);
    assert!(shop.simulator.calls().is_empty(), "nobody was asked");
}

fn user_less(shop: &Shop) -> Browser {
    Browser::new(shop.url.clone(), "curl/8.8.0")
}

#[actix_web::test]
async fn without_jsapi_wechat_on_a_phone_is_told_where_to_go() {
    let shop = Shop::open_with(|config| config.channels = vec![Channel::WechatNative]).await;
    let user = shop.user("ann").await;
    let (number, page) = order(&user, "").await;
    assert!(page.body.contains("在电脑的浏览器里打开") && page.body.contains("复制链接"), "{}", page.body);
    assert!(!page.body.contains("<svg"), "a code cannot be scanned by the phone that shows it");
    assert_eq!(channels_of(&shop, &number).await, []);
    assert!(user.get("/top-up").await.body.contains("在电脑的浏览器里打开"));
}

#[actix_web::test]
async fn without_native_a_computer_shows_its_own_address_for_wechat_to_open() {
    let shop = Shop::open_with(|config| config.channels = vec![Channel::WechatJsapi]).await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "").await;
    let address = format!("{}/orders/{number}/pay", shop.url);
    assert!(
        page.body.contains(&drawn(&address)) && page.body.contains("请用手机微信扫一扫"),
        "{}",
        page.body
    );
    assert_eq!(channels_of(&shop, &number).await, [], "nothing is begun before WeChat opens it");
}

#[actix_web::test]
async fn a_shop_without_a_service_account_never_sends_anybody_to_wechat() {
    let shop = Shop::open_with(|config| {
        config.wechat_login = None;
        config.channels = vec![Channel::WechatNative];
    })
    .await;
    let phone = Browser::new(shop.url.clone(), WECHAT);
    let sent = phone.get("/top-up").await;
    assert_eq!((sent.status, sent.header("location")), (303, "/login?next=%2Ftop-up"));
    let login = phone.get("/login").await.body;
    assert!(!login.contains("微信登录") && !login.contains("/wechat/"), "{login}");
    phone.register("ann").await;
    assert_eq!(phone.get("/top-up").await.status, 200);
    assert_eq!(phone.get("/wechat/login").await.status, 404);
    assert_eq!(phone.get("/wechat/callback?code=a&state=b").await.status, 404);
}

#[actix_web::test]
async fn beside_the_code_the_computer_counts_down_and_moves_on_when_the_phone_has_paid() {
    told(async |teller| {
        let Some(window) =
            webdriver::open(teller, Wish { size: Some((1280, 900)), user_agent: Some(COMPUTER) }).await
        else {
            return;
        };
        let shop = Shop::open().await;
        let clock = shop.clock.clone();
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                clock.advance_ms(50);
            }
        });
        let user = user_of(&shop, "ann", COMPUTER).await;
        sign_in(&window, &shop, &user.cookie().unwrap()).await;
        window.goto(&format!("{}/top-up", shop.url)).await;
        window.click("label[for='amount-50']").await;
        window.click("[data-top-up] [type=submit]").await;
        window.wait_for_text("请打开手机微信扫一扫").await;
        window.wait_for_text("还剩 1 小时").await;
        window.wait_for_text("等待付款").await;
        let number = window.path().await.split('/').nth(2).unwrap().to_owned();

        // Hours later, by the page's own clock, the code says that it is old and a tap brings it back.
        window.eval("void (() => { const now = Date.now; Date.now = () => now() + 8e6; })()").await;
        window.wait_for_text("二维码已过期").await;
        assert!(!window.eval("document.querySelector('.qr').checkVisibility()").await.as_bool().unwrap());
        window.click("[data-show='stale'] .btn").await;
        window.wait_until("document.querySelector('.qr svg').checkVisibility()").await;

        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        window.wait_for_text("支付成功").await;
        assert_eq!(window.path().await, format!("/orders/{number}"));
        assert_eq!(window.complaints().await, Vec::<String>::new());
        ticking.abort();
    })
    .await;
}

#[actix_web::test]
async fn a_phones_browser_goes_to_the_gateway_and_comes_back_to_a_success() {
    told(async |teller| {
        let size = Some((390, 844));
        let Some(window) = webdriver::open(teller, Wish { size, user_agent: Some(PHONE) }).await else {
            return;
        };
        let shop = Shop::open().await;
        let user = user_of(&shop, "ann", PHONE).await;
        sign_in(&window, &shop, &user.cookie().unwrap()).await;
        for channel in ["wechat_h5", "alipay_wap"] {
            window.goto(&format!("{}/top-up", shop.url)).await;
            window.click("label[for='amount-50']").await;
            window.click(&format!("label[for='way-{channel}']")).await;
            window.click("[data-top-up] [type=submit]").await;
            window.wait_until("location.pathname.endsWith('/pay')").await;
            let number = window.path().await.split('/').nth(2).unwrap().to_owned();
            window.click("[data-show='ready'] a.btn").await;
            window.wait_until("location.pathname === '/cashier'").await;
            window.click("form[action='/cashier/pay'] [type=submit]").await;
            // On the way back the page says nothing before the books do; then it is the result.
            window
                .wait_until(
                    "location.pathname.startsWith('/return/') || location.pathname.startsWith('/orders/')",
                )
                .await;
            shop.clock.advance_ms(2_000);
            shop.deliver().await;
            window.wait_for_text("支付成功").await;
            assert_eq!(window.path().await, format!("/orders/{number}"));
            assert_eq!(window.complaints().await, Vec::<String>::new());
        }
    })
    .await;
}
