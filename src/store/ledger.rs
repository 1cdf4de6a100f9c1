//! The ledger: entries go in, sums come out.

use super::{
    Db, StoreError,
    schema::{ledger, orders},
};
use crate::domain::{
    ledger::{Account, Entry, Kind},
    time::{CLOCK_OFF_MS, UnixMs},
};
use diesel::{
    dsl::{max, sql},
    prelude::*,
    sql_types::{BigInt, Bool},
};
use std::{collections::HashMap, ops::Range};

/// The words of the index of everything but top-ups, without which it is not used.
const RARE: &str = "ledger.kind <> 'top_up'";
/// A sum is made unasked while so many legs at most have to be read for it.
const SUMMED_UNASKED: i64 = 20_000;
/// Otherwise so many at a time, so that no single query is long.
const PART: i64 = 1_000_000;
/// Legs stand in the order of their writing. The clocks of two instances are off by `CLOCK_OFF_MS` each at most; this is
/// more, and still few legs.
const DISORDER_MS: i64 = 6 * CLOCK_OFF_MS;

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

/// The same; `None` when it is a sum of more than `SUMMED_UNASKED` legs.
///
/// # Errors
/// The database.
pub fn balance_of_few(db: &mut Db, account: &Account) -> Result<Option<i64>, StoreError> {
    let beyond: Option<i64> = ledger::table
        .filter(ledger::account.eq(account.name()))
        .order(ledger::id.desc())
        .select(ledger::id)
        .offset(SUMMED_UNASKED)
        .limit(1)
        .get_result(db)
        .optional()?;
    if beyond.is_some() { Ok(None) } else { balance(db, account).map(Some) }
}

/// The sum of an account's legs after one, as far as `PART` legs of any account go, and the last of these; `None` after
/// the last leg of all.
///
/// # Errors
/// The database.
pub fn balance_part(db: &mut Db, account: &Account, after: i64) -> Result<Option<(i64, i64)>, StoreError> {
    let newest: Option<i64> = ledger::table.select(diesel::dsl::max(ledger::id)).get_result(db)?;
    if newest.is_none_or(|newest| newest <= after) {
        return Ok(None);
    }
    let until = after.saturating_add(PART);
    let sum = ledger::table
        .filter(ledger::account.eq(account.name()))
        .filter(ledger::id.gt(after))
        .filter(ledger::id.le(until))
        .select(sql::<BigInt>("CAST(COALESCE(SUM(amount_fen), 0) AS BIGINT)"))
        .get_result(db)?;
    Ok(Some((sum, until)))
}

/// The sums of several accounts at once. An account without entries is not among them.
///
/// # Errors
/// The database.
pub fn balances(db: &mut Db, accounts: &[Account]) -> Result<HashMap<String, i64>, StoreError> {
    let names: Vec<String> = accounts.iter().map(Account::name).collect();
    let sums: Vec<(String, i64)> = ledger::table
        .filter(ledger::account.eq_any(names))
        .group_by(ledger::account)
        .select((ledger::account, sql::<BigInt>("CAST(SUM(amount_fen) AS BIGINT)")))
        .load(db)?;
    Ok(sums.into_iter().collect())
}

/// One leg as it is kept.
#[derive(Clone, Debug, Queryable)]
pub struct Posted {
    pub id: i64,
    pub kind: String,
    /// The order, refund, correction or adjustment it is about.
    pub source_id: i64,
    /// The number of its order, if it is about one.
    pub out_trade_no: Option<String>,
    pub account: String,
    pub fen: i64,
    pub created_at: i64,
}

/// Which legs somebody looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The whole name of an account.
    pub account: Option<String>,
    pub kind: Option<Kind>,
    /// Written at or after, by clocks that are right to within `CLOCK_OFF_MS`: so with `until`.
    pub from: Option<UnixMs>,
    /// Written before.
    pub until: Option<UnixMs>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_any(&self) -> bool {
        *self != Filter::default()
    }
}

/// The sums of legs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub legs: i64,
    /// Of those above zero.
    pub in_fen: i64,
    /// Of those below, as it stands there: below zero.
    pub out_fen: i64,
}

/// Sums of exactly the legs that `list` gives page by page; `None` when they are more than `SUMMED_UNASKED`.
///
/// # Errors
/// The database.
pub fn sums_of_few(db: &mut Db, filter: &Filter) -> Result<Option<Sums>, StoreError> {
    let ids = ids_of(db, filter)?;
    let beyond: Option<i64> = narrowed(filter, &ids)
        .order(ledger::id.desc())
        .select(ledger::id)
        .offset(SUMMED_UNASKED)
        .limit(1)
        .get_result(db)
        .optional()?;
    if beyond.is_some() {
        return Ok(None);
    }
    let sums = (
        sql::<BigInt>("CAST(COUNT(*) AS BIGINT)"),
        sql::<BigInt>(
            "CAST(COALESCE(SUM(CASE WHEN amount_fen > 0 THEN amount_fen ELSE 0 END), 0) AS BIGINT)",
        ),
        sql::<BigInt>(
            "CAST(COALESCE(SUM(CASE WHEN amount_fen < 0 THEN amount_fen ELSE 0 END), 0) AS BIGINT)",
        ),
    );
    let (legs, in_fen, out_fen): (i64, i64, i64) = narrowed(filter, &ids).select(sums).first(db)?;
    Ok(Some(Sums { legs, in_fen, out_fen }))
}

/// Between which ids these legs stand: there is no index of moments, which every settlement would have to write into.
fn ids_of(db: &mut Db, filter: &Filter) -> Result<Range<i64>, StoreError> {
    let start = match filter.from {
        Some(from) => first_since(db, from.plus_ms(-DISORDER_MS))?,
        None => 0,
    };
    let end = match filter.until {
        Some(until) => first_since(db, until.plus_ms(DISORDER_MS))?,
        None => i64::MAX,
    };
    Ok(start..end)
}

/// By halves: the id from which on legs were written at that moment or later.
fn first_since(db: &mut Db, at: UnixMs) -> Result<i64, StoreError> {
    let newest: Option<i64> = ledger::table.select(max(ledger::id)).get_result(db)?;
    let (mut low, mut high) = (0, newest.unwrap_or_default().saturating_add(1));
    while low < high {
        let middle = low.midpoint(high);
        let leg: Option<(i64, i64)> = ledger::table
            .filter(ledger::id.ge(middle))
            .order(ledger::id.asc())
            .select((ledger::id, ledger::created_at))
            .limit(1)
            .get_result(db)
            .optional()?;
        match leg {
            Some((id, written)) if written < at.0 => low = id.saturating_add(1),
            _ => high = middle,
        }
    }
    Ok(low)
}

fn narrowed(filter: &Filter, ids: &Range<i64>) -> ledger::BoxedQuery<'static, <Db as Connection>::Backend> {
    let mut query =
        ledger::table.filter(ledger::id.ge(ids.start)).filter(ledger::id.lt(ids.end)).into_boxed();
    if let Some(account) = &filter.account {
        query = query.filter(ledger::account.eq(account.clone()));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(ledger::kind.eq(kind.as_str()));
        if kind != Kind::TopUp {
            query = query.filter(sql::<Bool>(RARE));
        }
    }
    if let Some(from) = filter.from {
        query = query.filter(ledger::created_at.ge(from.0));
    }
    if let Some(until) = filter.until {
        query = query.filter(ledger::created_at.lt(until.0));
    }
    query
}

/// Newest first; `before` is the id of the last one shown.
///
/// # Errors
/// The database.
pub fn list(
    db: &mut Db,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Posted>, StoreError> {
    let ids = ids_of(db, filter)?;
    let mut query = ledger::table
        .left_join(orders::table.on(ledger::order_id.eq(orders::id.nullable())))
        .filter(ledger::id.ge(ids.start))
        .filter(ledger::id.lt(before.unwrap_or(i64::MAX).min(ids.end)))
        .select((
            ledger::id,
            ledger::kind,
            ledger::source_id,
            orders::out_trade_no.nullable(),
            ledger::account,
            ledger::amount_fen,
            ledger::created_at,
        ))
        .order(ledger::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(account) = &filter.account {
        query = query.filter(ledger::account.eq(account.clone()));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(ledger::kind.eq(kind.as_str()));
        if kind != Kind::TopUp {
            query = query.filter(sql::<Bool>(RARE));
        }
    }
    if let Some(from) = filter.from {
        query = query.filter(ledger::created_at.ge(from.0));
    }
    if let Some(until) = filter.until {
        query = query.filter(ledger::created_at.lt(until.0));
    }
    Ok(query.load(db)?)
}
