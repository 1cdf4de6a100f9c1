//! Lets the books prove themselves: hourly, a file at start as well. Of several instances one does it for all. The audit log is
//! looked at from where it was last found whole.

use crate::{
    app::App,
    domain::time::UnixMs,
    flow::FlowError,
    store::{
        audit_chain::{self, Looked},
        audits::{self, Audited},
        books,
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
        return audit(&app).await;
    }
    let now = app.clock.now();
    if app.store.write(move |db| audits::begin(db, now)).await? {
        let found = audit(&app).await?;
        let breaches = i64::try_from(found).unwrap_or(i64::MAX);
        let audited = Audited { done_at: app.clock.now().0, breaches };
        app.store.write(move |db| audits::finish(db, audited)).await?;
        return Ok(found);
    }
    let Audited { done_at, breaches } = app.store.read(audits::last).await?;
    if done_at > 0 {
        tell(&app, UnixMs(done_at), breaches);
    }
    Ok(usize::try_from(breaches).unwrap_or(usize::MAX))
}

fn tell(app: &App, done_at: UnixMs, breaches: i64) {
    app.metrics.books_clean.set(i64::from(breaches == 0));
    app.metrics.last_audit_at.set(done_at.secs());
}

async fn audit(app: &App) -> Result<usize, FlowError> {
    let breaches = app.store.read_at_length(books::audit).await?;
    breaches.iter().for_each(|breach| report(app, breach));
    // What the rules have found is said by now, whatever becomes of the rest.
    let broken = chain(app).await?;
    broken.iter().for_each(|breach| report(app, breach));
    let found = breaches.len().saturating_add(usize::from(broken.is_some()));
    tell(app, app.clock.now(), i64::try_from(found).unwrap_or(i64::MAX));
    Ok(found)
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
