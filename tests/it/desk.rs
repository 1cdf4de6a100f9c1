//! The operator's desk: every figure of the dashboard from known orders, filters and their totals, one box for every
//! kind of number, and the pages that only tell.

use crate::{
    channels::COMPUTER,
    harness::{Answer, Browser, PASSWORD, START, Shop},
    refund_pages::refund,
};
use serde_json::Value;
use shouyin::{app::Round, gateway::alipay::Certificates, simulator::faults::Scenario};

const DAY_MS: i64 = 24 * 3_600_000;

/// Pays an order and brings its callback so many ms later.
async fn paid_after(shop: &Shop, browser: &Browser, yuan: &str, ms: i64) -> String {
    let number = browser.top_up(yuan).await;
    shop.simulator.pay(&number).unwrap();
    shop.clock.advance_ms(ms);
    shop.deliver().await;
    assert!(shop.order(&number).await.is_paid());
    number
}

/// Two days of a small shop, ending at 20:01 of the second: of yesterday one order before this time and one after it;
/// of today one paid by callback, one found by the sweep, one open for ten minutes, one just made.
struct TwoDays {
    yesterday: String,
    today: String,
    swept: String,
    open: String,
}

async fn two_days(shop: &Shop) -> TwoDays {
    let ann = shop.user("ann").await;
    let yesterday = paid_after(shop, &ann, "30", 1_000).await;
    shop.clock.advance_ms(2 * 3_600_000);
    paid_after(shop, &ann, "40", 3_000).await;
    shop.clock.advance_ms(DAY_MS - 2 * 3_600_000 - 10 * 60_000 - 4_000);
    let open = ann.top_up("10").await;
    let swept = ann.top_up("20").await;
    shop.simulator.set_scenario(&swept, Scenario::NotifyLost);
    shop.simulator.pay(&swept).unwrap();
    shop.clock.advance_ms(10 * 60_000);
    while shop.sweep().await > 0 {}
    assert!(shop.order(&swept).await.is_paid());
    let today = paid_after(shop, &ann, "50", 2_000).await;
    ann.top_up("5").await;
    shop.clock.advance_ms(58_000);
    TwoDays { yesterday, today, swept, open }
}

#[actix_web::test]
async fn every_figure_of_the_dashboard_comes_from_the_orders_behind_it() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let shown = two_days(&shop).await;
    // Nobody stays signed in over a day of doing nothing.
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let asked = refund(&admin, &format!("/admin/orders/{}", shown.today), "desk-refund", "5").await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    shop.notify(shop.simulator.signed_notify(&shown.open, &[("total_fee", "1")])).await;
    let told = admin.get_json("/admin").await.json();
    assert_eq!(told["today"], serde_json::json!({ "orders": 2, "fen": 7_000 }));
    assert_eq!(told["yesterday_until_now"], serde_json::json!({ "orders": 1, "fen": 3_000 }));
    let days = told["days"].as_array().unwrap();
    assert_eq!(days.len(), 30);
    assert_eq!(
        (&days[29]["fen"], &days[28]["fen"], &days[27]["fen"]),
        (&7_000.into(), &7_000.into(), &0.into())
    );
    let lately = &told["last_24h"];
    assert_eq!((&lately["made"], &lately["paid"]), (&5.into(), &3.into()), "{told}");
    let by_source = &lately["by_source"];
    assert_eq!(
        (&by_source["notify"], &by_source["sweep"], &by_source["query"]),
        (&2.into(), &1.into(), &0.into())
    );
    // Of two callbacks, 3 s and 2 s after the payment: the middle is the first of them.
    assert_eq!((&lately["notify_p50_ms"], &lately["notify_p95_ms"]), (&2_000.into(), &3_000.into()));
    assert_eq!(told["pending_over_5_minutes"], 1);
    assert_eq!(told["open_refunds"], 1);
    assert_eq!(told["open_work_items"], serde_json::json!([{ "kind": "amount_mismatch", "open": 1 }]));
    assert_eq!(told["last_notices"][0]["at_ms"], shop.clock.now().0);
    let page = admin.get("/admin").await;
    assert_eq!(page.status, 200, "{}", page.body);
    for text in ["70.00", "比昨天此时多 133 %", "60.0 %", "2.0 秒", "3.0 秒", "金额不符 1"] {
        assert!(page.body.contains(text), "no {text} in {}", page.body);
    }
}

#[actix_web::test]
async fn every_number_of_the_dashboard_links_to_a_list_that_says_the_same() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let shown = two_days(&shop).await;
    // Nobody stays signed in over a day of doing nothing.
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let page = admin.get("/admin").await.body;
    let links: Vec<String> = page
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
        .filter(|link| link.starts_with("/admin/orders?"))
        .collect();
    let mut totals = Vec::new();
    for link in &links {
        let list = admin.get_json(link).await;
        assert_eq!(list.status, 200, "{link}: {}", list.body);
        let list = list.json();
        totals
            .push((list["totals"]["orders"].as_i64().unwrap(), list["totals"]["paid_fen"].as_i64().unwrap()));
    }
    // Today twice, yesterday until now, the day's orders, its callbacks twice, the open one, the month.
    let first =
        [(2, 7_000), (2, 7_000), (1, 3_000), (5, 11_000), (2, 9_000), (2, 9_000), (1, 0), (4, 14_000)];
    assert_eq!(totals[..8], first, "{links:?}");
    // Thirty days, then the ways the news came: by callback, page, sweep, administrator, bill.
    let ways = [(2, 7_000), (2, 7_000), (2, 9_000), (0, 0), (1, 2_000), (0, 0), (0, 0)];
    assert_eq!(totals[36..], ways, "{links:?}");
    assert!(page.contains(&shown.swept) && page.contains(&shown.yesterday));
}

fn sums(list: &Value) -> (i64, i64, i64) {
    let orders = list["orders"].as_array().unwrap();
    let paid = orders.iter().filter(|order| order["status"] == 1);
    let fen = paid.clone().map(|order| order["amount_fen"].as_i64().unwrap()).sum();
    (orders.len().try_into().unwrap(), paid.count().try_into().unwrap(), fen)
}

async fn list(admin: &Browser, query: &str) -> Value {
    let answer = admin.get_json(&format!("/admin/orders?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.json()
}

#[actix_web::test]
async fn each_filter_finds_its_orders_and_its_totals_are_the_sums_of_its_list() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let shown = two_days(&shop).await;
    // Nobody stays signed in over a day of doing nothing.
    assert_eq!(admin.log_in("boss", PASSWORD).await.status, 303);
    let bob = Browser::new(shop.url.clone(), COMPUTER);
    bob.register("bob").await;
    let form = bob.get("/top-up").await;
    let fields = [
        ("token", form.hidden("token")),
        ("intent", form.hidden("intent")),
        ("amount", "88".into()),
        ("channel", "alipay_qr".into()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let by_alipay =
        bob.post_json("/top-up", &fields).await.json()["out_trade_no"].as_str().unwrap().to_owned();
    shop.simulator.pay(&by_alipay).unwrap();
    shop.deliver().await;
    let asked = refund(&admin, &format!("/admin/orders/{}", shown.today), "desk-filter", "20").await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    let account = shop.attempts(&shown.today).await[0].account.clone();
    let account = url::form_urlencoded::byte_serialize(account.as_bytes()).collect::<String>();
    let all = list(&admin, "").await;
    assert_eq!((sums(&all), &all["totals"]["refund_fen"]), ((7, 5, 22_800), &2_000.into()));
    for (query, right) in [
        ("state=paid", (5, 5, 22_800)),
        ("state=unpaid", (2, 0, 0)),
        ("state=pending", (1, 0, 0)),
        ("state=closed", (0, 0, 0)),
        ("state=late", (0, 0, 0)),
        ("state=refunded", (1, 1, 5_000)),
        ("from=2026-11-20&to=2026-11-20", (2, 2, 7_000)),
        ("from=2026-11-21", (5, 3, 15_800)),
        ("to=2026-11-20T21:00", (1, 1, 3_000)),
        ("by=paid&from=2026-11-21&to=2026-11-21", (3, 3, 15_800)),
        ("by=paid", (5, 5, 22_800)),
        ("channel=alipay", (1, 1, 8_800)),
        ("channel=alipay_qr", (1, 1, 8_800)),
        ("channel=alipay_wap", (0, 0, 0)),
        ("channel=wechat_jsapi", (6, 4, 14_000)),
        ("channel=wechat&state=paid", (4, 4, 14_000)),
        (&format!("account={account}"), (6, 4, 14_000)),
        ("account=nobody", (0, 0, 0)),
        ("min=40&max=50", (2, 2, 9_000)),
        ("max=9.99", (1, 0, 0)),
        ("via=sweep", (1, 1, 2_000)),
        ("via=notify", (4, 4, 20_800)),
        ("q=ann", (6, 4, 14_000)),
        ("q=nothing", (0, 0, 0)),
        ("user=2&state=paid", (4, 4, 14_000)),
    ] {
        let found = list(&admin, query).await;
        let totals = &found["totals"];
        let said = (&totals["orders"], &totals["paid"], &totals["paid_fen"]);
        assert_eq!(sums(&found), right, "{query}");
        assert_eq!(said, (&right.0.into(), &right.1.into(), &right.2.into()), "{query}");
    }
    for wrong in ["state=x", "from=2026-13-01", "to=x", "channel=x", "min=x", "max=-1", "via=x", "by=x"] {
        assert_eq!(admin.get_json(&format!("/admin/orders?{wrong}")).await.status, 422, "{wrong}");
    }
    let page = admin.get("/admin/orders?channel=alipay").await;
    assert!(page.body.contains("支付宝") && page.body.contains(&by_alipay) && page.body.contains("88.00"));
}

async fn leads_to(admin: &Browser, what: &str) -> String {
    let text = url::form_urlencoded::byte_serialize(what.as_bytes()).collect::<String>();
    let answer: Answer = admin.get(&format!("/admin/orders?q={text}")).await;
    assert_eq!(answer.status, 303, "{what}: {}", answer.body);
    answer.header("location").to_owned()
}

#[actix_web::test]
async fn any_number_a_person_can_read_leads_straight_to_its_page() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let ann = shop.user("ann").await;
    // Tried on another phone, so that the order has a number of its own and one of its second attempt.
    let number = ann.top_up("50").await;
    let other = shop.browser();
    other.log_in("ann", PASSWORD).await;
    other.get(&format!("/orders/{number}/pay?channel=wechat_native")).await;
    let attempts = shop.attempts(&number).await;
    assert_eq!(attempts.len(), 2);
    let second = attempts[1].out_trade_no.as_str().to_owned();
    shop.simulator.pay(&second).unwrap();
    shop.deliver().await;
    let order = shop.order(&number).await;
    let home = format!("/admin/orders/{number}");
    let refunded = refund(&admin, &home, "desk-search", "5").await.json();
    let out_refund_no = refunded["out_refund_no"].as_str().unwrap().to_owned();
    let mut known =
        vec![number.clone(), second, out_refund_no, order.transaction_id.unwrap().as_str().to_owned()];
    let refund_id = admin.get_json(&home).await.json()["refunds"][0]["refund_id"].as_str().map(str::to_owned);
    known.extend(refund_id);
    assert_eq!(known.len(), 5, "the gateway's own number of the refund is known");
    for text in &known {
        assert_eq!(leads_to(&admin, text).await, home, "{text}");
        assert_eq!(leads_to(&admin, &format!("  {text}\t")).await, home, "{text} with blanks around it");
    }
    assert_eq!(leads_to(&admin, "ANN").await, format!("/admin/users/{}", order.user_id));
    // A payment of no order of ours is known by its work item.
    shop.notify(
        shop.simulator.signed_notify(&number, &[("out_trade_no", "ours0not"), ("transaction_id", "4200009")]),
    )
    .await;
    let item = shop.work_items().await.remove(0).id;
    assert_eq!(leads_to(&admin, "4200009").await, format!("/admin/work-items/{item}"));
    assert_eq!(leads_to(&admin, "ours0not").await, format!("/admin/work-items/{item}"));
    let nothing = admin.get("/admin/orders?q=' OR 1=1 --").await;
    assert_eq!(nothing.status, 200);
    assert!(nothing.body.contains("没有符合条件的充值记录"));
}

#[actix_web::test]
async fn pages_of_the_list_meet_and_the_way_back_is_offered() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let ann = shop.user("ann").await;
    for _ in 0..53 {
        ann.try_top_up("1").await;
        shop.clock.advance_ms(2_000);
    }
    let first = list(&admin, "").await;
    let before = first["before"].as_i64().unwrap();
    let second = list(&admin, &format!("before={before}")).await;
    let numbers = |list: &Value| -> Vec<String> {
        list["orders"].as_array().unwrap().iter().map(|order| order["out_trade_no"].to_string()).collect()
    };
    let mut all = numbers(&first);
    all.extend(numbers(&second));
    all.sort_unstable();
    all.dedup();
    let made = first["totals"]["orders"].as_u64().unwrap();
    assert_eq!((u64::try_from(all.len()).unwrap(), second["before"].is_null()), (made, true));
    assert!(made > 50, "{made}");
    let page = admin.get(&format!("/admin/orders?before={before}")).await.body;
    assert!(page.contains("回到最新"));
}

#[actix_web::test]
async fn the_pages_that_only_tell_say_what_happened_and_no_secret() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let number = shop.paid("zhangsan", "50").await;
    let order = shop.order(&number).await;
    let asked = refund(&admin, &format!("/admin/orders/{number}"), "desk-telling", "20").await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    let legs = admin.get_json("/admin/ledger").await.json();
    let legs: Vec<(&str, &str, i64)> = legs["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| {
            (
                leg["kind"].as_str().unwrap(),
                leg["account"].as_str().unwrap(),
                leg["amount_fen"].as_i64().unwrap(),
            )
        })
        .collect();
    let user = format!("user:{}", order.user_id);
    assert_eq!(
        legs,
        [
            ("refund_hold", "refunds", 2_000),
            ("refund_hold", &*user, -2_000),
            ("top_up", &*user, 5_000),
            ("top_up", "gateway:wechat", -5_000),
        ]
    );
    let own = admin.get_json(&format!("/admin/ledger?account={user}&kind=top_up")).await.json();
    assert_eq!(own["entries"].as_array().unwrap().len(), 1);
    assert_eq!(admin.get_json("/admin/ledger?kind=gift").await.status, 422);
    let page = admin.get(&format!("/admin/ledger?account={user}")).await.body;
    assert!(page.contains("30.00") && page.contains(&number), "{page}");

    let acts = admin.get_json("/admin/audit-log?action=refund_requested").await.json();
    assert_eq!(acts["acts"].as_array().unwrap().len(), 1);
    assert_eq!(acts["acts"][0]["actor"], "boss");
    assert!(admin.get("/admin/audit-log").await.body.contains("申请退款"));
    assert!(
        admin.get_json("/admin/audit-log?actor=nobody").await.json()["acts"].as_array().unwrap().is_empty()
    );

    let at = shop.clock.now();
    shop.app.rounds.note("query_pending", Round { at, fault: None });
    shop.app.rounds.note("refunds", Round { at, fault: Some("failed: no reader".to_owned()) });
    let told = admin.get("/admin/diagnostics").await;
    assert_eq!(told.status, 200, "{}", told.body);
    let engine = if shop.app.config.database.file().is_some() { "SQLite 3." } else { "PostgreSQL 1" };
    for text in [
        env!("CARGO_PKG_VERSION"),
        engine,
        "微信 V2 付款",
        "unifiedorder",
        "写队列",
        "query_pending",
        "出错：failed: no reader",
    ] {
        assert!(told.body.contains(text), "no {text} in {}", told.body);
    }
    use secrecy::ExposeSecret;
    let key = shop.app.config.secret_key.expose_secret();
    for secret in [key, &number, "zhangsan", order.transaction_id.as_ref().unwrap().as_str()] {
        assert!(!told.body.contains(secret), "the diagnostics show {secret}");
    }
}

#[actix_web::test]
async fn a_certificate_that_ends_soon_is_named_on_the_first_page() {
    for (days, said) in [(40, None), (12, Some("还有 12 天到期")), (-1, Some("已经过期"))] {
        let shop = Shop::open_with(|config| {
            let ends = START.plus_ms(days * DAY_MS);
            config.alipay.as_mut().unwrap().certificates = Some(Certificates {
                app_cert_sn: "a".to_owned(),
                alipay_root_cert_sn: "b".to_owned(),
                alipay_cert_sn: "c".to_owned(),
                app_ends: START.plus_ms(400 * DAY_MS),
                alipay_ends: ends,
            });
        })
        .await;
        let admin = shop.admin().await;
        let page = admin.get("/admin").await.body;
        assert_eq!(page.contains("ALIPAY_CERT_PEM"), said.is_some(), "{days}: {page}");
        assert!(said.is_none_or(|said| page.contains(said)), "{days}: {page}");
        let told = admin.get("/admin/diagnostics").await.body;
        assert!(told.contains("ALIPAY_CERT_PEM") && told.contains("ALIPAY_APP_CERT_PEM"), "{told}");
    }
}

#[actix_web::test]
async fn nobody_but_an_administrator_sees_any_of_it() {
    let shop = Shop::open().await;
    shop.admin().await;
    let ann = shop.user("ann").await;
    for path in [
        "/admin",
        "/admin/orders.csv",
        "/admin/orders.xlsx",
        "/admin/users",
        "/admin/users/1",
        "/admin/ledger",
        "/admin/audit-log",
        "/admin/diagnostics",
    ] {
        assert_eq!(ann.get(path).await.status, 404, "{path}");
        assert_eq!(shop.browser().get(path).await.status, 303, "{path}");
    }
}
