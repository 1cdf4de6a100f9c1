//! Things that work once: the `state` of an OAuth trip, the link that makes the first administrator.

use super::{
    Db, StoreError,
    schema::{oauth_states, setup_links},
};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// # Errors
/// The database.
pub fn put_oauth_state(
    db: &mut Db,
    state_hash: &str,
    browser_hash: &str,
    next: &str,
    expires_at: UnixMs,
) -> Result<(), StoreError> {
    diesel::insert_into(oauth_states::table)
        .values((
            oauth_states::state_hash.eq(state_hash),
            oauth_states::browser_hash.eq(browser_hash),
            oauth_states::next.eq(next),
            oauth_states::expires_at.eq(expires_at.0),
        ))
        .execute(db)?;
    Ok(())
}

/// Uses up a state of this very browser and says where the trip was to end.
///
/// # Errors
/// The database.
pub fn take_oauth_state(
    db: &mut Db,
    state_hash: &str,
    browser_hash: &str,
    now: UnixMs,
) -> Result<Option<String>, StoreError> {
    let mine = oauth_states::table
        .filter(oauth_states::state_hash.eq(state_hash))
        .filter(oauth_states::browser_hash.eq(browser_hash))
        .filter(oauth_states::expires_at.gt(now.0));
    Ok(diesel::delete(mine).returning(oauth_states::next).get_result(db).optional()?)
}

/// # Errors
/// The database.
pub fn purge_oauth_states(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    diesel::delete(oauth_states::table.filter(oauth_states::expires_at.le(now.0))).execute(db)?;
    Ok(())
}

/// Makes this the only setup link.
///
/// # Errors
/// The database.
pub fn put_setup_link(db: &mut Db, token_hash: &str, expires_at: UnixMs) -> Result<(), StoreError> {
    diesel::delete(setup_links::table).execute(db)?;
    diesel::insert_into(setup_links::table)
        .values((setup_links::token_hash.eq(token_hash), setup_links::expires_at.eq(expires_at.0)))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn setup_link_is_open(db: &mut Db, token_hash: &str, now: UnixMs) -> Result<bool, StoreError> {
    let open = setup_links::table.find(token_hash.to_owned()).filter(setup_links::expires_at.gt(now.0));
    Ok(diesel::select(diesel::dsl::exists(open)).get_result(db)?)
}

/// `true` for the one caller who may go through.
///
/// # Errors
/// The database.
pub fn take_setup_link(db: &mut Db, token_hash: &str, now: UnixMs) -> Result<bool, StoreError> {
    let open = setup_links::table
        .filter(setup_links::token_hash.eq(token_hash))
        .filter(setup_links::expires_at.gt(now.0));
    Ok(diesel::delete(open).execute(db)? == 1)
}
