//! Closes orders that were not paid in time.

use crate::{
    app::App,
    domain::order::Source,
    flow::{FlowError, close},
    store::orders,
};
use std::sync::Arc;

const ROUND: i64 = 20;

/// One round; gives how many orders were looked at.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    let due = app.store.read(move |db| orders::due_to_close(db, now, ROUND)).await?;
    for order in &due {
        close::close_order(&app, order, Source::Sweep).await?;
    }
    Ok(due.len())
}
