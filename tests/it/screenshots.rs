//! Every page of administrators on a phone and on a computer, in light and dark: no page scrolls sideways, not even
//! with letters of twice the size. The pictures are for people to look at, in `target/looks` with those of end users';
//! `docs/pages.md` has the command that makes them all.

use crate::{
    axe::Axe,
    exceptions::{like_the_order, pay_at_wechat},
    harness::Shop,
    pay_page::sign_in,
    refund_pages::{refund, second_admin},
    webdriver::{self, Teller, Window, Wish, told},
};
use shouyin::{domain::money::Fen, simulator::faults::Scenario};
use std::path::{Path, PathBuf};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const SIZES: [(u32, u32); 2] = [(390, 844), (1280, 900)];

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("looks");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Takes the open page in every size and theme.
pub async fn shoot(window: &Window, axe: &Axe, name: &str) {
    for (width, height) in SIZES {
        window.resize(width, height).await;
        for scheme in ["light", "dark"] {
            window.prefer(scheme).await;
            let tall = window.eval("document.documentElement.scrollHeight").await.as_u64().unwrap();
            window.resize(width, height.max(u32::try_from(tall).unwrap())).await;
            window.eval("void scrollTo(0, 0)").await;
            window.screenshot(&folder().join(format!("{name}-{width}-{scheme}.png"))).await;
            window.resize(width, height).await;
            axe.finds_nothing_serious(window, name).await;
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

#[actix_web::test]
async fn every_page_of_administrators_fits_a_phone_and_a_computer() {
    told(tour).await;
}

async fn tour(teller: &Teller) {
    let Some(window) = webdriver::open(teller, Wish { size: Some((390, 844)), ..Wish::default() }).await
    else {
        return;
    };
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(10_000).unwrap()).await;
    let at = |path: &str| format!("{}{path}", shop.url);
    let axe = Axe::at_hand();

    let user = shop.user("王小明").await;
    let other = shop.user("li.hua").await;
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

    let number = user.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(1_200);
    shop.deliver().await;

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
        shoot(&window, &axe, name).await;
    }
    window.goto(&at(&waiting_step)).await;
    window.complaints().await;
    shoot(&window, &axe, "admin-refund-error").await;
    println!("pictures in {}", folder().display());
}
