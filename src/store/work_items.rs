//! What a person must look at.

use super::{Db, StoreError, schema::work_items};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// One matter, open until somebody closes it with a note.
#[derive(Clone, Debug, Queryable)]
pub struct WorkItem {
    pub id: i64,
    pub kind: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub notice_id: String,
    pub opened_at: i64,
    pub closed_at: Option<i64>,
    pub closed_by: Option<String>,
    pub note: Option<String>,
}

/// Opens an item unless the same matter is known. Runs inside the writer, so nobody comes between.
///
/// # Errors
/// The database.
pub fn open_once(
    db: &mut Db,
    kind: &str,
    out_trade_no: &str,
    transaction_id: &str,
    notice_id: &str,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let known = work_items::table
        .filter(work_items::kind.eq(kind))
        .filter(work_items::out_trade_no.eq(out_trade_no))
        .filter(work_items::transaction_id.eq(transaction_id));
    if diesel::select(diesel::dsl::exists(known)).get_result(db)? {
        return Ok(false);
    }
    diesel::insert_into(work_items::table)
        .values((
            work_items::kind.eq(kind),
            work_items::out_trade_no.eq(out_trade_no),
            work_items::transaction_id.eq(transaction_id),
            work_items::notice_id.eq(notice_id),
            work_items::opened_at.eq(now.0),
        ))
        .execute(db)?;
    Ok(true)
}

/// Whether such a matter was ever reported about this number.
///
/// # Errors
/// The database.
pub fn exists(db: &mut Db, kind: &str, out_trade_no: &str) -> Result<bool, StoreError> {
    let known =
        work_items::table.filter(work_items::kind.eq(kind)).filter(work_items::out_trade_no.eq(out_trade_no));
    Ok(diesel::select(diesel::dsl::exists(known)).get_result(db)?)
}

/// `false` when it was closed before or never existed.
///
/// # Errors
/// The database.
pub fn close(db: &mut Db, id: i64, actor: &str, note: &str, now: UnixMs) -> Result<bool, StoreError> {
    let open = work_items::table.filter(work_items::id.eq(id)).filter(work_items::closed_at.is_null());
    let closed = diesel::update(open)
        .set((work_items::closed_at.eq(now.0), work_items::closed_by.eq(actor), work_items::note.eq(note)))
        .execute(db)?;
    Ok(closed == 1)
}

/// # Errors
/// The database.
pub fn count_open(db: &mut Db) -> Result<i64, StoreError> {
    Ok(work_items::table.filter(work_items::closed_at.is_null()).count().get_result(db)?)
}

/// Newest first.
///
/// # Errors
/// The database.
pub fn list(db: &mut Db, before: Option<i64>, limit: i64) -> Result<Vec<WorkItem>, StoreError> {
    Ok(work_items::table
        .filter(work_items::id.lt(before.unwrap_or(i64::MAX)))
        .order(work_items::id.desc())
        .limit(limit)
        .load(db)?)
}
