//! `prove`: the seeded simulation of the whole application; prints its figure, fails with the seed.

use super::CliError;
use crate::{
    clock::Clock,
    config::{Database, PostgresUrl},
    prove::{self, NoWorld, Outcome},
};
use clap::Args;
use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

#[derive(Args)]
pub(super) struct Options {
    /// How many seeds to run: 1000, or one when `--seed` is given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed. Alone: this one seed, with everything that happens in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Run the worlds on this PostgreSQL, `postgres://…`, each in a schema of its own that is dropped afterwards.
    /// Without it: SQLite in memory.
    #[arg(long, value_name = "URL", value_parser = server)]
    on: Option<PostgresUrl>,
    /// Play this wrong version of the program, which a seed must find: a name of src/canary.rs.
    #[cfg(feature = "canaries")]
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
}

fn server(url: &str) -> Result<PostgresUrl, String> {
    match Database::parse(url)? {
        Database::Postgres(url) => Ok(url),
        Database::Sqlite(_) => Err("not a PostgreSQL URL".to_owned()),
    }
}

/// # Errors
/// A seed that fails (1): its number and its events are printed.
pub(super) fn run(options: &Options) -> Result<(), CliError> {
    #[cfg(feature = "canaries")]
    if let Some(name) = &options.canary
        && !crate::canary::sing_everywhere(name)
    {
        return Err(CliError::Usage(format!("no canary {name}")));
    }
    let first = options.seed.unwrap_or(1);
    let many = options.seeds.unwrap_or(if options.seed.is_some() { 1 } else { 1000 });
    let show = many == 1;
    let clock = Clock::system();
    let started = clock.monotonic();
    let sum = run_all(first, many, show, options.on.as_ref())?;
    let took = clock.monotonic().saturating_sub(started);
    let each = took.as_micros().checked_div(u128::from(many)).unwrap_or_default();
    println!(
        "{many} seeds from {first}: no breach. {} events in {} steps, {} credits, {} refunds given up, {} simulated hours; \
         {} ms, {each} us a seed; trace {:016x}",
        sum.events,
        sum.steps,
        sum.credits,
        sum.given_up,
        sum.simulated_ms.checked_div(3_600_000).unwrap_or_default(),
        took.as_millis(),
        sum.trace
    );
    Ok(())
}

/// What all seeds come to, in whatever order they were run.
#[derive(Default)]
struct Sum {
    events: usize,
    steps: u64,
    credits: usize,
    given_up: usize,
    simulated_ms: i64,
    trace: u64,
    /// The lowest seed that failed.
    failed: Option<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.events = self.events.saturating_add(outcome.events.len());
        self.steps = self.steps.saturating_add(outcome.steps);
        self.credits = self.credits.saturating_add(outcome.credits);
        self.given_up = self.given_up.saturating_add(outcome.given_up);
        self.simulated_ms = self.simulated_ms.saturating_add(outcome.passed_ms);
        self.trace = self.trace.wrapping_add(outcome.hash);
        let lowest = self.failed.as_ref().is_none_or(|failed| outcome.seed < failed.seed);
        if outcome.breach.is_some() && lowest {
            self.failed = Some(outcome);
        }
    }
}

/// Each world is one thread's own; the threads share the seeds.
fn run_all(first: u64, many: u64, show: bool, server: Option<&PostgresUrl>) -> Result<Sum, CliError> {
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    let locked = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while locked().failed.is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(many) {
                break;
            }
            let outcome = prove::run_on(seed, server)?;
            if show && outcome.breach.is_none() {
                outcome.events.iter().for_each(|event| println!("{event}"));
            }
            locked().add(outcome);
        }
        Ok::<_, NoWorld>(())
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done.map_err(|error| match error {
                NoWorld::Store(error) => CliError::from(error),
                error => CliError::Failed(error.to_string()),
            }),
            Err(_) => Err(CliError::Failed("a world panicked".to_owned())),
        })
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    match sum.failed.take() {
        Some(outcome) => Err(failed(&outcome)),
        None => Ok(sum),
    }
}

fn failed(outcome: &Outcome) -> CliError {
    outcome.events.iter().for_each(|event| println!("{event}"));
    let (seed, breach) = (outcome.seed, outcome.breach.as_deref().unwrap_or_default());
    CliError::Failed(format!("seed {seed} fails: {breach}\nAgain, alone: shouyin prove --seed {seed}"))
}
