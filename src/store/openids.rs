//! Which WeChat user, under which appid, is which of our users.

use super::{
    Db, StoreError,
    schema::{openids, users},
    users::UserRow,
};
use crate::domain::{ids::Openid, time::UnixMs, user::User};
use diesel::prelude::*;

/// # Errors
/// The database.
pub fn user_of(db: &mut Db, appid: &str, openid: &Openid) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> = openids::table
        .inner_join(users::table)
        .filter(openids::appid.eq(appid))
        .filter(openids::openid.eq(openid.as_str()))
        .select(users::all_columns)
        .first(db)
        .optional()?;
    row.map(UserRow::user).transpose()
}

/// The openid of the phone this user is bound to under this appid.
///
/// # Errors
/// The database.
pub fn latest_of(db: &mut Db, appid: &str, user_id: i64) -> Result<Option<Openid>, StoreError> {
    let openid: Option<String> = openids::table
        .filter(openids::appid.eq(appid))
        .filter(openids::user_id.eq(user_id))
        .order(openids::created_at.desc())
        .select(openids::openid)
        .first(db)
        .optional()?;
    Ok(openid.as_deref().and_then(Openid::parse))
}

/// Nobody signs in to this account by phone any more.
///
/// # Errors
/// The database.
pub fn delete_of_user(db: &mut Db, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(openids::table.filter(openids::user_id.eq(user_id))).execute(db)?;
    Ok(())
}

/// # Errors
/// The database; a unique violation when the openid belongs to somebody already.
pub fn bind(db: &mut Db, appid: &str, openid: &Openid, user_id: i64, now: UnixMs) -> Result<(), StoreError> {
    diesel::insert_into(openids::table)
        .values((
            openids::appid.eq(appid),
            openids::openid.eq(openid.as_str()),
            openids::user_id.eq(user_id),
            openids::created_at.eq(now.0),
        ))
        .execute(db)?;
    Ok(())
}

/// Every phone of a user: its appid and openid.
///
/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64) -> Result<Vec<(String, String)>, StoreError> {
    Ok(openids::table
        .filter(openids::user_id.eq(user_id))
        .order(openids::created_at.asc())
        .select((openids::appid, openids::openid))
        .load(db)?)
}
