//! Refunds: made together with what they reserve, read, and claimed by whoever asks about them.
//! UPDATE first: the conditional updates are the locks that keep parallel refunds within the payment.

use super::{
    Db, StoreError, ledger,
    schema::{orders, refunds, work_items as items},
};
use crate::domain::{
    ids::{OutRefundNo, OutTradeNo, TransactionId},
    ledger::Entry,
    money::Fen,
    order::{Environment, Provider},
    refund::{MOST_PER_PAYMENT, Refund, RefundState},
    time::{FARTHEST_MS, SET_BACK_MS, UnixMs},
};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// A refund as it is made.
#[derive(Clone, Debug)]
pub struct NewRefund {
    pub out_refund_no: OutRefundNo,
    pub intent: String,
    pub order_id: Option<i64>,
    pub work_item_id: Option<i64>,
    pub user_id: Option<i64>,
    pub provider: Provider,
    pub account: String,
    pub environment: Environment,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub total: Fen,
    pub amount: Fen,
    pub reason: String,
    pub notify_url: String,
    pub requested_by: String,
    pub requested_at: UnixMs,
    /// `Waiting` or `Asking`.
    pub state: RefundState,
    pub next_at: Option<UnixMs>,
}

#[derive(Queryable)]
struct RefundRow {
    id: i64,
    out_refund_no: String,
    _intent: String,
    order_id: Option<i64>,
    work_item_id: Option<i64>,
    user_id: Option<i64>,
    provider: String,
    account: String,
    environment: String,
    out_trade_no: String,
    transaction_id: String,
    total_fen: i64,
    amount_fen: i64,
    reason: String,
    notify_url: String,
    requested_by: String,
    requested_at: i64,
    decided_by: Option<String>,
    state: String,
    refund_id: Option<String>,
    last_answer: Option<String>,
    asked: i32,
    asked_at: Option<i64>,
    refused_at: Option<i64>,
    queried_at: Option<i64>,
    next_at: Option<i64>,
    finished_at: Option<i64>,
}

impl RefundRow {
    fn refund(self) -> Result<Refund, StoreError> {
        let amount = |fen| Fen::new(fen).ok_or(StoreError::Unreadable("amount"));
        Ok(Refund {
            id: self.id,
            out_refund_no: OutRefundNo::parse(&self.out_refund_no)
                .ok_or(StoreError::Unreadable("out_refund_no"))?,
            order_id: self.order_id,
            work_item_id: self.work_item_id,
            user_id: self.user_id,
            provider: Provider::parse(&self.provider).ok_or(StoreError::Unreadable("provider"))?,
            account: self.account,
            environment: Environment::parse(&self.environment)
                .ok_or(StoreError::Unreadable("environment"))?,
            out_trade_no: OutTradeNo::parse(&self.out_trade_no)
                .ok_or(StoreError::Unreadable("out_trade_no"))?,
            transaction_id: TransactionId::parse(&self.transaction_id)
                .ok_or(StoreError::Unreadable("transaction_id"))?,
            total: amount(self.total_fen)?,
            amount: amount(self.amount_fen)?,
            reason: self.reason,
            notify_url: self.notify_url,
            requested_by: self.requested_by,
            requested_at: UnixMs(self.requested_at),
            decided_by: self.decided_by,
            state: RefundState::parse(&self.state).ok_or(StoreError::Unreadable("refund state"))?,
            refund_id: self.refund_id,
            last_answer: self.last_answer,
            asked: self.asked,
            asked_at: self.asked_at.map(UnixMs),
            refused_at: self.refused_at.map(UnixMs),
            queried_at: self.queried_at.map(UnixMs),
            next_at: self.next_at.map(UnixMs),
            finished_at: self.finished_at.map(UnixMs),
        })
    }
}

/// Reserves a part of an order's payment. `false` when it is not paid, too little is left, or there were 50 refunds.
///
/// # Errors
/// The database.
pub fn reserve_of_order(db: &mut Db, order_id: i64, amount: Fen) -> Result<bool, StoreError> {
    let room = orders::table
        .filter(orders::id.eq(order_id))
        .filter(orders::paid_at.is_not_null())
        .filter((orders::refund_fen + amount.get()).le(orders::amount_fen))
        .filter(orders::refunds.lt(MOST_PER_PAYMENT));
    let reserved = diesel::update(room)
        .set((
            orders::refund_fen.eq(orders::refund_fen + amount.get()),
            orders::refunds.eq(orders::refunds + 1),
        ))
        .execute(db)?;
    Ok(reserved == 1)
}

/// As `reserve_of_order`, of a payment that credited nobody.
///
/// # Errors
/// The database.
pub fn reserve_of_work_item(db: &mut Db, id: i64, amount: Fen) -> Result<bool, StoreError> {
    let room = items::table
        .filter(items::id.eq(id))
        .filter(items::closed_at.is_null())
        .filter((items::refund_fen + amount.get()).nullable().le(items::amount_fen))
        .filter(items::refunds.lt(MOST_PER_PAYMENT));
    let reserved = diesel::update(room)
        .set((items::refund_fen.eq(items::refund_fen + amount.get()), items::refunds.eq(items::refunds + 1)))
        .execute(db)?;
    Ok(reserved == 1)
}

/// Writes a refund whose amount was reserved in the same transaction, and holds it in the user's balance.
///
/// # Errors
/// The database; a unique violation when the intent is taken.
pub fn insert(db: &mut Db, new: &NewRefund) -> Result<i64, StoreError> {
    let id = diesel::insert_into(refunds::table)
        .values((
            (
                refunds::out_refund_no.eq(new.out_refund_no.as_str()),
                refunds::intent.eq(&new.intent),
                refunds::order_id.eq(new.order_id),
                refunds::work_item_id.eq(new.work_item_id),
                refunds::user_id.eq(new.user_id),
                refunds::provider.eq(new.provider.as_str()),
                refunds::account.eq(&new.account),
                refunds::environment.eq(new.environment.as_str()),
                refunds::out_trade_no.eq(new.out_trade_no.as_str()),
                refunds::transaction_id.eq(new.transaction_id.as_str()),
            ),
            refunds::total_fen.eq(new.total.get()),
            refunds::amount_fen.eq(new.amount.get()),
            refunds::reason.eq(&new.reason),
            refunds::notify_url.eq(&new.notify_url),
            refunds::requested_by.eq(&new.requested_by),
            refunds::requested_at.eq(new.requested_at.0),
            refunds::state.eq(new.state.as_str()),
            refunds::asked.eq(0),
            refunds::next_at.eq(new.next_at.map(|at| at.0)),
        ))
        .returning(refunds::id)
        .get_result(db)?;
    if let Some(user_id) = new.user_id {
        let entry = Entry::refund_hold(id, new.order_id, user_id, new.amount);
        ledger::insert(db, &entry, None, new.requested_at)?;
    }
    Ok(id)
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<Refund>, StoreError> {
    let row: Option<RefundRow> = refunds::table.find(id).first(db).optional()?;
    row.map(RefundRow::refund).transpose()
}

/// # Errors
/// The database.
pub fn by_number(db: &mut Db, number: &OutRefundNo) -> Result<Option<Refund>, StoreError> {
    let row: Option<RefundRow> =
        refunds::table.filter(refunds::out_refund_no.eq(number.as_str())).first(db).optional()?;
    row.map(RefundRow::refund).transpose()
}

/// # Errors
/// The database.
pub fn by_intent(db: &mut Db, requested_by: &str, intent: &str) -> Result<Option<Refund>, StoreError> {
    let row: Option<RefundRow> = refunds::table
        .filter(refunds::requested_by.eq(requested_by))
        .filter(refunds::intent.eq(intent))
        .first(db)
        .optional()?;
    row.map(RefundRow::refund).transpose()
}

/// Oldest first.
///
/// # Errors
/// The database.
pub fn of_order(db: &mut Db, order_id: i64) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> =
        refunds::table.filter(refunds::order_id.eq(order_id)).order(refunds::id.asc()).load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// Oldest first.
///
/// # Errors
/// The database.
pub fn of_work_item(db: &mut Db, id: i64) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> =
        refunds::table.filter(refunds::work_item_id.eq(id)).order(refunds::id.asc()).load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// Those not ended, oldest first: waiting for a second administrator, for the gateway, or for the payer's bank.
///
/// # Errors
/// The database.
pub fn open(db: &mut Db, limit: i64) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> = refunds::table
        .filter(refunds::finished_at.is_null())
        .order(refunds::id.asc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// How many have not ended.
///
/// # Errors
/// The database.
pub fn count_open(db: &mut Db) -> Result<i64, StoreError> {
    Ok(refunds::table.filter(refunds::finished_at.is_null()).count().get_result(db)?)
}

/// Those that have ended, newest first; `before` is the id of the last one shown.
///
/// # Errors
/// The database.
pub fn ended(db: &mut Db, before: Option<i64>, limit: i64) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> = refunds::table
        .filter(refunds::finished_at.is_not_null())
        .filter(refunds::id.lt(before.unwrap_or(i64::MAX)))
        .order(refunds::id.desc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// Of several orders, oldest first.
///
/// # Errors
/// The database.
pub fn of_orders(db: &mut Db, order_ids: &[i64]) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> =
        refunds::table.filter(refunds::order_id.eq_any(order_ids)).order(refunds::id.asc()).load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// What unfinished refunds hold of a user's balance, in fen.
///
/// # Errors
/// The database.
pub fn held(db: &mut Db, user_id: i64) -> Result<i64, StoreError> {
    Ok(refunds::table
        .filter(refunds::user_id.eq(user_id))
        .filter(refunds::finished_at.is_null())
        .select(sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"))
        .first(db)?)
}

/// The states in which a refund has given back what it reserved.
pub(super) fn released() -> impl Iterator<Item = &'static str> {
    RefundState::ALL.iter().filter(|state| !state.is_reserved()).map(|state| state.as_str())
}

/// What of this payment is reserved for refunds or has gone back, in fen, whatever work items they hang on.
///
/// # Errors
/// The database.
pub fn reserved_of_payment(db: &mut Db, payment: &TransactionId) -> Result<i64, StoreError> {
    Ok(refunds::table
        .filter(refunds::transaction_id.eq(payment.as_str()))
        .filter(refunds::state.ne_all(released()))
        .select(sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"))
        .first(db)?)
}

/// How many refunds of this payment were sent to the gateway or still may be.
///
/// # Errors
/// The database.
pub fn count_of_payment(db: &mut Db, payment: &TransactionId) -> Result<i64, StoreError> {
    Ok(refunds::table
        .filter(refunds::transaction_id.eq(payment.as_str()))
        .filter(refunds::asked.gt(0).or(refunds::state.ne_all(released())))
        .count()
        .get_result(db)?)
}

/// Whether the gateway may know a refund of ours of a payment with this number. One it refused is none.
///
/// # Errors
/// The database.
pub fn any_sent(db: &mut Db, out_trade_no: &OutTradeNo) -> Result<bool, StoreError> {
    let sent = refunds::table
        .filter(refunds::out_trade_no.eq(out_trade_no.as_str()))
        .filter(refunds::asked.gt(0))
        .filter(refunds::state.ne(RefundState::Failed.as_str()));
    Ok(diesel::select(diesel::dsl::exists(sent)).get_result(db)?)
}

/// Sent to the gateway and not ended, asked for before `since`: nobody knows yet where the money is. Oldest first,
/// with how many there are.
///
/// # Errors
/// The database.
pub fn unknown(db: &mut Db, since: UnixMs, limit: i64) -> Result<(Vec<Refund>, i64), StoreError> {
    let unknown = || {
        refunds::table
            .filter(refunds::finished_at.is_null())
            .filter(refunds::asked.gt(0))
            .filter(refunds::requested_at.le(since.0))
    };
    let rows: Vec<RefundRow> = unknown().order(refunds::id.asc()).limit(limit).load(db)?;
    let count = unknown().count().get_result(db)?;
    Ok((rows.into_iter().map(RefundRow::refund).collect::<Result<_, _>>()?, count))
}

/// When the last request about this payment went out, leaving out one refund.
///
/// # Errors
/// The database.
pub fn last_request(
    db: &mut Db,
    payment: &TransactionId,
    besides: i64,
) -> Result<Option<UnixMs>, StoreError> {
    let asked: Option<i64> = refunds::table
        .filter(refunds::transaction_id.eq(payment.as_str()))
        .filter(refunds::id.ne(besides))
        .select(diesel::dsl::max(refunds::asked_at))
        .first(db)?;
    Ok(asked.map(UnixMs))
}

/// Unfinished refunds whose time has come, the longest waiting first. What is due hours ahead is no plan of ours:
/// the clock was set back.
///
/// # Errors
/// The database.
pub fn due(db: &mut Db, now: UnixMs, limit: i64) -> Result<Vec<Refund>, StoreError> {
    let rows: Vec<RefundRow> = refunds::table
        // For the planner: only those not ended have such a moment, and an index.
        .filter(refunds::next_at.is_not_null())
        .filter(refunds::next_at.le(now.0).or(refunds::next_at.gt(now.plus_ms(FARTHEST_MS).0)))
        .order(refunds::next_at.asc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(RefundRow::refund).collect()
}

/// Takes the right to send the request, if nobody sent it within `gap_ms`: holds across threads and instances.
///
/// # Errors
/// The database.
pub fn claim_request(db: &mut Db, id: i64, now: UnixMs, gap_ms: i64) -> Result<bool, StoreError> {
    let free = refunds::table
        .filter(refunds::id.eq(id))
        .filter(refunds::state.eq(RefundState::Asking.as_str()))
        .filter(
            refunds::asked_at
                .is_null()
                .or(refunds::asked_at.le(now.plus_ms(gap_ms.saturating_neg()).0))
                // Asked far in the future: the clock was set back.
                .or(refunds::asked_at.gt(now.plus_ms(SET_BACK_MS).0)),
        );
    let claimed = diesel::update(free)
        .set((
            refunds::asked_at.eq(now.0),
            refunds::asked.eq(refunds::asked + 1),
            refunds::refused_at.eq(None::<i64>),
        ))
        .execute(db)?;
    Ok(claimed == 1)
}

/// Takes the right to query, likewise. One that came to nothing may be asked about too: the gateway may know better.
///
/// # Errors
/// The database.
pub fn claim_query(db: &mut Db, id: i64, now: UnixMs, gap_ms: i64) -> Result<bool, StoreError> {
    let free = refunds::table
        .filter(refunds::id.eq(id))
        .filter(refunds::asked.gt(0))
        .filter(refunds::state.ne(RefundState::Success.as_str()))
        .filter(
            refunds::queried_at
                .is_null()
                .or(refunds::queried_at.le(now.plus_ms(gap_ms.saturating_neg()).0))
                .or(refunds::queried_at.gt(now.plus_ms(SET_BACK_MS).0)),
        );
    Ok(diesel::update(free).set(refunds::queried_at.eq(now.0)).execute(db)? == 1)
}

/// Looks at an unfinished refund as soon as `gap_ms` after its last query.
///
/// # Errors
/// The database.
pub fn hurry(db: &mut Db, refund: &Refund, now: UnixMs, gap_ms: i64) -> Result<(), StoreError> {
    // A query far in the future is a clock that was set back.
    let last = refund.queried_at.filter(|last| last.since(now) <= SET_BACK_MS);
    let soon = last.map_or(now, |last| last.plus_ms(gap_ms).max(now));
    let unhurried = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::asked.gt(0))
        .filter(refunds::finished_at.is_null())
        .filter(refunds::next_at.gt(soon.0));
    diesel::update(unhurried).set(refunds::next_at.eq(soon.0)).execute(db)?;
    Ok(())
}

/// What the gateway said to a request or a query that ended nothing.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub word: &'a str,
    pub next_at: UnixMs,
    /// Kept when the request was refused.
    pub refused_at: Option<UnixMs>,
}

/// # Errors
/// The database.
pub fn answered(db: &mut Db, id: i64, answer: Answer<'_>) -> Result<(), StoreError> {
    let unfinished = refunds::table.filter(refunds::id.eq(id)).filter(refunds::finished_at.is_null());
    diesel::update(unfinished)
        .set((
            refunds::last_answer.eq(answer.word),
            refunds::next_at.eq(answer.next_at.0),
            refunds::refused_at.eq(answer.refused_at.map(|at| at.0)),
        ))
        .execute(db)?;
    Ok(())
}
