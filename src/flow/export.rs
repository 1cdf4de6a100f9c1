//! Taking records out of the house: written down before the first row leaves.

use super::FlowError;
use crate::{
    app::App,
    domain::user::User,
    store::{
        audit_log::{self, Act},
        bills::BillOfDay,
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
    let became = match rows {
        Some(rows) => format!("{rows} rows"),
        None => format!("more than {} orders to look through", order_lists::SUMMED_UNASKED),
    };
    write(app, actor, "orders_exported", format.to_owned(), filter.to_owned(), became).await
}

/// The same for the lines of one day's bill.
///
/// # Errors
/// Likewise.
pub async fn record_bill(app: &App, actor: &User, bill: &BillOfDay) -> Result<(), FlowError> {
    let detail = format!("{} {}", bill.biller.account, bill.day);
    let rows = bill.theirs.payments.saturating_add(bill.theirs.refunds);
    write(app, actor, "bill_exported", bill.id.to_string(), detail, format!("{rows} rows")).await
}

async fn write(
    app: &App,
    actor: &User,
    action: &'static str,
    target: String,
    detail: String,
    became: String,
) -> Result<(), FlowError> {
    let (actor, now) = (actor.username.clone(), app.clock.now());
    app.store
        .write(move |db| {
            let act = Act {
                actor: &actor,
                action,
                target: &target,
                detail: &detail,
                became: &became,
                ..Act::default()
            };
            audit_log::insert(db, act, now)
        })
        .await?;
    Ok(())
}
