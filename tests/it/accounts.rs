//! Accounts, sessions, forms and rights: who may do what, and what a stranger cannot.

use crate::harness::{Answer, Browser, PASSWORD, Shop};
use reqwest::Method;
use shouyin::{config::PublicUrl, domain::user::Role, flow::set_up};

const EVIL: &str = "https://evil.example";

/// Whether this browser's own records are shown, or it is sent to sign in.
async fn signed_in(browser: &Browser) -> bool {
    let answer = browser.get("/orders").await;
    let away = ["/login?", "/wechat/login?"].iter().any(|at| answer.header("location").starts_with(at));
    assert!(answer.status == 200 || (answer.status == 303 && away), "{}", answer.body);
    answer.status == 200
}

fn with_cookie(shop: &Shop, cookie: &str) -> Browser {
    let browser = shop.browser();
    browser.set_cookie(cookie);
    browser
}

#[actix_web::test]
async fn a_session_is_new_at_every_sign_in_and_dead_after_signing_out() {
    let shop = Shop::open().await;
    let browser = shop.browser();
    browser.register("ann").await;
    let first = browser.cookie().unwrap();
    assert!(signed_in(&browser).await);

    // Again from the same browser: the session it had is over.
    let token = browser.form_token("/top-up").await;
    let form = [("token", token.as_str()), ("username", "Ann"), ("password", PASSWORD)];
    assert_eq!(browser.post("/login", &form).await.status, 303);
    let second = browser.cookie().unwrap();
    assert_ne!(first, second);
    assert!(!signed_in(&with_cookie(&shop, &first)).await);
    assert!(signed_in(&with_cookie(&shop, &second)).await);

    let out = browser.send(Method::GET, "/logout", &[], None).await;
    assert_eq!(out.status, 405, "a link must not sign anybody out");
    let token = browser.form_token("/top-up").await;
    assert_eq!(browser.post("/logout", &[("token", &token)]).await.status, 303);
    assert_ne!(browser.cookie().unwrap(), second);
    assert!(!signed_in(&browser).await);
    assert!(!signed_in(&with_cookie(&shop, &second)).await, "dead on the server, not only in the browser");
}

#[actix_web::test]
async fn nobody_gets_a_name_under_which_the_books_themselves_act() {
    let shop = Shop::open().await;
    for name in ["shouyin", "CLI"] {
        let browser = shop.browser();
        let token = browser.form_token("/register").await;
        let form = [("token", token.as_str()), ("username", name), ("password", PASSWORD)];
        let answer = browser.post("/register", &form).await;
        assert!(
            answer.status == 422 && answer.body.contains("这个用户名已被使用"),
            "{name}: {}",
            answer.body
        );
        assert!(
            set_up::admin_by_command(&shop.app, name, PASSWORD.to_owned(), Role::Owner).await.is_err(),
            "{name}"
        );
    }
}

#[actix_web::test]
async fn only_the_one_cookie_of_the_very_name_says_who_a_browser_is() {
    let shop = Shop::open().await;
    let secret = shop.user("ann").await.cookie().unwrap();
    let planted = "a".repeat(64);
    for (line, expected) in [
        (format!("shouyin={secret}"), true),
        (format!("theme=dark; shouyin={secret} ;x"), true),
        // Any sibling of a host may set a name that only decodes to a protected one.
        (format!("%73houyin={secret}"), false),
        (format!("shouyin=%{:02x}{}", secret.as_bytes()[0], &secret[1..]), false),
        (format!("shouyin={planted}; shouyin={secret}"), false),
        (format!("shouyin={secret}; shouyin={planted}"), false),
        (format!("Shouyin={secret}"), false),
        (format!("xshouyin={secret}"), false),
        (format!("shouyin={secret}0"), false),
        (format!("shouyin=\"{secret}\""), false),
    ] {
        let answer = shop.browser().send(Method::GET, "/orders", &[("cookie", &line)], None).await;
        assert_eq!(answer.status == 200, expected, "{line}");
    }
}

#[actix_web::test]
async fn a_session_planted_before_signing_in_is_worth_nothing_afterwards() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let planted = "a".repeat(64);
    let victim = with_cookie(&shop, &planted);
    assert_eq!(victim.log_in("ann", PASSWORD).await.status, 303);
    assert_ne!(victim.cookie().unwrap(), planted);
    assert!(signed_in(&victim).await);
    assert!(!signed_in(&with_cookie(&shop, &planted)).await);
}

#[actix_web::test]
async fn a_session_ends_after_fourteen_idle_days_and_an_administrators_after_twelve_hours() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    shop.clock.advance_ms(11 * 3600 * 1000);
    assert_eq!(admin.get("/admin/orders").await.status, 200);
    shop.clock.advance_ms(12 * 3600 * 1000);
    assert_eq!(admin.get("/admin/orders").await.status, 303);
    assert!(signed_in(&user).await);
    shop.clock.advance_ms(14 * 24 * 3600 * 1000);
    assert!(!signed_in(&user).await);
}

#[actix_web::test]
async fn a_form_without_its_token_or_from_another_site_changes_nothing() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let stranger = shop.browser();
    let foreign = stranger.form_token("/login").await;
    let before = shop.books(&number).await;
    let returned = format!("/orders/{number}/returned");
    let query = format!("/admin/orders/{number}/query");
    let forms: [(&Browser, &str); 7] = [
        (&stranger, "/register"),
        (&stranger, "/login"),
        (&user, "/logout"),
        (&user, "/top-up"),
        (&user, &returned),
        (&admin, &query),
        (&admin, "/admin/work-items/1/close"),
    ];
    for (browser, path) in forms {
        let page = if browser.cookie() == stranger.cookie() { "/login" } else { "/top-up" };
        let page = if path.starts_with("/admin") { "/admin/orders" } else { page };
        let mine = browser.get(page).await.hidden("token");
        let other = if path == "/register" || path == "/login" { "0".repeat(64) } else { foreign.clone() };
        let fields = |token| {
            [
                ("token", token),
                ("username", "mallory"),
                ("password", PASSWORD),
                ("amount", "50"),
                ("intent", "12345678"),
                ("result", "ok"),
                ("note", "done"),
            ]
        };
        let shouted = mine.to_uppercase();
        for token in ["", &other, &shouted, &mine[1..]] {
            let answer = browser.post(path, &fields(token)).await;
            assert_eq!(answer.status, 403, "{path} with token {token:?}");
        }
        for header in [
            ("origin", EVIL),
            ("origin", "null"),
            ("origin", "http://127.0.0.1"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let answer = browser.send(Method::POST, path, &[header], Some(&fields(&mine))).await;
            assert_eq!(answer.status, 403, "{path} with {header:?}");
        }
    }
    assert_eq!(shop.books(&number).await, before);
    assert!(signed_in(&user).await);
    assert_eq!(user.get_json("/orders").await.json()["orders"].as_array().unwrap().len(), 1);
    // The very same request from our own page goes through.
    let token = user.form_token("/top-up").await;
    let headers = [("origin", shop.url.as_str()), ("sec-fetch-site", "same-origin")];
    let fields = [("token", token.as_str()), ("result", "ok")];
    assert_eq!(user.send(Method::POST, &returned, &headers, Some(&fields)).await.status, 204);
}

#[actix_web::test]
async fn an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let browser = shop.browser();
    let wrong = browser.log_in("ann", "not her password").await;
    let unknown = browser.log_in("nobody", "not her password").await;
    let impossible = browser.log_in("<b>", "not her password").await;
    let plain = |answer: &Answer, name: &str| answer.body.replace(&format!("value=\"{name}\""), "value");
    for (answer, name) in [(&unknown, "nobody"), (&impossible, "&#60;b&#62;")] {
        assert_eq!((wrong.status, answer.status), (422, 422));
        assert_eq!(plain(&wrong, "ann"), plain(answer, name));
    }
    assert!(!impossible.body.contains("<b>"));
}

/// Answers to wrong passwords until one is 429, at most `most`.
async fn guesses(browser: &Browser, most: usize, forwarded: impl Fn(usize) -> String) -> Vec<Answer> {
    let token = browser.form_token("/login").await;
    let fields = [("token", token.as_str()), ("username", "ann"), ("password", "a wrong guess")];
    let mut answers: Vec<Answer> = Vec::new();
    while answers.len() < most && answers.last().is_none_or(|answer| answer.status != 429) {
        let from = forwarded(answers.len());
        let headers = [("x-forwarded-for", from.as_str()), ("x-real-ip", from.as_str())];
        answers.push(browser.send(Method::POST, "/login", &headers, Some(&fields)).await);
    }
    answers
}

#[actix_web::test]
async fn guessing_a_password_is_stopped_and_a_made_up_address_does_not_help() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let answers = guesses(&shop.browser(), 15, |n| format!("203.0.113.{n}")).await;
    assert!(answers[..10].iter().all(|answer| answer.status == 422));
    let last = answers.last().unwrap();
    assert_eq!(last.status, 429);
    assert!((1..=60).contains(&last.header("retry-after").parse::<u32>().unwrap()));
    // The right password does not open it either, so nothing is learnt by going on.
    assert_eq!(shop.browser().log_in("ANN", PASSWORD).await.status, 429);
}

#[actix_web::test]
async fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let shop = Shop::open_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    shop.user("ann").await;
    let many = guesses(&shop.browser(), 12, |n| format!("203.0.113.{n}")).await;
    assert!(many.iter().all(|answer| answer.status == 422));
    // What a client writes in front of what the proxy adds is not believed.
    let one = guesses(&shop.browser(), 15, |n| format!("10.0.0.{n}, 203.0.113.77")).await;
    assert_eq!(one.last().unwrap().status, 429);
}

#[actix_web::test]
async fn the_payers_address_comes_from_the_peer_unless_the_proxy_is_trusted() {
    for (proxies, expected) in [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.7")] {
        let shop = Shop::open_with(|config| {
            config.trusted_proxies =
                proxies.split(',').filter(|p| !p.is_empty()).map(|p| p.parse().unwrap()).collect();
        })
        .await;
        let user = shop.user("ann").await;
        let page = user.get("/top-up").await;
        let (token, intent) = (page.hidden("token"), page.hidden("intent"));
        let fields = [("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
        let headers = [("accept", "application/json"), ("x-forwarded-for", "198.51.100.1, 203.0.113.7")];
        let made = user.send(Method::POST, "/top-up", &headers, Some(&fields)).await;
        let number = made.json()["out_trade_no"].as_str().unwrap().to_owned();
        assert_eq!(shop.attempts(&number).await[0].client_ip, expected);
    }
}

#[actix_web::test]
async fn fields_a_form_does_not_have_are_ignored() {
    let shop = Shop::open().await;
    let browser = shop.browser();
    let token = browser.form_token("/register").await;
    let mut fields = vec![("token", token.as_str()), ("username", "mallory"), ("password", PASSWORD)];
    fields.extend([("role", "owner"), ("is_admin", "1"), ("id", "1"), ("balance", "100000")]);
    assert_eq!(browser.post("/register", &fields).await.status, 303);
    assert_eq!(browser.get("/admin/orders").await.status, 404);

    shop.user("ann").await;
    let page = browser.get("/top-up").await;
    let (token, intent) = (page.hidden("token"), page.hidden("intent"));
    let mut fields = vec![("token", token.as_str()), ("intent", intent.as_str()), ("amount", "50")];
    fields.extend([("status", "1"), ("user_id", "2"), ("amount_fen", "1"), ("total_fee", "1")]);
    fields.extend([("out_trade_no", "mine"), ("openid", "oMine"), ("notify_url", EVIL), ("paid", "true")]);
    let made = browser.post_json("/top-up", &fields).await.json();
    let order = shop.order(made["out_trade_no"].as_str().unwrap()).await;
    assert_eq!((order.user_id, order.amount.get(), order.is_paid()), (1, 5000, false));
    let twice = [("token", token.as_str()), ("amount", "1"), ("amount", "50"), ("intent", "87654321")];
    assert_eq!(browser.post_json("/top-up", &twice).await.status, 400);
}

#[actix_web::test]
async fn registering_says_beside_the_field_what_can_be_mended() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    let browser = shop.browser();
    let token = browser.form_token("/register").await;
    for (name, password, sentence) in [
        ("ANN", PASSWORD, "已被使用"),
        ("a b", PASSWORD, "用户名需为"),
        ("<script>", PASSWORD, "用户名需为"),
        ("bob", "short", "至少需要 8 个字符"),
        ("bob", "password", "太常见"),
    ] {
        let fields = [("token", token.as_str()), ("username", name), ("password", password)];
        let answer = browser.post("/register", &fields).await;
        assert_eq!(answer.status, 422, "{name}");
        assert!(answer.body.contains(sentence), "{name}: {}", answer.body);
        assert!(!answer.body.contains(&format!("value=\"{password}\"")), "{name}");
    }
    assert!(!signed_in(&browser).await);
}

#[actix_web::test]
async fn signing_in_leads_to_an_address_of_this_site_only() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    for (next, expected) in [
        ("/orders", "/orders"),
        ("/orders?before=3", "/orders?before=3"),
        ("https://evil.example", "/top-up"),
        ("//evil.example", "/top-up"),
        ("/\\evil.example", "/top-up"),
        ("\\\\evil.example", "/top-up"),
        ("/\t/evil.example", "/top-up"),
        ("/\r\nset-cookie: a=b", "/top-up"),
        ("javascript:alert(1)", "/top-up"),
        ("evil.example", "/top-up"),
        ("", "/top-up"),
    ] {
        let browser = shop.browser();
        let token = browser.form_token("/register").await;
        let name = format!("u{}", shop.clock.nonce().unwrap().chars().take(12).collect::<String>());
        let fields = [("token", token.as_str()), ("username", &name), ("password", PASSWORD), ("next", next)];
        let answer = browser.post("/register", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, expected), "{next:?}");
    }
    let browser = shop.browser();
    let token = browser.form_token("/login?next=%2F%2Fevil.example").await;
    let fields = [("token", token.as_str()), ("username", "ann"), ("password", PASSWORD), ("next", "//evil")];
    assert_eq!(browser.post("/login", &fields).await.header("location"), "/top-up");
}

#[actix_web::test]
async fn the_setup_link_works_once_and_for_thirty_minutes() {
    let shop = Shop::open().await;
    let path = |link: String| link.strip_prefix(&shop.url).unwrap().to_owned();
    let first = path(set_up::link_if_needed(&shop.app).await.unwrap().unwrap());
    shop.clock.advance_ms(30 * 60_000);
    assert_eq!(shop.browser().get(&first).await.status, 404, "expired");

    let second = path(set_up::link_if_needed(&shop.app).await.unwrap().unwrap());
    let third = path(set_up::link_if_needed(&shop.app).await.unwrap().unwrap());
    assert_eq!(shop.browser().get(&second).await.status, 404, "replaced");
    shop.clock.advance_ms(30 * 60_000 - 1);
    let browser = shop.browser();
    let token = browser.form_token(&third).await;
    let weak = [("token", token.as_str()), ("username", "boss"), ("password", "short")];
    assert_eq!(browser.post(&third, &weak).await.status, 422, "a mistake does not use it up");
    let fields = [("token", token.as_str()), ("username", "boss"), ("password", PASSWORD)];
    let rival = shop.browser();
    let rivals = rival.form_token(&third).await;
    let theirs = [("token", rivals.as_str()), ("username", "rival"), ("password", PASSWORD)];
    let (a, b) = tokio::join!(browser.post(&third, &fields), rival.post(&third, &theirs));
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404], "of two at once one goes through");
    assert_eq!(shop.browser().get(&third).await.status, 404, "used");
    assert!(set_up::link_if_needed(&shop.app).await.unwrap().is_none());
    assert_eq!(shop.browser().get("/admin/setup/").await.status, 404);
}

#[actix_web::test]
async fn administration_does_not_exist_for_users_and_asks_strangers_to_sign_in() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let pages = ["/admin", "/admin/orders", "/admin/notices", "/admin/work-items"].map(str::to_owned);
    let one = format!("/admin/orders/{number}");
    for page in pages.iter().chain([&one]) {
        let nobody = shop.browser().get(page).await;
        assert_eq!(nobody.status, 303, "{page}");
        assert!(nobody.header("location").starts_with("/login?next=%2Fadmin"), "{page}");
        assert_eq!(shop.browser().get_json(page).await.status, 401, "{page}");
        let missing = user.get("/admin/no-such-page").await;
        let plain = user.get(page).await;
        assert_eq!((plain.status, missing.status), (404, 404), "{page}");
        let id = |answer: &Answer| answer.body.replace(answer.header("x-request-id"), "");
        assert_eq!(id(&plain), id(&missing), "{page} looks like no page at all");
        let shown = admin.get(page).await;
        assert!(shown.status == 200 || page == "/admin", "{page}: {}", shown.status);
    }
    let token = user.form_token("/top-up").await;
    for act in [format!("{one}/query"), "/admin/work-items/1/close".to_owned()] {
        let fields = [("token", token.as_str()), ("note", "done")];
        assert_eq!(user.post(&act, &fields).await.status, 404, "{act}");
        assert_eq!(shop.browser().post(&act, &fields).await.status, 303, "{act}");
    }
    assert_eq!(shop.calls(&number), ["unifiedorder"], "nobody was asked");
    // An administrator reads any order, and cannot pay for somebody else.
    assert_eq!(admin.get_json(&format!("/orders/{number}")).await.status, 200);
    assert_eq!(admin.get(&format!("/orders/{number}/pay")).await.status, 404);
}

#[actix_web::test]
async fn the_cookie_is_locked_to_this_site_when_it_is_https() {
    let shop = Shop::open_with(|config| {
        config.public_url = PublicUrl::parse("https://pay.shop.test").unwrap();
    })
    .await;
    let answer = shop.browser().get("/login").await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-shouyin="), "{cookie}");
    for part in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Domain"));
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
    assert_eq!(answer.header("cache-control"), "no-store");

    let plain = Shop::open().await;
    let loopback = plain.browser().get("/login").await;
    let cookie = loopback.header("set-cookie");
    assert!(cookie.starts_with("shouyin=") && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("Secure"));
}
