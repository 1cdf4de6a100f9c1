//! Forgets what has expired.

use crate::{
    app::App,
    flow::FlowError,
    store::{invitations, second_factors, sessions, tickets},
};
use std::sync::Arc;

/// One round.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    app.page_queries.retain_recent();
    app.store
        .write(move |db| {
            sessions::purge(db, now)?;
            second_factors::purge_waits(db, now)?;
            invitations::purge(db, now)?;
            tickets::purge_oauth_states(db, now)
        })
        .await?;
    Ok(0)
}
