//! Which attempts to ask the gateway about, and when: the budget and the memory of every query.

use super::{Db, StoreError, schema::pending_queries as pending};
use crate::domain::{ids::OutTradeNo, time::UnixMs};
use diesel::prelude::*;

/// Nothing is ever put off farther than this, in ms.
const FARTHEST_MS: i64 = 2 * 3_600_000;

/// # Errors
/// The database.
pub fn insert(db: &mut Db, number: &OutTradeNo, next_at: UnixMs) -> Result<(), StoreError> {
    diesel::insert_into(pending::table)
        .values((
            pending::out_trade_no.eq(number.as_str()),
            pending::next_at.eq(next_at.0),
            pending::asked.eq(0),
        ))
        .execute(db)?;
    Ok(())
}

/// Takes the right to ask once, if nobody asked within `gap_ms`: holds across threads and instances.
/// Gives how often it was asked before.
///
/// # Errors
/// The database.
pub fn claim(db: &mut Db, number: &OutTradeNo, now: UnixMs, gap_ms: i64) -> Result<Option<i32>, StoreError> {
    let free = pending::table.filter(pending::out_trade_no.eq(number.as_str())).filter(
        pending::asked_at
            .is_null()
            .or(pending::asked_at.le(now.plus_ms(gap_ms.saturating_neg()).0))
            // Asked in the future: the clock was set back.
            .or(pending::asked_at.gt(now.0)),
    );
    let asked: Option<i32> = diesel::update(free)
        .set((pending::asked_at.eq(now.0), pending::asked.eq(pending::asked + 1)))
        .returning(pending::asked)
        .get_result(db)
        .optional()?;
    Ok(asked.map(|asked| asked.saturating_sub(1)))
}

/// Attempts whose time has come, the longest waiting first.
///
/// # Errors
/// The database.
pub fn due(db: &mut Db, now: UnixMs, limit: i64) -> Result<Vec<OutTradeNo>, StoreError> {
    let numbers: Vec<String> = pending::table
        // Hours ahead is no plan of ours: the clock was set back.
        .filter(pending::next_at.le(now.0).or(pending::next_at.gt(now.plus_ms(FARTHEST_MS).0)))
        .order(pending::next_at.asc())
        .limit(limit)
        .select(pending::out_trade_no)
        .load(db)?;
    Ok(numbers.iter().filter_map(|number| OutTradeNo::parse(number)).collect())
}

/// # Errors
/// The database.
pub fn ask_at(db: &mut Db, number: &OutTradeNo, next_at: UnixMs) -> Result<(), StoreError> {
    diesel::update(pending::table.find(number.as_str())).set(pending::next_at.eq(next_at.0)).execute(db)?;
    Ok(())
}

/// Asks soon, because a message we could not believe named this attempt; at most once per `gap_ms`.
///
/// # Errors
/// The database.
pub fn hurry(db: &mut Db, number: &OutTradeNo, now: UnixMs, gap_ms: i64) -> Result<(), StoreError> {
    let calm = pending::table
        .filter(pending::out_trade_no.eq(number.as_str()))
        .filter(pending::next_at.gt(now.0))
        .filter(
            pending::asked_at
                .is_null()
                .or(pending::asked_at.le(now.plus_ms(gap_ms.saturating_neg()).0))
                // Asked in the future: the clock was set back.
                .or(pending::asked_at.gt(now.0)),
        );
    diesel::update(calm).set(pending::next_at.eq(now.0)).execute(db)?;
    Ok(())
}

/// No more asking.
///
/// # Errors
/// The database.
pub fn finish(db: &mut Db, number: &OutTradeNo) -> Result<(), StoreError> {
    diesel::delete(pending::table.find(number.as_str())).execute(db)?;
    Ok(())
}

/// How many attempts wait to be asked about, and when the first of them is due.
///
/// # Errors
/// The database.
pub fn backlog(db: &mut Db) -> Result<(i64, Option<UnixMs>), StoreError> {
    let (count, first): (i64, Option<i64>) =
        pending::table.select((diesel::dsl::count_star(), diesel::dsl::min(pending::next_at))).first(db)?;
    Ok((count, first.map(UnixMs)))
}
