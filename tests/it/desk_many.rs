//! The desk of a shop with more orders than a page looks through or sums unasked: what is shown is exact, and what is
//! not shown is said.

use crate::harness::{Browser, Shop};
use diesel::{RunQueryDsl, sql_query};
use serde_json::Value;

const ORDERS: i64 = 21_000;

/// One order every 400 seconds over three months, the oldest the only dear one.
async fn shop_of_many() -> (Shop, Browser) {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    shop.user("ann").await;
    for first in (1..=ORDERS).step_by(3_000) {
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {first} + 2999)
             INSERT INTO orders (out_trade_no, user_id, intent, goods_name, amount_fen, environment, created_at, expires_at, close_after)
             SELECT 'o' || i, 2, 'i' || i, 'g', CASE WHEN i = 1 THEN 123456 ELSE 100 END, 'simulator', 400000 * CAST(i AS BIGINT),
                 9000000000000, 9000000000000 FROM n"
        );
        shop.app.store.write(move |db| Ok(sql_query(fill.as_str()).execute(db)?)).await.unwrap();
    }
    (shop, admin)
}

async fn list(admin: &Browser, query: &str) -> Value {
    admin.get_json(&format!("/admin/orders?{query}")).await.json()
}

#[actix_web::test]
async fn sums_of_very_many_orders_are_made_when_asked_for_and_exact_then() {
    let (shop, admin) = shop_of_many().await;
    assert!(list(&admin, "").await["totals"].is_null());
    let page = admin.get("/admin/orders").await.body;
    assert!(page.contains("现在合计") && page.contains("href=\"/admin/orders?totals=1\""), "{page}");
    let asked = list(&admin, "totals=1").await;
    assert_eq!(asked["totals"]["orders"], ORDERS);
    assert_eq!(list(&admin, "min=1000&totals=1").await["totals"]["orders"], 1);
    // The page that follows is not summed again.
    let page = admin.get("/admin/orders?totals=1").await.body;
    assert!(page.contains("共 <strong>21,000</strong> 笔"), "{page}");
    assert!(page.contains("href=\"/admin/orders?before=20951\""), "{page}");
    // What is found by an index or lies in a few days is summed at once.
    assert_eq!(list(&admin, "user=2").await["totals"]["orders"], ORDERS);
    assert_eq!(list(&admin, "state=late").await["totals"]["orders"], 0);
    assert_eq!(list(&admin, "by=paid").await["totals"]["orders"], 0);
    assert_eq!(list(&admin, "to=1970-01-02").await["totals"]["orders"], 359);
    drop(shop);
}

#[actix_web::test]
async fn a_rare_order_is_found_some_pages_back_and_no_page_says_that_there_is_none_before() {
    let (shop, admin) = shop_of_many().await;
    let page = admin.get("/admin/orders?min=1000").await.body;
    assert!(page.contains("继续往前找") && !page.contains("没有符合条件的充值记录"), "{page}");
    let (mut found, mut pages, mut query) = (Vec::new(), 0, "min=1000".to_owned());
    loop {
        let shown = list(&admin, &query).await;
        found.extend(shown["orders"].as_array().unwrap().clone());
        pages += 1;
        let Some(before) = shown["before"].as_i64() else { break };
        query = format!("min=1000&before={before}");
    }
    assert_eq!((found.len(), pages, &found[0]["out_trade_no"]), (1, 3, &"o1".into()));
    assert!(admin.get("/admin/orders?min=2000&to=1970-01-02").await.body.contains("没有符合条件的充值记录"));
    // An export looks through all of them.
    let rows = admin.get("/admin/orders.csv?min=1000").await.body;
    assert_eq!(rows.lines().count(), 2, "{rows}");
    let acts = admin.get_json("/admin/audit-log?action=orders_exported").await.json();
    assert_eq!(acts["acts"][0]["became"], "more than 20000 orders to look through");
    let paid = list(&admin, "by=paid&state=unpaid").await;
    assert_eq!((paid["orders"].as_array().unwrap().len(), &paid["totals"]["orders"]), (0, &0.into()));
    drop(shop);
}
