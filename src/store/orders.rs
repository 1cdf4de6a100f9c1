//! Orders: made once, paid by `settlement`, closed here, listed for their owner and for administrators.

use super::{
    Db, StoreError,
    schema::{attempts, orders},
};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::{OutTradeNo, TransactionId},
        money::Fen,
        order::{Environment, Order, Source, Status},
        time::{FARTHEST_MS, UnixMs},
    },
};
use diesel::{dsl::sql, prelude::*, sql_types::Bool};

/// An order as it is made.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub out_trade_no: OutTradeNo,
    pub user_id: i64,
    pub intent: String,
    pub goods_name: String,
    pub amount: Fen,
    pub environment: Environment,
    pub created_at: UnixMs,
    pub expires_at: UnixMs,
}

#[derive(Queryable)]
pub(super) struct OrderRow {
    id: i64,
    out_trade_no: String,
    user_id: i64,
    _intent: String,
    goods_name: String,
    amount_fen: i64,
    environment: String,
    status: i32,
    created_at: i64,
    expires_at: i64,
    _close_after: i64,
    closed_at: Option<i64>,
    paid_at: Option<i64>,
    transaction_id: Option<String>,
    settled_by: Option<String>,
    late: i32,
    refund_fen: i64,
    _refunds: i32,
    told_paid_at: Option<i64>,
}

impl OrderRow {
    pub(super) fn order(self) -> Result<Order, StoreError> {
        let status = match self.status {
            0 => Status::Created,
            1 => Status::Paid,
            _ => return Err(StoreError::Unreadable("status")),
        };
        Ok(Order {
            id: self.id,
            out_trade_no: OutTradeNo::parse(&self.out_trade_no)
                .ok_or(StoreError::Unreadable("out_trade_no"))?,
            user_id: self.user_id,
            goods_name: self.goods_name,
            amount: Fen::new(self.amount_fen).ok_or(StoreError::Unreadable("amount"))?,
            status,
            environment: Environment::parse(&self.environment)
                .ok_or(StoreError::Unreadable("environment"))?,
            created_at: UnixMs(self.created_at),
            expires_at: UnixMs(self.expires_at),
            closed_at: self.closed_at.map(UnixMs),
            paid_at: self.paid_at.map(UnixMs),
            told_paid_at: self.told_paid_at.map(UnixMs),
            transaction_id: self.transaction_id.as_deref().and_then(TransactionId::parse),
            settled_by: self.settled_by.as_deref().and_then(Source::parse),
            late: self.late == 1,
            reserved: Fen::new(self.refund_fen).ok_or(StoreError::Unreadable("amount"))?,
        })
    }
}

/// # Errors
/// The database; a unique violation when the intent or the number is taken.
pub fn insert(db: &mut Db, new: &NewOrder) -> Result<i64, StoreError> {
    let id = diesel::insert_into(orders::table)
        .values((
            orders::out_trade_no.eq(new.out_trade_no.as_str()),
            orders::user_id.eq(new.user_id),
            orders::intent.eq(&new.intent),
            orders::goods_name.eq(&new.goods_name),
            orders::amount_fen.eq(new.amount.get()),
            orders::environment.eq(new.environment.as_str()),
            orders::status.eq(Status::Created.number()),
            orders::created_at.eq(new.created_at.0),
            orders::expires_at.eq(new.expires_at.0),
            orders::close_after.eq(new.expires_at.0),
            orders::late.eq(0),
        ))
        .returning(orders::id)
        .get_result(db)?;
    Ok(id)
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<Order>, StoreError> {
    // Not `first`: SQLite prepares a statement anew whenever its LIMIT is bound.
    let row: Option<OrderRow> = orders::table.find(id).get_result(db).optional()?;
    row.map(OrderRow::order).transpose()
}

/// # Errors
/// The database.
pub fn by_number(db: &mut Db, number: &OutTradeNo) -> Result<Option<Order>, StoreError> {
    let row: Option<OrderRow> =
        orders::table.filter(orders::out_trade_no.eq(number.as_str())).get_result(db).optional()?;
    row.map(OrderRow::order).transpose()
}

/// The order, if this user owns it: the check is part of the query.
///
/// # Errors
/// The database.
pub fn by_number_of(db: &mut Db, number: &OutTradeNo, user_id: i64) -> Result<Option<Order>, StoreError> {
    if canary::sings(Canary::NoOwnerCheck) {
        return by_number(db, number);
    }
    let row: Option<OrderRow> = orders::table
        .filter(orders::out_trade_no.eq(number.as_str()))
        .filter(orders::user_id.eq(user_id))
        .get_result(db)
        .optional()?;
    row.map(OrderRow::order).transpose()
}

/// # Errors
/// The database.
pub fn by_intent(db: &mut Db, user_id: i64, intent: &str) -> Result<Option<Order>, StoreError> {
    let row: Option<OrderRow> = orders::table
        .filter(orders::user_id.eq(user_id))
        .filter(orders::intent.eq(intent))
        .get_result(db)
        .optional()?;
    row.map(OrderRow::order).transpose()
}

/// Orders of a user that could still be paid.
///
/// # Errors
/// The database.
pub fn count_open(db: &mut Db, user_id: i64, now: UnixMs) -> Result<i64, StoreError> {
    Ok(orders::table
        .filter(orders::user_id.eq(user_id))
        .filter(orders::status.eq(Status::Created.number()))
        .filter(orders::closed_at.is_null())
        .filter(orders::expires_at.gt(now.0))
        .count()
        .get_result(db)?)
}

/// Those of these orders that nobody need wait for any more.
///
/// # Errors
/// The database.
pub fn decided_among(db: &mut Db, numbers: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(orders::table
        .filter(orders::out_trade_no.eq_any(numbers.to_vec()))
        .filter(orders::paid_at.is_not_null().or(orders::closed_at.is_not_null()))
        .select(orders::out_trade_no)
        .load(db)?)
}

/// Newest first; `before` is the id of the last order already shown.
///
/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64, before: Option<i64>, limit: i64) -> Result<Vec<Order>, StoreError> {
    let rows: Vec<OrderRow> = orders::table
        .filter(orders::user_id.eq(user_id))
        .filter(orders::id.lt(before.unwrap_or(i64::MAX)))
        .order(orders::id.desc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(OrderRow::order).collect()
}

/// Whether it is time to close an order, said once for the look and for the claim. An order whose time is over and
/// that is put off for hours is no plan of ours: the clock was set back.
macro_rules! closing_is_due {
    ($now:expr) => {
        // In the words of the index of open orders: a planner does not look into values that are bound.
        sql::<Bool>("orders.status = 0 AND orders.closed_at IS NULL").and(
            orders::close_after
                .le($now.0)
                .or(orders::expires_at.le($now.0).and(orders::close_after.gt($now.plus_ms(FARTHEST_MS).0))),
        )
    };
}

/// Unpaid and not closed, with their closing due.
///
/// # Errors
/// The database.
pub fn due_to_close(db: &mut Db, now: UnixMs, limit: i64) -> Result<Vec<Order>, StoreError> {
    let rows: Vec<OrderRow> =
        orders::table.filter(closing_is_due!(now)).order(orders::close_after.asc()).limit(limit).load(db)?;
    rows.into_iter().map(OrderRow::order).collect()
}

/// Takes the right to try to close an order until then; `false` when another has it or nothing is due.
///
/// # Errors
/// The database.
pub fn claim_close(db: &mut Db, id: i64, now: UnixMs, until: UnixMs) -> Result<bool, StoreError> {
    let due = orders::table.filter(orders::id.eq(id)).filter(closing_is_due!(now));
    Ok(diesel::update(due).set(orders::close_after.eq(until.0)).execute(db)? == 1)
}

/// Puts off the next try to close.
///
/// # Errors
/// The database.
pub fn close_later(db: &mut Db, id: i64, after: UnixMs) -> Result<(), StoreError> {
    diesel::update(orders::table.find(id)).set(orders::close_after.eq(after.0)).execute(db)?;
    Ok(())
}

/// Closes an order that is still unpaid and has no open attempt. `false` when it was paid or closed before, or
/// when an attempt was opened since somebody looked: that one can be paid, and closing comes back for it.
///
/// # Errors
/// The database.
pub fn close(db: &mut Db, id: i64, now: UnixMs) -> Result<bool, StoreError> {
    let of = if canary::sings(Canary::ClosedOverAttempt) { 0 } else { id };
    let payable = attempts::table.filter(attempts::order_id.eq(of)).filter(attempts::closed_at.is_null());
    let open = orders::table
        .filter(orders::id.eq(id))
        .filter(orders::status.eq(Status::Created.number()))
        .filter(orders::closed_at.is_null())
        .filter(diesel::dsl::not(diesel::dsl::exists(payable)));
    Ok(diesel::update(open).set(orders::closed_at.eq(now.0)).execute(db)? == 1)
}
