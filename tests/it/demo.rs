//! `shouyin demo` as a child process, as somebody meets it who has just cloned the repository.

use crate::{
    harness::{Browser, PASSWORD},
    webdriver::{self, Wish},
};
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A running demo and the links it printed.
struct Demo {
    child: Child,
    shop: String,
    admin: String,
    simulator: String,
    folder: PathBuf,
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
    fn start() -> Demo {
        Demo::start_with(0, 0)
    }

    fn start_with(port: u16, simulator_port: u16) -> Demo {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("shouyin-demo-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = shouyin(&folder)
            .args(["demo", "--data", "books", "--port"])
            .arg(port.to_string())
            .arg("--simulator-port")
            .arg(simulator_port.to_string())
            .stdout(Stdio::piped())
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
    async fn ready(&self) {
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
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
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
    let demo = Demo::start_with(port, port);
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
    let Some(window) = webdriver::open(Wish { size: Some((1280, 900)), ..Wish::default() }).await else {
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
}
