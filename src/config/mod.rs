//! The only reader of the environment: every variable typed, checked at start, and refused by name.

mod alipay;
mod certificate;
mod channels;
mod database;
mod origin;
mod simulator_keys;
mod source;
mod variables;
mod wechat;
mod wechat_v3;

use crate::{
    domain::{
        money::Fen,
        order::{Channel, Environment, Provider},
    },
    gateway::{
        self,
        wechat::Appids,
        wechat_v2::{self, ApiKey, sign::SignType},
    },
};
pub use certificate::ClientCertificate;
pub use database::{Database, PostgresUrl};
use ipnet::IpNet;
pub use origin::PublicUrl;
use secrecy::SecretString;
pub use simulator_keys::{RsaKeys, SIMULATOR_ALIPAY_APP_ID, SIMULATOR_ALIPAY_SELLER_ID, SimulatorKeys};
pub use source::Source;
use std::{fmt, net::SocketAddr, path::PathBuf};
pub use variables::{VARIABLES, Variable};
pub use wechat::WechatApp;

/// What every simulator key begins with. `serve` refuses such keys, so play money stays play money.
pub const SIMULATOR_MARK: &str = "SIMULATOR";

/// Who the merchant is at the simulator.
const SIMULATOR_MCH_ID: &str = "1000000000";
const SIMULATOR_APPID: &str = "wxsimulator000000";
const SIMULATOR_MINI_APPID: &str = "wxsimulatormini00";
const SIMULATOR_APP_APPID: &str = "wxsimulatorapp000";

/// The stock limit of refunds one administrator may make alone, in fen.
const STOCK_SECOND_ADMIN_ABOVE: &str = "50000";

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub database: Database,
    pub listen: SocketAddr,
    pub public_url: PublicUrl,
    pub secret_key: SecretString,
    pub trusted_proxies: Vec<IpNet>,
    pub environment: Environment,
    /// The ways of paying that are offered, each of them with an account below.
    pub channels: Vec<Channel>,
    pub wechat_v2: Option<wechat_v2::Account>,
    /// New payments at WeChat go by this when it is there.
    pub wechat_v3: Option<gateway::wechat_v3::Account>,
    pub alipay: Option<gateway::alipay::Account>,
    /// The service account, for silent authorisation in WeChat's browser.
    pub wechat_login: Option<WechatApp>,
    pub wechat_mini: Option<WechatApp>,
    /// What WeChat wants to see before it refunds by V2.
    pub wechat_certificate: Option<ClientCertificate>,
    pub origins: Origins,
    /// Where the WeChat browser is sent for `snsapi_base`.
    pub wechat_authorize_base: String,
    pub top_up: TopUpLimits,
    /// Refunds of one payment that sum to more than this need a second administrator.
    pub refund_second_admin_above: Fen,
}

/// Where each kind of request goes: origins without a trailing slash, first choice first.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub wechat_api: Vec<String>,
    pub wechat_oauth: Vec<String>,
    /// Whole addresses, with their path.
    pub alipay: Vec<String>,
}

/// Business limits of a top-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUpLimits {
    pub min: Fen,
    pub max: Fen,
    pub presets: Vec<Fen>,
    pub expire_minutes: i64,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `None` leaves it to the command.
    pub filter: Option<String>,
    pub json: bool,
}

/// One thing wrong with the configuration. Never contains a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub name: String,
    pub what: String,
    /// The accepted form.
    pub form: String,
}

/// Everything wrong, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration cannot be used:")?;
        for problem in &self.0 {
            writeln!(f, "  {}: {}", problem.name, problem.what)?;
            if !problem.form.is_empty() {
                writeln!(f, "      accepted: {}", problem.form)?;
            }
        }
        write!(f, "  .env.example explains each variable")
    }
}

impl Config {
    /// Reads and checks everything `serve` needs.
    ///
    /// # Errors
    /// Every missing, malformed, weak or unknown variable, by name.
    pub fn read(source: &Source) -> Result<Config, ConfigError> {
        let mut reader = Reader::new(source);
        let listen = reader.parsed("LISTEN", "127.0.0.1:8080", |text| text.parse::<SocketAddr>().ok());
        let public_url = reader.public_url(listen);
        let database = reader.database();
        let secret_key = reader.secret_of("SECRET_KEY", |key| key.len() >= 32);
        let trusted_proxies = reader.parsed("TRUSTED_PROXIES", "", comma_list::<IpNet>);
        let wechat = reader.wechat(&public_url);
        let wechat_certificate = reader.certificate();
        let alipay = reader.alipay(&public_url);
        let appids = wechat.merchant.as_ref().map(|merchant| &merchant.appids);
        let channels = reader.channels(appids, alipay.is_some());
        let origins = reader.origins(alipay.as_ref());
        let wechat_authorize_base = reader.authorize_base();
        let top_up = reader.top_up();
        let refund_second_admin_above = reader
            .parsed("REFUND_SECOND_ADMIN_ABOVE_FEN", STOCK_SECOND_ADMIN_ABOVE, |text| {
                Fen::parse_fen(text).ok()
            })
            .unwrap_or_default();
        let problems = reader.problems;
        match (listen, trusted_proxies) {
            (Some(listen), Some(trusted_proxies)) if problems.is_empty() => Ok(Config {
                database,
                listen,
                public_url,
                secret_key,
                trusted_proxies,
                environment: Environment::Live,
                channels,
                wechat_v2: wechat.v2,
                wechat_v3: wechat.v3,
                wechat_login: wechat.login,
                wechat_mini: wechat.mini,
                alipay,
                wechat_certificate,
                origins,
                wechat_authorize_base,
                top_up,
                refund_second_admin_above,
            }),
            _ => Err(ConfigError(problems)),
        }
    }

    /// The configuration of `demo` and of the tests: the simulator is the gateway, its keys are marked.
    pub fn for_simulator(
        keys: &SimulatorKeys,
        database: Database,
        listen: SocketAddr,
        simulator: &str,
    ) -> Option<Config> {
        Some(Config {
            database,
            listen,
            public_url: PublicUrl::parse(&format!("http://{listen}")).ok()?,
            secret_key: SecretString::from(keys.secret_key.clone()),
            trusted_proxies: Vec::new(),
            environment: Environment::Simulator,
            channels: Channel::ALL
                .into_iter()
                .filter(|channel| channel.provider() == Provider::Wechat || keys.rsa.is_some())
                .collect(),
            wechat_v3: None,
            alipay: keys.alipay(simulator, &format!("http://{listen}")),
            wechat_v2: Some(wechat_v2::Account {
                appids: Appids {
                    web: SIMULATOR_APPID.to_owned(),
                    mini: Some(SIMULATOR_MINI_APPID.to_owned()),
                    app: Some(SIMULATOR_APP_APPID.to_owned()),
                },
                mch_id: SIMULATOR_MCH_ID.to_owned(),
                key: ApiKey::new(&keys.api_key)?,
                sign_type: SignType::HmacSha256,
                accept: vec![SignType::HmacSha256],
                public_url: format!("http://{listen}"),
                environment: Environment::Simulator,
            }),
            wechat_login: Some(WechatApp::new(SIMULATOR_APPID, &keys.app_secret)),
            wechat_mini: Some(WechatApp::new(SIMULATOR_MINI_APPID, &keys.mini_secret())),
            wechat_certificate: None,
            origins: Origins {
                wechat_api: vec![simulator.to_owned()],
                wechat_oauth: vec![simulator.to_owned()],
                alipay: vec![format!("{simulator}/gateway.do")],
            },
            wechat_authorize_base: simulator.to_owned(),
            top_up: TopUpLimits {
                min: Fen::new(1)?,
                max: Fen::new(500_000)?,
                presets: STOCK_PRESETS.iter().filter_map(|fen| Fen::new(*fen)).collect(),
                expire_minutes: 120,
            },
            refund_second_admin_above: Fen::parse_fen(STOCK_SECOND_ADMIN_ABOVE).ok()?,
        })
    }

    /// Reads only where the books are, for commands that need no gateway.
    ///
    /// # Errors
    /// A malformed `DATABASE_URL`.
    pub fn read_database(source: &Source) -> Result<Database, ConfigError> {
        let mut reader = Reader::new(source);
        let database = reader.database();
        reader.problems.retain(|problem| problem.name.starts_with("DATABASE_URL"));
        reader.finish().map(|()| database)
    }

    /// Reads how to log; a bad `LOG_FORMAT` is reported by `read`.
    pub fn read_log(source: &Source) -> LogConfig {
        LogConfig { filter: source.get("LOG"), json: source.get("LOG_FORMAT").as_deref() == Some("json") }
    }

    /// A path of ours as others reach it: always from our own configuration.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url)
    }
}

/// Reads one variable after the other and collects what is wrong.
struct Reader<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source) -> Reader<'a> {
        Reader { source, problems: source.problems() }
    }

    fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError(self.problems)) }
    }

    fn problem(&mut self, name: &str, what: &str) {
        let form =
            VARIABLES.iter().find(|variable| variable.name == name).map_or("", |variable| variable.form);
        self.problems.push(Problem { name: name.to_owned(), what: what.to_owned(), form: form.to_owned() });
    }

    /// The value or its default, through `parse`; an empty value counts as not set.
    fn parsed<T>(&mut self, name: &str, default: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.source.get(name).unwrap_or_else(|| default.to_owned());
        let value = parse(&text);
        if value.is_none() {
            self.problem(name, if text.is_empty() { "is not set" } else { "is not of the accepted form" });
        }
        value
    }

    fn secret_of(&mut self, name: &str, strong: impl Fn(&str) -> bool) -> SecretString {
        let text = self.source.get(name).unwrap_or_default();
        if text.is_empty() {
            self.problem(name, "is not set or empty");
        } else if is_placeholder(&text) {
            self.problem(name, "is a placeholder or a simulator's key");
        } else if !strong(&text) {
            self.problem(name, "is too weak or of the wrong length");
        }
        SecretString::from(text)
    }

    fn database(&mut self) -> Database {
        let url = self.source.get("DATABASE_URL").unwrap_or_else(|| "sqlite:data/shouyin.db".to_owned());
        Database::parse(&url).unwrap_or_else(|what| {
            self.problem("DATABASE_URL", what);
            Database::Sqlite(PathBuf::new())
        })
    }

    fn public_url(&mut self, listen: Option<SocketAddr>) -> PublicUrl {
        let listen = listen.unwrap_or_else(loopback);
        let default = if listen.ip().is_loopback() { format!("http://{listen}") } else { String::new() };
        let text = self.source.get("PUBLIC_URL").unwrap_or(default);
        PublicUrl::parse(&text).unwrap_or_else(|what| {
            self.problem("PUBLIC_URL", what);
            PublicUrl::default()
        })
    }

    fn top_up(&mut self) -> TopUpLimits {
        let fen = |text: &str| Fen::parse_fen(text).ok().filter(|fen| (1..=100_000_000).contains(&fen.get()));
        let min = self.parsed("TOP_UP_MIN_FEN", "1", fen).unwrap_or_default();
        let max = self.parsed("TOP_UP_MAX_FEN", "500000", |text| fen(text).filter(|max| *max >= min));
        let max = max.unwrap_or_default();
        let presets = self.parsed("TOP_UP_PRESETS_FEN", "", |text| match text {
            // The stock amounts, as far as the limits allow them.
            "" => Some(
                STOCK_PRESETS
                    .iter()
                    .filter_map(|p| Fen::new(*p))
                    .filter(|p| *p >= min && *p <= max)
                    .collect(),
            ),
            _ => text
                .split(',')
                .map(|one| fen(one.trim()).filter(|preset| *preset >= min && *preset <= max))
                .collect::<Option<Vec<Fen>>>()
                .filter(|presets| presets.len() <= 12),
        });
        let minutes = self.parsed("ORDER_EXPIRE_MINUTES", "120", |text| {
            text.parse::<i64>().ok().filter(|minutes| (6..=10_080).contains(minutes))
        });
        self.parsed("LOG", "info", |text| (!text.is_empty()).then_some(()));
        self.parsed("LOG_FORMAT", "pretty", |text| matches!(text, "pretty" | "json").then_some(()));
        TopUpLimits { min, max, presets: presets.unwrap_or_default(), expire_minutes: minutes.unwrap_or(120) }
    }
}

const STOCK_PRESETS: [i64; 6] = [1000, 3000, 5000, 10000, 20000, 50000];

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn comma_list<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(|one| one.parse().ok()).collect()
}

/// Values people forget to replace, and keys made by the simulator.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let known = [
        "changeme",
        "change_me",
        "change-me",
        "your_",
        "your-",
        "yourkey",
        "example",
        "placeholder",
        "replace",
        "todo",
    ];
    let first = lower.chars().next();
    value.starts_with(SIMULATOR_MARK)
        || known.iter().any(|word| lower.contains(word))
        || lower.chars().all(|c| Some(c) == first)
        || lower.starts_with("xxxx")
}

#[cfg(test)]
mod tests;
