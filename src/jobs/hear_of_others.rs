//! Wakes pages that wait here for what another instance has settled: one question about all of them.

use crate::{
    app::App,
    flow::{FlowError, confirm},
};
use std::sync::Arc;

/// One round.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    confirm::hear_of_others(&app).await
}
