//! The pages of end users: in two languages, in care mode, and telling every state as it is.

use crate::{
    books::sql,
    channels::{COMPUTER, PHONE, order, user_of},
    harness::{Answer, Browser, PASSWORD, Shop},
    refund_pages::refund,
};
use reqwest::Method;
use shouyin::{flow::set_up, simulator::faults::Scenario};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}')
}

/// Nothing of the page is Chinese but the link to the Chinese page, and the other way round the frame is Chinese.
fn is_english(page: &Answer, name: &str) {
    assert!(page.body.contains("<html lang=\"en\""), "{name}: {}", page.body);
    assert!(page.body.contains(">中文</a>"), "{name}: {}", page.body);
    let rest = page.body.replace(">中文</a>", "");
    let left: Vec<&str> = rest.lines().filter(|line| line.chars().any(is_chinese)).collect();
    assert_eq!(left, Vec::<&str>::new(), "{name}");
}

fn is_chinese_page(page: &Answer, name: &str) {
    assert!(page.body.contains("<html lang=\"zh-CN\""), "{name}: {}", page.body);
    assert!(!page.body.contains(">中文</a>"), "{name}");
}

/// Visits every page again and again: in English, then in Chinese.
struct Tour<'a> {
    browser: &'a Browser,
    seen: usize,
}

impl Tour<'_> {
    async fn visit(&mut self, path: &str, status: u16, words: [&str; 2]) {
        for (lang, words) in [("zh", words[0]), ("en", words[1])] {
            let path = format!("{path}{}lang={lang}", if path.contains('?') { '&' } else { '?' });
            let page = self.browser.get(&path).await;
            self.look(&page, &path, lang, status, words);
        }
    }

    /// A form that comes back, or a page that says why not.
    async fn post(&mut self, path: &str, form: &[(&str, &str)], status: u16, words: [&str; 2]) {
        for (lang, words) in [("zh", words[0]), ("en", words[1])] {
            self.browser.get(&format!("/?lang={lang}")).await;
            let page = self.browser.post(path, form).await;
            self.look(&page, path, lang, status, words);
        }
    }

    fn look(&mut self, page: &Answer, path: &str, lang: &str, status: u16, words: &str) {
        assert_eq!(page.status, status, "{path}: {}", page.body);
        if lang == "en" {
            is_english(page, path)
        } else {
            is_chinese_page(page, path)
        }
        assert!(page.body.contains(words), "{path} lacks {words}: {}", page.body);
        self.seen += 1;
    }
}

#[actix_web::test]
async fn every_page_before_signing_in_is_whole_in_both_languages() {
    let shop = Shop::open().await;
    let browser = shop.browser();
    let token = browser.form_token("/login").await;
    let mut tour = Tour { browser: &browser, seen: 0 };
    tour.visit("/login?next=%2Forders", 200, ["还没有账号", "No account yet"]).await;
    tour.visit("/register", 200, ["注册账号", "Create your account"]).await;
    let link = set_up::link_if_needed(&shop.app).await.unwrap().unwrap();
    let link = link.strip_prefix(&shop.url).unwrap();
    tour.visit(link, 200, ["创建管理员", "Create the administrator"]).await;
    tour.visit("/nowhere", 404, ["没有找到", "Not found"]).await;
    tour.visit("/logout", 405, ["不支持这种请求", "does not work here"]).await;
    let wrong = [("token", token.as_str()), ("username", "ann"), ("password", "wrong")];
    tour.post("/login", &wrong, 422, ["用户名或密码不正确", "is not right"]).await;
    tour.post("/login", &[], 403, ["请求没有被接受", "was not accepted"]).await;
    for (name, password, words) in [
        ("a b", PASSWORD, ["用户名需为", "A user name has"]),
        ("ann", "short", ["密码至少需要", "at least 8"]),
        ("ann", "12345678", ["太常见", "easy to guess"]),
    ] {
        let form = [("token", token.as_str()), ("username", name), ("password", password)];
        tour.post("/register", &form, 422, words).await;
        tour.post(link, &form, 422, words).await;
    }
    assert_eq!(tour.seen, 26);
}

#[actix_web::test]
async fn every_page_of_a_payer_is_whole_in_both_languages() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let mut tour = Tour { browser: &user, seen: 0 };
    tour.visit("/orders", 200, ["还没有充值记录", "No records yet"]).await;
    tour.visit("/top-up", 200, ["选择充值金额", "Choose an amount"]).await;
    let token = user.form_token("/top-up").await;
    let form = |amount: &'static str, channel: &'static str| {
        [("token", token.clone()), ("amount", amount.to_owned()), ("channel", channel.to_owned())]
    };
    for (amount, channel, words) in [
        ("0.001", "", ["最多两位小数", "two decimals"]),
        ("x", "", ["请输入数字金额", "enter a number"]),
        ("999999999", "", ["单笔充值金额为", "Please choose between"]),
        ("50", "bogus", ["没有这种支付方式", "no such way"]),
        ("50", "alipay_qr", ["这里不能用", "does not work in this browser"]),
    ] {
        let form = form(amount, channel);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        tour.post("/top-up", &form, 422, words).await;
    }
    tour.post("/top-up", &[("token", &token), ("amount", "50")], 400, ["表单已失效", "has expired"]).await;
    let number = user.top_up("50").await;
    let home = format!("/orders/{number}");
    tour.visit(&home, 200, ["待支付", "To be paid"]).await;
    tour.visit(&format!("{home}/pay"), 200, ["去微信支付", "Pay with WeChat"]).await;
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    tour.visit(&home, 200, ["支付成功", "Payment successful"]).await;
    let admin = shop.admin().await;
    let path = format!("/admin{home}");
    assert_eq!(refund(&admin, &path, "of-the-tour-number-1", "20").await.status, 201);
    tour.visit(&home, 200, ["退款处理中", "under way"]).await;
    shop.wait_for_refunds(3, 60).await;
    tour.visit(&home, 200, ["已退款 ¥20.00", "¥20.00 refunded"]).await;
    tour.visit("/orders", 200, ["2026 年 11 月", "2026-11"]).await;

    let late = user.top_up("30").await;
    shop.simulator.set_scenario(&late, Scenario::LatePayment);
    let closed = user.top_up("10").await;
    shop.clock.advance_ms(DAY_MS / 8);
    while shop.close_expired().await > 0 {}
    shop.simulator.pay(&late).unwrap();
    shop.deliver().await;
    tour.visit(&format!("/orders/{late}"), 200, ["订单关闭后才到账", "after the order was closed"]).await;
    tour.visit(&format!("/orders/{closed}"), 200, ["订单已关闭", "Order closed"]).await;
    let waiting = user.top_up("10").await;
    shop.clock.advance_ms(DAY_MS / 8);
    tour.visit(&format!("/orders/{waiting}"), 200, ["结果确认中", "Still checking"]).await;
    assert_eq!(tour.seen, 34);
}

#[actix_web::test]
async fn every_way_to_pay_is_offered_in_both_languages() {
    let shop = Shop::open().await;
    for (name, agent, channel, words) in [
        ("ann", COMPUTER, "wechat_native", ["请打开手机", "Scan with"]),
        ("bob", COMPUTER, "alipay_qr", ["付款二维码", "QR code for paying"]),
        ("cat", COMPUTER, "alipay_page", ["去支付宝付款", "Go to Alipay"]),
        ("dan", PHONE, "wechat_h5", ["去微信付款", "Go to WeChat"]),
    ] {
        let user = user_of(&shop, name, agent).await;
        let mut tour = Tour { browser: &user, seen: 0 };
        tour.visit("/top-up", 200, ["支付方式", "Pay with"]).await;
        let (number, _) = order(&user, channel).await;
        tour.visit(&format!("/orders/{number}/pay"), 200, words).await;
        tour.visit(&format!("/return/{number}"), 200, ["正在确认支付结果", "Checking the payment"]).await;
    }
}

#[actix_web::test]
async fn a_switch_is_remembered_and_programs_and_administrators_read_chinese_whatever_it_says() {
    let shop = Shop::open().await;
    let browser = shop.browser();
    is_chinese_page(&browser.get("/login").await, "what nobody has asked for");
    let english = [("accept-language", "en-GB,en;q=0.9,zh;q=0.5")];
    is_english(&browser.send(Method::GET, "/login", &english, None).await, "what the browser prefers");
    let switched = browser.get("/login?lang=en").await;
    let cookie = switched.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let cookie = cookie.filter(|line| line.starts_with("lang=")).collect::<Vec<_>>();
    assert_eq!(cookie, ["lang=en; HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000"]);
    is_english(&browser.get("/login").await, "the next page");
    is_english(&browser.get("/nowhere").await, "an error");
    // Once more, by the link of the page itself.
    assert!(switched.body.contains("href=\"?lang=zh\""), "{}", switched.body);
    is_chinese_page(&browser.get("/register?lang=zh").await, "back again");

    let admin = shop.admin().await;
    admin.get("/login?lang=en&care=1").await;
    for path in ["/admin/orders", "/admin/nowhere", "/admin/orders?lang=en"] {
        let page = admin.get(path).await;
        assert!(page.body.contains("<html lang=\"zh-CN\">"), "{path}: {}", page.body);
        assert!(!page.body.contains("lang=zh"), "{path}: {}", page.body);
    }
    for (path, words) in [("/nowhere", "这个地址不存在"), ("/orders/x", "这个地址不存在")] {
        let problem = admin.get_json(path).await.json();
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}

#[actix_web::test]
async fn care_mode_is_a_link_away_on_every_page_and_stays_until_it_is_left() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let plain = user.get("/top-up").await.body;
    assert!(plain.contains("href=\"?care=1\">关怀模式</a>"), "{plain}");
    assert!(user.get("/top-up?care=1").await.body.contains("<html lang=\"zh-CN\" class=\"care\">"));
    let number = user.top_up("50").await;
    for path in ["/top-up", "/orders", &format!("/orders/{number}"), &format!("/orders/{number}/pay"), "/x"] {
        let page = user.get(path).await.body;
        assert!(page.contains("class=\"care\"") && page.contains(">标准模式</a>"), "{path}: {page}");
    }
    assert!(!user.get("/orders?care=0").await.body.contains("class=\"care\""));
    assert!(!user.get("/orders").await.body.contains("class=\"care\""));
}

#[actix_web::test]
async fn what_a_switch_repeats_of_an_address_leads_nowhere_else() {
    let shop = Shop::open().await;
    let browser = shop.browser();
    for (path, link) in [
        ("/login?next=%2Forders&x=%22%3E%3Cscript%3E", "href=\"?lang=en&#38;next=%2Forders\""),
        ("//evil.example/x", "href=\"?lang=en\""),
        ("/%2F%2Fevil.example", "href=\"?lang=en\""),
    ] {
        let page = browser.get(path).await.body;
        assert!(page.contains(link), "{path} lacks {link}: {page}");
        assert!(!page.contains("<script>") && !page.contains("evil"), "{path}: {page}");
    }
}

#[actix_web::test]
async fn a_months_sums_are_of_the_whole_month_however_little_of_it_the_page_shows() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let old = user.top_up("100").await;
    shop.simulator.pay(&old).unwrap();
    shop.deliver().await;
    shop.clock.advance_ms(12 * DAY_MS);
    for _ in 0..21 {
        let number = user.top_up("20").await;
        shop.simulator.pay(&number).unwrap();
        shop.deliver().await;
    }
    let admin = shop.admin().await;
    assert_eq!(
        refund(&admin, &format!("/admin/orders/{old}"), "of-an-old-order-0001", "30").await.status,
        201
    );
    shop.wait_for_refunds(3, 60).await;
    let sums = |page: &str| -> Vec<String> {
        let heads = page.split("class=\"month\"").skip(1);
        heads.map(|head| plain(head.split_once('>').unwrap().1.split("</h2>").next().unwrap())).collect()
    };
    let first = user.get("/orders").await.body;
    assert_eq!(sums(&first), ["2026 年 12 月 充值 ¥420.00"]);
    let (_, more) = first.split_once("href=\"/orders?before=").unwrap();
    let second = user.get(&format!("/orders?before={}", more.split('"').next().unwrap())).await.body;
    // The refund counts where its order stands.
    assert_eq!(sums(&second), ["2026 年 12 月 充值 ¥420.00", "2026 年 11 月 充值 ¥100.00 退款 ¥30.00"]);
    assert!(plain(&second).contains("已退款"), "{second}");
}

/// The words of a piece of HTML.
fn plain(html: &str) -> String {
    let words: String =
        html.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text)).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[actix_web::test]
async fn only_what_can_be_paid_offers_to_go_on_and_days_are_named() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let closed = user.top_up("10").await;
    shop.clock.advance_ms(DAY_MS);
    while shop.close_expired().await > 0 {}
    let paid = user.top_up("20").await;
    shop.simulator.pay(&paid).unwrap();
    shop.deliver().await;
    let open = user.top_up("30").await;
    let page = user.get("/orders").await.body;
    let row = |number: &str| {
        let (_, row) = page.split_once(&format!("href=\"/orders/{number}\"")).unwrap();
        plain(row.split("</li>").next().unwrap())
    };
    assert!(row(&open).contains("继续支付 ¥30.00") && row(&open).contains("今天 20:00"), "{}", row(&open));
    assert!(page.contains(&format!("href=\"/orders/{open}/pay\"")));
    for (number, words) in [(&paid, "已入账"), (&closed, "昨天 20:00")] {
        assert!(row(number).contains(words) && !row(number).contains("继续支付"), "{}", row(number));
    }
}

#[actix_web::test]
async fn a_payment_that_does_not_fit_is_said_to_be_looked_into_and_cannot_be_made_again() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    let number = user.top_up("50").await;
    let home = format!("/orders/{number}");
    shop.notify(shop.simulator.signed_notify(&number, &[("total_fee", "1")])).await;
    let page = user.get(&home).await.body;
    assert!(page.contains("订单需人工核对") && page.contains("请勿重复支付"), "{page}");
    assert!(!page.contains(&format!("{home}/pay")) && !page.contains("支付成功"), "{page}");
    let records = user.get("/orders").await.body;
    assert!(records.contains("需核对") && !records.contains("继续支付"), "{records}");
    let pay = user.get(&format!("{home}/pay")).await;
    assert_eq!((pay.status, pay.header("location")), (303, home.as_str()));
    // Money that fits after all ends the worry.
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    assert!(user.get(&home).await.body.contains("支付成功"));
}

#[actix_web::test]
async fn a_refund_is_said_to_go_back_the_way_it_was_paid() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    for (name, channel, says, never) in [
        ("ann", "alipay_qr", "原路退回支付宝", "微信"),
        ("bob", "wechat_native", "原路退回微信支付", "支付宝"),
    ] {
        let user = user_of(&shop, name, COMPUTER).await;
        let (number, _) = order(&user, channel).await;
        shop.simulator.pay(&number).unwrap();
        shop.deliver().await;
        shop.simulator.set_scenario(&number, Scenario::RefundProcessing);
        let asked =
            refund(&admin, &format!("/admin/orders/{number}"), &format!("the-refund-of-{name}"), "20").await;
        assert!(asked.status < 400, "{}", asked.body);
        let page = user.get(&format!("/orders/{number}")).await.body;
        assert!(page.contains("退款处理中") && page.contains(says) && !page.contains(never), "{page}");
    }
}

#[actix_web::test]
async fn while_the_books_are_away_a_page_says_that_money_is_safe_and_offers_itself_again() {
    let shop = Shop::open().await;
    let user = shop.user("ann").await;
    shop.app.store.write(sql("ALTER TABLE orders RENAME TO put_aside")).await.unwrap();
    for (lang, words, again) in [("zh", "款项是安全的", "重试"), ("en", "your money is safe", "Try again")]
    {
        let page = user.get(&format!("/orders?lang={lang}")).await;
        assert_eq!((page.status, page.header("retry-after")), (503, "3"));
        assert!(page.body.contains(words), "{}", page.body);
        assert!(page.body.contains(&format!("<a class=\"btn\" href=\"\">{again}</a>")), "{}", page.body);
    }
    is_english(&user.get("/orders").await, "maintenance");
    shop.app.store.write(sql("ALTER TABLE put_aside RENAME TO orders")).await.unwrap();
    assert_eq!(user.get("/orders").await.status, 200);
}

#[actix_web::test]
async fn without_script_the_result_is_a_link_away_from_the_code_that_was_paid() {
    let shop = Shop::open().await;
    let user = user_of(&shop, "ann", COMPUTER).await;
    let (number, page) = order(&user, "wechat_native").await;
    let (before, _) = page.body.split_once("\">查询结果</a>").unwrap_or_else(|| panic!("{}", page.body));
    let link = before.rsplit("href=\"").next().unwrap();
    // Nothing has come yet: the page says so, and leads on without script, too.
    let early = user.get(link).await;
    assert!(
        early.body.contains("正在确认支付结果") && early.body.contains(&format!("href=\"{link}\"")),
        "{}",
        early.body
    );
    shop.simulator.set_scenario(&number, Scenario::NotifyLost);
    shop.simulator.pay(&number).unwrap();
    shop.deliver().await;
    shop.clock.advance_ms(5_000);
    let asked = user.get(link).await;
    assert_eq!((asked.status, asked.header("location")), (303, format!("/orders/{number}").as_str()));
    assert!(user.get(asked.header("location")).await.body.contains("支付成功"));
}

#[actix_web::test]
async fn whoever_signs_in_without_having_wanted_a_page_comes_to_their_own() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let away = Browser::new(shop.url.clone(), COMPUTER);
    assert!(away.get("/login").await.body.contains("name=\"next\" value=\"\""));
    let token = away.form_token("/login").await;
    let form =
        |next| [("token", token.as_str()), ("username", "boss"), ("password", PASSWORD), ("next", next)];
    assert_eq!(away.post("/login", &form("")).await.header("location"), "/admin/orders");
    drop(admin);
}

#[actix_web::test]
async fn a_link_that_works_no_more_says_who_has_another() {
    let shop = Shop::open().await;
    let visitor = Browser::new(shop.url.clone(), COMPUTER);
    for (path, words) in [("/admin/setup/none", "重新启动 serve"), ("/admin/invite/none", "再发一个")]
    {
        let page = visitor.get(path).await;
        assert!(page.status == 404 && page.body.contains(words), "{path}: {}", page.body);
    }
}
