//! What waits for a writer, in two lanes of their own length: settlements are never behind pages, and
//! a flood of one leaves room for the other.

use super::settlement::{Settlement, Settling};
use super::{Db, StoreError};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// How many may wait in each lane.
const LANE: usize = 4096;
/// How many settlements, and how many other changes, are taken at once.
const SETTLEMENTS: usize = 256;
const CHANGES: usize = 64;

/// Told whether the batch was committed; then answers its caller.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
pub(super) type Change = Box<dyn FnOnce(&mut Db) -> Answer + Send>;

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
    filled: Condvar,
}

#[derive(Default)]
struct Lanes {
    settlements: VecDeque<Waiting>,
    changes: VecDeque<Change>,
    closed: bool,
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
        let mut lanes = self.lanes();
        while lanes.settlements.is_empty() && lanes.changes.is_empty() {
            if lanes.closed {
                return None;
            }
            lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
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
        self.filled.notify_all();
    }

    /// Nobody will take what waits: whoever waits for it is answered with `Busy`.
    pub(super) fn abandon(&self) {
        let mut lanes = self.lanes();
        lanes.closed = true;
        lanes.settlements.clear();
        lanes.changes.clear();
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
        drop(lanes);
        self.filled.notify_one();
        Ok(())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
