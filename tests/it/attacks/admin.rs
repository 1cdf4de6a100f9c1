//! The administrator's pages: who may see them and what they show of strangers' words.

use super::{Outcome, Table, table, world::World, world::rows};
use crate::{
    books::sql,
    desk_export::rows_of_csv,
    harness::{Browser, PASSWORD, Shop},
};
use reqwest::Method;
use shouyin::{
    domain::{ids::OutTradeNo, money::Fen, order::Environment},
    store::{
        orders::{self, NewOrder},
        users,
    },
};

pub const CASES: Table = table! {
    "ADMIN-01" => plain_user,
    "ADMIN-02" => stored_scripts,
    "ADMIN-05" => formulas,
    "ADMIN-07" => odd_filters,
    "ADMIN-09" => framing,
    "ADMIN-10" => refund_by_another_site,
    "ADMIN-14" => default_account,
};

/// Every admin address of the routing table, with this order's number and the newest message for its parameters.
async fn admin_paths(shop: &Shop, number: &str) -> Vec<String> {
    let notice = shop.all_notices().await.remove(0).id;
    let table = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/routes.rs"));
    // The links that make an administrator are for whoever holds them.
    let is_link = |text: &str| text.contains("setup") || text.contains("invite/");
    let found = table.split('"').filter(|text| text.starts_with("/admin") && !is_link(text));
    let admin = shop.app.store.read(users::admins).await.unwrap().remove(0).user.id;
    let account = format!("/admin/accounts/{admin}");
    let bill = format!("/admin/bills/{}", crate::matrix::todays_bill(shop).await);
    let filled = |path: &str| {
        let path = path.replace("/admin/accounts/{id}", &account).replace("/admin/bills/{id}", &bill);
        let path = path.replace("{out_trade_no}", number).replace("{id}", "1").replace("{notice}", &notice);
        path.replace("{out_refund_no}", "r1")
    };
    let paths: Vec<String> = found.map(filled).collect();
    assert!(paths.len() >= 18, "{paths:?}");
    paths
}

async fn plain_user(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    world.notify(world.changed(&[("total_fee", "1")])).await;
    let admin = shop.admin().await;
    let stranger = shop.browser();
    stranger.get("/login").await;
    let token = user.form_token("/top-up").await;
    let mut data = Vec::new();
    for path in admin_paths(&shop, &world.subject).await {
        let own = admin.get(&path).await;
        world.expect(
            // 409: a day without a bill has no lines to take away.
            matches!(own.status, 200 | 303 | 405 | 409),
            format!("the administrator at {path}: {}", own.status),
        );
        for (method, form) in
            [(Method::GET, None), (Method::POST, Some([("token", token.as_str()), ("note", "x")]))]
        {
            for accept in ["text/html", "application/json"] {
                let form = form.as_ref().map(<[_; 2]>::as_slice);
                let his = user.send(method.clone(), &path, &[("accept", accept)], form).await;
                let none = stranger.send(method.clone(), &path, &[("accept", accept)], form).await;
                world.expect(matches!(his.status, 403..=405), format!("{method} {path}: {}", his.status));
                let away = matches!(none.status, 303 | 401 | 404 | 405);
                world.expect(away, format!("a stranger's {method} {path}: {}", none.status));
                if [&his, &none].iter().any(|answer| answer.body.contains(&world.subject)) {
                    data.push(path.clone());
                }
            }
        }
    }
    let open = shop.work_items().await.iter().all(|item| item.closed_at.is_none());
    world.holds("no data", data.is_empty() && open, format!("{data:?}"));
    Ok(())
}

const SCRIPTS: [&str; 4] =
    ["<script>alert(1)</script>", "\"><img src=x onerror=1>", "{{7*7}}", "javascript:alert(1)"];

/// Strangers choose: names, raw callbacks, filters, request ids. Goods names are fixed in this version
/// and put into the books directly.
async fn stored_scripts(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let mut numbers = Vec::new();
    for script in SCRIPTS {
        numbers.push(named(&shop, script).await);
        let mut fields = world.genuine();
        for name in ["attach", "openid", "trade_type", "transaction_id"] {
            fields.set(name, script);
        }
        shop.notify(fields.to_xml()).await;
        shop.notify(format!("<xml><a>{script}</a></xml>")).await;
        let browser = shop.browser();
        let token = browser.form_token("/register").await;
        let fields = [("token", token.as_str()), ("username", script), ("password", PASSWORD)];
        let shown = browser.post("/register", &fields).await;
        world.expect(shown.status == 422 && !live(&shown.body), &shown.body);
        let shown = browser.log_in(script, PASSWORD).await;
        world.expect(shown.status == 422 && !live(&shown.body), &shown.body);
    }
    let admin = shop.admin().await;
    let filters = SCRIPTS.map(|script| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", script).finish();
        format!("/admin/orders?{query}")
    });
    let ids = numbers.iter().chain([&world.subject]);
    let details = ids.clone().map(|number| format!("/admin/orders/{number}"));
    let own = ids.map(|number| format!("/orders/{number}"));
    let lists = [
        "/admin/orders",
        "/admin/notices",
        "/admin/notices?rejected=1",
        "/admin/work-items",
        "/admin/refunds",
        "/orders",
    ];
    let (mut alive, mut loose, mut escaped) = (Vec::new(), Vec::new(), 0);
    let paths: Vec<String> =
        lists.map(str::to_owned).into_iter().chain(details).chain(own).chain(filters).collect();
    for path in &paths {
        for browser in [&admin, &user] {
            let page = browser.send(Method::GET, path, &[("x-request-id", SCRIPTS[0])], None).await;
            if live(&page.body) || page.body.contains(">49<") {
                alive.push(path.clone());
            }
            escaped += page.body.matches("&#60;script&#62;alert(1)").count();
            escaped += page.body.matches("&lt;script&gt;alert(1)").count();
            let policy = page.header("content-security-policy");
            if !policy.contains("script-src 'self'") || policy.contains("unsafe-inline") {
                loose.push(path.clone());
            }
        }
    }
    world.expect(escaped >= 4, format!("shown as text {escaped} times"));
    world.holds("no script runs", alive.is_empty(), format!("{alive:?}"));
    world.holds("CSP without unsafe-inline", loose.is_empty(), format!("{loose:?}"));
    world.notes.push("markup is searched; a browser's DOM is not asked");
    Ok(())
}

/// Whether one of the texts came through as markup or as the target of a link.
fn live(body: &str) -> bool {
    let marks =
        ["<script>alert", "<img src=x", "href=\"javascript:", "src=\"javascript:", "action=\"javascript:"];
    marks.iter().any(|mark| body.contains(mark))
}

async fn named(shop: &Shop, goods_name: &str) -> String {
    ordered_by(shop, 1, goods_name).await
}

async fn ordered_by(shop: &Shop, user_id: i64, goods_name: &str) -> String {
    let new = NewOrder {
        out_trade_no: shop.clock.out_trade_no().unwrap(),
        user_id,
        intent: shop.clock.nonce().unwrap(),
        goods_name: goods_name.to_owned(),
        amount: Fen::new(100).unwrap(),
        environment: Environment::Simulator,
        created_at: shop.clock.now(),
        expires_at: shop.clock.now().plus_secs(7200),
    };
    let number: OutTradeNo = new.out_trade_no.clone();
    shop.app.store.write(move |db| orders::insert(db, &new)).await.unwrap();
    number.as_str().to_owned()
}

async fn formulas(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let admin = shop.admin().await;
    let hostile = ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"];
    for (id, name) in (100..).zip(hostile) {
        let quoted = name.replace('\'', "''");
        let user = format!(
            "INSERT INTO users (id, username, password_hash, role, created_at) VALUES ({id}, '{quoted}', 'x', 'user', 1)"
        );
        shop.app.store.write(sql(&user)).await.unwrap();
        ordered_by(&shop, id, name).await;
    }
    world.mark().await;
    let answer = admin.get("/admin/orders.csv").await;
    world
        .expect(answer.status == 200 && answer.header("content-type").starts_with("text/csv"), answer.status);
    let cells: Vec<String> = rows_of_csv(&answer.body).into_iter().flatten().collect();
    let live: Vec<&String> =
        cells.iter().filter(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r'])).collect();
    let told = hostile.iter().all(|name| cells.iter().any(|cell| cell.contains(name)));
    world.holds(
        "no cell starts with = + - @ TAB CR",
        live.is_empty() && told,
        format!("{live:?} of {cells:?}"),
    );
    Ok(())
}

async fn odd_filters(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    for _ in 0..60 {
        named(&shop, "x").await;
    }
    let admin = shop.admin().await;
    world.mark().await;
    let mut wrong = Vec::new();
    for query in [
        "sort=id;DROP%20TABLE%20orders",
        "order=1%20desc",
        "filter=%25%27%20OR%201=1",
        "q=%25%27%20OR%201=1",
        "q=%27;DROP%20TABLE%20orders--",
        "q=%00",
        "account=%00",
        "kind=%00",
        "before=%00",
        "user=%00",
        "page=-1",
        "page=99999999999",
        "size=1000000",
        "limit=1000000",
        "before=-1",
        "before=99999999999999999999999",
        "before=1%20OR%201=1",
        "state=paid%27--",
        "from=2026-13-99",
        "from=%27&to=%27",
        "q=a&q=b",
    ] {
        for path in ["/admin/orders", "/admin/refunds", "/admin/notices", "/admin/work-items", "/orders"] {
            let answer = admin.get_json(&format!("{path}?{query}")).await;
            let listed = answer.json()["orders"].as_array().map_or(0, Vec::len);
            let unreadable = if path.starts_with("/admin") { 422 } else { 400 };
            if !matches!(answer.status, 200 | 422) && answer.status != unreadable || listed > 50 {
                wrong.push(format!("{path}?{query}: {} with {listed}", answer.status));
            }
            if query.starts_with("q=%25") && path == "/admin/orders" && listed > 0 {
                wrong.push(format!("{query} found {listed}"));
            }
        }
    }
    let nul = admin.get("/admin/notices/%00").await.status;
    world.expect(nul == 404, nul);
    let kept = rows(&shop, "orders").await.len() == 61;
    world.holds("allow-listed columns", wrong.is_empty() && kept, format!("{wrong:?}"));
    Ok(())
}

async fn framing(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    world.notify(world.changed(&[("total_fee", "1")])).await;
    let admin: Browser = shop.admin().await;
    let mut open = Vec::new();
    for path in admin_paths(&shop, &world.subject).await.into_iter().chain(["/admin/nothing".to_owned()]) {
        let page = admin.get(&path).await;
        if !page.header("content-security-policy").contains("frame-ancestors 'none'") {
            open.push(path);
        }
    }
    world.holds("CSP frame-ancestors", open.is_empty(), format!("{open:?}"));
    Ok(())
}

async fn refund_by_another_site(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    shop.simulator.pay(&world.subject).unwrap();
    shop.deliver().await;
    let admin = shop.admin().await;
    let form = admin.get(&format!("/admin/orders/{}/refund", world.subject)).await;
    let step = format!(
        "/admin/orders/{}/refund?intent={}&amount=1&why=%E5%85%B6%E4%BB%96&note=x",
        world.subject,
        form.hidden("intent")
    );
    let last = admin.get(&step).await;
    let (token, intent) = (last.hidden("token"), last.hidden("intent"));
    world.mark().await;
    let evil = [("origin", "https://evil.example")];
    let tries: [(&str, &[(&str, &str)]); 6] = [
        ("", &evil),
        ("", &[]),
        (&token, &evil),
        (&token, &[("origin", "null")]),
        (&token, &[("sec-fetch-site", "cross-site")]),
        (&"0".repeat(64), &[]),
    ];
    let path = format!("/admin/orders/{}/refund", world.subject);
    for (token, headers) in tries {
        let fields = [
            ("token", token),
            ("intent", intent.as_str()),
            ("amount", "1.00"),
            ("typed", "1.00"),
            ("reason", "x"),
        ];
        let answer = admin.send(Method::POST, &path, headers, Some(&fields)).await;
        world.expect(answer.status == 403, format!("{headers:?}: {}", answer.status));
    }
    let made = rows(&shop, "refunds").await.len();
    world.holds("no refund", made == 0, format!("{made} refunds"));
    Ok(())
}

async fn default_account(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let browser = shop.browser();
    for (name, password) in
        [("admin", "admin"), ("admin", "123456"), ("root", "root"), ("owner", "owner"), ("admin", "")]
    {
        let answer = browser.log_in(name, password).await;
        world.expect(answer.status == 422, format!("{name}/{password}: {}", answer.status));
    }
    let users = rows(&shop, "users").await.len();
    world.holds("no default admin exists", users == 0, format!("{users} accounts"));
    Ok(())
}
