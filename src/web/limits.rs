//! How often one address or one account may do what costs us something.

use super::error::WebError;
use crate::app::App;
use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _,
    clock::DefaultClock,
};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// All limiters of the process.
pub struct Limits {
    sign_in_by_address: DefaultKeyedRateLimiter<IpAddr>,
    /// One address against one name: ten tries, then one every half minute.
    sign_in_by_pair: DefaultKeyedRateLimiter<(String, IpAddr)>,
    /// All addresses together against one name.
    sign_in_by_name: DefaultKeyedRateLimiter<String>,
    register: DefaultKeyedRateLimiter<IpAddr>,
    wechat_trip: DefaultKeyedRateLimiter<IpAddr>,
    top_up: DefaultKeyedRateLimiter<i64>,
    /// One user's pages telling what the pay sheet said: each makes the gateway be asked soon, before others' turn.
    returned: DefaultKeyedRateLimiter<i64>,
    self_test: DefaultDirectRateLimiter,
    clock: DefaultClock,
    checks: AtomicU32,
}

/// Calm addresses and names are forgotten once in so many checks.
const FORGET_EVERY: u32 = 1024;

const fn burst(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

fn every(period: Duration, at_once: u32) -> Quota {
    Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst(at_once))
}

impl Limits {
    pub fn new() -> Limits {
        Limits {
            sign_in_by_address: RateLimiter::keyed(every(Duration::from_secs(1), 60)),
            sign_in_by_pair: RateLimiter::keyed(every(Duration::from_secs(30), 10)),
            sign_in_by_name: RateLimiter::keyed(every(Duration::from_secs(10), 30)),
            register: RateLimiter::keyed(every(Duration::from_secs(1), 120)),
            wechat_trip: RateLimiter::keyed(every(Duration::from_secs(1), 120)),
            top_up: RateLimiter::keyed(every(Duration::from_secs(2), 60)),
            returned: RateLimiter::keyed(every(Duration::from_secs(10), 10)),
            self_test: RateLimiter::direct(every(Duration::from_secs(60), 1)),
            clock: DefaultClock::default(),
            checks: AtomicU32::new(0),
        }
    }

    /// # Errors
    /// `TooMany`, with the seconds to wait.
    pub fn sign_in(&self, app: &App, name: &str, ip: IpAddr) -> Result<(), WebError> {
        let ip = household(ip);
        // Long names are cut, or the map of names would be the attacker's memory to fill.
        let name: String = name.to_lowercase().chars().take(64).collect();
        self.check(app, "sign_in", self.sign_in_by_address.check_key(&ip))?;
        self.check(app, "sign_in", self.sign_in_by_pair.check_key(&(name.clone(), ip)))?;
        self.check(app, "sign_in", self.sign_in_by_name.check_key(&name))
    }

    /// A code after the password counts as one more try of its address.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn code(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.check(app, "sign_in", self.sign_in_by_address.check_key(&household(ip)))
    }

    /// # Errors
    /// `TooMany`.
    pub fn register(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.check(app, "register", self.register.check_key(&household(ip)))
    }

    /// # Errors
    /// `TooMany`.
    pub fn wechat_trip(&self, app: &App, ip: IpAddr) -> Result<(), WebError> {
        self.check(app, "wechat_trip", self.wechat_trip.check_key(&household(ip)))
    }

    /// # Errors
    /// `TooMany`.
    pub fn top_up(&self, app: &App, user_id: i64) -> Result<(), WebError> {
        self.check(app, "top_up", self.top_up.check_key(&user_id))
    }

    /// # Errors
    /// `TooMany`.
    pub fn returned(&self, app: &App, user_id: i64) -> Result<(), WebError> {
        self.check(app, "returned", self.returned.check_key(&user_id))
    }

    /// # Errors
    /// `TooMany`.
    pub fn self_test(&self, app: &App) -> Result<(), WebError> {
        self.check(app, "self_test", self.self_test.check())
    }

    fn forget_calm(&self) {
        self.sign_in_by_address.retain_recent();
        self.sign_in_by_pair.retain_recent();
        self.sign_in_by_name.retain_recent();
        self.register.retain_recent();
        self.wechat_trip.retain_recent();
        self.top_up.retain_recent();
        self.returned.retain_recent();
    }

    fn check<T>(
        &self,
        app: &App,
        limit: &str,
        verdict: Result<T, governor::NotUntil<<DefaultClock as governor::clock::Clock>::Instant>>,
    ) -> Result<(), WebError> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.forget_calm();
        }
        verdict.map(|_| ()).map_err(|not_until| {
            app.metrics.rate_limited.with_label_values(&[limit]).inc();
            let wait = not_until.wait_time_from(self.clock.now());
            WebError::TooMany { retry_after_secs: wait.as_secs().saturating_add(1) }
        })
    }
}

/// One household of IPv6 has a whole /64: it counts as one address.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}
