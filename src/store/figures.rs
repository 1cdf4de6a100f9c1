//! The figures of the dashboard: sums over short ranges of indexes, so that they cost the same among millions of orders.

use super::{
    Db, StoreError,
    schema::{notices, orders},
};
use crate::domain::{order::Source, time::UnixMs};
use diesel::{QueryableByName, dsl::sql, prelude::*, sql_query, sql_types::BigInt};

/// Orders that were credited, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takings {
    pub orders: i64,
    pub fen: i64,
}

/// What was credited at or after `from` and before `until`.
///
/// # Errors
/// The database.
pub fn takings(db: &mut Db, from: UnixMs, until: UnixMs) -> Result<Takings, StoreError> {
    let (orders, fen): (i64, i64) = orders::table
        .filter(orders::paid_at.ge(from.0))
        .filter(orders::paid_at.lt(until.0))
        .select((
            sql::<BigInt>("CAST(COUNT(*) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"),
        ))
        .first(db)?;
    Ok(Takings { orders, fen })
}

#[derive(QueryableByName)]
struct DayRow {
    #[diesel(sql_type = BigInt)]
    day: i64,
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = BigInt)]
    fen: i64,
}

/// The same for each of `days` days of 24 hours from `from` on, the empty ones too.
///
/// # Errors
/// The database.
pub fn by_day(db: &mut Db, from: UnixMs, days: i64) -> Result<Vec<Takings>, StoreError> {
    const DAY_MS: i64 = 24 * 3_600_000;
    let (from, until) = (from.0, from.plus_ms(days.saturating_mul(DAY_MS)).0);
    let rows: Vec<DayRow> = sql_query(format!(
        "SELECT CAST((paid_at - {from}) / {DAY_MS} AS BIGINT) AS day, CAST(COUNT(*) AS BIGINT) AS orders,
            CAST(SUM(amount_fen) AS BIGINT) AS fen
         FROM orders WHERE paid_at >= {from} AND paid_at < {until} GROUP BY 1 ORDER BY 1"
    ))
    .load(db)?;
    let on = |day: i64| {
        let row = rows.iter().find(|row| row.day == day);
        row.map_or(Takings::default(), |row| Takings { orders: row.orders, fen: row.fen })
    };
    Ok((0..days).map(on).collect())
}

/// Orders made at or after `from`, and how many of them are paid.
///
/// # Errors
/// The database.
pub fn made_and_paid(db: &mut Db, from: UnixMs) -> Result<(i64, i64), StoreError> {
    Ok(orders::table
        .filter(orders::created_at.ge(from.0))
        .select((
            sql::<BigInt>("CAST(COUNT(*) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(status), 0) AS BIGINT)"),
        ))
        .first(db)?)
}

#[derive(QueryableByName)]
struct DelayRow {
    #[diesel(sql_type = BigInt)]
    ms: i64,
    #[diesel(sql_type = BigInt)]
    nth: i64,
    #[diesel(sql_type = BigInt)]
    whole: i64,
}

/// How long after the gateway's time of payment callbacks credited it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    pub p50_ms: i64,
    pub p95_ms: i64,
    /// Below zero only when our clock is behind the gateway's.
    pub least_ms: i64,
}

/// Of what callbacks credited since `from`; `None` when there was nothing, or the gateway did not say when it was paid.
///
/// # Errors
/// The database.
pub fn delays(db: &mut Db, from: UnixMs) -> Result<Option<Delays>, StoreError> {
    let from = from.0;
    let rows: Vec<DelayRow> = sql_query(format!(
        "SELECT ms, nth, whole FROM (SELECT paid_at - told_paid_at AS ms,
                ROW_NUMBER() OVER (ORDER BY paid_at - told_paid_at) AS nth, COUNT(*) OVER () AS whole
            FROM orders WHERE paid_at >= {from} AND told_paid_at IS NOT NULL AND settled_by = 'notify') AS ranked
         WHERE nth = 1 OR nth = (whole + 1) / 2 OR nth = (whole * 95 + 99) / 100 ORDER BY nth"
    ))
    .load(db)?;
    let at = |nth: i64| rows.iter().find(|row| row.nth == nth).map(|row| row.ms);
    let Some(whole) = rows.first().map(|row| row.whole) else { return Ok(None) };
    let (half, most) = (whole.saturating_add(1) / 2, whole.saturating_mul(95).saturating_add(99) / 100);
    Ok(match (at(half), at(most), at(1)) {
        (Some(p50), Some(p95), Some(least_ms)) => {
            Some(Delays { p50_ms: p50.max(0), p95_ms: p95.max(0), least_ms })
        }
        _ => None,
    })
}

/// By what the news of the payments credited since `from` came: each source with its count.
///
/// # Errors
/// The database.
pub fn by_source(db: &mut Db, from: UnixMs) -> Result<Vec<(Source, i64)>, StoreError> {
    let counted: Vec<(Option<String>, i64)> = orders::table
        .filter(orders::paid_at.ge(from.0))
        .group_by(orders::settled_by)
        .select((orders::settled_by, sql::<BigInt>("CAST(COUNT(*) AS BIGINT)")))
        .load(db)?;
    let of = |source: Source| {
        let found = counted.iter().find(|(word, _)| word.as_deref() == Some(source.as_str()));
        (source, found.map_or(0, |(_, count)| *count))
    };
    Ok(Source::ALL.into_iter().map(of).collect())
}

/// Orders that could still be paid and were made before then. The sign keeps the planner off the index of all orders:
/// the open ones are few and have one of their own.
const OPEN_SINCE: &str = "SELECT CAST(COUNT(*) AS BIGINT) AS count FROM orders WHERE status = 0 AND closed_at IS NULL AND +created_at <= ";

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// # Errors
/// The database.
pub fn open_since(db: &mut Db, before: UnixMs) -> Result<i64, StoreError> {
    let counted: Count = sql_query(format!("{OPEN_SINCE}{}", before.0)).get_result(db)?;
    Ok(counted.count)
}

/// When the newest authentic message came in by this protocol and about this: `notify` payments, `refund_notify` refunds.
///
/// # Errors
/// The database.
pub fn last_at_door(db: &mut Db, protocol: &str, source: &str) -> Result<Option<UnixMs>, StoreError> {
    let at: Option<i64> = notices::table
        .filter(notices::provider.eq(protocol))
        .filter(notices::source.eq(source))
        .order(notices::id.desc())
        .select(notices::received_at)
        .first(db)
        .optional()?;
    Ok(at.map(UnixMs))
}
