//! Whether the cost of things stays flat while the books grow: `cargo bench --bench growth`, with `SHOUYIN_TEST_POSTGRES`
//! also on that server. `SHOUYIN_GROWTH=1000,100000,10000000` names the sizes, in orders; a million take 2.5 GB of disk on
//! either engine. `SHOUYIN_GROWTH_ON=sqlite` or `postgresql` leaves the other engine out; `SHOUYIN_GROWTH_WITHOUT=orders_paid`
//! also settles without that index.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a measurement may panic"
)]

mod books;
mod operations;
#[path = "../callbacks/postgres.rs"]
#[allow(dead_code, reason = "of this only the schema")]
mod postgres;
mod settling;
#[path = "../callbacks/shop.rs"]
#[allow(dead_code, reason = "of this only the app and its callbacks")]
mod shop;
mod table;
#[path = "../callbacks/threads.rs"]
#[allow(dead_code, reason = "the other bench's")]
mod threads;

use books::Plan;
use diesel::connection::SimpleConnection;
use operations::{Known, OPERATIONS};
use postgres::Schema;
use shouyin::{
    app::App,
    config::Database,
    store::{Db, StoreError, books as audit, order_lists},
};
use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use table::Table;

const ROUNDS: usize = 9;
/// Of each operation in a round, each with another order, user or number.
const REPEATS: usize = 5;
/// In one round.
const SETTLED: usize = 1_280;
const CALLERS: usize = 64;

/// Books of one size, open.
struct Grown {
    database: Database,
    app: Arc<App>,
    known: Arc<Known>,
}

fn main() {
    let sizes = std::env::var("SHOUYIN_GROWTH").unwrap_or_else(|_| "1000,100000".to_owned());
    let sizes: Vec<i64> = sizes.split(',').map(|size| size.trim().parse().unwrap()).collect();
    actix_web::rt::System::new().block_on(async {
        let only = std::env::var("SHOUYIN_GROWTH_ON").unwrap_or_default();
        assert!(matches!(only.as_str(), "" | "sqlite" | "postgresql"), "no engine: {only}");
        if only != "postgresql" {
            on_sqlite(&sizes).await;
        }
        if only != "sqlite" {
            on_postgresql(&sizes).await;
        }
    });
}

async fn on_sqlite(sizes: &[i64]) {
    let folder = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-growth"));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    let files = sizes.iter().map(|size| Database::Sqlite(folder.join(format!("{size}.db"))));
    measure("SQLite", sizes, files.collect()).await;
    fs::remove_dir_all(&folder).ok();
}

async fn on_postgresql(sizes: &[i64]) {
    let Ok(server) = std::env::var("SHOUYIN_TEST_POSTGRES") else {
        println!("PostgreSQL skipped: SHOUYIN_TEST_POSTGRES names no server");
        return;
    };
    let schemas: Vec<Schema> =
        sizes.iter().map(|size| Schema::new(&server, &format!("shouyin_growth_{size}"))).collect();
    measure("PostgreSQL", sizes, schemas.iter().map(Schema::database).collect()).await;
}

async fn measure(engine: &str, sizes: &[i64], databases: Vec<Database>) {
    let mut grown = Vec::new();
    for (size, database) in sizes.iter().zip(databases) {
        let started = Instant::now();
        let app = shop::open(database.clone());
        let mut db = books::connect(&database);
        let plan = Plan { orders: *size, end: app.clock.now().0 };
        books::fill(&mut db, plan, 0, *size);
        let bytes = size_on_disk(&mut db);
        eprintln!("{engine}: {size} orders, {} MB, made in {:?}", bytes / 1_000_000, started.elapsed());
        if *size <= 10_000 {
            let broken = audit::breaches(&mut db).unwrap();
            assert!(broken.is_empty(), "{broken:?}");
        }
        let known = Arc::new(Known::of(&mut db, plan, *size));
        grown.push(Grown { database, app, known });
    }
    let mut table = Table::new(engine, sizes);
    settlements(&grown, &mut table).await;
    for (name, operation) in OPERATIONS {
        let mut times = vec![Vec::new(); grown.len()];
        for round in 0..ROUNDS {
            for (books, times) in grown.iter().zip(&mut times) {
                let (known, operation) = (books.known.clone(), *operation);
                let repeat = move |db: &mut Db| {
                    let timed = |nth| timed(|| operation(db, &known, nth));
                    (round * REPEATS..(round + 1) * REPEATS).map(timed).collect::<Result<Vec<_>, _>>()
                };
                times.extend(books.app.store.read(repeat).await.unwrap());
            }
        }
        table.add_times(name, &times);
    }
    let wholes: [(&str, Whole); 2] =
        [("sums of every order, asked for", whole), ("the hourly audit", audited)];
    for (name, whole) in wholes {
        let mut times = Vec::new();
        for books in &grown {
            let started = Instant::now();
            let done = books.app.store.read_at_length(move |db| Ok(whole(db))).await.unwrap();
            times.push(done.ok().map(|()| started.elapsed()));
        }
        table.add_once(name, &times);
    }
    table.print();
}

fn timed(operation: impl FnOnce() -> Result<(), StoreError>) -> Result<Duration, StoreError> {
    let started = Instant::now();
    operation()?;
    Ok(started.elapsed())
}

/// What reads everything, which is measured once.
type Whole = fn(&mut Db) -> Result<(), StoreError>;

fn whole(db: &mut Db) -> Result<(), StoreError> {
    for part in order_lists::parts(db, &order_lists::Filter::default())? {
        order_lists::totals(db, &part)?;
    }
    Ok(())
}

fn audited(db: &mut Db) -> Result<(), StoreError> {
    let broken = audit::audit(db)?;
    assert!(broken.is_empty(), "{broken:?}");
    Ok(())
}

/// Size after size in each round, so that what disturbs one disturbs all.
async fn settlements(grown: &[Grown], table: &mut Table) {
    let without = std::env::var("SHOUYIN_GROWTH_WITHOUT").unwrap_or_default();
    let without: Vec<&str> = without.split(',').filter(|name| !name.is_empty()).collect();
    let mut rates = vec![vec![Vec::new(); grown.len()]; 1 + without.len()];
    for round in 0..ROUNDS {
        for (nth, books) in grown.iter().enumerate() {
            let seed = round * grown.len() + nth;
            rates[0][nth]
                .push(settling::per_second(&books.app, books.known.users, SETTLED, CALLERS, seed).await);
            for (less, index) in without.iter().enumerate() {
                let mut db = books::connect(&books.database);
                let definition = definition(&mut db, index);
                db.batch_execute(&format!("DROP INDEX {index}")).unwrap();
                let rate = settling::per_second(&books.app, books.known.users, SETTLED, CALLERS, seed).await;
                rates[less + 1][nth].push(rate);
                db.batch_execute(&definition).unwrap();
            }
        }
    }
    table.add_rates("settlements a second, 64 callers", &rates[0]);
    for (index, rates) in without.iter().zip(&rates[1..]) {
        table.add_rates(&format!("the same without {index}"), rates);
    }
}

#[derive(diesel::QueryableByName)]
struct Word {
    #[diesel(sql_type = diesel::sql_types::Text)]
    word: String,
}

fn definition(db: &mut Db, index: &str) -> String {
    let query = match db {
        Db::Sqlite(_) => format!("SELECT sql AS word FROM sqlite_schema WHERE name = '{index}'"),
        Db::Postgres(_) => format!(
            "SELECT indexdef AS word FROM pg_indexes WHERE indexname = '{index}' AND schemaname = current_schema()"
        ),
    };
    let word: Word = diesel::RunQueryDsl::get_result(diesel::sql_query(query), db).unwrap();
    word.word
}

fn size_on_disk(db: &mut Db) -> i64 {
    let query = match db {
        Db::Sqlite(_) => {
            "SELECT page_count * page_size AS number FROM pragma_page_count(), pragma_page_size()"
        }
        Db::Postgres(_) => {
            "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT) AS number FROM pg_class
             WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        }
    };
    books::number(db, query)
}
