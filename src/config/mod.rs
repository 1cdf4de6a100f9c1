//! The only reader of the environment: every variable typed, checked at start, and refused by name.

mod certificate;
mod database;
mod origin;
mod simulator_keys;
mod source;
mod variables;

use crate::{
    domain::{money::Fen, order::Environment},
    gateway::wechat_v2::{Account, ApiKey, sign::SignType},
};
pub use certificate::ClientCertificate;
use certificate::Unfit;
pub use database::{Database, PostgresUrl};
use ipnet::IpNet;
pub use origin::PublicUrl;
use secrecy::{ExposeSecret, SecretString};
pub use simulator_keys::{RsaKeys, SimulatorKeys};
pub use source::Source;
use std::{fmt, net::SocketAddr, path::PathBuf};
pub use variables::{LATER, VARIABLES, Variable};

/// What every simulator key begins with. `serve` refuses such keys, so play money stays play money.
pub const SIMULATOR_MARK: &str = "SIMULATOR";

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
    pub wechat: Account,
    pub wechat_app_secret: SecretString,
    /// What WeChat wants to see before it refunds.
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
        let wechat = reader.wechat();
        let secret_key = reader.secret_of("SECRET_KEY", |key| key.len() >= 32);
        let trusted_proxies = reader.parsed("TRUSTED_PROXIES", "", comma_list::<IpNet>);
        let wechat_app_secret = reader.secret_of("WECHAT_APP_SECRET", |secret| {
            secret.len() >= 16 && secret.bytes().all(|b| b.is_ascii_graphic())
        });
        let wechat_certificate = reader.certificate();
        let origins = reader.origins();
        let wechat_authorize_base = reader.authorize_base();
        let top_up = reader.top_up();
        let refund_second_admin_above = reader
            .parsed("REFUND_SECOND_ADMIN_ABOVE_FEN", STOCK_SECOND_ADMIN_ABOVE, |text| {
                Fen::parse_fen(text).ok()
            })
            .unwrap_or_default();
        let problems = reader.problems;
        match (wechat, listen, trusted_proxies) {
            (Some(wechat), Some(listen), Some(trusted_proxies)) if problems.is_empty() => Ok(Config {
                database,
                listen,
                public_url,
                secret_key,
                trusted_proxies,
                wechat,
                wechat_app_secret,
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
            wechat: Account {
                appid: "wxsimulator000000".to_owned(),
                mch_id: "1000000000".to_owned(),
                key: ApiKey::new(&keys.api_key)?,
                sign_type: SignType::HmacSha256,
                accept: vec![SignType::HmacSha256],
                environment: Environment::Simulator,
            },
            wechat_app_secret: SecretString::from(keys.app_secret.clone()),
            wechat_certificate: None,
            origins: Origins {
                wechat_api: vec![simulator.to_owned()],
                wechat_oauth: vec![simulator.to_owned()],
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

    /// The address WeChat calls with a payment's result: always from our own configuration.
    pub fn notify_url(&self) -> String {
        format!("{}/notify/wechat", self.public_url)
    }

    /// The address WeChat calls with a refund's result.
    pub fn refund_notify_url(&self) -> String {
        format!("{}/notify/wechat/refund", self.public_url)
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

    fn wechat(&mut self) -> Option<Account> {
        let appid = self.parsed("WECHAT_APPID", "", |text| {
            let plain = (8..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
            (plain && !is_placeholder(text)).then(|| text.to_owned())
        });
        let mch_id = self.parsed("WECHAT_MCH_ID", "", |text| {
            let digits = (6..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.to_owned())
        });
        let key = self.secret_of("WECHAT_API_KEY", |key| {
            key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let sign_type = self.parsed("WECHAT_SIGN_TYPE", "HMAC-SHA256", SignType::parse);
        let sign_type = sign_type.unwrap_or(SignType::HmacSha256);
        let accept = self.parsed("WECHAT_ACCEPT_SIGN_TYPES", sign_type.as_str(), |text| {
            let listed = text.split(',').map(|one| SignType::parse(one.trim())).collect::<Option<Vec<_>>>();
            // WeChat signs callbacks as we signed the order: without our own algorithm none would pass.
            listed.filter(|listed| listed.contains(&sign_type))
        });
        Some(Account {
            appid: appid?,
            mch_id: mch_id?,
            key: ApiKey::new(key.expose_secret())?,
            sign_type,
            accept: accept?,
            environment: Environment::Live,
        })
    }

    fn certificate(&mut self) -> Option<ClientCertificate> {
        const CERT: &str = "WECHAT_CERT_PEM";
        const KEY: &str = "WECHAT_KEY_PEM";
        let read = match (self.source.get(CERT), self.source.get(KEY)) {
            (None, None) => return None,
            (Some(cert), Some(key)) => ClientCertificate::parse(&cert, &key),
            (None, Some(_)) => Err(Unfit::Certificate("is not set, but WECHAT_KEY_PEM is")),
            (Some(_), None) => Err(Unfit::Key("is not set, but WECHAT_CERT_PEM is")),
        };
        match read {
            Ok(certificate) => return Some(certificate),
            Err(Unfit::Certificate(what)) => self.problem(CERT, what),
            Err(Unfit::Key(what)) => self.problem(KEY, what),
        }
        None
    }

    fn origins(&mut self) -> Origins {
        let api = "https://api.mch.weixin.qq.com,https://api2.mch.weixin.qq.com";
        let oauth = "https://api.weixin.qq.com";
        Origins {
            wechat_api: self.parsed("WECHAT_API_BASE", api, origin::list).unwrap_or_default(),
            wechat_oauth: self
                .parsed("WECHAT_OAUTH_BASE", oauth, |text| origin::list(text).filter(|list| list.len() == 1))
                .unwrap_or_default(),
        }
    }

    fn authorize_base(&mut self) -> String {
        let base =
            self.source.get("WECHAT_OAUTH_BASE").unwrap_or_else(|| "https://open.weixin.qq.com".to_owned());
        origin::list(&base).and_then(|list| list.into_iter().next()).unwrap_or_default()
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
