//! The threads that write. A server may keep a connection and say nothing more: its machine hangs, or its disk does. Who
//! waits for it cannot be called back, so it is left waiting, and another takes its place, with a connection to whoever
//! takes writes by then. What was in its hands is unknown, as after any COMMIT without an answer: its callers have been
//! told to come again. One that has been left changes nothing and commits nothing more.

use super::{Db, Hand, PostgresUrl, Queue, RECONNECT_PAUSE, postgres};
use crate::store::queue::Batch;
use std::{
    io, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// How often somebody looks whether a hand still waits for the same thing.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks, and it is left; twice as many for each that still waits, because without a standby every COMMIT does,
/// and would take a connection of its own. The writers' lock is waited for for 2 s, any other for less.
const LOOKS: u32 = 10;

/// What each of them needs to begin.
#[derive(Clone)]
pub(super) struct Crew {
    /// What they write, for the log.
    what: &'static str,
    queue: Arc<Queue>,
    /// Dropped with the last thread.
    running: Arc<watch::Sender<()>>,
    server: Option<PostgresUrl>,
}

/// What a thread takes from the queue.
type Take = fn(&Queue) -> Option<Batch>;

impl Crew {
    pub(super) fn new(
        what: &'static str,
        queue: Arc<Queue>,
        running: watch::Sender<()>,
        server: Option<&PostgresUrl>,
    ) -> Crew {
        Crew { what, queue, running: Arc::new(running), server: server.cloned() }
    }

    /// A thread on each connection; those after the first help it. On a server one more sees to them.
    pub(super) fn start(self, connections: impl IntoIterator<Item = Db>) -> io::Result<()> {
        let mut posts = vec![];
        for (nth, db) in connections.into_iter().enumerate() {
            let take = if nth == 0 { Queue::take } else { Queue::help };
            posts.push(Post::of(take, self.hire(take, |_, _| Some(db))?));
        }
        if let Some(server) = self.server.clone() {
            let look_after = move || self.look_after(posts, &server);
            thread::Builder::new().name("crew".to_owned()).spawn(look_after)?;
        }
        Ok(())
    }

    fn hire(
        &self,
        take: Take,
        connect: impl FnOnce(&Queue, &Progress) -> Option<Db> + Send + 'static,
    ) -> io::Result<Arc<Progress>> {
        let (progress, crew) = (Arc::new(Progress::default()), self.clone());
        let at = progress.clone();
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let Crew { queue, running: _running, server, .. } = crew;
            let _place = Place { queue: queue.clone(), progress: at.clone() };
            let Some(db) = connect(&queue, &at) else { return };
            let mut hand = Hand { db, server, progress: at.clone(), since_look: 0, log_grows: false };
            while let Some(batch) = take(&queue) {
                at.turn();
                let done = hand.work(batch);
                at.turn();
                if done.is_break() {
                    // Closing would copy the log and delete it, and a sync that says nothing of what an earlier one lost
                    // would do for that. The next process mends the file from the log.
                    mem::forget(hand);
                    return;
                }
                if at.is_left() {
                    return;
                }
            }
        })?;
        Ok(progress)
    }

    fn look_after(&self, mut posts: Vec<Post>, server: &PostgresUrl) {
        let mut left: Vec<Weak<Progress>> = vec![];
        while !self.queue.closes_within(LOOK) {
            left.retain(|hand| hand.strong_count() > 0);
            for post in &mut posts {
                if !post.is_vacant(patience(left.len())) {
                    continue;
                }
                let server = server.clone();
                match self.hire(post.take, move |queue, at| connect(queue, at, &server)) {
                    Ok(progress) => {
                        let what = self.what;
                        tracing::error!("the database says nothing: {what} go on by another connection");
                        left.push(Arc::downgrade(&post.progress));
                        *post = Post::of(post.take, progress);
                    }
                    Err(error) => tracing::error!(%error, "no thread to write with: {error}"),
                }
            }
        }
    }
}

fn patience(left: usize) -> u32 {
    let twice = u32::try_from(left).ok().and_then(|left| 2_u32.checked_pow(left));
    LOOKS.saturating_mul(twice.unwrap_or(u32::MAX))
}

/// Tries until there is one, or until nobody wants it any more.
fn connect(queue: &Queue, at: &Progress, server: &PostgresUrl) -> Option<Db> {
    at.turn();
    while !at.is_left() {
        match postgres::connect(server) {
            Ok(db) => {
                at.turn();
                return Some(db);
            }
            Err(error) => tracing::warn!(%error, "cannot connect to write: {error}"),
        }
        at.goes_on();
        if queue.closes_within(RECONNECT_PAUSE) {
            break;
        }
    }
    None
}

/// Ends the queue with the first thread that no longer empties it, unless another has taken its place.
struct Place {
    queue: Arc<Queue>,
    progress: Arc<Progress>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.progress.is_left() {
            self.queue.abandon();
        }
    }
}

/// How far one thread is.
#[derive(Default)]
pub(super) struct Progress {
    /// Odd while it may be waiting for a server. The highest bit is set when it has been left.
    steps: AtomicU64,
}

const HAS_BEEN_LEFT: u64 = 1 << 63;

impl Progress {
    /// From waiting for work to doing it, or back.
    fn turn(&self) {
        self.steps.fetch_add(1, Ordering::SeqCst);
    }

    /// Whatever it waited for has come.
    pub(super) fn goes_on(&self) {
        self.steps.fetch_add(2, Ordering::SeqCst);
    }

    /// Unless it has gone on since it was seen at that step: who looks whether it was left after each step, and before
    /// it commits, cannot be left in between.
    fn leave(&self, step: u64) -> bool {
        self.steps.compare_exchange(step, step | HAS_BEEN_LEFT, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub(super) fn is_left(&self) -> bool {
        self.steps.load(Ordering::SeqCst) & HAS_BEEN_LEFT != 0
    }
}

/// Where one thread works, and how often it was seen at the same step.
struct Post {
    take: Take,
    progress: Arc<Progress>,
    step: u64,
    looks: u32,
}

impl Post {
    fn of(take: Take, progress: Arc<Progress>) -> Post {
        Post { take, progress, step: 0, looks: 0 }
    }

    /// Whether another is needed; who hung there has been left then. To be asked once a look.
    fn is_vacant(&mut self, patience: u32) -> bool {
        self.progress.is_left() || self.hangs(patience) && self.progress.leave(self.step)
    }

    fn hangs(&mut self, patience: u32) -> bool {
        let step = self.progress.steps.load(Ordering::SeqCst);
        self.looks = if step == self.step { self.looks.saturating_add(1) } else { 0 };
        self.step = step;
        step % 2 == 1 && self.looks >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_hand_hangs_when_it_waits_for_one_thing_look_after_look_and_not_when_it_waits_for_work() {
        let progress = Arc::new(Progress::default());
        let mut post = Post::of(Queue::take, progress.clone());
        assert!((0..LOOKS * 3).all(|_| !post.hangs(LOOKS)), "nothing to do");
        progress.turn();
        assert!((0..LOOKS).all(|_| !post.hangs(LOOKS)));
        progress.goes_on();
        assert!((0..LOOKS).all(|_| !post.hangs(LOOKS)), "the next of the batch");
        assert!(!post.hangs(patience(1)), "who is left waiting makes the next one wait longer");
        assert!(post.hangs(LOOKS) && post.hangs(LOOKS));
        progress.turn();
        assert!(!post.hangs(LOOKS), "it is done");
        assert_eq!([0, 1, 5, 40].map(patience), [10, 20, 320, u32::MAX]);
    }

    #[test]
    fn a_hand_that_was_left_begins_nothing_more_and_does_not_end_the_queue() {
        let (queue, progress) = (Arc::new(Queue::default()), Arc::new(Progress::default()));
        let place = Place { queue: queue.clone(), progress: progress.clone() };
        let db = Db::Sqlite(SqliteConnection::establish(":memory:").unwrap());
        let mut hand = Hand { db, server: None, progress: progress.clone(), since_look: 0, log_grows: false };
        let asked = Arc::new(AtomicBool::default());
        let batch = || {
            let asked = asked.clone();
            let change: crate::store::queue::Change = Box::new(move |_, _| {
                asked.store(true, Ordering::SeqCst);
                Box::new(|_| ())
            });
            Batch { settlements: vec![], changes: vec![change] }
        };
        progress.turn();
        let mut post = Post::of(Queue::take, progress.clone());
        assert_eq!((0..=LOOKS).filter(|_| post.is_vacant(LOOKS)).count(), 1);
        assert!(hand.work(batch()).is_continue());
        assert!(!asked.load(Ordering::SeqCst));
        drop(place);
        assert!(!queue.closes_within(Duration::ZERO), "another works there");
        hand.progress = Arc::default();
        assert!(hand.work(batch()).is_continue());
        assert!(asked.load(Ordering::SeqCst), "the same, of one that was not");
        drop(Place { queue: queue.clone(), progress: Arc::default() });
        let refused = queue.change(Box::new(|_, _| Box::new(|_| ())));
        assert!(matches!(refused, Err(StoreError::Busy)));
    }

    #[test]
    fn what_a_hand_has_changed_when_it_is_left_is_undone_and_what_it_goes_on_with_is_not() {
        let progress = Arc::new(Progress::default());
        let db = Db::Sqlite(SqliteConnection::establish(":memory:").unwrap());
        let mut hand = Hand { db, server: None, progress: progress.clone(), since_look: 0, log_grows: false };
        let changes = |leaves: bool| {
            let progress = progress.clone();
            let change: crate::store::queue::Change = Box::new(move |db, _| {
                db.batch_execute("CREATE TABLE t (n INTEGER)").unwrap();
                let step = progress.steps.load(Ordering::SeqCst);
                // One that has gone on since is not left.
                assert!(!progress.leave(step.wrapping_sub(2)));
                assert!(!leaves || progress.leave(step));
                Box::new(|_| ())
            });
            Batch { settlements: vec![], changes: vec![change] }
        };
        let there = |hand: &mut Hand| hand.db.batch_execute("SELECT n FROM t").is_ok();
        assert!(hand.work(changes(true)).is_continue());
        assert!(!there(&mut hand));
        progress.steps.store(1, Ordering::SeqCst);
        assert!(hand.work(changes(false)).is_continue());
        assert!(there(&mut hand));
    }
}
