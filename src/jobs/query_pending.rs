//! Asks the gateway about attempts whose callback has not come: the credit does not need a browser.

#[cfg(feature = "canaries")]
use crate::canary::{self, Canary};
use crate::{
    app::App,
    flow::{FlowError, close},
    store::{attempts, pending},
};
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// Looked at in one round.
const ROUND: i64 = 20;
/// Asked at once.
const AT_ONCE: usize = 4;

/// One round; gives how many were asked.
///
/// # Errors
/// The books.
pub async fn run_once(app: Arc<App>) -> Result<usize, FlowError> {
    let now = app.clock.now();
    let due = app
        .store
        .read(move |db| {
            let numbers = pending::due(db, now, ROUND)?;
            let attempts: Result<Vec<_>, _> =
                numbers.iter().map(|number| attempts::by_number(db, number)).collect();
            Ok(attempts?.into_iter().flatten().collect::<Vec<_>>())
        })
        .await?;
    // Never sent: there is nothing to ask yet, and no reason to look every second.
    let (sent, waiting): (Vec<_>, Vec<_>) = due.into_iter().partition(|attempt| attempt.asked_at.is_some());
    #[cfg(feature = "canaries")]
    let sent: Vec<_> = sent
        .into_iter()
        .filter(|attempt| !canary::sings(Canary::SweepForgets) || now.since(attempt.created_at) < 120_000)
        .collect();
    for attempt in waiting {
        let later = now.plus_secs(60);
        app.store.write(move |db| pending::ask_at(db, &attempt.out_trade_no, later)).await?;
    }
    let asked = stream::iter(sent)
        .map(|attempt| {
            let app = app.clone();
            async move {
                if app.sweeps.check().is_err() {
                    return Ok(0);
                }
                let asked = close::sweep(&app, &attempt).await?;
                Ok::<usize, FlowError>(usize::from(asked.is_some()))
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    asked.into_iter().sum()
}
