//! `shouyin demo` as a child process, as somebody meets it who has just cloned the repository.

use crate::{
    channels::{COMPUTER, PHONE, link_of, order, pay_of},
    harness::{Answer, Browser, PASSWORD, WECHAT},
    webdriver::{self, Wish, told},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use shouyin::domain::order::Channel;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A running demo and the links it printed.
pub struct Demo {
    child: Child,
    pub shop: String,
    admin: String,
    pub simulator: String,
    pub folder: PathBuf,
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// A command that finds no settings, whatever this machine has.
fn shouyin(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shouyin"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

impl Demo {
    pub fn start() -> Demo {
        Demo::start_with(0, 0, &[])
    }

    fn start_with(port: u16, simulator_port: u16, more: &[&str]) -> Demo {
        Demo::start_logging_to(None, port, simulator_port, more)
    }

    /// Every line of the log goes into the file, if there is one.
    fn start_logging_to(log: Option<File>, port: u16, simulator_port: u16, more: &[&str]) -> Demo {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("shouyin-demo-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = shouyin(&folder)
            .args(["demo", "--data", "books", "--port"])
            .arg(port.to_string())
            .arg("--simulator-port")
            .arg(simulator_port.to_string())
            .args(more)
            .envs(log.is_some().then_some(("LOG", "info")))
            .stdout(Stdio::piped())
            .stderr(log.map_or_else(Stdio::inherit, Stdio::from))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut link = |mark: &str| {
            let line = lines.by_ref().find(|line| line.contains(mark)).unwrap_or_else(|| panic!("no {mark}"));
            line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
        };
        let register = link("register");
        let demo = Demo {
            shop: register.strip_suffix("/register").unwrap().to_owned(),
            admin: link("admin"),
            simulator: link("simulator").trim_end_matches('/').to_owned(),
            child,
            folder,
        };
        // Nobody reads on; the QR code must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        demo
    }

    /// Answers as soon as the shop says it is ready.
    pub async fn ready(&self) {
        let operator = Browser::new(self.shop.clone(), "test");
        for _ in 0..1_200 {
            if operator.get("/readyz").await.status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the demo did not become ready");
    }

    /// SIGTERM; answers how it ended and whether it said before that it takes no new traffic.
    async fn terminate(&mut self) -> (ExitStatus, bool) {
        let line = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
        let client = Client::builder().no_proxy().build().unwrap();
        let (asked, mut said_so) = (Instant::now(), false);
        while asked.elapsed() < Duration::from_secs(40) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, said_so);
            }
            let answer = client.get(format!("{}/readyz", self.shop)).send().await;
            said_so |= answer.is_ok_and(|answer| answer.status() == 503);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("still running 40 s after SIGTERM");
    }

    /// Tops up and pays in the simulated cashier; gives the order's number once the shop says it is paid.
    async fn pay(&self, user: &Browser, yuan: &str, scenario: &str) -> String {
        let order = user.try_top_up(yuan).await;
        assert_eq!(order.status, 201, "{}", order.body);
        let order = order.json();
        let number = order["out_trade_no"].as_str().unwrap().to_owned();
        let package = order["pay"]["params"]["package"].as_str().unwrap();
        let prepay_id = package.strip_prefix("prepay_id=").unwrap();
        let cashier = format!("{}/cashier/pay", self.simulator);
        let paid = user.post(&cashier, &[("prepay_id", prepay_id), ("scenario", scenario)]).await;
        assert_eq!(paid.status, 303, "{}", paid.body);
        let status = user.get_json(&format!("/orders/{number}/status?wait=20")).await.json();
        assert_eq!(status["paid"], true, "{scenario}: {status}");
        number
    }

    async fn admin(&self) -> Browser {
        let admin = Browser::new(self.shop.clone(), "test");
        let path = self.admin.strip_prefix(&self.shop).unwrap();
        let token = admin.form_token(path).await;
        let form = [("token", token.as_str()), ("username", "boss"), ("password", PASSWORD)];
        let made = admin.post(path, &form).await;
        assert_eq!(made.status, 303, "{}", made.body);
        admin
    }
}

/// Somebody at a demo, by hand: a computer, a phone's browser, and what the simulator's pages offer.
struct Hands<'a> {
    demo: &'a Demo,
    computer: Browser,
    phone: Browser,
}

impl Hands<'_> {
    async fn at(demo: &Demo) -> Hands<'_> {
        let computer = Browser::new(demo.shop.clone(), COMPUTER);
        computer.register("ann").await;
        let phone = Browser::new(demo.shop.clone(), PHONE);
        assert_eq!(phone.log_in("ann", PASSWORD).await.status, 303);
        for browser in [&computer, &phone] {
            browser.go_to_wechat_and_back().await;
        }
        Hands { demo, computer, phone }
    }

    /// Orders for 50 yuan by this way; gives the order's number and the address of the pay sheet.
    async fn begin(&self, channel: Channel) -> (String, String) {
        let name = channel.as_str();
        match channel {
            Channel::WechatJsapi => {
                let (number, pay) = pay_of(&self.computer, name).await;
                (number, self.bridge(&pay["params"]).await)
            }
            Channel::WechatMini => self.on_the_phone("mini").await,
            Channel::WechatApp => self.on_the_phone("app").await,
            Channel::WechatNative | Channel::AlipayQr => {
                let (number, _) = order(&self.computer, name).await;
                let list = self.computer.get(&format!("{}/", self.demo.simulator)).await.body;
                let (before, _) = list.split_once(&format!("\">{number}</a>")).expect("a trade in the list");
                (number, before.rsplit_once("href=\"").unwrap().1.to_owned())
            }
            Channel::WechatH5 | Channel::AlipayPage | Channel::AlipayWap => {
                let browser = if channel == Channel::AlipayPage { &self.computer } else { &self.phone };
                let (number, page) = order(browser, name).await;
                let referer = format!("{}/", self.demo.shop);
                let link = link_of(&page);
                let sent = browser.send(Method::GET, link.as_str(), &[("referer", &referer)], None).await;
                assert!(matches!(sent.status, 302 | 303), "{name}: {}", sent.body);
                (number, sent.header("location").to_owned())
            }
        }
    }

    /// What the page's bridge does in the demo.
    async fn bridge(&self, params: &Value) -> String {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}/bridge/check", self.demo.simulator));
        let request = request.header("origin", &self.demo.shop).body(params.to_string());
        let checked = Answer::of(request.send().await.unwrap()).await.json();
        assert_eq!(checked["ok"], true, "{checked}");
        format!("/cashier?prepay_id={}", checked["prepay_id"].as_str().unwrap())
    }

    async fn phone_form(&self, program: &str, password: &str) -> Answer {
        let form = [("username", "ann"), ("password", password), ("amount", "50")];
        self.computer.post(&format!("{}/phone/{program}", self.demo.simulator), &form).await
    }

    async fn on_the_phone(&self, program: &str) -> (String, String) {
        let page = self.phone_form(program, PASSWORD).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let orders = format!("{}/orders/", self.demo.shop);
        let (_, rest) = page.body.split_once(&orders).unwrap_or_else(|| panic!("{}", page.body));
        let number = rest.split('"').next().unwrap().to_owned();
        (number, format!("/cashier?prepay_id={}", page.hidden("prepay_id")))
    }

    /// Presses 确认支付 on that sheet; gives its prepay_id and where the browser is sent.
    async fn confirm(&self, sheet: &str) -> (String, String) {
        let page = self.computer.get(&format!("{}{sheet}", self.demo.simulator)).await;
        assert!(page.status == 200 && page.body.contains("确认支付"), "{sheet}: {}", page.body);
        let prepay_id = page.hidden("prepay_id");
        let back = if page.body.contains("name=\"redirect_url\"") {
            page.hidden("redirect_url")
        } else {
            String::new()
        };
        let form = [("prepay_id", prepay_id.as_str()), ("redirect_url", &back), ("scenario", "ok")];
        let paid = self.computer.post(&format!("{}/cashier/pay", self.demo.simulator), &form).await;
        assert_eq!(paid.status, 303, "{sheet}: {}", paid.body);
        (prepay_id, paid.header("location").to_owned())
    }

    /// Pays by every way; answers how many there are. Each is credited, and once, though its callback comes again.
    async fn pay_by_every_way(&self) -> i64 {
        let mut paid = 0;
        for channel in Channel::ALL {
            let (number, sheet) = self.begin(channel).await;
            let (prepay_id, sent_to) = self.confirm(&sheet).await;
            let returns = matches!(channel, Channel::WechatH5 | Channel::AlipayPage | Channel::AlipayWap);
            let back = format!("{}/return/{number}", self.demo.shop);
            assert_eq!(sent_to.starts_with(&back), returns, "{channel:?}: {sent_to}");
            let status = self.computer.get_json(&format!("/orders/{number}/status?wait=25")).await.json();
            assert_eq!(status["paid"], true, "{channel:?}: {status}");
            let again = format!("{}/cashier/resend", self.demo.simulator);
            assert_eq!(self.computer.post(&again, &[("prepay_id", &prepay_id)]).await.status, 303);
            paid += 1;
            let records = self.computer.get_json("/orders").await.json();
            assert_eq!(records["balance_fen"], json!(5000 * paid), "{channel:?}");
            assert_eq!(records["orders"].as_array().unwrap().len(), usize::try_from(paid).unwrap());
        }
        paid
    }
}

#[actix_web::test]
async fn every_way_to_pay_is_paid_by_hand_in_the_demo_and_credited_once() {
    let demo = Demo::start();
    demo.ready().await;
    let hands = Hands::at(&demo).await;
    let refused = hands.phone_form("mini", "not the password").await;
    assert!(refused.status == 422 && refused.body.contains("商户不认识这个用户名和密码"), "{}", refused.body);
    assert_eq!(hands.pay_by_every_way().await, 8);
    let page = hands.phone_form("app", PASSWORD).await.body;
    for text in ["appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"] {
        assert!(page.contains(&format!("<dt>{text}</dt>")), "{text}: {page}");
    }
    assert!(!page.contains(PASSWORD), "the password is repeated");
}

#[actix_web::test]
async fn every_way_to_pay_is_paid_by_hand_in_the_demo_by_v3_too() {
    let demo = Demo::start_with(0, 0, &["--v3"]);
    demo.ready().await;
    assert_eq!(Hands::at(&demo).await.pay_by_every_way().await, 8);
}

#[actix_web::test]
async fn the_first_command_of_the_readme_keeps_its_promise() {
    let mut demo = Demo::start();
    demo.ready().await;
    let user = Browser::new(demo.shop.clone(), "test");
    user.register("ann").await;
    user.go_to_wechat_and_back().await;
    let first = demo.pay(&user, "50", "ok").await;
    let second = demo.pay(&user, "9.90", "notify-lost").await;
    let records = user.get_json("/orders").await.json();
    assert_eq!(records["balance_fen"], json!(5990));
    assert_eq!(records["orders"].as_array().unwrap().len(), 2);
    let admin = demo.admin().await;
    let list = admin.get("/admin/orders").await;
    assert!(list.body.contains(&first) && list.body.contains(&second), "{}", list.body);
    let order = admin.get(&format!("/admin/orders/{first}")).await;
    assert!(order.body.contains("时间线") && order.body.contains("SUCCESS"), "{}", order.body);
    // The link worked once.
    assert_eq!(admin.get(demo.admin.strip_prefix(&demo.shop).unwrap()).await.status, 404);
    let (status, said_so) = demo.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(said_so, "it stopped without saying that it is not ready");
}

/// A full disk under a log, or a pipe that nobody reads any more.
#[actix_web::test]
async fn a_log_that_cannot_be_written_stops_neither_answers_nor_credits() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let demo = Demo::start_logging_to(Some(full), 0, 0, &[]);
    demo.ready().await;
    let user = Browser::new(demo.shop.clone(), WECHAT);
    user.register("ann").await;
    user.go_to_wechat_and_back().await;
    demo.pay(&user, "50", "ok").await;
    assert_eq!(user.get("/readyz").await.status, 200);
}

#[actix_web::test]
async fn a_second_demo_on_the_same_data_refuses() {
    let demo = Demo::start();
    demo.ready().await;
    for more in [vec![], vec!["--reset"]] {
        let second = shouyin(&demo.folder)
            .args(["demo", "--data", "books", "--port", "0", "--simulator-port", "0"])
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(4), "{said}");
        assert!(said.contains("another process is using") && said.contains("stop it first"), "{said}");
    }
    demo.ready().await;
}

#[actix_web::test]
async fn a_busy_port_is_stepped_over_and_the_links_tell_the_truth() {
    let busy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = busy.local_addr().unwrap().port();
    let demo = Demo::start_with(port, port, &[]);
    for origin in [&demo.shop, &demo.simulator] {
        let printed: u16 = origin.rsplit(':').next().unwrap().parse().unwrap();
        assert!(printed > port && printed <= port.saturating_add(50), "{origin} for {port}");
    }
    assert_ne!(demo.shop, demo.simulator);
    demo.ready().await;
    let anyone = Browser::new(demo.shop.clone(), "test");
    assert_eq!(anyone.get("/register").await.status, 200);
    assert_eq!(anyone.get(&format!("{}/", demo.simulator)).await.status, 200);
    assert_eq!(anyone.get(&demo.admin).await.status, 200);
}

#[actix_web::test]
async fn a_visitor_with_a_plain_browser_tops_up_and_an_admin_sees_why() {
    told(async |teller| {
        let Some(window) = webdriver::open(teller, Wish { size: Some((1280, 900)), ..Wish::default() }).await
        else {
            return;
        };
        let mut demo = Demo::start();
        demo.ready().await;
        window.goto(&format!("{}/register", demo.shop)).await;
        window.wait_for_text("演示环境，不涉及真实资金").await;
        window.fill("#username", "ann").await;
        window.fill("#password", PASSWORD).await;
        window.click("[type=submit]").await;
        let mut numbers = Vec::new();
        for (tile, scenario, balance) in [("50", "ok", "¥50.00"), ("100", "notify-lost", "¥150.00")] {
            window.wait_until("location.pathname === '/top-up'").await;
            window.click(&format!("label[for='amount-{tile}']")).await;
            window.click("[data-top-up] [type=submit]").await;
            window.click("[data-show='ready'] [data-go]").await;
            window.frame(Some("iframe")).await;
            window.wait_for_text("模拟环境").await;
            window.click(&format!("label:has(input[value='{scenario}'])")).await;
            window.click("button.primary").await;
            window.frame(None).await;
            window.wait_for_text("支付成功").await;
            let text = window.text("main").await;
            assert!(text.contains(&format!("余额 {balance}")), "{text}");
            numbers.push(window.path().await.rsplit('/').next().unwrap().to_owned());
            window.click(".result .btn:not(.second)").await;
        }
        assert_eq!(window.complaints().await, Vec::<String>::new());
        // Somebody else at the same computer: the administrator.
        window.delete_cookies().await;
        window.goto(&demo.admin).await;
        window.fill("#username", "boss").await;
        window.fill("#password", PASSWORD).await;
        window.click("[type=submit]").await;
        window.wait_until("location.pathname.startsWith('/admin')").await;
        for (number, via) in [(&numbers[0], "通知"), (&numbers[1], "查单")] {
            window.goto(&format!("{}/admin/orders", demo.shop)).await;
            window.click(&format!("a[href$='{number}']")).await;
            window.wait_for_text("时间线").await;
            let text = window.text("main").await;
            for word in ["¥", "已入账", "创建", "付款页返回", "入账", via] {
                assert!(text.contains(word), "no {word} in {text}");
            }
        }
        assert_eq!(window.complaints().await, Vec::<String>::new());
        let (status, _) = demo.terminate().await;
        assert_eq!(status.code(), Some(0));
    })
    .await;
}
