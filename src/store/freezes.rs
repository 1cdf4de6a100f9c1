//! Users who cannot begin a payment. Money that still arrives is theirs: nothing here is asked when it does.

use super::{Db, StoreError, schema::freezes};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// Since when a user is frozen, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Freeze {
    pub user_id: i64,
    pub at: i64,
    pub actor: String,
    pub reason: String,
}

/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64) -> Result<Option<Freeze>, StoreError> {
    Ok(freezes::table.find(user_id).first(db).optional()?)
}

/// Those of these users that are frozen.
///
/// # Errors
/// The database.
pub fn among(db: &mut Db, users: &[i64]) -> Result<Vec<i64>, StoreError> {
    Ok(freezes::table.filter(freezes::user_id.eq_any(users)).select(freezes::user_id).load(db)?)
}

/// `false` when the user was frozen before: the first reason stays.
///
/// # Errors
/// The database.
pub fn insert(db: &mut Db, user_id: i64, actor: &str, reason: &str, now: UnixMs) -> Result<bool, StoreError> {
    if of_user(db, user_id)?.is_some() {
        return Ok(false);
    }
    diesel::insert_into(freezes::table)
        .values((
            freezes::user_id.eq(user_id),
            freezes::at.eq(now.0),
            freezes::actor.eq(actor),
            freezes::reason.eq(reason),
        ))
        .execute(db)?;
    Ok(true)
}

/// `false` when the user was not frozen.
///
/// # Errors
/// The database.
pub fn delete(db: &mut Db, user_id: i64) -> Result<bool, StoreError> {
    Ok(diesel::delete(freezes::table.find(user_id)).execute(db)? == 1)
}
