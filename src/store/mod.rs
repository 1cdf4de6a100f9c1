//! The only SQL. Reads come from a pool; every write goes through one writer that commits whatever
//! has queued as one durable transaction (`writer`).

pub mod adjustments;
pub mod attempts;
pub mod audit_chain;
pub mod audit_log;
pub mod audits;
pub mod bill_compare;
pub mod bill_differences;
pub mod bills;
pub mod books;
pub mod corrections;
pub mod diagnosis;
pub mod events;
pub mod figures;
pub mod first_run;
pub mod freezes;
pub mod heartbeat;
mod inline;
pub mod invitations;
pub mod ledger;
pub mod limits;
pub mod notices;
pub mod openids;
pub mod order_lists;
pub mod orders;
pub mod pending;
mod postgres;
mod queue;
mod readers;
pub mod refund_settlement;
pub mod refunds;
mod schema;
pub mod search;
pub mod second_factors;
pub mod sessions;
mod settle_together;
pub mod settlement;
mod sqlite;
pub mod statements;
pub mod tickets;
pub mod users;
pub mod work_items;
mod writer;

use crate::config::{Database, PostgresUrl};
use diesel::{PgConnection, SqliteConnection, connection::SimpleConnection, result::DatabaseErrorKind};
pub use inline::Disk;
use inline::Inline;
use readers::Readers;
use settlement::{Settlement, Settling};
use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};
use writer::Writer;

/// Connections that settle on a server.
const SETTLERS: usize = 2;
const READER_WAIT: Duration = Duration::from_secs(1);
/// A command may wait longer than a page: of several servers the first may be one that never answers.
const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// A server that keeps the connection and says nothing is waited for so long: more than the statements of a page may take.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A connection of the shared query layer.
#[derive(diesel::MultiConnection)]
pub enum Db {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The books. Cloning shares them.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    /// A file or a server, with threads and connections of its own.
    Threads(Threads),
    /// On the calling thread.
    Inline(Inline),
}

#[derive(Clone)]
struct Threads {
    /// On a server it has threads and connections of its own; a file has one writer for everything.
    settlements: Writer,
    changes: Writer,
    readers: Readers,
    shared: bool,
    /// Of a file, held until the last clone goes: a second process on it refuses to start.
    _lock: Option<Arc<File>>,
}

/// What can go wrong with the books.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another process is using {0}; stop it first")]
    InUse(PathBuf),
    #[error("cannot open {database}: {reason}")]
    Open { database: String, reason: String },
    /// Nothing is known about the write: it may still happen.
    #[error("the database did not commit in time")]
    Busy,
    #[error("no reader became free in time")]
    NoReader,
    #[error("not committed: {0}")]
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
    /// Opens the books for reading and writing: migrates them and starts the writer. A file is locked
    /// against a second process; PostgreSQL serves several instances.
    ///
    /// # Errors
    /// Another process has the file; the books cannot be opened; a migration fails.
    pub fn open(database: &Database) -> Result<Store, StoreError> {
        match database {
            Database::Sqlite(path) => {
                let (db, lock) = sqlite::open(path)?;
                let writer =
                    Writer::start("changes", [db], None).map_err(|error| cannot_open(database, error))?;
                let readers = Readers::of(database, READER_WAIT);
                Ok(Store::with(database, [writer.clone(), writer], readers, Some(Arc::new(lock))))
            }
            Database::Postgres(url) => {
                let start = |what, connections| {
                    Writer::start(what, connections, Some(url)).map_err(|error| cannot_open(database, error))
                };
                let changes = start("changes", vec![postgres::open(url)?])?;
                let settlers = (0..SETTLERS).map(|_| postgres::connect(url)).collect::<Result<_, _>>()?;
                let writers = [start("settlements", settlers)?, changes];
                let readers = Readers::of(database, READER_WAIT);
                // Behind a server that says nothing the first one comes later than anybody waits for a page.
                readers.wait_for_one(COMMAND_WAIT).map_err(|error| cannot_open(database, error))?;
                Ok(Store::with(database, writers, readers, None))
            }
        }
    }

    /// Opens existing books beside a running server: reads work, writes are refused by the database itself.
    ///
    /// # Errors
    /// There are no books, or they cannot be opened.
    pub fn open_to_read(database: &Database) -> Result<Store, StoreError> {
        let db = connect_to_read(database)?;
        let writer = Writer::start("changes", [db], None).map_err(|error| cannot_open(database, error))?;
        Ok(Store::with(database, [writer.clone(), writer], Readers::of(database, COMMAND_WAIT), None))
    }

    fn with(
        database: &Database,
        [settlements, changes]: [Writer; 2],
        readers: Readers,
        lock: Option<Arc<File>>,
    ) -> Store {
        let shared = matches!(database, Database::Postgres(_));
        Store(Kind::Threads(Threads { settlements, changes, readers, shared, _lock: lock }))
    }

    /// Empty books in memory that live as long as their last clone, without threads. For `prove`.
    ///
    /// # Errors
    /// A migration fails.
    pub fn in_memory(disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        Ok(Store(Kind::Inline(Inline::open(disk)?)))
    }

    /// Likewise in a schema of a server, which is made for them and dropped with them.
    ///
    /// # Errors
    /// The server cannot be reached, or a migration fails.
    pub fn in_schema(url: &PostgresUrl, schema: &str, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        Ok(Store(Kind::Inline(Inline::open_schema(url, schema, disk)?)))
    }

    /// Looks into books without threads past their `Disk`; `None` for a file, whose reads may block.
    pub fn look<T>(&self, query: impl FnOnce(&mut Db) -> T) -> Option<T> {
        match &self.0 {
            Kind::Threads(_) => None,
            Kind::Inline(inline) => Some(inline.at_once(query)),
        }
    }

    /// Runs a query on a reader, off the async threads.
    ///
    /// # Errors
    /// No reader free within a second; no answer of a server within ten; whatever the query reports.
    pub async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let Kind::Threads(threads) = &self.0 else { return self.read_at_length(query).await };
        if !threads.shared {
            return threads.readers.read(query).await;
        }
        threads.readers.read_within(READ_DEADLINE, query).await
    }

    /// As `read`, for what goes through all of the books and may take as long as it needs.
    ///
    /// # Errors
    /// As `read`, without the limit of ten seconds.
    pub async fn read_at_length<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.0 {
            Kind::Threads(threads) => threads.readers.read(query).await,
            Kind::Inline(inline) => inline.read(query).await,
        }
    }

    /// Runs a change in a transaction of its own and answers after it is durable. The change runs
    /// to its end even when the caller is gone, and up to five times when a server undid it for a deadlock, a lock or a
    /// conflict: it must do the same each time.
    ///
    /// # Errors
    /// `Busy` after 3 seconds or with a full queue; whatever the change reports, and then nothing of it stays.
    pub async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.0 {
            Kind::Threads(threads) => threads.changes.write(change).await,
            Kind::Inline(inline) => inline.write(change).await,
        }
    }

    /// Settles a payment and answers after it is durable; as `write`, ahead of every other change.
    ///
    /// # Errors
    /// As `write`.
    pub async fn settle(&self, settling: Settling) -> Result<Settlement, StoreError> {
        match &self.0 {
            Kind::Threads(threads) => threads.settlements.settle(settling).await,
            Kind::Inline(inline) => inline.settle(settling).await,
        }
    }

    /// Counts one more use of what is limited over all instances, or says how many ms to wait for it; 0 when it may be, as
    /// also when it cannot be counted: what each process counts by itself is enough then.
    pub async fn take(&self, key: String, pace: limits::Pace) -> i64 {
        if !self.is_shared() {
            return 0;
        }
        self.read(move |db| limits::take(db, &key, pace)).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a limit is not counted over all instances: {error}");
            0
        })
    }

    /// Waits until these books can take no write any more, of one kind or the other: the disk failed a COMMIT, or a
    /// writing thread ended as none should. The process has to end; reads still work.
    pub async fn broken(&self) {
        match &self.0 {
            Kind::Threads(threads) => tokio::select! {
                () = threads.changes.ended() => {}
                () = threads.settlements.ended() => {}
            },
            Kind::Inline(_) => std::future::pending().await,
        }
    }

    /// Whether other processes may change these books at the same time.
    pub fn is_shared(&self) -> bool {
        match &self.0 {
            Kind::Threads(threads) => threads.shared,
            Kind::Inline(_) => false,
        }
    }

    /// Share of the write queue in use, 0 to 100.
    pub fn queue_percent(&self) -> usize {
        match &self.0 {
            Kind::Threads(threads) => {
                threads.changes.queue_percent().max(threads.settlements.queue_percent())
            }
            Kind::Inline(_) => 0,
        }
    }
}

/// Bytes of the write-ahead log beside a file of books; 0 on a server.
pub fn log_bytes(database: &Database) -> u64 {
    database.file().map_or(0, sqlite::log_bytes)
}

fn connect_to_read(database: &Database) -> Result<Db, StoreError> {
    match database {
        Database::Sqlite(path) => sqlite::connect_to_read(path),
        Database::Postgres(url) => postgres::connect_to_read(url),
    }
}

fn cannot_open(database: &Database, reason: impl ToString) -> StoreError {
    StoreError::Open { database: database.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::Connection;
    use std::time::Duration;

    #[tokio::test]
    async fn books_that_cannot_settle_or_cannot_change_are_broken() {
        let working = || Db::Sqlite(SqliteConnection::establish(":memory:").unwrap());
        let database = Database::Sqlite("nowhere.db".into());
        let store = |hands: [bool; 2]| {
            let writer = |works: bool| Writer::start("changes", works.then(working), None).unwrap();
            Store::with(&database, hands.map(writer), Readers::of(&database, READER_WAIT), None)
        };
        for hands in [[true, false], [false, true]] {
            let broken = tokio::time::timeout(Duration::from_secs(30), store(hands).broken()).await;
            assert!(broken.is_ok(), "{hands:?}");
        }
        assert!(tokio::time::timeout(Duration::ZERO, store([true, true]).broken()).await.is_err());
    }
}
