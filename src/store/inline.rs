//! Books in memory without threads, for `prove`: every read and write runs at once on the calling
//! thread, each write is still a transaction of its own, and a `Disk` may spoil either.

use super::{
    Db, StoreError, settle_together,
    settlement::{self, Settlement, Settling},
    sqlite,
    writer::{Company, begin, finish, roll_back},
};
use diesel::Connection;
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
        let mut db = sqlite::connect(path)?;
        sqlite::migrate(&mut db, path)?;
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

    pub(super) async fn settle(&self, settling: Settling) -> Result<Settlement, StoreError> {
        self.disk.before(true).await?;
        let result = self.at_once(|db| match transaction(db, |db| together(db, &settling))? {
            Some(settlement) => Ok(settlement),
            None => transaction(db, |db| settlement::settle(db, &settling)),
        });
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
    begin(db, Company::Nobody)?;
    let done = db.transaction(change);
    if let Err(error) = finish(db) {
        roll_back(db);
        return Err(StoreError::NotCommitted(error.to_string()));
    }
    done
}

fn together(db: &mut Db, settling: &Settling) -> Result<Option<Settlement>, StoreError> {
    Ok(settle_together::settle(db, &[settling])?.pop().flatten())
}
