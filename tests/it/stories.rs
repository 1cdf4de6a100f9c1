//! What users do, clicked through in a real browser: in English, in care mode, and in the largest letters.

use crate::{
    harness::{Shop, WECHAT},
    pay_page::{BRIDGE, EARLY, register},
    webdriver::{self, Teller, Window, Wish, told},
};
use serde_json::{Value, json};

/// What a reader sees on the way from nothing to a balance.
struct Words {
    /// What the first address asks for.
    wish: &'static str,
    button: &'static str,
    pay: &'static str,
    confirming: &'static str,
    paid: &'static str,
    balance: &'static str,
    credited: &'static str,
    go_on: &'static str,
}

const ENGLISH: Words = Words {
    wish: "lang=en",
    button: "Top up ¥50.00",
    pay: "Pay with WeChat",
    confirming: "Checking the payment",
    paid: "Payment successful",
    balance: "Balance ¥50.00",
    credited: "Credited",
    go_on: "Continue to pay ¥30.00",
};
const CARE: Words = Words {
    wish: "care=1",
    button: "立即充值 ¥50.00",
    pay: "去微信支付",
    confirming: "正在确认支付结果",
    paid: "支付成功",
    balance: "余额 ¥50.00",
    credited: "已入账",
    go_on: "继续支付 ¥30.00",
};

async fn phone(teller: &Teller) -> Option<Window> {
    let window = webdriver::open(teller, Wish { user_agent: Some(WECHAT), size: Some((390, 844)) }).await?;
    window.add_script_before_page(&format!("(() => {{ {BRIDGE} {EARLY} }})();")).await;
    Some(window)
}

/// Registers, tops up, pays, looks at the records and the order, leaves another order and goes on with it.
async fn walk(window: &Window, shop: &Shop, words: &Words) {
    window.goto(&format!("{}/?{}", shop.url, words.wish)).await;
    register(window).await;
    window.click("label[for='amount-50']").await;
    assert_eq!(window.text("[data-top-up] [type=submit]").await, words.button);
    window.click("[data-top-up] [type=submit]").await;
    window.wait_until("location.pathname.endsWith('/pay')").await;
    let number = window.path().await.split('/').nth(2).unwrap().to_owned();
    window.wait_for_text(words.pay).await;
    window.click("[data-show='ready'] [data-go]").await;
    window.wait_until("sheets.length === 1").await;
    window.eval("void sheets[0].callback({ err_msg: 'get_brand_wcpay_request:ok' })").await;
    window.wait_for_text(words.confirming).await;
    // Nobody can begin again from here by changing how the page looks.
    assert!(window.eval("!document.querySelector('.display').checkVisibility()").await == Value::Bool(true));
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    window.wait_for_text(words.paid).await;
    window.wait_for_text(words.balance).await;
    window.click("a.btn.second[href='/orders']").await;
    window.wait_for_text(words.credited).await;
    window.click(&format!("a.row[href='/orders/{number}']")).await;
    window.wait_for_text(&number).await;

    window.goto(&format!("{}/top-up", shop.url)).await;
    window.click("label[for='amount-30']").await;
    window.click("[data-top-up] [type=submit]").await;
    window.wait_until("location.pathname.endsWith('/pay')").await;
    window.goto(&format!("{}/orders", shop.url)).await;
    window.wait_for_text(words.go_on).await;
    window.click(".go-on .btn").await;
    window.wait_until("location.pathname.endsWith('/pay')").await;
    window.wait_for_text(words.pay).await;
    assert_eq!(window.complaints().await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_visitor_from_abroad_does_everything_in_english_and_switches_to_chinese() {
    told(async |teller| {
        let Some(window) = phone(teller).await else { return };
        let shop = Shop::open().await;
        walk(&window, &shop, &ENGLISH).await;
        window.goto(&format!("{}/top-up", shop.url)).await;
        window.click(".display a[hreflang='zh-CN']").await;
        window.wait_for_text("选择充值金额").await;
        assert_eq!(window.eval("document.documentElement.lang").await, "zh-CN");
        window.goto(&format!("{}/orders", shop.url)).await;
        window.wait_for_text("充值记录").await;
    })
    .await;
}

#[actix_web::test]
async fn an_elderly_user_does_everything_in_care_mode_and_in_the_largest_letters() {
    told(in_care_mode).await;
}

async fn in_care_mode(teller: &Teller) {
    let Some(window) = phone(teller).await else { return };
    let shop = Shop::open().await;
    // As WeChat's own setting does it: every page grows, and none of them is asked.
    window
        .add_script_before_page(
            "addEventListener('DOMContentLoaded', () => { document.documentElement.style.fontSize = '200%'; });",
        )
        .await;
    walk(&window, &shop, &CARE).await;
    window.goto(&format!("{}/top-up", shop.url)).await;
    assert_eq!(window.eval("document.documentElement.className").await, "care");
    let tiles = "[...document.querySelectorAll('.tile.amount')].map((tile) => tile.getBoundingClientRect())";
    let columns = format!("new Set({tiles}.map((box) => box.left)).size");
    assert_eq!(window.eval(&columns).await, json!(2), "two columns of tiles");
    window.click(".display a[href='?care=0']").await;
    window.wait_until("document.documentElement.className === ''").await;
    assert_eq!(window.complaints().await, Vec::<String>::new());
}
