//! What lists cost does not grow with the books: counted, not timed, in the same books before and after they doubled.
//! SQLite counts the steps of its machine, PostgreSQL the rows that it read.

use crate::database;
use books::Plan;
use diesel::{
    QueryableByName, RunQueryDsl,
    connection::{Connection, InstrumentationEvent, SimpleConnection},
    sql_query,
    sql_types::BigInt,
};
use operations::{Known, OPERATIONS, WITH_THE_RATE};
use rusqlite::{StatementStatus, types::Value};
use shouyin::store::{Db, Store, StoreError, books as audit, order_lists};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

#[path = "../../benches/growth/books.rs"]
mod books;
#[path = "../../benches/growth/operations.rs"]
#[allow(dead_code, reason = "the benchmark reads more of it")]
mod operations;

/// More than any list looks through or sums unasked.
const HALF: i64 = 22_000;
/// What may grow: one user's orders and the open ones, which are fewer than one step for each new order.
const SLACK: i64 = HALF;
/// Of each operation, each about something else.
const REPEATS: usize = 3;
const PLAN: Plan = Plan { orders: 2 * HALF, end: 1_795_176_000_000 };

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("shouyin-growth-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What each operation costs now, and what sums of everything do.
fn costs(
    db: &mut Db,
    size: i64,
    cost: impl Fn(&mut Db, &dyn Fn(&mut Db) -> Result<(), StoreError>) -> i64,
) -> Vec<(&'static str, i64)> {
    let known = Known::of(db, PLAN, size);
    let of = |(name, operation): &(&'static str, operations::Operation)| {
        (*name, cost(db, &|db: &mut Db| (0..REPEATS).try_for_each(|nth| operation(db, &known, nth))))
    };
    let mut costs: Vec<_> = OPERATIONS.iter().filter(|(name, _)| *name != WITH_THE_RATE).map(of).collect();
    let everything = order_lists::Filter::default();
    let sums = |db: &mut Db| (0..REPEATS).try_for_each(|_| order_lists::totals(db, &everything).map(drop));
    costs.push(("everything", cost(db, &sums)));
    costs
}

fn stays_flat(before: &[(&'static str, i64)], after: &[(&'static str, i64)]) {
    let grown = |((name, before), (_, after)): (&(&'static str, i64), &(&'static str, i64))| {
        (after - before > before / 4 + SLACK).then(|| format!("{name}: {before} → {after}"))
    };
    let grown: Vec<String> = before.iter().zip(after).filter_map(grown).collect();
    // Sums of every order do grow, so the measure sees what it should.
    assert!(grown.len() == 1 && grown[0].starts_with("everything"), "{}", grown.join("\n"));
}

#[actix_web::test]
async fn lists_searches_and_sweeps_take_no_more_steps_in_a_file_of_twice_the_orders() {
    let folder = Folder::new("file");
    let database = database::file(&folder.0);
    let store = Store::open(&database).unwrap();
    let mut db = books::connect(&database);
    let cost = |db: &mut Db, operation: &dyn Fn(&mut Db) -> Result<(), StoreError>| {
        steps(database.file().unwrap(), &queries_of(db, operation))
    };
    books::fill(&mut db, PLAN, 0, HALF);
    assert_eq!(audit::breaches(&mut db).unwrap(), Vec::<String>::new());
    let before = costs(&mut db, HALF, cost);
    books::fill(&mut db, PLAN, HALF, 2 * HALF);
    stays_flat(&before, &costs(&mut db, 2 * HALF, cost));
    drop(store);
}

/// The text and the values of every query, as Diesel tells them.
fn queries_of(db: &mut Db, operation: &dyn Fn(&mut Db) -> Result<(), StoreError>) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let telling = heard.clone();
    db.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            telling.lock().unwrap().push(query.to_string());
        }
    });
    operation(db).unwrap();
    db.set_instrumentation(|_: InstrumentationEvent<'_>| {});
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    assert!(!heard.is_empty());
    heard
}

/// The same queries once more on SQLite's own API, which counts.
fn steps(file: &Path, queries: &[String]) -> i64 {
    let sqlite = rusqlite::Connection::open(file).unwrap();
    let mut steps = 0;
    for query in queries {
        let (text, values) = query.split_once(" -- binds: ").unwrap();
        let values: Vec<serde_json::Value> =
            serde_json::from_str(values).unwrap_or_else(|error| panic!("{error}: {query}"));
        let value = |value: &serde_json::Value| match value.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Text(value.as_str().unwrap().to_owned()),
        };
        let mut statement = sqlite.prepare(text).unwrap();
        let mut rows = statement.query(rusqlite::params_from_iter(values.iter().map(value))).unwrap();
        while rows.next().unwrap().is_some() {}
        drop(rows);
        steps += i64::from(statement.get_status(StatementStatus::VmStep));
    }
    steps
}

#[actix_web::test]
async fn lists_searches_and_sweeps_read_no_more_rows_on_a_server_of_twice_the_orders() {
    let Some(server) = database::server() else { return };
    let database = database::on_server(&server);
    let store = Store::open(&database).unwrap();
    let mut db = books::connect(&database);
    books::fill(&mut db, PLAN, 0, HALF);
    assert_eq!(audit::breaches(&mut db).unwrap(), Vec::<String>::new());
    let before = costs(&mut db, HALF, rows_read);
    books::fill(&mut db, PLAN, HALF, 2 * HALF);
    stays_flat(&before, &costs(&mut db, 2 * HALF, rows_read));
    drop((store, db));
    database::forget(&database);
}

#[actix_web::test]
async fn the_audit_takes_its_time_where_a_readers_statements_have_a_limit() {
    let Some(server) = database::server() else { return };
    let database = database::on_server(&server);
    let store = Store::open(&database).unwrap();
    let mut db = books::connect(&database);
    books::fill(&mut db, Plan { orders: 5_000, ..PLAN }, 0, 5_000);
    db.batch_execute("SET statement_timeout = '1ms'").unwrap();
    assert!(audit::breaches(&mut db).is_err());
    assert_eq!(audit::audit(&mut db).unwrap(), Vec::<String>::new());
    assert!(audit::breaches(&mut db).is_err(), "the limit is back");
    drop((store, db));
    database::forget(&database);
}

fn rows_read(db: &mut Db, operation: &dyn Fn(&mut Db) -> Result<(), StoreError>) -> i64 {
    db.batch_execute("BEGIN").unwrap();
    let before = so_far(db);
    operation(db).unwrap();
    let read = so_far(db) - before;
    db.batch_execute("COMMIT").unwrap();
    read
}

/// Rows this transaction has read, by index or without.
fn so_far(db: &mut Db) -> i64 {
    #[derive(QueryableByName)]
    struct Read {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let query = "SELECT CAST(COALESCE(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)), 0) AS BIGINT) AS rows
        FROM pg_stat_xact_user_tables WHERE schemaname = current_schema()";
    let read: Read = sql_query(query).get_result(db).unwrap();
    read.rows
}
