//! How often one address or one account may do what costs us something. Each process counts for itself, so that a flood
//! goes no further; what passes is counted over all instances on a server.

use super::error::WebError;
use crate::{
    app::{App, quota},
    store::limits::Pace,
    token,
};
use governor::{
    DefaultKeyedRateLimiter, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU32, Ordering},
};

/// One for each thing that costs us something.
pub struct Limits {
    sign_in_by_address: Limit,
    /// One address against one name: ten tries, then one every half minute.
    sign_in_by_pair: Limit,
    /// All addresses together against one name.
    sign_in_by_name: Limit,
    register: Limit,
    wechat_trip: Limit,
    top_up: Limit,
    /// One user's pages telling what the pay sheet said: each makes the gateway be asked soon, before others' turn.
    returned: Limit,
    self_test: Limit,
}

impl Limits {
    pub fn new() -> Limits {
        Limits {
            sign_in_by_address: Limit::new("sign_in_by_address", "sign_in", 1_000, 60),
            sign_in_by_pair: Limit::new("sign_in_by_pair", "sign_in", 30_000, 10),
            sign_in_by_name: Limit::new("sign_in_by_name", "sign_in", 10_000, 30),
            register: Limit::new("register", "register", 1_000, 120),
            wechat_trip: Limit::new("wechat_trip", "wechat_trip", 1_000, 120),
            top_up: Limit::new("top_up", "top_up", 2_000, 60),
            returned: Limit::new("returned", "returned", 10_000, 10),
            self_test: Limit::new("self_test", "self_test", 60_000, 1),
        }
    }

    /// # Errors
    /// `TooMany`, with the seconds to wait.
    pub async fn sign_in(&self, app: &App, name: &str, ip: IpAddr) -> Result<(), WebError> {
        let ip = household(ip);
        // Long names are cut, or the map of names would be the attacker's memory to fill.
        let name: String = name.to_lowercase().chars().take(64).collect();
        self.sign_in_by_address.take(app, ip.to_string()).await?;
        self.sign_in_by_pair.take(app, format!("{ip} {name}")).await?;
        self.sign_in_by_name.take(app, name).await
    }

    /// A code after the password counts as one more try of its address.
    ///
    /// # Errors
    /// `TooMany`.
    pub async fn code(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.sign_in_by_address.take(app, household(ip).to_string()).await
    }

    /// # Errors
    /// `TooMany`.
    pub async fn register(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.register.take(app, household(ip).to_string()).await
    }

    /// # Errors
    /// `TooMany`.
    pub async fn wechat_trip(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.wechat_trip.take(app, household(ip).to_string()).await
    }

    /// # Errors
    /// `TooMany`.
    pub async fn top_up(&self, app: &App, user_id: i64) -> Result<(), WebError> {
        self.top_up.take(app, user_id.to_string()).await
    }

    /// # Errors
    /// `TooMany`.
    pub async fn returned(&self, app: &App, user_id: i64) -> Result<(), WebError> {
        self.returned.take(app, user_id.to_string()).await
    }

    /// # Errors
    /// `TooMany`.
    pub async fn self_test(&self, app: &App) -> Result<(), WebError> {
        self.self_test.take(app, String::new()).await
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}

/// Calm keys are forgotten once in so many uses.
const FORGET_EVERY: u32 = 1024;

struct Limit {
    /// Among the keys of all.
    name: &'static str,
    /// What it is called in the metrics.
    counted: &'static str,
    pace: Pace,
    here: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    uses: AtomicU32,
}

impl Limit {
    fn new(name: &'static str, counted: &'static str, every_ms: i64, at_once: i64) -> Limit {
        let pace = Pace { every_ms, at_once };
        Limit {
            name,
            counted,
            pace,
            here: RateLimiter::keyed(quota(pace)),
            clock: DefaultClock::default(),
            uses: AtomicU32::new(0),
        }
    }

    async fn take(&self, app: &App, key: String) -> Result<(), WebError> {
        if self.uses.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.here.retain_recent();
        }
        if let Err(not_until) = self.here.check_key(&key) {
            return Err(
                self.too_many(app, not_until.wait_time_from(self.clock.now()).as_secs().saturating_add(1))
            );
        }
        // Hashed, so that keys are short and of one shape, whatever somebody has typed.
        match app.store.take(format!("{} {}", self.name, token::hash(&key)), self.pace).await {
            0 => Ok(()),
            wait_ms => Err(self.too_many(app, u64::try_from(wait_ms).unwrap_or(0).div_ceil(1_000))),
        }
    }

    fn too_many(&self, app: &App, retry_after_secs: u64) -> WebError {
        app.metrics.rate_limited.with_label_values(&[self.counted]).inc();
        WebError::TooMany { retry_after_secs }
    }
}

/// One household of IPv6 has a whole /64: it counts as one address.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
    }
}
