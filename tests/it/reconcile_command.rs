//! `shouyin reconcile DATE` as a process: its exit codes.

use crate::attacks::child::GOOD;
use shouyin::{
    clock::Clock,
    config::Origins,
    domain::{bill::BillDay, order::Environment},
    gateway::{
        wechat::Appids,
        wechat_v2::{Account, ApiKey, sign::SignType, xml::Fields},
    },
    http::Http,
    simulator::{self, Asked, Options, Simulator},
};
use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

/// Long over, whatever the time is where this runs.
const DAY: &str = "2020-03-01";

/// What it exits with and says, in an empty folder, with WeChat at this origin.
async fn reconcile(day: &'static str, wechat: String) -> (Option<i32>, String) {
    let folder = std::env::temp_dir().join(format!(
        "shouyin-reconcile-{}-{}",
        std::process::id(),
        Clock::system().nonce().unwrap()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let at = folder.clone();
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .args(["reconcile", day])
            .env_clear()
            .envs(GOOD)
            .env("PUBLIC_URL", "http://127.0.0.1:8080")
            .env("WECHAT_API_BASE", wechat)
            .env("WECHAT_OAUTH_BASE", "http://127.0.0.1:9")
            .current_dir(&at)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    std::fs::remove_dir_all(folder).ok();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A WeChat for the merchant of `GOOD`, on the morning after `DAY`; perhaps with a payment.
fn wechat(paid: bool) -> String {
    let value = |name: &str| GOOD.iter().find(|(named, _)| *named == name).unwrap().1.to_owned();
    let account = Account {
        appids: Appids { web: value("WECHAT_APPID"), mini: None, app: None },
        mch_id: value("WECHAT_MCH_ID"),
        key: ApiKey::new(&value("WECHAT_API_KEY")).unwrap(),
        sign_type: SignType::HmacSha256,
        accept: SignType::ALL.to_vec(),
        public_url: String::new(),
        environment: Environment::Live,
    };
    let day = BillDay::parse(DAY).unwrap();
    let clock = Clock::manual(day.start());
    let options = Options::new(account.clone(), "0123456789".into(), "http://127.0.0.1:9".to_owned());
    let simulator = Simulator::new(options, clock.clone(), Http::new(Origins::default()).unwrap());
    if paid {
        let order: Fields = [
            ("appid", account.appids.web.as_str()),
            ("mch_id", &account.mch_id),
            ("nonce_str", "1"),
            ("sign_type", "HMAC-SHA256"),
            ("body", "tea"),
            ("out_trade_no", "somebody0001"),
            ("total_fee", "990"),
            ("spbill_create_ip", "127.0.0.1"),
            ("notify_url", "http://127.0.0.1:9/notify"),
            ("trade_type", "NATIVE"),
            ("product_id", "1"),
        ]
        .into_iter()
        .collect();
        let body = simulator.sign_notify(order);
        let asked = Asked {
            method: "POST",
            target: "/pay/unifiedorder",
            headers: shouyin::gateway::Headers(""),
            body: body.as_bytes(),
        };
        simulator.answer(&asked).unwrap().unwrap();
        simulator.pay("somebody0001").unwrap();
    }
    clock.advance_ms(day.end().plus_secs(10 * 3600).since(clock.now()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(simulator::serve(simulator, listener).unwrap());
    origin
}

#[actix_web::test]
async fn the_command_says_by_its_exit_code_how_the_day_stands() {
    let nowhere = || "http://127.0.0.1:9".to_owned();
    let (code, said) = reconcile("2020-02-30", nowhere()).await;
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = reconcile("2999-01-01", nowhere()).await;
    assert!(code == Some(2) && said.contains("not over"), "{said}");
    let (code, said) = reconcile(DAY, nowhere()).await;
    assert!(code == Some(4) && said.contains("cannot connect"), "{said}");
    let (code, said) = reconcile(DAY, wechat(false)).await;
    assert!(code == Some(0) && said.contains("balanced"), "{said}");
    let (code, said) = reconcile(DAY, wechat(true)).await;
    assert!(code == Some(1) && said.contains("somebody0001") && said.contains("1 differences"), "{said}");
}
