//! Lets the books prove themselves: at start, then hourly. The audit log is looked at from where it was last found whole.

use crate::{
    app::App,
    flow::FlowError,
    store::{
        audit_chain::{self, Looked},
        books,
    },
};
use std::sync::Arc;

/// Rows of the audit log in one round: the first after a restart costs no more than any other.
const ROWS: i64 = 20_000;

/// One round; gives how many rules of the books are broken.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let breaches = app.store.read_at_length(books::audit).await?;
    breaches.iter().for_each(|breach| report(&app, breach));
    // What the rules have found is said by now, whatever becomes of the rest.
    let broken = chain(&app).await?;
    broken.iter().for_each(|breach| report(&app, breach));
    let found = breaches.len().saturating_add(usize::from(broken.is_some()));
    app.metrics.books_clean.set(i64::from(found == 0));
    app.metrics.last_audit_at.set(app.clock.now().secs());
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
