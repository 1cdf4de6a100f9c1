//! Balances put right by hand: written first, made by one function, in one transaction with its ledger entry.

use super::{Db, StoreError, ledger, schema::adjustments};
use crate::domain::{
    ledger::{Account, Entry},
    time::UnixMs,
};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};

/// What counts towards the limit, and how.
const COUNTED: [AdjustmentState; 2] = [AdjustmentState::Waiting, AdjustmentState::Made];
const SUM: &str = "CAST(COALESCE(SUM(ABS(amount_fen)), 0) AS BIGINT)";

/// Where an adjustment stands. Only a made one has moved fen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdjustmentState {
    /// A second administrator decides.
    Waiting,
    Made,
    Rejected,
    /// Taken back by the one who asked.
    Withdrawn,
}

impl AdjustmentState {
    pub const ALL: [AdjustmentState; 4] = [
        AdjustmentState::Waiting,
        AdjustmentState::Made,
        AdjustmentState::Rejected,
        AdjustmentState::Withdrawn,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            AdjustmentState::Waiting => "waiting",
            AdjustmentState::Made => "made",
            AdjustmentState::Rejected => "rejected",
            AdjustmentState::Withdrawn => "withdrawn",
        }
    }

    fn parse(text: &str) -> Option<AdjustmentState> {
        AdjustmentState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One adjustment. All but its end is fixed when it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub id: i64,
    pub user_id: i64,
    /// What it adds to the balance; below zero it takes away.
    pub fen: i64,
    pub reason: String,
    pub requested_by: String,
    pub requested_at: UnixMs,
    pub decided_by: Option<String>,
    pub state: AdjustmentState,
    pub finished_at: Option<UnixMs>,
}

/// An adjustment as it is asked for.
#[derive(Clone, Debug)]
pub struct NewAdjustment {
    pub intent: String,
    pub user_id: i64,
    pub fen: i64,
    pub reason: String,
    pub requested_by: String,
    pub requested_at: UnixMs,
}

#[derive(Queryable)]
struct Row {
    id: i64,
    _intent: String,
    user_id: i64,
    amount_fen: i64,
    reason: String,
    requested_by: String,
    requested_at: i64,
    decided_by: Option<String>,
    state: String,
    finished_at: Option<i64>,
}

impl Row {
    fn adjustment(self) -> Result<Adjustment, StoreError> {
        Ok(Adjustment {
            id: self.id,
            user_id: self.user_id,
            fen: self.amount_fen,
            reason: self.reason,
            requested_by: self.requested_by,
            requested_at: UnixMs(self.requested_at),
            decided_by: self.decided_by,
            state: AdjustmentState::parse(&self.state).ok_or(StoreError::Unreadable("adjustment"))?,
            finished_at: self.finished_at.map(UnixMs),
        })
    }
}

/// Writes what is asked for. No fen move.
///
/// # Errors
/// The database; a unique violation when the intent is taken.
pub fn insert(db: &mut Db, new: &NewAdjustment) -> Result<Adjustment, StoreError> {
    let id: i64 = diesel::insert_into(adjustments::table)
        .values((
            adjustments::intent.eq(&new.intent),
            adjustments::user_id.eq(new.user_id),
            adjustments::amount_fen.eq(new.fen),
            adjustments::reason.eq(&new.reason),
            adjustments::requested_by.eq(&new.requested_by),
            adjustments::requested_at.eq(new.requested_at.0),
            adjustments::state.eq(AdjustmentState::Waiting.as_str()),
        ))
        .returning(adjustments::id)
        .get_result(db)?;
    by_id(db, id)?.ok_or(StoreError::Unreadable("adjustment"))
}

/// What came of making an adjustment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Done {
        balance: i64,
    },
    /// It was decided before.
    Before,
    /// The balance does not hold what it would take away: nothing was written.
    BelowZero {
        balance: i64,
    },
}

/// The one function that moves fen by hand: ends a waiting adjustment and writes its two legs, unless the balance would
/// go below zero. `decided_by` is the second person, where one is needed.
///
/// # Errors
/// The database; then nothing was written.
pub fn make(
    db: &mut Db,
    adjustment: &Adjustment,
    decided_by: Option<&str>,
    now: UnixMs,
) -> Result<Made, StoreError> {
    let balance = ledger::balance(db, &Account::User(adjustment.user_id))?;
    let after = balance.saturating_add(adjustment.fen);
    if after < 0 {
        return Ok(Made::BelowZero { balance });
    }
    if !finish(db, adjustment.id, AdjustmentState::Made, decided_by, now)? {
        return Ok(Made::Before);
    }
    let entry = Entry::adjustment(adjustment.id, adjustment.user_id, adjustment.fen);
    ledger::insert(db, &entry, None, now)?;
    Ok(Made::Done { balance: after })
}

/// Ends a waiting adjustment that is not made. `false` when it was decided before.
///
/// # Errors
/// The database.
pub fn drop_it(
    db: &mut Db,
    id: i64,
    state: AdjustmentState,
    decided_by: Option<&str>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    if state == AdjustmentState::Made {
        return Ok(false);
    }
    finish(db, id, state, decided_by, now)
}

fn finish(
    db: &mut Db,
    id: i64,
    state: AdjustmentState,
    decided_by: Option<&str>,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let waiting = adjustments::table
        .filter(adjustments::id.eq(id))
        .filter(adjustments::state.eq(AdjustmentState::Waiting.as_str()));
    let finished = diesel::update(waiting)
        .set((
            adjustments::state.eq(state.as_str()),
            adjustments::decided_by.eq(decided_by),
            adjustments::finished_at.eq(now.0),
        ))
        .execute(db)?;
    Ok(finished == 1)
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<Adjustment>, StoreError> {
    let row: Option<Row> = adjustments::table.find(id).first(db).optional()?;
    row.map(Row::adjustment).transpose()
}

/// # Errors
/// The database.
pub fn by_intent(db: &mut Db, requested_by: &str, intent: &str) -> Result<Option<Adjustment>, StoreError> {
    let row: Option<Row> = adjustments::table
        .filter(adjustments::requested_by.eq(requested_by))
        .filter(adjustments::intent.eq(intent))
        .first(db)
        .optional()?;
    row.map(Row::adjustment).transpose()
}

/// How much was moved, or is to be, in a user's balance by requests since then, in either direction.
///
/// # Errors
/// The database.
pub fn moved_since(db: &mut Db, user_id: i64, since: UnixMs) -> Result<i64, StoreError> {
    Ok(adjustments::table
        .filter(adjustments::user_id.eq(user_id))
        .filter(adjustments::requested_at.ge(since.0))
        .filter(adjustments::state.eq_any(COUNTED.map(AdjustmentState::as_str)))
        .select(sql::<BigInt>(SUM))
        .first(db)?)
}

/// The same of what one administrator asked for, in whosever balance.
///
/// # Errors
/// The database.
pub fn asked_by_since(db: &mut Db, requested_by: &str, since: UnixMs) -> Result<i64, StoreError> {
    Ok(adjustments::table
        .filter(adjustments::requested_by.eq(requested_by))
        .filter(adjustments::requested_at.ge(since.0))
        .filter(adjustments::state.eq_any(COUNTED.map(AdjustmentState::as_str)))
        .select(sql::<BigInt>(SUM))
        .first(db)?)
}

/// Newest first.
///
/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64, limit: i64) -> Result<Vec<Adjustment>, StoreError> {
    let rows: Vec<Row> = adjustments::table
        .filter(adjustments::user_id.eq(user_id))
        .order(adjustments::id.desc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(Row::adjustment).collect()
}

/// Those that wait for a second administrator, oldest first.
///
/// # Errors
/// The database.
pub fn waiting(db: &mut Db, limit: i64) -> Result<Vec<Adjustment>, StoreError> {
    let rows: Vec<Row> = adjustments::table
        .filter(adjustments::finished_at.is_null())
        .order(adjustments::id.asc())
        .limit(limit)
        .load(db)?;
    rows.into_iter().map(Row::adjustment).collect()
}
