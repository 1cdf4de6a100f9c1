//! What a user's records add up to, and which of them somebody is looking into.

use super::{
    Db, StoreError,
    schema::{attempts, orders, refunds, work_items},
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

/// Those of these orders for which a payment came that credited nobody and that nobody has dealt with yet.
///
/// # Errors
/// The database.
pub fn looked_into(db: &mut Db, order_ids: &[i64]) -> Result<Vec<i64>, StoreError> {
    Ok(attempts::table
        .inner_join(work_items::table.on(work_items::out_trade_no.eq(attempts::out_trade_no)))
        .filter(attempts::order_id.eq_any(order_ids))
        .filter(work_items::closed_at.is_null())
        .filter(work_items::amount_fen.is_not_null())
        .select(attempts::order_id)
        .load(db)?)
}
