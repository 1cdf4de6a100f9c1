//! The writer: takes whatever has queued and commits it as a durable transaction, and only then answers. Settlements
//! go first, as a set; whatever is not plainly 0 → 1, and every other change, gets a savepoint of its own in a second
//! transaction. It never waits for more to come. On a server a second hand helps when many wait: while one waits for its
//! COMMIT, the other fills the next transaction, as two instances do. A hand that a silent server does not let go is
//! left to it, and another takes its place (`crew`).

mod crew;
mod patience;

use super::{
    Db, StoreError, postgres,
    queue::{Answer, Batch, Change, Queue, Waiting},
    settle_together,
    settlement::{self, Settlement, Settling},
    sqlite,
};
use crate::{
    config::PostgresUrl,
    failpoint::{self, Failpoint},
};
use crew::{Crew, Progress};
use diesel::{
    connection::{AnsiTransactionManager, SimpleConnection, TransactionManager},
    result::Error,
};
pub(super) use patience::Patience;
use patience::depth;
use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// WeChat waits 5 s for an answer; after 3 s it is told to come again.
const DEADLINE: Duration = Duration::from_secs(3);
/// A server that is gone is looked for so often and so long before a batch is given up: another may take over.
const RECONNECTS: u32 = 20;
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Settlements after which the length of a file's log is looked at. After another change, which may be large, it always is.
const LOOK_AT_LOG: usize = 32;

/// The sending end of the queue. The threads end when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    queue: Arc<Sender>,
    /// Closed when the writing threads have ended, however they end; when one does, all do, but for those left waiting.
    threads: watch::Receiver<()>,
}

struct Sender(Arc<Queue>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Writer {
    /// Starts a writing thread on each connection; a file has one, a server may have more that help the first. `what` they
    /// write is for the log, `server` is where to connect again when one is lost. They end with the last `Writer`, or when the disk under a file fails
    /// a COMMIT.
    pub(super) fn start(
        what: &'static str,
        connections: impl IntoIterator<Item = Db>,
        server: Option<&PostgresUrl>,
    ) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        let (running, threads) = watch::channel(());
        // If not all can be started, its end is theirs.
        let sender = Arc::new(Sender(queue.clone()));
        Crew::new(what, queue, running, server).start(connections)?;
        Ok(Writer { queue: sender, threads })
    }

    /// Waits until the writing threads have ended: nothing can be written any more.
    pub(super) async fn ended(&self) {
        let mut threads = self.threads.clone();
        // Nothing is ever sent: the only news is that the senders are gone.
        while threads.changed().await.is_ok() {}
    }

    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Db) -> Result<T, StoreError> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        self.queue.0.change(Box::new(move |db, patience| {
            let done = patience.attempt(db, change);
            // A caller who no longer listens has been told to ask again.
            Box::new(move |committed| drop(caller.send(committed.and(done))))
        }))?;
        in_time(answer).await
    }

    pub(super) async fn settle(&self, settling: Settling) -> Result<Settlement, StoreError> {
        let (caller, answer) = oneshot::channel();
        self.queue.0.settle(Waiting { settling, caller })?;
        in_time(answer).await
    }

    pub(super) fn queue_percent(&self) -> usize {
        self.queue.0.percent()
    }
}

async fn in_time<T>(answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
    }
}

/// Who else may change the books of a server during a transaction. A file has one writer anyway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Nobody,
    /// Other connections that settle as a set, of this instance or another: such transactions read and write nothing
    /// but what they lock.
    Settlements,
}

/// The writing thread's hold on the books.
struct Hand {
    db: Db,
    server: Option<PostgresUrl>,
    progress: Arc<Progress>,
    /// Settlements since it last looked at the log.
    since_look: usize,
    /// It could not be copied the last time.
    log_grows: bool,
}

impl Hand {
    /// Breaks when nothing can be written any more.
    fn work(&mut self, batch: Batch) -> ControlFlow<()> {
        let more = if batch.changes.is_empty() { batch.settlements.len() } else { LOOK_AT_LOG };
        self.since_look = self.since_look.saturating_add(more);
        self.write(batch)?;
        self.copy_log()
    }

    fn write(&mut self, batch: Batch) -> ControlFlow<()> {
        let rest = if batch.settlements.is_empty() { vec![] } else { self.settle(batch.settlements)? };
        let changes: Vec<Change> = rest.into_iter().map(one_by_one).chain(batch.changes).collect();
        if changes.is_empty() { ControlFlow::Continue(()) } else { self.commit_together(changes) }
    }

    /// Settles what is plainly 0 → 1 and gives back the rest, of which nothing is written yet.
    fn settle(&mut self, waiting: Vec<Waiting>) -> ControlFlow<(), Vec<Waiting>> {
        if let Err(error) = self.begin(Company::Settlements) {
            tracing::error!(%error, "cannot begin to settle: {error}");
            // Dropping them answers every caller with `Busy`: nothing was written.
            return ControlFlow::Continue(vec![]);
        }
        let settlings: Vec<&Settling> = waiting.iter().map(|waiting| &waiting.settling).collect();
        let db = &mut self.db;
        let settled = catch_unwind(AssertUnwindSafe(|| settle_together::settle(db, &settlings)));
        let mut settled = match settled {
            Ok(Ok(settled)) if settled.iter().any(Option::is_some) && depth(db) == Some(1) => settled,
            Ok(Ok(_)) => {
                roll_back(db);
                return ControlFlow::Continue(waiting);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a batch of settlements is taken apart: {error}");
                roll_back(db);
                return ControlFlow::Continue(waiting);
            }
            Err(_) => {
                tracing::error!("settling a batch panicked: it is taken apart");
                roll_back(db);
                return ControlFlow::Continue(waiting);
            }
        };
        settled.resize(waiting.len(), None);
        failpoint::pass(Failpoint::WriterBeforeCommit);
        let committed = self.commit();
        if committed.is_ok() {
            failpoint::pass(Failpoint::WriterAfterCommit);
        }
        let mut rest = vec![];
        for (waiting, settlement) in waiting.into_iter().zip(settled) {
            match (settlement, &committed) {
                (Some(settlement), Ok(())) => drop(waiting.caller.send(Ok(settlement))),
                // Whether it is settled is not known on a server; the row will tell.
                (Some(_), Err(_)) => drop(waiting),
                (None, _) => rest.push(waiting),
            }
        }
        match committed {
            Err(Fault::Disk) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(rest),
        }
    }

    /// Makes all changes in one transaction, each in a savepoint.
    fn commit_together(&mut self, changes: Vec<Change>) -> ControlFlow<()> {
        if let Err(error) = self.begin(Company::Nobody) {
            tracing::error!(%error, "cannot begin a transaction: {error}");
            // Dropping the changes answers every caller with `Busy`: nothing was written.
            return ControlFlow::Continue(());
        }
        let (db, mut patience) = (&mut self.db, Patience::default());
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            if self.progress.is_left() {
                roll_back(db);
                return ControlFlow::Continue(());
            }
            answers.push(change(db, &mut patience));
            self.progress.goes_on();
            if depth(db) != Some(1) {
                // A full or broken disk, or a lost connection: the database has undone the whole batch by itself.
                roll_back(db);
                refuse(answers, "the database undid the batch");
                return ControlFlow::Continue(());
            }
        }
        if !is_sound(&mut self.db) {
            roll_back(&mut self.db);
            refuse(answers, "the database undid the batch");
            return ControlFlow::Continue(());
        }
        failpoint::pass(Failpoint::WriterBeforeCommit);
        match self.commit() {
            Ok(()) => {
                failpoint::pass(Failpoint::WriterAfterCommit);
                answers.into_iter().for_each(|answer| answer(Ok(())));
                ControlFlow::Continue(())
            }
            Err(Fault::Refused(reason)) => {
                refuse(answers, &reason);
                ControlFlow::Continue(())
            }
            // Dropping the answers says `Busy`: nobody knows whether it was written.
            Err(Fault::Unknown) => ControlFlow::Continue(()),
            Err(Fault::Disk) => {
                refuse(answers, "the disk failed a commit");
                ControlFlow::Break(())
            }
        }
    }

    /// When everybody has been answered.
    fn copy_log(&mut self) -> ControlFlow<()> {
        if self.since_look < LOOK_AT_LOG || self.server.is_some() {
            return ControlFlow::Continue(());
        }
        self.since_look = 0;
        match sqlite::copy_log(&mut self.db) {
            Err(error) if disk_failed(&error) => {
                tracing::error!(
                    "the disk failed to take up the log: no more is written, the process has to start again"
                );
                ControlFlow::Break(())
            }
            copied => {
                // All of it is still in the log, and said once: it is tried again soon.
                if let (Err(error), false) = (&copied, self.log_grows) {
                    tracing::error!(%error, "the log cannot be copied into the file and grows: {error}");
                }
                self.log_grows = copied.is_err();
                ControlFlow::Continue(())
            }
        }
    }

    /// Begins a transaction, on a new connection if the old one is no good, unless another hand has taken over: what
    /// this one was told then has been asked for again, and may have been followed by its opposite.
    fn begin(&mut self, company: Company) -> Result<(), StoreError> {
        self.connect_and_begin(company)?;
        self.progress.goes_on();
        if self.progress.is_left() {
            roll_back(&mut self.db);
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    fn connect_and_begin(&mut self, company: Company) -> Result<(), StoreError> {
        let first = begin(&mut self.db, company);
        let (Err(error), Some(server)) = (&first, &self.server) else {
            return Ok(first?);
        };
        tracing::warn!(%error, "connecting to the database again: {error}");
        let mut tries = RECONNECTS;
        loop {
            if self.progress.is_left() {
                return Err(StoreError::Busy);
            }
            match postgres::connect(server) {
                Ok(db) => {
                    self.db = db;
                    return Ok(begin(&mut self.db, company)?);
                }
                Err(error) if tries == 0 => return Err(error),
                Err(_) => tries = tries.saturating_sub(1),
            }
            self.progress.goes_on();
            thread::sleep(RECONNECT_PAUSE);
        }
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.progress.goes_on();
        if self.progress.is_left() {
            roll_back(&mut self.db);
            return Err(Fault::Unknown);
        }
        let Err(error) = finish(&mut self.db) else { return Ok(()) };
        tracing::error!(%error, "cannot commit: {error}");
        roll_back(&mut self.db);
        if self.server.is_some() {
            return Err(Fault::Unknown);
        }
        if disk_failed(&error) {
            tracing::error!("the disk failed a commit: no more is written, the process has to start again");
            return Err(Fault::Disk);
        }
        Err(Fault::Refused(error.to_string()))
    }
}

/// Why a COMMIT did not succeed.
enum Fault {
    /// Nothing was written.
    Refused(String),
    /// The server may have committed and could not say so.
    Unknown,
    /// What the disk could not sync it may have dropped from memory and call clean: a second COMMIT would
    /// succeed without it. Only a new process, which reads the file anew, knows again what is there.
    Disk,
}

/// A settlement as a change like any other.
fn one_by_one(waiting: Waiting) -> Change {
    let Waiting { settling, caller } = waiting;
    Box::new(move |db, patience| {
        let done = patience.attempt(db, |db| settlement::settle(db, &settling));
        Box::new(move |committed| drop(caller.send(committed.and(done))))
    })
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
pub(super) fn begin(db: &mut Db, company: Company) -> Result<(), Error> {
    match db {
        Db::Sqlite(sqlite) => AnsiTransactionManager::begin_transaction_sql(sqlite, "BEGIN IMMEDIATE"),
        Db::Postgres(connection) => {
            AnsiTransactionManager::begin_transaction_sql(connection, postgres::begin(company))
        }
    }
}

pub(super) fn finish(db: &mut Db) -> Result<(), Error> {
    match db {
        Db::Sqlite(sqlite) => AnsiTransactionManager::commit_transaction(sqlite),
        Db::Postgres(connection) => AnsiTransactionManager::commit_transaction(connection),
    }
}

/// A transaction that PostgreSQL has aborted is ended by COMMIT as well, undone and without an error. When a statement
/// between two changes failed, such as that of a savepoint, the depth does not show it.
fn is_sound(db: &mut Db) -> bool {
    match db {
        Db::Sqlite(_) => true,
        Db::Postgres(connection) => connection.batch_execute("SELECT 1").is_ok(),
    }
}

/// Also after a panic in the middle of a savepoint: every level is undone.
pub(super) fn roll_back(db: &mut Db) {
    match db {
        Db::Sqlite(sqlite) => while AnsiTransactionManager::rollback_transaction(sqlite).is_ok() {},
        Db::Postgres(connection) => while AnsiTransactionManager::rollback_transaction(connection).is_ok() {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::queue::HELP;
    use diesel::{Connection, RunQueryDsl, SqliteConnection, sql_types::BigInt};
    use std::sync::Barrier;

    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }

    fn writer() -> Writer {
        let mut sqlite = SqliteConnection::establish(":memory:").unwrap();
        sqlite.batch_execute("CREATE TABLE t (n BIGINT NOT NULL UNIQUE)").unwrap();
        Writer::start("changes", [Db::Sqlite(sqlite)], None).unwrap()
    }

    fn insert(n: i64) -> impl Fn(&mut Db) -> Result<(), StoreError> + Send {
        move |db| Ok(db.batch_execute(&format!("INSERT INTO t VALUES ({n})"))?)
    }

    fn in_memory() -> Db {
        Db::Sqlite(SqliteConnection::establish(":memory:").unwrap())
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
    async fn a_change_that_panics_is_undone_and_its_neighbours_of_the_batch_are_kept() {
        let writer = writer();
        let panicking = writer.write(|db| {
            insert(7)(db)?;
            db.transaction::<(), _, _>(|db| {
                insert(8)(db)?;
                panic!("on purpose, in a savepoint of its own");
            })
        });
        let (before, panicked, after) =
            tokio::join!(writer.write(insert(1)), panicking, writer.write(insert(2)));
        assert!(matches!(panicked, Err(StoreError::NotCommitted(_))), "{panicked:?}");
        assert!(before.is_ok() && after.is_ok(), "{before:?} {after:?}");
        assert_eq!(count(&writer).await, 2);
    }

    #[tokio::test]
    async fn while_one_hand_is_busy_and_many_wait_another_helps() {
        let writer = Writer::start("changes", [in_memory(), in_memory()], None).unwrap();
        let both = Arc::new(Barrier::new(2));
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let meets = both.clone();
        let busy = writer.write(move |_| {
            begun.send(()).unwrap();
            meets.wait();
            Ok(())
        });
        let crowd = async {
            has_begun.recv().await.unwrap();
            let meet = |nth| {
                let both = both.clone();
                writer.write(move |_| {
                    if nth == 0 {
                        both.wait();
                    }
                    Ok(())
                })
            };
            futures_util::future::join_all((0..HELP).map(meet)).await
        };
        let (busy, crowd) = tokio::join!(busy, crowd);
        assert!(busy.is_ok() && crowd.iter().all(Result::is_ok));
    }
}
