//! The ledger: legs go in, sums come out.

use super::{Db, StoreError, schema::ledger};
use crate::domain::{
    ledger::{Account, Leg},
    time::UnixMs,
};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// Writes the legs of a top-up; the unique key refuses a second credit of the same order.
///
/// # Errors
/// The database.
pub fn insert_top_up(
    db: &mut Db,
    order_id: i64,
    legs: &[Leg],
    notice_id: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    for leg in legs {
        diesel::insert_into(ledger::table)
            .values((
                ledger::kind.eq("top_up"),
                ledger::order_id.eq(order_id),
                ledger::account.eq(leg.account.name()),
                ledger::amount_fen.eq(leg.fen),
                ledger::notice_id.eq(notice_id),
                ledger::created_at.eq(now.0),
            ))
            .execute(db)?;
    }
    Ok(())
}

/// The sum of an account's legs, in fen.
///
/// # Errors
/// The database.
pub fn balance(db: &mut Db, account: &Account) -> Result<i64, StoreError> {
    Ok(ledger::table
        .filter(ledger::account.eq(account.name()))
        .select(sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"))
        .first(db)?)
}
