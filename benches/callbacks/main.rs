//! Durable settlement against each database's own client doing the same work one order at a time, in one run on one
//! disk: `cargo bench --bench callbacks`. With `SHOUYIN_TEST_POSTGRES` also on that server, by `pgbench`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a measurement may panic"
)]

#[path = "../growth/books.rs"]
#[allow(dead_code, reason = "the other bench's")]
mod books;
mod child;
mod grown;
mod hearing;
mod pace;
mod postgres;
#[path = "../growth/settling.rs"]
mod settling;
mod shop;
mod sqlite;
mod threads;

use postgres::{Form, Schema};
use shop::{Load, Taken};
use shouyin::{clock::Clock, config::Database, domain::order::Channel};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const ORDERS: usize = 6_400;
const ROUNDS: usize = 5;

fn main() {
    actix_web::rt::System::new().block_on(async {
        if child::played().await {
            return;
        }
        let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-callbacks"));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        println!("{ORDERS} orders a round, medians of {ROUNDS} rounds; both sides durable");
        println!("{:<78} {:>9} {:>9} {:>6} {:>13}", "", "ours/s", "theirs/s", "ratio", "of rounds");
        in_a_file(&folder).await;
        let server = std::env::var("SHOUYIN_TEST_POSTGRES").ok();
        match &server {
            Some(server) => on_a_server(server, &folder).await,
            None => println!("PostgreSQL skipped: SHOUYIN_TEST_POSTGRES names no server"),
        }
        println!("\n{:<78} {:>9} {:>9} {:>6} {:>13}", "", "p99 ms", "other ms", "ratio", "of rounds");
        waits(server.as_deref(), &folder).await;
        if let Some(server) = &server {
            hearing::at_another(server).await;
        }
        let (before, during) = child::waiting_pages(&folder.join("pages"));
        println!(
            "\nA server's memory with 1,000 pages waiting: {:.1} MiB ({:.1} MiB before they came)",
            during as f64 / 1024.0,
            before as f64 / 1024.0
        );
        fs::remove_dir_all(&folder).ok();
    });
}

async fn in_a_file(folder: &Path) {
    let mut rows = [
        Row::new("SQLite, HTTP, 64 connections / its API, one order a transaction"),
        Row::new("SQLite, inside, 64 callers / its API, 64 orders a transaction"),
        Row::new("SQLite, inside, 1 caller / its API, one order a transaction"),
        Row::new("SQLite, inside, 1 caller / its API in another thread, one order a transaction"),
    ];
    let mut cpu = vec![];
    for _ in 0..ROUNDS {
        let one = by_sqlite(folder, |books| books.loop_of(1)).await;
        let many = by_sqlite(folder, |books| books.loop_of(64)).await;
        let apart = by_sqlite(folder, Theirs::handed_over).await;
        let taken = shop::over_http(Load::on(empty(folder), ORDERS, 64)).await;
        rows[0].add(taken.rate, one);
        cpu.push(taken.cpu);
        rows[1].add(shop::inside(Load::on(empty(folder), ORDERS, 64)).await, many);
        let alone = shop::inside(Load::on(empty(folder), ORDERS, 1)).await;
        rows[2].add(alone, one);
        rows[3].add(alone, apart);
    }
    rows.iter().for_each(Row::print);
    grown::in_a_file(folder).await;
    print_cpu("SQLite", cpu);
}

async fn on_a_server(server: &str, folder: &Path) {
    let mut rows = [
        Row::new("PostgreSQL, HTTP, 64 connections / pgbench, 64 clients, six statements"),
        Row::new("PostgreSQL, HTTP, 64 connections / pgbench, 64 clients, one statement"),
        Row::new("PostgreSQL, HTTP, 256 connections / pgbench, 64 clients, six statements"),
        Row::new("PostgreSQL, HTTP, 256 connections / pgbench, 64 clients, one statement"),
        Row::new("PostgreSQL, HTTP, 256 connections / pgbench, 256 clients, one statement"),
        Row::new("PostgreSQL, inside, 1 caller / pgbench, 1 client, six statements"),
        Row::new("PostgreSQL, inside, 64 callers, one user / pgbench, 64, and a balance row"),
        Row::new("PostgreSQL, HTTP, 64 connections, two instances / one instance"),
    ];
    let mut cpu = vec![];
    for _ in 0..ROUNDS {
        let statements = theirs(server, folder, 64, Form::Statements).await;
        let one = theirs(server, folder, 64, Form::One).await;
        let one_of_many = theirs(server, folder, 256, Form::One).await;
        let alone = theirs(server, folder, 1, Form::Statements).await;
        let balance = theirs(server, folder, 64, Form::Balance).await;
        let few = ours(server, 64, 1).await;
        let many = ours(server, 256, 1).await.rate;
        rows[0].add(few.rate, statements);
        rows[1].add(few.rate, one);
        rows[2].add(many, statements);
        rows[3].add(many, one);
        rows[4].add(many, one_of_many);
        rows[5].add(inside(server, 1, 100).await, alone);
        rows[6].add(inside(server, 64, 1).await, balance);
        rows[7].add(ours(server, 64, 2).await.rate, few.rate);
        cpu.push(few.cpu);
    }
    rows.iter().for_each(Row::print);
    grown::on_a_server(server).await;
    print_cpu("PostgreSQL", cpu);
}

fn new_schema(server: &str) -> Schema {
    Schema::new(server, "shouyin_bench")
}

async fn ours(server: &str, connections: usize, instances: usize) -> Taken {
    let schema = new_schema(server);
    shop::over_http(Load { instances, ..Load::on(schema.database(), ORDERS, connections) }).await
}

async fn inside(server: &str, callers: usize, users: usize) -> f64 {
    let schema = new_schema(server);
    let orders = if callers == 1 { ORDERS / 4 } else { ORDERS };
    shop::inside(Load { users, ..Load::on(schema.database(), orders, callers) }).await
}

async fn theirs(server: &str, folder: &Path, clients: usize, form: Form) -> f64 {
    let schema = new_schema(server);
    let orders = if clients == 1 { ORDERS / 4 } else { ORDERS };
    let users = if matches!(form, Form::Balance) { 1 } else { 100 };
    let bodies = shop::prepare(&shop::open(schema.database()), orders, users).await;
    postgres::orders_per_second(&schema, folder, orders, clients, form, &bodies[0])
}

async fn waits(server: Option<&str>, folder: &Path) {
    let mut rows = [
        "SQLite, HTTP, p99 at half of the most / one sync of the disk",
        "SQLite, HTTP, p99 at half of the most / p99 of /healthz at that pace",
        "SQLite on a disk that syncs 4 ms slower, p99 / one sync",
        "SQLite on a disk that syncs 4 ms slower, p99 / p99 of /healthz",
        "PostgreSQL, HTTP, p99 at half of the most / one sync of the disk",
        "PostgreSQL, HTTP, p99 at half of the most / p99 of /healthz",
    ]
    .map(Row::new);
    for _ in 0..ROUNDS {
        let mut paces = vec![child::pace(folder, false), child::pace(folder, true)];
        if let Some(server) = server {
            let (most, half) = (new_schema(server), Schema::new(server, "shouyin_bench_half"));
            paces.push(pace::at_half(most.database(), half.database(), folder, ORDERS).await);
        }
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let against = paces.iter().flat_map(|pace| [pace.sync, pace.idle].map(|other| (pace.p99, other)));
        for (row, (p99, other)) in rows.iter_mut().zip(against) {
            row.add(millis(p99), millis(other));
        }
    }
    rows.iter().filter(|row| !row.rounds.is_empty()).for_each(|row| row.line(2));
}

fn print_cpu(engine: &str, mut cpu: Vec<Duration>) {
    cpu.sort_unstable();
    println!(
        "{engine}, HTTP, 64 connections: {:.1} µs of processor in user mode per callback, outside database and kernel",
        cpu[cpu.len() / 2].as_secs_f64() * 1e6
    );
}

/// Books for SQLite's own API, and one of the callbacks that their orders stand for.
struct Theirs {
    books: PathBuf,
    account: String,
    body: String,
}

impl Theirs {
    fn loop_of(&self, each: usize) -> f64 {
        sqlite::orders_per_second(&self.books, ORDERS, each, &self.account, &self.body)
    }

    fn handed_over(&self) -> f64 {
        sqlite::handed_over(&self.books, ORDERS, &self.account, &self.body)
    }
}

/// Orders a second through SQLite's API, on books of their own.
async fn by_sqlite(folder: &Path, run: fn(&Theirs) -> f64) -> f64 {
    let database = empty(folder);
    let app = shop::open(database.clone());
    let body = shop::prepare(&app, ORDERS, 100).await.swap_remove(0);
    assert!(body.len() > 500, "{body}");
    let account = app.gateway_for(Channel::WechatJsapi).unwrap().1;
    drop(app);
    run(&Theirs { books: database.file().unwrap().to_owned(), account, body })
}

/// Books of their own: an app that is gone closes its files a little later.
fn empty(folder: &Path) -> Database {
    let folder = folder.join(Clock::system().nonce().unwrap());
    fs::create_dir_all(&folder).unwrap();
    Database::Sqlite(folder.join("books.db"))
}

/// One line of the table: both rates of every round.
struct Row {
    name: String,
    rounds: Vec<(f64, f64)>,
}

impl Row {
    fn new(name: &str) -> Row {
        Row { name: name.to_owned(), rounds: vec![] }
    }

    fn add(&mut self, ours: f64, theirs: f64) {
        self.rounds.push((ours, theirs));
    }

    fn print(&self) {
        self.line(0);
    }

    fn line(&self, digits: usize) {
        let sorted = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let ratios = sorted(|(ours, theirs)| ours / theirs);
        let median = |values: &[f64]| values[values.len() / 2];
        println!(
            "{:<78} {:>9.digits$} {:>9.digits$} {:>6.2} {:>13}",
            self.name,
            median(&sorted(|round| round.0)),
            median(&sorted(|round| round.1)),
            median(&ratios),
            format!("{:.2} to {:.2}", ratios[0], ratios[ratios.len() - 1]),
        );
    }
}
