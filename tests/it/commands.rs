//! Commands an operator runs beside the server, as processes: what they print and what they exit with.

use crate::{
    attacks::child::{GOOD, Server},
    books::{Files, sql},
};
use rusqlite::Connection;
use shouyin::{
    clock::Clock,
    config::Database,
    domain::{
        ids::{Openid, OutTradeNo},
        money::Fen,
        order::{Attempt, Channel, Environment},
    },
    gateway::{
        wechat::account_name,
        wechat_v2::{
            ApiKey,
            sign::{self, SignType},
            xml::Fields,
        },
    },
    store::{Store, StoreError, attempts, orders, pending},
};
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

const PAYER: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// Books in a file, and the program run on them.
struct Desk {
    files: Files,
    path: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let files = Files::new();
        let Database::Sqlite(path) = files.database() else { panic!() };
        Store::open(&files.database()).unwrap();
        Desk { files, path }
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// What it exits with, and what it says.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let run = Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .args(arguments)
            .env_clear()
            .envs(GOOD)
            .env("DATABASE_URL", self.url())
            .env("PUBLIC_URL", "http://127.0.0.1:8080")
            .env("WECHAT_API_BASE", "http://127.0.0.1:9")
            .env("WECHAT_OAUTH_BASE", "http://127.0.0.1:9")
            .current_dir(self.path.parent().unwrap())
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8([run.stdout, run.stderr].concat()).unwrap())
    }

    /// One number out of the books.
    fn number(&self, query: &str) -> i64 {
        Connection::open(&self.path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Ann's unpaid order of fifty yuan, as it was made with the settings of `GOOD`.
    async fn order(&self) -> OutTradeNo {
        let clock = Clock::system();
        let (number, now) = (clock.out_trade_no().unwrap(), clock.now());
        let new = orders::NewOrder {
            out_trade_no: number.clone(),
            user_id: 1,
            intent: clock.nonce().unwrap(),
            goods_name: "tea".to_owned(),
            amount: Fen::new(5000).unwrap(),
            environment: Environment::Live,
            created_at: now,
            expires_at: now.plus_secs(7200),
        };
        let attempt = Attempt {
            out_trade_no: number.clone(),
            order_id: 1,
            channel: Channel::WechatJsapi,
            account: account_name(good("WECHAT_MCH_ID"), good("WECHAT_APPID")),
            environment: Environment::Live,
            amount: new.amount,
            goods_name: new.goods_name.clone(),
            payer: Openid::parse(PAYER),
            client_ip: "127.0.0.1".to_owned(),
            notify_url: "https://pay.example.com/notify/wechat".to_owned(),
            created_at: now,
            expires_at: new.expires_at,
            asked_at: Some(now),
            prepay_id: None,
            prepaid_at: None,
            closed_at: None,
        };
        let store = Store::open(&self.files.database()).unwrap();
        let ann = "INSERT INTO users (id, username, password_hash, role, created_at) VALUES (1, 'ann', 'x', 'user', 1)";
        store.write(sql(ann)).await.unwrap();
        let made = store.write(move |db| {
            assert_eq!(orders::insert(db, &new)?, 1);
            attempts::insert(db, &attempt)?;
            pending::insert(db, &attempt.out_trade_no, now.plus_secs(3600))
        });
        made.await.unwrap();
        number
    }

    async fn write(&self, text: &str) -> Result<usize, StoreError> {
        Store::open(&self.files.database()).unwrap().write(sql(text)).await
    }
}

fn good(name: &str) -> &'static str {
    GOOD.iter().find(|(named, _)| *named == name).unwrap().1
}

/// WeChat's callback that this order was paid.
fn callback(number: &OutTradeNo) -> String {
    let mut fields: Fields = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", good("WECHAT_APPID")),
        ("mch_id", good("WECHAT_MCH_ID")),
        ("nonce_str", "1"),
        ("openid", PAYER),
        ("trade_type", "JSAPI"),
        ("bank_type", "CFT"),
        ("total_fee", "5000"),
        ("fee_type", "CNY"),
        ("cash_fee", "5000"),
        ("transaction_id", "4200000000202611220000000001"),
        ("out_trade_no", number.as_str()),
        ("time_end", "20261122120000"),
        ("sign_type", "HMAC-SHA256"),
    ]
    .into_iter()
    .collect();
    let key = ApiKey::new(good("WECHAT_API_KEY")).unwrap();
    let signature = sign::sign(&fields, &key, SignType::HmacSha256);
    fields.set("sign", &signature);
    fields.to_xml()
}

#[actix_web::test]
async fn a_callback_refused_for_a_wrong_key_is_listed_shown_and_replayed_once_the_key_is_right() {
    let desk = Desk::new();
    let number = desk.order().await;
    let wrong_key = ("WECHAT_API_KEY", "Zq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAf");
    let url = desk.url();
    let server = Server::start(&[("DATABASE_URL", &url), wrong_key]).await;
    let refused = server.notify(callback(&number)).await;
    assert!(refused.body.contains("FAIL"), "{}", refused.body);
    let (code, said) = desk.run(&["notify", "replay", "0"]);
    assert_eq!(code, Some(4), "the server has the books: {said}");
    drop(server);

    let (code, listed) = desk.run(&["notify", "list", "--rejected"]);
    let id = listed.split_whitespace().next().unwrap_or_default().to_owned();
    assert_eq!((code, listed.lines().count(), id.len()), (Some(0), 1, 32), "{listed}");
    assert!(listed.contains("bad_sign") && listed.contains(number.as_str()), "{listed}");
    let (code, shown) = desk.run(&["notify", "show", &id]);
    assert!(code == Some(0) && shown.contains("<total_fee>") && shown.contains("FAIL"), "{shown}");
    assert!(!shown.contains(PAYER), "{shown}");
    for command in ["show", "replay"] {
        let (code, said) = desk.run(&["notify", command, "nothing-of-ours"]);
        assert!(code == Some(1) && said.contains("nothing-of-ours"), "{command}: {said}");
    }

    let credited = "SELECT COALESCE(SUM(amount_fen), 0) FROM ledger WHERE account = 'user:1'";
    assert_eq!(desk.number(credited), 0);
    for time in 1..=2 {
        let (code, said) = desk.run(&["notify", "replay", &id]);
        assert!(code == Some(0) && said.contains("SUCCESS"), "{said}");
        assert_eq!((desk.number(credited), desk.number("SELECT status FROM orders")), (5000, 1));
        assert_eq!(desk.number("SELECT COUNT(*) FROM audit_log WHERE action = 'notice_replayed'"), time);
    }
    assert_eq!(desk.run(&["audit"]).0, Some(0));
}

#[actix_web::test]
async fn books_that_do_not_hold_are_told_by_the_command_and_by_a_server_that_starts() {
    let desk = Desk::new();
    let (code, said) = desk.run(&["audit"]);
    assert!(code == Some(0) && !said.contains("BROKEN"), "{said}");
    let lone_leg = "INSERT INTO ledger (kind, source_id, account, amount_fen, created_at) VALUES ('adjustment', 1, 'user:1', 5, 1)";
    desk.write(lone_leg).await.unwrap();
    let (code, said) = desk.run(&["audit"]);
    assert!(code == Some(1) && said.contains("BROKEN"), "{said}");
    let url = desk.url();
    let server = Server::start(&[("DATABASE_URL", &url)]).await;
    let started = Instant::now();
    while !server.said().contains("the books do not hold") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", server.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
