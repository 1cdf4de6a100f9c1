//! Every address, and who gets in: one row each. A route without a row, or a row without a route, fails.

use crate::{
    exceptions::{like_the_order, pay_at_wechat},
    harness::{Browser, Shop},
};
use reqwest::Method;
use shouyin::{
    domain::{
        bill::BillDay,
        order::Attempt,
        user::{Right, Role},
    },
    flow::{
        accounts,
        adjust::{self, Wish},
        reconcile, set_up,
    },
    store::bills::{self, Turn},
};
use std::{collections::BTreeSet, fs};

/// Who gets in. Whoever does not is sent to sign in, told which right is missing, or told that there is no such page.
#[derive(Clone, Copy, Debug)]
enum Open {
    All,
    SignedIn,
    /// Whoever the order belongs to.
    Owner,
    OwnerOrAdmin,
    /// Administrators whose role has this right.
    May(Right),
}

use Open::{All, May, Owner, OwnerOrAdmin, SignedIn};
use Right::{Accounts, Ask, AuditLog, Diagnostics, Export, Money, See, Work};

/// A row for each route of `src/web/routes.rs`. What is in braces is put there by `Things`.
const MATRIX: &[(&str, &str, Open)] = &[
    ("GET", "/", All),
    ("GET", "/register", All),
    ("POST", "/register", All),
    ("GET", "/login", All),
    ("POST", "/login", All),
    ("GET", "/login/code", All),
    ("POST", "/login/code", All),
    ("GET", "/wechat/login", All),
    ("GET", "/wechat/callback", All),
    ("POST", "/wechat/mini/login", SignedIn),
    ("GET", "/top-up", SignedIn),
    ("POST", "/top-up", SignedIn),
    ("GET", "/orders", SignedIn),
    ("GET", "/orders/{out_trade_no}", OwnerOrAdmin),
    ("GET", "/orders/{out_trade_no}/pay", Owner),
    ("GET", "/orders/{out_trade_no}/status", Owner),
    ("POST", "/orders/{out_trade_no}/returned", Owner),
    ("GET", "/return/{out_trade_no}", Owner),
    ("POST", "/notify/wechat", All),
    ("POST", "/notify/wechat/refund", All),
    ("POST", "/notify/wechat/v3", All),
    ("POST", "/notify/wechat/v3/refund", All),
    ("POST", "/notify/alipay", All),
    ("GET", "/admin/setup/{setup}", All),
    ("POST", "/admin/setup/{setup}", All),
    ("GET", "/admin/invite/{invite}", All),
    ("POST", "/admin/invite/{invite}", All),
    ("GET", "/admin", May(See)),
    ("GET", "/admin/orders", May(See)),
    ("GET", "/admin/orders.csv", May(Export)),
    ("GET", "/admin/orders.xlsx", May(Export)),
    ("GET", "/admin/users", May(See)),
    ("GET", "/admin/users/{user}", May(See)),
    ("POST", "/admin/users/{user}/freeze", May(Work)),
    ("POST", "/admin/users/{user}/unfreeze", May(Work)),
    ("POST", "/admin/users/{user}/adjust", May(Money)),
    ("POST", "/admin/adjustments/{adjustment}/approve", May(Money)),
    ("POST", "/admin/adjustments/{adjustment}/reject", May(Money)),
    ("GET", "/admin/bills", May(See)),
    ("GET", "/admin/bills/{bill}", May(See)),
    ("GET", "/admin/bills/{bill}/lines.csv", May(Export)),
    ("POST", "/admin/bills/{bill}/reconcile", May(Money)),
    ("GET", "/admin/ledger", May(See)),
    ("GET", "/admin/audit-log", May(AuditLog)),
    ("GET", "/admin/diagnostics", May(Diagnostics)),
    ("POST", "/admin/diagnostics/gateways", May(Diagnostics)),
    ("GET", "/admin/first-run", May(See)),
    ("GET", "/admin/orders/{out_trade_no}", May(See)),
    ("POST", "/admin/orders/{out_trade_no}/query", May(Ask)),
    ("GET", "/admin/orders/{out_trade_no}/refund", May(Money)),
    ("POST", "/admin/orders/{out_trade_no}/refund", May(Money)),
    ("GET", "/admin/refunds", May(See)),
    ("POST", "/admin/refunds/{out_refund_no}/approve", May(Money)),
    ("POST", "/admin/refunds/{out_refund_no}/reject", May(Money)),
    ("POST", "/admin/refunds/{out_refund_no}/give-up", May(Money)),
    ("POST", "/admin/refunds/{out_refund_no}/query", May(Money)),
    ("GET", "/admin/notices", May(See)),
    ("GET", "/admin/notices/{notice}", May(See)),
    ("POST", "/admin/notices/{notice}/replay", May(Ask)),
    ("GET", "/admin/work-items", May(See)),
    ("GET", "/admin/work-items/{work_item}", May(See)),
    ("POST", "/admin/work-items/{work_item}/note", May(Work)),
    ("POST", "/admin/work-items/{work_item}/close", May(Work)),
    ("POST", "/admin/work-items/{work_item}/credit", May(Money)),
    ("GET", "/admin/work-items/{work_item}/refund", May(Money)),
    ("POST", "/admin/work-items/{work_item}/refund", May(Money)),
    ("GET", "/admin/accounts", May(Accounts)),
    ("POST", "/admin/accounts/invite", May(Accounts)),
    ("POST", "/admin/accounts/invitations/{invitation}/withdraw", May(Accounts)),
    ("GET", "/admin/accounts/{account}", May(Accounts)),
    ("POST", "/admin/accounts/{account}/role", May(Accounts)),
    ("POST", "/admin/accounts/{account}/disable", May(Accounts)),
    ("POST", "/admin/accounts/{account}/enable", May(Accounts)),
    ("POST", "/admin/accounts/{account}/sign-out", May(Accounts)),
    ("POST", "/admin/accounts/{account}/second-factor", May(Accounts)),
    ("GET", "/admin/me", May(See)),
    ("POST", "/admin/me/password", May(See)),
    ("POST", "/admin/me/sign-out", May(See)),
    ("GET", "/admin/me/second-factor", May(See)),
    ("POST", "/admin/me/second-factor", May(See)),
    ("POST", "/admin/me/second-factor/begin", May(See)),
    ("POST", "/admin/me/second-factor/off", May(See)),
    ("POST", "/admin/me/recovery-codes", May(See)),
    ("GET", "/healthz", All),
    ("GET", "/readyz", All),
    ("GET", "/metrics", All),
    ("GET", "/static/{static}", All),
    // Ends the session that all rows above need.
    ("POST", "/logout", All),
];

/// Addresses without the names of their parts, which the table calls by what is put there.
fn bare(path: &str) -> String {
    let mut bare = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '{' => inside = true,
            '}' => inside = false,
            c if !inside => bare.push(c),
            _ => continue,
        }
        if c == '{' {
            bare.push('*');
        }
    }
    bare.replace("/static/*/*", "/static/*")
}

/// Method and address of every route in the source.
fn routes() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string("src/web/routes.rs").unwrap();
    let text: String = text.split_whitespace().collect();
    let mut found = BTreeSet::new();
    let mut of = |path: &str, handlers: &str| {
        let before = found.len();
        for (word, method) in [("get().to(", "GET"), ("post().to(", "POST")] {
            if handlers.contains(word) {
                found.insert((method.to_owned(), bare(path)));
            }
        }
        assert!(found.len() > before, "{path} has no method this test knows");
    };
    for piece in text.split("web::resource(\"").skip(1) {
        let (path, handlers) = piece.split_once('"').unwrap();
        of(path, handlers);
    }
    let single: Vec<&str> = text.split(".route(\"").skip(1).collect();
    for piece in single {
        let (path, handlers) = piece.split_once('"').unwrap();
        of(path, handlers.split(".service").next().unwrap());
    }
    found
}

#[test]
fn every_route_has_its_row_and_every_row_its_route() {
    let routes = routes();
    assert!(routes.len() > 60, "{routes:?}");
    let rows: BTreeSet<_> =
        MATRIX.iter().map(|(method, path, _)| ((*method).to_owned(), bare(path))).collect();
    let without_row: Vec<_> = routes.difference(&rows).collect();
    let without_route: Vec<_> = rows.difference(&routes).collect();
    assert!(without_row.is_empty(), "say in MATRIX who gets in: {without_row:?}");
    assert!(without_route.is_empty(), "no such route: {without_route:?}");
    assert_eq!(rows.len(), MATRIX.len(), "a row stands there twice");
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Owner,
    AnotherUser,
    Admin(Role),
}

/// What somebody gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    In,
    SignInFirst,
    NoSuchPage,
    MissingRight,
}

fn expected(open: Open, who: Who) -> Gets {
    match (open, who) {
        (All, _) => Gets::In,
        (_, Who::Nobody) => Gets::SignInFirst,
        (SignedIn, _) | (Owner | OwnerOrAdmin, Who::Owner) | (OwnerOrAdmin, Who::Admin(_)) => Gets::In,
        (May(right), Who::Admin(role)) if role.may(right) => Gets::In,
        (May(_), Who::Admin(_)) => Gets::MissingRight,
        (Owner | OwnerOrAdmin | May(_), _) => Gets::NoSuchPage,
    }
}

/// A bill that is not there yet; its id.
pub async fn todays_bill(shop: &Shop) -> i64 {
    let (gateway, biller) = reconcile::billers(&shop.app).remove(0);
    let today = BillDay::of(shop.clock.now());
    reconcile::run(&shop.app, gateway, &biller, today, Turn::Now).await.unwrap();
    shop.app.store.read(|db| bills::list(db, None, 1)).await.unwrap().remove(0).id
}

/// One of each thing that an address can name.
struct Things(Vec<(&'static str, String)>);

impl Things {
    async fn of(shop: &Shop, number: &str) -> Things {
        // By V2, whose answer comes to V2's door.
        let first = like_the_order(shop, number, "of-an-old-backup", 7700).await;
        let stranger = Attempt { notify_url: first.notify_url.replace("/v3", ""), ..first };
        pay_at_wechat(shop, &stranger);
        shop.deliver().await;
        let refund = shop.refund(number, "1").await.unwrap();
        let boss = crate::harness::admin_called("boss");
        let former =
            set_up::admin_by_command(&shop.app, "former", crate::harness::PASSWORD.to_owned(), Role::Support);
        let former = former.await.unwrap();
        let mut links = Vec::new();
        for name in ["opened", "withdrawn"] {
            let link = accounts::invite(&shop.app, &boss, Role::Support, name.to_owned()).await.unwrap();
            links.push(link.rsplit('/').next().unwrap().to_owned());
        }
        let owner = shop.order(number).await.user_id;
        let wish =
            Wish { user_id: owner, fen: 1, reason: "a gift".to_owned(), intent: "intent-matrix".to_owned() };
        let adjustment = adjust::request(&shop.app, &boss, wish).await.unwrap();
        let invitation: String = shouyin::token::hash(&links[1]).chars().take(16).collect();
        Things(vec![
            ("{out_trade_no}", number.to_owned()),
            ("{out_refund_no}", refund.out_refund_no.as_str().to_owned()),
            ("{notice}", shop.all_notices().await[0].id.clone()),
            ("{work_item}", shop.work_items().await[0].id.to_string()),
            ("{account}", former.to_string()),
            ("{user}", owner.to_string()),
            ("{bill}", todays_bill(shop).await.to_string()),
            ("{adjustment}", adjustment.id.to_string()),
            ("{invite}", links[0].clone()),
            ("{invitation}", invitation),
            ("{static}", shop.web.assets.css.url.strip_prefix("/static/").unwrap().to_owned()),
        ])
    }

    fn address(&self, path: &str) -> String {
        self.0.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

/// What the browser gets, and the answer in words for when that is wrong.
async fn gets(browser: &Browser, method: &str, path: &str, token: &str) -> (Gets, String) {
    let form = [("token", token)];
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let form = (method == Method::POST).then_some(form.as_slice());
    let answer = browser.send(method, path, &[("accept", "application/json")], form).await;
    let code = serde_json::from_str::<serde_json::Value>(&answer.body)
        .ok()
        .and_then(|json| json["code"].as_str().map(str::to_owned))
        .unwrap_or_default();
    let gets = match (answer.status, code.as_str()) {
        (401, "sign_in_first") => Gets::SignInFirst,
        (404, "not_found") => Gets::NoSuchPage,
        (403, "missing_right") => Gets::MissingRight,
        // A form that is refused for what it holds has been let in; one refused for its token never was.
        (status, code) if status < 500 && code != "forbidden" && status != 405 => Gets::In,
        (502 | 503, _) => Gets::In,
        (status, code) => panic!("{path}: {status} {code} {}", answer.body),
    };
    (gets, format!("{} {}", answer.status, answer.body.chars().take(200).collect::<String>()))
}

#[actix_web::test]
async fn everybody_gets_where_the_table_lets_them_and_nowhere_else() {
    // With every door that callbacks come to.
    let shop = Shop::open_v3().await;
    let mut people = vec![(Who::Nobody, shop.browser()), (Who::Admin(Role::Owner), shop.admin().await)];
    let owner = shop.user("ann").await;
    let number = owner.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    people.push((Who::Owner, owner));
    people.push((Who::AnotherUser, shop.user("bob").await));
    for role in Role::admins().filter(|role| *role != Role::Owner) {
        people.push((Who::Admin(role), shop.admin_as(role).await));
    }
    let things = Things::of(&shop, &number).await;
    let mut wrong = Vec::new();
    for (who, browser) in &people {
        let page = if *who == Who::Nobody { "/login" } else { "/top-up" };
        let token = browser.form_token(page).await;
        for (method, path, open) in MATRIX {
            let (got, answer) = gets(browser, method, &things.address(path), &token).await;
            // The link for the first administrator is closed once there is one: for everybody.
            let wanted = if path.contains("{setup}") { Gets::NoSuchPage } else { expected(*open, *who) };
            if got != wanted {
                wrong.push(format!("{who:?} {method} {path}: {got:?}, not {wanted:?}: {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[actix_web::test]
async fn a_role_without_the_right_reads_which_one_it_is_and_who_has_it() {
    let shop = Shop::open().await;
    shop.admin().await;
    let support = shop.admin_as(Role::Support).await;
    let page = support.get("/admin/accounts").await;
    assert_eq!(page.status, 403);
    for words in ["管理账号", "负责人", "没有任何改动"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
}
