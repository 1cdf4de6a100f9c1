//! A change in the midst of a batch: in a savepoint of its own, so that what goes wrong with it leaves its neighbours
//! alone. What a server undid because somebody else was in the way is tried again, a few times in a whole batch: each
//! try may wait for a lock, and the neighbours wait with it.

use crate::store::{Db, StoreError};
use diesel::{
    Connection,
    connection::{AnsiTransactionManager, TransactionManager, TransactionManagerStatus},
    result::{DatabaseErrorKind, Error},
};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

/// Tries of one change.
const TRIES: u32 = 5;
/// What may go wrong for somebody else's sake in one batch, before the rest of it is refused untried: with the 100 ms
/// that a lock is waited for, and the pauses between, a little more than a second.
const PATIENCE: u32 = 10;
/// Before the second try; each pause after is twice as long. Less by chance, or two that met would meet again.
const PAUSE_US: u64 = 4_000;

/// How much more one batch puts up with.
pub(in crate::store) struct Patience(u32);

impl Default for Patience {
    fn default() -> Patience {
        Patience(PATIENCE)
    }
}

impl Patience {
    /// Makes a change and leaves the transaction as it was if that fails.
    ///
    /// # Errors
    /// Whatever the change reports; `NotCommitted` when it panicked, or came when no patience was left.
    pub(in crate::store) fn attempt<T>(
        &mut self,
        db: &mut Db,
        change: impl Fn(&mut Db) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.0 == 0 {
            return Err(StoreError::NotCommitted("others in the same batch took too long".to_owned()));
        }
        let mut tried = 1;
        loop {
            let made = catch_unwind(AssertUnwindSafe(|| db.transaction(|db| change(db))));
            let error = match made {
                Ok(Err(error)) if is_for_anothers_sake(db, &error) => error,
                Ok(done) => return done,
                Err(_) => {
                    tracing::error!("a change panicked: it is undone");
                    undo_savepoints(db);
                    return Err(StoreError::NotCommitted("the change panicked".to_owned()));
                }
            };
            self.0 = self.0.saturating_sub(1);
            if tried == TRIES || self.0 == 0 {
                return Err(error);
            }
            tracing::warn!(%error, "a change is tried again: {error}");
            thread::sleep(pause(tried));
            tried = tried.saturating_add(1);
        }
    }
}

/// A deadlock, a conflict, or a lock that did not come. Diesel passes no number on, and has no name for the first and
/// the last; what else has none is tried again for nothing. In a file nobody else is in the way.
fn is_for_anothers_sake(db: &mut Db, error: &StoreError) -> bool {
    let StoreError::Database(Error::DatabaseError(kind, _)) = error else { return false };
    matches!(kind, DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::Unknown)
        && matches!(db, Db::Postgres(_))
        && depth(db) == Some(1)
}

/// At least half of what it may be.
fn pause(tried: u32) -> Duration {
    let longest = PAUSE_US.saturating_mul(2_u64.saturating_pow(tried.saturating_sub(1)));
    let half = longest / 2;
    let chance = RandomState::new().build_hasher().finish() % half.saturating_add(1);
    Duration::from_micros(half.saturating_add(chance))
}

fn undo_savepoints(db: &mut Db) {
    while depth(db).is_some_and(|depth| depth > 1) {
        let undone = match db {
            Db::Sqlite(sqlite) => AnsiTransactionManager::rollback_transaction(sqlite),
            Db::Postgres(connection) => AnsiTransactionManager::rollback_transaction(connection),
        };
        if undone.is_err() {
            return;
        }
    }
}

/// 1 in the batch's own transaction; `None` in none, or when nobody knows.
pub(in crate::store) fn depth(db: &mut Db) -> Option<u32> {
    let status: &TransactionManagerStatus = match db {
        Db::Sqlite(sqlite) => AnsiTransactionManager::transaction_manager_status_mut(sqlite),
        Db::Postgres(connection) => AnsiTransactionManager::transaction_manager_status_mut(connection),
    };
    status.transaction_depth().ok().flatten().map(std::num::NonZeroU32::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_no_two_are_sure_to_be_the_same() {
        for (tried, longest) in [(1, 4), (2, 8), (3, 16), (4, 32)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<Duration> = (0..50).map(|_| pause(tried)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
