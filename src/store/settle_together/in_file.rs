//! SQLite: five statements for each order, prepared once for a connection. A set over JSON was slower here: what one
//! step costs is the text of the statement and the JSON, not the step.

use super::{Item, Paid};
use crate::{
    domain::{
        ledger::Entry,
        order::{Settled, Status},
    },
    store::{
        StoreError,
        events::EventKind,
        settlement::{REFUNDED_ELSEWHERE, Settling},
    },
};
use diesel::{
    QueryResult, RunQueryDsl, SqliteConnection,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Binary, Nullable, Text},
    sqlite::Sqlite,
};

/// A statement whose text never changes: `?` is the next value.
trait Sql: 'static {
    const SQL: &'static str;
}

/// The same conditions as in migrations/postgres/00000000000008_desk.
struct Flip;
impl Sql for Flip {
    const SQL: &str = "UPDATE orders
        SET status = ?, paid_at = ?, transaction_id = ?, settled_by = ?, told_paid_at = ?
        WHERE id = (SELECT order_id FROM attempts
                WHERE out_trade_no = ? AND provider = ? AND account = ? AND environment = ?)
            AND status = ? AND closed_at IS NULL AND environment = ? AND amount_fen = ?
            AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.transaction_id = ?)
            AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.transaction_id = ?)
            AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.transaction_id = ?)
            AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.out_trade_no = ? AND w.kind = ?)
        RETURNING id, user_id, out_trade_no";
}

struct Keep;
impl Sql for Keep {
    const SQL: &str =
        "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id,
            remote_ip, headers, body, reply)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
}

struct Credit;
impl Sql for Credit {
    const SQL: &str =
        "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
}

struct Tell;
impl Sql for Tell {
    const SQL: &str = "INSERT INTO order_events (order_id, at, kind, detail) VALUES (?, ?, ?, ?)";
}

struct Unask;
impl Sql for Unask {
    const SQL: &str = "DELETE FROM pending_queries WHERE out_trade_no = ?";
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Number(i64),
    Moment(Option<i64>),
    Bytes(&'a [u8]),
}

/// With its values. Unlike `sql_query` it is looked up by its type, and its text is made once.
struct Statement<'a, S: Sql, const N: usize>(S, [Value<'a>; N]);

/// An order that was flipped: id, user and number.
type Flipped = (i64, i64, String);

impl<S: Sql, const N: usize> Query for Statement<'_, S, N> {
    type SqlType = (BigInt, BigInt, Text);
}

impl<S: Sql, const N: usize> RunQueryDsl<SqliteConnection> for Statement<'_, S, N> {}

impl<S: Sql, const N: usize> QueryId for Statement<'_, S, N> {
    type QueryId = S;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<S: Sql, const N: usize> QueryFragment<Sqlite> for Statement<'_, S, N> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut pieces = S::SQL.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        for (value, piece) in self.1.iter().zip(pieces) {
            match value {
                Value::Text(text) => out.push_bind_param::<Text, str>(text)?,
                Value::Number(number) => out.push_bind_param::<BigInt, i64>(number)?,
                Value::Moment(moment) => out.push_bind_param::<Nullable<BigInt>, Option<i64>>(moment)?,
                Value::Bytes(bytes) => out.push_bind_param::<Binary, [u8]>(bytes)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

/// Of two attempts of one order the first credits; the other finds it paid and is judged apart.
pub(super) fn settle(sqlite: &mut SqliteConnection, items: &[Item<'_>]) -> Result<Vec<Paid>, StoreError> {
    let mut paid = Vec::with_capacity(items.len());
    for Item { nth, settling } in items {
        if let Some(order) = flip(sqlite, settling)? {
            write_down(sqlite, settling, &order)?;
            paid.push(Paid { nth: *nth, order_number: order.2 });
        }
    }
    Ok(paid)
}

fn flip(sqlite: &mut SqliteConnection, settling: &Settling) -> Result<Option<Flipped>, StoreError> {
    use Value::{Moment, Number, Text};
    let (number, claim) = (settling.payment.out_trade_no().as_str(), settling.payment.claim());
    let (transaction_id, environment) = (claim.transaction_id.as_str(), claim.environment.as_str());
    let values = [
        Number(Status::Paid.number().into()),
        Number(settling.now.0),
        Text(transaction_id),
        Text(settling.source.as_str()),
        Moment(settling.payment.paid_at().map(|at| at.0)),
        Text(number),
        Text(claim.provider.as_str()),
        Text(claim.account),
        Text(environment),
        Number(Status::Created.number().into()),
        Text(environment),
        Number(claim.amount.get()),
        Text(transaction_id),
        Text(transaction_id),
        Text(transaction_id),
        Text(number),
        Text(REFUNDED_ELSEWHERE),
    ];
    let flipped: Vec<Flipped> = Statement(Flip, values).load(sqlite)?;
    Ok(flipped.into_iter().next())
}

/// What belongs to an order that has just become paid.
fn write_down(
    sqlite: &mut SqliteConnection,
    settling: &Settling,
    (order_id, user_id, _): &Flipped,
) -> Result<(), StoreError> {
    use Value::{Bytes, Number, Text};
    let Settling { payment, notice, now, .. } = settling;
    let number = Text(payment.out_trade_no().as_str());
    let (notice_id, now) = (Text(&notice.id), Number(now.0));
    let reply = (settling.reply)(&Settled::Now);
    let values = [
        notice_id,
        Number(notice.received_at),
        Text(&notice.provider),
        Text(settling.source.as_str()),
        Text(Settled::Now.verdict()),
        number,
        Text(payment.transaction_id().as_str()),
        Text(&notice.remote_ip),
        Text(&notice.headers),
        Bytes(&notice.body),
        Text(&reply),
    ];
    Statement(Keep, values).execute(sqlite)?;
    let entry = Entry::top_up(*order_id, *user_id, payment.provider(), payment.amount());
    let (kind, source_id, order_id) = (Text(entry.kind.as_str()), Number(entry.source_id), Number(*order_id));
    let [first, second] = entry.legs;
    let (from, to) = (first.account.name(), second.account.name());
    let leg = |account, fen| [kind, source_id, order_id, Text(account), Number(fen), notice_id, now];
    for leg in [leg(&from, first.fen), leg(&to, second.fen)] {
        Statement(Credit, leg).execute(sqlite)?;
    }
    let step = settling.step();
    let values = [order_id, now, Text(EventKind::Credit.as_str()), Text(&step)];
    Statement(Tell, values).execute(sqlite)?;
    Statement(Unask, [number]).execute(sqlite)?;
    Ok(())
}
