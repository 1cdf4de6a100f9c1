//! The composition root: everything a flow needs, put together once.

use crate::{
    clock::Clock,
    config::Config,
    domain::{
        order::{Channel, Environment, Provider},
        time::UnixMs,
    },
    gateway::{
        Gateway, Protocol, Request, Response, alipay::Alipay, wechat_v2::WechatV2, wechat_v3::WechatV3,
    },
    http::{Http, HttpError},
    metrics::Metrics,
    store::{Store, limits::Pace},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock as RateClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, Semaphore};

/// Passwords hashed at once: each takes 19 MiB and a core for some 30 ms.
const HASHING: usize = 2;
/// Queries of the sweep and of hurried callbacks, over all orders: of each process, and of all instances together.
const SWEEPS: Pace = Pace { every_ms: 100, at_once: 10 };
const JUNK_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
const JUNK_AT_ONCE: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
const PAGE_QUERIES: Pace = Pace { every_ms: 1_000, at_once: 20 };
/// Messages nobody vouches for are not written down while the queue is fuller than this: money goes first.
const QUEUE_FOR_JUNK_PERCENT: usize = 25;

/// Everything the flows share.
pub struct App {
    pub config: Config,
    pub store: Store,
    pub http: Http,
    pub clock: Clock,
    pub metrics: Metrics,
    pub waiting: Waiting,
    pub rounds: Rounds,
    pub hashing: Arc<Semaphore>,
    /// One bill at a time: a large one takes hundreds of MiB while it is read.
    pub bills: Semaphore,
    sweeps: Sweeps,
    /// How many messages that nobody vouches for may be written down: by this process, whose queue they fill.
    junk: Sweeps,
    /// How often one user's pages may make us ask the gateway.
    pub page_queries: PageQueries,
    /// First choice first.
    gateways: Vec<Box<dyn Gateway>>,
}

/// Why the program cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// # Errors
    /// The TLS library or the metrics cannot start.
    pub fn new(config: Config, store: Store, clock: Clock) -> Result<Arc<App>, AppError> {
        let mut http = Http::new(config.origins.clone())?;
        if let Some(certificate) = &config.wechat_certificate {
            http = http.showing(certificate)?;
        }
        App::with_http(config, store, clock, http)
    }

    /// With its own way to the gateways.
    ///
    /// # Errors
    /// The metrics cannot start.
    pub fn with_http(config: Config, store: Store, clock: Clock, http: Http) -> Result<Arc<App>, AppError> {
        Ok(Arc::new(App {
            http,
            metrics: Metrics::new()?,
            waiting: Waiting::default(),
            rounds: Rounds::default(),
            hashing: Arc::new(Semaphore::new(HASHING)),
            bills: Semaphore::new(1),
            sweeps: RateLimiter::direct_with_clock(quota(SWEEPS), Monotonic(clock.clone())),
            junk: RateLimiter::direct_with_clock(
                Quota::per_second(JUNK_PER_SECOND).allow_burst(JUNK_AT_ONCE),
                Monotonic(clock.clone()),
            ),
            page_queries: RateLimiter::dashmap_with_clock(quota(PAGE_QUERIES), Monotonic(clock.clone())),
            gateways: gateways(&config),
            config,
            store,
            clock,
        }))
    }

    /// Every gateway we have an account at, first choice first.
    pub fn gateways(&self) -> impl Iterator<Item = &dyn Gateway> {
        self.gateways.iter().map(|gateway| gateway.as_ref())
    }

    /// The one new payments by this channel are made with, and the account they are made for; `None` when the channel
    /// is not offered.
    pub fn gateway_for(&self, channel: Channel) -> Option<(&dyn Gateway, String)> {
        if !self.config.channels.contains(&channel) {
            return None;
        }
        self.gateways().find_map(|gateway| Some((gateway, gateway.account(channel)?)))
    }

    /// The ways of paying that are offered and that a gateway of ours has.
    pub fn channels(&self) -> Vec<Channel> {
        let all = self.config.channels.iter().copied();
        all.filter(|channel| self.gateway_for(*channel).is_some()).collect()
    }

    /// The one to ask about what was made for an account; `None` when the account is not ours any more.
    pub fn gateway_of(
        &self,
        provider: Provider,
        account: &str,
        environment: Environment,
    ) -> Option<&dyn Gateway> {
        self.gateways().find(|gateway| {
            gateway.protocol().provider() == provider && gateway.is_ours(account, environment)
        })
    }

    /// The one that reads and answers callbacks of a protocol; `None` when we have no keys for it.
    pub fn speaker(&self, protocol: Protocol) -> Option<&dyn Gateway> {
        self.gateways().find(|gateway| gateway.protocol() == protocol)
    }

    /// Asks a gateway; the answer carries the time it came, by which its signature is judged.
    ///
    /// # Errors
    /// As `Http::send`.
    pub async fn ask(&self, request: &Request) -> Result<Response, HttpError> {
        let answer = self.http.send(request).await?;
        Ok(Response { received_at: self.clock.now(), ..answer })
    }

    /// Asks for a file, which may be large.
    ///
    /// # Errors
    /// As `Http::fetch`.
    pub async fn fetch(&self, request: &Request) -> Result<Response, HttpError> {
        let answer = self.http.fetch(request).await?;
        Ok(Response { received_at: self.clock.now(), ..answer })
    }

    /// Whether a message that nobody vouches for may still be written down: a flood of them must not
    /// hold up callbacks that carry money.
    pub fn has_room_for_junk(&self) -> bool {
        self.store.queue_percent() < QUEUE_FOR_JUNK_PERCENT && self.junk.check().is_ok()
    }

    /// Whether one more question may be asked that nobody waits for.
    pub async fn may_sweep(&self) -> bool {
        self.sweeps.check().is_ok() && self.store.take("sweep".to_owned(), SWEEPS).await == 0
    }

    /// Whether the gateway may be asked once more for this user's pages.
    pub async fn may_ask_for(&self, user_id: i64) -> bool {
        let key = format!("page {user_id}");
        self.page_queries.check_key(&user_id).is_ok() && self.store.take(key, PAGE_QUERIES).await == 0
    }

    /// Where new orders belong.
    pub fn environment(&self) -> Environment {
        self.config.environment
    }

    /// The appid under which the payer of a channel is known; empty, which no openid has, when there is none.
    pub fn payer_appid(&self, channel: Channel) -> &str {
        match channel {
            Channel::WechatMini => self.config.wechat_mini.as_ref().map_or("", |mini| mini.appid.as_str()),
            _ => self.appid(),
        }
    }

    /// The appid the openids of WeChat's browser are asked for and kept under; empty, which no openid has, when we have
    /// no service account.
    pub fn appid(&self) -> &str {
        self.config.wechat_login.as_ref().map_or("", |login| login.appid.as_str())
    }
}

/// What the configuration has accounts for. Of one account at WeChat, payments, questions and refunds all go by the newer
/// protocol, whichever the payment was made by; the older one still hears the callbacks about what was made by it.
fn gateways(config: &Config) -> Vec<Box<dyn Gateway>> {
    let mut gateways: Vec<Box<dyn Gateway>> = Vec::new();
    if let Some(account) = &config.wechat_v3 {
        gateways.push(Box::new(WechatV3::new(account.clone())));
    }
    if let Some(account) = &config.wechat_v2 {
        gateways.push(Box::new(WechatV2 { account: account.clone() }));
    }
    if let Some(account) = &config.alipay {
        gateways.push(Box::new(Alipay { account: account.clone() }));
    }
    gateways
}

/// As the rate limiter of a process wants it.
pub fn quota(pace: Pace) -> Quota {
    let burst = u32::try_from(pace.at_once).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let period = Duration::from_millis(u64::try_from(pace.every_ms).unwrap_or_default());
    Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst)
}

/// The limit on queries nobody waits for.
pub type Sweeps = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Moment>>;

/// The limit on queries of one user's pages.
pub type PageQueries = RateLimiter<i64, DashMapStateStore<i64>, Monotonic, NoOpMiddleware<Moment>>;

/// Our clock as the rate limiter wants it: a jump of the date must not stop or flood the gateway.
#[derive(Clone)]
pub struct Monotonic(Clock);

/// Time since some fixed moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl RateClock for Monotonic {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(self.0.monotonic())
    }
}

impl std::ops::Add<Nanos> for Moment {
    type Output = Moment;

    fn add(self, pause: Nanos) -> Moment {
        Moment(self.0.saturating_add(pause.into()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Moment) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, pause: Nanos) -> Moment {
        Moment(self.0.saturating_sub(pause.into()))
    }
}

/// When each background job of this process last finished a round, and how it went.
#[derive(Default)]
pub struct Rounds(Mutex<BTreeMap<&'static str, Round>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    pub at: UnixMs,
    /// What went wrong, if something did.
    pub fault: Option<String>,
}

impl Rounds {
    pub fn note(&self, job: &'static str, round: Round) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job, round);
    }

    pub fn all(&self) -> Vec<(&'static str, Round)> {
        let rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.iter().map(|(job, round)| (*job, round.clone())).collect()
    }
}

/// Pages that wait for an order to be settled.
#[derive(Default)]
pub struct Waiting {
    pages: Mutex<HashMap<String, Arc<Notify>>>,
    closed: AtomicBool,
}

impl Waiting {
    /// Ask for this before reading the order, so that no news between is missed.
    pub fn on(&self, out_trade_no: &str) -> Arc<Notify> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        // Entries nobody holds any more are dropped here, so the map stays as small as the crowd.
        pages.retain(|_, page| Arc::strong_count(page) > 1);
        pages.entry(out_trade_no.to_owned()).or_default().clone()
    }

    /// The process is stopping: every page gets its answer now, and none waits any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.values().for_each(|page| page.notify_waiters());
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The orders that pages wait for.
    pub fn orders(&self) -> Vec<String> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|_, page| Arc::strong_count(page) > 1);
        pages.keys().cloned().collect()
    }

    /// Wakes every page that waits for this order.
    pub fn wake(&self, out_trade_no: &str) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = pages.get(out_trade_no) {
            page.notify_waiters();
        }
    }
}
