//! Passwords, sessions, and the trip to WeChat that says whose phone this is.

use super::{Outcome, Table, table, world::World, world::rows, world::text};
use crate::harness::{Browser, PASSWORD, Shop, WECHAT};
use reqwest::Method;
use shouyin::config::PublicUrl;
use std::rc::Rc;

pub const AUTH: Table = table! {
    "AUTH-01" => enumeration,
    "AUTH-03" => guessing,
    "AUTH-05" => fixation,
    "AUTH-06" => open_redirect,
    "AUTH-08" => injection,
    "AUTH-10" => passwords,
    "AUTH-11" => self_made_admin,
    "AUTH-13" => cookie_flags,
};

pub const OAUTH: Table = table! {
    "OAUTH-01" => wrong_state,
    "OAUTH-03" => replayed_code,
    "OAUTH-05" => redirect_by_host,
    "OAUTH-07" => given_openid,
};

/// A shop and a browser where ann registered and left.
async fn with_ann(world: &mut World) -> (Rc<Shop>, Browser) {
    let shop = world.open().await;
    shop.browser().register("ann").await;
    world.mark().await;
    let browser = shop.browser();
    (shop, browser)
}

async fn enumeration(world: &mut World) -> Outcome {
    let (_, browser) = with_ann(world).await;
    let hers = browser.log_in("ann", "not her password").await;
    let none = browser.log_in("bob", "not his password").await;
    let same =
        hers.status == none.status && hers.body.replace("\"ann\"", "X") == none.body.replace("\"bob\"", "X");
    world.expect(hers.status == 422, hers.status);
    world.holds("no difference but", same, format!("{} {}", hers.body, none.body));
    Ok(())
}

async fn guessing(world: &mut World) -> Outcome {
    let shop = world.open_with(|config| config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
    shop.browser().register("ann").await;
    let guess = async |browser: &Browser, token: &str, from: &str, password: &str| {
        let fields = [("token", token), ("username", "ann"), ("password", password)];
        browser.send(Method::POST, "/login", &[("x-forwarded-for", from)], Some(&fields)).await
    };
    let browser = shop.browser();
    let token = browser.form_token("/login").await;
    let mut longest = 0;
    for addresses in [1, 50] {
        let mut refused = 0;
        for number in 0..50 {
            let from = format!("10.0.{addresses}.{}", number % addresses);
            let answer = guess(&browser, &token, &from, &format!("wrong {number}")).await;
            match answer.status {
                422 => {}
                429 => {
                    refused += 1;
                    longest = longest.max(answer.header("retry-after").parse().unwrap_or(u64::MAX));
                }
                other => world.expect(false, format!("{other} {}", answer.body)),
            }
        }
        world.expect(refused >= 15, format!("{refused} of 50 guesses refused from {addresses} addresses"));
    }
    world.holds("the true owner", longest <= 15 * 60, format!("retry after {longest} s"));
    Ok(())
}

async fn fixation(world: &mut World) -> Outcome {
    let (_, browser) = with_ann(world).await;
    let planted = "a1".repeat(32);
    browser.set_cookie(&planted);
    let answer = browser.log_in("ann", PASSWORD).await;
    world.expect(answer.status == 303, answer.status);
    world.rotated = Some((planted, browser.cookie().unwrap()));
    // Signing in again rotates a real session too.
    let (first, shop) = (browser.cookie().unwrap(), world.shop.clone().unwrap());
    let token = browser.form_token("/top-up").await;
    browser.post("/login", &[("token", &token), ("username", "ann"), ("password", PASSWORD)]).await;
    world.expect(!super::effects::opens(&shop, &first).await, "the session before is alive");
    world.rotated = Some((first, browser.cookie().unwrap()));
    Ok(())
}

async fn open_redirect(world: &mut World) -> Outcome {
    let (shop, _) = with_ann(world).await;
    let mut local = Vec::new();
    let away =
        ["https://evil", "//evil", "/\\evil", "javascript:alert(1)", "%2f%2fevil", "/\t/evil", "\\\\evil"];
    for next in away.into_iter().chain(["/ok?x=https://evil"]) {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let browser = shop.browser();
        let page = browser.get(&format!("/login?{query}")).await;
        let (token, kept) = (page.hidden("token"), page.hidden("next"));
        local.push((next, kept));
        let fields = [("token", token.as_str()), ("username", "ann"), ("password", PASSWORD), ("next", next)];
        let answer = browser.post("/login", &fields).await;
        world.expect(answer.status == 303, answer.status);
        local.push((next, answer.header("location").to_owned()));
        let phone = Browser::new(shop.url.clone(), WECHAT);
        let out = phone.get(&format!("/wechat/login?{query}")).await;
        let back = phone.get(out.header("location")).await.header("location").to_owned();
        let done = phone.get(back.strip_prefix(&shop.url).unwrap()).await;
        let shown = done.header("location").replace("/login?next=", "");
        local.push((next, url::form_urlencoded::parse(shown.as_bytes()).next().unwrap().0.into_owned()));
    }
    let wrong: Vec<_> = local
        .iter()
        .filter(|(next, to)| to != if next.starts_with("/ok") { "/ok?x=https://evil" } else { "/top-up" })
        .filter(|(next, to)| !(next.starts_with("/ok") && to == "/ok?x"))
        .collect();
    world.holds("only same-site relative", wrong.is_empty(), format!("{wrong:?}"));
    Ok(())
}

async fn injection(world: &mut World) -> Outcome {
    let (_, browser) = with_ann(world).await;
    let plain = browser.log_in("nobody", "wrong password").await;
    let long = "x".repeat(10_000);
    let texts = ["' OR '1'='1", "ann'--", "ann\0", "\u{0}", "%00", "ann\u{202e}", long.as_str()];
    for text in texts {
        for (name, password) in [(text, PASSWORD), ("nobody", text), (text, text)] {
            let answer = browser.log_in(name, password).await;
            world.record(&answer);
            // Tries at one name run out.
            let same = answer.status == plain.status || answer.status == 429;
            world.expect(same, format!("{name:.20} {password:.20}: {}", answer.status));
        }
    }
    Ok(())
}

async fn passwords(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let register = async |name: &str, password: &str| {
        let browser = shop.browser();
        let token = browser.form_token("/register").await;
        let fields = [("token", token.as_str()), ("username", name), ("password", password)];
        browser.post("/register", &fields).await.status
    };
    for weak in ["a1b2c3d", "password", "12345678", "qwertyuiop"] {
        let status = register("weak", weak).await;
        world.expect(status == 422, format!("{weak}: {status}"));
    }
    let (long, faces) = ("kV3-".repeat(16), "😀".repeat(128));
    let odd = "  spaces around 7  ";
    let beyond = format!("{}Z", "kV3-".repeat(18));
    let mut exact = true;
    for (name, password) in [("u1", long.as_str()), ("u2", &faces), ("u3", odd), ("u4", &beyond)] {
        let status = register(name, password).await;
        world.expect(status == 303, format!("{name}: {status}"));
        exact &= shop.browser().log_in(name, password).await.status == 303;
        let cut: String = password.chars().take(password.chars().count() - 1).collect();
        let cut_at_72 = String::from_utf8_lossy(&password.as_bytes()[..password.len().min(72)]).into_owned();
        for other in [password.trim(), &cut, &cut_at_72, &password.to_lowercase(), &format!("{password} ")] {
            exact &= other == password || shop.browser().log_in(name, other).await.status == 422;
        }
    }
    world.holds("password used exactly as sent", exact, "another password opens the account");
    Ok(())
}

async fn self_made_admin(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let browser = shop.browser();
    let token = browser.form_token("/register").await;
    let fields = [
        ("token", token.as_str()),
        ("username", "ann"),
        ("password", PASSWORD),
        ("role", "admin"),
        ("role", "owner"),
        ("is_admin", "1"),
        ("balance", "100000"),
        ("id", "0"),
    ];
    let answer = browser.post("/register", &fields).await;
    world.expect(matches!(answer.status, 303 | 422 | 400), answer.status);
    browser.post("/register", &[("token", &token), ("username", "ann"), ("password", PASSWORD)]).await;
    let users = rows(&shop, "users").await;
    let plain = users.iter().all(|user| user["role"] == "user") && shop.balance(1).await == 0;
    let shut_out = browser.get("/admin/orders").await.status != 200;
    world.holds("plain user, balance 0", plain && shut_out, format!("{users:?}"));
    Ok(())
}

async fn cookie_flags(world: &mut World) -> Outcome {
    let https = |config: &mut shouyin::config::Config| {
        config.public_url = PublicUrl::parse("https://pay.shop.cn").unwrap();
    };
    let shop = world.open_with(https).await;
    let browser = shop.browser();
    browser.register("ann").await;
    let fresh = shop.browser();
    let first = fresh.get("/login").await;
    let signed_in = fresh.log_in("ann", PASSWORD).await;
    world.expect(signed_in.status == 303, signed_in.status);
    let mut right = true;
    for answer in [&first, &signed_in] {
        let line = answer.header("set-cookie").to_owned();
        let flags: Vec<&str> = line.split("; ").collect();
        right &= line.starts_with("__Host-shouyin=")
            && ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"].iter().all(|flag| flags.contains(flag))
            && !line.contains("Domain");
    }
    world.holds("__Host- prefix", right, signed_in.header("set-cookie"));
    Ok(())
}

/// A phone at WeChat's door: the path it will come back by.
async fn returning(shop: &Shop, phone: &Browser) -> String {
    let out = phone.get("/wechat/login?next=%2Ftop-up").await;
    let at_wechat = phone.get(out.header("location")).await;
    at_wechat.header("location").strip_prefix(&shop.url).unwrap().to_owned()
}

async fn token_calls(shop: &Shop) -> usize {
    shop.simulator.calls().iter().filter(|call| call.starts_with("access_token")).count()
}

async fn phone_of(shop: &Shop, name: &str) -> Browser {
    let phone = Browser::new(shop.url.clone(), WECHAT);
    phone.register(name).await;
    phone
}

async fn wrong_state(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let (ann, bob) = (phone_of(&shop, "ann").await, phone_of(&shop, "bob").await);
    let hers = returning(&shop, &ann).await;
    let code = hers.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let stranger = shop.browser();
    let tries = [
        (&ann, format!("/wechat/callback?code={code}")),
        (&ann, format!("/wechat/callback?code={code}&state=")),
        (&ann, format!("/wechat/callback?code={code}&state={}", "0".repeat(64))),
        (&bob, hers.clone()),
        (&stranger, hers.clone()),
    ];
    for (browser, path) in tries {
        let answer = browser.get(&path).await;
        world.expect(answer.status == 400, format!("{path}: {}", answer.status));
    }
    let bound = rows(&shop, "openids").await.len();
    world.holds("no openid bound", bound == 0 && token_calls(&shop).await == 0, format!("{bound} bound"));
    let right = ann.get(&hers).await;
    world.expect(right.status == 303, right.status);
    let again = ann.get(&hers).await;
    world.expect(again.status == 400, again.status);
    let by_bob = bob.get(&hers).await;
    let sessions = rows(&shop, "sessions").await;
    let mut whose: Vec<_> = sessions.iter().map(|session| session["user_id"].as_i64().unwrap()).collect();
    whose.sort_unstable();
    let nobody = stranger.get("/orders").await.status == 303 && by_bob.status == 400;
    world.holds("no session for another user", nobody && whose == [1, 2], format!("{whose:?}"));
    Ok(())
}

async fn replayed_code(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let ann = phone_of(&shop, "ann").await;
    let path = returning(&shop, &ann).await;
    let (first, second) = tokio::join!(ann.get(&path), ann.get(&path));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    world.expect(statuses == [303, 400], format!("{statuses:?}"));
    let third = ann.get(&path).await;
    world.expect(third.status == 400, third.status);
    let calls = token_calls(&shop).await;
    world.holds("one token call per code", calls == 1, calls);
    Ok(())
}

async fn redirect_by_host(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let phone = Browser::new(shop.url.clone(), WECHAT);
    let headers = [("host", "evil.example"), ("x-forwarded-host", "evil.example")];
    let out = phone.send(Method::GET, "/wechat/login", &headers, None).await;
    let to = url::Url::parse(out.header("location")).unwrap();
    let back = to.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    let right = out.status == 302 && back == format!("{}/wechat/callback", shop.url);
    world.holds("configured value only", right && !out.header("location").contains("evil"), to);
    Ok(())
}

async fn given_openid(world: &mut World) -> Outcome {
    let shop = world.open().await;
    let ann = phone_of(&shop, "ann").await;
    let forged = shop.simulator.openid_of(666);
    let path = format!("{}&openid={forged}", returning(&shop, &ann).await);
    let answer = ann.get(&path).await;
    world.expect(answer.status == 303, answer.status);
    let form = ann.get("/top-up").await;
    let (token, intent) = (form.hidden("token"), form.hidden("intent"));
    let fields = [
        ("token", token.as_str()),
        ("intent", intent.as_str()),
        ("amount", "1"),
        ("openid", &forged),
        ("payer", &forged),
    ];
    let made = ann.post_json(&format!("/top-up?openid={forged}"), &fields).await;
    world.expect(made.status == 201, &made.body);
    let kept = [rows(&shop, "openids").await, rows(&shop, "attempts").await, rows(&shop, "sessions").await];
    let shown = format!("{kept:?}");
    let one = kept[0].len() == 1 && kept[1][0]["payer"] == text(&kept[0][0], "openid").as_str();
    world.holds("openid only from", one && !shown.contains(&forged), shown);
    Ok(())
}
