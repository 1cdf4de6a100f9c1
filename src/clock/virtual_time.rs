//! Simulated time and chance: one number each, shared by every machine of one simulated world.

use crate::domain::time::UnixMs;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// What every clock of one simulated world shares.
#[derive(Debug)]
pub(super) struct Virtual(Mutex<State>);

#[derive(Debug)]
struct State {
    now: UnixMs,
    chance: u64,
    /// Who sleeps, by when they want to be woken; the second number keeps the order of falling asleep.
    sleepers: BTreeMap<(UnixMs, u64), Waker>,
    slept: u64,
}

impl Virtual {
    pub(super) fn new(start: UnixMs, seed: u64) -> Virtual {
        Virtual(Mutex::new(State { now: start, chance: seed, sleepers: BTreeMap::new(), slept: 0 }))
    }

    pub(super) fn now(&self) -> UnixMs {
        self.state().now
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014): small, well known, and not secret.
    pub(super) fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state();
        for part in bytes.chunks_mut(8) {
            state.chance = state.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = state.chance;
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (byte, made) in part.iter_mut().zip((mixed ^ (mixed >> 31)).to_le_bytes()) {
                *byte = made;
            }
        }
    }

    pub(super) fn run_to_next_timer(&self, limit: UnixMs) {
        let mut state = self.state();
        let next = state.sleepers.keys().next().map_or(limit, |(at, _)| *at);
        state.now = next.min(limit).max(state.now);
        let after = (state.now.plus_ms(1), 0);
        let later = state.sleepers.split_off(&after);
        let woken = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        woken.into_values().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends when simulated time has come to `at`.
pub(super) struct Sleep {
    time: Arc<Virtual>,
    at: UnixMs,
    place: Option<u64>,
}

impl Sleep {
    pub(super) fn new(time: Arc<Virtual>, pause: Duration) -> Sleep {
        let at = time.now().plus_ms(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        Sleep { time, at, place: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut state = time.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            state.slept = state.slept.saturating_add(1);
            state.slept
        });
        self.place = Some(place);
        state.sleepers.insert((self.at, place), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.time.state().sleepers.remove(&(self.at, place));
        }
    }
}
