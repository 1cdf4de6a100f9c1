//! `prove`: the seeded simulation of the whole application; prints its figure, fails with the seed.

use super::CliError;
use crate::{
    clock::Clock,
    prove::{self, Outcome},
};
use clap::Args;

#[derive(Args)]
pub(super) struct Options {
    /// How many seeds to run: 1000, or one when `--seed` is given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed. Alone: this one seed, with everything that happens in it.
    #[arg(long)]
    seed: Option<u64>,
}

/// # Errors
/// A seed that fails (1): its number and its events are printed.
pub(super) fn run(options: &Options) -> Result<(), CliError> {
    let first = options.seed.unwrap_or(1);
    let many = options.seeds.unwrap_or(if options.seed.is_some() { 1 } else { 1000 });
    let show = many == 1;
    let clock = Clock::system();
    let started = clock.monotonic();
    let (mut steps, mut credits, mut hours, mut hash) = (0u64, 0usize, 0i64, 0u64);
    for seed in first..first.saturating_add(many) {
        let outcome = prove::run(seed).map_err(|error| CliError::Failed(error.to_string()))?;
        steps = steps.saturating_add(outcome.steps);
        credits = credits.saturating_add(outcome.credits);
        hours = hours.saturating_add(outcome.passed_ms.checked_div(3_600_000).unwrap_or_default());
        hash = hash.rotate_left(1) ^ outcome.hash;
        if show || outcome.breach.is_some() {
            outcome.events.iter().for_each(|event| println!("{event}"));
        }
        if let Some(breach) = &outcome.breach {
            return Err(failed(&outcome, breach));
        }
    }
    let took = clock.monotonic().saturating_sub(started);
    let each = took.as_micros().checked_div(u128::from(many)).unwrap_or_default();
    println!(
        "{many} seeds from {first}: no breach. {steps} steps, {credits} credits, {hours} simulated hours, \
         {} ms ({} us a seed), trace {hash:016x}",
        took.as_millis(),
        each
    );
    Ok(())
}

fn failed(outcome: &Outcome, breach: &str) -> CliError {
    let seed = outcome.seed;
    CliError::Failed(format!("seed {seed} fails: {breach}\nAgain, alone: shouyin prove --seed {seed}"))
}
