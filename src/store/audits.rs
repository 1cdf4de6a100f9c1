//! Which instance on a server audits the books, where one is enough, and what came of it. A file has one process, and
//! no table for this.

use super::{Db, StoreError};
use crate::domain::time::UnixMs;
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};

/// Between two audits.
const EVERY_MS: i64 = 3_600_000;
/// Whoever began and has not finished after so long is believed to have ended: each rule has fifteen minutes.
const LONGEST_MS: i64 = 3 * EVERY_MS;
/// After one that came to nothing.
const AGAIN_MS: i64 = 600_000;

/// What the last audit found, and whether somebody is at the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Audited {
    /// Unix milliseconds; 0: nobody is.
    #[diesel(sql_type = BigInt)]
    begun_at: i64,
    /// Unix milliseconds; 0: there has been none.
    #[diesel(sql_type = BigInt)]
    pub done_at: i64,
    /// Rules that did not hold.
    #[diesel(sql_type = BigInt)]
    pub breaches: i64,
}

impl Audited {
    /// Whether another audit is due and nobody is at it. A moment that lies ahead was written before a clock was set back.
    pub const fn is_due(&self, now: UnixMs) -> bool {
        is_over(self.done_at, EVERY_MS, now) && is_over(self.begun_at, LONGEST_MS, now)
    }
}

const fn is_over(at: i64, limit_ms: i64, now: UnixMs) -> bool {
    at > now.0 || now.since(UnixMs(at)) >= limit_ms
}

/// Takes the next audit for the caller, unless it is not due, or another has.
///
/// # Errors
/// The database.
pub fn begin(db: &mut Db, now: UnixMs) -> Result<bool, StoreError> {
    if !last(db)?.is_due(now) {
        return Ok(false);
    }
    sql_query("UPDATE audits SET begun_at = $1").bind::<BigInt, _>(now.0).execute(db)?;
    Ok(true)
}

/// Writes down what the audit found that was begun then; nothing when another has been begun since.
///
/// # Errors
/// The database.
pub fn finish(db: &mut Db, begun_at: UnixMs, done_at: UnixMs, breaches: i64) -> Result<(), StoreError> {
    sql_query("UPDATE audits SET begun_at = 0, done_at = $1, breaches = $2 WHERE begun_at = $3")
        .bind::<BigInt, _>(done_at.0)
        .bind::<BigInt, _>(breaches)
        .bind::<BigInt, _>(begun_at.0)
        .execute(db)?;
    Ok(())
}

/// The audit that was begun then came to nothing: in a while it is due again.
///
/// # Errors
/// The database.
pub fn give_up(db: &mut Db, begun_at: UnixMs, now: UnixMs) -> Result<(), StoreError> {
    sql_query("UPDATE audits SET begun_at = $1 WHERE begun_at = $2")
        .bind::<BigInt, _>(now.plus_ms(AGAIN_MS - LONGEST_MS).0)
        .bind::<BigInt, _>(begun_at.0)
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn last(db: &mut Db) -> Result<Audited, StoreError> {
    Ok(sql_query("SELECT begun_at, done_at, breaches FROM audits").get_result(db)?)
}
