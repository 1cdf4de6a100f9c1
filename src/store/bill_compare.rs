//! What the books have under the numbers of a bill, and what they have that no bill has.

use super::{
    Db, StoreError,
    bills::{BillOfDay, Biller},
    refunds as refunds_table,
    schema::{attempts, bill_rows as rows, corrections, orders, refunds, work_items as items},
    settlement,
};
use crate::domain::{
    bill::{BillKind, BillRow, Ours},
    ids::{OutRefundNo, TransactionId},
    money::Fen,
    order::Status,
    refund::RefundState,
    time::UnixMs,
};
use diesel::prelude::*;
use std::collections::BTreeMap;

/// Our clock may be this much behind the gateway's: what was credited so shortly before midnight may stand in the next
/// day's bill, and is looked for there.
const AHEAD_MS: i64 = 10 * 60_000;
/// The matter of a refund that WeChat says was paid out although it came to nothing here, and of one not made by us.
const ABOUT_REFUNDS: [&str; 2] = ["refund_contradicted", settlement::REFUNDED_ELSEWHERE];

/// A line with what the books know of it.
#[derive(Clone, Debug)]
pub struct Held {
    pub row: BillRow,
    pub ours: Ours,
    /// Somebody knows of it already: the work item of the payment that credited nobody, or of the refund.
    pub work_item: Option<i64>,
}

/// Something of ours that stands in no bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbilled {
    pub kind: BillKind,
    /// As attempts keep it.
    pub account: String,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub out_refund_no: String,
    pub amount: Fen,
    pub at: UnixMs,
}

/// Holds lines against the books.
///
/// # Errors
/// The database.
pub fn hold(db: &mut Db, biller: &Biller, lines: Vec<BillRow>) -> Result<Vec<Held>, StoreError> {
    let of = |kind| lines.iter().filter(move |row| row.kind == kind);
    let payments: Vec<&str> = of(BillKind::Payment).map(|row| row.transaction_id.as_str()).collect();
    let numbers: Vec<&str> = of(BillKind::Payment).map(|row| row.out_trade_no.as_str()).collect();
    let booked = booked_payments(db, biller, &payments)?;
    let expected = expected_payments(db, biller, &numbers)?;
    let refund_numbers: Vec<&str> = of(BillKind::Refund).map(|row| row.out_refund_no.as_str()).collect();
    let refunded = booked_refunds(db, biller, &refund_numbers)?;
    let all: Vec<&str> = lines.iter().map(|row| row.transaction_id.as_str()).collect();
    let tickets = tickets(db, biller, &all)?;
    let held = lines.iter().map(|row| {
        let ours = match row.kind {
            BillKind::Payment => Ours {
                booked: booked.get(&row.transaction_id).copied(),
                expected: expected.get(&row.out_trade_no).copied(),
            },
            BillKind::Refund => {
                let key = (row.out_refund_no.clone(), row.transaction_id.clone());
                Ours { booked: refunded.get(&key).copied(), expected: None }
            }
        };
        let about = tickets.iter().find(|ticket| ticket.is_about(row));
        Held { row: row.clone(), ours, work_item: about.map(|ticket| ticket.id) }
    });
    Ok(held.collect())
}

fn fen(amount: i64) -> Result<Fen, StoreError> {
    Fen::new(amount).ok_or(StoreError::Unreadable("amount"))
}

/// By the gateway's number: orders it paid, and payments credited by hand.
fn booked_payments(
    db: &mut Db,
    biller: &Biller,
    payments: &[&str],
) -> Result<BTreeMap<String, Fen>, StoreError> {
    let paid: Vec<(Option<String>, i64)> = orders::table
        .filter(orders::transaction_id.eq_any(payments.iter().copied()))
        .filter(orders::environment.eq(biller.environment.as_str()))
        .filter(orders::status.ne(Status::Created.number()))
        .select((orders::transaction_id, orders::amount_fen))
        .load(db)?;
    let by_hand: Vec<(String, i64)> = corrections::table
        .filter(corrections::transaction_id.eq_any(payments.iter().copied()))
        .filter(corrections::provider.eq(biller.provider.as_str()))
        .select((corrections::transaction_id, corrections::amount_fen))
        .load(db)?;
    let paid = paid.into_iter().filter_map(|(payment, amount)| Some((payment?, amount)));
    paid.chain(by_hand).map(|(payment, amount)| Ok((payment, fen(amount)?))).collect()
}

/// By our number: what an attempt was made for.
fn expected_payments(
    db: &mut Db,
    biller: &Biller,
    numbers: &[&str],
) -> Result<BTreeMap<String, Fen>, StoreError> {
    let made: Vec<(String, i64)> = attempts::table
        .filter(attempts::out_trade_no.eq_any(numbers.iter().copied()))
        .filter(attempts::provider.eq(biller.provider.as_str()))
        .filter(attempts::environment.eq(biller.environment.as_str()))
        .select((attempts::out_trade_no, attempts::amount_fen))
        .load(db)?;
    made.into_iter().map(|(number, amount)| Ok((number, fen(amount)?))).collect()
}

/// By our number and the payment's: what is refunded or on its way. One that waits for a second administrator, or was
/// never asked for, is not: a line with its number is somebody else's refund.
fn booked_refunds(
    db: &mut Db,
    biller: &Biller,
    numbers: &[&str],
) -> Result<BTreeMap<(String, String), Fen>, StoreError> {
    let nothing = [RefundState::Waiting, RefundState::Closed, RefundState::Failed, RefundState::Rejected];
    let ours: Vec<(String, String, i64)> = refunds::table
        .filter(refunds::out_refund_no.eq_any(numbers.iter().copied()))
        .filter(refunds::provider.eq(biller.provider.as_str()))
        .filter(refunds::environment.eq(biller.environment.as_str()))
        .filter(refunds::state.ne_all(nothing.map(RefundState::as_str)))
        .filter(refunds::state.ne(RefundState::Asking.as_str()).or(refunds::asked.gt(0)))
        .select((refunds::out_refund_no, refunds::transaction_id, refunds::amount_fen))
        .load(db)?;
    ours.into_iter().map(|(number, payment, amount)| Ok(((number, payment), fen(amount)?))).collect()
}

struct Ticket {
    id: i64,
    kind: String,
    transaction_id: String,
    out_refund_no: String,
    /// It holds a payment that credited nobody.
    payment: bool,
}

impl Ticket {
    fn is_about(&self, row: &BillRow) -> bool {
        let same = self.transaction_id == row.transaction_id;
        match row.kind {
            BillKind::Payment => same && self.payment,
            BillKind::Refund => {
                same && ABOUT_REFUNDS.contains(&self.kind.as_str())
                    && (self.out_refund_no.is_empty() || self.out_refund_no == row.out_refund_no)
            }
        }
    }
}

fn tickets(db: &mut Db, biller: &Biller, payments: &[&str]) -> Result<Vec<Ticket>, StoreError> {
    type Found = (i64, String, String, String, Option<i64>, Option<String>, Option<String>);
    let found: Vec<Found> = items::table
        .filter(items::transaction_id.eq_any(payments.iter().copied()))
        .order(items::id.asc())
        .select((
            items::id,
            items::kind,
            items::transaction_id,
            items::out_refund_no,
            items::amount_fen,
            items::provider,
            items::environment,
        ))
        .load(db)?;
    let theirs = |provider: &Option<String>, environment: &Option<String>| {
        let same = |named: &Option<String>, ours: &str| named.as_deref().is_none_or(|named| named == ours);
        same(provider, biller.provider.as_str()) && same(environment, biller.environment.as_str())
    };
    let found =
        found.into_iter().filter(|(_, _, _, _, _, provider, environment)| theirs(provider, environment));
    Ok(found
        .map(|(id, kind, transaction_id, out_refund_no, amount, _, _)| Ticket {
            id,
            kind,
            transaction_id,
            out_refund_no,
            payment: amount.is_some(),
        })
        .collect())
}

/// What the books took in or gave back on this day and no bill of any day has, of all accounts with the provider.
/// Credit comes after payment, so what is credited on a day stands in the bill of that day or of one before.
///
/// # Errors
/// The database.
pub fn unbilled(db: &mut Db, bill: &BillOfDay) -> Result<Vec<Unbilled>, StoreError> {
    let span = (
        bill.day.start().plus_ms(AHEAD_MS.saturating_neg()).0,
        bill.day.end().plus_ms(AHEAD_MS.saturating_neg()).0,
    );
    let mut found = unbilled_orders(db, &bill.biller, span)?;
    found.extend(unbilled_corrections(db, &bill.biller, span)?);
    found.extend(unbilled_refunds(db, &bill.biller, span)?);
    Ok(found)
}

fn unbilled_orders(
    db: &mut Db,
    biller: &Biller,
    (from, to): (i64, i64),
) -> Result<Vec<Unbilled>, StoreError> {
    let billed = rows::table
        .filter(rows::kind.eq(BillKind::Payment.as_str()))
        .filter(rows::transaction_id.nullable().eq(orders::transaction_id));
    let with_provider = attempts::table
        .filter(attempts::order_id.eq(orders::id))
        .filter(attempts::provider.eq(biller.provider.as_str()));
    let candidates: Vec<(i64, Option<String>, i64, Option<i64>)> = orders::table
        .filter(orders::paid_at.ge(from))
        .filter(orders::paid_at.lt(to))
        .filter(orders::environment.eq(biller.environment.as_str()))
        .filter(diesel::dsl::not(diesel::dsl::exists(billed)))
        .filter(diesel::dsl::exists(with_provider))
        .order(orders::id.asc())
        .select((orders::id, orders::transaction_id, orders::amount_fen, orders::paid_at))
        .load(db)?;
    let mut found = Vec::new();
    for (id, payment, amount, paid_at) in candidates {
        let Some(attempt) = settlement::paid_attempt(db, id)? else { continue };
        if attempt.channel.provider() == biller.provider {
            found.push(Unbilled {
                kind: BillKind::Payment,
                account: attempt.account,
                transaction_id: payment.unwrap_or_default(),
                out_trade_no: attempt.out_trade_no.as_str().to_owned(),
                out_refund_no: String::new(),
                amount: fen(amount)?,
                at: UnixMs(paid_at.unwrap_or_default()),
            });
        }
    }
    Ok(found)
}

fn unbilled_corrections(
    db: &mut Db,
    biller: &Biller,
    (from, to): (i64, i64),
) -> Result<Vec<Unbilled>, StoreError> {
    let billed = rows::table
        .filter(rows::kind.eq(BillKind::Payment.as_str()))
        .filter(rows::transaction_id.eq(corrections::transaction_id));
    /// transaction_id, fen, when, account, out_trade_no, environment.
    type Candidate = (String, i64, i64, Option<String>, String, Option<String>);
    let candidates: Vec<Candidate> = corrections::table
        .inner_join(items::table.on(items::id.eq(corrections::work_item_id)))
        .filter(corrections::created_at.ge(from))
        .filter(corrections::created_at.lt(to))
        .filter(corrections::provider.eq(biller.provider.as_str()))
        .filter(diesel::dsl::not(diesel::dsl::exists(billed)))
        .select((
            corrections::transaction_id,
            corrections::amount_fen,
            corrections::created_at,
            items::account,
            items::out_trade_no,
            items::environment,
        ))
        .load(db)?;
    let mut found = Vec::new();
    for (transaction_id, amount, at, account, out_trade_no, environment) in candidates {
        if environment.as_deref() == Some(biller.environment.as_str()) {
            found.push(Unbilled {
                kind: BillKind::Payment,
                account: account.unwrap_or_default(),
                transaction_id,
                out_trade_no,
                out_refund_no: String::new(),
                amount: fen(amount)?,
                at: UnixMs(at),
            });
        }
    }
    Ok(found)
}

fn unbilled_refunds(
    db: &mut Db,
    biller: &Biller,
    (from, to): (i64, i64),
) -> Result<Vec<Unbilled>, StoreError> {
    let billed = rows::table
        .filter(rows::kind.eq(BillKind::Refund.as_str()))
        .filter(rows::out_refund_no.eq(refunds::out_refund_no));
    let candidates: Vec<(String, String, String, i64, Option<i64>, String)> = refunds::table
        .filter(refunds::finished_at.ge(from))
        .filter(refunds::finished_at.lt(to))
        .filter(refunds::state.eq(RefundState::Success.as_str()))
        .filter(refunds::provider.eq(biller.provider.as_str()))
        .filter(refunds::environment.eq(biller.environment.as_str()))
        .filter(diesel::dsl::not(diesel::dsl::exists(billed)))
        .select((
            refunds::out_refund_no,
            refunds::out_trade_no,
            refunds::transaction_id,
            refunds::amount_fen,
            refunds::finished_at,
            refunds::account,
        ))
        .load(db)?;
    let mut found = Vec::new();
    for (out_refund_no, out_trade_no, transaction_id, amount, at, account) in candidates {
        found.push(Unbilled {
            kind: BillKind::Refund,
            account,
            transaction_id,
            out_trade_no,
            out_refund_no,
            amount: fen(amount)?,
            at: UnixMs(at.unwrap_or_default()),
        });
    }
    Ok(found)
}

/// Our refund of this number, unless it has ended.
///
/// # Errors
/// The database.
pub fn unfinished_refund(
    db: &mut Db,
    row: &BillRow,
) -> Result<Option<crate::domain::refund::Refund>, StoreError> {
    let Some(number) = OutRefundNo::parse(&row.out_refund_no) else { return Ok(None) };
    let refund = refunds_table::by_number(db, &number)?;
    let same = TransactionId::parse(&row.transaction_id);
    Ok(refund.filter(|refund| refund.finished_at.is_none() && Some(&refund.transaction_id) == same.as_ref()))
}
