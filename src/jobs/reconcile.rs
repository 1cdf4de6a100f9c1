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
/// The books: the first day that failed; the others are done.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let (mut compared, mut failed) = (0, None);
    for (gateway, biller) in reconcile::billers(&app) {
        for day in due_bills::days(&app, &biller).await? {
            match reconcile::run(&app, gateway, &biller, day, Turn::Due).await {
                Ok(outcome) => compared += usize::from(matches!(outcome, Outcome::Compared(_))),
                // The other days do not wait for one that cannot be kept.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    failed.map_or(Ok(compared), Err)
}
