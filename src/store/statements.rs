//! What a user's records add up to, and what became of payments for them that did not fit.

use super::{
    Db, StoreError,
    schema::{attempts, corrections, orders, refunds, work_items},
};
use crate::domain::{refund::RefundState, time::UnixMs};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// Fen of the orders made in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub paid: i64,
    /// Gone back of these orders, whenever that was.
    pub refunded: i64,
}

/// Of the orders made from `from` to just before `to`.
///
/// # Errors
/// The database.
pub fn sums(db: &mut Db, user_id: i64, from: UnixMs, to: UnixMs) -> Result<Sums, StoreError> {
    let made =
        || orders::user_id.eq(user_id).and(orders::created_at.ge(from.0)).and(orders::created_at.lt(to.0));
    let paid = orders::table
        .filter(made())
        .filter(orders::paid_at.is_not_null())
        .select(sql::<BigInt>("CAST(COALESCE(SUM(orders.amount_fen), 0) AS BIGINT)"))
        .first(db)?;
    let refunded = refunds::table
        .inner_join(orders::table.on(refunds::order_id.eq(orders::id.nullable())))
        .filter(made())
        .filter(refunds::state.eq(RefundState::Success.as_str()))
        .select(sql::<BigInt>("CAST(COALESCE(SUM(refunds.amount_fen), 0) AS BIGINT)"))
        .first(db)?;
    Ok(Sums { paid, refunded })
}

/// A verified payment for an order that credited nobody by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddPayment {
    pub order_id: i64,
    /// Nobody has dealt with it yet.
    pub open: bool,
    /// Fen that were credited by hand.
    pub credited: i64,
    /// Fen that go back or are back.
    pub refunded: i64,
}

/// All of these orders.
///
/// # Errors
/// The database.
pub fn odd_payments(db: &mut Db, order_ids: &[i64]) -> Result<Vec<OddPayment>, StoreError> {
    let rows: Vec<(i64, Option<i64>, Option<i64>, i64)> = attempts::table
        .inner_join(work_items::table.on(work_items::out_trade_no.eq(attempts::out_trade_no)))
        .left_join(corrections::table.on(corrections::work_item_id.eq(work_items::id)))
        .filter(attempts::order_id.eq_any(order_ids))
        .filter(work_items::amount_fen.is_not_null())
        .order(work_items::id.asc())
        .select((
            attempts::order_id,
            work_items::closed_at,
            corrections::amount_fen.nullable(),
            work_items::refund_fen,
        ))
        .load(db)?;
    let odd = |(order_id, closed_at, credited, refunded): (i64, Option<i64>, Option<i64>, i64)| OddPayment {
        order_id,
        open: closed_at.is_none(),
        credited: credited.unwrap_or_default(),
        refunded,
    };
    Ok(rows.into_iter().map(odd).collect())
}
