//! Holds yesterday's bills against the books, from 10:10 in Beijing on, and makes up for days that were missed.

use crate::{
    app::App,
    flow::{
        FlowError, due_bills,
        reconcile::{self, Outcome},
    },
    store::bills::Turn,
};
use std::sync::Arc;

/// One round; gives how many days were compared. A day is leased, so of several instances one does it.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let mut compared = 0;
    for (gateway, biller) in reconcile::billers(&app) {
        for day in due_bills::days(&app, &biller).await? {
            let outcome = reconcile::run(&app, gateway, &biller, day, Turn::Due).await?;
            compared += usize::from(matches!(outcome, Outcome::Compared(_)));
        }
    }
    Ok(compared)
}
