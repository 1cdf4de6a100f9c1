//! Lets the books prove themselves: at start, then hourly.

use crate::{app::App, flow::FlowError, store::books};
use std::sync::Arc;

/// One round; gives how many rules of the books are broken.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let breaches = app.store.read(books::breaches).await?;
    app.metrics.books_clean.set(i64::from(breaches.is_empty()));
    for breach in &breaches {
        app.metrics.alerts.with_label_values(&["books_broken"]).inc();
        tracing::error!("the books do not hold: {breach}");
    }
    Ok(breaches.len())
}
