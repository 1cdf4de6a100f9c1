//! One box for every kind of number: ours, the gateway's, of a payment, of a refund, or a name.

use super::{
    Db, StoreError,
    schema::{attempts, orders, refunds, users, work_items},
};
use diesel::prelude::*;

/// What a number or a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hit {
    /// An order, by its id and its number.
    Order {
        id: i64,
        out_trade_no: String,
    },
    /// A matter about a payment that is no order's.
    WorkItem(i64),
    User(i64),
}

/// Of one number, at most this many things are looked at: a payment can be in several work items.
const MOST: i64 = 20;

/// Everything of exactly this number or name. Each question is answered by an index.
///
/// # Errors
/// The database.
pub fn find(db: &mut Db, text: &str) -> Result<Vec<Hit>, StoreError> {
    let mut hits = orders_of(db, text)?;
    for (order_id, item) in refunds_of(db, text)? {
        match (order_id, item) {
            (Some(id), _) => hits.extend(order(db, id)?),
            (None, Some(item)) => hits.push(Hit::WorkItem(item)),
            (None, None) => {}
        }
    }
    if hits.is_empty() {
        let items: Vec<i64> = work_items::table
            .filter(work_items::transaction_id.eq(text).or(work_items::out_trade_no.eq(text)))
            .order(work_items::id.desc())
            .limit(MOST)
            .select(work_items::id)
            .load(db)?;
        hits.extend(items.into_iter().map(Hit::WorkItem));
    }
    let user: Option<i64> = users::table
        .filter(users::username.eq(text.to_lowercase()))
        .select(users::id)
        .first(db)
        .optional()?;
    hits.extend(user.map(Hit::User));
    let mut once: Vec<Hit> = Vec::new();
    for hit in hits {
        if !once.contains(&hit) {
            once.push(hit);
        }
    }
    Ok(once)
}

fn orders_of(db: &mut Db, text: &str) -> Result<Vec<Hit>, StoreError> {
    let mut found: Vec<(i64, String)> = orders::table
        .filter(orders::out_trade_no.eq(text))
        .select((orders::id, orders::out_trade_no))
        .load(db)?;
    let by_payment: Vec<(i64, String)> = orders::table
        .filter(orders::transaction_id.eq(text))
        .select((orders::id, orders::out_trade_no))
        .load(db)?;
    let by_attempt: Vec<(i64, String)> = attempts::table
        .inner_join(orders::table)
        .filter(attempts::out_trade_no.eq(text))
        .select((orders::id, orders::out_trade_no))
        .load(db)?;
    found.extend(by_payment);
    found.extend(by_attempt);
    Ok(found.into_iter().map(|(id, out_trade_no)| Hit::Order { id, out_trade_no }).collect())
}

type Home = (Option<i64>, Option<i64>);

fn refunds_of(db: &mut Db, text: &str) -> Result<Vec<Home>, StoreError> {
    let home = (refunds::order_id, refunds::work_item_id);
    let mut found: Vec<Home> =
        refunds::table.filter(refunds::out_refund_no.eq(text)).select(home).load(db)?;
    let theirs: Vec<Home> =
        refunds::table.filter(refunds::refund_id.eq(text)).limit(MOST).select(home).load(db)?;
    let of_payment: Vec<Home> =
        refunds::table.filter(refunds::transaction_id.eq(text)).limit(MOST).select(home).load(db)?;
    found.extend(theirs);
    found.extend(of_payment);
    Ok(found)
}

fn order(db: &mut Db, id: i64) -> Result<Option<Hit>, StoreError> {
    let number: Option<String> = orders::table.find(id).select(orders::out_trade_no).first(db).optional()?;
    Ok(number.map(|out_trade_no| Hit::Order { id, out_trade_no }))
}
