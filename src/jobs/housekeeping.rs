//! Forgets what has expired, and looks at the log beside a file of books.

use crate::{
    app::App,
    flow::FlowError,
    store::{self, invitations, limits, second_factors, sessions, tickets},
};
use std::sync::Arc;

/// What a log should never come to: the writer copies it into the file every few MiB. It grows while somebody reads one old
/// state of the books, or while the disk refuses the copies.
const LONG_LOG: u64 = 256 << 20;

/// One round.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    watch_log(&app, store::log_bytes(&app.config.database));
    app.page_queries.retain_recent();
    app.store
        .write(move |db| {
            sessions::purge(db, now)?;
            second_factors::purge_waits(db, now)?;
            invitations::purge(db, now)?;
            tickets::purge_oauth_states(db, now)
        })
        .await?;
    app.store.read(limits::forget_calm).await?;
    Ok(0)
}

fn watch_log(app: &App, bytes: u64) {
    if bytes > LONG_LOG {
        app.metrics.alerts.with_label_values(&["long_log"]).inc();
        tracing::error!(bytes, "the log beside the file of the books has grown to {} MiB", bytes >> 20);
    }
}
