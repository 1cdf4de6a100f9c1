//! The desk in a browser: each page fits a phone and a computer, and the list is worked by keyboard.
//! The pictures are in `target/looks`; `docs/pages.md` has the command that makes them all.

use crate::{
    axe::Axe,
    harness::{Browser, PASSWORD, Shop, WECHAT},
    pay_page::sign_in,
    reconcile::job,
    refund_pages::{press, refund, second_admin},
    screenshots::shoot,
    webdriver::{self, Teller, Wish, told},
};
use shouyin::{
    domain::money::Fen,
    simulator::faults::Scenario,
    store::bills::{self, BillState},
};

const DAY_MS: i64 = 24 * 3_600_000;

/// Signs in again whose session has ended meanwhile.
async fn signed_in(browser: &Browser, name: &str) {
    if browser.get("/login").await.status == 200 {
        assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
        browser.go_to_wechat_and_back().await;
    }
}

#[actix_web::test]
async fn every_page_of_the_desk_fits_a_phone_and_a_computer() {
    told(tour).await;
}

async fn tour(teller: &Teller) {
    let Some(window) =
        webdriver::open(teller, Wish { user_agent: Some(WECHAT), size: Some((390, 844)) }).await
    else {
        return;
    };
    let axe = Axe::at_hand();
    let shop = Shop::open_with(|config| config.refund_second_admin_above = Fen::new(10_000).unwrap()).await;
    let admin = shop.admin().await;
    let colleague = second_admin(&shop).await;
    let (ann, li) = (shop.user("王小明").await, shop.user("li.hua").await);
    let mut last = String::new();
    for day in 0..14_i64 {
        for nth in 0..=(day % 3) {
            last = ann.top_up(["30", "88", "200"][usize::try_from(nth).unwrap()]).await;
            shop.simulator.pay(&last).unwrap();
            shop.clock.advance_ms(800 + day * 300);
            shop.deliver().await;
        }
        if day == 11 {
            shop.simulator.set_scenario(&last, Scenario::BillAmount);
        }
        shop.clock.advance_ms(DAY_MS);
        job(&shop).await;
        signed_in(&ann, "王小明").await;
    }
    for (browser, name) in [(&admin, "boss"), (&colleague, "second"), (&li, "li.hua")] {
        signed_in(browser, name).await;
    }
    let swept = li.top_up("50").await;
    shop.simulator.set_scenario(&swept, Scenario::NotifyLost);
    shop.simulator.pay(&swept).unwrap();
    shop.clock.advance_ms(20_000);
    while shop.sweep().await > 0 {}
    let open = li.top_up("66").await;
    shop.clock.advance_ms(6 * 60_000);
    let body = shop.simulator.signed_notify(&open, &[("total_fee", "1")]);
    shop.notify(body).await;
    assert_eq!(refund(&admin, &format!("/admin/orders/{last}"), "desk-pages", "20").await.status, 201);
    let id = shop.order(&last).await.user_id;
    for (nth, (direction, amount)) in [("add", "12.50"), ("take", "500")].into_iter().enumerate() {
        let intent = format!("desk-pages-{nth}");
        let fields =
            [("intent", &*intent), ("direction", direction), ("amount", amount), ("reason", "充错了账号")];
        assert_eq!(press(&admin, &format!("/admin/users/{id}/adjust"), &fields).await.status, 303);
    }
    let other = shop.order(&open).await.user_id;
    press(&colleague, &format!("/admin/users/{other}/freeze"), &[("reason", "盗卡嫌疑，等银行回复")]).await;

    let bills = shop.app.store.read(|db| bills::list(db, None, 100)).await.unwrap();
    let uneven = bills.iter().find(|bill| bill.state == BillState::Unbalanced).unwrap();
    let uneven = format!("/admin/bills/{}", uneven.id);
    sign_in(&window, &shop, &colleague.cookie().unwrap()).await;
    let all = "/admin/orders?from=2026-11-20&to=2026-12-31&channel=wechat&by=paid";
    for (path, name) in [
        ("/admin".to_owned(), "desk-dashboard"),
        ("/admin/orders".to_owned(), "desk-orders"),
        (all.to_owned(), "desk-orders-filtered"),
        ("/admin/users".to_owned(), "desk-users"),
        (format!("/admin/users/{id}"), "desk-user"),
        (format!("/admin/users/{other}"), "desk-user-frozen"),
        ("/admin/ledger".to_owned(), "desk-ledger"),
        (format!("/admin/ledger?account=user%3A{id}&from=2026-11-25&to=2026-12-31"), "desk-ledger-filtered"),
        ("/admin/bills".to_owned(), "desk-bills"),
        (uneven, "desk-bill"),
        ("/admin/first-run".to_owned(), "desk-first-run"),
        ("/admin/audit-log".to_owned(), "desk-audit-log"),
        ("/admin/diagnostics".to_owned(), "desk-diagnostics"),
    ] {
        window.goto(&format!("{}{path}", shop.url)).await;
        shoot(&window, &axe, name).await;
    }

    window.click("form[action='/admin/diagnostics/gateways'] button").await;
    window.wait_for_text("支付渠道刚才的答复").await;
    shoot(&window, &axe, "desk-diagnostics-asked").await;
    let rename = |from: &str, to: &str| {
        shop.app.store.write(crate::books::sql(&format!("ALTER TABLE {from} RENAME TO {to}")))
    };
    window.goto(&format!("{}/admin/nowhere", shop.url)).await;
    window.complaints().await;
    shoot(&window, &axe, "desk-not-found").await;
    rename("orders", "put_aside").await.unwrap();
    window.goto(&format!("{}/admin", shop.url)).await;
    window.complaints().await;
    shoot(&window, &axe, "desk-books-away").await;
    rename("put_aside", "orders").await.unwrap();

    window.resize(1280, 900).await;
    window.goto(&format!("{}/admin/orders", shop.url)).await;
    let key = |key: &str| {
        format!(
            "void document.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }}))"
        )
    };
    let at =
        "[...document.querySelectorAll('[data-row]')].findIndex(row => row.contains(document.activeElement))";
    for (pressed, row) in [("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)] {
        window.eval(&key(pressed)).await;
        assert_eq!(window.eval(at).await, row, "after {pressed}");
    }
    window.eval(&key("/")).await;
    assert_eq!(window.eval("document.activeElement.id").await, "q");
    window.fill("#q", shop.order(&last).await.transaction_id.unwrap().as_str()).await;
    window.click("form.filter [type=submit]").await;
    window.wait_for_text("时间线").await;
    assert_eq!(window.complaints().await, Vec::<String>::new());
}
