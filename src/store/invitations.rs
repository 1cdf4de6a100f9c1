//! Links that make one administrator's account each, or give one a new password.

use super::{Db, StoreError, schema::invitations};
use crate::domain::{
    time::UnixMs,
    user::{Role, User},
};
use diesel::prelude::*;

/// A link that is still open. The token itself is nowhere.
#[derive(Clone, Debug)]
pub struct Invitation {
    token_hash: String,
    pub role: Role,
    /// What the owner wrote down about who gets it.
    pub for_whom: String,
    pub invited_by: String,
    pub expires_at: UnixMs,
    /// The account that gets a new password; otherwise a new one is made.
    pub account: Option<i64>,
}

impl Invitation {
    /// Enough of its hash to tell invitations apart, and of no other use.
    pub fn id(&self) -> String {
        self.token_hash.chars().take(16).collect()
    }
}

type Row = (String, String, String, String, i64, Option<i64>);

fn invitation(
    (token_hash, role, for_whom, invited_by, expires_at, account): Row,
) -> Result<Invitation, StoreError> {
    let role = Role::parse_admin(&role).ok_or(StoreError::Unreadable("role"))?;
    Ok(Invitation { token_hash, role, for_whom, invited_by, expires_at: UnixMs(expires_at), account })
}

/// # Errors
/// The database.
pub fn insert(
    db: &mut Db,
    token_hash: &str,
    role: Role,
    for_whom: &str,
    invited_by: &str,
    expires_at: UnixMs,
) -> Result<(), StoreError> {
    diesel::insert_into(invitations::table)
        .values((
            invitations::token_hash.eq(token_hash),
            invitations::role.eq(role.as_str()),
            invitations::for_whom.eq(for_whom),
            invitations::invited_by.eq(invited_by),
            invitations::expires_at.eq(expires_at.0),
        ))
        .execute(db)?;
    Ok(())
}

/// A link that gives this administrator a new password.
///
/// # Errors
/// The database.
pub fn insert_for(
    db: &mut Db,
    token_hash: &str,
    account: &User,
    invited_by: &str,
    expires_at: UnixMs,
) -> Result<(), StoreError> {
    insert(db, token_hash, account.role, &account.username, invited_by, expires_at)?;
    diesel::update(invitations::table.find(token_hash))
        .set(invitations::account_id.eq(account.id))
        .execute(db)?;
    Ok(())
}

/// Those that still open, the next to end first.
///
/// # Errors
/// The database.
pub fn open(db: &mut Db, now: UnixMs) -> Result<Vec<Invitation>, StoreError> {
    let rows: Vec<Row> = invitations::table
        .filter(invitations::expires_at.gt(now.0))
        .order((invitations::expires_at.asc(), invitations::token_hash.asc()))
        .load(db)?;
    rows.into_iter().map(invitation).collect()
}

/// # Errors
/// The database.
pub fn by_hash(db: &mut Db, token_hash: &str, now: UnixMs) -> Result<Option<Invitation>, StoreError> {
    let row: Option<Row> =
        invitations::table.find(token_hash).filter(invitations::expires_at.gt(now.0)).first(db).optional()?;
    row.map(invitation).transpose()
}

/// `true` for the one caller who took it away.
///
/// # Errors
/// The database.
pub fn take(db: &mut Db, invitation: &Invitation) -> Result<bool, StoreError> {
    Ok(diesel::delete(invitations::table.find(&invitation.token_hash)).execute(db)? == 1)
}

/// Those that somebody has handed out, and those for their account.
///
/// # Errors
/// The database.
pub fn delete_of(db: &mut Db, whose: &User) -> Result<(), StoreError> {
    let about = invitations::invited_by.eq(&whose.username).or(invitations::account_id.eq(whose.id));
    diesel::delete(invitations::table.filter(about)).execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn purge(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    diesel::delete(invitations::table.filter(invitations::expires_at.le(now.0))).execute(db)?;
    Ok(())
}
