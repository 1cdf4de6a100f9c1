//! Tasks of a simulated world on one thread: one of those that are ready is polled at a time, and an
//! instance that crashes loses all of its tasks wherever they wait.

use futures_util::{FutureExt, future::BoxFuture};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// Whose task it is: an instance of the shop by its number, or the world around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    World,
    Instance(usize),
}

/// All tasks of one world.
#[derive(Default)]
pub struct Machine {
    tasks: Mutex<Tasks>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

#[derive(Default)]
struct Tasks {
    by_id: BTreeMap<u64, Task>,
    last: u64,
}

struct Task {
    owner: Owner,
    future: BoxFuture<'static, ()>,
}

/// A task that moved one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub task: u64,
    pub owner: Owner,
    pub done: bool,
}

impl Machine {
    pub fn spawn(&self, owner: Owner, future: BoxFuture<'static, ()>) {
        let mut tasks = locked(&self.tasks);
        tasks.last = tasks.last.saturating_add(1);
        let id = tasks.last;
        // Inside somebody's tokio runtime its channels would pause after so many steps, for fairness.
        let future = tokio::task::unconstrained(future).boxed();
        tasks.by_id.insert(id, Task { owner, future });
        drop(tasks);
        locked(&self.ready).insert(id);
    }

    /// Drops every task of this owner. None of them may be the one being polled.
    pub fn kill(&self, owner: Owner) {
        self.drop_tasks(|task| task.owner == owner);
    }

    /// Drops every task: the world ends, and whatever the tasks hold is let go.
    pub fn clear(&self) {
        self.drop_tasks(|_| true);
    }

    /// Polls one ready task, chosen by `pick` from so many. `None` when all wait.
    pub fn step(&self, pick: impl FnOnce(usize) -> usize) -> Option<Step> {
        let id = {
            let mut ready = locked(&self.ready);
            let id = match ready.len() {
                0 => return None,
                1 => *ready.first()?,
                many => *ready.iter().nth(pick(many))?,
            };
            ready.remove(&id);
            id
        };
        let taken = locked(&self.tasks).by_id.remove(&id);
        // Woken after it was killed or had ended.
        let Some(mut task) = taken else {
            return Some(Step { task: id, owner: Owner::World, done: true });
        };
        let waker = Waker::from(Arc::new(Wakes { id, ready: self.ready.clone() }));
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let step = Step { task: id, owner: task.owner, done: polled.is_ready() };
        if polled == Poll::Pending {
            locked(&self.tasks).by_id.insert(id, task);
        }
        Some(step)
    }

    fn drop_tasks(&self, which: impl Fn(&Task) -> bool) {
        let mut tasks = locked(&self.tasks);
        let ids: Vec<u64> = tasks.by_id.iter().filter(|(_, task)| which(task)).map(|(id, _)| *id).collect();
        let dropped: Vec<Option<Task>> = ids.iter().map(|id| tasks.by_id.remove(id)).collect();
        // A task may wake others while it is dropped.
        drop(tasks);
        drop(dropped);
    }
}

struct Wakes {
    id: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        locked(&self.ready).insert(self.id);
    }
}

/// A panic in a task ends the whole proof, so a poisoned lock is never looked at again.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
