//! The gateways' bills: a row a day, leased while somebody works on it, and the lines of each.

use super::{
    Db, StoreError,
    schema::{attempts, bill_rows as rows, bills},
};
use crate::domain::{
    bill::{BillDay, BillKind, BillRow, Totals},
    money::Fen,
    order::{Environment, Provider},
    time::{SET_BACK_MS, UnixMs},
};
use diesel::prelude::*;

/// Whose bills they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Biller {
    pub provider: Provider,
    pub account: String,
    pub environment: Environment,
}

/// How a day stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillState {
    /// Not there yet, or not compared to the end.
    Waiting,
    Balanced,
    Unbalanced,
}

impl BillState {
    pub const fn as_str(self) -> &'static str {
        match self {
            BillState::Waiting => "waiting",
            BillState::Balanced => "balanced",
            BillState::Unbalanced => "unbalanced",
        }
    }

    fn parse(text: &str) -> Option<BillState> {
        [BillState::Waiting, BillState::Balanced, BillState::Unbalanced]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One day of one biller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillOfDay {
    pub id: i64,
    pub biller: Biller,
    pub day: BillDay,
    pub state: BillState,
    pub next_at: Option<UnixMs>,
    /// Why it is not compared yet.
    pub said: String,
    pub fetched_at: Option<UnixMs>,
    pub sha256: String,
    pub compared_at: Option<UnixMs>,
    pub theirs: Totals,
    pub ours: Totals,
    /// Payments that only the bill brought to light.
    pub credited: i64,
}

#[derive(Queryable)]
struct Row {
    id: i64,
    provider: String,
    account: String,
    environment: String,
    day: String,
    state: String,
    _leased_until: i64,
    next_at: Option<i64>,
    said: String,
    fetched_at: Option<i64>,
    sha256: String,
    compared_at: Option<i64>,
    payments: i64,
    payments_fen: i64,
    refunds: i64,
    refunds_fen: i64,
    our_payments: i64,
    our_payments_fen: i64,
    our_refunds: i64,
    our_refunds_fen: i64,
    credited: i64,
}

impl Row {
    fn bill(self) -> Result<BillOfDay, StoreError> {
        let biller = Biller {
            provider: Provider::parse(&self.provider).ok_or(StoreError::Unreadable("provider"))?,
            account: self.account,
            environment: Environment::parse(&self.environment)
                .ok_or(StoreError::Unreadable("environment"))?,
        };
        Ok(BillOfDay {
            id: self.id,
            biller,
            day: BillDay::parse(&self.day).ok_or(StoreError::Unreadable("day"))?,
            state: BillState::parse(&self.state).ok_or(StoreError::Unreadable("bill state"))?,
            next_at: self.next_at.map(UnixMs),
            said: self.said,
            fetched_at: self.fetched_at.map(UnixMs),
            sha256: self.sha256,
            compared_at: self.compared_at.map(UnixMs),
            theirs: Totals {
                payments: self.payments,
                payments_fen: self.payments_fen,
                refunds: self.refunds,
                refunds_fen: self.refunds_fen,
            },
            ours: Totals {
                payments: self.our_payments,
                payments_fen: self.our_payments_fen,
                refunds: self.our_refunds,
                refunds_fen: self.our_refunds_fen,
            },
            credited: self.credited,
        })
    }
}

/// When a day may be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It waits, and its time has come.
    Due,
    /// At once, because somebody insists.
    Now,
}

/// Takes a day to work on it until `until`, made here if it is new; `None` while somebody else has it, or when it is not
/// due.
///
/// # Errors
/// The database.
pub fn claim(
    db: &mut Db,
    biller: &Biller,
    day: BillDay,
    turn: Turn,
    now: UnixMs,
    until: UnixMs,
) -> Result<Option<BillOfDay>, StoreError> {
    let day = day.to_string();
    let found = || {
        bills::table
            .filter(bills::provider.eq(biller.provider.as_str()))
            .filter(bills::account.eq(biller.account.clone()))
            .filter(bills::environment.eq(biller.environment.as_str()))
            .filter(bills::day.eq(day.clone()))
    };
    if !diesel::select(diesel::dsl::exists(found())).get_result::<bool>(db)? {
        diesel::insert_into(bills::table)
            .values((
                bills::provider.eq(biller.provider.as_str()),
                bills::account.eq(&biller.account),
                bills::environment.eq(biller.environment.as_str()),
                bills::day.eq(&day),
                bills::state.eq(BillState::Waiting.as_str()),
                bills::next_at.eq(now.0),
            ))
            .execute(db)?;
    }
    // Leased far ahead: the clock was set back.
    let ahead = until.plus_ms(SET_BACK_MS).0;
    let free = found().filter(bills::leased_until.le(now.0).or(bills::leased_until.gt(ahead)));
    let taken = match turn {
        Turn::Due => diesel::update(free.filter(bills::next_at.le(now.0)))
            .set(bills::leased_until.eq(until.0))
            .execute(db)?,
        Turn::Now => diesel::update(free).set(bills::leased_until.eq(until.0)).execute(db)?,
    };
    if taken == 0 {
        return Ok(None);
    }
    let row: Option<Row> = found().get_result(db).optional()?;
    row.map(Row::bill).transpose()
}

/// Goes on having it.
///
/// # Errors
/// The database.
pub fn renew(db: &mut Db, id: i64, until: UnixMs) -> Result<(), StoreError> {
    diesel::update(bills::table.find(id)).set(bills::leased_until.eq(until.0)).execute(db)?;
    Ok(())
}

/// Gives it back for want of a bill. What was compared before stays as it was.
///
/// # Errors
/// The database.
pub fn put_off(db: &mut Db, id: i64, said: &str, next_at: UnixMs) -> Result<(), StoreError> {
    diesel::update(bills::table.find(id))
        .set((bills::leased_until.eq(0), bills::said.eq(said)))
        .execute(db)?;
    let waiting = bills::table.find(id).filter(bills::state.eq(BillState::Waiting.as_str()));
    diesel::update(waiting).set(bills::next_at.eq(next_at.0)).execute(db)?;
    Ok(())
}

/// Makes room for another file than the one before.
///
/// # Errors
/// The database.
pub fn begin_rows(db: &mut Db, id: i64, now: UnixMs) -> Result<(), StoreError> {
    diesel::update(bills::table.find(id))
        .set((
            bills::state.eq(BillState::Waiting.as_str()),
            bills::next_at.eq(now.0),
            bills::fetched_at.eq(None::<i64>),
            bills::sha256.eq(""),
        ))
        .execute(db)?;
    diesel::delete(rows::table.filter(rows::bill_id.eq(id))).execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn insert_rows(db: &mut Db, id: i64, lines: &[BillRow]) -> Result<(), StoreError> {
    for row in lines {
        diesel::insert_into(rows::table)
            .values((
                rows::bill_id.eq(id),
                rows::line.eq(row.line),
                rows::kind.eq(row.kind.as_str()),
                rows::transaction_id.eq(&row.transaction_id),
                rows::out_trade_no.eq(&row.out_trade_no),
                rows::out_refund_no.eq(&row.out_refund_no),
                rows::amount_fen.eq(row.amount.get()),
                rows::at.eq(row.at.0),
            ))
            .execute(db)?;
    }
    Ok(())
}

/// All its lines are written down.
///
/// # Errors
/// The database.
pub fn finish_rows(
    db: &mut Db,
    id: i64,
    sha256: &str,
    theirs: Totals,
    now: UnixMs,
) -> Result<(), StoreError> {
    diesel::update(bills::table.find(id))
        .set((
            bills::fetched_at.eq(now.0),
            bills::sha256.eq(sha256),
            bills::payments.eq(theirs.payments),
            bills::payments_fen.eq(theirs.payments_fen),
            bills::refunds.eq(theirs.refunds),
            bills::refunds_fen.eq(theirs.refunds_fen),
        ))
        .execute(db)?;
    Ok(())
}

/// Lines below this one, in the order of the file.
///
/// # Errors
/// The database.
pub fn rows_after(db: &mut Db, id: i64, line: i32, limit: i64) -> Result<Vec<BillRow>, StoreError> {
    let found: Vec<(i32, String, String, String, String, i64, i64)> = rows::table
        .filter(rows::bill_id.eq(id))
        .filter(rows::line.gt(line))
        .order(rows::line.asc())
        .limit(limit)
        .select((
            rows::line,
            rows::kind,
            rows::transaction_id,
            rows::out_trade_no,
            rows::out_refund_no,
            rows::amount_fen,
            rows::at,
        ))
        .load(db)?;
    let row =
        |(line, kind, transaction_id, out_trade_no, out_refund_no, fen, at): (i32, String, _, _, _, _, _)| {
            Ok(BillRow {
                kind: BillKind::parse(&kind).ok_or(StoreError::Unreadable("bill kind"))?,
                amount: Fen::new(fen).ok_or(StoreError::Unreadable("amount"))?,
                at: UnixMs(at),
                transaction_id,
                out_trade_no,
                out_refund_no,
                line,
            })
        };
    found.into_iter().map(row).collect()
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<BillOfDay>, StoreError> {
    let row: Option<Row> = bills::table.find(id).get_result(db).optional()?;
    row.map(Row::bill).transpose()
}

/// Newest day first, those before `before`.
///
/// # Errors
/// The database.
pub fn list(db: &mut Db, before: Option<&str>, limit: i64) -> Result<Vec<BillOfDay>, StoreError> {
    let found: Vec<Row> = bills::table
        .filter(bills::day.lt(before.unwrap_or("9999")))
        .order((bills::day.desc(), bills::id.asc()))
        .limit(limit)
        .load(db)?;
    found.into_iter().map(Row::bill).collect()
}

/// Every bill of a day from this one on, oldest first.
///
/// # Errors
/// The database.
pub fn since(db: &mut Db, day: BillDay) -> Result<Vec<BillOfDay>, StoreError> {
    let found: Vec<Row> = bills::table
        .filter(bills::day.ge(day.to_string()))
        .order((bills::day.asc(), bills::id.asc()))
        .load(db)?;
    found.into_iter().map(Row::bill).collect()
}

/// The newest day of a biller that anything is known of.
///
/// # Errors
/// The database.
pub fn newest_day(db: &mut Db, biller: &Biller) -> Result<Option<BillDay>, StoreError> {
    let newest: Option<String> = bills::table
        .filter(bills::provider.eq(biller.provider.as_str()))
        .filter(bills::account.eq(&biller.account))
        .filter(bills::environment.eq(biller.environment.as_str()))
        .select(diesel::dsl::max(bills::day))
        .get_result(db)?;
    Ok(newest.and_then(|day| BillDay::parse(&day)))
}

/// The days of a biller from this one on that are compared.
///
/// # Errors
/// The database.
pub fn compared_since(db: &mut Db, biller: &Biller, day: BillDay) -> Result<Vec<BillDay>, StoreError> {
    let days: Vec<String> = bills::table
        .filter(bills::provider.eq(biller.provider.as_str()))
        .filter(bills::account.eq(&biller.account))
        .filter(bills::environment.eq(biller.environment.as_str()))
        .filter(bills::day.ge(day.to_string()))
        .filter(bills::state.ne(BillState::Waiting.as_str()))
        .select(bills::day)
        .load(db)?;
    Ok(days.iter().filter_map(|day| BillDay::parse(day)).collect())
}

/// The days of a biller before this one that were never compared to the end, oldest first, and whether that was begun:
/// of those some lines are there, or were.
///
/// # Errors
/// The database.
pub fn waiting_before(
    db: &mut Db,
    biller: &Biller,
    day: BillDay,
) -> Result<Vec<(BillDay, bool)>, StoreError> {
    let waiting: Vec<Row> = bills::table
        .filter(bills::provider.eq(biller.provider.as_str()))
        .filter(bills::account.eq(&biller.account))
        .filter(bills::environment.eq(biller.environment.as_str()))
        .filter(bills::day.lt(day.to_string()))
        .filter(bills::state.eq(BillState::Waiting.as_str()))
        .order(bills::day.asc())
        .load(db)?;
    let mut days = Vec::new();
    for row in waiting {
        let bill = row.bill()?;
        let lines = rows::table.filter(rows::bill_id.eq(bill.id));
        let has_lines: bool = diesel::select(diesel::dsl::exists(lines)).get_result(db)?;
        days.push((bill.day, has_lines || bill.fetched_at.is_some() || bill.compared_at.is_some()));
    }
    Ok(days)
}

/// When the first attempt with this provider was made.
///
/// # Errors
/// The database.
pub fn first_attempt(db: &mut Db, biller: &Biller) -> Result<Option<UnixMs>, StoreError> {
    let first: Option<i64> = attempts::table
        .filter(attempts::provider.eq(biller.provider.as_str()))
        .filter(attempts::environment.eq(biller.environment.as_str()))
        .select(diesel::dsl::min(attempts::created_at))
        .get_result(db)?;
    Ok(first.map(UnixMs))
}
