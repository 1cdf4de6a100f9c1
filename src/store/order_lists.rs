//! Orders as administrators list them: filters, pages that cost the same wherever they begin, and sums of exactly
//! the filter.

use super::{
    Db, StoreError, attempts,
    orders::OrderRow,
    schema::{orders, users},
    settlement,
};
use crate::domain::{
    money::Fen,
    order::{Attempt, Channel, Order, Source},
    time::UnixMs,
};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use std::collections::HashMap;

/// By which moment orders are chosen and listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    #[default]
    Created,
    /// When they were credited; unpaid ones have no such moment and are not listed.
    Paid,
}

/// Which orders an administrator looks at. Nothing set is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub by: By,
    /// At or after.
    pub from: Option<UnixMs>,
    /// Before.
    pub until: Option<UnixMs>,
    pub state: Option<StateFilter>,
    /// Paid, or while unpaid tried, by one of these.
    pub channels: Vec<Channel>,
    /// Likewise at this account, in the gateway's own words.
    pub account: Option<String>,
    pub least: Option<Fen>,
    pub most: Option<Fen>,
    pub settled_by: Option<Source>,
    pub user_id: Option<i64>,
    /// Only among these orders.
    pub ids: Option<Vec<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    Paid,
    Unpaid,
    Closed,
    Late,
    /// Something of it is reserved for refunds or has gone back.
    Refunded,
    /// Open, and made before then.
    OpenSince(UnixMs),
}

/// Sums over exactly one filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub orders: i64,
    pub paid: i64,
    pub paid_fen: i64,
    /// Reserved for refunds or gone back.
    pub refund_fen: i64,
}

/// The filter as a boxed query, said once for pages, exports and totals.
macro_rules! filtered {
    ($filter:expr) => {{
        let filter: &Filter = $filter;
        let mut query = orders::table.inner_join(users::table).into_boxed();
        match filter.by {
            By::Created => {
                if let Some(from) = filter.from {
                    query = query.filter(orders::created_at.ge(from.0));
                }
                if let Some(until) = filter.until {
                    query = query.filter(orders::created_at.lt(until.0));
                }
            }
            By::Paid => {
                // The least moment there is, so that the index of paid orders is known to have them all.
                query = query.filter(orders::paid_at.ge(filter.from.map_or(0, |from| from.0)));
                if let Some(until) = filter.until {
                    query = query.filter(orders::paid_at.lt(until.0));
                }
            }
        }
        match filter.state {
            Some(StateFilter::Paid) => query = query.filter(orders::status.eq(1)),
            Some(StateFilter::Unpaid) => {
                query = query.filter(orders::status.eq(0)).filter(orders::closed_at.is_null());
            }
            Some(StateFilter::Closed) => {
                query = query.filter(orders::status.eq(0)).filter(orders::closed_at.is_not_null());
            }
            Some(StateFilter::Late) => query = query.filter(orders::late.eq(1)),
            Some(StateFilter::Refunded) => query = query.filter(orders::refund_fen.gt(0)),
            Some(StateFilter::OpenSince(before)) => {
                // In these very words the partial index of open orders is used.
                query = query
                    .filter(sql::<Bool>("orders.status = 0 AND orders.closed_at IS NULL"))
                    .filter(orders::created_at.le(before.0));
            }
            None => {}
        }
        if !filter.channels.is_empty() {
            // Words of our own, never of a stranger.
            let words: Vec<String> =
                filter.channels.iter().map(|channel| format!("'{}'", channel.as_str())).collect();
            let among = format!("{OF_ATTEMPT} AND a.channel IN ({}))", words.join(", "));
            query = query.filter(sql::<Bool>(&among));
        }
        if let Some(account) = &filter.account {
            let among = format!("{OF_ATTEMPT} AND a.account = ");
            query = query.filter(sql::<Bool>(&among).bind::<Text, _>(account.clone()).sql(")"));
        }
        if let Some(least) = filter.least {
            query = query.filter(orders::amount_fen.ge(least.get()));
        }
        if let Some(most) = filter.most {
            query = query.filter(orders::amount_fen.le(most.get()));
        }
        if let Some(source) = filter.settled_by {
            query = query.filter(orders::settled_by.eq(source.as_str()));
        }
        if let Some(user_id) = filter.user_id {
            query = query.filter(orders::user_id.eq(user_id));
        }
        if let Some(ids) = &filter.ids {
            query = query.filter(orders::id.eq_any(ids.clone()));
        }
        query
    }};
}

/// An attempt of the order: the one it was paid by, or while it is unpaid any.
const OF_ATTEMPT: &str = "EXISTS (SELECT 1 FROM attempts a WHERE a.order_id = orders.id
    AND (orders.status = 0 OR EXISTS (SELECT 1 FROM ledger l JOIN notices n ON n.id = l.notice_id
        WHERE l.kind = 'top_up' AND l.source_id = orders.id AND n.out_trade_no = a.out_trade_no))";

/// One page of a filter, newest first, from where `last` ended: its id and its two moments. Along the index of that
/// moment, so that where a page begins is found and not counted.
macro_rules! paged {
    ($filter:expr, $last:expr, $limit:expr) => {{
        let mut query = filtered!($filter).select((orders::all_columns, users::username)).limit($limit);
        query = match $filter.by {
            By::Created => query.order((orders::created_at.desc(), orders::id.desc())),
            By::Paid => query.order((orders::paid_at.desc(), orders::id.desc())),
        };
        let last: Option<(i64, i64, Option<i64>)> = $last;
        if let Some((id, created_at, paid_at)) = last {
            query = match $filter.by {
                By::Created => query
                    .filter(orders::created_at.le(created_at))
                    .filter(orders::created_at.lt(created_at).or(orders::id.lt(id))),
                By::Paid => {
                    let paid_at = paid_at.unwrap_or_default();
                    let older = format!("(orders.paid_at < {paid_at} OR orders.id < {id})");
                    query.filter(orders::paid_at.le(paid_at)).filter(sql::<Bool>(&older))
                }
            };
        }
        query
    }};
}

/// Newest first, with the owner's name; `before` is the id of the last order already shown.
///
/// # Errors
/// The database.
pub fn list(
    db: &mut Db,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(Order, String)>, StoreError> {
    let last = match before {
        Some(id) => {
            let shown = orders::table.find(id).select((orders::id, orders::created_at, orders::paid_at));
            shown.first(db).optional()?
        }
        None => None,
    };
    let rows: Vec<(OrderRow, String)> = paged!(filter, last, limit).load(db)?;
    rows.into_iter().map(|(row, username)| Ok((row.order()?, username))).collect()
}

/// # Errors
/// The database.
pub fn totals(db: &mut Db, filter: &Filter) -> Result<Totals, StoreError> {
    const PAID: &str =
        "CAST(COALESCE(SUM(CASE WHEN orders.status = 1 THEN orders.amount_fen ELSE 0 END), 0) AS BIGINT)";
    let (orders, paid, paid_fen, refund_fen): (i64, i64, i64, i64) = filtered!(filter)
        .select((
            sql::<BigInt>("CAST(COUNT(*) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(orders.status), 0) AS BIGINT)"),
            sql::<BigInt>(PAID),
            sql::<BigInt>("CAST(COALESCE(SUM(orders.refund_fen), 0) AS BIGINT)"),
        ))
        .first(db)?;
    Ok(Totals { orders, paid, paid_fen, refund_fen })
}

/// The attempt each of these orders was paid by, or last tried by.
///
/// # Errors
/// The database.
pub fn attempts_of(db: &mut Db, found: &[(Order, String)]) -> Result<HashMap<i64, Attempt>, StoreError> {
    let ids: Vec<i64> = found.iter().map(|(order, _)| order.id).collect();
    let mut tried: HashMap<i64, (usize, Attempt)> = HashMap::new();
    for attempt in attempts::of_orders(db, &ids)? {
        let before = tried.get(&attempt.order_id).map_or(0, |(count, _)| *count);
        tried.insert(attempt.order_id, (before.saturating_add(1), attempt));
    }
    let mut attempts = HashMap::new();
    for (order, _) in found {
        let Some((count, last)) = tried.remove(&order.id) else { continue };
        // Only of several attempts it is not plain by which it was paid.
        let paid = if count > 1 && order.is_paid() { settlement::paid_attempt(db, order.id)? } else { None };
        attempts.insert(order.id, paid.unwrap_or(last));
    }
    Ok(attempts)
}

#[cfg(test)]
mod tests;
