//! The ledger and the bills as lists: sums of exactly what is shown, a calendar, a download, and amounts that can be read.

use crate::{
    harness::{PASSWORD, Shop},
    reconcile::{job, morning, unequal},
};
use serde_json::Value;
use shouyin::domain::{money::Fen, user::Role};

const DAY_MS: i64 = 24 * 3_600_000;

#[actix_web::test]
async fn the_sums_of_the_ledger_are_those_of_exactly_the_days_that_are_shown() {
    let shop = Shop::open_with(|config| config.top_up.max = Fen::new(1_000_000).unwrap()).await;
    shop.paid("ann", "5000.50").await;
    shop.clock.advance_ms(DAY_MS);
    let number = shop.paid("bob", "30").await;
    shop.refund(&number, "10").await.unwrap();
    shop.clock.advance_ms(DAY_MS);
    shop.paid("eve", "7").await;
    let admin = shop.admin().await;
    let account = format!("user:{}", shop.order(&number).await.user_id);
    for (query, legs, came, went) in [
        ("from=2026-11-20&to=2026-11-20".to_owned(), 2, 500_050, -500_050),
        ("from=2026-11-21&to=2026-11-21".to_owned(), 4, 4_000, -4_000),
        ("from=2026-11-21T20:00&to=2026-11-22T19:59:59".to_owned(), 4, 4_000, -4_000),
        (format!("from=2026-11-21&account={account}"), 2, 3_000, -1_000),
        (format!("to=2026-11-20&account={account}"), 0, 0, 0),
        ("kind=top_up&from=2026-11-21".to_owned(), 4, 3_700, -3_700),
    ] {
        let told: Value = admin.get_json(&format!("/admin/ledger?{query}")).await.json();
        let listed = told["entries"].as_array().unwrap();
        let sum = |wanted: fn(i64) -> bool| -> i64 {
            let fen = listed.iter().map(|leg| leg["amount_fen"].as_i64().unwrap());
            fen.filter(|fen| wanted(*fen)).sum()
        };
        assert_eq!((listed.len(), sum(|fen| fen > 0), sum(|fen| fen < 0)), (legs, came, went), "{query}");
        let sums = &told["sums"];
        assert_eq!(
            (&sums["entries"], &sums["in_fen"], &sums["out_fen"]),
            (&legs.into(), &came.into(), &went.into()),
            "{query}"
        );
    }
    assert_eq!(admin.get_json("/admin/ledger").await.json()["sums"], Value::Null, "all of it is always zero");
    assert_eq!(admin.get("/admin/ledger?from=yesterday").await.status, 422);
    // Read with a comma, sent without.
    let page = admin.get("/admin/ledger?from=2026-11-20&to=2026-11-20").await.body;
    for part in
        ["<span class=\"yen\">¥</span>5,000.50", "value=\"5000.50\"", "+5,000.50", "value=\"2026-11-20\""]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let orders = admin.get("/admin/orders").await.body;
    assert!(orders.contains("5,037.50") && orders.contains("value=\"5037.50\""), "{orders}");
    assert!(admin.get("/admin/orders.csv").await.body.contains(",5000.50,"));
    let to_refund = admin.get(&format!("/admin/orders/{number}/refund")).await.body;
    assert!(to_refund.contains("name=\"amount\" value=\"20.00\""), "{to_refund}");
}

#[actix_web::test]
async fn the_calendar_says_how_each_day_stands_and_the_lines_of_a_bill_can_be_taken_away() {
    let (shop, numbers) = unequal().await;
    let admin = shop.admin().await;
    morning(&shop, 9 * 60);
    admin.log_in("boss", PASSWORD).await;
    let day = |word: &str| format!("<time datetime=\"2026-11-20\">11-20</time> {word}<");
    let page = admin.get("/admin/bills").await.body;
    assert!(page.contains(&day("未出")), "{page}");
    assert!(page.contains("<time datetime=\"2026-11-19\">11-19</time> 无<"), "nobody had paid yet: {page}");
    assert!(!page.contains("2026-11-21"), "today has no bill yet: {page}");
    morning(&shop, 10 * 60 + 10);
    job(&shop).await;
    let page = admin.get("/admin/bills").await.body;
    let link = page.split("<a class=\"day tone-bad\" href=\"").nth(1).unwrap();
    assert!(link.contains(&day("不平")), "{page}");
    let url = link.split('"').next().unwrap().to_owned();

    let file = admin.get(&format!("{url}/lines.csv")).await;
    assert_eq!(file.status, 200);
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"bill-wechat-2026-11-20.csv\"");
    assert!(file.body.trim_start_matches('\u{feff}').starts_with("账单行,种类,"), "{}", file.body);
    // The head, and the bill's three lines: what it lacks is not there, and amounts are as it has them.
    let lines: Vec<&str> = file.body.trim_end().lines().collect();
    assert_eq!(lines.len(), 4, "{}", file.body);
    let [extra, missing, amount] = &numbers;
    assert!(file.body.contains(&**extra) && !file.body.contains(&**missing), "{}", file.body);
    assert!(lines.iter().any(|line| line.contains(&**amount) && line.contains(",29.99,")), "{}", file.body);
    let acts = admin.get_json("/admin/audit-log?action=bill_exported").await.json();
    assert_eq!((&acts["acts"][0]["actor"], &acts["acts"][0]["became"]), (&"boss".into(), &"3 rows".into()));
    let support = shop.admin_as(Role::Support).await;
    assert_eq!(support.get(&format!("{url}/lines.csv")).await.status, 403);
    assert!(!support.get(&url).await.body.contains("lines.csv"));
    assert_eq!(admin.get("/admin/bills/999/lines.csv").await.status, 404);
}
