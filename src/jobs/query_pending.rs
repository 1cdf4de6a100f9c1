//! Asks the gateway about attempts whose callback has not come: the credit does not need a browser.

#[cfg(feature = "canaries")]
use crate::canary::{self, Canary};
use crate::{
    app::App,
    domain::{ids::OutTradeNo, order::Attempt},
    flow::{FlowError, close},
    store::{StoreError, attempts, pending},
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
            let attempt = |number: OutTradeNo| (attempts::by_number(db, &number), number);
            Ok(numbers.into_iter().map(attempt).collect::<Vec<_>>())
        })
        .await?;
    let due = readable(&app, due).await?;
    // Never sent: there is nothing to ask yet, and no reason to look every second.
    let (sent, waiting): (Vec<_>, Vec<_>) = due.into_iter().partition(|attempt| attempt.asked_at.is_some());
    #[cfg(feature = "canaries")]
    let sent: Vec<_> = sent
        .into_iter()
        .filter(|attempt| !canary::sings(Canary::SweepForgets) || now.since(attempt.created_at) < 120_000)
        .collect();
    for attempt in waiting {
        ask_in(&app, attempt.out_trade_no, 60).await?;
    }
    let asked = stream::iter(sent)
        .map(|attempt| {
            let app = app.clone();
            async move {
                if !app.may_sweep().await {
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

/// One that cannot be read, such as another version's, must not stop the others; a person has to look at it.
async fn readable(
    app: &App,
    due: Vec<(Result<Option<Attempt>, StoreError>, OutTradeNo)>,
) -> Result<Vec<Attempt>, FlowError> {
    let mut attempts = vec![];
    for (attempt, number) in due {
        match attempt {
            Ok(attempt) => attempts.extend(attempt),
            Err(StoreError::Unreadable(what)) => {
                app.metrics.alerts.with_label_values(&["unreadable"]).inc();
                tracing::error!(out_trade_no = %number, "the {what} of attempt {number} cannot be read: it is not asked about");
                ask_in(app, number, 3_600).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(attempts)
}

async fn ask_in(app: &App, number: OutTradeNo, secs: i64) -> Result<(), FlowError> {
    let at = app.clock.now().plus_secs(secs);
    Ok(app.store.write(move |db| pending::ask_at(db, &number, at)).await?)
}
