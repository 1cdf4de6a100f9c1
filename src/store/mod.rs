//! The only SQL. Reads come from a pool; every write goes through one writer that commits whatever
//! has queued as one durable transaction (`writer`).

pub mod attempts;
pub mod audit_log;
pub mod books;
pub mod corrections;
pub mod events;
pub mod heartbeat;
mod inline;
pub mod ledger;
pub mod notices;
pub mod openids;
pub mod orders;
pub mod pending;
pub mod refund_settlement;
pub mod refunds;
mod schema;
pub mod sessions;
pub mod settlement;
pub mod tickets;
pub mod users;
pub mod work_items;
mod writer;

use crate::config::Database;
use diesel::{
    Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, result::DatabaseErrorKind,
    sql_query, sql_types::Integer,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
pub use inline::Disk;
use inline::Inline;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use writer::{Writer, begin, roll_back};

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const READERS: u32 = 4;
const READER_WAIT: Duration = Duration::from_secs(1);

/// A connection of the shared query layer. PostgreSQL becomes its second variant.
#[derive(diesel::MultiConnection)]
pub enum Db {
    Sqlite(SqliteConnection),
}

/// The books. Cloning shares them.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    /// A file, with threads of its own.
    File(OnFile),
    /// In memory, on the calling thread.
    Inline(Inline),
}

#[derive(Clone)]
struct OnFile {
    writer: Writer,
    readers: r2d2::Pool<Readers>,
    /// Held until the last clone goes: a second process on the same file refuses to start.
    _lock: Option<Arc<File>>,
}

/// What can go wrong with the books.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another process is using {0}; stop it first")]
    InUse(PathBuf),
    #[error("cannot open {path}: {reason}")]
    Open { path: PathBuf, reason: String },
    /// Nothing is known about the write: it may still happen.
    #[error("the database did not commit in time")]
    Busy,
    #[error("no reader became free in time")]
    NoReader,
    #[error("the batch could not be committed: {0}")]
    NotCommitted(String),
    #[error("database: {0}")]
    Database(#[from] diesel::result::Error),
    #[error("a stored {0} cannot be read")]
    Unreadable(&'static str),
}

impl StoreError {
    /// Somebody else has that key already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(
            self,
            StoreError::Database(diesel::result::Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
        )
    }
}

impl Store {
    /// Opens the books for reading and writing: takes the lock, migrates, starts the writer.
    ///
    /// # Errors
    /// Another process has the file; it cannot be opened; a migration fails.
    pub fn open(database: &Database) -> Result<Store, StoreError> {
        let path = database.path();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| open_error(path, error))?;
        }
        let lock = lock(path)?;
        // Made before SQLite would, so that its permissions are ours; WAL and index inherit them.
        private_file(path).map_err(|error| open_error(path, error))?;
        let mut db = connect(path)?;
        db.run_pending_migrations(SQLITE_MIGRATIONS).map_err(|error| open_error(path, error))?;
        settle_on_disk(&mut db, path)?;
        let writer = Writer::start(db).map_err(|error| open_error(path, error))?;
        Ok(Store(Kind::File(OnFile { writer, readers: readers(path)?, _lock: Some(Arc::new(lock)) })))
    }

    /// Opens existing books beside a running server: reads work, writes are refused by SQLite itself.
    ///
    /// # Errors
    /// The file does not exist or cannot be opened.
    pub fn open_to_read(database: &Database) -> Result<Store, StoreError> {
        let path = database.path();
        if !path.exists() {
            return Err(open_error(path, "there is no such file"));
        }
        let mut db = connect(path)?;
        db.batch_execute("PRAGMA query_only = ON").map_err(|error| open_error(path, error))?;
        let writer = Writer::start(db).map_err(|error| open_error(path, error))?;
        Ok(Store(Kind::File(OnFile { writer, readers: readers(path)?, _lock: None })))
    }

    /// Empty books in memory that live as long as their last clone, without threads. For `prove`.
    ///
    /// # Errors
    /// A migration fails.
    pub fn in_memory(disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        Ok(Store(Kind::Inline(Inline::open(disk)?)))
    }

    /// Looks into books in memory past their `Disk`; `None` for a file, whose reads may block.
    pub fn look<T>(&self, query: impl FnOnce(&mut Db) -> T) -> Option<T> {
        match &self.0 {
            Kind::File(_) => None,
            Kind::Inline(inline) => Some(inline.at_once(query)),
        }
    }

    /// Runs a query on a reader, off the async threads.
    ///
    /// # Errors
    /// No reader free within a second; whatever the query reports.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = match &self.0 {
            Kind::File(file) => file.readers.clone(),
            Kind::Inline(inline) => return inline.read(query).await,
        };
        let task = tokio::task::spawn_blocking(move || {
            let mut db = readers.get().map_err(|_| StoreError::NoReader)?;
            query(&mut db)
        });
        task.await.map_err(|_| StoreError::NoReader)?
    }

    /// Runs a change in a transaction of its own and answers after it is durable. The change runs
    /// to its end even when the caller is gone.
    ///
    /// # Errors
    /// `Busy` after 3 seconds or with a full queue; whatever the change reports, and then nothing of it stays.
    pub async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.0 {
            Kind::File(file) => file.writer.write(change).await,
            Kind::Inline(inline) => inline.write(change).await,
        }
    }

    /// Waits until these books can take no write any more, because the disk failed a COMMIT. The process
    /// has to end; reads still work.
    pub async fn broken(&self) {
        match &self.0 {
            Kind::File(file) => file.writer.ended().await,
            Kind::Inline(_) => std::future::pending().await,
        }
    }

    /// Share of the write queue in use, 0 to 100.
    pub fn queue_percent(&self) -> usize {
        match &self.0 {
            Kind::File(file) => file.writer.queue_percent(),
            Kind::Inline(_) => 0,
        }
    }
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

fn connect(path: &Path) -> Result<Db, StoreError> {
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

/// Makes sure that what this process is going to build on is on the disk. If a sync of the last one failed,
/// its last commits may be in the system's memory only, where they look as real as any other and no sync
/// would save them: written once more, they are saved. Only then may they be copied into the file, because
/// a copy that is broken off is mended from the log.
fn settle_on_disk(db: &mut Db, path: &Path) -> Result<(), StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Checkpoint {
        #[diesel(sql_type = Integer)]
        busy: i32,
    }
    // Nobody else can change the log meanwhile. SQLite's locks are not on this file, so opening it ends none.
    begin(db)?;
    let rewritten = fs::canonicalize(path).and_then(|real| rewrite(&beside(&real, "-wal")));
    roll_back(db);
    rewritten.map_err(|error| open_error(path, error))?;
    let checkpoint: Checkpoint = sql_query("PRAGMA wal_checkpoint(FULL)").get_result(db)?;
    if checkpoint.busy != 0 {
        tracing::warn!(
            "somebody reads old books: the write-ahead log could not be copied into the file at start"
        );
    }
    Ok(())
}

/// Writes a file over with its own bytes and syncs it.
fn rewrite(path: &Path) -> io::Result<()> {
    let bytes = fs::read(path)?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}

fn readers(path: &Path) -> Result<r2d2::Pool<Readers>, StoreError> {
    r2d2::Pool::builder()
        .max_size(READERS)
        .min_idle(Some(1))
        .connection_timeout(READER_WAIT)
        .test_on_check_out(false)
        .build(Readers { path: path.to_owned() })
        .map_err(|error| open_error(path, error))
}

fn open_error(path: &Path, reason: impl ToString) -> StoreError {
    StoreError::Open { path: path.to_owned(), reason: reason.to_string() }
}

/// Makes connections that cannot write.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
}

impl r2d2::ManageConnection for Readers {
    type Connection = Db;
    type Error = StoreError;

    fn connect(&self) -> Result<Db, StoreError> {
        let mut db = connect(&self.path)?;
        db.batch_execute("PRAGMA query_only = ON").map_err(StoreError::Database)?;
        Ok(db)
    }

    fn is_valid(&self, db: &mut Db) -> Result<(), StoreError> {
        Ok(db.batch_execute("SELECT 1")?)
    }

    fn has_broken(&self, _: &mut Db) -> bool {
        std::thread::panicking()
    }
}
