//! Books in memory without threads, for `prove`: every read and write runs at once on the calling
//! thread, each write is still a transaction of its own, and a `Disk` may spoil either.

use super::{
    Db, SQLITE_MIGRATIONS, StoreError, connect, open_error,
    writer::{begin, finish, roll_back},
};
use diesel::Connection;
use diesel_migrations::MigrationHarness;
use futures_util::future::BoxFuture;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// What surrounds every use of the books: time passes, and things go wrong.
pub trait Disk: Send + Sync {
    /// An error here means that nothing was read or written.
    fn before(&self, writes: bool) -> BoxFuture<'static, Result<(), StoreError>>;
    /// The transaction is committed; an error here loses only the answer.
    fn after(&self, writes: bool) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// The connection all clones share.
#[derive(Clone)]
pub(super) struct Inline {
    db: Arc<Mutex<Db>>,
    disk: Arc<dyn Disk>,
}

impl Inline {
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Inline, StoreError> {
        let path = Path::new(":memory:");
        let mut db = connect(path)?;
        db.run_pending_migrations(SQLITE_MIGRATIONS).map_err(|error| open_error(path, error))?;
        Ok(Inline { db: Arc::new(Mutex::new(db)), disk })
    }

    pub(super) async fn read<T>(
        &self,
        query: impl FnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.disk.before(false).await?;
        let result = self.at_once(query);
        self.disk.after(false).await?;
        result
    }

    pub(super) async fn write<T>(
        &self,
        change: impl FnOnce(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.disk.before(true).await?;
        let result = self.at_once(|db| transaction(db, change));
        self.disk.after(true).await?;
        result
    }

    /// No time passes and nothing goes wrong.
    pub(super) fn at_once<T>(&self, query: impl FnOnce(&mut Db) -> T) -> T {
        query(&mut self.db.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// As the writer does it, with a batch of one.
fn transaction<T>(
    db: &mut Db,
    change: impl FnOnce(&mut Db) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    begin(db)?;
    let done = db.transaction(change);
    if let Err(error) = finish(db) {
        roll_back(db);
        return Err(StoreError::NotCommitted(error.to_string()));
    }
    done
}
