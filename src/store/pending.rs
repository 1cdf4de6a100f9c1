//! Which attempts to ask the gateway about, and when: the budget and the memory of every query.

use super::{Db, StoreError, schema::pending_queries as pending};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::OutTradeNo,
        time::{FARTHEST_MS, SET_BACK_MS, UnixMs},
    },
};
use diesel::prelude::*;

/// Whoever asks has so long, in ms, for two origins and for writing down what was heard; if nothing comes
/// of it, the sweep asks again.
const LEASE_MS: i64 = 15_000;

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

/// The right to ask once, which nobody else has at the same time: holds across threads and instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    until: UnixMs,
}

/// When a question may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its time has come, and nobody is asking.
    Due,
    /// Nobody asked within so many ms.
    Unasked { gap_ms: i64 },
    /// At once, because somebody insists.
    Now,
}

/// Takes the right to ask; `None` when it is not this caller's turn or there is nothing to ask any more.
///
/// # Errors
/// The database.
pub fn claim(db: &mut Db, number: &OutTradeNo, now: UnixMs, turn: Turn) -> Result<Option<Lease>, StoreError> {
    // The clock was set back when something is due hours ahead, or was asked a minute ahead.
    let (due_by, ahead, asked_by) = match turn {
        Turn::Due => (now.0, now.plus_ms(FARTHEST_MS).0, i64::MAX),
        Turn::Unasked { gap_ms } => (i64::MAX, i64::MAX, now.plus_ms(gap_ms.saturating_neg()).0),
        Turn::Now => (i64::MAX, i64::MAX, i64::MAX),
    };
    let free = pending::table
        .filter(pending::out_trade_no.eq(number.as_str()))
        .filter(pending::next_at.le(due_by).or(pending::next_at.gt(ahead)))
        .filter(
            pending::asked_at
                .is_null()
                .or(pending::asked_at.le(asked_by))
                .or(pending::asked_at.gt(now.plus_ms(SET_BACK_MS).0)),
        );
    let until = if canary::sings(Canary::NoLease) { now } else { now.plus_ms(LEASE_MS) };
    let taken = diesel::update(free)
        .set((
            pending::asked_at.eq(now.0),
            pending::asked.eq(pending::asked + 1),
            pending::next_at.eq(until.0),
        ))
        .execute(db)?;
    Ok((taken == 1).then_some(Lease { until }))
}

/// Ends a lease: asks again at `next_at`, or sooner if somebody has wished so since the question was put.
///
/// # Errors
/// The database.
pub fn ask_again(db: &mut Db, number: &OutTradeNo, lease: Lease, next_at: UnixMs) -> Result<(), StoreError> {
    let ours = pending::table
        .filter(pending::out_trade_no.eq(number.as_str()))
        .filter(pending::next_at.eq(lease.until.0).or(pending::next_at.gt(next_at.0)));
    diesel::update(ours).set(pending::next_at.eq(next_at.0)).execute(db)?;
    Ok(())
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

/// Asks at that time at the latest; nothing where nobody asks any more.
///
/// # Errors
/// The database.
pub fn ask_by(db: &mut Db, number: &OutTradeNo, at: UnixMs) -> Result<(), StoreError> {
    let later = pending::table.find(number.as_str()).filter(pending::next_at.gt(at.0));
    diesel::update(later).set(pending::next_at.eq(at.0)).execute(db)?;
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
                // Asked far in the future: the clock was set back.
                .or(pending::asked_at.gt(now.plus_ms(SET_BACK_MS).0)),
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
