//! The only time and the only randomness of the program. Both are values elsewhere.

mod virtual_time;

use crate::{
    domain::{
        ids::{OutRefundNo, OutTradeNo, hex},
        time::UnixMs,
    },
    gateway::Stamp,
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use futures_util::future::Either;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use uuid::Builder;
use virtual_time::Virtual;

/// Where "now" comes from. Cloning shares the source.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    sequence: Arc<AtomicU32>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Stands still until `advance_ms`.
    Manual(Arc<AtomicI64>),
    /// The clock of one machine in a simulated world: its time, and how far this machine is off it, in ms.
    Simulated(Arc<Virtual>, Arc<AtomicI64>),
}

/// The operating system could not give random bytes; nothing secret can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoEntropy;

impl Clock {
    pub fn system() -> Clock {
        Clock { source: Source::System, sequence: Arc::default() }
    }

    /// A clock that stands still at `now`, for tests and the simulator.
    pub fn manual(now: UnixMs) -> Clock {
        Clock { source: Source::Manual(Arc::new(AtomicI64::new(now.0))), sequence: Arc::default() }
    }

    /// The clock of a simulated world: time stands still until `run_to_next_timer`, and all randomness
    /// follows from the seed. For `prove`: nothing it makes is secret.
    pub fn simulated(start: UnixMs, seed: u64) -> Clock {
        Clock {
            source: Source::Simulated(Arc::new(Virtual::new(start, seed)), Arc::default()),
            sequence: Arc::default(),
        }
    }

    /// Another machine's clock in the same simulated world, which jumps by itself; else a clone.
    pub fn of_another_machine(&self) -> Clock {
        match &self.source {
            Source::Simulated(time, _) => {
                Clock { source: Source::Simulated(time.clone(), Arc::default()), sequence: Arc::default() }
            }
            _ => self.clone(),
        }
    }

    pub fn now(&self) -> UnixMs {
        match &self.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(now) => UnixMs(now.load(Ordering::SeqCst)),
            Source::Simulated(time, off) => time.now().plus_ms(off.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on (or back, when negative), makes a simulated one jump; a system clock ignores it.
    pub fn advance_ms(&self, ms: i64) {
        if let Source::Manual(now) | Source::Simulated(_, now) = &self.source {
            now.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// Time since some fixed moment; never jumps, whatever happens to the date.
    pub fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.source {
            Source::Simulated(time, _) => {
                Duration::from_millis(u64::try_from(time.now().0).unwrap_or_default())
            }
            _ => START.get_or_init(Instant::now).elapsed(),
        }
    }

    /// Waits; a simulated clock waits in its own time.
    pub async fn sleep(&self, pause: Duration) {
        match &self.source {
            Source::Simulated(time, _) => virtual_time::Sleep::new(time.clone(), pause).await,
            _ => tokio::time::sleep(pause).await,
        }
    }

    /// What the future gives, or `None` when `limit` passes first.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let late = std::pin::pin!(self.sleep(limit));
        let future = std::pin::pin!(future);
        match futures_util::future::select(future, late).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// Moves simulated time to the next moment somebody sleeps until, if there is one by `limit`, and
    /// wakes who sleeps; else moves it to `limit`. Any other clock ignores it.
    pub fn run_to_next_timer(&self, limit: UnixMs) {
        if let Source::Simulated(time, _) = &self.source {
            time.run_to_next_timer(limit);
        }
    }

    /// # Errors
    /// The operating system has no random bytes.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        let mut bytes = [0; N];
        if let Source::Simulated(time, _) = &self.source {
            time.fill(&mut bytes);
            return Ok(bytes);
        }
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoEntropy)?;
        Ok(bytes)
    }

    /// 32 lower-case hex digits nobody can guess.
    ///
    /// # Errors
    /// No random bytes.
    pub fn nonce(&self) -> Result<String, NoEntropy> {
        Ok(hex(&self.random::<16>()?))
    }

    /// 64 lower-case hex digits: sessions, links, keys.
    ///
    /// # Errors
    /// No random bytes.
    pub fn token(&self) -> Result<String, NoEntropy> {
        Ok(hex(&self.random::<32>()?))
    }

    /// # Errors
    /// No random bytes.
    pub fn stamp(&self) -> Result<Stamp, NoEntropy> {
        Ok(Stamp { now: self.now(), nonce: self.nonce()? })
    }

    /// A fresh order number: a version 7 UUID as 32 hex digits, which is WeChat's limit. It begins with its
    /// milliseconds, so that new orders lie side by side in every index however large the books are; 74 random bits
    /// keep it unguessable, silent about how much is sold, and never issued again after a restore from an old backup.
    ///
    /// # Errors
    /// No random bytes.
    pub fn out_trade_no(&self) -> Result<OutTradeNo, NoEntropy> {
        OutTradeNo::parse(&self.dated(&self.random()?)).ok_or(NoEntropy)
    }

    /// A refund's number: as unpredictable and as unique as an order's.
    ///
    /// # Errors
    /// No random bytes.
    pub fn out_refund_no(&self) -> Result<OutRefundNo, NoEntropy> {
        OutRefundNo::parse(&self.dated(&self.random()?)).ok_or(NoEntropy)
    }

    /// An id that sorts by time: a version 7 UUID; a counter keeps those of one millisecond in order.
    ///
    /// # Errors
    /// No random bytes.
    pub fn ordered_id(&self) -> Result<String, NoEntropy> {
        let mut bytes: [u8; 10] = self.random()?;
        let counted = self.sequence.fetch_add(1, Ordering::SeqCst);
        // The version takes the first four bits, the variant the first two of the third byte: 12 and 14 are left.
        let [_, _, a, b] = (counted >> 14 & 0xfff).to_be_bytes();
        let [_, _, c, d] = (counted & 0x3fff).to_be_bytes();
        for (byte, counted) in bytes.iter_mut().zip([a, b, c, d]) {
            *byte = counted;
        }
        Ok(self.dated(&bytes))
    }

    /// A version 7 UUID of this moment and these bytes, of which it keeps 74 bits, in hex.
    fn dated(&self, bytes: &[u8; 10]) -> String {
        let millis = u64::try_from(self.now().0).unwrap_or_default();
        Builder::from_unix_timestamp_millis(millis, bytes).into_uuid().simple().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_fit_the_gateway_sort_by_time_and_differ_by_chance() {
        let clock = Clock::manual(UnixMs(1_700_000_000_000));
        let (one, same_moment) = (clock.out_trade_no().unwrap(), clock.out_trade_no().unwrap());
        clock.advance_ms(1);
        let later = clock.out_trade_no().unwrap();
        assert_eq!(one.as_str().len(), 32);
        assert!(one < later && same_moment < later, "{one:?} {same_moment:?} {later:?}");
        let [(date, chance), (same_date, other_chance)] =
            [&one, &same_moment].map(|number| number.as_str().split_at(13));
        assert_eq!((date, same_date), ("018bcfe568007", date), "milliseconds and the version");
        assert_ne!(chance, other_chance);
    }

    #[test]
    fn ids_of_one_millisecond_sort_in_the_order_they_were_made() {
        let clock = Clock::manual(UnixMs(1));
        let ids: Vec<_> = (0..40_000).map(|_| clock.ordered_id().unwrap()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn of_many_order_numbers_of_one_moment_no_digit_of_chance_stands_still() {
        let clock = Clock::manual(UnixMs(1));
        let numbers: Vec<_> = (0..200).map(|_| clock.out_trade_no().unwrap()).collect();
        for place in 13..32 {
            let digits: std::collections::BTreeSet<_> =
                numbers.iter().filter_map(|number| number.as_str().as_bytes().get(place)).collect();
            // The first digit of the variant has four values, all others sixteen.
            assert!(digits.len() >= if place == 16 { 4 } else { 12 }, "place {place}: {digits:?}");
        }
    }

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::manual(UnixMs(1_000));
        let shared = clock.clone();
        clock.advance_ms(500);
        assert_eq!(shared.now(), UnixMs(1_500));
    }

    #[test]
    fn a_simulated_clock_follows_from_its_seed_and_each_machine_jumps_alone() {
        let of_seed = |seed| Clock::simulated(UnixMs(5), seed).nonce().unwrap();
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
        let world = Clock::simulated(UnixMs(5), 1);
        let machine = world.of_another_machine();
        machine.advance_ms(-4);
        world.run_to_next_timer(UnixMs(10));
        assert_eq!((world.now(), machine.now()), (UnixMs(10), UnixMs(6)));
    }
}
