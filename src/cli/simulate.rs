//! `simulate`: the gateway simulator alone.

use super::{CliError, demo};
use crate::{
    clock::Clock,
    config::{Origins, RsaKeys, SimulatorKeys},
    domain::{order::Environment, time::UnixMs},
    gateway::{
        rsa::PrivateKey,
        wechat::Appids,
        wechat_v2::{Account, ApiKey, sign::SignType},
    },
    http::{Http, HttpError},
    simulator::{self, AlipayApp, Options as SimulatorOptions, Simulator, V3Keys, faults::Scenario},
    web::server,
};
use secrecy::SecretString;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

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
    /// The merchant's mini program, if it has one; its secret is the app secret.
    #[arg(long)]
    mini_appid: Option<String>,
    /// The merchant's app, if it has one.
    #[arg(long)]
    app_appid: Option<String>,
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
    /// Speaks V3 and Alipay too, with RSA keys for both sides that are made on the first run and kept in this folder.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The APIv3 key both sides use, 32 bytes; made and printed when left out.
    #[arg(long, requires = "data")]
    api_v3_key: Option<String>,
    /// Who the merchant is at Alipay.
    #[arg(long, requires = "data")]
    alipay_app_id: Option<String>,
    #[arg(long, requires = "data")]
    alipay_seller_id: Option<String>,
    /// Alipay in certificate mode; the certificates are written into the folder.
    #[arg(long, requires = "data")]
    alipay_certificates: bool,
}

/// Runs until stopped.
///
/// # Errors
/// An unknown scenario or algorithm, or a key that cannot be one (2); the folder or the port (4).
pub(super) async fn run(options: Options) -> Result<(), CliError> {
    let scenario = Scenario::parse(&options.scenario).ok_or_else(|| {
        let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name()).collect();
        CliError::Usage(format!("no such scenario; there are: {}", names.join(", ")))
    })?;
    let clock = Clock::system();
    let keys = keys(&options, &clock)?;
    let account = account(&options, &keys)?;
    let listener = server::listen(options.listen)
        .map_err(|error| CliError::OutOfReach(format!("cannot listen on {}: {error}", options.listen)))?;
    let secret = SecretString::from(keys.app_secret.clone());
    let behaviour = SimulatorOptions {
        speed: options.speed,
        scenario,
        v3: v3(&options, &keys)?,
        alipay: alipay(&options, &keys, clock.now()),
        ..SimulatorOptions::new(account, secret, options.merchant.clone())
    };
    let address = listener.local_addr()?;
    println!("WeChat{} simulator on http://{address}, scenario {}", also(&behaviour), scenario.name());
    println!("What the merchant sets:");
    for (name, value) in variables(&behaviour, &keys, &options, &format!("http://{address}"))? {
        println!("{name}={value}");
    }
    println!(
        "`serve` refuses what is made here: to test it, bring --key and --app-secret, and with --data \
         --api-v3-key, --alipay-app-id and --alipay-seller-id too."
    );
    let simulator = Simulator::new(behaviour, clock, outbound()?);
    let serving = simulator::serve(simulator.clone(), listener)?;
    let (handle, serving) = (serving.handle(), tokio::spawn(serving));
    tokio::select! {
        () = simulator.run() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    handle.stop(false).await;
    serving.abort();
    Ok(())
}

/// Those of the folder, or fresh ones without RSA; what somebody brought takes their place.
fn keys(options: &Options, clock: &Clock) -> Result<SimulatorKeys, CliError> {
    let kept = match &options.data {
        Some(folder) => demo::keys(folder, clock)?,
        None => SimulatorKeys::marked([clock.nonce()?, clock.nonce()?, clock.nonce()?]),
    };
    Ok(SimulatorKeys {
        api_key: options.key.clone().unwrap_or(kept.api_key),
        app_secret: options.app_secret.clone().unwrap_or(kept.app_secret),
        ..kept
    })
}

fn account(options: &Options, keys: &SimulatorKeys) -> Result<Account, CliError> {
    let sign_type = SignType::parse(&options.sign_type)
        .ok_or_else(|| CliError::Usage("--sign-type is HMAC-SHA256 or MD5".to_owned()))?;
    Ok(Account {
        appids: Appids {
            web: options.appid.clone(),
            mini: options.mini_appid.clone(),
            app: options.app_appid.clone(),
        },
        mch_id: options.mch_id.clone(),
        key: ApiKey::new(&keys.api_key)
            .ok_or_else(|| CliError::Usage("--key must not be empty".to_owned()))?,
        sign_type,
        accept: SignType::ALL.to_vec(),
        public_url: options.merchant.clone(),
        environment: Environment::Simulator,
    })
}

fn v3(options: &Options, keys: &SimulatorKeys) -> Result<Option<V3Keys>, CliError> {
    let made = V3Keys::of(keys);
    let Some(own) = &options.api_v3_key else { return Ok(made) };
    if own.len() != 32 {
        return Err(CliError::Usage("--api-v3-key must have 32 bytes".to_owned()));
    }
    Ok(made.map(|made| made.sealing_with(own)))
}

fn alipay(options: &Options, keys: &SimulatorKeys, now: UnixMs) -> Option<AlipayApp> {
    let made =
        if options.alipay_certificates { AlipayApp::certified(keys, now)? } else { AlipayApp::of(keys)? };
    Some(AlipayApp {
        app_id: options.alipay_app_id.clone().unwrap_or(made.app_id),
        seller_id: options.alipay_seller_id.clone().unwrap_or(made.seller_id),
        ..made
    })
}

const fn also(behaviour: &SimulatorOptions) -> &'static str {
    if behaviour.v3.is_some() { " V2, WeChat V3 and Alipay" } else { " V2" }
}

/// The variables of a shop that pays here, by the names `serve` reads. WeChat V3 in certificate mode: the shop fetches
/// the platform certificates.
fn variables(
    behaviour: &SimulatorOptions,
    keys: &SimulatorKeys,
    options: &Options,
    origin: &str,
) -> Result<Vec<(&'static str, String)>, CliError> {
    let mut all = vec![
        ("WECHAT_APPID", options.appid.clone()),
        ("WECHAT_MCH_ID", options.mch_id.clone()),
        ("WECHAT_API_KEY", keys.api_key.clone()),
        ("WECHAT_SIGN_TYPE", options.sign_type.clone()),
        ("WECHAT_APP_SECRET", keys.app_secret.clone()),
        ("WECHAT_API_BASE", origin.to_owned()),
        ("WECHAT_OAUTH_BASE", origin.to_owned()),
    ];
    if let Some(appid) = &options.mini_appid {
        all.push(("WECHAT_MINI_APPID", appid.clone()));
        all.push(("WECHAT_MINI_APP_SECRET", keys.app_secret.clone()));
    }
    if let Some(appid) = &options.app_appid {
        all.push(("WECHAT_APP_APPID", appid.clone()));
    }
    if let (Some(rsa), Some(app)) = (&keys.rsa, &behaviour.alipay) {
        let api_v3_key = options.api_v3_key.clone().unwrap_or_else(|| keys.api_v3_key());
        all.extend([
            ("WECHAT_API_V3_KEY", api_v3_key),
            ("WECHAT_MERCHANT_KEY_PEM", rsa.merchant.clone()),
            ("WECHAT_MERCHANT_CERT_SERIAL", rsa.merchant_serial()),
            ("ALIPAY_APP_ID", app.app_id.clone()),
            ("ALIPAY_SELLER_ID", app.seller_id.clone()),
            ("ALIPAY_PRIVATE_KEY_PEM", rsa.alipay_app.clone()),
        ]);
        all.extend(alipay_proof(app, rsa, options.data.as_deref())?);
        all.push(("ALIPAY_GATEWAY", format!("{origin}/gateway.do")));
    }
    Ok(all)
}

/// What the shop knows Alipay by: its public key, or in certificate mode files with certificates, app's own included.
fn alipay_proof(
    app: &AlipayApp,
    rsa: &RsaKeys,
    data: Option<&Path>,
) -> Result<Vec<(&'static str, String)>, CliError> {
    let (Some(all), Some(folder)) = (&app.certificates, data) else {
        return Ok(vec![("ALIPAY_PUBLIC_KEY_PEM", alipay_public_key(rsa))]);
    };
    // The shop may be started elsewhere.
    let folder = fs::canonicalize(folder)?;
    let files = [
        ("ALIPAY_APP_CERT_PEM_FILE", "alipay-app.crt", &all.app),
        ("ALIPAY_CERT_PEM_FILE", "alipay.crt", &all.alipay),
        ("ALIPAY_ROOT_CERT_PEM_FILE", "alipay-root.crt", &all.root),
    ];
    let written = files.into_iter().map(|(name, file, certificate)| {
        let path = folder.join(file);
        fs::write(&path, &certificate.pem)?;
        Ok::<_, CliError>((name, path.display().to_string()))
    });
    written.collect()
}

/// Empty for keys that cannot be read, with which nothing is spoken.
fn alipay_public_key(rsa: &RsaKeys) -> String {
    PrivateKey::parse(&rsa.alipay_platform).ok().and_then(|key| key.public_base64()).unwrap_or_default()
}

/// A sender for callbacks; it has no gateway of its own.
pub(super) fn outbound() -> Result<Http, CliError> {
    Http::new(Origins::default()).map_err(|error: HttpError| CliError::OutOfReach(error.to_string()))
}
