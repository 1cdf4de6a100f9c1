//! How long a payment callback takes, over HTTP with durable commits, against the fsync of the same
//! disk in the same run. `cargo bench --bench callbacks`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a measurement may panic"
)]

use shouyin::{
    app::App,
    clock::Clock,
    config::{Config, Database, SimulatorKeys},
    domain::{
        ids::{Openid, Username},
        money::Fen,
        order::{Attempt, Channel, Environment},
        user::Role,
    },
    gateway::wechat_v2::{Account, sign, xml::Fields},
    store::{Store, attempts, books, orders, pending, users},
    web::{Web, server},
};
use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ORDERS: usize = 6_400;
const ROUNDS: usize = 5;

fn main() {
    actix_web::rt::System::new().block_on(async {
        let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-callbacks"));
        println!(
            "callbacks over HTTP, SQLite, WAL, synchronous=FULL; {ORDERS} orders a round, {ROUNDS} rounds"
        );
        println!(
            "{:>11} {:>10} {:>9} {:>9} {:>9} {:>12} {:>12}",
            "connections", "per second", "p50 ms", "p99 ms", "fsync ms", "p50 / fsync", "p99 / fsync"
        );
        for connections in [1, 16, 64] {
            let mut rounds: Vec<Round> = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(round(&folder, connections).await);
            }
            let median = |of: &dyn Fn(&Round) -> f64| {
                let mut values: Vec<f64> = rounds.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{connections:>11} {:>10.0} {:>9.2} {:>9.2} {:>9.3} {:>12.1} {:>12.1}",
                median(&|r| r.per_second),
                median(&|r| r.p50),
                median(&|r| r.p99),
                median(&|r| r.fsync),
                median(&|r| r.p50 / r.fsync),
                median(&|r| r.p99 / r.fsync),
            );
        }
        fs::remove_dir_all(&folder).ok();
    });
}

/// Milliseconds, but for the rate.
struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    fsync: f64,
}

async fn round(folder: &Path, connections: usize) -> Round {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder).unwrap();
    let fsync = fsync_ms(folder);
    let clock = Clock::system();
    let random = || clock.nonce().unwrap();
    let keys = SimulatorKeys::marked([random(), random(), random()]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let database = Database::Sqlite(folder.join("books.db"));
    let config = Config::for_simulator(&keys, database, address, "http://127.0.0.1:9").unwrap();
    let store = Store::open(&config.database).unwrap();
    let app = App::new(config, store, clock).unwrap();
    let orders = if connections == 1 { ORDERS / 8 } else { ORDERS };
    let requests = Arc::new(prepare(&app, orders).await);
    let serving = server::serve(Web::new(app.clone(), None, Box::new(|| true)), listener, 2).unwrap();
    let handle = serving.handle();
    tokio::spawn(serving);
    let started = Instant::now();
    let mut clients = Vec::new();
    for client in 0..connections {
        clients.push(tokio::spawn(replay(address, requests.clone(), client, connections)));
    }
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    let took = started.elapsed();
    handle.stop(false).await;
    let broken = app.store.read(books::breaches).await.unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    let totals = app.store.read(|db| orders::totals(db, &orders::Filter::default())).await.unwrap();
    assert_eq!(usize::try_from(totals.paid).unwrap(), orders, "every callback credits its order");
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    Round { per_second: orders as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99), fsync }
}

/// Median of 200 appends of 4 KiB, each with fdatasync, on the disk of the books.
fn fsync_ms(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("fsync")).unwrap();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&[7; 4096]).unwrap();
            let started = Instant::now();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[100].as_secs_f64() * 1000.0
}

/// Orders of 100 users in the books, and a genuine callback for each.
async fn prepare(app: &Arc<App>, count: usize) -> Vec<Vec<u8>> {
    let now = app.clock.now();
    let user_ids = app
        .store
        .write(move |db| {
            (0..100)
                .map(|n| {
                    let name = Username::parse(&format!("user{n}")).unwrap();
                    Ok(users::insert(db, &name, "not a hash", Role::User, now)?.unwrap())
                })
                .collect::<Result<Vec<i64>, _>>()
        })
        .await
        .unwrap();
    let numbers: Vec<_> = (0..count).map(|_| app.clock.out_trade_no().unwrap()).collect();
    for chunk in numbers.chunks(400) {
        let (chunk, user_ids, notify_url) = (chunk.to_vec(), user_ids.clone(), app.config.notify_url());
        let account = app.config.wechat.name();
        app.store
            .write(move |db| {
                for (n, number) in chunk.into_iter().enumerate() {
                    let new = orders::NewOrder {
                        out_trade_no: number.clone(),
                        user_id: user_ids[n % user_ids.len()],
                        intent: number.as_str().to_owned(),
                        goods_name: "账户充值".to_owned(),
                        amount: Fen::new(100).unwrap(),
                        environment: Environment::Simulator,
                        created_at: now,
                        expires_at: now.plus_secs(7200),
                    };
                    let order_id = orders::insert(db, &new)?;
                    attempts::insert(
                        db,
                        &Attempt {
                            out_trade_no: number.clone(),
                            order_id,
                            channel: Channel::WechatJsapi,
                            account: account.clone(),
                            environment: new.environment,
                            amount: new.amount,
                            goods_name: new.goods_name,
                            payer: Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE").unwrap(),
                            client_ip: "127.0.0.1".to_owned(),
                            notify_url: notify_url.clone(),
                            created_at: now,
                            expires_at: new.expires_at,
                            asked_at: None,
                            prepay_id: None,
                            prepaid_at: None,
                            closed_at: None,
                        },
                    )?;
                    pending::insert(db, &number, now.plus_secs(600))?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    numbers.iter().enumerate().map(|(n, number)| callback(&app.config.wechat, number.as_str(), n)).collect()
}

fn callback(account: &Account, number: &str, n: usize) -> Vec<u8> {
    let transaction_id = format!("4200{n:024}");
    let mut fields: Fields = [
        ("appid", account.appid.as_str()),
        ("mch_id", account.mch_id.as_str()),
        ("bank_type", "CMB_CREDIT"),
        ("cash_fee", "100"),
        ("fee_type", "CNY"),
        ("is_subscribe", "N"),
        ("nonce_str", "6OQ37L7i6JN1PRLD6OQ37L7i6JN1PRLD"),
        ("openid", "oUpF8uMEb4qRXf22hE3X68TekukE"),
        ("out_trade_no", number),
        ("result_code", "SUCCESS"),
        ("return_code", "SUCCESS"),
        ("time_end", "20261120203040"),
        ("total_fee", "100"),
        ("trade_type", "JSAPI"),
        ("transaction_id", transaction_id.as_str()),
    ]
    .into_iter()
    .collect();
    let sign = sign::sign(&fields, &account.key, account.sign_type);
    fields.set("sign", &sign);
    let body = fields.to_xml();
    format!(
        "POST /notify/wechat HTTP/1.1\r\nhost: bench\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One keep-alive connection sends its share, each callback once, and times every answer.
async fn replay(
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    client: usize,
    step: usize,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    let mut times = Vec::new();
    for request in requests.iter().skip(client).step_by(step) {
        let started = Instant::now();
        stream.write_all(request).await.unwrap();
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"</xml>") {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            filled += read;
        }
        assert!(buffer[..filled].windows(7).any(|bytes| bytes == b"SUCCESS"));
        times.push(started.elapsed());
    }
    times
}
