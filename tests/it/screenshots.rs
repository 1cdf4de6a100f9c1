//! Every page on a phone and on a computer, in light and dark: no page scrolls sideways, not even
//! with letters of twice the size. The pictures are for people to look at, in `target/screenshots`:
//! `cargo test --test it screenshots -- --nocapture`

use crate::{
    channels::PHONE,
    exceptions::{like_the_order, pay_at_wechat},
    harness::{Shop, WECHAT},
    pay_page::{BRIDGE, EARLY, sign_in},
    refund_pages::{refund, second_admin},
    webdriver::{self, Window, Wish},
};
use serde_json::json;
use shouyin::{domain::money::Fen, simulator::faults::Scenario};
use std::path::{Path, PathBuf};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const SIZES: [(u32, u32); 2] = [(390, 844), (1280, 900)];
const COMPUTER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/150.0 Safari/537.36";

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Takes the open page in every size and theme.
pub async fn shoot(window: &Window, name: &str) {
    for (width, height) in SIZES {
        window.resize(width, height).await;
        for scheme in ["light", "dark"] {
            window.prefer(scheme).await;
            let tall = window.eval("document.documentElement.scrollHeight").await.as_u64().unwrap();
            window.resize(width, height.max(u32::try_from(tall).unwrap())).await;
            window.eval("void scrollTo(0, 0)").await;
            window.screenshot(&folder().join(format!("{name}-{width}-{scheme}.png"))).await;
            window.resize(width, height).await;
        }
        fits(window, name, width).await;
        window.prefer("light").await;
        window.eval("void (document.documentElement.style.fontSize = '200%')").await;
        fits(window, &format!("{name} in large letters"), width).await;
        let tall = window.eval("document.documentElement.scrollHeight").await.as_u64().unwrap();
        window.resize(width, height.max(u32::try_from(tall).unwrap())).await;
        window.screenshot(&folder().join(format!("{name}-{width}-large.png"))).await;
        window.resize(width, height).await;
        window.eval("void (document.documentElement.style.fontSize = '')").await;
    }
    assert_eq!(window.complaints().await, Vec::<String>::new(), "{name}");
}

async fn fits(window: &Window, name: &str, width: u32) {
    let wide = window.eval("document.documentElement.scrollWidth").await.as_u64().unwrap();
    assert!(wide <= u64::from(width), "{name}: {wide} px wide in {width}");
}

async fn pretend(window: &Window, user_agent: &str) {
    window.cdp("Emulation.setUserAgentOverride", json!({ "userAgent": user_agent })).await;
}

#[actix_web::test]
async fn every_page_fits_a_phone_and_a_computer() {
    let Some(window) = webdriver::open(Wish { user_agent: Some(WECHAT), size: Some((390, 844)) }).await
    else {
        return;
    };
    window.add_script_before_page(&format!("(() => {{ {BRIDGE} {EARLY} }})();")).await;
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(10_000).unwrap()).await;
    let at = |path: &str| format!("{}{path}", shop.url);

    window.goto(&at("/login")).await;
    shoot(&window, "login").await;
    window.goto(&at("/register")).await;
    shoot(&window, "register").await;
    window.goto(&at("/nowhere")).await;
    window.complaints().await;
    shoot(&window, "error").await;

    let user = shop.user("王小明").await;
    let other = shop.user("li.hua").await;
    sign_in(&window, &shop, &user.cookie().unwrap()).await;
    window.goto(&at("/orders")).await;
    shoot(&window, "records-empty").await;

    // Twelve days of business: paid by callback, by query, late, twice, closed, open.
    for (browser, yuan) in [(&user, "50"), (&user, "200"), (&other, "30")] {
        let number = browser.top_up(yuan).await;
        shop.simulator.pay(&number).unwrap();
        shop.clock.advance_ms(800);
        shop.deliver().await;
    }
    shop.clock.advance_ms(12 * DAY_MS);
    let late = user.top_up("20").await;
    shop.simulator.set_scenario(&late, Scenario::LatePayment);
    let closed = other.top_up("9.90").await;
    shop.clock.advance_ms(DAY_MS / 8);
    while shop.close_expired().await > 0 {}
    assert!(shop.order(&closed).await.closed_at.is_some());
    shop.simulator.pay(&late).unwrap();
    shop.deliver().await;
    let wrong = other.top_up("10").await;
    shop.simulator.set_scenario(&wrong, Scenario::WrongSign);
    shop.simulator.pay(&wrong).unwrap();
    shop.deliver().await;
    let amount = other.top_up("88").await;
    let body = shop.simulator.signed_notify(&amount, &[("total_fee", "1")]);
    shop.notify(body).await;
    user.top_up("100").await;
    shop.clock.advance_ms(3_600_000);

    window.goto(&at("/top-up")).await;
    shoot(&window, "top-up").await;
    window.click("label[for='amount-other']").await;
    window.fill("#other", "0.005").await;
    window.click("[data-top-up] [type=submit]").await;
    window.wait_until("document.querySelector('#amount-error')").await;
    window.complaints().await;
    shoot(&window, "top-up-error").await;

    let number = user.top_up("50").await;
    let pay_page = at(&format!("/orders/{number}/pay"));
    window.goto(&pay_page).await;
    shoot(&window, "pay").await;
    window.click("[data-show='ready'] [data-go]").await;
    shoot(&window, "opening").await;
    let state = |name: &str| format!("void (document.querySelector('[data-pay]').dataset.state = '{name}')");
    for name in ["no-bridge", "confirming", "unknown", "not-paid"] {
        window.eval(&state(name)).await;
        shoot(&window, name).await;
    }
    let by_others = user.top_up("50").await;
    let ways = |channel: &str| at(&format!("/orders/{by_others}/pay?channel={channel}"));
    pretend(&window, COMPUTER).await;
    window.goto(&ways("wechat_native")).await;
    shoot(&window, "scan").await;
    window.goto(&at("/top-up")).await;
    shoot(&window, "top-up-computer").await;
    window.goto(&ways("alipay_qr")).await;
    shoot(&window, "scan-alipay").await;
    window.eval("void (document.querySelector('[data-watch]').dataset.state = 'stale')").await;
    shoot(&window, "scan-stale").await;
    window.goto(&ways("alipay_page")).await;
    shoot(&window, "away-alipay").await;
    pretend(&window, PHONE).await;
    window.goto(&ways("wechat_h5")).await;
    shoot(&window, "away-wechat").await;
    let attempts = shop.attempts(&by_others).await;
    let attempt = &attempts.iter().find(|attempt| attempt.closed_at.is_none()).unwrap().out_trade_no;
    window.goto(&at(&format!("/return/{attempt}"))).await;
    shoot(&window, "return").await;
    window.goto(&at("/top-up")).await;
    shoot(&window, "top-up-phone").await;
    pretend(&window, WECHAT).await;
    window.goto(&at(&format!("/orders/{number}"))).await;
    shoot(&window, "order-open").await;
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(1_200);
    shop.deliver().await;
    window.goto(&at(&format!("/orders/{number}"))).await;
    shoot(&window, "success").await;
    window.goto(&at(&format!("/orders/{late}"))).await;
    shoot(&window, "order-late").await;
    window.goto(&at("/orders")).await;
    shoot(&window, "records").await;
    sign_in(&window, &shop, &other.cookie().unwrap()).await;
    window.goto(&at(&format!("/orders/{closed}"))).await;
    shoot(&window, "order-closed").await;

    // Refunds: under way, paid out, waiting for a second administrator.
    let admin = shop.admin().await;
    let colleague = second_admin(&shop).await;
    let home = format!("/admin/orders/{number}");
    assert_eq!(refund(&admin, &home, "screenshot-1", "20").await.status, 201);
    let large = user.top_up("300").await;
    shop.simulator.pay(&large).unwrap();
    shop.deliver().await;
    let waiting = refund(&colleague, &format!("/admin/orders/{large}"), "screenshot-2", "150").await;
    assert_eq!(waiting.json()["state"], "waiting");
    shop.clock.advance_ms(70_000);
    shouyin::jobs::refunds::run_once(shop.app.clone()).await.unwrap();
    shop.simulator.set_scenario(&number, Scenario::RefundProcessing);
    assert_eq!(refund(&admin, &home, "screenshot-3", "10").await.status, 201);
    sign_in(&window, &shop, &user.cookie().unwrap()).await;
    for (path, name) in [
        (format!("/orders/{number}"), "order-refunds"),
        ("/orders".to_owned(), "records-refunds"),
        ("/top-up".to_owned(), "top-up-frozen"),
    ] {
        window.goto(&at(&path)).await;
        shoot(&window, name).await;
    }
    let stranger = like_the_order(&shop, &number, "of-an-old-backup", 7700).await;
    pay_at_wechat(&shop, &stranger);
    shop.deliver().await;
    let item = shop.work_items().await[0].id;
    let notice = shop.all_notices().await[0].id.clone();
    let step = format!(
        "{home}/refund?intent=screenshot&amount=5&why=%E5%85%85%E9%94%99%E8%B4%A6%E5%8F%B7&note=%E5%B8%AE%E6%9C%8B%E5%8F%8B%E5%85%85%E7%9A%84"
    );
    let waiting_step = format!("/admin/orders/{large}/refund?intent=screenshot&amount=150&why=x&note=");

    sign_in(&window, &shop, &admin.cookie().unwrap()).await;
    for (path, name) in [
        (format!("{home}/refund"), "admin-refund"),
        (step, "admin-refund-confirm"),
        (format!("/admin/orders/{large}"), "admin-order-waiting"),
        ("/admin/refunds".to_owned(), "admin-refunds"),
        (format!("/admin/work-items/{item}"), "admin-work-item"),
        (format!("/admin/work-items/{item}/refund"), "admin-work-item-refund"),
        (format!("/admin/notices/{notice}"), "admin-notice"),
        ("/admin/orders".to_owned(), "admin-orders"),
        ("/admin/orders?q=nothing".to_owned(), "admin-orders-empty"),
        (format!("/admin/orders/{number}"), "admin-order"),
        (format!("/admin/orders/{wrong}"), "admin-order-refused"),
        ("/admin/notices".to_owned(), "admin-notices"),
        ("/admin/work-items".to_owned(), "admin-work-items"),
    ] {
        window.goto(&at(&path)).await;
        shoot(&window, name).await;
    }
    window.goto(&at(&waiting_step)).await;
    window.complaints().await;
    shoot(&window, "admin-refund-error").await;
    println!("pictures in {}", folder().display());
}
