//! The walks of the five systems this began with, pasted from the documents into bash as a reader would, against a
//! demo of their own.

use crate::{demo::Demo, harness::Browser};
use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    time::Duration,
};

const CHANNELS: &str = "docs/channels.md";
const INTEGRATE: &str = "docs/integrate.md";
const SETUP: &str = "## The five systems";
const INSIDE_WECHAT: &str = "## The whole way with curl";

/// The commands that follow these words in a document.
fn commands(document: &str, after: &str) -> String {
    let text = fs::read_to_string(document).unwrap();
    let (_, rest) = text.split_once(after).unwrap_or_else(|| panic!("{document} has no {after}"));
    let (_, rest) = rest.split_once("```bash\n").unwrap();
    rest.split_once("\n```").unwrap().0.to_owned()
}

/// A demo somebody walks through.
struct Walk {
    demo: Demo,
    said: String,
}

impl Walk {
    /// Runs these commands with the demo's origins; `None` where there is no curl.
    async fn through(pieces: &[String]) -> Option<Walk> {
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if quiet(Command::new("curl").arg("--version")).is_err() {
            eprintln!("skipped: there is no curl to walk with");
            return None;
        }
        let demo = Demo::start();
        demo.ready().await;
        let script = pieces.join("\n");
        for origin in ["http://127.0.0.1:8080", "http://127.0.0.1:8090"] {
            assert!(script.contains(origin), "no {origin} in {script}");
        }
        let script = script
            .replace("http://127.0.0.1:8080", &demo.shop)
            .replace("http://127.0.0.1:8090", &demo.simulator);
        let walked = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&demo.folder)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("TMPDIR", &demo.folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (said, errors) =
            (String::from_utf8(walked.stdout).unwrap(), String::from_utf8_lossy(&walked.stderr));
        assert!(walked.status.success() && errors.is_empty(), "{said}\n{errors}");
        Some(Walk { demo, said })
    }

    fn says(&self, words: &str) {
        assert!(self.said.contains(words), "no {words} in {}", self.said);
    }

    /// So many orders were made, and each was said to be paid.
    fn paid(&self, orders: usize) {
        assert_eq!(self.said.matches("\"paid\":true").count(), orders, "{}", self.said);
        assert_eq!(self.numbers().len(), orders, "{}", self.said);
    }

    fn numbers(&self) -> BTreeSet<&str> {
        let quoted = self.said.split("\"out_trade_no\":\"").skip(1);
        quoted.map(|rest| rest.split('"').next().unwrap()).collect()
    }

    /// What the simulator's list says of the callbacks of this order.
    async fn callbacks(&self, number: &str) -> String {
        let visitor = Browser::new(self.demo.shop.clone(), "test");
        let list = visitor.get(&format!("{}/", self.demo.simulator)).await.body;
        let (_, row) = list.split_once(&format!("{number}</a>")).expect("a trade in the list");
        let (row, _) = row.split_once("</tr>").unwrap();
        row.split("<td>").find(|cell| cell.contains(" 次")).unwrap().to_owned()
    }

    /// Every order's callback came and was believed. The books knew a moment before the simulator had its answer.
    async fn callbacks_accepted(&self) {
        for number in self.numbers() {
            let mut seen = String::new();
            for _ in 0..200 {
                seen = self.callbacks(number).await;
                if seen.contains("已接受") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(seen.contains("已接受"), "{number}: {seen}");
        }
    }
}

#[actix_web::test]
async fn seed_000_a_payment_in_an_app_is_credited_by_its_callback() {
    let pieces = [commands(CHANNELS, SETUP), commands(CHANNELS, "**Payment in an app**")];
    let Some(walk) = Walk::through(&pieces).await else { return };
    walk.says("\"kind\":\"app\"");
    walk.says("\"package\":\"Sign=WXPay\"");
    walk.paid(1);
    walk.callbacks_accepted().await;
}

#[actix_web::test]
async fn seed_001_inside_wechat_a_user_registers_tops_up_and_is_credited_by_the_callback() {
    let whole = commands(INTEGRATE, INSIDE_WECHAT);
    let mischief = " -d scenario=notify-lost";
    assert!(whole.contains(mischief), "{whole}");
    let Some(walk) = Walk::through(&[whole.replace(mischief, "")]).await else { return };
    walk.says("\"kind\":\"jsapi\"");
    walk.says("\"balance_fen\":990");
    walk.paid(1);
    walk.callbacks_accepted().await;
}

#[actix_web::test]
async fn seed_002_inside_wechat_a_callback_that_never_comes_is_replaced_by_a_query() {
    let Some(walk) = Walk::through(&[commands(INTEGRATE, INSIDE_WECHAT)]).await else { return };
    walk.says("\"balance_fen\":990");
    walk.paid(1);
    for number in walk.numbers() {
        assert!(walk.callbacks(number).await.starts_with("0 次"), "{}", walk.callbacks(number).await);
    }
}

#[actix_web::test]
async fn seed_003_alipay_is_paid_face_to_face_and_on_its_page_and_credited_by_callbacks() {
    let pieces = [commands(CHANNELS, SETUP), commands(CHANNELS, "**Alipay, face to face and instant**")];
    let Some(walk) = Walk::through(&pieces).await else { return };
    walk.says("\"code_url\":\"https://qr.alipay.com/");
    walk.says("\"kind\":\"redirect\"");
    walk.says(&format!("303 {}/orders/", walk.demo.shop));
    walk.paid(2);
    walk.callbacks_accepted().await;
}

#[actix_web::test]
async fn seed_004_a_code_on_a_screen_is_scanned_and_credited_by_its_callback() {
    let pieces = [commands(CHANNELS, SETUP), commands(CHANNELS, "**A code on a screen**")];
    let Some(walk) = Walk::through(&pieces).await else { return };
    walk.says("\"code_url\":\"weixin://wxpay/");
    walk.paid(1);
    walk.callbacks_accepted().await;
}

#[actix_web::test]
async fn a_mini_program_brings_the_code_of_the_simulated_phone_and_can_be_paid() {
    let pieces = [commands(INTEGRATE, INSIDE_WECHAT), commands(INTEGRATE, "### A mini program")];
    let Some(walk) = Walk::through(&pieces).await else { return };
    walk.says("{\"bound\":true}");
    assert_eq!(walk.said.matches("\"kind\":\"jsapi\"").count(), 2, "{}", walk.said);
}
