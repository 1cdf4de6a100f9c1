//! Books without threads, in memory or in a schema of a server, for `prove`: every read and write runs at once on the calling
//! thread, each write is still a transaction of its own, and a `Disk` may spoil either.

use super::{
    Db, StoreError, postgres, settle_together,
    settlement::{self, Settlement, Settling},
    sqlite,
    writer::{Company, begin, finish, roll_back},
};
use crate::config::PostgresUrl;
use diesel::{Connection, connection::SimpleConnection};
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
    books: Arc<Books>,
    disk: Arc<dyn Disk>,
}

struct Books {
    db: Mutex<Db>,
    /// Of a server: made for these books and gone with them.
    schema: Option<String>,
}

impl Drop for Books {
    fn drop(&mut self) {
        if let Some(schema) = &self.schema {
            let db = self.db.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = db.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")) {
                tracing::error!("the schema {schema} is left behind: {error}");
            }
        }
    }
}

impl Inline {
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Inline, StoreError> {
        let path = Path::new(":memory:");
        let mut db = sqlite::connect(path)?;
        sqlite::migrate(&mut db, path)?;
        Ok(Inline::with(db, None, disk))
    }

    pub(super) fn open_schema(
        url: &PostgresUrl,
        schema: &str,
        disk: Arc<dyn Disk>,
    ) -> Result<Inline, StoreError> {
        let db = postgres::open_new_schema(url, schema)?;
        Ok(Inline::with(db, Some(schema.to_owned()), disk))
    }

    fn with(db: Db, schema: Option<String>, disk: Arc<dyn Disk>) -> Inline {
        Inline { books: Arc::new(Books { db: Mutex::new(db), schema }), disk }
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
        change: impl Fn(&mut Db) -> Result<T, StoreError>,
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
        query(&mut self.books.db.lock().unwrap_or_else(PoisonError::into_inner))
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
