//! What there is to say about the books themselves: which engine, how new, how large.

use super::{Db, StoreError};
use crate::config::Database;
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt, sql_types::Text};
use std::path::Path;

/// The state of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// `SQLite 3.50.4` or `PostgreSQL 15.18`.
    pub engine: String,
    /// The numbers of the migrations that were run, oldest first.
    pub migrations: Vec<String>,
    pub bytes: i64,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// # Errors
/// The database.
pub fn of(db: &mut Db) -> Result<Diagnosis, StoreError> {
    let (engine, size) = match db {
        Db::Sqlite(_) => (
            "SELECT 'SQLite ' || sqlite_version() AS word",
            "SELECT page_count * page_size AS number FROM pragma_page_count(), pragma_page_size()",
        ),
        Db::Postgres(_) => (
            "SELECT 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1) AS word",
            "SELECT pg_database_size(current_database()) AS number",
        ),
    };
    let engine: Word = sql_query(engine).get_result(db)?;
    let size: Number = sql_query(size).get_result(db)?;
    let run: Vec<Word> =
        sql_query("SELECT version AS word FROM __diesel_schema_migrations ORDER BY version").load(db)?;
    Ok(Diagnosis {
        engine: engine.word,
        migrations: run.into_iter().map(|run| run.word.trim_start_matches('0').to_owned()).collect(),
        bytes: size.number,
    })
}

/// Free and whole bytes of the disk a file of books is on; `None` for a server's, or when the system does not say.
pub fn disk(database: &Database) -> Option<(u64, u64)> {
    let file = database.file()?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}
