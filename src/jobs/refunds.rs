//! Follows every unfinished refund until the gateway has said how it ended.

use crate::{
    app::App,
    flow::{FlowError, refund},
    store::refunds,
};
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// Looked at in one round, so that a gateway that hangs holds a round up for half a minute at most.
const ROUND: i64 = 8;
/// Looked at at once.
const AT_ONCE: usize = 4;

/// One round; gives how many were looked at. One that fails does not stop the others.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    let due = app.store.read(move |db| refunds::due(db, now, ROUND)).await?;
    let looked_at = stream::iter(due)
        .map(|refund| {
            let app = app.clone();
            async move {
                if !app.may_sweep().await {
                    return 0;
                }
                if let Err(error) = refund::look(&app, &refund).await {
                    let number = &refund.out_refund_no;
                    tracing::error!(out_refund_no = %number, "refund {number} could not be followed: {error}");
                }
                1
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<usize>>()
        .await;
    Ok(looked_at.into_iter().sum())
}
