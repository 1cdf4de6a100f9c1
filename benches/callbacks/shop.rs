//! The product under load: a running server on empty books, orders in them, and a genuine callback for each.

use crate::threads;
use actix_web::dev::ServerHandle;
use diesel::connection::SimpleConnection;
use shouyin::{
    app::App,
    clock::Clock,
    config::{Config, Database, SimulatorKeys},
    domain::{
        ids::{Openid, OutTradeNo, Username},
        money::Fen,
        order::{Attempt, Channel, Environment, Source},
        user::Role,
    },
    flow::settle::{self, Evidence},
    gateway::{
        Gateway, Notified, Notify, VerifiedPayment,
        wechat_v2::{Account, WechatV2, sign, xml::Fields},
    },
    store::{Store, attempts, books, order_lists, orders, pending, users},
    web::{Web, server},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Of order number n; sixteen bytes in digits, so that every client can say it.
pub fn number(n: usize) -> String {
    format!("{n:032}")
}

pub fn transaction(n: usize) -> String {
    format!("4200{n:024}")
}

/// An app on these books, without a server. All have the same keys, as instances of one shop do.
pub fn open(database: Database) -> Arc<App> {
    let keys = SimulatorKeys::marked(["1", "2", "3"].map(|key| key.repeat(32)));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let config = Config::for_simulator(&keys, database, address, "http://127.0.0.1:9").unwrap();
    let store = Store::open(&config.database).unwrap();
    App::new(config, store, Clock::system()).unwrap()
}

/// What is thrown at how many servers.
pub struct Load {
    pub database: Database,
    pub orders: usize,
    pub users: usize,
    pub connections: usize,
    pub instances: usize,
}

impl Load {
    /// Of a hundred users' orders, at one server.
    pub fn on(database: Database, orders: usize, connections: usize) -> Load {
        Load { database, orders, users: 100, connections, instances: 1 }
    }
}

/// How it went.
pub struct Taken {
    /// Callbacks a second.
    pub rate: f64,
    /// What the threads that answer HTTP spent in user mode, per callback.
    pub cpu: Duration,
}

/// Servers of one shop, until they are told to stop.
pub struct Servers(Vec<(SocketAddr, ServerHandle)>);

impl Servers {
    pub fn start(apps: &[Arc<App>]) -> Servers {
        let serve = |app: &Arc<App>| {
            let listener = server::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let web = Web::new(app.clone(), None, Box::new(|| true));
            let serving = server::serve(web, listener, 2).unwrap();
            let handle = serving.handle();
            tokio::spawn(serving);
            (address, handle)
        };
        Servers(apps.iter().map(serve).collect())
    }

    /// Where client number n goes.
    pub fn address(&self, n: usize) -> SocketAddr {
        self.0[n % self.0.len()].0
    }

    pub async fn stop(self) {
        for (_, handle) in self.0 {
            handle.stop(false).await;
        }
    }
}

/// Sends each callback once, as fast as it is answered.
pub async fn over_http(load: Load) -> Taken {
    let apps: Vec<_> = (0..load.instances).map(|_| open(load.database.clone())).collect();
    let requests = requests(&prepare(&apps[0], load.orders, load.users).await);
    let servers = Servers::start(&apps);
    let (started, spent) = (Instant::now(), threads::user_time("actix-rt"));
    let clients: Vec<_> = (0..load.connections)
        .map(|client| {
            tokio::spawn(replay(servers.address(client), requests.clone(), client, load.connections))
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let took = started.elapsed();
    let spent = threads::user_time("actix-rt").saturating_sub(spent);
    servers.stop().await;
    all_credited(&apps[0], load.orders).await;
    let orders = u32::try_from(load.orders).unwrap();
    Taken { rate: load.orders as f64 / took.as_secs_f64(), cpu: spent / orders }
}

/// Settlements a second inside the process, by so many callers: from a verified payment to a durable credit.
pub async fn inside(load: Load) -> f64 {
    let Load { database, orders, users, connections: callers, .. } = load;
    let app = open(database);
    let mut shares: Vec<_> = (0..callers).map(|_| vec![]).collect();
    for (n, body) in prepare(&app, orders, users).await.into_iter().enumerate() {
        shares[n % callers].push(verified(&app, body));
    }
    let started = Instant::now();
    let callers: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let app = app.clone();
            tokio::spawn(async move {
                for (payment, evidence) in share {
                    settle::settle(&app, payment, Source::Notify, evidence).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let took = started.elapsed();
    all_credited(&app, orders).await;
    orders as f64 / took.as_secs_f64()
}

fn verified(app: &App, body: String) -> (VerifiedPayment, Evidence) {
    let wechat = WechatV2 { account: app.config.wechat_v2.clone().unwrap() };
    let notified = wechat.notified(Notify { body: body.as_bytes(), ..Notify::default() });
    let Notified::Paid(payment) = notified else { panic!("a genuine callback") };
    (payment, Evidence { body: body.into_bytes(), ..Evidence::default() })
}

pub async fn all_credited(app: &Arc<App>, orders: usize) {
    let broken = app.store.read_at_length(books::audit).await.unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    let totals = app.store.read(|db| order_lists::totals(db, &order_lists::Filter::default())).await.unwrap();
    assert_eq!(usize::try_from(totals.paid).unwrap(), orders, "every callback credits its order");
}

/// As they go over the wire.
pub fn requests(bodies: &[String]) -> Arc<Vec<Vec<u8>>> {
    let head = "POST /notify/wechat HTTP/1.1\r\nhost: bench\r\ncontent-type: text/xml";
    let request =
        |body: &String| format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    Arc::new(bodies.iter().map(request).collect())
}

/// Orders of so many users in the books, and a genuine callback for each.
pub async fn prepare(app: &Arc<App>, count: usize, users: usize) -> Vec<String> {
    let now = app.clock.now();
    let user_ids = app
        .store
        .write(move |db| {
            (0..users)
                .map(|n| {
                    let name = Username::parse(&format!("user{n}")).unwrap();
                    Ok(users::insert(db, &name, "not a hash", Role::User, now)?.unwrap())
                })
                .collect::<Result<Vec<i64>, _>>()
        })
        .await
        .unwrap();
    let numbers: Vec<_> = (0..count).map(|n| OutTradeNo::parse(&number(n)).unwrap()).collect();
    for chunk in numbers.chunks(400) {
        let (chunk, user_ids, notify_url) =
            (chunk.to_vec(), user_ids.clone(), app.config.url("/notify/wechat"));
        let account = app.gateway_for(Channel::WechatJsapi).unwrap().1;
        app.store
            .write(move |db| {
                for (n, number) in chunk.iter().enumerate() {
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
                            payer: Openid::parse("oUpF8uMEb4qRXf22hE3X68TekukE"),
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
                    pending::insert(db, number, now.plus_secs(600))?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
    // Statistics as a server would have them by then; in a file nobody makes any.
    if matches!(app.config.database, Database::Postgres(_)) {
        app.store.write(|db| Ok(db.batch_execute("ANALYZE")?)).await.unwrap();
    }
    numbers
        .iter()
        .enumerate()
        .map(|(n, number)| callback(app.config.wechat_v2.as_ref().unwrap(), number.as_str(), n))
        .collect()
}

pub fn callback(account: &Account, number: &str, n: usize) -> String {
    let transaction_id = transaction(n);
    let mut fields: Fields = [
        ("appid", account.appids.web.as_str()),
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
    fields.to_xml()
}

/// One keep-alive connection sends its share, each callback once.
async fn replay(address: SocketAddr, requests: Arc<Vec<Vec<u8>>>, client: usize, step: usize) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    for request in requests.iter().skip(client).step_by(step) {
        stream.write_all(request).await.unwrap();
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"</xml>") {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            filled += read;
        }
        assert!(buffer[..filled].windows(7).any(|bytes| bytes == b"SUCCESS"));
    }
}
