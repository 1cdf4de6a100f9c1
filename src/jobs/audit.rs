//! Lets the books prove themselves: hourly, a file at start as well. Of several instances one does it for all. The audit
//! log is looked at from where it was last found whole.

use crate::{
    app::App,
    domain::time::UnixMs,
    flow::FlowError,
    store::{
        Db,
        audit_chain::{self, Looked},
        audits, books,
    },
};
use std::sync::Arc;

/// Rows of the audit log in one round: the first after a restart costs no more than any other.
const ROWS: i64 = 20_000;

/// One round; gives how many rules of the books are broken, as the last audit found them.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    if !app.store.is_shared() {
        let found = rules(&app).await?;
        return chain_too(&app, found).await;
    }
    let (now, last) = (app.clock.now(), app.store.read(audits::last).await?);
    if last.is_due(now) && app.store.write(move |db| audits::begin(db, now)).await? {
        return audit_for_all(&app, now).await;
    }
    // Not before what was found here: the last word may not have been written down.
    if last.done_at > 0 && UnixMs(last.done_at).secs() >= app.metrics.last_audit_at.get() {
        tell(&app, UnixMs(last.done_at), last.breaches);
    }
    Ok(usize::try_from(last.breaches).unwrap_or(usize::MAX))
}

async fn audit_for_all(app: &App, begun_at: UnixMs) -> Result<usize, FlowError> {
    let (found, audited) = match rules(app).await {
        Ok(found) => (found, chain_too(app, found).await),
        Err(error) => (0, Err(error)),
    };
    // What the rules have found is written down, whatever became of the rest.
    let written = audited.as_ref().ok().copied().or(Some(found).filter(|found| *found > 0));
    let now = app.clock.now();
    let end = move |db: &mut Db| match written {
        Some(found) => audits::finish(db, begun_at, now, i64::try_from(found).unwrap_or(i64::MAX)),
        None => audits::give_up(db, begun_at, now),
    };
    app.store.write(end).await?;
    audited
}

/// The rules of the books; what they have found is said at once.
async fn rules(app: &App) -> Result<usize, FlowError> {
    let breaches = app.store.read_at_length(books::audit).await?;
    breaches.iter().for_each(|breach| report(app, breach));
    Ok(breaches.len())
}

/// And the audit log.
async fn chain_too(app: &App, found: usize) -> Result<usize, FlowError> {
    let broken = chain(app).await?;
    broken.iter().for_each(|breach| report(app, breach));
    let found = found.saturating_add(usize::from(broken.is_some()));
    tell(app, app.clock.now(), i64::try_from(found).unwrap_or(i64::MAX));
    Ok(found)
}

fn tell(app: &App, done_at: UnixMs, breaches: i64) {
    app.metrics.books_clean.set(i64::from(breaches == 0));
    app.metrics.last_audit_at.set(done_at.secs());
}

fn report(app: &App, breach: &str) {
    app.metrics.books_clean.set(0);
    app.metrics.alerts.with_label_values(&["books_broken"]).inc();
    tracing::error!("the books do not hold: {breach}");
}

/// Looks at what is new in the audit log and moves its seal; says what does not fit.
async fn chain(app: &App) -> Result<Option<String>, FlowError> {
    let looked = app.store.read(|db| {
        let from = audit_chain::seal(db)?;
        audit_chain::look(db, &from, ROWS).map(|looked| (from, looked))
    });
    match looked.await? {
        (_, Looked::Broken(broken)) => Ok(Some(broken.to_string())),
        (from, Looked::Whole { seal, .. }) => {
            if seal != from {
                let now = app.clock.now();
                app.store.write(move |db| audit_chain::set_seal(db, &seal, now)).await?;
            }
            Ok(None)
        }
    }
}
