//! `shouyin simulate` as a child process, and a shop that is set up with nothing but what it printed.

use crate::{
    channels::{COMPUTER, pay_of},
    harness::{Browser, PASSWORD},
};
use shouyin::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    jobs,
    store::Store,
    web::{Web, server},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A simulator of its own, and the variables it printed.
struct Alone {
    child: Child,
    url: String,
    variables: BTreeMap<String, String>,
    folder: PathBuf,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

impl Alone {
    fn start(merchant: &str, more: &[&str]) -> Alone {
        let name = format!("shouyin-simulate-{}{}", std::process::id(), more.concat());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .env_clear()
            .current_dir(&folder)
            .args(["simulate", "--listen", "127.0.0.1:0", "--speed", "10", "--merchant", merchant])
            .args(["--data", "keys", "--mini-appid", "wxofmymini0000001", "--app-appid", "wxofmyapp00000001"])
            .args(["--key", "0123456789abcdef0123456789abcdef", "--app-secret", "a-secret-of-my-own"])
            .args(["--api-v3-key", "fedcba9876543210fedcba9876543210"])
            .args(["--alipay-app-id", "2021001122334455", "--alipay-seller-id", "2088123412341234"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut url, mut variables) = (String::new(), BTreeMap::new());
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if line.starts_with("`serve`") {
                break;
            }
            if let Some(word) = line.split([' ', ',']).find(|word| word.starts_with("http://")) {
                url = word.to_owned();
            }
            if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.contains(' ')) {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
        Alone { child, url, variables, folder }
    }
}

#[actix_web::test]
async fn a_shop_set_up_with_what_the_simulator_prints_is_paid_by_wechat_v3_and_by_alipay() {
    paid_every_way(&[]).await;
}

#[actix_web::test]
async fn a_shop_set_up_with_the_certificates_the_simulator_writes_is_paid_by_alipay() {
    let made = paid_every_way(&["--alipay-certificates"]).await;
    for (name, file) in [
        ("ALIPAY_APP_CERT_PEM_FILE", "alipay-app.crt"),
        ("ALIPAY_CERT_PEM_FILE", "alipay.crt"),
        ("ALIPAY_ROOT_CERT_PEM_FILE", "alipay-root.crt"),
    ] {
        assert!(made.get(name).is_some_and(|path| path.ends_with(file)), "{made:?}");
    }
    assert!(!made.contains_key("ALIPAY_PUBLIC_KEY_PEM"), "{made:?}");
}

/// Starts both and pays in every way a program can; gives what the simulator printed.
async fn paid_every_way(more: &[&str]) -> BTreeMap<String, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let shop = format!("http://{address}");
    let alone = Alone::start(&shop, more);
    let mut settings = alone.variables.clone();
    settings.extend([
        ("DATABASE_URL".to_owned(), format!("sqlite:{}", alone.folder.join("books.db").display())),
        ("SECRET_KEY".to_owned(), "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned()),
        ("LISTEN".to_owned(), address.to_string()),
    ]);
    let config = Config::read(&Source::from_maps(&settings, &BTreeMap::new())).unwrap();
    let store = Store::open(&config.database).unwrap();
    let app = App::new(config, store, Clock::system()).unwrap();
    let serving = server::serve(Web::new(app.clone(), None, Box::new(|| true)), listener, 1).unwrap();
    let handle = serving.handle();
    tokio::spawn(serving);
    // WeChat's platform certificate, as at every start.
    jobs::gateway_keys::run_once(app.clone()).await.unwrap();

    let user = Browser::new(shop, COMPUTER);
    user.register("ann").await;
    let mut paid = Vec::new();
    for channel in ["wechat_native", "alipay_qr"] {
        let (number, pay) = pay_of(&user, channel).await;
        paid.push((number, pay["code_url"].as_str().unwrap().to_owned()));
    }
    for program in ["mini", "app"] {
        let form = [("username", "ann"), ("password", PASSWORD), ("amount", "50")];
        let page = user.post(&format!("{}/phone/{program}", alone.url), &form).await;
        assert_eq!(page.status, 200, "{program}: {}", page.body);
        let (_, rest) = page.body.split_once("/orders/").unwrap();
        paid.push((rest.split('"').next().unwrap().to_owned(), page.hidden("prepay_id")));
    }
    for (number, shown) in &paid {
        let form = [("prepay_id", shown.as_str()), ("scenario", "ok")];
        let answer = user.post(&format!("{}/cashier/pay", alone.url), &form).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let status = user.get_json(&format!("/orders/{number}/status?wait=25")).await.json();
        assert_eq!(status["paid"], true, "{shown}: {status}");
    }
    assert_eq!(user.get_json("/orders").await.json()["balance_fen"], 20_000);
    let list = user.get(&format!("{}/", alone.url)).await.body;
    assert_eq!((list.matches("<td>微信 V3 ").count(), list.matches("<td>支付宝 ").count()), (3, 1), "{list}");
    handle.stop(false).await;
    alone.variables.clone()
}
