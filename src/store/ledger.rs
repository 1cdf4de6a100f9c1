//! The ledger: entries go in, sums come out.

use super::{Db, StoreError, schema::ledger};
use crate::domain::{
    ledger::{Account, Entry},
    time::UnixMs,
};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// Writes the legs of an entry; the unique key refuses the same entry a second time. `notice_id` is the message
/// it rests on: only what moves nothing at the gateway may do without.
///
/// # Errors
/// The database.
pub fn insert(db: &mut Db, entry: &Entry, notice_id: Option<&str>, now: UnixMs) -> Result<(), StoreError> {
    for leg in &entry.legs {
        diesel::insert_into(ledger::table)
            .values((
                ledger::kind.eq(entry.kind.as_str()),
                ledger::source_id.eq(entry.source_id),
                ledger::order_id.eq(entry.order_id),
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
