//! What waits for a writer, in two lanes of their own length: settlements are never behind pages, and
//! a flood of one leaves room for the other.

use super::settlement::{Settlement, Settling};
use super::writer::Patience;
use super::{Db, StoreError};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// How many may wait in each lane.
const LANE: usize = 4096;
/// How many settlements, and how many other changes, are taken at once.
const SETTLEMENTS: usize = 256;
const CHANGES: usize = 64;

/// How many must wait before another hand helps the first: smaller transactions would cost more than waiting saves.
pub(super) const HELP: usize = 32;

/// Told whether the batch was committed; then answers its caller.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
pub(super) type Change = Box<dyn FnOnce(&mut Db, &mut Patience) -> Answer + Send>;

/// A settlement and who waits for it.
pub(super) struct Waiting {
    pub settling: Settling,
    pub caller: oneshot::Sender<Result<Settlement, StoreError>>,
}

#[derive(Default)]
pub(super) struct Batch {
    pub settlements: Vec<Waiting>,
    pub changes: Vec<Change>,
}

#[derive(Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    /// Something waits.
    filled: Condvar,
    /// So much waits that a helper is wanted.
    crowded: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct Lanes {
    settlements: VecDeque<Waiting>,
    changes: VecDeque<Change>,
    closed: bool,
}

impl Lanes {
    fn waiting(&self) -> usize {
        self.settlements.len().saturating_add(self.changes.len())
    }
}

impl Queue {
    pub(super) fn settle(&self, waiting: Waiting) -> Result<(), StoreError> {
        self.push(waiting, |lanes| &mut lanes.settlements)
    }

    pub(super) fn change(&self, change: Change) -> Result<(), StoreError> {
        self.push(change, |lanes| &mut lanes.changes)
    }

    /// Blocks until there is something to do; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        self.take_of(1, &self.filled)
    }

    /// As `take`, for a second hand: what few wait for is left to the first.
    pub(super) fn help(&self) -> Option<Batch> {
        self.take_of(HELP, &self.crowded)
    }

    fn take_of(&self, least: usize, enough: &Condvar) -> Option<Batch> {
        let mut lanes = self.lanes();
        while lanes.waiting() < least {
            if lanes.closed {
                return None;
            }
            lanes = enough.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
        let settlements = lanes.settlements.len().min(SETTLEMENTS);
        let changes = lanes.changes.len().min(CHANGES);
        Some(Batch {
            settlements: lanes.settlements.drain(..settlements).collect(),
            changes: lanes.changes.drain(..changes).collect(),
        })
    }

    /// Nothing more comes in; what waits may still be taken.
    pub(super) fn close(&self) {
        self.lanes().closed = true;
        self.wake_all();
    }

    /// Nobody will take what waits: whoever waits for it is answered with `Busy`.
    pub(super) fn abandon(&self) {
        let mut lanes = self.lanes();
        lanes.closed = true;
        lanes.settlements.clear();
        lanes.changes.clear();
        drop(lanes);
        self.wake_all();
    }

    /// Waits so long, or until nothing more comes in; whether that is so.
    pub(super) fn closes_within(&self, limit: Duration) -> bool {
        let waited = self.ended.wait_timeout_while(self.lanes(), limit, |lanes| !lanes.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    fn wake_all(&self) {
        self.filled.notify_all();
        self.crowded.notify_all();
        self.ended.notify_all();
    }

    /// Share of the fuller lane in use, 0 to 100.
    pub(super) fn percent(&self) -> usize {
        let lanes = self.lanes();
        lanes.settlements.len().max(lanes.changes.len()).saturating_mul(100).div_ceil(LANE)
    }

    fn push<T>(&self, item: T, lane: impl FnOnce(&mut Lanes) -> &mut VecDeque<T>) -> Result<(), StoreError> {
        let mut lanes = self.lanes();
        let closed = lanes.closed;
        let lane = lane(&mut lanes);
        if closed || lane.len() >= LANE {
            return Err(StoreError::Busy);
        }
        lane.push_back(item);
        let crowded = lanes.waiting() >= HELP;
        drop(lanes);
        self.filled.notify_one();
        if crowded {
            self.crowded.notify_one();
        }
        Ok(())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, thread};

    #[test]
    fn when_one_hand_leaves_the_others_that_wait_leave_too() {
        let queue = Arc::new(Queue::default());
        let (left, leaving) = std::sync::mpsc::channel();
        for take in [Queue::take, Queue::help] {
            let (queue, left) = (queue.clone(), left.clone());
            thread::spawn(move || left.send(take(&queue).is_none()));
        }
        queue.abandon();
        for _ in 0..2 {
            assert_eq!(leaving.recv_timeout(Duration::from_secs(30)), Ok(true));
        }
        assert!(matches!(queue.change(Box::new(|_, _| Box::new(|_| ()))), Err(StoreError::Busy)));
    }
}
