//! Connections that do not write, but for what `limits` counts. On a server each read has a limit: a server that keeps its connections and says
//! nothing would keep all of them, so they are left to it and others are made.

use super::{Db, StoreError, connect_to_read, postgres};
use crate::config::Database;
use diesel::connection::SimpleConnection;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

const READERS: u32 = 4;
/// For each pool that is left waiting, so many times as many reads must have had no answer before the next one is.
const RARER: u32 = 4;

type Pool = r2d2::Pool<Connections>;

/// A pool, or the one that took its place. Cloning shares it.
#[derive(Clone)]
pub(super) struct Readers {
    database: Database,
    /// How long is waited for a connection.
    wait: Duration,
    pools: Arc<Mutex<Pools>>,
}

struct Pools {
    now: Arc<Pool>,
    /// How many reads by it had no answer.
    silent: u32,
    left: Vec<Weak<Pool>>,
}

impl Readers {
    /// Nothing is waited for: a writer has just been connected, and of several servers the first may take seconds to be given up.
    pub(super) fn of(database: &Database, wait: Duration) -> Readers {
        let pools = Pools { now: Arc::new(pool(database, wait)), silent: 0, left: vec![] };
        Readers { database: database.clone(), wait, pools: Arc::new(Mutex::new(pools)) }
    }

    /// # Errors
    /// No connection in time.
    pub(super) fn wait_for_one(&self, limit: Duration) -> Result<(), r2d2::Error> {
        self.pools().now.clone().get_timeout(limit).map(drop)
    }

    /// Reads on a connection of its own, off the async threads.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let pool = self.pools().now.clone();
        read(pool, query).await
    }

    /// Likewise, and gives up after so long: thread and connection are lost until the server speaks again.
    pub(super) async fn read_within<T, F>(&self, limit: Duration, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let pool = self.pools().now.clone();
        let asked = Arc::downgrade(&pool);
        match tokio::time::timeout(limit, read(pool, query)).await {
            Err(_) => self.unanswered(&asked, true),
            Ok(Err(StoreError::NoReader)) => self.unanswered(&asked, false),
            Ok(answer) => return answer,
        }
        Err(StoreError::NoReader)
    }

    /// Makes another pool, unless that has been done, or too many wait in old ones for so few reads. That no connection
    /// was free counts when one has given up waiting for an answer: alone it only says that much is asked.
    fn unanswered(&self, silent: &Weak<Pool>, given_up: bool) {
        let mut pools = self.pools();
        if !Weak::ptr_eq(&Arc::downgrade(&pools.now), silent) || (pools.silent == 0 && !given_up) {
            return;
        }
        pools.silent = pools.silent.saturating_add(1);
        pools.left.retain(|pool| pool.strong_count() > 0);
        let waiting = u32::try_from(pools.left.len()).unwrap_or(u32::MAX);
        if pools.silent < RARER.saturating_pow(waiting) {
            return;
        }
        tracing::error!("the database does not answer who reads: other connections are made");
        pools.now = Arc::new(pool(&self.database, self.wait));
        pools.silent = 0;
        pools.left.push(silent.clone());
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read<T, F>(pool: Arc<Pool>, query: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
{
    let task = tokio::task::spawn_blocking(move || {
        let mut db = pool.get().map_err(|_| StoreError::NoReader)?;
        query(&mut db)
    });
    task.await.map_err(|_| StoreError::NoReader)?
}

fn pool(database: &Database, wait: Duration) -> Pool {
    r2d2::Pool::builder()
        .max_size(READERS)
        .min_idle(Some(1))
        .connection_timeout(wait)
        // A server's connections end with it: after a failover each idle one would cost somebody a page.
        .test_on_check_out(matches!(database, Database::Postgres(_)))
        .build_unchecked(Connections { database: database.clone() })
}

/// Makes them.
#[derive(Debug)]
struct Connections {
    database: Database,
}

impl r2d2::ManageConnection for Connections {
    type Connection = Db;
    type Error = StoreError;

    fn connect(&self) -> Result<Db, StoreError> {
        connect_to_read(&self.database)
    }

    fn is_valid(&self, db: &mut Db) -> Result<(), StoreError> {
        Ok(db.batch_execute("SELECT 1")?)
    }

    fn has_broken(&self, db: &mut Db) -> bool {
        std::thread::panicking()
            || match db {
                Db::Sqlite(_) => false,
                Db::Postgres(connection) => postgres::is_broken(connection),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::sync::mpsc;

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn of_connections_that_never_come_back_new_ones_take_the_place_ever_more_rarely() {
        let folder = std::env::temp_dir().join(format!("shouyin-readers-{}", std::process::id()));
        let database = Database::Sqlite(folder.join("books.db"));
        let _books = Store::open(&database).unwrap();
        let readers = Readers::of(&database, Duration::from_secs(1));
        let mut silent = vec![];
        for unanswered in [1, 4] {
            for _ in 0..READERS {
                let (speak, silence) = mpsc::channel::<()>();
                silent.push((speak, one_is_taken(&readers, silence).await));
            }
            let none_is_free = readers.read_within(Duration::MAX, |_| Ok(())).await;
            assert!(matches!(none_is_free, Err(StoreError::NoReader)), "{none_is_free:?}");
            assert_eq!(readers.pools().silent, 0, "alone it says nothing");
            for nth in 1..=unanswered {
                let limit = if nth == 2 { Duration::MAX } else { SHORT };
                let next = readers.read_within(limit, |_| Ok(())).await;
                assert!(matches!(next, Err(StoreError::NoReader)), "all four wait: {next:?}");
                assert_eq!(readers.pools().silent, nth % unanswered, "another pool with the last one");
            }
            assert!(readers.read(|_| Ok(())).await.is_ok());
        }
        for (speak, waiting) in silent {
            drop(speak);
            waiting.await.unwrap().unwrap();
        }
        assert!(readers.read_within(Duration::MAX, |_| Ok(())).await.is_ok());
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// One connection more is in the hands of somebody who waits.
    async fn one_is_taken(
        readers: &Readers,
        silence: mpsc::Receiver<()>,
    ) -> tokio::task::JoinHandle<Result<(), StoreError>> {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let readers = readers.clone();
        let waiting = tokio::spawn(async move {
            let read = readers.read(move |_| {
                begun.send(()).unwrap();
                // Until the test is over.
                silence.recv().ok();
                Ok(())
            });
            read.await
        });
        has_begun.await.unwrap();
        waiting
    }
}
