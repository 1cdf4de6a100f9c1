//! Where a test keeps its books: in a file, or in a schema of its own in the PostgreSQL that
//! `SHOUYIN_TEST_POSTGRES` names, such as `postgres://shouyin:secret@127.0.0.1/shouyin`.

use diesel::{Connection, PgConnection, connection::SimpleConnection};
use shouyin::{
    config::Database,
    store::{Db, StoreError},
};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The server for tests, if there is one.
pub fn server() -> Option<String> {
    std::env::var("SHOUYIN_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// Empty books. On a server, in a new schema.
pub fn fresh(folder: &Path) -> Database {
    match server() {
        None => file(folder),
        Some(url) => on_server(&url),
    }
}

/// Empty books in a file, for tests of what only a file has.
pub fn file(folder: &Path) -> Database {
    Database::Sqlite(folder.join("books.db"))
}

/// Empty books in a new schema, which lives until `forget`.
pub fn on_server(url: &str) -> Database {
    let schema = format!("t{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    run(url, &format!("CREATE SCHEMA {schema}"));
    let sign = if url.contains('?') { '&' } else { '?' };
    Database::parse(&format!("{url}{sign}options=-csearch_path%3D{schema}")).unwrap()
}

/// Drops the schema of these books; a file goes with its folder.
pub fn forget(database: &Database) {
    let Database::Postgres(url) = database else { return };
    let url = url.with(&[]);
    let schema = url.rsplit("%3D").next().unwrap().to_owned();
    run(&url, &format!("SET client_min_messages = 'warning'; DROP SCHEMA {schema} CASCADE"));
}

/// Statements as a change or a question.
pub fn sql(text: &str) -> impl Fn(&mut Db) -> Result<(), StoreError> + Send + use<> {
    let text = text.to_owned();
    move |db| Ok(db.batch_execute(&text)?)
}

/// Somebody else at the server of these books; `None` where they are a file.
pub fn somebody(database: &Database) -> Option<PgConnection> {
    let Database::Postgres(url) = database else { return None };
    Some(PgConnection::establish(&url.with(&[])).unwrap())
}

fn run(url: &str, sql: &str) {
    PgConnection::establish(url).unwrap().batch_execute(sql).unwrap();
}
