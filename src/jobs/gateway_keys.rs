//! Keeps the keys that gateways sign with up to date.

use crate::{
    app::App,
    flow::{FlowError, gateway_keys},
};
use std::sync::Arc;

/// One round; gives how many gateways told their keys.
///
/// # Errors
/// No random bytes.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    gateway_keys::refresh(&app).await
}
