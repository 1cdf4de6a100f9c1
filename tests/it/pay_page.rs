//! The payment page in a real browser. Whatever WeChat's sheet says or fails to say, the page tells the truth.

use crate::{
    harness::{PASSWORD, Shop, WECHAT},
    webdriver::{self, Teller, Window, Wish, told},
};
use serde_json::{Value, json};
use shouyin::{
    domain::order::Channel,
    simulator::faults::Scenario,
    store::events::{self, EventKind},
};
use std::time::Duration;

/// Own script a payment page may load, in bytes.
const SCRIPT_BUDGET: u64 = 3072;

/// Keeps what the page asks WeChat for, and the callback for the test to call.
pub const BRIDGE: &str = "
  window.sheets = [];
  const bridge = { invoke: (name, params, callback) => { sheets.push({ name, params, callback }); } };
  const arrive = () => {
    window.WeixinJSBridge = bridge;
    document.dispatchEvent(new Event('WeixinJSBridgeReady'));
  };";
/// There before the page is.
pub const EARLY: &str = "arrive();";
/// Two seconds after the first tap.
const LATE: &str =
    "addEventListener('click', () => setTimeout(arrive, 2000), { once: true, capture: true });";
const NEVER: &str = "";
/// Looks at every page all the time; what it finds outlives the page.
const WITNESS: &str = "setInterval(() => {
    if (document.body && document.body.textContent.includes('失败')) sessionStorage.lied = document.body.textContent;
  }, 20);";

const PAY: &str = "[data-show='ready'] [data-go]";

/// A phone on the payment page of an order of ¥50.
struct Phone {
    window: Window,
    shop: Shop,
    number: String,
    ticking: tokio::task::JoinHandle<()>,
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

/// The shop's time passes as ours does: how often WeChat is asked depends on it.
fn tick(shop: &Shop) -> tokio::task::JoinHandle<()> {
    let clock = shop.clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            clock.advance_ms(50);
        }
    })
}

async fn wechat(teller: &Teller, bridge: &str) -> Option<Window> {
    let window = webdriver::open(teller, Wish { user_agent: Some(WECHAT), size: Some((390, 844)) }).await?;
    window.add_script_before_page(&format!("(() => {{ {BRIDGE} {bridge} }})(); {WITNESS}")).await;
    Some(window)
}

/// Signs the window in as the one who already is in the other browser.
pub async fn sign_in(window: &Window, shop: &Shop, secret: &str) {
    window.goto(&format!("{}/login", shop.url)).await;
    window.delete_cookies().await;
    window.set_cookie("shouyin", secret).await;
}

async fn phone(teller: &Teller, bridge: &str) -> Option<Phone> {
    let window = wechat(teller, bridge).await?;
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    sign_in(&window, &shop, &user.cookie().unwrap()).await;
    window.goto(&format!("{}/orders/{number}/pay", shop.url)).await;
    let ticking = tick(&shop);
    Some(Phone { window, shop, number, ticking })
}

impl Phone {
    /// Taps pay and waits for the sheet.
    async fn open_sheet(&self) {
        self.window.click(PAY).await;
        self.window.wait_until("sheets.length === 1").await;
    }

    /// The payer pays in the sheet.
    fn pay(&self) {
        self.shop.simulator.pay(&self.number).unwrap();
    }

    /// The sheet closes and says this word.
    async fn sheet_says(&self, word: &str) {
        let said = json!({ "err_msg": format!("get_brand_wcpay_request:{word}") });
        self.window.eval(&format!("void sheets.at(-1).callback({said})")).await;
    }

    async fn wait_for_success(&self) {
        let path = Value::from(format!("/orders/{}", self.number));
        self.window.wait_until(&format!("location.pathname === {path}")).await;
        self.window.wait_for_text("支付成功").await;
        let text = self.window.text("body").await;
        assert!(text.contains("余额 ¥50.00"), "{text}");
        assert!(!text.contains("去微信支付") && !text.contains("继续支付"), "{text}");
        let order = self.shop.order(&self.number).await;
        assert!(order.is_paid());
        assert_eq!(self.shop.balance(order.user_id).await, 5000);
    }

    /// What holds at the end of every story. `returned` is what the sheet said, in order.
    async fn was_honest(&self, returned: &[&str]) {
        honest(&self.window).await;
        let id = self.shop.order(&self.number).await.id;
        let story = self.shop.app.store.read(move |db| events::of_order(db, id)).await.unwrap();
        let told: Vec<&str> =
            story.iter().filter(|e| e.kind == EventKind::Returned).map(|e| e.detail.as_str()).collect();
        assert_eq!(told, returned);
        let prepared = self.shop.simulator.calls().iter().filter(|c| c.starts_with("unifiedorder")).count();
        assert_eq!(prepared, 1, "one order at WeChat, however often the sheet was opened");
    }
}

/// No page ever said 失败, broke the policy, threw, or asked anybody but the shop for anything.
async fn honest(window: &Window) {
    assert_eq!(window.eval("sessionStorage.lied").await, Value::Null);
    assert_eq!(window.complaints().await, Vec::<String>::new());
    let foreign = window.eval(
        "performance.getEntriesByType('resource').map((e) => e.name).filter((url) => !url.startsWith(location.origin + '/') && !url.startsWith('data:'))",
    );
    assert_eq!(foreign.await, json!([]));
}

/// From the first page to the form, by touch.
pub async fn register(window: &Window) {
    window.click("a[href^='/register']").await;
    // The page before has a field of that name too.
    window.wait_until("location.pathname === '/register'").await;
    window.fill("#username", "ann").await;
    window.fill("#password", PASSWORD).await;
    window.click("[type=submit]").await;
    // To WeChat for the openid and back, unseen.
    window.wait_until("location.pathname === '/top-up'").await;
}

#[actix_web::test]
async fn from_nothing_to_a_balance_by_touch_alone() {
    told(async |teller| {
        let Some(window) = wechat(teller, EARLY).await else { return };
        let shop = Shop::open().await;
        window.goto(&shop.url).await;
        register(&window).await;
        assert!(window.text(".balance").await.contains("¥0.00"));
        window.click("label[for='amount-200']").await;
        window.click("label[for='amount-50']").await;
        assert_eq!(window.text("[data-top-up] [type=submit]").await, "立即充值 ¥50.00");
        window.click("[data-top-up] [type=submit]").await;
        window.wait_until("location.pathname.endsWith('/pay')").await;
        let number = window.path().await.split('/').nth(2).unwrap().to_owned();
        let phone = Phone { ticking: tick(&shop), window, shop, number };
        phone.open_sheet().await;
        // What the page hands over is what WeChat accepts: six texts with a right signature.
        assert_eq!(phone.window.eval("sheets[0].name").await, "getBrandWCPayRequest");
        let params = phone.window.eval("sheets[0].params").await;
        let checked = reqwest::Client::builder().no_proxy().build().unwrap();
        let checked = checked.post(format!("{}/bridge/check", phone.shop.simulator_url));
        let checked =
            checked.header("origin", &phone.shop.url).body(params.to_string()).send().await.unwrap();
        let verdict = checked.text().await.unwrap();
        assert!(verdict.contains("\"ok\":true"), "{verdict}");
        assert_eq!(phone.window.text("[data-show='opening'] .busy").await, "正在打开微信支付…");
        phone.pay();
        assert_eq!(phone.shop.deliver().await, 1);
        phone.sheet_says("ok").await;
        phone.wait_for_success().await;
        phone.window.click(".result .btn:not(.second)").await;
        phone.window.wait_until("location.pathname === '/top-up'").await;
        assert!(phone.window.text(".balance").await.contains("¥50.00"));
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_lost_callback_still_ends_on_success() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.shop.simulator.set_scenario(&phone.number, Scenario::NotifyLost);
        phone.open_sheet().await;
        phone.pay();
        assert_eq!(phone.shop.deliver().await, 0);
        phone.sheet_says("ok").await;
        phone.wait_for_success().await;
        assert_eq!(phone.shop.verdicts().await.len(), 1, "the query alone brought it");
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn an_ok_that_wechat_does_not_confirm_is_neither_success_nor_failure() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.open_sheet().await;
        phone.sheet_says("ok").await;
        phone.window.wait_for_text("正在确认支付结果").await;
        phone.window.wait_for_text("请不要重复支付").await;
        assert!(!phone.window.text("body").await.contains("去微信支付"));
        // A minute later, by the page's own clock.
        phone.window.eval("void (() => { const now = Date.now; Date.now = () => now() + 61e3; })()").await;
        phone.window.wait_for_text("结果确认中").await;
        let text = phone.window.text("body").await;
        assert!(
            text.contains("请勿重复支付") && !text.contains("成功") && !text.contains("去微信支付"),
            "{text}"
        );
        assert!(!phone.shop.order(&phone.number).await.is_paid());
        // The money comes in the end, and one tap finds it.
        phone.pay();
        phone.window.click("[data-again]").await;
        phone.wait_for_success().await;
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_cancelled_payment_goes_on_with_the_same_order() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.open_sheet().await;
        phone.sheet_says("cancel").await;
        phone.window.wait_for_text("正在确认支付结果").await;
        phone.window.wait_for_text("支付未完成").await;
        phone.window.click("[data-show='not-paid'] .btn:not(.second)").await;
        phone.window.wait_until(&format!("document.querySelector(\"{PAY}\").checkVisibility()")).await;
        assert_eq!(phone.window.path().await, format!("/orders/{}/pay", phone.number));
        phone.open_sheet().await;
        phone.pay();
        phone.shop.deliver().await;
        phone.sheet_says("ok").await;
        phone.wait_for_success().await;
        phone.was_honest(&["cancel", "ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_cancel_after_the_money_left_is_a_success() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.shop.simulator.set_scenario(&phone.number, Scenario::NotifyLost);
        phone.open_sheet().await;
        phone.pay();
        phone.sheet_says("cancel").await;
        phone.wait_for_success().await;
        phone.was_honest(&["cancel"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_fail_is_checked_and_offers_to_go_on() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.open_sheet().await;
        phone.sheet_says("fail").await;
        phone.window.wait_for_text("支付未完成").await;
        phone.window.wait_for_text("继续支付 ¥50.00").await;
        phone.was_honest(&["fail"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_bridge_that_comes_late_is_waited_for() {
    told(async |teller| {
        let Some(phone) = phone(teller, LATE).await else { return };
        phone.window.click(PAY).await;
        phone.window.wait_for_text("正在打开微信支付").await;
        assert_eq!(phone.window.eval("sheets.length").await, 0);
        phone.window.wait_until("sheets.length === 1").await;
        phone.pay();
        phone.shop.deliver().await;
        phone.sheet_says("ok").await;
        phone.wait_for_success().await;
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn without_a_bridge_the_page_says_what_to_do() {
    told(async |teller| {
        let Some(phone) = phone(teller, NEVER).await else { return };
        phone.window.click(PAY).await;
        phone.window.wait_for_text("微信支付还没有响应，没有扣款").await;
        let text = phone.window.text("body").await;
        assert!(text.contains("从公众号重新打开") && text.contains("重新拉起"), "{text}");
        // Better late than never: one tap, one sheet.
        phone.window.eval("void (window.WeixinJSBridge = { invoke: (name) => sheets.push({ name }) })").await;
        phone.window.click("[data-show='no-bridge'] [data-go]").await;
        phone.window.wait_until("sheets.length === 1").await;
        phone.was_honest(&[]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_double_tap_opens_one_sheet() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.window.double_tap(PAY).await;
        phone.window.wait_for_text("正在打开微信支付").await;
        assert_eq!(phone.window.eval("sheets.length").await, 1);
        phone.was_honest(&[]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_sheet_that_vanishes_without_a_word_still_ends_on_success() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.open_sheet().await;
        phone.pay();
        phone.shop.deliver().await;
        // The page comes to the front again; no callback ever does.
        phone.window.eval("void document.dispatchEvent(new Event('visibilitychange'))").await;
        phone.wait_for_success().await;
        phone.was_honest(&[]).await;
    })
    .await;
}

#[actix_web::test]
async fn going_back_after_success_never_offers_to_pay_again() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        let pay_page = format!("{}/orders/{}/pay", phone.shop.url, phone.number);
        // One payment page stays behind in the history, another one is paid from.
        phone.window.goto(&format!("{}/top-up", phone.shop.url)).await;
        assert!(phone.window.text(".balance").await.contains("¥0.00"));
        phone.window.goto(&pay_page).await;
        phone.open_sheet().await;
        phone.pay();
        phone.shop.deliver().await;
        phone.sheet_says("ok").await;
        phone.wait_for_success().await;
        // The result took the payment page's place, so back is the form, with the new balance.
        phone.window.back().await;
        phone.window.wait_until("location.pathname === '/top-up'").await;
        phone.window.wait_for_text("¥50.00").await;
        phone.window.wait_until("document.querySelector('.balance').innerText.includes('¥50.00')").await;
        // Further back is the other payment page, which now is the result.
        phone.window.back().await;
        phone.wait_for_success().await;
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_page_restored_with_its_old_script_asks_anew() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.pay();
        phone.shop.deliver().await;
        // As iOS does it: the page is back as it was, button and all.
        phone
            .window
            .eval("void dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
            .await;
        phone.wait_for_success().await;
        phone.was_honest(&[]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_reload_while_confirming_goes_on_confirming() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        phone.open_sheet().await;
        phone.sheet_says("ok").await;
        phone.window.wait_for_text("正在确认支付结果").await;
        phone.window.reload().await;
        phone.window.wait_for_text("正在确认支付结果").await;
        let text = phone.window.text("body").await;
        assert!(!text.contains("去微信支付") && !text.contains("未完成"), "{text}");
        phone.pay();
        phone.shop.deliver().await;
        phone.wait_for_success().await;
        phone.was_honest(&["ok"]).await;
    })
    .await;
}

#[actix_web::test]
async fn a_computer_shows_the_code_and_moves_on_when_the_phone_has_paid() {
    told(async |teller| {
        let Some(window) = webdriver::open(teller, Wish { size: Some((1280, 900)), ..Wish::default() }).await
        else {
            return;
        };
        window.add_script_before_page(WITNESS).await;
        let shop = Shop::open_with(|config| config.channels = vec![Channel::WechatJsapi]).await;
        let phone = shop.user("ann").await;
        let computer = shop.browser();
        assert_eq!(computer.log_in("ann", PASSWORD).await.status, 303);
        sign_in(&window, &shop, &computer.cookie().unwrap()).await;
        window.goto(&format!("{}/top-up", shop.url)).await;
        window.click("label[for='amount-50']").await;
        window.click("[data-top-up] [type=submit]").await;
        window.wait_for_text("请用手机微信扫一扫").await;
        window.wait_until("document.querySelector('.qr svg').checkVisibility()").await;
        assert!(!window.text("body").await.contains("去微信支付"));
        let script = script_bytes(&window).await;
        assert!(script <= SCRIPT_BUDGET, "{script} bytes of script beside the code");
        // The phone opens the address that the code stands for.
        let address = window.text(".url").await;
        let path = address.strip_prefix(&shop.url).unwrap();
        let number = path.split('/').nth(2).unwrap().to_owned();
        let page = phone.get(path).await;
        assert!(page.body.contains("去微信支付"), "{}", page.body);
        shop.simulator.pay(&number).unwrap();
        assert_eq!(shop.deliver().await, 1);
        window.wait_for_text("支付成功").await;
        assert_eq!(window.path().await, format!("/orders/{number}"));
        honest(&window).await;
    })
    .await;
}

#[actix_web::test]
async fn the_payment_page_is_light() {
    told(async |teller| {
        let Some(phone) = phone(teller, EARLY).await else { return };
        let script = script_bytes(&phone.window).await;
        assert!(script > 0 && script <= SCRIPT_BUDGET, "{script} bytes of script");
        let sizes = phone.window.eval(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
           .map((e) => [e.name.replace(location.origin, ''), e.encodedBodySize])",
        );
        println!("weights in bytes: {}", sizes.await);
        phone.was_honest(&[]).await;
    })
    .await;
}

/// Bytes of every script the open page loaded.
async fn script_bytes(window: &Window) -> u64 {
    let sum = window.eval(
        "performance.getEntriesByType('resource').filter((e) => e.initiatorType === 'script')
           .reduce((sum, e) => sum + e.encodedBodySize, 0)",
    );
    sum.await.as_u64().unwrap()
}
