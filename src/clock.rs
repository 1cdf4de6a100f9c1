//! The only time and the only randomness of the program. Both are values elsewhere.

use crate::{
    domain::{
        ids::{OutTradeNo, hex},
        time::UnixMs,
    },
    gateway::Stamp,
};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use uuid::Builder;

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

    pub fn now(&self) -> UnixMs {
        match &self.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(now) => UnixMs(now.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on (or back, when negative); a system clock ignores it.
    pub fn advance_ms(&self, ms: i64) {
        if let Source::Manual(now) = &self.source {
            now.fetch_add(ms, Ordering::SeqCst);
        }
    }

    /// # Errors
    /// The operating system has no random bytes.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], NoEntropy> {
        let mut bytes = [0; N];
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

    /// A fresh order number: a version 4 UUID as 32 hex digits, which is WeChat's limit. Random, so
    /// that numbers tell nothing and are never issued again after a restore from an old backup.
    ///
    /// # Errors
    /// No random bytes.
    pub fn out_trade_no(&self) -> Result<OutTradeNo, NoEntropy> {
        let text = Builder::from_random_bytes(self.random()?).into_uuid().simple().to_string();
        OutTradeNo::parse(&text).ok_or(NoEntropy)
    }

    /// An id that sorts by time: a version 7 UUID; a counter keeps those of one millisecond in order.
    ///
    /// # Errors
    /// No random bytes.
    pub fn ordered_id(&self) -> Result<String, NoEntropy> {
        let mut bytes: [u8; 10] = self.random()?;
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (byte, counted) in bytes.iter_mut().zip(sequence) {
            *byte = counted;
        }
        let millis = u64::try_from(self.now().0).unwrap_or_default();
        Ok(Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().simple().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_numbers_fit_the_gateway_and_do_not_repeat() {
        let clock = Clock::system();
        let (a, b) = (clock.out_trade_no().unwrap(), clock.out_trade_no().unwrap());
        assert_eq!(a.as_str().len(), 32);
        assert_ne!(a, b);
    }

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved() {
        let clock = Clock::manual(UnixMs(1_000));
        let shared = clock.clone();
        clock.advance_ms(500);
        assert_eq!(shared.now(), UnixMs(1_500));
    }
}
