//! The books prove themselves: money invariants as queries. An empty answer is a clean bill.

use super::{Db, StoreError, postgres, sqlite};
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
            (SELECT 1 AS one FROM ledger GROUP BY kind, source_id HAVING SUM(amount_fen) <> 0) AS unbalanced",
    ),
    (
        "the users' balances sum to what was credited and put right less what is refunded or reserved for it",
        "SELECT CAST(ABS(
            (SELECT COALESCE(SUM(amount_fen), 0) FROM ledger WHERE account LIKE 'user:%')
            - (SELECT COALESCE(SUM(amount_fen), 0) FROM orders WHERE status = 1)
            - (SELECT COALESCE(SUM(amount_fen), 0) FROM corrections)
            - (SELECT COALESCE(SUM(amount_fen), 0) FROM adjustments WHERE state = 'made')
            + (SELECT COALESCE(SUM(amount_fen), 0) FROM refunds WHERE user_id IS NOT NULL
                AND state NOT IN ('closed', 'failed', 'rejected'))) AS BIGINT) AS breaches",
    ),
    (
        "no balance is below zero",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM
            (SELECT 1 AS one FROM ledger WHERE account LIKE 'user:%' GROUP BY account HAVING SUM(amount_fen) < 0) AS below",
    ),
    (
        "what is reserved of a payment is the sum of its refunds",
        "SELECT CAST((SELECT COUNT(*) FROM orders o WHERE (o.refund_fen <> 0 OR o.refunds <> 0)
                AND o.refund_fen <> (SELECT COALESCE(SUM(r.amount_fen), 0) FROM refunds r WHERE r.order_id = o.id
                    AND r.state NOT IN ('closed', 'failed', 'rejected')))
            + (SELECT COUNT(*) FROM work_items w WHERE (w.refund_fen <> 0 OR w.refunds <> 0)
                AND w.refund_fen <> (SELECT COALESCE(SUM(r.amount_fen), 0) FROM refunds r WHERE r.work_item_id = w.id
                    AND r.state NOT IN ('closed', 'failed', 'rejected')))
            AS BIGINT) AS breaches",
    ),
    (
        "what counts among the refunds of a payment is what was sent or still may be",
        "SELECT CAST((SELECT COUNT(*) FROM orders o WHERE o.refunds <> 0 AND o.refunds <>
                (SELECT COUNT(*) FROM refunds r WHERE r.order_id = o.id
                    AND (r.asked > 0 OR r.state NOT IN ('closed', 'failed', 'rejected'))))
            + (SELECT COUNT(*) FROM work_items w WHERE w.refunds <> 0 AND w.refunds <>
                (SELECT COUNT(*) FROM refunds r WHERE r.work_item_id = w.id
                    AND (r.asked > 0 OR r.state NOT IN ('closed', 'failed', 'rejected'))))
            + (SELECT COUNT(*) FROM refunds r LEFT JOIN orders o ON o.id = r.order_id LEFT JOIN work_items w ON w.id = r.work_item_id
                WHERE COALESCE(o.refunds, w.refunds) = 0 AND (r.asked > 0 OR r.state NOT IN ('closed', 'failed', 'rejected')))
            AS BIGINT) AS breaches",
    ),
    (
        "a refund that failed was refused by the gateway or given up by a named person",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM refunds r WHERE r.state = 'failed' AND r.refused_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM audit_log a WHERE a.action = 'refund_given_up' AND a.target = r.out_refund_no
                AND a.actor <> '' AND a.detail <> '')",
    ),
    (
        "a refund returns a part of a payment that was credited, or of one that was not",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM refunds r
            LEFT JOIN orders o ON o.id = r.order_id LEFT JOIN work_items w ON w.id = r.work_item_id
            WHERE (r.order_id IS NOT NULL AND (o.status <> 1 OR o.transaction_id <> r.transaction_id
                    OR o.user_id <> r.user_id OR o.amount_fen <> r.total_fen))
               OR (r.work_item_id IS NOT NULL AND (w.amount_fen IS NULL OR w.amount_fen <> r.total_fen
                    OR w.transaction_id <> r.transaction_id
                    OR EXISTS (SELECT 1 FROM orders p WHERE p.transaction_id = r.transaction_id
                        AND r.state NOT IN ('closed', 'failed', 'rejected'))))",
    ),
    (
        "a refund holds its amount once, and pays it out or gives it back once",
        "SELECT CAST((SELECT COUNT(*) FROM refunds r WHERE r.user_id IS NOT NULL AND (
                (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'refund_hold' AND l.source_id = r.id
                    AND ABS(l.amount_fen) = r.amount_fen) <> 2
                OR (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'refund' AND l.source_id = r.id
                    AND ABS(l.amount_fen) = r.amount_fen) <> CASE WHEN r.state = 'success' THEN 2 ELSE 0 END
                OR (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'refund_release' AND l.source_id = r.id
                    AND ABS(l.amount_fen) = r.amount_fen)
                    <> CASE WHEN r.state IN ('closed', 'failed', 'rejected') THEN 2 ELSE 0 END))
            + (SELECT COUNT(*) FROM ledger l WHERE l.kind IN ('refund_hold', 'refund', 'refund_release')
                AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.id = l.source_id AND r.user_id IS NOT NULL))
            AS BIGINT) AS breaches",
    ),
    (
        "every refund paid out rests on an authentic reply about its payment",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM ledger l JOIN refunds r ON r.id = l.source_id
            LEFT JOIN notices n ON n.id = l.notice_id
            WHERE l.kind = 'refund' AND (n.transaction_id IS NULL OR n.transaction_id <> r.transaction_id
                OR n.source <> 'refund_query' OR n.verdict <> 'refund_success')",
    ),
    (
        "a payment credited by hand is an authentic one that paid no order, with its two legs",
        "SELECT CAST((SELECT COUNT(*) FROM corrections c JOIN work_items w ON w.id = c.work_item_id
                WHERE w.amount_fen IS NULL OR w.amount_fen <> c.amount_fen OR w.transaction_id <> c.transaction_id
                OR w.refund_fen <> 0 OR EXISTS (SELECT 1 FROM orders o WHERE o.transaction_id = c.transaction_id)
                OR (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'correction' AND l.source_id = c.id
                    AND ABS(l.amount_fen) = c.amount_fen) <> 2)
            + (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'correction'
                AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.id = l.source_id)) AS BIGINT) AS breaches",
    ),
    (
        "an adjustment that was made has its two legs, and no other has any",
        "SELECT CAST((SELECT COUNT(*) FROM adjustments a WHERE
                (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'adjustment' AND l.source_id = a.id
                    AND ((l.account = 'user:' || a.user_id AND l.amount_fen = a.amount_fen)
                        OR (l.account = 'adjustments' AND l.amount_fen = -a.amount_fen)))
                <> CASE WHEN a.state = 'made' THEN 2 ELSE 0 END)
            + (SELECT COUNT(*) FROM ledger l WHERE l.kind = 'adjustment'
                AND NOT EXISTS (SELECT 1 FROM adjustments a WHERE a.id = l.source_id)) AS BIGINT) AS breaches",
    ),
    (
        "every adjustment that was made is an act of a named person with a reason",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM adjustments a WHERE a.state = 'made' AND NOT EXISTS
            (SELECT 1 FROM audit_log g WHERE g.action = 'balance_adjusted' AND g.target = CAST(a.id AS TEXT)
                AND g.actor = COALESCE(a.decided_by, a.requested_by) AND g.actor <> '' AND g.detail <> '')",
    ),
    (
        "every credit by hand rests on the gateway's own confirmation of that payment",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM ledger l JOIN corrections c ON c.id = l.source_id
            JOIN work_items w ON w.id = c.work_item_id LEFT JOIN notices n ON n.id = l.notice_id
            WHERE l.kind = 'correction' AND (n.transaction_id IS NULL OR n.transaction_id <> c.transaction_id
                OR n.out_trade_no <> w.out_trade_no OR n.provider NOT IN (c.provider, c.provider || '_v3')
                OR n.source <> 'admin' OR n.verdict <> 'correction')",
    ),
    (
        "every credit rests on an authentic message about one of the order's attempts",
        "SELECT CAST(COUNT(*) AS BIGINT) AS breaches FROM ledger l
            JOIN orders o ON o.id = l.order_id LEFT JOIN notices n ON n.id = l.notice_id
            WHERE l.kind = 'top_up' AND (n.transaction_id IS NULL OR n.transaction_id <> o.transaction_id
               OR n.verdict NOT IN ('ok', 'late_payment')
               OR NOT EXISTS (SELECT 1 FROM attempts a WHERE a.order_id = o.id AND a.out_trade_no = n.out_trade_no
                    AND a.environment = o.environment))",
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
    /// When the next unfinished refund is to be looked at, UTC ms.
    pub next_refund: Option<i64>,
}

/// # Errors
/// The database.
pub fn pulse(db: &mut Db) -> Result<Pulse, StoreError> {
    let query = "SELECT (SELECT COUNT(*) || ' ' || COUNT(closed_at) || ' ' || COUNT(transaction_id) || ' '
            || COALESCE(SUM(status), 0) FROM orders) || ' '
        || (SELECT COUNT(*) || ' ' || COUNT(closed_at) FROM attempts) || ' '
        || (SELECT COUNT(*) || ' ' || COALESCE(SUM(ABS(amount_fen)), 0) FROM ledger) || ' '
        || (SELECT COUNT(*) || ' ' || COALESCE(SUM(asked), 0) || ' ' || COUNT(refund_id) || ' ' || COUNT(finished_at) || ' '
            || COUNT(CASE WHEN state = 'processing' THEN 1 END) FROM refunds) || ' '
        || (SELECT COUNT(*) FROM corrections) || ' '
        || (SELECT COUNT(*) FROM pending_queries) AS marks,
        (SELECT MIN(next_at) FROM pending_queries) AS next_query,
        (SELECT MIN(close_after) FROM orders WHERE status = 0 AND closed_at IS NULL) AS next_close,
        (SELECT MIN(next_at) FROM refunds) AS next_refund";
    Ok(Fixed::<(Text, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>)>::new(query).get_result(db)?)
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

/// The same for books of any size. A rule may take minutes, and on a server readers have only seconds.
///
/// # Errors
/// The database.
pub fn audit(db: &mut Db) -> Result<Vec<String>, StoreError> {
    match db {
        Db::Sqlite(_) => breaches(db),
        Db::Postgres(_) => postgres::patiently(db, breaches),
    }
}

/// What is wrong with the file itself, first of all; `None` also on a server, which looks after its own.
///
/// # Errors
/// The database.
pub fn damage(db: &mut Db) -> Result<Option<String>, StoreError> {
    match db {
        Db::Sqlite(_) => Ok(sqlite::damage(db)?),
        Db::Postgres(_) => Ok(None),
    }
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
