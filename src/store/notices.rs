//! Messages from gateways as they arrived. Authentic ones are kept for ever; of the others the
//! newest, cut short, so that a flood cannot fill the disk.

use super::{
    Db, StoreError,
    schema::{notices, rejected_notices},
};
use crate::domain::{
    ids::{OutTradeNo, TransactionId},
    order::Source,
    time::UnixMs,
};
use diesel::prelude::*;

/// How many rejected messages are kept.
pub const REJECTED_KEPT: i64 = 10_000;
/// How much of a rejected body is kept, in bytes.
pub const REJECTED_BODY: usize = 16 * 1024;

/// One message and what became of it.
#[derive(Clone, Debug, Queryable)]
pub struct Notice {
    /// Sorts by time.
    pub id: String,
    pub received_at: i64,
    pub provider: String,
    pub source: String,
    pub verdict: String,
    pub out_trade_no: Option<String>,
    pub transaction_id: Option<String>,
    pub remote_ip: String,
    pub headers: String,
    pub body: Vec<u8>,
    /// What we answered, in full.
    pub reply: String,
}

macro_rules! row {
    ($table:ident, $notice:expr) => {{
        let notice = $notice;
        (
            $table::id.eq(&notice.id),
            $table::received_at.eq(notice.received_at),
            $table::provider.eq(&notice.provider),
            $table::source.eq(&notice.source),
            $table::verdict.eq(&notice.verdict),
            $table::out_trade_no.eq(&notice.out_trade_no),
            $table::transaction_id.eq(&notice.transaction_id),
            $table::remote_ip.eq(&notice.remote_ip),
            $table::headers.eq(&notice.headers),
            $table::body.eq(&notice.body),
            $table::reply.eq(&notice.reply),
        )
    }};
}

/// Keeps an authentic message for ever.
///
/// # Errors
/// The database.
pub fn insert(db: &mut Db, notice: &Notice) -> Result<(), StoreError> {
    diesel::insert_into(notices::table).values(row!(notices, notice)).execute(db)?;
    Ok(())
}

/// Keeps a message nobody vouches for, and forgets the oldest beyond `REJECTED_KEPT`.
///
/// # Errors
/// The database.
pub fn insert_rejected(db: &mut Db, notice: &Notice) -> Result<(), StoreError> {
    diesel::insert_into(rejected_notices::table).values(row!(rejected_notices, notice)).execute(db)?;
    let last_kept: Option<String> = rejected_notices::table
        .order(rejected_notices::id.desc())
        .offset(REJECTED_KEPT)
        .select(rejected_notices::id)
        .first(db)
        .optional()?;
    if let Some(id) = last_kept {
        diesel::delete(rejected_notices::table.filter(rejected_notices::id.le(id))).execute(db)?;
    }
    Ok(())
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: &str) -> Result<Option<Notice>, StoreError> {
    let kept: Option<Notice> = notices::table.find(id.to_owned()).first(db).optional()?;
    match kept {
        Some(notice) => Ok(Some(notice)),
        None => Ok(rejected_notices::table.find(id.to_owned()).first(db).optional()?),
    }
}

/// Newest first, both kinds; `before` is the id of the last one shown.
///
/// # Errors
/// The database.
pub fn list(
    db: &mut Db,
    rejected_only: bool,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<Notice>, StoreError> {
    // Ids are hex, so `~` is greater than all of them.
    let before = before.unwrap_or("~");
    let mut all: Vec<Notice> = rejected_notices::table
        .filter(rejected_notices::id.lt(before))
        .order(rejected_notices::id.desc())
        .limit(limit)
        .load(db)?;
    if !rejected_only {
        let kept: Vec<Notice> =
            notices::table.filter(notices::id.lt(before)).order(notices::id.desc()).limit(limit).load(db)?;
        all.extend(kept);
    }
    all.sort_by(|a, b| b.id.cmp(&a.id));
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(all)
}

/// Those that name one of these attempts, oldest first, at most 200.
///
/// # Errors
/// The database.
pub fn of_attempts(db: &mut Db, numbers: &[OutTradeNo]) -> Result<Vec<Notice>, StoreError> {
    let names: Vec<&str> = numbers.iter().map(OutTradeNo::as_str).collect();
    let mut all: Vec<Notice> = notices::table
        .filter(notices::out_trade_no.eq_any(names.clone()))
        .order(notices::id.asc())
        .limit(100)
        .load(db)?;
    let rejected: Vec<Notice> = rejected_notices::table
        .filter(rejected_notices::out_trade_no.eq_any(names))
        .order(rejected_notices::id.asc())
        .limit(100)
        .load(db)?;
    all.extend(rejected);
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// Whether an answer to a query of ours with this verdict about this payment is kept.
///
/// # Errors
/// The database.
pub fn answer_is_kept(
    db: &mut Db,
    number: &OutTradeNo,
    payment: &TransactionId,
    verdict: &str,
) -> Result<bool, StoreError> {
    let kept = notices::table
        .filter(notices::out_trade_no.eq(number.as_str()))
        .filter(notices::transaction_id.eq(payment.as_str()))
        .filter(notices::verdict.eq(verdict))
        .filter(notices::source.ne(Source::Notify.as_str()));
    Ok(diesel::select(diesel::dsl::exists(kept)).get_result(db)?)
}

/// When the newest authentic callback came.
///
/// # Errors
/// The database.
pub fn last_authentic(db: &mut Db) -> Result<Option<UnixMs>, StoreError> {
    let at: Option<i64> = notices::table
        .filter(notices::source.eq(Source::Notify.as_str()))
        .order(notices::id.desc())
        .select(notices::received_at)
        .first(db)
        .optional()?;
    Ok(at.map(UnixMs))
}
