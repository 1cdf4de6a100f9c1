//! Settling many at once: the plain case, 0 → 1 of an open order by the right payment, as a handful of statements
//! for the whole batch. Whatever is not plain is left alone, for `settlement::settle` to judge.

use super::{
    Db, StoreError,
    events::EventKind,
    settlement::{REFUNDED_ELSEWHERE, Settlement, Settling},
};
use crate::domain::{
    ledger::{Account, Entry, Kind},
    order::{Settled, Status},
};
use diesel::{
    PgConnection, QueryResult, QueryableByName, RunQueryDsl, SqliteConnection,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text},
    sqlite::Sqlite,
};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// What became of each, in their order; of a `None` nothing is written.
///
/// # Errors
/// The database; then nothing of it is to be committed.
pub(super) fn settle(db: &mut Db, settlings: &[&Settling]) -> Result<Vec<Option<Settlement>>, StoreError> {
    let mut settled = vec![None; settlings.len()];
    #[cfg(feature = "canaries")]
    if crate::canary::any_sings() {
        // Wrong versions are made of the other way.
        return Ok(settled);
    }
    let plain = plain(settlings);
    let paid = match db {
        _ if plain.is_empty() => vec![],
        Db::Sqlite(sqlite) => on_sqlite(sqlite, &plain)?,
        Db::Postgres(connection) => on_postgres(connection, &plain)?,
    };
    for Paid { nth, order_number } in paid {
        let place = usize::try_from(nth).ok().and_then(|nth| settled.get_mut(nth));
        *place.ok_or(StoreError::Unreadable("settlement"))? =
            Some(Settlement { settled: Settled::Now, order_number: Some(order_number), known: false });
    }
    Ok(settled)
}

/// One that may be plain, and its place in the batch.
struct Item<'a> {
    nth: i64,
    settling: &'a Settling,
    body: &'a str,
}

/// The first of each number and of each payment: others may be repeats, which are to be told so.
fn plain<'a>(settlings: &[&'a Settling]) -> Vec<Item<'a>> {
    let (mut numbers, mut payments) = (HashSet::new(), HashSet::new());
    let items = settlings.iter().enumerate().filter_map(|(nth, settling)| {
        let settling: &'a Settling = settling;
        let claim = settling.payment.claim();
        // SQLite reads the body out of a JSON text.
        let body = std::str::from_utf8(&settling.notice.body).ok().filter(|body| !body.contains('\0'))?;
        let first = numbers.insert(settling.payment.out_trade_no()) && payments.insert(claim.transaction_id);
        let nth = i64::try_from(nth).ok()?;
        (claim.currency == "CNY" && first).then_some(Item { nth, settling, body })
    });
    items.collect()
}

#[derive(QueryableByName)]
struct Paid {
    #[diesel(sql_type = BigInt)]
    nth: i64,
    #[diesel(sql_type = Text)]
    order_number: String,
}

// The same conditions as in migrations/postgres/00000000000008_desk. `?` is the next value.
const FLIP: &str = "UPDATE orders
    SET status = ?, paid_at = p.paid_at, transaction_id = p.transaction_id, settled_by = p.source,
        told_paid_at = p.told_paid_at
    FROM (
        -- Two attempts of one order in one batch: the first credits, the other is a second payment.
        SELECT MIN(i.value ->> 'nth') AS nth, a.order_id, i.value ->> 'number' AS number, i.value ->> 'amount' AS amount,
            i.value ->> 'environment' AS environment, i.value ->> 'paid_at' AS paid_at,
            i.value ->> 'transaction_id' AS transaction_id, i.value ->> 'source' AS source,
            i.value ->> 'told_paid_at' AS told_paid_at
        FROM json_each(?) i
        JOIN attempts a ON a.out_trade_no = i.value ->> 'number' AND a.provider = i.value ->> 'provider'
            AND a.account = i.value ->> 'account' AND a.environment = i.value ->> 'environment'
        GROUP BY a.order_id
    ) AS p
    WHERE orders.id = p.order_id AND orders.status = ? AND orders.closed_at IS NULL
        AND orders.environment = p.environment AND orders.amount_fen = p.amount
        AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.transaction_id = p.transaction_id)
        AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.transaction_id = p.transaction_id)
        AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.transaction_id = p.transaction_id)
        AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.out_trade_no = p.number AND w.kind = ?)
    RETURNING id, user_id, out_trade_no, transaction_id";

const KEEP: &str =
    "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id,
        remote_ip, headers, body, reply)
    SELECT i.value ->> 'notice_id', i.value ->> 'received_at', i.value ->> 'protocol', i.value ->> 'source',
        ?, i.value ->> 'number', i.value ->> 'transaction_id', i.value ->> 'remote_ip', i.value ->> 'headers',
        CAST(i.value ->> 'body' AS BLOB), i.value ->> 'reply'
    FROM json_each(?) i";

const CREDIT: &str =
    "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at)
    SELECT ?, i.value ->> 'order_id', i.value ->> 'order_id', leg.value ->> 'account', leg.value ->> 'fen',
        i.value ->> 'notice_id', i.value ->> 'paid_at'
    FROM json_each(?) i, json_each(i.value -> 'legs') leg";

const TELL: &str = "INSERT INTO order_events (order_id, at, kind, detail)
    SELECT i.value ->> 'order_id', i.value ->> 'paid_at', ?, i.value ->> 'step' FROM json_each(?) i";

const UNASK: &str = "DELETE FROM pending_queries
    WHERE out_trade_no IN (SELECT i.value ->> 'number' FROM json_each(?) i)";

/// SQL whose text never changes, with its values: unlike `sql_query` it is prepared once for a connection.
struct Statement<'a, const N: usize> {
    sql: &'static str,
    values: [Value<'a>; N],
}

enum Value<'a> {
    Text(&'a str),
    Number(i32),
}

/// An order that was flipped: id, user, number and payment.
type Flipped = (i64, i64, String, String);

impl<const N: usize> Query for Statement<'_, N> {
    type SqlType = (BigInt, BigInt, Text, Text);
}

impl<const N: usize> RunQueryDsl<SqliteConnection> for Statement<'_, N> {}

impl<const N: usize> QueryId for Statement<'_, N> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<const N: usize> QueryFragment<Sqlite> for Statement<'_, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = self.sql.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        for (value, piece) in self.values.iter().zip(pieces) {
            match value {
                Value::Text(text) => out.push_bind_param::<Text, str>(text)?,
                Value::Number(number) => out.push_bind_param::<Integer, i32>(number)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

fn on_sqlite(sqlite: &mut SqliteConnection, items: &[Item<'_>]) -> Result<Vec<Paid>, StoreError> {
    #[derive(Serialize)]
    struct Wish<'a> {
        nth: i64,
        number: &'a str,
        provider: &'a str,
        account: &'a str,
        environment: &'a str,
        transaction_id: &'a str,
        amount: i64,
        paid_at: i64,
        source: &'a str,
        told_paid_at: Option<i64>,
    }
    #[derive(Serialize)]
    struct Leg {
        account: String,
        fen: i64,
    }
    #[derive(Serialize)]
    struct Credit<'a> {
        #[serde(flatten)]
        wish: &'a Wish<'a>,
        order_id: i64,
        legs: [Leg; 2],
        step: String,
        notice_id: &'a str,
        received_at: i64,
        /// How it came, by which it is read if it is replayed.
        protocol: &'a str,
        remote_ip: &'a str,
        headers: &'a str,
        body: &'a str,
        reply: String,
    }
    let wishes = items.iter().map(|Item { nth, settling, .. }| {
        let claim = settling.payment.claim();
        Wish {
            nth: *nth,
            number: settling.payment.out_trade_no().as_str(),
            provider: claim.provider.as_str(),
            account: claim.account,
            environment: claim.environment.as_str(),
            transaction_id: claim.transaction_id.as_str(),
            amount: claim.amount.get(),
            paid_at: settling.now.0,
            source: settling.source.as_str(),
            told_paid_at: settling.payment.paid_at().map(|at| at.0),
        }
    });
    let wishes: Vec<Wish<'_>> = wishes.collect();
    let asked = json(&wishes)?;
    let (paid, created) = (Value::Number(Status::Paid.number()), Value::Number(Status::Created.number()));
    let values = [paid, Value::Text(&asked), created, Value::Text(REFUNDED_ELSEWHERE)];
    let flipped: Vec<Flipped> = Statement { sql: FLIP, values }.load(sqlite)?;
    if flipped.is_empty() {
        return Ok(vec![]);
    }
    let by_payment: HashMap<&str, (&Wish<'_>, &Item<'_>)> =
        wishes.iter().zip(items).map(|(wish, item)| (wish.transaction_id, (wish, item))).collect();
    let mut credits = Vec::with_capacity(flipped.len());
    for (order_id, user_id, _, transaction_id) in &flipped {
        let found = by_payment.get(transaction_id.as_str());
        let (wish, Item { settling, body, .. }) = found.ok_or(StoreError::Unreadable("settlement"))?;
        let Settling { payment, notice, .. } = settling;
        let entry = Entry::top_up(*order_id, *user_id, payment.provider(), payment.amount());
        credits.push(Credit {
            wish,
            order_id: *order_id,
            legs: entry.legs.map(|leg| Leg { account: leg.account.name(), fen: leg.fen }),
            step: settling.step(),
            notice_id: &notice.id,
            received_at: notice.received_at,
            protocol: &notice.provider,
            remote_ip: &notice.remote_ip,
            headers: &notice.headers,
            body,
            reply: (settling.reply)(&Settled::Now),
        });
    }
    let text = json(&credits)?;
    for (sql, word) in
        [(KEEP, Settled::Now.verdict()), (CREDIT, Kind::TopUp.as_str()), (TELL, EventKind::Credit.as_str())]
    {
        Statement { sql, values: [Value::Text(word), Value::Text(&text)] }.execute(sqlite)?;
    }
    Statement { sql: UNASK, values: [Value::Text(&text)] }.execute(sqlite)?;
    let paid = credits.iter().zip(&flipped);
    Ok(paid.map(|(credit, order)| Paid { nth: credit.wish.nth, order_number: order.2.clone() }).collect())
}

fn json(items: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(items).map_err(|_| StoreError::Unreadable("settlement"))
}

const CALL: &str =
    "SELECT nth, order_number FROM settle_together($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
    $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)";

fn on_postgres(connection: &mut PgConnection, items: &[Item<'_>]) -> Result<Vec<Paid>, StoreError> {
    let texts = |of: &dyn Fn(&Settling) -> String| -> Vec<String> {
        items.iter().map(|item| of(item.settling)).collect()
    };
    let numbers =
        |of: &dyn Fn(&Settling) -> i64| -> Vec<i64> { items.iter().map(|item| of(item.settling)).collect() };
    let moments: Vec<Option<i64>> =
        items.iter().map(|item| item.settling.payment.paid_at().map(|at| at.0)).collect();
    let nths: Vec<i64> = items.iter().map(|item| item.nth).collect();
    let bodies: Vec<&[u8]> = items.iter().map(|item| item.body.as_bytes()).collect();
    Ok(sql_query(CALL)
        .bind::<Array<BigInt>, _>(nths)
        .bind::<Array<Text>, _>(texts(&|s| s.payment.out_trade_no().as_str().to_owned()))
        .bind::<Array<Text>, _>(texts(&|s| s.payment.provider().as_str().to_owned()))
        .bind::<Array<Text>, _>(texts(&|s| s.payment.claim().account.to_owned()))
        .bind::<Array<Text>, _>(texts(&|s| s.payment.claim().environment.as_str().to_owned()))
        .bind::<Array<Text>, _>(texts(&|s| s.payment.transaction_id().as_str().to_owned()))
        .bind::<Array<BigInt>, _>(numbers(&|s| s.payment.amount().get()))
        .bind::<Array<BigInt>, _>(numbers(&|s| s.now.0))
        .bind::<Array<Text>, _>(texts(&|s| s.source.as_str().to_owned()))
        .bind::<Array<Text>, _>(texts(&Settling::step))
        .bind::<Array<Text>, _>(texts(&|s| Account::Gateway(s.payment.provider()).name()))
        .bind::<Array<Text>, _>(texts(&|s| s.notice.id.clone()))
        .bind::<Array<BigInt>, _>(numbers(&|s| s.notice.received_at))
        .bind::<Array<Text>, _>(texts(&|s| s.notice.remote_ip.clone()))
        .bind::<Array<Text>, _>(texts(&|s| s.notice.headers.clone()))
        .bind::<Array<Binary>, _>(bodies)
        .bind::<Array<Text>, _>(texts(&|s| (s.reply)(&Settled::Now)))
        .bind::<Array<Text>, _>(texts(&|s| s.notice.provider.clone()))
        .bind::<Array<Nullable<BigInt>>, _>(moments)
        .bind::<Integer, _>(Status::Created.number())
        .bind::<Integer, _>(Status::Paid.number())
        .bind::<Text, _>(Settled::Now.verdict())
        .bind::<Text, _>(Kind::TopUp.as_str())
        .bind::<Text, _>(EventKind::Credit.as_str())
        .bind::<Text, _>(REFUNDED_ELSEWHERE)
        .load(connection)?)
}

#[cfg(test)]
mod tests;
