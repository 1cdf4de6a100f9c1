//! PostgreSQL: one call for the whole batch of a function over arrays, whose plans the server keeps.

use super::{Item, Paid};
use crate::{
    domain::{
        ledger::{Account, Kind},
        order::{Settled, Status},
    },
    store::{
        StoreError,
        events::EventKind,
        settlement::{REFUNDED_ELSEWHERE, Settling},
    },
};
use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text},
};

/// `settle_together(…)` of the migrations. Unlike `sql_query` it is prepared once for a connection.
struct Call<'a>(Vec<Argument<'a>>);

enum Argument<'a> {
    Texts(Vec<&'a str>),
    Made(Vec<String>),
    Numbers(Vec<i64>),
    Moments(Vec<Option<i64>>),
    Bodies(Vec<&'a [u8]>),
    Status(i32),
    Word(&'static str),
}

impl Query for Call<'_> {
    type SqlType = (BigInt, Text);
}

impl RunQueryDsl<PgConnection> for Call<'_> {}

impl QueryId for Call<'_> {
    type QueryId = Call<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for Call<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT nth, order_number FROM settle_together(");
        let mut comma = "";
        for argument in &self.0 {
            out.push_sql(comma);
            match argument {
                Argument::Texts(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Argument::Made(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Argument::Numbers(numbers) => out.push_bind_param::<Array<BigInt>, _>(numbers)?,
                Argument::Moments(moments) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(moments)?,
                Argument::Bodies(bodies) => out.push_bind_param::<Array<Binary>, _>(bodies)?,
                Argument::Status(status) => out.push_bind_param::<Integer, _>(status)?,
                Argument::Word(word) => out.push_bind_param::<Text, _>(*word)?,
            }
            comma = ", ";
        }
        out.push_sql(")");
        Ok(())
    }
}

pub(super) fn settle(connection: &mut PgConnection, items: &[Item<'_>]) -> Result<Vec<Paid>, StoreError> {
    let call = Call(vec![
        Argument::Numbers(items.iter().map(|item| item.nth).collect()),
        texts(items, |s| s.payment.out_trade_no().as_str()),
        texts(items, |s| s.payment.provider().as_str()),
        texts(items, |s| s.payment.claim().account),
        texts(items, |s| s.payment.claim().environment.as_str()),
        texts(items, |s| s.payment.transaction_id().as_str()),
        numbers(items, |s| s.payment.amount().get()),
        numbers(items, |s| s.now.0),
        texts(items, |s| s.source.as_str()),
        made(items, Settling::step),
        made(items, |s| Account::Gateway(s.payment.provider()).name()),
        texts(items, |s| &s.notice.id),
        numbers(items, |s| s.notice.received_at),
        texts(items, |s| &s.notice.remote_ip),
        texts(items, |s| &s.notice.headers),
        Argument::Bodies(items.iter().map(|item| item.settling.notice.body.as_slice()).collect()),
        made(items, |s| (s.reply)(&Settled::Now)),
        texts(items, |s| &s.notice.provider),
        Argument::Moments(items.iter().map(|item| item.settling.payment.paid_at().map(|at| at.0)).collect()),
        Argument::Status(Status::Created.number()),
        Argument::Status(Status::Paid.number()),
        Argument::Word(Settled::Now.verdict()),
        Argument::Word(Kind::TopUp.as_str()),
        Argument::Word(EventKind::Credit.as_str()),
        Argument::Word(REFUNDED_ELSEWHERE),
    ]);
    let paid: Vec<(i64, String)> = call.load(connection)?;
    Ok(paid.into_iter().map(|(nth, order_number)| Paid { nth, order_number }).collect())
}

fn texts<'a>(items: &[Item<'a>], of: fn(&'a Settling) -> &'a str) -> Argument<'a> {
    Argument::Texts(items.iter().map(|item| of(item.settling)).collect())
}

fn made<'a>(items: &[Item<'a>], of: fn(&Settling) -> String) -> Argument<'a> {
    Argument::Made(items.iter().map(|item| of(item.settling)).collect())
}

fn numbers<'a>(items: &[Item<'a>], of: fn(&Settling) -> i64) -> Argument<'a> {
    Argument::Numbers(items.iter().map(|item| of(item.settling)).collect())
}
