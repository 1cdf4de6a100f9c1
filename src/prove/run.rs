//! One seed from beginning to end: hours of faults, then calm, then the reckoning.

use super::{
    certificates, clerks, forgers,
    machine::{Owner, Step, locked},
    people,
    world::{NoWorld, START, World},
};
use crate::{app::App, config::PostgresUrl, domain::time::UnixMs, flow::FlowError, jobs};
use futures_util::{FutureExt, future::BoxFuture};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, Ordering},
    },
};

/// A world that never comes to rest is a finding too.
const MOST_STEPS: u64 = 1_000_000;
/// After the last order's time: a last attempt lives 6 minutes more, a clock was 10 minutes ahead, and
/// then 15 minutes are enough.
const REST_MS: i64 = 31 * 60_000;
/// The rounds that look for certificates are so much rarer while there is nothing to find, in ms.
const KNOWN_KEYS_MS: i64 = 300_000;
/// Somebody who works, in place of a time.
const BUSY: i64 = i64::MAX;

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Two runs of one seed give the same.
    pub hash: u64,
    pub steps: u64,
    pub credits: usize,
    /// Refunds that were sent and given up by a person.
    pub given_up: usize,
    /// Virtual time that passed, in ms.
    pub passed_ms: i64,
    pub breach: Option<String>,
    /// What orders were credited by, and what true callbacks about them were signed with, with how often.
    pub shown: BTreeMap<String, usize>,
    /// What happened, a line each, with the ms since the world began.
    pub events: Vec<String>,
}

/// Runs one seed on books in memory.
///
/// # Errors
/// The world cannot be made: a defect of this program or of the machine, not a finding.
pub fn run(seed: u64) -> Result<Outcome, NoWorld> {
    run_on(seed, None)
}

/// Runs one seed on a server, in a schema `prove_SEED` of its own that is dropped afterwards; `None` is in memory.
///
/// # Errors
/// As `run`; the server cannot be reached.
pub fn run_on(seed: u64, server: Option<&PostgresUrl>) -> Result<Outcome, NoWorld> {
    let world = World::begin(seed, server)?;
    world.note(|| format!("{:?}", world.swarm));
    certificates::begin(&world);
    for person in &world.users {
        world.spawn(people::person(world.clone(), person.clone()));
    }
    for clerk in &world.clerks {
        world.spawn(clerks::clerk(world.clone(), clerk.clone()));
    }
    if world.swarm.forged {
        world.spawn(forgers::forger(world.clone()));
    }
    if world.swarm.clock_jumps {
        world.spawn(people::clock_mover(world.clone()));
    }
    Course { rounds: BTreeMap::new(), world: world.clone() }.run();
    let mut trace = locked(&world.trace);
    let (hash, steps) = (trace.hash, trace.steps);
    let outcome = Outcome {
        seed,
        hash,
        steps,
        credits: world.oracle.credits(),
        given_up: world.oracle.given_up(),
        passed_ms: world.clock.now().since(START),
        breach: world.oracle.breach(),
        shown: world.oracle.shown(),
        events: std::mem::take(&mut trace.lines),
    };
    drop(trace);
    // The tasks hold the world and the world holds the tasks.
    world.machine.clear();
    Ok(outcome)
}

/// The jobs of an instance as `jobs::Jobs` runs them: a pause, a round, a pause. A round that would find
/// nothing due is left out, because three days have many seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    QueryPending,
    CloseExpired,
    Refunds,
    /// In worlds with certificates.
    GatewayKeys,
}

impl Job {
    const fn period_ms(self) -> i64 {
        match self {
            Job::QueryPending => 1_000,
            Job::CloseExpired => 5_000,
            Job::Refunds => 2_000,
            Job::GatewayKeys => 5_000,
        }
    }

    fn round(self, app: Arc<App>) -> BoxFuture<'static, Result<usize, FlowError>> {
        match self {
            Job::QueryPending => jobs::query_pending::run_once(app).boxed(),
            Job::CloseExpired => jobs::close_expired::run_once(app).boxed(),
            Job::Refunds => jobs::refunds::run_once(app).boxed(),
            Job::GatewayKeys => jobs::gateway_keys::run_once(app).boxed(),
        }
    }
}

/// When the rounds of one job of one process may start again.
struct Rounds {
    process: Weak<App>,
    free_at: Arc<AtomicI64>,
}

struct Course {
    world: Arc<World>,
    rounds: BTreeMap<(usize, Job), Rounds>,
}

impl Course {
    fn run(&mut self) {
        let world = self.world.clone();
        let chaos_ends = START.plus_ms(world.swarm.chaos_ms);
        let mut end = None;
        while world.oracle.breach().is_none() {
            self.work_until_idle();
            let now = world.clock.now();
            if end.is_none() && now >= chaos_ends {
                world.heal();
                let life_ms = world.swarm.expire_minutes.saturating_mul(60_000);
                end = Some(now.plus_ms(life_ms.saturating_add(REST_MS)));
            }
            if end.is_some_and(|end| now >= end) {
                return world.oracle.judge_end(&world, chaos_ends);
            }
            let wake = self.start_rounds(now);
            let limit = end.unwrap_or(chaos_ends);
            let next = [Some(limit), wake, world.simulator.next_due()].into_iter().flatten().min();
            world.clock.run_to_next_timer(next.unwrap_or(limit).max(now.plus_ms(1)));
            let due = world.simulator.next_due();
            if due.is_some_and(|due| due <= world.clock.now()) {
                let simulator = world.simulator.clone();
                world.spawn(async move {
                    simulator.deliver_due().await;
                });
            }
        }
    }

    /// Everything that is ready moves on, one step at a time in an order of chance.
    fn work_until_idle(&mut self) {
        let world = &self.world;
        while let Some(Step { task, owner, done }) = world.machine.step(|many| world.dice.index(many)) {
            let steps = {
                let mut trace = locked(&world.trace);
                trace.steps = trace.steps.saturating_add(1);
                trace.mix(&task.to_le_bytes());
                trace.mix(&world.clock.now().0.to_le_bytes());
                trace.steps
            };
            world.oracle.look(world);
            if steps > MOST_STEPS {
                world.oracle.report("the world does not come to rest");
            }
            if world.oracle.breach().is_some() {
                return;
            }
            if let Owner::Instance(number) = owner
                && !done
                && !world.healed()
                && world.dice.below(1_000_000) < world.swarm.crash
            {
                world.crash(number);
            }
        }
    }

    /// Starts what is due, and says when to look again.
    fn start_rounds(&mut self, now: UnixMs) -> Option<UnixMs> {
        let world = self.world.clone();
        let Some(pulse) = world.pulse() else {
            world.oracle.report("the books cannot be read");
            return None;
        };
        let mut wake: Option<UnixMs> = None;
        for (number, app) in world.running() {
            let due = [
                (Job::QueryPending, pulse.next_query),
                (Job::CloseExpired, pulse.next_close),
                (Job::Refunds, pulse.next_refund),
            ];
            let keys = self.keys_due(number, &app).map(|due| (Job::GatewayKeys, Some(due)));
            for (job, due) in due.into_iter().chain(keys) {
                let Some(due) = due.map(UnixMs) else { continue };
                let free_at = self.free_at(number, job, &app);
                let free = free_at.load(Ordering::Relaxed);
                // Due by the instance's own clock.
                let off = app.clock.now().since(now);
                let at = UnixMs(free).max(due.plus_ms(off.saturating_neg()));
                if free == BUSY {
                    continue;
                }
                if at > now {
                    wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    continue;
                }
                free_at.store(BUSY, Ordering::Relaxed);
                let (clock, round) = (world.clock.clone(), job.round(app.clone()));
                let task = async move {
                    // A round that fails is tried again after the pause, as every round.
                    let _ = round.await;
                    free_at.store(clock.now().plus_ms(job.period_ms()).0, Ordering::Relaxed);
                };
                world.machine.spawn(Owner::Instance(number), task.boxed());
                wake = Some(now);
            }
        }
        wake
    }

    /// When an instance looks for certificates: at every round while it has not got the one that signs now, else seldom.
    /// By the world's clock, and written as the instance's own has it.
    fn keys_due(&mut self, number: usize, app: &Arc<App>) -> Option<i64> {
        let world = self.world.clone();
        let keys = world.keys.as_ref().filter(|_| world.trust.by_certificate())?;
        if certificates::lacks_current(&world, keys, app) {
            return Some(0);
        }
        let free_at = UnixMs(self.free_at(number, Job::GatewayKeys, app).load(Ordering::Relaxed));
        let off = app.clock.now().since(world.clock.now());
        (free_at.0 != BUSY).then(|| free_at.plus_ms(KNOWN_KEYS_MS).plus_ms(off).0)
    }

    /// A new process begins with fresh jobs.
    fn free_at(&mut self, number: usize, job: Job, app: &Arc<App>) -> Arc<AtomicI64> {
        let known = self.rounds.get(&(number, job));
        match known.filter(|rounds| rounds.process.ptr_eq(&Arc::downgrade(app))) {
            Some(rounds) => rounds.free_at.clone(),
            None => {
                let free_at = Arc::new(AtomicI64::new(0));
                let rounds = Rounds { process: Arc::downgrade(app), free_at: free_at.clone() };
                self.rounds.insert((number, job), rounds);
                free_at
            }
        }
    }
}
