//! The one writer: takes whatever has queued, gives each change a savepoint, commits them as one
//! durable transaction, and only then answers. It never waits for more to come.

use super::{Db, StoreError};
use crate::failpoint::{self, Failpoint};
use diesel::{
    Connection,
    connection::{AnsiTransactionManager, TransactionManager},
    result::Error,
};
use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// WeChat waits 5 s for an answer; after 3 s it is told to come again.
const DEADLINE: Duration = Duration::from_secs(3);
const QUEUE: usize = 4096;
const BATCH: usize = 256;

/// Told whether the batch was committed; then answers its caller.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&mut Db) -> Answer + Send>;

/// The sending end of the queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    /// Closed when the writing thread ends, however it ends.
    thread: watch::Receiver<()>,
}

impl Writer {
    /// Starts the writing thread. It ends when the last `Writer` is dropped, or when the disk fails a COMMIT.
    pub(super) fn start(db: Db) -> io::Result<Writer> {
        let (queue, jobs) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = waiting.clone();
        let (running, thread) = watch::channel(());
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let _running = running;
            run(db, &jobs, &counter);
        })?;
        Ok(Writer { queue, waiting, thread })
    }

    /// Waits until the writing thread has ended: nothing can be written any more.
    pub(super) async fn ended(&self) {
        let mut thread = self.thread.clone();
        // Nothing is ever sent: the only news is that the sender is gone.
        while thread.changed().await.is_ok() {}
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let done = db.transaction(change);
            Box::new(move |committed| {
                // A caller who no longer listens has been told to ask again.
                let _ = sender.send(committed.and(done));
            })
        });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(job).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Busy);
        }
        match tokio::time::timeout(DEADLINE, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
        }
    }

    pub(super) fn queue_percent(&self) -> usize {
        self.waiting.load(Ordering::Relaxed).saturating_mul(100) / QUEUE
    }
}

fn run(mut db: Db, jobs: &Receiver<Job>, waiting: &AtomicUsize) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(BATCH.saturating_sub(1)));
        waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        if commit_together(&mut db, batch).is_break() {
            // Whoever still waits in the queue is answered with `Busy`.
            return;
        }
    }
}

/// Breaks when the disk has failed the COMMIT. What it could not sync it may have dropped from memory and
/// call clean: a second COMMIT would succeed without it. Only a new process, which reads the file anew,
/// knows again what is there.
fn commit_together(db: &mut Db, batch: Vec<Job>) -> ControlFlow<()> {
    if let Err(error) = begin(db) {
        tracing::error!(%error, "cannot begin a transaction: {error}");
        // Dropping the jobs answers every caller with `Busy`: nothing was written.
        return ControlFlow::Continue(());
    }
    let mut answers = Vec::with_capacity(batch.len());
    for job in batch {
        match catch_unwind(AssertUnwindSafe(|| job(db))) {
            Ok(answer) if inside_batch(db) => answers.push(answer),
            Ok(answer) => {
                // A full disk or a broken one: SQLite has undone the whole batch by itself.
                answers.push(answer);
                roll_back(db);
                refuse(answers, "the database undid the batch");
                return ControlFlow::Continue(());
            }
            Err(_) => {
                tracing::error!("a change panicked: the whole batch is rolled back");
                roll_back(db);
                refuse(answers, "a change in the same batch panicked");
                return ControlFlow::Continue(());
            }
        }
    }
    failpoint::pass(Failpoint::WriterBeforeCommit);
    match finish(db) {
        Ok(()) => {
            failpoint::pass(Failpoint::WriterAfterCommit);
            answers.into_iter().for_each(|answer| answer(Ok(())));
            ControlFlow::Continue(())
        }
        Err(error) => {
            tracing::error!(%error, "cannot commit: {error}");
            roll_back(db);
            refuse(answers, &error.to_string());
            if disk_failed(&error) {
                tracing::error!(
                    "the disk failed a commit: no more is written, the process has to start again"
                );
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
}

/// SQLite's words for any error of reading, writing or syncing; Diesel passes no number on. A full disk
/// has words of its own: nothing is lost by it, and writing works again when there is room.
fn disk_failed(error: &Error) -> bool {
    match error {
        Error::RollbackErrorOnCommit { commit_error, .. } => disk_failed(commit_error),
        Error::DatabaseError(_, information) => information.message() == "disk I/O error",
        _ => false,
    }
}

fn refuse(answers: Vec<Answer>, reason: &str) {
    for answer in answers {
        answer(Err(StoreError::NotCommitted(reason.to_owned())));
    }
}

/// IMMEDIATE takes the write lock at once: a transaction that reads first and writes later could
/// otherwise fail half-way, and SQLite does not wait in that case.
pub(super) fn begin(db: &mut Db) -> Result<(), Error> {
    match db {
        Db::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE"),
    }
}

pub(super) fn finish(db: &mut Db) -> Result<(), Error> {
    match db {
        Db::Sqlite(sqlite) => AnsiTransactionManager::commit_transaction(sqlite),
    }
}

/// Still in the batch's own transaction, and only there.
fn inside_batch(db: &mut Db) -> bool {
    match db {
        Db::Sqlite(sqlite) => {
            let status = AnsiTransactionManager::transaction_manager_status_mut(sqlite);
            matches!(status.transaction_depth(), Ok(Some(depth)) if depth.get() == 1)
        }
    }
}

/// Also after a panic in the middle of a savepoint: every level is undone.
pub(super) fn roll_back(db: &mut Db) {
    match db {
        Db::Sqlite(sqlite) => while AnsiTransactionManager::rollback_transaction(sqlite).is_ok() {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::{RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_types::BigInt};

    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }

    fn writer() -> Writer {
        let mut sqlite = SqliteConnection::establish(":memory:").unwrap();
        sqlite.batch_execute("CREATE TABLE t (n BIGINT NOT NULL UNIQUE)").unwrap();
        Writer::start(Db::Sqlite(sqlite)).unwrap()
    }

    fn insert(n: i64) -> impl FnOnce(&mut Db) -> Result<(), StoreError> + Send {
        move |db| Ok(db.batch_execute(&format!("INSERT INTO t VALUES ({n})"))?)
    }

    async fn count(writer: &Writer) -> i64 {
        let counted =
            writer.write(|db| Ok(diesel::sql_query("SELECT count(*) AS n FROM t").get_result::<Count>(db)?));
        counted.await.unwrap().n
    }

    #[tokio::test]
    async fn a_change_that_fails_leaves_its_neighbours_of_the_batch_alone() {
        let writer = writer();
        let changes = futures_util::future::join_all([1, 2, 1, 3].map(|n| writer.write(insert(n)))).await;
        assert_eq!(changes.iter().filter(|done| done.is_ok()).count(), 3);
        assert_eq!(count(&writer).await, 3);
    }

    #[tokio::test]
    async fn a_change_that_panics_is_undone_and_the_writer_goes_on() {
        let writer = writer();
        let panicking = writer.write(|db| -> Result<(), StoreError> {
            insert(7)(db)?;
            panic!("on purpose");
        });
        assert!(panicking.await.is_err());
        assert_eq!(count(&writer).await, 0);
        writer.write(insert(8)).await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }
}
