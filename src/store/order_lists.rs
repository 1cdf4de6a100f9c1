//! Orders as administrators list them: filters, pages that cost the same wherever they begin and however many orders
//! there are, and sums of exactly the filter.

use super::{Db, StoreError, attempts, orders::OrderRow, schema::orders, settlement, users};
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

/// A page whose filter no index answers looks through so many orders and then says how far it came.
pub const LOOKED_THROUGH: i64 = 10_000;
/// Sums are made unasked while so many orders at most have to be read for them.
pub const SUMMED_UNASKED: i64 = 20_000;
/// Sums that were asked for are made a month at a time, so that no single query is long.
const PART_MS: i64 = 31 * 24 * 3_600_000;

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

impl Totals {
    #[must_use]
    pub const fn with(self, other: Totals) -> Totals {
        Totals {
            orders: self.orders.saturating_add(other.orders),
            paid: self.paid.saturating_add(other.paid),
            paid_fen: self.paid_fen.saturating_add(other.paid_fen),
            refund_fen: self.refund_fen.saturating_add(other.refund_fen),
        }
    }
}

/// One page, and where the next one begins.
#[derive(Debug, Default)]
pub struct Page {
    /// With the owner's name.
    pub found: Vec<(Order, String)>,
    /// Older ones may follow; it is the `before` of the next page.
    pub next: Option<i64>,
    /// Set when the page is not full because it has looked through enough: nothing older was looked at.
    pub stopped_at: Option<UnixMs>,
}

/// Where in a list an order stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: i64,
    id: i64,
}

impl Filter {
    /// No order fits: what is not paid has no moment of its credit.
    const fn is_void(&self) -> bool {
        let unpaid =
            matches!(self.state, Some(StateFilter::Unpaid | StateFilter::Closed | StateFilter::OpenSince(_)));
        matches!(self.by, By::Paid) && unpaid
    }

    /// An index finds its orders, and they are few whatever the books are: those of one user, of a number, the open ones.
    const fn is_few(&self) -> bool {
        let open = matches!(self.state, Some(StateFilter::Unpaid | StateFilter::OpenSince(_)));
        self.user_id.is_some() || self.ids.is_some() || open
    }

    /// Late and refunded orders have an index in the order of their making.
    const fn has_own_index(&self) -> bool {
        matches!((self.by, self.state), (By::Created, Some(StateFilter::Late | StateFilter::Refunded)))
    }

    /// Orders are read that are then left out.
    fn passes_over(&self) -> bool {
        let by_state = match self.state {
            None => false,
            Some(StateFilter::Paid) => self.by == By::Created,
            Some(_) => !self.has_own_index(),
        };
        let by_rest = !self.channels.is_empty()
            || self.account.is_some()
            || self.least.is_some()
            || self.most.is_some()
            || self.settled_by.is_some();
        !self.is_few() && (by_state || (by_rest && !self.has_own_index()))
    }

    /// What an index answers of it.
    fn bare(&self) -> Filter {
        let state = self.state.filter(|_| self.has_own_index());
        Filter { by: self.by, from: self.from, until: self.until, state, ..Filter::default() }
    }

    /// The moment it goes by. The sign keeps planners off the index of that moment, where few orders are found otherwise.
    const fn moment(&self) -> &'static str {
        match (self.by, self.is_few()) {
            (By::Created, false) => "orders.created_at",
            (By::Created, true) => "+orders.created_at",
            (By::Paid, false) => "orders.paid_at",
            (By::Paid, true) => "+orders.paid_at",
        }
    }

    fn place(&self, id: i64, created_at: i64, paid_at: Option<i64>) -> Place {
        let at = match self.by {
            By::Created => created_at,
            By::Paid => paid_at.unwrap_or_default(),
        };
        Place { at, id }
    }
}

/// The filter as a boxed query, said once for pages, exports and totals. Its words stand in the text where an index has
/// them in its condition: a planner does not look into values that are bound.
macro_rules! filtered {
    ($filter:expr) => {{
        let filter: &Filter = $filter;
        let moment = filter.moment();
        let mut query = orders::table.into_boxed();
        let from = match filter.by {
            By::Created => filter.from,
            // The least moment there is, so that the index of paid orders is known to have them all.
            By::Paid => Some(filter.from.unwrap_or_default()),
        };
        if let Some(UnixMs(from)) = from {
            query = query.filter(sql::<Bool>(&format!("{moment} >= {from}")));
        }
        if let Some(UnixMs(until)) = filter.until {
            query = query.filter(sql::<Bool>(&format!("{moment} < {until}")));
        }
        match filter.state {
            Some(StateFilter::Paid) => query = query.filter(orders::status.eq(1)),
            Some(StateFilter::Unpaid) => query = query.filter(sql::<Bool>(OPEN)),
            Some(StateFilter::Closed) => {
                query = query.filter(orders::status.eq(0)).filter(orders::closed_at.is_not_null());
            }
            Some(StateFilter::Late) => query = query.filter(sql::<Bool>("orders.late = 1")),
            Some(StateFilter::Refunded) => query = query.filter(sql::<Bool>("orders.refund_fen > 0")),
            Some(StateFilter::OpenSince(UnixMs(before))) => {
                query = query
                    .filter(sql::<Bool>(OPEN))
                    .filter(sql::<Bool>(&format!("+orders.created_at <= {before}")));
            }
            None => {}
        }
        if !filter.channels.is_empty() {
            // Words of our own, never of a stranger.
            let words: Vec<String> =
                filter.channels.iter().map(|channel| format!("'{}'", channel.as_str())).collect();
            let among = format!("{OF_ATTEMPT} AND a.channel IN ({})) > 0", words.join(", "));
            query = query.filter(sql::<Bool>(&among));
        }
        if let Some(account) = &filter.account {
            let among = format!("{OF_ATTEMPT} AND a.account = ");
            query = query.filter(sql::<Bool>(&among).bind::<Text, _>(account.clone()).sql(") > 0"));
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

const OPEN: &str = "orders.status = 0 AND orders.closed_at IS NULL";

/// How many attempts of the order there are: the one it was paid by, or while it is unpaid any. A number and not EXISTS,
/// which PostgreSQL turns into a join with all attempts there are.
const OF_ATTEMPT: &str = "(SELECT COUNT(*) FROM attempts a WHERE a.order_id = orders.id
    AND (orders.status = 0 OR EXISTS (SELECT 1 FROM ledger l JOIN notices n ON n.id = l.notice_id
        WHERE l.kind = 'top_up' AND l.source_id = orders.id AND n.out_trade_no = a.out_trade_no))";

/// A filter newest first, from where `last` stands. Along the index of its moment, so that where a page begins is
/// found and not counted.
macro_rules! newest_first {
    ($filter:expr, $last:expr) => {{
        let moment = $filter.moment();
        let mut query = filtered!($filter);
        let last: Option<Place> = $last;
        if let Some(Place { at, id }) = last {
            let older = format!("{moment} <= {at} AND ({moment} < {at} OR orders.id < {id})");
            query = query.filter(sql::<Bool>(&older));
        }
        query.order((sql::<BigInt>(&format!("{moment} DESC")), orders::id.desc()))
    }};
}

/// One page of it, down to and with `floor`.
macro_rules! paged {
    ($filter:expr, $last:expr, $floor:expr, $limit:expr) => {{
        let mut query = newest_first!($filter, $last);
        let floor: Option<Place> = $floor;
        if let Some(Place { at, id }) = floor {
            let moment = $filter.moment();
            let above = format!("{moment} >= {at} AND ({moment} > {at} OR orders.id >= {id})");
            query = query.filter(sql::<Bool>(&above));
        }
        query.limit($limit)
    }};
}

/// The order that so many newer ones of a bare filter stand before, read from an index alone.
macro_rules! after_so_many {
    ($filter:expr, $last:expr, $many:expr) => {
        newest_first!($filter, $last)
            .select((sql::<BigInt>($filter.moment()), orders::id))
            .offset($many)
            .limit(1)
    };
}

/// Newest first; `before` is the `next` of the page before.
///
/// # Errors
/// The database.
pub fn page(db: &mut Db, filter: &Filter, before: Option<i64>, size: i64) -> Result<Page, StoreError> {
    if filter.is_void() {
        return Ok(Page::default());
    }
    let last: Option<(i64, i64, Option<i64>)> = match before {
        Some(id) => {
            let shown = orders::table.find(id).select((orders::id, orders::created_at, orders::paid_at));
            shown.get_result(db).optional()?
        }
        None => None,
    };
    let last = last.map(|(id, created_at, paid_at)| filter.place(id, created_at, paid_at));
    let mut floor = None;
    if filter.passes_over() {
        let bare = filter.bare();
        let found: Option<(i64, i64)> =
            after_so_many!(&bare, last, LOOKED_THROUGH).get_result(db).optional()?;
        floor = found.map(|(at, id)| Place { at, id });
    }
    let rows: Vec<OrderRow> = paged!(filter, last, floor, size.saturating_add(1)).load(db)?;
    let size = usize::try_from(size).unwrap_or_default();
    let more = rows.len() > size;
    let orders = rows.into_iter().take(size).map(OrderRow::order).collect::<Result<Vec<_>, _>>()?;
    // Not by a join: where PostgreSQL takes few orders for many, it would read all users.
    let names = users::names(db, orders.iter().map(|order| order.user_id))?;
    let named = |order: Order| {
        let name = names.get(&order.user_id).cloned().unwrap_or_default();
        (order, name)
    };
    let found: Vec<(Order, String)> = orders.into_iter().map(named).collect();
    let floor = floor.filter(|_| !more);
    Ok(Page {
        next: if more { found.last().map(|(order, _)| order.id) } else { floor.map(|floor| floor.id) },
        stopped_at: floor.map(|floor| UnixMs(floor.at)),
        found,
    })
}

/// The sums; `None` when more than `SUMMED_UNASKED` orders would have to be read for them.
///
/// # Errors
/// The database.
pub fn totals_of_few(db: &mut Db, filter: &Filter) -> Result<Option<Totals>, StoreError> {
    if !filter.is_few() && !filter.is_void() {
        let bare = filter.bare();
        let beyond: Option<(i64, i64)> =
            after_so_many!(&bare, None, SUMMED_UNASKED).get_result(db).optional()?;
        if beyond.is_some() {
            return Ok(None);
        }
    }
    totals(db, filter).map(Some)
}

/// The filter cut into months: their sums are its sums, and none of them takes long.
///
/// # Errors
/// The database.
pub fn parts(db: &mut Db, filter: &Filter) -> Result<Vec<Filter>, StoreError> {
    if filter.is_few() || filter.is_void() {
        return Ok(vec![filter.clone()]);
    }
    let bare = filter.bare();
    let newest: Option<(i64, i64)> = after_so_many!(&bare, None, 0).get_result(db).optional()?;
    let oldest: Option<i64> = filtered!(&bare)
        .order(sql::<BigInt>(bare.moment()))
        .select(sql::<BigInt>(bare.moment()))
        .limit(1)
        .get_result(db)
        .optional()?;
    let (Some((newest, _)), Some(mut from)) = (newest, oldest) else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    while from <= newest {
        let until = from.saturating_add(PART_MS);
        let cut = filter.until.filter(|end| end.0 < until).unwrap_or(UnixMs(until));
        parts.push(Filter { from: Some(UnixMs(from)), until: Some(cut), ..filter.clone() });
        from = until;
    }
    Ok(parts)
}

/// Reads every order of the filter.
///
/// # Errors
/// The database.
pub fn totals(db: &mut Db, filter: &Filter) -> Result<Totals, StoreError> {
    const PAID: &str =
        "CAST(COALESCE(SUM(CASE WHEN orders.status = 1 THEN orders.amount_fen ELSE 0 END), 0) AS BIGINT)";
    if filter.is_void() {
        return Ok(Totals::default());
    }
    let (orders, paid, paid_fen, refund_fen): (i64, i64, i64, i64) = filtered!(filter)
        .select((
            sql::<BigInt>("CAST(COUNT(*) AS BIGINT)"),
            sql::<BigInt>("CAST(COALESCE(SUM(orders.status), 0) AS BIGINT)"),
            sql::<BigInt>(PAID),
            sql::<BigInt>("CAST(COALESCE(SUM(orders.refund_fen), 0) AS BIGINT)"),
        ))
        .get_result(db)?;
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
