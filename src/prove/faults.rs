//! What can go wrong in one world, drawn from its seed: most worlds have few faults, some have all.

use crate::{
    clock::Clock,
    domain::{
        money::Fen,
        order::{Channel, Provider},
    },
    simulator::Scenario,
    store::{Disk, StoreError},
};
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Chance, from the world's seed.
#[derive(Clone)]
pub struct Dice(pub Clock);

impl Dice {
    /// A number below `limit`; 0 when that is 0.
    pub fn below(&self, limit: u64) -> u64 {
        let drawn = self.0.random().map_or(0, u64::from_le_bytes);
        drawn.checked_rem(limit).unwrap_or_default()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// True so often in a thousand.
    pub fn permille(&self, often: u64) -> bool {
        often > 0 && self.below(1000) < often
    }

    pub fn index(&self, length: usize) -> usize {
        let drawn = self.below(u64::try_from(length).unwrap_or(u64::MAX));
        usize::try_from(drawn).unwrap_or_default()
    }

    pub fn ms(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// How often each fault happens, in a thousand chances, and how large the world is.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Nothing but callbacks and payers goes wrong.
    pub calm: bool,
    pub instances: usize,
    pub users: usize,
    pub orders_each: u64,
    /// How long the faults go on.
    pub chaos_ms: i64,
    pub expire_minutes: i64,
    pub backup_origin: bool,
    // Calls to the gateway.
    pub refused: u64,
    pub request_lost: u64,
    pub request_late: u64,
    pub reply_lost: u64,
    pub system_error: u64,
    pub garbage: u64,
    pub misrouted: u64,
    pub slow_ms: u64,
    // Callbacks.
    pub callback_lost: u64,
    pub callback_slow_ms: u64,
    pub callback_twice: u64,
    pub ack_lost: u64,
    pub forged: bool,
    pub scenarios: Vec<Scenario>,
    // The books.
    pub write_fails: u64,
    pub answer_lost: u64,
    pub read_fails: u64,
    pub disk_slow_ms: u64,
    // Machines: crashes in a million steps of a task.
    pub crash: u64,
    pub clock_jumps: bool,
    pub refunds: u64,
    /// Administrators send payments back.
    pub clerks: bool,
    /// They sort out what needs a person, too, and forgers speak of refunds.
    pub exceptions: bool,
    /// The merchant's account stays empty for some refunds until the faults end, and clerks give them up.
    pub hangs: bool,
    pub second_admin_above: Fen,
    /// The ways people pay; WeChat's by V3 or V2.
    pub ways: Vec<Channel>,
    pub v3: bool,
}

/// Mischief of single trades; what the network does is drawn for each message instead.
const SCENARIOS: [Scenario; 9] = [
    Scenario::NotifyLost,
    Scenario::NotifyDelayed,
    Scenario::NotifyTwice,
    Scenario::NotifyX20Parallel,
    Scenario::WrongAmount,
    Scenario::WrongSign,
    Scenario::SystemError,
    Scenario::LatePayment,
    Scenario::Coupon,
];
/// What a refund of the trade will be like.
const REFUND_SCENARIOS: [Scenario; 6] = [
    Scenario::RefundNotEnough,
    Scenario::RefundProcessing,
    Scenario::RefundAbnormal,
    Scenario::RefundClosed,
    Scenario::RefundLostReply,
    Scenario::RefundNotifyLost,
];
/// Besides JSAPI.
const OTHER_WAYS: [Channel; 7] = [
    Channel::WechatMini,
    Channel::WechatNative,
    Channel::WechatH5,
    Channel::WechatApp,
    Channel::AlipayQr,
    Channel::AlipayPage,
    Channel::AlipayWap,
];
/// What only V3 and Alipay do.
const SIGNED_SCENARIOS: [Scenario; 4] =
    [Scenario::SignTestProbe, Scenario::ClockSkew, Scenario::TradeFinished, Scenario::WaitBuyerPay];
const HOUR_MS: u64 = 3_600_000;

impl Swarm {
    /// `clerks` send payments back; with `all_ways` people pay by more than JSAPI.
    pub fn draw(dice: &Dice, clerks: bool, all_ways: bool) -> Swarm {
        // Of the faults there are, so many in a thousand exist in this world.
        let share = [0, 100, 150, 200, 300, 450, 700, 1000].get(dice.index(8)).copied().unwrap_or(300);
        let rate = |most: u64| if dice.permille(share) { dice.between(1, most) } else { 0 };
        let mut scenarios: Vec<Scenario> = SCENARIOS.into_iter().filter(|_| dice.permille(share)).collect();
        if dice.permille(share) {
            scenarios.push(Scenario::Md5Sign);
        }
        // The shop's own calls and machines are well in some worlds, and then every delay has a limit.
        let calm = dice.permille(250);
        let trouble = |most: u64| if calm { 0 } else { rate(most) };
        let hours = match dice.below(10) {
            0 => dice.between(24, 72),
            1..=3 => dice.between(6, 24),
            _ => dice.between(2, 6),
        };
        let mut swarm = Swarm {
            instances: dice.index(3).saturating_add(1),
            users: dice.index(3).saturating_add(1),
            orders_each: dice.between(1, 4),
            chaos_ms: i64::try_from(hours.saturating_mul(HOUR_MS)).unwrap_or(i64::MAX),
            expire_minutes: [15, 30, 120].get(dice.index(3)).copied().unwrap_or(120),
            backup_origin: dice.permille(500),
            refused: trouble(300),
            request_lost: trouble(200),
            request_late: trouble(150),
            reply_lost: trouble(200),
            system_error: trouble(200),
            garbage: trouble(200),
            misrouted: trouble(200),
            slow_ms: dice.between(1, 20).saturating_add(trouble(3000)),
            callback_lost: rate(700),
            callback_slow_ms: dice.between(1, 20).saturating_add(rate(120_000)),
            callback_twice: rate(500),
            ack_lost: rate(500),
            forged: dice.permille(share),
            scenarios,
            write_fails: trouble(100),
            answer_lost: trouble(100),
            read_fails: trouble(50),
            disk_slow_ms: dice.between(1, 5).saturating_add(trouble(500)),
            crash: trouble(8000),
            clock_jumps: !calm && dice.permille(share),
            calm,
            refunds: rate(100),
            clerks,
            exceptions: false,
            hangs: false,
            second_admin_above: Fen::ZERO,
            ways: vec![Channel::WechatJsapi],
            v3: false,
        };
        if clerks {
            let limits = [0, 10_000, 1_000_000].map(|fen| Fen::new(fen).unwrap_or_default());
            swarm.second_admin_above = limits.get(dice.index(3)).copied().unwrap_or_default();
            swarm.scenarios.extend(REFUND_SCENARIOS.into_iter().filter(|_| dice.permille(share.max(200))));
        }
        if all_ways {
            swarm.ways.extend(OTHER_WAYS.into_iter().filter(|_| dice.permille(500)));
            swarm.v3 = dice.permille(500);
            swarm.scenarios.extend(SIGNED_SCENARIOS.into_iter().filter(|_| dice.permille(share)));
        }
        swarm
    }

    /// Signing with RSA takes most of the time of a world that does.
    pub fn needs_rsa(&self) -> bool {
        self.v3 || self.ways.iter().any(|way| way.provider() == Provider::Alipay)
    }
}

/// Whether things still go wrong, and how often the books were written: shared by a whole world.
#[derive(Debug, Default)]
pub struct Weather {
    pub healed: AtomicBool,
    pub writes: AtomicU64,
    /// Faults of the books so far.
    pub spoiled: AtomicU64,
}

/// The books' disk: slow, and failing as the swarm says.
pub struct FaultyDisk {
    pub dice: Dice,
    pub swarm: Arc<Swarm>,
    pub weather: Arc<Weather>,
}

impl FaultyDisk {
    fn spoils(&self, often: u64) -> bool {
        let spoils = !self.weather.healed.load(Ordering::Relaxed) && self.dice.permille(often);
        if spoils {
            self.weather.spoiled.fetch_add(1, Ordering::Relaxed);
        }
        spoils
    }

    fn pause(&self) -> Duration {
        self.dice.ms(0, self.swarm.disk_slow_ms)
    }
}

impl Disk for FaultyDisk {
    fn before(&self, writes: bool) -> BoxFuture<'static, Result<(), StoreError>> {
        let (clock, pause) = (self.dice.0.clone(), self.pause());
        let fails = match writes {
            true if self.spoils(self.swarm.write_fails) => {
                Err(StoreError::NotCommitted("spoiled by the proof".to_owned()))
            }
            false if self.spoils(self.swarm.read_fails) => Err(StoreError::NoReader),
            _ => Ok(()),
        };
        async move {
            clock.sleep(pause).await;
            fails
        }
        .boxed()
    }

    fn after(&self, writes: bool) -> BoxFuture<'static, Result<(), StoreError>> {
        if !writes {
            return std::future::ready(Ok(())).boxed();
        }
        self.weather.writes.fetch_add(1, Ordering::Relaxed);
        let (clock, pause) = (self.dice.0.clone(), self.pause());
        let lost = if self.spoils(self.swarm.answer_lost) { Err(StoreError::Busy) } else { Ok(()) };
        async move {
            clock.sleep(pause).await;
            lost
        }
        .boxed()
    }
}
