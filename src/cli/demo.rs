//! `demo`: everything in one process with no account and no network.

use super::{CliError, serve, simulate::outbound};
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Database, SimulatorKeys},
    domain::{
        ids::Openid,
        money::Fen,
        order::{Channel, Source},
    },
    flow::{query, register, set_up, top_up},
    gateway::wechat_v2::{Account, sign::SignType},
    simulator::{self, Options as SimulatorOptions, Scenario, Simulator},
    store::{Store, attempts, order_lists},
    web::server,
};
use fast_qr::QRBuilder;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Throws the demo's data away and starts over.
    #[arg(long)]
    reset: bool,
    /// First port to try for the shop.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// First port to try for the simulator.
    #[arg(long, default_value_t = 8090)]
    simulator_port: u16,
    /// Gaps between repeated callbacks are divided by this.
    #[arg(long, default_value_t = 10)]
    speed: u32,
    /// Pays at WeChat by V3 instead of V2.
    #[arg(long)]
    v3: bool,
    /// Where the demo keeps its data.
    #[arg(long, default_value = "data/demo")]
    data: PathBuf,
}

/// Tried one after the other when a port is busy.
const PORTS: u16 = 50;
const BROKEN_SETTINGS: &str = "the demo's own settings are broken";

/// Runs until stopped.
///
/// # Errors
/// The data folder is in use, or no port is free.
pub(super) async fn run(options: Options) -> Result<(), CliError> {
    let listener = bind_near(options.port)?;
    let simulator_listener = bind_near(options.simulator_port)?;
    let (address, simulator_address) = (listener.local_addr()?, simulator_listener.local_addr()?);
    let simulator_origin = format!("http://{simulator_address}");
    let clock = Clock::system();
    let database = Database::Sqlite(options.data.join("shouyin.db"));
    if options.reset {
        reset(&options.data, &database)?;
    }
    let store = Store::open(&database)?;
    let keys = keys(&options.data, &clock)?;
    let mut config = Config::for_simulator(&keys, database, address, &simulator_origin)
        .ok_or_else(|| CliError::Failed(BROKEN_SETTINGS.to_owned()))?;
    if options.v3 {
        config.wechat_v3 = config.wechat_v2.as_ref().and_then(|v2| keys.wechat_v3(v2));
    }
    let simulator = start_simulator(&config, &keys, options.speed, simulator_listener, &clock)?;
    let app = App::new(config, store, clock)?;
    let setup = set_up::link_if_needed(&app).await?;
    print_links(&app, &simulator_origin, setup.as_deref());
    // Made beside the server, so that the links work at once.
    let (seeded, book) = (app.clone(), simulator.clone());
    tokio::spawn(async move {
        if let Err(error) = sample_data(&seeded, &book).await {
            tracing::warn!("no sample data: {error}");
        }
    });
    serve::run_until_stopped(app, listener, Some(simulator_origin)).await
}

fn start_simulator(
    config: &Config,
    keys: &SimulatorKeys,
    speed: u32,
    listener: TcpListener,
    clock: &Clock,
) -> Result<Simulator, CliError> {
    let account = config.wechat_v2.clone().ok_or_else(|| CliError::Failed(BROKEN_SETTINGS.to_owned()))?;
    let account = Account { accept: SignType::ALL.to_vec(), ..account };
    let simulator = Simulator::new(
        SimulatorOptions { speed, ..SimulatorOptions::of(keys, account, config.public_url.to_string()) },
        clock.clone(),
        outbound()?,
    );
    tokio::spawn(simulator::serve(simulator.clone(), listener)?);
    tokio::spawn(simulator.clone().run());
    Ok(simulator)
}

/// The first free port from `first` on; 0 takes any.
fn bind_near(first: u16) -> Result<TcpListener, CliError> {
    let ports = first..=first.saturating_add(if first == 0 { 0 } else { PORTS });
    ports
        .map(|port| server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        .find_map(Result::ok)
        .ok_or_else(|| CliError::OutOfReach(format!("no free port from {first} on")))
}

/// Deletes the demo's own files and nothing else. A demo that is running is not pulled from under its feet.
fn reset(folder: &Path, database: &Database) -> Result<(), CliError> {
    if database.file().is_some_and(Path::exists) {
        drop(Store::open(database)?);
    }
    for name in ["shouyin.db", "shouyin.db-wal", "shouyin.db-shm", "shouyin.db.lock", "keys.json"] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Keys of this data folder, or of one of `simulate`, made on the first run; what a file of an older version lacks is
/// added.
pub(super) fn keys(folder: &Path, clock: &Clock) -> Result<SimulatorKeys, CliError> {
    let path = folder.join("keys.json");
    let kept = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut keys = match kept {
        Some(keys) => keys,
        None => SimulatorKeys::marked([clock.nonce()?, clock.nonce()?, clock.nonce()?]),
    };
    if keys.complete() {
        fs::create_dir_all(folder)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&serde_json::to_vec_pretty(&keys).unwrap_or_default())?;
    }
    Ok(keys)
}

fn print_links(app: &App, simulator: &str, setup: Option<&str>) {
    let shop = &app.config.public_url;
    let admin = setup.map_or_else(|| format!("{shop}/admin"), str::to_owned);
    let note = if setup.is_some() { "一次性链接 one-time link, 30 min" } else { "" };
    println!("\n  收银 Shouyin 演示模式 DEMO: 不涉及真实资金 no real money, no account, no network\n");
    println!("  注册 register      {shop}/register");
    println!("  充值 top up        {shop}/top-up");
    println!("  后台 admin         {admin}  {note}");
    println!("  模拟微信 simulator {simulator}/");
    println!("  模拟手机 phone     {simulator}/phone  小程序和 App 付款 pays in mini program and app");
    println!("  微信 H5、支付宝手机网页：浏览器按 F12 切到手机模式，再打开充值页");
    println!("  H5 and Alipay wap: a phone's browser, or F12 and device mode, on the top-up page\n");
    if let Ok(qr) = QRBuilder::new(format!("{shop}/top-up")).build() {
        println!("{}", qr.to_str());
    }
    println!("  数据 data in {}, 按 Ctrl-C 停止 stops\n", app.config.database);
}

/// How the sample's orders are paid.
const WAYS: [Channel; 3] = [Channel::WechatJsapi, Channel::AlipayQr, Channel::WechatNative];

/// Two users and a handful of orders in every state, made through the real flows.
async fn sample_data(app: &Arc<App>, simulator: &Simulator) -> Result<(), CliError> {
    let any = app.store.read(|db| order_lists::totals(db, &order_lists::Filter::default())).await?;
    if any.orders > 0 {
        return Ok(());
    }
    let broken = |what: &str| CliError::Failed(format!("sample data: {what}"));
    for (person, (name, amounts)) in
        [("王小明", [5000, 990, 20000]), ("li.hua", [3000, 10000, 100])].into_iter().enumerate()
    {
        // Nobody signs in as them: their passwords are random and forgotten.
        let user_id = register::register(app, name, app.clock.token()?).await.map_err(|_| broken("user"))?;
        let person = u64::try_from(person).unwrap_or_default();
        let payer = Openid::parse(&simulator.openid_of(person)).ok_or_else(|| broken("openid"))?;
        for (index, fen) in amounts.into_iter().enumerate() {
            let amount = Fen::new(fen).ok_or_else(|| broken("amount"))?;
            let channel = WAYS.get(index).copied().unwrap_or(Channel::WechatJsapi);
            let wish = top_up::Wish { user_id, amount, channel, intent: app.clock.nonce()? };
            let order = top_up::create(app, wish).await.map_err(|_| broken("order"))?;
            top_up::checkout(app, order.id, channel, Some(&payer), "127.0.0.1").await?;
            let number = order.out_trade_no.as_str();
            match index {
                // By callback, by query after a lost callback, and one left unpaid.
                0 => drop(simulator.pay(number)),
                1 => {
                    simulator.set_scenario(number, Scenario::NotifyLost);
                    drop(simulator.pay(number));
                    let wanted = order.out_trade_no.clone();
                    if let Some(attempt) = app.store.read(move |db| attempts::by_number(db, &wanted)).await? {
                        query::ask(app, &attempt, Source::Sweep).await?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
