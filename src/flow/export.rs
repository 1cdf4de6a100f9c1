//! Taking records out of the house: written down before the first row leaves.

use super::FlowError;
use crate::{
    app::App,
    domain::user::User,
    store::{
        audit_log::{self, Act},
        bills::BillOfDay,
    },
};

/// Writes who takes what away: the format, the filter as the address has it, and how many rows it is.
///
/// # Errors
/// The books; then nothing may leave.
pub async fn record(app: &App, actor: &User, format: &str, filter: &str, rows: i64) -> Result<(), FlowError> {
    write(app, actor, "orders_exported", format.to_owned(), filter.to_owned(), rows).await
}

/// The same for the lines of one day's bill.
///
/// # Errors
/// Likewise.
pub async fn record_bill(app: &App, actor: &User, bill: &BillOfDay) -> Result<(), FlowError> {
    let detail = format!("{} {}", bill.biller.account, bill.day);
    let rows = bill.theirs.payments.saturating_add(bill.theirs.refunds);
    write(app, actor, "bill_exported", bill.id.to_string(), detail, rows).await
}

async fn write(
    app: &App,
    actor: &User,
    action: &'static str,
    target: String,
    detail: String,
    rows: i64,
) -> Result<(), FlowError> {
    let (actor, became, now) = (actor.username.clone(), format!("{rows} rows"), app.clock.now());
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
