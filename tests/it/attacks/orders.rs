//! What users and strangers may try with orders.

use super::{Outcome, Table, table, world::World, world::rows, world::text};
use crate::harness::{Answer, Browser, Shop};
use reqwest::Method;
use shouyin::{
    domain::ids::OutTradeNo,
    gateway::wechat_v2::{unified_order, xml::Fields},
    store::attempts,
};

pub const CASES: Table = table! {
    "ORDER-01" => amounts,
    "ORDER-03" => fractions,
    "ORDER-05" => mass_assignment,
    "ORDER-07" => nobody_signed_in,
    "ORDER-08" => cross_site,
    "ORDER-12" => host_header,
    "ORDER-13" => forwarded_address,
    "ORDER-15" => xml_breakers,
    "ORDER-17" => hundred_creates,
    "ORDER-18" => somebody_elses,
    "ORDER-19" => unknown_number,
    "ORDER-21" => page_says_ok,
    "ORDER-24" => somebody_elses_pay_page,
    "ORDER-25" => back_button,
};

/// Sends the top-up form with this amount and whatever else.
async fn submit(user: &Browser, amount: &str, more: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let mut fields = vec![("token", token.as_str()), ("intent", intent.as_str()), ("amount", amount)];
    fields.extend_from_slice(more);
    user.send(Method::POST, "/top-up", headers, Some(&fields)).await
}

async fn newest(shop: &Shop) -> String {
    text(&rows(shop, "orders").await.pop().expect("an order"), "out_trade_no")
}

async fn amounts(world: &mut World) -> Outcome {
    let (_, user) = world.o1().await;
    for amount in [
        "0",
        "-1",
        "0.001",
        "1e3",
        "NaN",
        "Infinity",
        "1;2",
        "１００",
        "",
        " 1",
        "1,000",
        "0x10",
        "1.",
        ".5",
        "01",
        "999999999999999999999",
        "5000.01",
    ] {
        let answer = submit(&user, "other", &[("other_amount", amount)], &[]).await;
        world.expect(answer.status == 422, format!("{amount:?}: {}", answer.status));
        let kept = answer.body.contains(&format!("value=\"{amount}\""));
        world.expect(amount.is_empty() || amount.len() > 20 || kept, format!("{amount:?} is not kept"));
        let answer = submit(&user, amount, &[], &[("accept", "application/json")]).await;
        world.expect(answer.status == 422, format!("{amount:?}: {}", answer.status));
        world.record(&answer);
    }
    Ok(())
}

async fn fractions(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    for amount in ["1.005", "0.001", "1.000", "9.999"] {
        let answer = submit(&user, amount, &[], &[]).await;
        world.expect(answer.status == 422, format!("{amount}: {}", answer.status));
    }
    let made = rows(&shop, "orders").await.len();
    world.holds("no rounding", made == 1, format!("{made} orders"));
    Ok(())
}

async fn mass_assignment(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let more = [
        ("status", "1"),
        ("paid", "true"),
        ("user_id", "2"),
        ("total_fen", "1"),
        ("amount_fen", "1"),
        ("id", "77"),
        ("currency", "JPY"),
        ("notify_url", "http://evil.example"),
        ("out_trade_no", "ZZZ"),
        ("environment", "live"),
    ];
    let answer = submit(&user, "2", &more, &[]).await;
    world.expect(answer.status == 303, answer.status);
    let order = shop.order(&newest(&shop).await).await;
    let attempt = &rows(&shop, "attempts").await[1];
    let plain = !order.is_paid() && order.user_id == 1 && order.amount.get() == 200 && order.id == 2;
    let ours = attempt["notify_url"] == shop.app.config.url("/notify/wechat").as_str()
        && attempt["environment"] == "simulator";
    world.holds("extra fields have no effect", plain && ours, format!("{order:?} {attempt}"));
    Ok(())
}

async fn nobody_signed_in(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let stranger = shop.browser();
    let token = stranger.form_token("/login").await;
    let fields = [("token", token.as_str()), ("intent", "0123456789abcdef"), ("amount", "1")];
    let page = stranger.post("/top-up", &fields).await;
    let sent_away = page.status == 303 && page.header("location").starts_with("/login");
    world.expect(sent_away, format!("{} {:?}", page.status, page.headers));
    let json = stranger.post_json("/top-up", &fields).await;
    world.expect(json.status == 401, json.status);
    Ok(())
}

async fn cross_site(world: &mut World) -> Outcome {
    let (_, user) = world.o1().await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let evil = [("origin", "https://evil.example")];
    let tries: [(&str, &[(&str, &str)]); 6] = [
        ("", &evil),
        ("", &[]),
        (&token, &evil),
        (&token, &[("origin", "null")]),
        (&token, &[("sec-fetch-site", "cross-site")]),
        (&"0".repeat(64), &[]),
    ];
    for (token, headers) in tries {
        let fields = [("token", token), ("intent", intent.as_str()), ("amount", "1")];
        let answer = user.send(Method::POST, "/top-up", headers, Some(&fields)).await;
        world.expect(answer.status == 403, format!("{headers:?}: {}", answer.status));
    }
    Ok(())
}

async fn host_header(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let evil =
        [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")];
    let answer = submit(&user, "3", &[], &evil).await;
    world.expect(answer.status == 303, answer.status);
    let number = newest(&shop).await;
    let url = text(&rows(&shop, "attempts").await[1], "notify_url");
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let came = shop.order(&number).await.is_paid();
    world.holds("notify_url sent", came && url == shop.app.config.url("/notify/wechat"), url);
    let mut links = answer.header("location").to_owned();
    for path in ["/top-up", "/orders", "/login", "/nothing", &format!("/orders/{}/pay", world.subject)] {
        for agent in [&user, &shop.browser()] {
            let page = agent.send(Method::GET, path, &evil, None).await;
            links.push_str(&format!("{} {}", page.header("location"), page.body));
        }
    }
    world.holds("no link in any page", !links.contains("evil.example"), links);
    Ok(())
}

async fn forwarded_address(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let headers = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-real-ip", "1.2.3.4")];
    let answer = submit(&user, "2", &[], &headers).await;
    world.expect(answer.status == 303, answer.status);
    let sent = text(&rows(&shop, "attempts").await[1], "client_ip");
    world.holds("the peer address is sent", sent == "127.0.0.1", sent);
    Ok(())
}

const BREAKER: &str = "]]><total_fee>1</total_fee><![CDATA[";

async fn xml_breakers(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let more = [("remark", BREAKER), ("body", BREAKER), ("goods_name", BREAKER), ("attach", BREAKER)];
    let answer = submit(&user, "2", &more, &[]).await;
    world.expect(answer.status == 303, answer.status);
    let trade = shop.simulator.trade(&newest(&shop).await).expect("the gateway took it");
    // No form field reaches the request today; a name from anywhere else must not break it either.
    let number = OutTradeNo::parse(&world.subject).unwrap();
    let mut attempt = shop.app.store.read(move |db| attempts::by_number(db, &number)).await.unwrap().unwrap();
    attempt.goods_name = BREAKER.to_owned();
    let request = unified_order::request(
        shop.app.config.wechat_v2.as_ref().unwrap(),
        &attempt,
        &shop.clock.stamp().unwrap(),
    );
    let body = request.body.unwrap();
    let fields = Fields::parse(body.as_bytes()).unwrap_or_default();
    let flat = fields.get("total_fee") == Some("100") && fields.get("body") == Some(BREAKER);
    world.holds("request XML stays one flat", flat && trade.total_fee.get() == 200, body);
    Ok(())
}

async fn hundred_creates(world: &mut World) -> Outcome {
    let (shop, user) = world.o1().await;
    let started = std::time::Instant::now();
    let (mut made, mut limited) = (0, 0);
    for _ in 0..100 {
        let answer = submit(&user, "1", &[], &[("accept", "application/json")]).await;
        match answer.status {
            201 => made += 1,
            409 => world.expect(answer.body.contains("未支付的订单太多"), &answer.body),
            429 => {
                limited += 1;
                let wait: u64 = answer.header("retry-after").parse().unwrap_or_default();
                world.expect((1..=60).contains(&wait), format!("retry-after {wait}"));
            }
            other => world.expect(false, format!("{other} {}", answer.body)),
        }
    }
    world.expect(limited > 0, "no 429");
    // Sixty at once, then one a second; a hundred open at a time.
    let allowed = 60 + usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    let open = rows(&shop, "orders").await.len();
    world.holds("open unpaid orders per user bounded", open <= allowed.min(100), open);
    let calls = shop.simulator.calls().iter().filter(|call| call.starts_with("unifiedorder")).count();
    world.holds("gateway calls bounded", calls <= open && made < open, format!("{calls} for {open} orders"));
    Ok(())
}

/// Without the id every error page has of its own.
fn bare(answer: &Answer, number: &str) -> String {
    let id = answer.header("x-request-id");
    answer.body.replace(id, "ID").replace(number, "NUMBER")
}

async fn somebody_elses(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let other = shop.user("bob").await;
    world.mark().await;
    let mut same = true;
    for path in ["", "/status", "/status?wait=1", "/pay"] {
        for accept in ["text/html", "application/json"] {
            let ask = async |number: &str| {
                let path = format!("/orders/{number}{path}");
                other.send(Method::GET, &path, &[("accept", accept)], None).await
            };
            let (hers, none) = (ask(&world.subject).await, ask(&"0".repeat(32)).await);
            world.expect(hers.status == 404, format!("{path}: {}", hers.status));
            same &= hers.status == none.status && bare(&hers, &world.subject) == bare(&none, "NONE");
        }
    }
    let token = other.form_token("/top-up").await;
    let path = format!("/orders/{}/returned", world.subject);
    let posted = other.post(&path, &[("token", &token), ("result", "ok")]).await;
    world.expect(posted.status == 404, posted.status);
    world.holds("nothing about O1 leaks", same, "the answers differ");
    Ok(())
}

async fn unknown_number(world: &mut World) -> Outcome {
    let (_, user) = world.o1().await;
    for number in ["ZZZ", "%00", "%27%20OR%201=1", "%E8%AE%A2", &"9".repeat(500)] {
        for path in ["", "/status", "/pay"] {
            let answer = user.get(&format!("/orders/{number}{path}")).await;
            world.expect(answer.status == 404, format!("{number}{path}: {}", answer.status));
            world.record(&answer);
        }
    }
    Ok(())
}

async fn page_says_ok(world: &mut World) -> Outcome {
    let (_, user) = world.o1().await;
    let pay = user.get(&format!("/orders/{}/pay", world.subject)).await;
    let token = pay.body.split_once("data-token=\"").unwrap().1.split_once('"').unwrap().0;
    let path = format!("/orders/{}/returned", world.subject);
    let posted = user.post(&path, &[("token", token), ("result", "ok"), ("err_msg", "ok")]).await;
    world.expect(posted.status == 204, posted.status);
    let status = user.status(&world.subject).await;
    world.expect(status["status"] == 0 && status["paid"] == false, &status);
    world.expect(
        pay.body.contains("不要重复支付") || pay.body.contains("请勿重复支付"),
        "no word about paying twice",
    );
    Ok(())
}

async fn somebody_elses_pay_page(world: &mut World) -> Outcome {
    let (shop, _) = world.o1().await;
    let other = shop.user("bob").await;
    let page = other.get(&format!("/orders/{}/pay", world.subject)).await;
    world.expect(page.status == 404, page.status);
    let leaks = ["paySign", "prepay_id", "wxsimulator"].iter().any(|word| page.body.contains(word));
    world.holds("no prepay parameters leak", !leaks, page.body);
    Ok(())
}

async fn back_button(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let user = shop.user("ann").await;
    let form = user.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "1")];
    let made = user.post_json("/top-up", &fields).await.json();
    let number = made["out_trade_no"].as_str().unwrap().to_owned();
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    let before = shop.simulator.calls();
    let pay = user.get(&format!("/orders/{number}/pay")).await;
    let shown = user.get(pay.header("location")).await;
    world.expect(
        pay.status == 303 && shown.body.contains("支付成功"),
        format!("{} {}", pay.status, shown.body),
    );
    let again = user.post_json("/top-up", &fields).await;
    world.expect(again.json()["pay"].is_null(), &again.body);
    let posted = user.post(&format!("/orders/{number}/pay"), &fields).await;
    world.expect(posted.status == 405, posted.status);
    let said = format!("{}{}{}{}", pay.body, shown.body, again.body, posted.body);
    world.expect(!said.contains("paySign"), "prepay parameters");
    world.holds("no unifiedorder call", shop.simulator.calls() == before, "the gateway was asked");
    Ok(())
}
