//! Settling in books that are large already against settling in small ones: `SHOUYIN_BENCH_GROWN` is how many orders
//! they have, 100,000 unless told; ten million take 20 GB of disk on SQLite, given back before the 28 GB on PostgreSQL.

use super::{ROUNDS, Row, empty, postgres::Schema, shop};
use crate::{
    books::{self, Plan},
    settling,
};
use shouyin::{app::App, config::Database};
use std::{fs, path::Path, sync::Arc};

const SMALL: i64 = 1_000;
/// In one round: few, so that small books stay small.
const SETTLED: usize = 1_280;
const CALLERS: usize = 64;

/// Books of one size, open.
struct Grown {
    app: Arc<App>,
    users: i64,
}

impl Grown {
    fn new(database: &Database, orders: i64) -> Grown {
        let app = shop::open(database.clone());
        let plan = Plan { orders, end: app.clock.now().0 };
        books::fill(&mut books::connect(database), plan, 0, orders);
        Grown { app, users: plan.users() }
    }

    async fn per_second(&self, seed: usize) -> f64 {
        settling::per_second(&self.app, self.users, SETTLED, CALLERS, seed).await
    }
}

pub async fn in_a_file(folder: &Path) {
    let folder = folder.join("grown");
    measure("SQLite", [empty(&folder), empty(&folder)]).await;
    // Large, and the disk is wanted for what comes next.
    fs::remove_dir_all(folder).unwrap();
}

pub async fn on_a_server(server: &str) {
    let schemas = ["shouyin_bench_small", "shouyin_bench_large"].map(|name| Schema::new(server, name));
    measure("PostgreSQL", [schemas[0].database(), schemas[1].database()]).await;
}

async fn measure(engine: &str, [small, large]: [Database; 2]) {
    let orders = std::env::var("SHOUYIN_BENCH_GROWN").map_or(100_000, |orders| orders.parse().unwrap());
    let (small, large) = (Grown::new(&small, SMALL), Grown::new(&large, orders));
    let mut row = Row::new(&format!("{engine}, inside, 64 callers, among {orders} orders / among {SMALL}"));
    for round in 0..ROUNDS {
        let theirs = small.per_second(2 * round).await;
        row.add(large.per_second(2 * round + 1).await, theirs);
    }
    row.print();
}
