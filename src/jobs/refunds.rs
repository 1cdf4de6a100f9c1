//! Follows every unfinished refund until the gateway has said how it ended.

use crate::{
    app::App,
    flow::{FlowError, refund},
    store::refunds,
};
use std::sync::Arc;

/// Looked at in one round.
const ROUND: i64 = 8;

/// One round; gives how many were looked at. One that fails does not stop the others.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    let due = app.store.read(move |db| refunds::due(db, now, ROUND)).await?;
    let mut looked_at: usize = 0;
    for refund in due {
        if app.sweeps.check().is_err() {
            break;
        }
        if let Err(error) = refund::look(&app, &refund).await {
            let number = &refund.out_refund_no;
            tracing::error!(out_refund_no = %number, "refund {number} could not be followed: {error}");
        }
        looked_at = looked_at.saturating_add(1);
    }
    Ok(looked_at)
}
