//! Timers: each calls a flow and holds no rule of its own.

pub mod audit;
pub mod close_expired;
pub mod gateway_keys;
pub mod hear_of_others;
pub mod housekeeping;
pub mod query_pending;
pub mod reconcile;
pub mod refunds;

use crate::{
    app::{App, Round},
    clock::Clock,
    flow::FlowError,
};
use futures_util::future::join_all;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle};

/// A job is stuck when it has missed three rounds, and never before this many ms.
const STUCK_MS: i64 = 60_000;

/// How long the jobs may take to finish their rounds when the process stops.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// The running jobs.
pub struct Jobs {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    beats: Vec<Beat>,
}

/// When a job last finished a round, and how old that may be.
#[derive(Clone)]
struct Beat {
    at: Arc<AtomicI64>,
    limit_ms: i64,
}

impl Jobs {
    /// Starts all of them on the current runtime.
    pub fn start(app: &Arc<App>) -> Jobs {
        let mut jobs = Jobs { stop: watch::channel(false).0, tasks: Vec::new(), beats: Vec::new() };
        jobs.spawn(app, "query_pending", Duration::from_secs(1), query_pending::run_once);
        jobs.spawn(app, "close_expired", Duration::from_secs(5), close_expired::run_once);
        jobs.spawn(app, "refunds", Duration::from_secs(2), refunds::run_once);
        jobs.spawn(app, "gateway_keys", Duration::from_secs(5), gateway_keys::run_once);
        // A round may take minutes, and a job that has missed three is stuck.
        jobs.spawn(app, "reconcile", Duration::from_secs(300), reconcile::run_once);
        jobs.spawn(app, "housekeeping", Duration::from_secs(60), housekeeping::run_once);
        if app.store.is_shared() {
            jobs.spawn(app, "hear_of_others", Duration::from_millis(500), hear_of_others::run_once);
        }
        // Whose turn it is on a server is looked at more often.
        let look = if app.store.is_shared() { 60 } else { 3600 };
        jobs.spawn_long(
            app,
            "audit",
            Duration::from_secs(look),
            Duration::from_secs(3 * 3600),
            audit::run_once,
        );
        jobs
    }

    /// Whether every job has finished a round lately.
    pub fn pulse(&self, app: &Arc<App>) -> impl Fn() -> bool + Send + Sync + 'static {
        let (beats, clock) = (self.beats.clone(), app.clock.clone());
        move || {
            beats
                .iter()
                .all(|beat| uptime_ms(&clock).saturating_sub(beat.at.load(Ordering::Relaxed)) < beat.limit_ms)
        }
    }

    /// Lets each finish the round it is in, and waits for that.
    pub async fn stop(self) {
        // Nobody listening means all have ended.
        let _ = self.stop.send(true);
        // A round that waits for a silent gateway is given up: every step of it is safe to repeat.
        let _ = tokio::time::timeout(STOP_WAIT, join_all(self.tasks)).await;
    }

    fn spawn<F, R>(&mut self, app: &Arc<App>, name: &'static str, period: Duration, round: F)
    where
        F: Fn(Arc<App>) -> R + Send + 'static,
        R: Future<Output = Result<usize, FlowError>> + Send + 'static,
    {
        self.spawn_long(app, name, period, period.saturating_mul(3), round);
    }

    /// One whose rounds may take so long, and a minute.
    fn spawn_long<F, R>(
        &mut self,
        app: &Arc<App>,
        name: &'static str,
        period: Duration,
        longest: Duration,
        round: F,
    ) where
        F: Fn(Arc<App>) -> R + Send + 'static,
        R: Future<Output = Result<usize, FlowError>> + Send + 'static,
    {
        let (app, mut stop) = (app.clone(), self.stop.subscribe());
        let beat = Arc::new(AtomicI64::new(uptime_ms(&app.clock)));
        let longest = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
        self.beats.push(Beat { at: beat.clone(), limit_ms: longest.saturating_add(STUCK_MS) });
        self.tasks.push(tokio::spawn(async move {
            while !*stop.borrow() {
                // A task of its own: a panic ends the round, not the job.
                let fault = match tokio::spawn(round(app.clone())).await {
                    Ok(Ok(done)) => {
                        if done > 0 {
                            tracing::debug!(job = name, done, "job {name} did {done}");
                        }
                        None
                    }
                    Ok(Err(error)) => Some(format!("failed: {error}")),
                    Err(error) => Some(format!("panicked: {error}")),
                };
                if let Some(fault) = &fault {
                    app.metrics.alerts.with_label_values(&["job_failed"]).inc();
                    tracing::error!(job = name, "job {name} {fault}");
                }
                app.rounds.note(name, Round { at: app.clock.now(), fault });
                beat.store(uptime_ms(&app.clock), Ordering::Relaxed);
                // Woken early only to stop.
                let _ = tokio::time::timeout(period, stop.changed()).await;
            }
        }));
    }
}

/// Not the date: a clock that is set must not make a healthy job look stuck.
fn uptime_ms(clock: &Clock) -> i64 {
    i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX)
}
