//! Payments that fit no order, credited by hand: correction, ledger entry, evidence and closed item in one transaction.

use super::{
    Db, StoreError, attempts,
    events::{self, Event, EventKind},
    ledger,
    notices::{self, Notice},
    refunds,
    schema::{corrections, work_items as items},
    settlement,
    work_items::{self, WorkItem},
};
use crate::{
    canary::{self, Canary},
    domain::{ledger::Entry, money::Fen, time::UnixMs},
    gateway::VerifiedPayment,
};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// What a person decided about a payment.
#[derive(Clone, Debug)]
pub struct Decision {
    pub work_item_id: i64,
    pub user_id: i64,
    pub actor: String,
    pub reason: String,
}

/// Why a payment is not credited by hand. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCredited {
    /// The item is closed, or about no payment of which anything is left.
    Closed,
    /// The payment has credited somebody already.
    Credited,
    /// A part of it is reserved for refunds or has gone back.
    Refunding,
    /// What the gateway confirms is another payment, another amount or another currency than the item's.
    Different,
}

/// Whether nothing stands in the way, as the books are now.
///
/// # Errors
/// The database.
pub fn check(db: &mut Db, item: &WorkItem) -> Result<Result<(), NotCredited>, StoreError> {
    let Some(payment) = item.payment().filter(|_| item.closed_at.is_none()) else {
        return Ok(Err(NotCredited::Closed));
    };
    if settlement::is_credited(db, &payment.transaction_id)? {
        return Ok(Err(NotCredited::Credited));
    }
    if payment.reserved != Fen::ZERO || refunds::reserved_of_payment(db, &payment.transaction_id)? != 0 {
        return Ok(Err(NotCredited::Refunding));
    }
    // Nobody knows how much is left, and Alipay's answer would still be that the whole of it was paid.
    if work_items::exists(db, settlement::REFUNDED_ELSEWHERE, payment.out_trade_no.as_str())? {
        return Ok(Err(NotCredited::Refunding));
    }
    Ok(Ok(()))
}

/// Credits a verified payment to a user and closes its item. `notice` is the reply that confirms it. The unique keys
/// of `corrections` are the second assertion.
///
/// # Errors
/// The database; then nothing was written.
pub fn insert(
    db: &mut Db,
    decision: &Decision,
    payment: &VerifiedPayment,
    notice: &Notice,
    now: UnixMs,
) -> Result<Result<(), NotCredited>, StoreError> {
    let Some(item) = work_items::by_id(db, decision.work_item_id)? else {
        return Ok(Err(NotCredited::Closed));
    };
    if let Err(refused) = check(db, &item)? {
        return Ok(Err(refused));
    }
    if !is_confirmed(&item, payment) && !canary::sings(Canary::ByHandUnconfirmed) {
        return Ok(Err(NotCredited::Different));
    }
    if !close(db, decision, now)? {
        return Ok(Err(NotCredited::Closed));
    }
    notices::insert(db, notice)?;
    let id: i64 = diesel::insert_into(corrections::table)
        .values((
            corrections::work_item_id.eq(decision.work_item_id),
            corrections::provider.eq(payment.provider().as_str()),
            corrections::transaction_id.eq(payment.transaction_id().as_str()),
            corrections::user_id.eq(decision.user_id),
            corrections::amount_fen.eq(payment.amount().get()),
            corrections::actor.eq(&decision.actor),
            corrections::reason.eq(&decision.reason),
            corrections::created_at.eq(now.0),
        ))
        .returning(corrections::id)
        .get_result(db)?;
    let entry = Entry::correction(id, decision.user_id, payment.provider(), payment.amount());
    ledger::insert(db, &entry, Some(&notice.id), now)?;
    if let Some(attempt) = attempts::by_number(db, payment.out_trade_no())? {
        let detail = format!("+{} by hand, {}", payment.amount(), payment.transaction_id());
        events::insert(db, attempt.order_id, &Event { at: now, kind: EventKind::Credit, detail })?;
    }
    Ok(Ok(()))
}

/// How much one administrator has credited since then for items of this kind, in fen.
///
/// # Errors
/// The database.
pub fn credited_by_since(db: &mut Db, actor: &str, kind: &str, since: UnixMs) -> Result<i64, StoreError> {
    let of_kind = items::table.filter(items::kind.eq(kind)).select(items::id);
    Ok(corrections::table
        .filter(corrections::actor.eq(actor))
        .filter(corrections::created_at.ge(since.0))
        .filter(corrections::work_item_id.eq_any(of_kind))
        .select(sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"))
        .first(db)?)
}

/// The gateway's word covers the item's payment in every fact that money depends on.
fn is_confirmed(item: &WorkItem, payment: &VerifiedPayment) -> bool {
    let claim = payment.claim();
    item.payment().is_some_and(|ours| {
        ours.provider == claim.provider
            && ours.account == claim.account
            && ours.environment == claim.environment
            && ours.out_trade_no == *payment.out_trade_no()
            && ours.transaction_id == *claim.transaction_id
            && ours.amount == claim.amount
            && claim.currency == "CNY"
    })
}

fn close(db: &mut Db, decision: &Decision, now: UnixMs) -> Result<bool, StoreError> {
    let open = items::table
        .filter(items::id.eq(decision.work_item_id))
        .filter(items::closed_at.is_null())
        .filter(items::refund_fen.eq(0));
    let closed = diesel::update(open)
        .set((
            items::closed_at.eq(now.0),
            items::closed_by.eq(&decision.actor),
            items::note.eq(format!("credited: {}", decision.reason)),
        ))
        .execute(db)?;
    Ok(closed == 1)
}
