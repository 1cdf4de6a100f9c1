//! Second factors of administrators: the sealed secret, how often it failed, recovery codes by their hash, and browsers
//! that still have to show a code.

use super::{
    Db, StoreError,
    schema::{code_waits, recovery_codes, second_factors, users},
    users::UserRow,
};
use crate::domain::{time::UnixMs, user::User};
use diesel::prelude::*;

/// A second factor as it is kept.
#[derive(Clone, Debug, Queryable)]
pub struct Factor {
    pub user_id: i64,
    /// Sealed; see `token::seal`.
    pub secret: String,
    pub confirmed_at: Option<i64>,
    /// The time step of the newest code that was taken.
    pub last_step: i64,
    /// Wrong codes one after the other.
    pub failures: i64,
    /// Until then no code is looked at, UTC ms.
    pub blocked_until: i64,
}

/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64) -> Result<Option<Factor>, StoreError> {
    Ok(second_factors::table.find(user_id).first(db).optional()?)
}

/// Whether a code is asked for after this account's password.
///
/// # Errors
/// The database.
pub fn is_on(db: &mut Db, user_id: i64) -> Result<bool, StoreError> {
    let on = second_factors::table.find(user_id).filter(second_factors::confirmed_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(on)).get_result(db)?)
}

/// A secret whose owner has yet to show that the phone has it, in place of any other.
///
/// # Errors
/// The database.
pub fn begin(db: &mut Db, user_id: i64, secret: &str) -> Result<(), StoreError> {
    remove(db, user_id)?;
    diesel::insert_into(second_factors::table)
        .values((second_factors::user_id.eq(user_id), second_factors::secret.eq(secret)))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn confirm(db: &mut Db, user_id: i64, now: UnixMs) -> Result<(), StoreError> {
    diesel::update(second_factors::table.find(user_id))
        .set(second_factors::confirmed_at.eq(now.0))
        .execute(db)?;
    Ok(())
}

/// A code was right: it and all before it are used up, and failures are forgotten.
///
/// # Errors
/// The database.
pub fn accept(db: &mut Db, user_id: i64, last_step: i64) -> Result<(), StoreError> {
    diesel::update(second_factors::table.find(user_id))
        .set((
            second_factors::last_step.eq(last_step),
            second_factors::failures.eq(0),
            second_factors::blocked_until.eq(0),
        ))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn refuse(db: &mut Db, user_id: i64, failures: i64, blocked_until: UnixMs) -> Result<(), StoreError> {
    diesel::update(second_factors::table.find(user_id))
        .set((second_factors::failures.eq(failures), second_factors::blocked_until.eq(blocked_until.0)))
        .execute(db)?;
    Ok(())
}

/// With its recovery codes and whoever waits to show a code. `false` when there was none in use.
///
/// # Errors
/// The database.
pub fn remove(db: &mut Db, user_id: i64) -> Result<bool, StoreError> {
    let was_on = is_on(db, user_id)?;
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user_id))).execute(db)?;
    forget_waits(db, user_id)?;
    diesel::delete(second_factors::table.find(user_id)).execute(db)?;
    Ok(was_on)
}

/// In place of all earlier ones.
///
/// # Errors
/// The database.
pub fn put_codes(db: &mut Db, user_id: i64, hashes: &[String]) -> Result<(), StoreError> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user_id))).execute(db)?;
    for hash in hashes {
        diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::user_id.eq(user_id), recovery_codes::code_hash.eq(hash)))
            .execute(db)?;
    }
    Ok(())
}

/// `true` for the one use a code has.
///
/// # Errors
/// The database.
pub fn use_code(db: &mut Db, user_id: i64, hash: &str, now: UnixMs) -> Result<bool, StoreError> {
    let unused = recovery_codes::table
        .filter(recovery_codes::user_id.eq(user_id))
        .filter(recovery_codes::code_hash.eq(hash))
        .filter(recovery_codes::used_at.is_null());
    Ok(diesel::update(unused).set(recovery_codes::used_at.eq(now.0)).execute(db)? == 1)
}

/// # Errors
/// The database.
pub fn codes_left(db: &mut Db, user_id: i64) -> Result<i64, StoreError> {
    Ok(recovery_codes::table
        .filter(recovery_codes::user_id.eq(user_id))
        .filter(recovery_codes::used_at.is_null())
        .count()
        .get_result(db)?)
}

/// A browser whose password was right; any earlier wait of its is over.
///
/// # Errors
/// The database.
pub fn wait(
    db: &mut Db,
    browser_hash: &str,
    user_id: i64,
    next: &str,
    expires_at: UnixMs,
) -> Result<(), StoreError> {
    stop_waiting(db, browser_hash)?;
    diesel::insert_into(code_waits::table)
        .values((
            code_waits::browser_hash.eq(browser_hash),
            code_waits::user_id.eq(user_id),
            code_waits::next.eq(next),
            code_waits::expires_at.eq(expires_at.0),
        ))
        .execute(db)?;
    Ok(())
}

/// Who it is, if the password was right, and where the sign-in was to end.
///
/// # Errors
/// The database.
pub fn waiting(db: &mut Db, browser_hash: &str, now: UnixMs) -> Result<Option<(User, String)>, StoreError> {
    let row: Option<(UserRow, String)> = code_waits::table
        .inner_join(users::table)
        .filter(code_waits::browser_hash.eq(browser_hash))
        .filter(code_waits::expires_at.gt(now.0))
        .filter(users::disabled_at.is_null())
        .select((users::all_columns, code_waits::next))
        .first(db)
        .optional()?;
    row.map(|(user, next)| Ok((user.user()?, next))).transpose()
}

/// # Errors
/// The database.
pub fn stop_waiting(db: &mut Db, browser_hash: &str) -> Result<(), StoreError> {
    diesel::delete(code_waits::table.find(browser_hash)).execute(db)?;
    Ok(())
}

/// Whoever has to show a code of this account begins again with the password.
///
/// # Errors
/// The database.
pub fn forget_waits(db: &mut Db, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(code_waits::table.filter(code_waits::user_id.eq(user_id))).execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn purge_waits(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    diesel::delete(code_waits::table.filter(code_waits::expires_at.le(now.0))).execute(db)?;
    Ok(())
}
