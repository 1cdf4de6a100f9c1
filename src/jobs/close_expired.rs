//! Closes orders that were not paid in time.

use crate::{
    app::App,
    domain::order::{Order, Source},
    flow::{FlowError, close},
    store::orders,
};
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// Looked at in one round, so that a gateway that hangs holds a round up for half a minute at most.
const ROUND: i64 = 8;
/// Closed at once.
const AT_ONCE: usize = 4;
/// Whoever closes an order has so long, in ms; if the gateway does not confirm, it is tried again then.
const LEASE_MS: i64 = 60_000;

/// One round; gives how many orders were looked at. One that fails does not stop the others.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    let due = app.store.read(move |db| orders::due_to_close(db, now, ROUND)).await?;
    let looked_at = due.len();
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |order| {
            let app = app.clone();
            async move {
                if let Err(error) = close_in_turn(&app, &order).await {
                    let number = &order.out_trade_no;
                    tracing::error!(out_trade_no = %number, "order {number} could not be closed: {error}");
                }
            }
        })
        .await;
    Ok(looked_at)
}

/// Nothing when another instance is at it.
async fn close_in_turn(app: &App, order: &Order) -> Result<(), FlowError> {
    let (id, now) = (order.id, app.clock.now());
    let until = now.plus_ms(LEASE_MS);
    if app.store.write(move |db| orders::claim_close(db, id, now, until)).await? {
        close::close_order(app, order, Source::Sweep).await?;
    }
    Ok(())
}
