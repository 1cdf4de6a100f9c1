//! Work items: noted on and closed by a named person with a reason, written into the audit log in the same transaction.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        order::Attempt,
        refund::Refund,
        user::{Right, User},
    },
    store::{
        Db, StoreError, attempts,
        audit_log::{self, Act},
        refunds, settlement,
        work_items::{self, Closed},
    },
};

/// A prepay without an answer is worth a look after this time, in ms.
pub const UNKNOWN_PREPAY_MS: i64 = 15 * 60_000;
/// A refund without an end is worth a look after this time, in ms.
pub const UNKNOWN_REFUND_MS: i64 = 24 * 3_600_000;
/// Of each kind, this many are named.
const NAMED: i64 = 20;

/// The acts that work items know, as the audit log names them.
pub const ACTS: [&str; 4] = ["work_item_noted", "work_item_closed", "work_item_reopened", "payment_credited"];

/// Writes a note and leaves the item as it is. `false` when there is none.
///
/// # Errors
/// The books.
pub async fn note(app: &App, actor: &User, id: i64, note: String) -> Result<bool, FlowError> {
    let (name, now) = (actor.username.clone(), app.clock.now());
    let noted = app
        .store
        .write(move |db| {
            let Some(item) = work_items::by_id(db, id)? else { return Ok(false) };
            let stays = if item.closed_at.is_none() { "open" } else { "closed" };
            let act = Act {
                actor: &name,
                action: "work_item_noted",
                target: &id.to_string(),
                detail: &note,
                was: stays,
                became: stays,
            };
            audit_log::insert(db, act, now)?;
            Ok(true)
        })
        .await?;
    Ok(noted)
}

/// Closes an item, unless its payment is on its way back. A closed item is neither refunded nor credited any more: of a
/// payment that is still with nobody, who may move money decides.
///
/// # Errors
/// The books.
pub async fn close(app: &App, actor: &User, id: i64, note: String) -> Result<Closed, FlowError> {
    let (name, now) = (actor.username.clone(), app.clock.now());
    let may_money = actor.role.may(Right::Money);
    let closed = app
        .store
        .write(move |db| {
            if !may_money && holds_money(db, id)? {
                return Ok(Closed::MoneyDecides);
            }
            let closed = work_items::close(db, id, &name, &note, now)?;
            if closed == Closed::Done {
                let act = Act {
                    actor: &name,
                    action: "work_item_closed",
                    target: &id.to_string(),
                    detail: &note,
                    was: "open",
                    became: "closed",
                };
                audit_log::insert(db, act, now)?;
            }
            Ok(closed)
        })
        .await?;
    Ok(closed)
}

/// Whether an open item has a payment of which anything is neither credited nor refunded.
fn holds_money(db: &mut Db, id: i64) -> Result<bool, StoreError> {
    let item = work_items::by_id(db, id)?.filter(|item| item.closed_at.is_none());
    let Some(payment) = item.and_then(|item| item.payment()) else { return Ok(false) };
    let back = refunds::reserved_of_payment(db, &payment.transaction_id)?;
    Ok(back < payment.amount.get() && !settlement::is_credited(db, &payment.transaction_id)?)
}

/// What was sent to a gateway long ago and whose outcome nobody knows. Nothing is to be done by hand: the same
/// numbers are asked about until somebody says.
#[derive(Clone, Debug, Default)]
pub struct Unknown {
    /// The oldest ones; there may be more.
    pub prepays: Vec<Attempt>,
    pub prepay_count: i64,
    /// The oldest ones; there may be more.
    pub refunds: Vec<Refund>,
    pub refund_count: i64,
}

/// # Errors
/// The books.
pub async fn unknown(app: &App) -> Result<Unknown, FlowError> {
    let now = app.clock.now();
    let (since, refunds_since) =
        (now.plus_ms(UNKNOWN_PREPAY_MS.saturating_neg()), now.plus_ms(UNKNOWN_REFUND_MS.saturating_neg()));
    let found = app.store.read(move |db| {
        let (prepays, prepay_count) = attempts::unknown(db, since, NAMED)?;
        let (refunds, refund_count) = refunds::unknown(db, refunds_since, NAMED)?;
        Ok(Unknown { prepays, prepay_count, refunds, refund_count })
    });
    Ok(found.await?)
}
