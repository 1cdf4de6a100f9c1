//! Books in PostgreSQL, which several instances may share. One at a time changes them: each writer takes an
//! advisory lock with its transaction, so that what a change has read stays true until it commits.

use super::{Db, StoreError, writer::Company};
use crate::config::PostgresUrl;
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl,
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    result::Error,
    sql_query,
    sql_types::{Bool, Text},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Begins a transaction and waits until no other instance is in the way. The lock's key is the schema's number, so that
/// shops in several schemas of one database do not wait for each other. READ COMMITTED: each statement after the
/// wait sees what was committed before it. Who alone may change the books and still meets a lock waits for nobody of ours,
/// and not for long: the rest of the batch waits as well.
pub(super) const fn begin(company: Company) -> &'static str {
    match company {
        Company::Nobody => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(current_schema()::regnamespace::bigint); \
             SET LOCAL lock_timeout = '100ms'"
        }
        Company::Settlements => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared(current_schema()::regnamespace::bigint)"
        }
    }
}

/// An instance that hangs inside a transaction is thrown out, so that others can go on. No `statement_timeout`, whatever
/// role or database have: it would also end the wait of a COMMIT for a standby, and PostgreSQL then reports success.
const WRITER: &str =
    "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '5s'; SET statement_timeout = 0";
/// The locks, and being idle, are for what `limits` counts, which is the only thing a reader writes.
const READER: &str = "SET statement_timeout = '5s'; SET default_transaction_read_only = on; SET lock_timeout = '1s'; \
                      SET idle_in_transaction_session_timeout = '5s'";

/// One instance migrates; others that start wait as long as that takes. Those that write wait too, as for any lock.
const LOCK_MIGRATIONS: &str = "SET lock_timeout = 0; SELECT pg_advisory_lock(current_schema()::regnamespace::bigint); \
                               SET lock_timeout = '2s'";
const UNLOCK_MIGRATIONS: &str = "SELECT pg_advisory_unlock(current_schema()::regnamespace::bigint)";

/// What a connection gets unless the URL says otherwise: a server that is gone is noticed within seconds,
/// and of several hosts the one that takes writes is found.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", "shouyin"),
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "3000"),
    ("keepalives_idle", "3"),
    ("keepalives_interval", "1"),
    ("keepalives_count", "3"),
    ("target_session_attrs", "read-write"),
];

/// Brings the books to this version and looks whether the server keeps what it commits.
pub(super) fn open(url: &PostgresUrl) -> Result<Db, StoreError> {
    let mut db = connect(url)?;
    migrate(&mut db, url)?;
    for setting in ["fsync", "full_page_writes"] {
        if shown(&mut db, setting)? == "off" {
            tracing::error!(
                "PostgreSQL runs with {setting} = off: a crash of its machine can lose or double money"
            );
        }
    }
    Ok(db)
}

/// Empty books in a schema of this name, instead of the one that was there. Nothing in them is meant to last.
pub(super) fn open_new_schema(url: &PostgresUrl, schema: &str) -> Result<Db, StoreError> {
    let mut db = establish(url, "SET client_min_messages = 'warning'; SET synchronous_commit = off")?;
    db.batch_execute(&format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}"
    ))?;
    migrate(&mut db, url)?;
    Ok(db)
}

fn migrate(db: &mut Db, url: &PostgresUrl) -> Result<(), StoreError> {
    let refused = |error: &dyn ToString| open_error(url, error.to_string());
    if !locked_at_once(db).map_err(|error| refused(&error))? {
        tracing::info!("another instance writes or migrates: waiting until it has");
        db.batch_execute(LOCK_MIGRATIONS).map_err(|error| refused(&error))?;
    }
    let migrated = db.run_pending_migrations(MIGRATIONS).map(|_| ()).map_err(|error| refused(&error));
    db.batch_execute(UNLOCK_MIGRATIONS).map_err(|error| refused(&error))?;
    migrated
}

/// Takes the lock for migrations if nobody has it; whether it did.
fn locked_at_once(db: &mut Db) -> Result<bool, Error> {
    sql_query("SELECT pg_try_advisory_lock(current_schema()::regnamespace::bigint) AS held")
        .get_result::<Held>(db)
        .map(|lock| lock.held)
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Bool)]
    held: bool,
}

/// A connection for the writer. Its COMMIT is durable, and with standbys that are waited for, there as well.
pub(super) fn connect(url: &PostgresUrl) -> Result<Db, StoreError> {
    let mut db = establish(url, WRITER)?;
    if matches!(shown(&mut db, "synchronous_commit")?.as_str(), "off" | "local") {
        db.batch_execute("SET synchronous_commit = on")?;
    }
    Ok(db)
}

/// A connection that does not write, except what `limits` asks of it by transactions that say so.
pub(super) fn connect_to_read(url: &PostgresUrl) -> Result<Db, StoreError> {
    establish(url, READER)
}

/// For what reads all of the books: the limit of a reader's statements would end it among a million orders.
pub(super) fn patiently<T>(
    db: &mut Db,
    read: impl FnOnce(&mut Db) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let limit = shown(db, "statement_timeout")?;
    db.batch_execute("SET statement_timeout = '15min'")?;
    let done = read(db);
    db.batch_execute(&format!("SET statement_timeout = '{limit}'"))?;
    done
}

/// Whether the server no longer answers on this connection, or it was left inside a transaction.
pub(super) fn is_broken(connection: &mut PgConnection) -> bool {
    AnsiTransactionManager::transaction_manager_status_mut(connection).transaction_depth().is_err()
}

fn establish(url: &PostgresUrl, session: &str) -> Result<Db, StoreError> {
    let mut connection =
        PgConnection::establish(&url.with(DEFAULTS)).map_err(|error| open_error(url, error.to_string()))?;
    connection.batch_execute(session).map_err(|error| open_error(url, error.to_string()))?;
    Ok(Db::Postgres(connection))
}

fn open_error(url: &PostgresUrl, reason: String) -> StoreError {
    StoreError::Open { database: url.to_string(), reason: reason.trim_end().to_owned() }
}

fn shown(db: &mut Db, setting: &str) -> Result<String, StoreError> {
    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let query = sql_query("SELECT current_setting($1) AS value").bind::<Text, _>(setting);
    let setting: Setting = query.get_result(db)?;
    Ok(setting.value)
}
