//! Requests that no browser makes, and what every answer carries.

use super::{
    Outcome, Table,
    raw::{bare, say},
    table,
    world::World,
};
use crate::harness::Answer;
use reqwest::Method;
use shouyin::config::PublicUrl;

pub const CASES: Table = table! {
    "HTTP-01" => smuggling,
    "HTTP-03" => traversal,
    "HTTP-04" => error_pages,
    "HTTP-05" => headers,
    "HTTP-09" => panics,
};

async fn smuggling(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let second = "GET /healthz HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    let (chunked, length) = ("transfer-encoding: chunked\r\n", "content-length: 6\r\n");
    let mut seen = Vec::new();
    for headers in [
        format!("{length}{chunked}"),
        format!("{chunked}{length}"),
        format!("{length}content-length: 7\r\n"),
        "transfer-encoding: xchunked\r\ncontent-length: 6\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\ncontent-length: 6\r\n".to_owned(),
        "content-length: +6\r\n".to_owned(),
    ] {
        let text =
            format!("POST /notify/wechat HTTP/1.1\r\nhost: shop.test\r\n{headers}\r\n0\r\n\r\n{second}");
        let said = say(&shop, text.as_bytes()).await;
        let right = said.status() == 400 && said.closed;
        world.expect(right, format!("{headers:?}: closed {} {}", said.closed, said.text));
        seen.push(said.answers());
    }
    world.holds("no second request seen", seen.iter().all(|answers| *answers == 1), format!("{seen:?}"));
    Ok(())
}

async fn traversal(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let mut outside = Vec::new();
    for target in [
        "/static/../.env",
        "/static/../../Cargo.toml",
        "/static/%2e%2e/%2e%2e/Cargo.toml",
        "/static/..%2f..%2fCargo.toml",
        "/static/x/..%5c..%5cCargo.toml",
        "/static/..\\..\\Cargo.toml",
        "//etc/passwd",
        "/.git/HEAD",
        "/.env",
        "/static/%00",
        "/static/x/%00",
        "/static/x/app.css%00",
        "/static//etc/passwd",
        "/books.db",
    ] {
        let said = say(&shop, bare("GET", target).as_bytes()).await;
        world.expect(said.status() == 404, format!("{target}: {}", said.text));
        if ["root:", "[package]", "ref:", "SQLite"].iter().any(|word| said.text.contains(word)) {
            outside.push(target);
        }
    }
    world.holds("nothing outside", outside.is_empty(), format!("{outside:?}"));
    Ok(())
}

async fn error_pages(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let token = user.form_token("/top-up").await;
    let large = "x".repeat(64 * 1024);
    let lie = [("content-type", "application/json")];
    let mut pages: Vec<(u16, Answer)> = vec![
        (400, user.get("/wechat/callback").await),
        (400, user.get("/orders?before=x").await),
        (403, user.post("/top-up", &[("token", "x"), ("amount", "1")]).await),
        (404, user.get("/nothing").await),
        (404, user.get("/admin/orders").await),
        (405, user.send(Method::DELETE, "/top-up", &[], None).await),
        (413, user.post("/top-up", &[("token", &token), ("amount", &large)]).await),
        (422, user.post(&format!("/orders/{}/returned", world.subject), &[("token", &token)]).await),
    ];
    pages.push((415, user.send(Method::POST, "/top-up", &lie, None).await));
    for path in ["/nothing", "/orders?before=x", "/wechat/callback"] {
        let json = user.get_json(path).await;
        let problem = json.header("content-type").starts_with("application/problem+json");
        world.expect(problem && json.json()["request_id"].is_string(), &json.body);
        pages.push((json.status, json));
    }
    let words = [
        "stack", "panicked", "SELECT", "sqlite", "SQLITE", "src/", ".rs", "/tmp", "actix", "0.1.0", "diesel",
    ];
    let mut told = Vec::new();
    for (status, page) in &pages {
        world.expect(page.status == *status, format!("{} instead of {status}: {}", page.status, page.body));
        let id = page.header("x-request-id");
        world.expect(
            !id.is_empty() && page.body.contains(id),
            format!("{status} without its id: {}", page.body),
        );
        let said = format!("{:?} {}", page.headers, page.body);
        told.extend(
            words.iter().filter(|word| said.contains(**word)).map(|word| format!("{status}: {word}")),
        );
    }
    world.expect(shop.browser().get("/nothing").await.headers.get("server").is_none(), "a server header");
    world.holds("no stack, SQL", told.is_empty(), format!("{told:?}"));
    world.notes.push("no handler of this version can be made to answer 500 from outside");
    Ok(())
}

async fn headers(world: &mut World) -> Outcome {
    let shop =
        world.open_with(|config| config.public_url = PublicUrl::parse("https://pay.shop.cn").unwrap()).await;
    let user = shop.browser();
    user.register("ann").await;
    let made = user.try_top_up("1").await;
    let number = made.json()["out_trade_no"].as_str().unwrap().to_owned();
    let css = user.get("/login").await.body + &user.get("/top-up").await.body;
    let css = css.split_once("href=\"/static/").unwrap().1.split_once('"').unwrap().0.to_owned();
    let mut pages = vec![made];
    let paths = [
        "/login",
        "/register",
        "/top-up",
        "/orders",
        "/",
        "/nothing",
        "/admin",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    for path in paths.map(str::to_owned).into_iter().chain([
        format!("/orders/{number}"),
        format!("/orders/{number}/pay"),
        format!("/orders/{number}/status"),
        format!("/static/{css}"),
    ]) {
        pages.push(user.get(&path).await);
        pages.push(shop.browser().get(&path).await);
    }
    pages.push(shop.notify("x").await);
    let mut lacking = Vec::new();
    for page in &pages {
        let policy = page.header("content-security-policy");
        let right = policy.starts_with("default-src 'none'")
            && policy.contains("frame-ancestors 'none'")
            && !policy.contains("unsafe")
            && page.header("x-content-type-options") == "nosniff"
            && !page.header("referrer-policy").is_empty()
            && page.header("strict-transport-security").starts_with("max-age=");
        if !right {
            lacking.push(format!("{} {:?}", page.status, page.headers));
        }
    }
    world.holds("CSP, nosniff", lacking.is_empty(), lacking.join("\n"));
    Ok(())
}

/// No handler can be made to panic from outside, so the books are: in a write, and in every reader.
async fn panics(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let store = &shop.app.store;
    let wrote = store
        .write(|db| -> Result<(), shouyin::store::StoreError> {
            let name = shouyin::domain::ids::Username::parse("ghost").unwrap();
            let at = shouyin::domain::time::UnixMs(0);
            shouyin::store::users::insert(db, &name, "x", shouyin::domain::user::Role::Owner, at)?;
            panic!("on purpose")
        })
        .await;
    world.expect(wrote.is_err(), "a panic went unnoticed");
    for _ in 0..8 {
        let read = store.read(|_| -> Result<(), shouyin::store::StoreError> { panic!("on purpose") }).await;
        world.expect(read.is_err(), "a panic went unnoticed");
    }
    let ghosts = super::world::rows(&shop, "users").await.len();
    let alive = user.top_up("2").await.len() == 32 && user.get("/orders").await.status == 200;
    world.holds("process lives", alive && ghosts == 1, format!("{ghosts} users"));
    world.notes.push("no failpoint in handlers: the 500 page of a panicking one is not seen");
    Ok(())
}
