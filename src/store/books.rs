//! The books prove themselves: money invariants as queries. An empty answer is a clean bill.

use super::{Db, StoreError};
use diesel::{
    RunQueryDsl,
    backend::Backend,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{BigInt, Nullable, Text},
};
use std::marker::PhantomData;

/// Each names a rule and counts the rows that break it.
const RULES: &[(&str, &str)] = &[
    (
        "a paid order has exactly its two ledger legs, of its amount",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM orders o WHERE o.status = 1 AND (
            (SELECT COUNT(*) FROM ledger l WHERE l.order_id = o.id AND l.kind = 'top_up') <> 2
            OR NOT EXISTS (SELECT 1 FROM ledger l WHERE l.order_id = o.id AND l.kind = 'top_up'
                AND l.account = 'user:' || o.user_id AND l.amount_fen = o.amount_fen))",
    ),
    (
        "an unpaid order has no ledger entry",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM orders o JOIN ledger l ON l.order_id = o.id WHERE o.status = 0",
    ),
    (
        "the legs of each entry sum to zero",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM
            (SELECT 1 AS one FROM ledger GROUP BY order_id, kind HAVING SUM(amount_fen) <> 0) AS unbalanced",
    ),
    (
        "the users' balances sum to the paid orders",
        "SELECT CAST(ABS(
            (SELECT COALESCE(SUM(amount_fen), 0) FROM ledger WHERE account LIKE 'user:%')
            - (SELECT COALESCE(SUM(amount_fen), 0) FROM orders WHERE status = 1)) AS BIGINT) AS breaches",
    ),
    (
        "every credit rests on an authentic message about one of the order's attempts",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM ledger l
            JOIN orders o ON o.id = l.order_id JOIN notices n ON n.id = l.notice_id
            WHERE n.transaction_id IS NULL OR n.transaction_id <> o.transaction_id
               OR n.verdict NOT IN ('ok', 'late_payment')
               OR NOT EXISTS (SELECT 1 FROM attempts a WHERE a.order_id = o.id AND a.out_trade_no = n.out_trade_no
                    AND a.environment = o.environment)",
    ),
];

/// Every rule by its name.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(rule, _)| *rule)
}

/// What a look at the books after every write needs to know, in one query.
#[derive(Clone, Debug, PartialEq, Eq, diesel::Queryable)]
pub struct Pulse {
    /// Changes whenever an order, an attempt or the ledger does in a way that the rules are about.
    pub marks: String,
    /// When the next attempt is to be asked about, UTC ms.
    pub next_query: Option<i64>,
    /// When the next order is to be closed, UTC ms.
    pub next_close: Option<i64>,
}

/// # Errors
/// The database.
pub fn pulse(db: &mut Db) -> Result<Pulse, StoreError> {
    let query = "SELECT (SELECT COUNT(*) || ' ' || COUNT(closed_at) || ' ' || COUNT(transaction_id) || ' '
            || COALESCE(SUM(status), 0) FROM orders) || ' '
        || (SELECT COUNT(*) || ' ' || COUNT(closed_at) FROM attempts) || ' '
        || (SELECT COUNT(*) || ' ' || COALESCE(SUM(ABS(amount_fen)), 0) FROM ledger) || ' '
        || (SELECT COUNT(*) FROM pending_queries) AS marks,
        (SELECT MIN(next_at) FROM pending_queries) AS next_query,
        (SELECT MIN(close_after) FROM orders WHERE status = 0 AND closed_at IS NULL) AS next_close";
    Ok(Fixed::<(Text, Nullable<BigInt>, Nullable<BigInt>)>::new(query).get_result(db)?)
}

/// The rules that do not hold now.
///
/// # Errors
/// The database.
pub fn breaches(db: &mut Db) -> Result<Vec<String>, StoreError> {
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let count: i64 = Fixed::<BigInt>::new(query).get_result(db)?;
        if count != 0 {
            broken.push(format!("{rule}: {count}"));
        }
    }
    Ok(broken)
}

/// SQL whose text never changes, with the types of its columns: unlike `sql_query` it is prepared once.
struct Fixed<Columns> {
    sql: &'static str,
    columns: PhantomData<Columns>,
}

impl<Columns> Fixed<Columns> {
    const fn new(sql: &'static str) -> Fixed<Columns> {
        Fixed { sql, columns: PhantomData }
    }
}

impl<Columns> Query for Fixed<Columns> {
    type SqlType = Columns;
}

impl<Columns> RunQueryDsl<Db> for Fixed<Columns> {}

impl<Columns> QueryId for Fixed<Columns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend, Columns> QueryFragment<DB> for Fixed<Columns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.sql);
        Ok(())
    }
}
