//! Taking records out of the house: written down before the first row leaves.

use super::FlowError;
use crate::{
    app::App,
    domain::user::User,
    store::{
        audit_log::{self, Act},
        order_lists,
    },
};

/// Writes who takes what away: the format, the filter as the address has it, and how many rows it is, if somebody has
/// counted.
///
/// # Errors
/// The books; then nothing may leave.
pub async fn record(
    app: &App,
    actor: &User,
    format: &str,
    filter: &str,
    rows: Option<i64>,
) -> Result<(), FlowError> {
    let (name, format, filter) = (actor.username.clone(), format.to_owned(), filter.to_owned());
    let became = match rows {
        Some(rows) => format!("{rows} rows"),
        None => format!("more than {} orders to look through", order_lists::SUMMED_UNASKED),
    };
    let now = app.clock.now();
    app.store
        .write(move |db| {
            let act = Act {
                actor: &name,
                action: "orders_exported",
                target: &format,
                detail: &filter,
                became: &became,
                ..Act::default()
            };
            audit_log::insert(db, act, now)
        })
        .await?;
    Ok(())
}
