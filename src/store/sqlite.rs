//! Books in one SQLite file: the lock that keeps a second process out, and what makes a commit durable.

use super::{
    Db, StoreError,
    writer::{Company, begin, roll_back},
};
use diesel::{
    Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, result::Error, sql_query,
    sql_types::Integer,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Pages in the log that are copied; as many as SQLite by itself would wait for.
const LONG: i32 = 1_000;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Opens the file for writing, makes it if need be, brings it to this version. The lock is held until it is dropped.
pub(super) fn open(path: &Path) -> Result<(Db, File), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| open_error(path, error))?;
    }
    let lock = lock(path)?;
    // Made before SQLite would, so that its permissions are ours; WAL and index inherit them.
    private_file(path).map_err(|error| open_error(path, error))?;
    refuse_damaged(path)?;
    let mut db = connect(path)?;
    migrate(&mut db, path)?;
    settle_on_disk(&mut db, path)?;
    // From here on `copy_log` does it. The log grows while somebody reads an old state, and keeps that length otherwise.
    db.batch_execute("PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864")?;
    Ok((db, lock))
}

pub(super) fn migrate(db: &mut Db, path: &Path) -> Result<(), StoreError> {
    db.run_pending_migrations(MIGRATIONS).map_err(|error| open_error(path, error))?;
    Ok(())
}

pub(super) fn connect(path: &Path) -> Result<Db, StoreError> {
    let name = path.to_str().ok_or_else(|| open_error(path, "the path is not UTF-8"))?;
    let mut sqlite = SqliteConnection::establish(name).map_err(|error| open_error(path, error))?;
    // FULL: in WAL mode, NORMAL may lose an acknowledged credit when the power goes.
    sqlite
        .batch_execute(
            "PRAGMA busy_timeout = 2000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;",
        )
        .map_err(|error| open_error(path, error))?;
    Ok(Db::Sqlite(sqlite))
}

/// A connection that cannot write, to a file that exists. Nor does its end copy the log into the file, as that of the last
/// connection otherwise does: what a failed sync may have lost is first written again (`settle_on_disk`).
pub(super) fn connect_to_read(path: &Path) -> Result<Db, StoreError> {
    if !path.exists() {
        return Err(open_error(path, "there is no such file"));
    }
    let name = path.to_str().ok_or_else(|| open_error(path, "the path is not UTF-8"))?;
    // What would end the path of a URI, or stand for something else in it.
    let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let mut sqlite = SqliteConnection::establish(&format!("file:{name}?mode=ro"))
        .map_err(|error| open_error(path, error))?;
    sqlite
        .batch_execute(
            "PRAGMA busy_timeout = 2000; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA query_only = ON",
        )
        .map_err(|error| open_error(path, error))?;
    Ok(Db::Sqlite(sqlite))
}

pub(super) fn open_error(path: &Path, reason: impl ToString) -> StoreError {
    StoreError::Open { database: path.display().to_string(), reason: reason.to_string() }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private_file(&beside(path, ".lock")).map_err(|error| open_error(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(open_error(path, error)),
    }
}

/// The file that belongs to the books and is named like them with something behind.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Opens or makes a file that only this user can read: the books hold openids and password hashes.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes sure that what this process is going to build on is on the disk. If a sync of the last one failed,
/// its last commits may be in the system's memory only, where they look as real as any other and no sync
/// would save them: written once more, they are saved. Only then may they be copied into the file, because
/// a copy that is broken off is mended from the log.
fn settle_on_disk(db: &mut Db, path: &Path) -> Result<(), StoreError> {
    // Nobody else can change the log meanwhile. SQLite's locks are not on this file, so opening it ends none.
    begin(db, Company::Nobody)?;
    let rewritten = fs::canonicalize(path).and_then(|real| rewrite(&beside(&real, "-wal")));
    roll_back(db);
    rewritten.map_err(|error| open_error(path, error))?;
    if checkpoint(db, "FULL")?.busy != 0 {
        tracing::warn!(
            "somebody reads old books: the write-ahead log could not be copied into the file at start"
        );
    }
    Ok(())
}

/// Looked through at every start up to this size, which takes seconds on a slow disk; a larger file by `shouyin audit` alone.
const SOON_READ: u64 = 512 << 20;
/// Lines that the look may give: rows that are readable and break a rule of their table come between.
const LOOK: &str = "PRAGMA quick_check(100)";

/// Before anything is written, the file's own mode of journal too.
fn refuse_damaged(path: &Path) -> Result<(), StoreError> {
    if fs::metadata(path).map_err(|error| open_error(path, error))?.len() > SOON_READ {
        tracing::info!("the file is too large to be looked through at every start: `shouyin audit` does it");
        return Ok(());
    }
    let mut db = connect_to_read(path)?;
    match damage(&mut db) {
        // What cannot be looked at like this, such as a first start that was broken off, is for the opening to judge.
        Ok(None) | Err(_) => Ok(()),
        Ok(Some(damage)) => Err(open_error(
            path,
            format!(
                "the file is damaged ({damage}). Nothing was changed. Keep a copy of it, and of its -wal if there is one, look at the disk, and \
                 restore the newest backup that `shouyin audit` finds whole: docs/operations.md, \"A damaged file\""
            ),
        )),
    }
}

/// What is wrong with the pages of a file, first of all; whether its indexes hold the right values is not looked at.
pub(super) fn damage(db: &mut Db) -> Result<Option<String>, Error> {
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text)]
        quick_check: String,
    }
    // Written from outside, but whole: the rules of the books are what tells whether it matters.
    let is_whole = |line: &str| {
        line == "ok" || line.starts_with("CHECK constraint failed") || line.starts_with("NULL value in")
    };
    match sql_query(LOOK).load::<Line>(db) {
        Ok(lines) => Ok(lines.into_iter().map(|line| line.quick_check).find(|line| !is_whole(line))),
        // So broken that it cannot be looked at.
        Err(Error::DatabaseError(_, information)) if information.message().contains("malformed") => {
            Ok(Some(information.message().to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Bytes of the write-ahead log beside a file.
pub(super) fn log_bytes(path: &Path) -> u64 {
    let log = fs::canonicalize(path).and_then(|real| fs::metadata(beside(&real, "-wal")));
    log.map_or(0, |log| log.len())
}

/// Copies the log into the file when it has become long. Within a COMMIT, where SQLite would do it, whoever waits for
/// the COMMIT would wait for the copy too, and nobody would hear that the disk failed it: the next copy leaves out what
/// the last one may have lost, and then the log begins anew.
pub(super) fn copy_log(db: &mut Db) -> Result<(), Error> {
    let at = checkpoint(db, "NOOP")?;
    if at.log.saturating_sub(at.checkpointed) >= LONG {
        checkpoint(db, "PASSIVE")?;
    }
    Ok(())
}

/// How far copying has come, in pages.
#[derive(diesel::QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = Integer)]
    busy: i32,
    #[diesel(sql_type = Integer)]
    log: i32,
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

fn checkpoint(db: &mut Db, mode: &str) -> Result<Checkpoint, Error> {
    sql_query(format!("PRAGMA wal_checkpoint({mode})")).get_result(db)
}

/// Writes a file over with its own bytes and syncs it.
fn rewrite(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}
