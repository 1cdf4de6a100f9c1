//! Configurations that must refuse to start, and secrets that must never come out.

use super::{
    Outcome, Table,
    child::{GOOD, Server},
    table,
    world::{SECOND, World},
};
use crate::harness::{Answer, Browser, WECHAT};
use reqwest::Method;
use shouyin::{
    clock::Clock,
    config::{Origins, Source},
    domain::order::Environment,
    gateway::wechat_v2::{Account, ApiKey, sign::SignType},
    http::Http,
    simulator::{self, Options, Simulator},
};
use std::{collections::BTreeMap, net::TcpListener};

pub const CASES: Table = table! {
    "CONFIG-01" => weak_api_key,
    "CONFIG-04" => unreachable_public_url,
    "CONFIG-06" => weak_session_key,
    "CONFIG-08" => canaries,
};

/// Every value refuses to start, is named and not repeated, and opens no listener.
fn refuse(world: &mut World, name: &str, values: &[&str]) -> bool {
    let mut silent = true;
    for value in values {
        let (status, listened, said) = Server::refused(&[(name, *value)], SECOND * 2);
        let code = status.and_then(|status| status.code());
        world.expect(code == Some(3), format!("{name}={value}: exit {code:?} {said}"));
        world.expect(said.contains(name), format!("{name}={value} is not named: {said}"));
        let repeated = value.len() >= 8 && said.contains(value);
        world.expect(!repeated, format!("the value of {name} is repeated: {said}"));
        silent &= !listened;
    }
    silent
}

async fn weak_api_key(world: &mut World) -> Outcome {
    let (short, long) = ("Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pA", "Kq7Vd2Zx9LmT4bYw1RcN8sHgE5uJ0pAfX");
    let silent = refuse(world, "WECHAT_API_KEY", &["", "changeme", "your_key_here", short, long]);
    world.holds("no listener opened", silent, "it listened");
    Ok(())
}

async fn unreachable_public_url(world: &mut World) -> Outcome {
    let values = [
        "http://pay.shop.cn",
        "https://pay.shop.cn/?a=1",
        "https://10.0.0.5",
        "https://192.168.7.7",
        "https://[fd00::1]",
        "https://pay.shop.cn/another/path",
        "https://user:password@pay.shop.cn",
    ];
    refuse(world, "PUBLIC_URL", &values);
    world.notes.push("another host cannot be set: notify_url is made from PUBLIC_URL");
    Ok(())
}

async fn weak_session_key(world: &mut World) -> Outcome {
    let silent = refuse(world, "SECRET_KEY", &["", "Zk3Wq9Rt5Yp1Lm7X"]);
    world.holds("no random key silently used", silent, "it started without its key");
    Ok(())
}

const CANARIES: [(&str, &str); 3] = [
    ("SECRET_KEY", "CANARYsecretkey0a1b2c3d4e5f6a7b8c9d0e1f2"),
    ("WECHAT_APP_SECRET", "CANARYappsecret0a1b2c3d4e5f6a7b8"),
    ("WECHAT_API_KEY", "CANARYapikey0a1b2c3d4e5f6a7b8c9d"),
];
const PASSWORD: &str = "CANARY a password nobody guesses";

/// A process with canaries for secrets and every log on: visited, attacked, asked for its metrics,
/// shot. Then everything it ever said or wrote is searched.
async fn canaries(world: &mut World) -> Outcome {
    let (simulator, origin) = simulate();
    let bases =
        [("WECHAT_API_BASE", origin.as_str()), ("WECHAT_OAUTH_BASE", origin.as_str()), ("LOG", "trace")];
    let mut server = Server::start(&[CANARIES.as_slice(), bases.as_slice()].concat()).await;
    simulator.lock().unwrap().start(&server.url);
    let answers = visit(&server).await;
    let drove = answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    world.expect(drove.contains(&201) && drove.contains(&200) && drove.contains(&404), format!("{drove:?}"));
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    server.crash();
    world.expect(server.said().contains("TRACE"), "nothing was logged in detail");
    let mut leaks = Vec::new();
    for answer in &answers {
        let said = format!("{:?} {}", answer.headers, answer.body);
        leaks.extend(found(said.as_bytes()).map(|name| format!("{name} in an answer: {said}")));
    }
    for (file, bytes) in server.files() {
        for name in found(&bytes) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let line = text.lines().find(|line| line.contains("CANARY")).unwrap_or_default();
            leaks.push(format!("{name} in {file}: {}", line.chars().take(600).collect::<String>()));
        }
    }
    let shown = debug_of_everything();
    leaks.extend(found(shown.as_bytes()).map(|name| format!("{name} in Debug")));
    // A start that fails must not show them either.
    let broken =
        [CANARIES.as_slice(), &[("LISTEN", "nowhere"), ("WECHAT_SIGN_TYPE", "SHA1"), ("LOG", "trace")]];
    let (_, _, said) = Server::refused(&broken.concat(), SECOND * 2);
    world.expect(said.contains("WECHAT_SIGN_TYPE"), &said);
    leaks.extend(found(said.as_bytes()).map(|name| format!("{name} when it cannot start")));
    world.holds("no canary in logs", leaks.is_empty(), leaks.join("\n"));
    Ok(())
}

fn found(bytes: &[u8]) -> impl Iterator<Item = &'static str> + '_ {
    let hidden = CANARIES.into_iter().chain([("a password", PASSWORD)]);
    hidden.filter(|(_, value)| contains(bytes, value.as_bytes())).map(|(name, _)| name)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The simulator needs the shop's origin, the shop the simulator's: the listener comes first.
struct Waiting(Option<TcpListener>);

fn simulate() -> (std::sync::Mutex<Waiting>, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (std::sync::Mutex::new(Waiting(Some(listener))), origin)
}

impl Waiting {
    fn start(&mut self, shop: &str) {
        let account = Account {
            appids: shouyin::gateway::wechat::Appids { web: GOOD[1].1.to_owned(), mini: None, app: None },
            public_url: String::new(),
            mch_id: GOOD[3].1.to_owned(),
            key: ApiKey::new(CANARIES[2].1).unwrap(),
            sign_type: SignType::HmacSha256,
            accept: SignType::ALL.to_vec(),
            environment: Environment::Live,
        };
        let options = Options::new(account, CANARIES[1].1.into(), shop.to_owned());
        let nowhere = Http::new(Origins::default()).unwrap();
        let simulator = Simulator::new(options, Clock::system(), nowhere);
        tokio::spawn(simulator::serve(simulator, self.0.take().unwrap()).unwrap());
    }
}

/// What users, strangers and operators do in a minute, mistakes included.
async fn visit(server: &Server) -> Vec<Answer> {
    let mut answers = Vec::new();
    let user = Browser::new(server.url.clone(), WECHAT);
    let token = user.form_token("/register").await;
    let fields = [("token", token.as_str()), ("username", "ann"), ("password", PASSWORD)];
    answers.push(user.post("/register", &fields).await);
    user.go_to_wechat_and_back().await;
    answers.push(user.try_top_up("1").await);
    let number = answers[1].json()["out_trade_no"].as_str().unwrap().to_owned();
    for path in
        ["/top-up", "/orders", "/admin", "/nothing", "/wechat/callback?code=x&state=y", "/readyz", "/metrics"]
    {
        answers.push(user.get(path).await);
    }
    for path in ["", "/pay", "/status"] {
        answers.push(user.get(&format!("/orders/{number}{path}")).await);
    }
    answers.push(user.send(Method::DELETE, "/top-up", &[], None).await);
    answers.push(user.post("/top-up", &[("token", "wrong"), ("amount", "1")]).await);
    answers.push(user.try_top_up("x").await);
    let stranger = Browser::new(server.url.clone(), "curl");
    answers.push(stranger.log_in("ann", "not the password").await);
    answers.push(stranger.log_in("ann", PASSWORD).await);
    for body in ["", "<xml><return_code>SUCCESS</return_code><sign>00</sign></xml>", "<!DOCTYPE a []>"] {
        answers.push(server.notify(body).await);
    }
    answers
}

fn debug_of_everything() -> String {
    let mut values: BTreeMap<String, String> =
        GOOD.iter().chain(&CANARIES).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let source = Source::from_maps(&BTreeMap::new(), &values);
    let config = shouyin::config::Config::read(&source).unwrap();
    let http = Http::new(config.origins.clone()).unwrap();
    values.insert("WECHAT_MCH_ID".to_owned(), "CANARY".to_owned());
    let error = shouyin::config::Config::read(&Source::from_maps(&BTreeMap::new(), &values)).unwrap_err();
    format!("{source:?} {config:?} {:?} {http:?} {error:?} {error}", config.wechat_v2.as_ref().unwrap().key)
}
