//! Durable settlement against each database's own client doing the same work one order at a time, in one run on one
//! disk: `cargo bench --bench callbacks`. With `SHOUYIN_TEST_POSTGRES` also on that server, by `pgbench`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a measurement may panic"
)]

mod postgres;
mod shop;
mod sqlite;

use postgres::{Form, Schema};
use shouyin::{clock::Clock, config::Database};
use std::{
    fs,
    path::{Path, PathBuf},
};

const ORDERS: usize = 6_400;
const ROUNDS: usize = 5;

fn main() {
    actix_web::rt::System::new().block_on(async {
        let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-callbacks"));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        println!("{ORDERS} orders a round, medians of {ROUNDS} rounds; both sides durable");
        println!("{:<66} {:>9} {:>9} {:>6} {:>13}", "", "ours/s", "theirs/s", "ratio", "of rounds");
        in_a_file(&folder).await;
        match std::env::var("SHOUYIN_TEST_POSTGRES") {
            Ok(server) => on_a_server(&server, &folder).await,
            Err(_) => println!("PostgreSQL skipped: SHOUYIN_TEST_POSTGRES names no server"),
        }
        fs::remove_dir_all(&folder).ok();
    });
}

async fn in_a_file(folder: &Path) {
    let mut rows = [
        Row::new("SQLite, HTTP, 64 connections / its API, one order a transaction"),
        Row::new("SQLite, inside, 64 callers / its API, 64 orders a transaction"),
        Row::new("SQLite, inside, 1 caller / its API, one order a transaction"),
    ];
    for _ in 0..ROUNDS {
        let (one, body) = by_sqlite(folder, ORDERS, 1).await;
        let (many, _) = by_sqlite(folder, ORDERS, 64).await;
        assert!(body.len() > 500, "{body}");
        rows[0].add(shop::over_http(empty(folder), ORDERS, 64).await.0, one);
        rows[1].add(shop::inside(empty(folder), ORDERS, 64).await, many);
        rows[2].add(shop::inside(empty(folder), ORDERS / 4, 1).await, one);
    }
    rows.iter().for_each(Row::print);
}

async fn on_a_server(server: &str, folder: &Path) {
    let mut rows = [
        Row::new("PostgreSQL, HTTP, 64 connections / pgbench, 64 clients, six statements"),
        Row::new("PostgreSQL, HTTP, 64 connections / pgbench, 64 clients, one statement"),
        Row::new("PostgreSQL, HTTP, 256 connections / pgbench, 64 clients, six statements"),
        Row::new("PostgreSQL, HTTP, 256 connections / pgbench, 64 clients, one statement"),
        Row::new("PostgreSQL, inside, 1 caller / pgbench, 1 client, six statements"),
    ];
    let empty = || Schema::new(server, "shouyin_bench");
    for _ in 0..ROUNDS {
        let mut theirs = [0.0; 3];
        for (rate, (form, clients, orders)) in theirs.iter_mut().zip([
            (Form::Statements, 64, ORDERS),
            (Form::One, 64, ORDERS),
            (Form::Statements, 1, ORDERS / 4),
        ]) {
            let schema = empty();
            let bodies = shop::prepare(&shop::open(schema.database()), orders).await;
            *rate = postgres::orders_per_second(&schema, folder, orders, clients, form, &bodies[0]);
        }
        let ours = |connections| {
            let schema = empty();
            async move { shop::over_http(schema.database(), ORDERS, connections).await.0 }
        };
        let (few, many) = (ours(64).await, ours(256).await);
        rows[0].add(few, theirs[0]);
        rows[1].add(few, theirs[1]);
        rows[2].add(many, theirs[0]);
        rows[3].add(many, theirs[1]);
        let schema = empty();
        rows[4].add(shop::inside(schema.database(), ORDERS / 4, 1).await, theirs[2]);
    }
    rows.iter().for_each(Row::print);
}

/// Orders a second through SQLite's API, and one of the callbacks they stand for.
async fn by_sqlite(folder: &Path, orders: usize, each: usize) -> (f64, String) {
    let database = empty(folder);
    let body = shop::prepare(&shop::open(database.clone()), orders).await.swap_remove(0);
    (sqlite::orders_per_second(database.file().unwrap(), orders, each, &body), body)
}

/// Books of their own: an app that is gone closes its files a little later.
fn empty(folder: &Path) -> Database {
    let folder = folder.join(Clock::system().nonce().unwrap());
    fs::create_dir_all(&folder).unwrap();
    Database::Sqlite(folder.join("books.db"))
}

/// One line of the table: both rates of every round.
struct Row {
    name: &'static str,
    rounds: Vec<(f64, f64)>,
}

impl Row {
    const fn new(name: &'static str) -> Row {
        Row { name, rounds: vec![] }
    }

    fn add(&mut self, ours: f64, theirs: f64) {
        self.rounds.push((ours, theirs));
    }

    fn print(&self) {
        let sorted = |of: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let ratios = sorted(|(ours, theirs)| ours / theirs);
        let median = |values: &[f64]| values[values.len() / 2];
        println!(
            "{:<66} {:>9.0} {:>9.0} {:>6.2} {:>13}",
            self.name,
            median(&sorted(|round| round.0)),
            median(&sorted(|round| round.1)),
            median(&ratios),
            format!("{:.2} to {:.2}", ratios[0], ratios[ratios.len() - 1]),
        );
    }
}
