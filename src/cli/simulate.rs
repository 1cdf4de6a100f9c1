//! `simulate`: the gateway simulator alone.

use super::CliError;
use crate::{
    clock::Clock,
    config::{Origins, SIMULATOR_MARK},
    domain::order::Environment,
    gateway::wechat::Appids,
    gateway::wechat_v2::{Account, ApiKey, sign::SignType},
    http::{Http, HttpError},
    simulator::{self, Options as SimulatorOptions, Simulator, faults::Scenario},
};
use secrecy::SecretString;
use std::net::{SocketAddr, TcpListener};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Where to listen; loopback, unless you know who else can reach it.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Gaps between repeated callbacks are divided by this. 1 is WeChat's own pace: 15 s to 6 h.
    #[arg(long, default_value_t = 1)]
    speed: u32,
    /// What happens to new trades; see the list on the simulator's first page.
    #[arg(long, default_value = "ok")]
    scenario: String,
    /// The origin of the merchant under test.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    merchant: String,
    #[arg(long, default_value = "wxsimulator000000")]
    appid: String,
    #[arg(long, default_value = "1000000000")]
    mch_id: String,
    /// The API v2 key both sides use; made and printed when left out.
    #[arg(long)]
    key: Option<String>,
    /// The app secret both sides use; made and printed when left out.
    #[arg(long)]
    app_secret: Option<String>,
    /// How it signs: HMAC-SHA256 or MD5.
    #[arg(long, default_value = "HMAC-SHA256")]
    sign_type: String,
}

/// Runs until stopped.
///
/// # Errors
/// An unknown scenario or algorithm (2); the port (4).
pub(super) async fn run(options: Options) -> Result<(), CliError> {
    let scenario = Scenario::parse(&options.scenario).ok_or_else(|| {
        let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        CliError::Usage(format!("no such scenario; there are: {}", names.join(", ")))
    })?;
    let sign_type = SignType::parse(&options.sign_type)
        .ok_or_else(|| CliError::Usage("--sign-type is HMAC-SHA256 or MD5".to_owned()))?;
    let clock = Clock::system();
    let key = match options.key {
        Some(key) => key,
        None => format!("{SIMULATOR_MARK}{}", clock.nonce()?).chars().take(32).collect(),
    };
    let app_secret = match options.app_secret {
        Some(secret) => secret,
        None => format!("{SIMULATOR_MARK}{}", clock.nonce()?),
    };
    let api_key = ApiKey::new(&key).ok_or_else(|| CliError::Usage("--key must not be empty".to_owned()))?;
    let listener = TcpListener::bind(options.listen)
        .map_err(|error| CliError::OutOfReach(format!("cannot listen on {}: {error}", options.listen)))?;
    let account = Account {
        appids: Appids { web: options.appid.clone(), mini: None, app: None },
        mch_id: options.mch_id.clone(),
        key: api_key,
        sign_type,
        accept: SignType::ALL.to_vec(),
        public_url: options.merchant.clone(),
        environment: Environment::Simulator,
    };
    let secret = SecretString::from(app_secret.clone());
    let behaviour = SimulatorOptions {
        speed: options.speed,
        scenario,
        ..SimulatorOptions::new(account, secret, options.merchant)
    };
    let simulator = Simulator::new(behaviour, clock, outbound()?);
    let address = listener.local_addr()?;
    println!("WeChat simulator on http://{address}, scenario {}", scenario.name());
    println!("  appid {}  mch_id {}", options.appid, options.mch_id);
    println!("  API v2 key {key}\n  app secret {app_secret}");
    println!(
        "`serve` refuses keys that begin with {SIMULATOR_MARK}: pass --key and --app-secret to test it."
    );
    let server = simulator::serve(simulator.clone(), listener)?;
    let (handle, serving) = (server.handle(), tokio::spawn(server));
    tokio::select! {
        () = simulator.run() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    handle.stop(false).await;
    serving.abort();
    Ok(())
}

/// A sender for callbacks; it has no gateway of its own.
pub(super) fn outbound() -> Result<Http, CliError> {
    Http::new(Origins::default()).map_err(|error: HttpError| CliError::OutOfReach(error.to_string()))
}
