//! Answers of a gateway that is broken, false or busy.

use super::{
    Outcome, Table,
    effects::in_time,
    raw::gzip_bomb,
    script::{Line, Script, failure, http, pairs, success},
    table,
    world::{World, rows},
};
use crate::{
    certificate::{Shown, ends_at_the_greeting},
    harness::{Browser, Shop},
};
use serde_json::Value;
use std::{
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

pub const CASES: Table = table! {
    "GATEWAY-01" => not_signed,
    "GATEWAY-02" => error_codes,
    "GATEWAY-04" => no_v2_at_all,
    "GATEWAY-06" => not_paid,
    "GATEWAY-07" => other_amount,
    "GATEWAY-11" => unknown_number,
    "GATEWAY-14" => no_trusted_certificate,
    "GATEWAY-MORE-01" => forged_by_v3,
    "GATEWAY-MORE-02" => forged_by_alipay,
};

/// A shop whose gateway is a script, and its user.
async fn scripted(world: &mut World) -> (Rc<Shop>, Browser, Script) {
    let script = Script::open().await;
    let origin = script.origin.clone();
    let shop = world.open_with(|config| config.origins.wechat_api = vec![origin]).await;
    script.speak_for(shop.app.config.wechat_v2.as_ref().unwrap());
    let user = shop.user("ann").await;
    (shop, user, script)
}

/// Makes an order whatever the gateway says; gives its number and the answer to the program.
async fn try_order(shop: &Shop, user: &Browser) -> (String, u16, String) {
    let answer = user.try_top_up("1").await;
    let newest = rows(shop, "orders").await.pop().expect("an order");
    (newest["out_trade_no"].as_str().unwrap().to_owned(), answer.status, answer.body)
}

async fn attempts_of(shop: &Shop, number: &str) -> Vec<Value> {
    let id = shop.order(number).await.id;
    rows(shop, "attempts").await.into_iter().filter(|row| row["order_id"] == id).collect()
}

fn prepaid() -> Line {
    success(&[("trade_type", "JSAPI"), ("prepay_id", "wx20112000000000001")])
}

async fn not_signed(world: &mut World) -> Outcome {
    let (shop, user, script) = scripted(world).await;
    let fields = pairs(&[("result_code", "SUCCESS"), ("prepay_id", "wxFORGED")]);
    for line in [Line::Unsigned(fields.clone()), Line::Missigned(fields)] {
        script.play(move |_, _| line.clone());
        let (number, status, body) = try_order(&shop, &user).await;
        world.expect(status == 503 && body.contains("gateway_busy"), format!("{status} {body}"));
        let page = user.get(&format!("/orders/{number}/pay")).await;
        world.expect(page.body.contains("重试"), &page.body);
        let kept = attempts_of(&shop, &number).await;
        let unused = kept[0]["prepay_id"].is_null() && !page.body.contains("wxFORGED");
        world.holds("prepay_id not used", unused, format!("{kept:?}"));
        script.play(|_, _| prepaid());
        let page = user.get(&format!("/orders/{number}/pay")).await;
        let again = script.calls() == [format!("unifiedorder {number}")] && page.body.contains("paySign");
        world.holds("order kept, retry with the same", again, format!("{:?} {}", script.calls(), page.body));
    }
    Ok(())
}

const SECRET_WORDS: &str = "SECRETWORDS of the gateway 201 商户订单号重复";

async fn error_codes(world: &mut World) -> Outcome {
    let (shop, user, script) = scripted(world).await;
    let (busy, refused) = (503, 502);
    for (code, expected) in [
        ("NOAUTH", refused),
        ("SIGNERROR", refused),
        ("XML_FORMAT_ERROR", refused),
        ("NOTENOUGH", busy),
        ("NO_SUCH_CODE", busy),
    ] {
        script.play(move |_, _| failure(code, SECRET_WORDS));
        let (number, status, body) = try_order(&shop, &user).await;
        let page = user.get(&format!("/orders/{number}/pay")).await;
        world.expect(status == expected, format!("{code}: {status} {body}"));
        world.expect(page.status == 200, format!("{code}: {}", page.status));
        world.expect(
            !format!("{body}{}", page.body).contains("SECRETWORDS"),
            format!("{code}: {}", page.body),
        );
    }
    for code in ["OUT_TRADE_NO_USED", "INVALID_REQUEST"] {
        script.play(number_used(code));
        let (number, status, _) = try_order(&shop, &user).await;
        let calls: Vec<String> = script.calls().iter().map(|call| call.replace(&number, "N")).collect();
        let story = ["unifiedorder N", "orderquery N", "closeorder N", "orderquery N"];
        let fresh =
            calls.last().is_some_and(|last| last.starts_with("unifiedorder ") && !last.ends_with(" N"));
        let right = status == 201 && calls.len() == 5 && calls[..4] == story && fresh;
        world.holds("duplicate number ->", right, format!("{code}: {status} {calls:?}"));
    }
    script.play(|_, _| failure("SYSTEMERROR", SECRET_WORDS));
    let (number, status, _) = try_order(&shop, &user).await;
    let calls = script.calls();
    let same = calls.len() > 1 && calls.iter().all(|call| *call == format!("unifiedorder {number}"));
    world.holds("SYSTEMERROR ->", same && status == busy, format!("{status} {calls:?}"));
    script.play(|call, number| match call {
        "unifiedorder" => failure("ORDERPAID", SECRET_WORDS),
        _ => paid(number, "100"),
    });
    let (number, status, body) = try_order(&shop, &user).await;
    let asked = script.calls() == [format!("unifiedorder {number}"), format!("orderquery {number}")];
    let credited = shop.order(&number).await.is_paid() && !body.contains("paySign");
    world.holds("ORDERPAID ->", asked && credited, format!("{status} {:?} {body}", script.calls()));
    Ok(())
}

/// The first number is taken; the gateway closes it and accepts the next.
fn number_used(code: &'static str) -> impl FnMut(&str, &str) -> Line + Send {
    let (mut ordered, mut closed) = (0, false);
    move |call, _| match call {
        "unifiedorder" => {
            ordered += 1;
            if ordered == 1 { failure(code, SECRET_WORDS) } else { prepaid() }
        }
        "closeorder" => {
            closed = true;
            success(&[])
        }
        _ => success(&[("trade_state", if closed { "CLOSED" } else { "NOTPAY" })]),
    }
}

fn paid(number: &str, fen: &str) -> Line {
    success(&[
        ("trade_state", "SUCCESS"),
        ("out_trade_no", number),
        ("transaction_id", "4200000000202611200000000001"),
        ("total_fee", fen),
        ("fee_type", "CNY"),
        ("trade_type", "JSAPI"),
    ])
}

async fn no_v2_at_all(world: &mut World) -> Outcome {
    let (shop, user, script) = scripted(world).await;
    let lure = world.lay_lure();
    let redirect = format!("302 Found\r\nlocation: {lure}/");
    let kept = format!("307 Temporary Redirect\r\nlocation: {lure}/pay/unifiedorder");
    let large =
        format!("<xml><return_code>SUCCESS</return_code><a>{}</a></xml>", "a".repeat(10 * 1024 * 1024));
    let html = "<html><body>502 SECRETWORDS</body></html>";
    let bomb = gzip_bomb(900 * 1024);
    let lines = [
        ("html", http("200 OK\r\ncontent-type: text/html", html.as_bytes())),
        ("html 502", http("502 Bad Gateway\r\ncontent-type: text/html", html.as_bytes())),
        ("empty", http("200 OK", b"")),
        ("10 MiB", http("200 OK\r\ncontent-type: text/xml", large.as_bytes())),
        ("gzip bomb", http("200 OK\r\ncontent-encoding: gzip\r\ncontent-type: text/xml", &bomb)),
        ("no HTTP", Line::Bytes(b"SECRETWORDS\r\n\r\n".to_vec())),
        ("hangs up", Line::Bytes(Vec::new())),
        ("redirect", http(&redirect, b"")),
        ("redirect that keeps the body", http(&kept, b"")),
        ("silence", Line::Never),
    ];
    world.mark().await;
    let mut deliberate = true;
    for (name, line) in lines {
        script.play(move |_, _| line.clone());
        let started = Instant::now();
        let (number, status, body) = try_order(&shop, &user).await;
        // Five seconds for the gateway, some for ourselves on a busy machine.
        world.expect(started.elapsed() < Duration::from_secs(20), format!("{name}: {:?}", started.elapsed()));
        deliberate &= status == 503;
        let friendly = body.contains("gateway_busy") && !body.contains("SECRETWORDS");
        world.expect(friendly && status == 503, format!("{name}: {status} {body}"));
        let kept = attempts_of(&shop, &number).await;
        world.expect(kept.len() == 1 && kept[0]["prepay_id"].is_null(), format!("{name}: {kept:?}"));
        if name == "10 MiB" {
            let story = rows(&shop, "order_events").await;
            let capped =
                story.iter().any(|step| step["detail"].as_str().unwrap().contains("larger than 1 MiB"));
            world.holds("reply size capped", capped, format!("{story:?}"));
        }
    }
    world.holds("NO_5XX beyond a deliberate", deliberate, "another status");
    let lured = world.lure.as_ref().is_none_or(|lure| lure.accept().is_ok());
    world.holds("redirects never followed", !lured, "a redirect was followed");
    Ok(())
}

/// A prepared order of 100 fen at the scripted gateway, 3 seconds old, so that a page may ask.
async fn prepared(world: &mut World) -> (Rc<Shop>, Browser, Script) {
    let (shop, user, script) = scripted(world).await;
    script.play(|_, _| prepaid());
    world.subject = user.top_up("1").await;
    shop.clock.advance_ms(3000);
    world.mark().await;
    (shop, user, script)
}

async fn not_paid(world: &mut World) -> Outcome {
    let (_, user, script) = prepared(world).await;
    script.play(|_, _| success(&[("trade_state", "NOTPAY"), ("total_fee", "100")]));
    let status = user.status(&world.subject).await;
    world.expect(status["paid"] == false && status["final"] == false, &status);
    world.expect(script.calls().len() == 1, "the gateway was not asked");
    Ok(())
}

async fn other_amount(world: &mut World) -> Outcome {
    let (_, user, script) = prepared(world).await;
    script.play(|_, number| paid(number, "1"));
    let status = user.status(&world.subject).await;
    world.expect(status["paid"] == false, &status);
    world.expect(script.calls().len() == 1, "the gateway was not asked");
    Ok(())
}

async fn unknown_number(world: &mut World) -> Outcome {
    let (shop, user, script) = prepared(world).await;
    script.play(|_, _| failure("ORDERNOTEXIST", "订单不存在"));
    let status = user.status(&world.subject).await;
    world.expect(status["paid"] == false && status["final"] == false, &status);
    // The prepay_id is too old by now, so that the gateway is asked anew.
    shop.clock.advance_ms(111 * 60_000);
    script.play(|_, _| prepaid());
    let page = user.get(&format!("/orders/{}/pay", world.subject)).await;
    let again =
        script.calls() == [format!("unifiedorder {}", world.subject)] && page.body.contains("paySign");
    world.holds("order not failed for good", again, format!("{:?} {}", script.calls(), page.body));
    Ok(())
}

/// The other end speaks no TLS at all; then some that nobody vouches for, who would hear of a refund.
async fn no_trusted_certificate(world: &mut World) -> Outcome {
    let script = Script::open().await;
    let secure = script.origin.replace("http://", "https://");
    let shop = world.open_with(|config| config.origins.wechat_api = vec![secure]).await;
    let user = shop.user("ann").await;
    let (number, status, body) = in_time(world, try_order(&shop, &user)).await;
    world.expect(status == 503 && body.contains("gateway_busy"), format!("{status} {body}"));
    let page = user.get(&format!("/orders/{number}/pay")).await;
    world.expect(page.status == 200 && page.body.contains("重试"), &page.body);
    let heard = String::from_utf8_lossy(&script.heard()).into_owned();
    let greeted = script.heard().first() == Some(&0x16);
    let silent = greeted && !heard.contains(&number) && !heard.contains("POST");
    world.holds("no request body sent", silent, heard);
    let mut switches = Vec::new();
    find_switches(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut switches);
    world.holds("no switch that disables", switches.is_empty(), format!("{switches:?}"));
    for shown in [Shown::Expired, Shown::OfAnotherHost, Shown::SelfSigned] {
        ends_at_the_greeting(shown).await;
    }
    Ok(())
}

fn find_switches(folder: &Path, found: &mut Vec<String>) {
    let words =
        ["danger_accept", "tls_danger", "dangerous()", "tls_built_in_root", "tls_certs_only", "verifier"];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_switches(&path, found);
        } else {
            let code = std::fs::read_to_string(&path).unwrap_or_default();
            found.extend(
                words.iter().filter(|word| code.contains(**word)).map(|word| format!("{word} in {path:?}")),
            );
        }
    }
}

const SERIAL: &str = "PUB_KEY_ID_SIMULATOR0000000000000000";

/// Replies that nobody signed, or somebody else did; each says that all is well.
fn forged(good: &str) -> Vec<Line> {
    let headers = format!(
        "200 OK\r\ncontent-type: application/json\r\nwechatpay-timestamp: 1795176000\r\nwechatpay-nonce: n\r\n\
         wechatpay-serial: {SERIAL}\r\nwechatpay-signature: {}==",
        "A".repeat(342)
    );
    vec![
        http("200 OK\r\ncontent-type: application/json", good.as_bytes()),
        http(&headers, good.as_bytes()),
        http("200 OK\r\ncontent-type: text/html", b"<html>wxFORGED</html>"),
        http("302 Found\r\nlocation: http://127.0.0.1:1/wxFORGED", b""),
        http("204 No Content", b""),
    ]
}

async fn kept_and_unpaid(world: &mut World, shop: &Shop, user: &Browser, number: &str, said: &str) {
    let attempts = attempts_of(shop, number).await;
    world.holds(
        "nothing of it is used",
        attempts.iter().all(|row| row["prepay_id"].is_null()),
        format!("{attempts:?}"),
    );
    let page = user.get(&format!("/orders/{number}/pay")).await;
    world.expect(!page.body.contains("FORGED") && !said.contains("FORGED"), format!("{said} {}", page.body));
    let status = user.status(number).await;
    let pending = status["paid"] == false && status["closed"] == false;
    world.holds("the order stays open", pending, status);
    shop.clock.advance_ms(10_000);
    shop.sweep().await;
    world.expect(!shop.order(number).await.is_paid(), "the sweep believed it");
}

async fn forged_by_v3(world: &mut World) -> Outcome {
    let script = Script::open().await;
    let origin = script.origin.clone();
    let shop = Shop::open_with_keys(|config, keys| {
        config.wechat_v3 = keys.wechat_v3(config.wechat_v2.as_ref().unwrap());
        config.origins.wechat_api = vec![origin];
    });
    let shop = Rc::new(shop.await);
    world.shop = Some(shop.clone());
    script.speak_for(shop.app.config.wechat_v2.as_ref().unwrap());
    let user = shop.user("ann").await;
    world.mark().await;
    let account = shop.app.config.wechat_v2.as_ref().unwrap();
    let told = |number: &str| good_for(number, &account.mch_id, &account.appids.web);
    for nth in 0..forged("").len() {
        let good = told("NUMBER");
        script.play(move |_, _| forged(&good).remove(nth));
        let (number, status, body) = try_order(&shop, &user).await;
        world.expect(status == 503, format!("{nth}: {status} {body}"));
        let good = told(&number);
        script.play(move |_, _| forged(&good).remove(nth));
        kept_and_unpaid(world, &shop, &user, &number, &body).await;
    }
    Ok(())
}

fn good_for(number: &str, mch_id: &str, appid: &str) -> String {
    serde_json::json!({
        "prepay_id": "wxFORGED", "appid": appid, "mchid": mch_id, "trade_state": "SUCCESS", "out_trade_no": number,
        "transaction_id": "4200000290201904150837155038", "trade_type": "JSAPI",
        "amount": { "total": 100, "currency": "CNY" },
    })
    .to_string()
}

async fn forged_by_alipay(world: &mut World) -> Outcome {
    let script = Script::open().await;
    let origin = format!("{}/gateway.do", script.origin);
    let shop = world.open_with(|config| config.origins.alipay = vec![origin]).await;
    script.speak_for(shop.app.config.wechat_v2.as_ref().unwrap());
    let user = shop.browser();
    user.register("ann").await;
    world.mark().await;
    for nth in 0..forged("").len() + 1 {
        script.play(move |_, _| alipay_said(nth, "NUMBER"));
        let form = user.get("/top-up").await;
        let (token, intent) = (form.hidden("token"), form.hidden("intent"));
        let fields =
            [("token", token.as_str()), ("intent", &intent), ("amount", "1"), ("channel", "alipay_qr")];
        let made = user.post_json("/top-up", &fields).await;
        world.expect(made.status == 503, format!("{nth}: {} {}", made.status, made.body));
        let newest = rows(&shop, "orders").await.pop().expect("an order");
        let number = newest["out_trade_no"].as_str().unwrap().to_owned();
        let asked = number.clone();
        script.play(move |_, _| alipay_said(nth, &asked));
        kept_and_unpaid(world, &shop, &user, &number, &made.body).await;
    }
    Ok(())
}

/// Both calls' nodes in one document, without a signature or with one of nobody's; last, the gateway's own refusal.
fn alipay_said(nth: usize, number: &str) -> Line {
    let node = serde_json::json!({
        "code": "10000", "msg": "Success", "out_trade_no": number, "qr_code": "https://qr.alipay.com/baxFORGED",
        "trade_no": "2026112022001000000000000001", "trade_status": "TRADE_SUCCESS", "total_amount": "1.00",
    });
    let sign = if nth == 0 { serde_json::Value::Null } else { serde_json::json!("A".repeat(344)) };
    let good = serde_json::json!({
        "alipay_trade_precreate_response": node, "alipay_trade_query_response": node,
        "alipay_trade_close_response": node, "sign": sign,
    });
    let mut lines = forged(&good.to_string());
    let refusal =
        br#"{"error_response":{"code":"40004","sub_code":"ACQ.TRADE_HAS_CLOSE","sub_msg":"FORGED"}}"#;
    lines.push(http("200 OK\r\ncontent-type: application/json", refusal));
    lines.remove(nth)
}
