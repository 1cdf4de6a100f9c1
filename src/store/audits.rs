//! Which instance on a server audits the books, where one is enough, and what came of it. A file has one process, and
//! no table for this.

use super::{Db, StoreError};
use crate::domain::time::UnixMs;
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};

/// Between two audits.
const EVERY_MS: i64 = 3_600_000;
/// Whoever began and has not finished after so long is believed to have ended.
const LONGEST_MS: i64 = 1_800_000;

/// What the last audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Audited {
    /// Unix milliseconds; 0: there has been none.
    #[diesel(sql_type = BigInt)]
    pub done_at: i64,
    /// Rules that did not hold.
    #[diesel(sql_type = BigInt)]
    pub breaches: i64,
}

/// Whether it is the caller's turn, which is then taken. A moment that lies ahead was written before a clock was set back.
///
/// # Errors
/// The database.
pub fn begin(db: &mut Db, now: UnixMs) -> Result<bool, StoreError> {
    let taken = sql_query(
        "UPDATE audits SET begun_at = $1
            WHERE (done_at <= $2 OR done_at > $1) AND (begun_at <= $3 OR begun_at > $1)",
    )
    .bind::<BigInt, _>(now.0)
    .bind::<BigInt, _>(now.plus_ms(-EVERY_MS).0)
    .bind::<BigInt, _>(now.plus_ms(-LONGEST_MS).0)
    .execute(db)?;
    Ok(taken > 0)
}

/// # Errors
/// The database.
pub fn finish(db: &mut Db, audited: Audited) -> Result<(), StoreError> {
    sql_query("UPDATE audits SET begun_at = 0, done_at = $1, breaches = $2")
        .bind::<BigInt, _>(audited.done_at)
        .bind::<BigInt, _>(audited.breaches)
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn last(db: &mut Db) -> Result<Audited, StoreError> {
    Ok(sql_query("SELECT done_at, breaches FROM audits").get_result(db)?)
}
