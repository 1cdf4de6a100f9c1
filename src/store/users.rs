//! Accounts.

use super::{
    Db, StoreError,
    schema::{second_factors, users},
};
use crate::domain::{
    ids::Username,
    time::UnixMs,
    user::{Right, Role, User},
};
use diesel::{Connection, prelude::*};
use std::collections::{BTreeSet, HashMap};

#[derive(Queryable)]
pub(super) struct UserRow {
    id: i64,
    username: String,
    password_hash: String,
    role: String,
    created_at: i64,
    _disabled_at: Option<i64>,
}

impl UserRow {
    pub(super) fn user(self) -> Result<User, StoreError> {
        let role = Role::parse(&self.role).ok_or(StoreError::Unreadable("role"))?;
        Ok(User { id: self.id, username: self.username, role })
    }
}

/// `None` when the name is taken.
///
/// # Errors
/// The database.
pub fn insert(
    db: &mut Db,
    name: &Username,
    password_hash: &str,
    role: Role,
    now: UnixMs,
) -> Result<Option<i64>, StoreError> {
    // In a savepoint: a name that is taken must not spoil the transaction around it.
    let inserted: Result<i64, StoreError> = db.transaction(|db| {
        let inserted = diesel::insert_into(users::table).values((
            users::username.eq(name.as_str()),
            users::password_hash.eq(password_hash),
            users::role.eq(role.as_str()),
            users::created_at.eq(now.0),
        ));
        Ok(inserted.returning(users::id).get_result(db)?)
    });
    match inserted {
        Err(error) if error.is_unique_violation() => Ok(None),
        other => other.map(Some),
    }
}

/// The account and its password hash.
///
/// # Errors
/// The database.
pub fn by_name(db: &mut Db, name: &Username) -> Result<Option<(User, String)>, StoreError> {
    let row: Option<UserRow> = users::table.filter(users::username.eq(name.as_str())).first(db).optional()?;
    row.map(|row| {
        let hash = row.password_hash.clone();
        Ok((row.user()?, hash))
    })
    .transpose()
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<User>, StoreError> {
    let row: Option<UserRow> = users::table.find(id).first(db).optional()?;
    row.map(UserRow::user).transpose()
}

/// Whether somebody can decide who the administrators are.
///
/// # Errors
/// The database.
pub fn any_admin(db: &mut Db) -> Result<bool, StoreError> {
    another_with(db, Right::Accounts, 0)
}

/// Whether somebody besides this one has a right, with or without a password that opens.
///
/// # Errors
/// The database.
pub fn another_with(db: &mut Db, right: Right, id: i64) -> Result<bool, StoreError> {
    let holders: Vec<&str> = right.holders().map(Role::as_str).collect();
    let others = users::table
        .filter(users::role.eq_any(holders))
        .filter(users::disabled_at.is_null())
        .filter(users::id.ne(id));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(db)?)
}

/// Whether somebody besides this one decides who the administrators are and has a password that opens.
///
/// # Errors
/// The database.
pub fn another_owner(db: &mut Db, id: i64) -> Result<bool, StoreError> {
    let holders: Vec<&str> = Right::Accounts.holders().map(Role::as_str).collect();
    let others = users::table
        .filter(users::role.eq_any(holders))
        .filter(users::disabled_at.is_null())
        .filter(users::password_hash.ne(NO_PASSWORD))
        .filter(users::id.ne(id));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(db)?)
}

/// The names of these accounts.
///
/// # Errors
/// The database.
pub fn names(db: &mut Db, ids: impl Iterator<Item = i64>) -> Result<HashMap<i64, String>, StoreError> {
    let ids: BTreeSet<i64> = ids.collect();
    let named: Vec<(i64, String)> =
        users::table.filter(users::id.eq_any(ids)).select((users::id, users::username)).load(db)?;
    Ok(named.into_iter().collect())
}

/// An administrator's account as its owner sees it.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: User,
    pub created_at: UnixMs,
    pub disabled_at: Option<UnixMs>,
    /// A code is asked for after the password.
    pub has_second_factor: bool,
    /// It waits for a new password: none opens it.
    pub has_no_password: bool,
}

type AccountRow = (i64, String, String, i64, Option<i64>, Option<i64>, String);

fn account(
    (id, username, role, created_at, disabled_at, confirmed_at, password_hash): AccountRow,
) -> Result<Account, StoreError> {
    let role = Role::parse(&role).ok_or(StoreError::Unreadable("role"))?;
    Ok(Account {
        user: User { id, username, role },
        created_at: UnixMs(created_at),
        disabled_at: disabled_at.map(UnixMs),
        has_second_factor: confirmed_at.is_some(),
        has_no_password: password_hash == NO_PASSWORD,
    })
}

/// Every administrator, also those whose account is closed, oldest first.
///
/// # Errors
/// The database.
pub fn admins(db: &mut Db) -> Result<Vec<Account>, StoreError> {
    let rows: Vec<AccountRow> = users::table
        .left_join(second_factors::table.on(second_factors::user_id.eq(users::id)))
        .filter(users::role.ne(Role::User.as_str()))
        .order(users::id.asc())
        .select((
            users::id,
            users::username,
            users::role,
            users::created_at,
            users::disabled_at,
            second_factors::confirmed_at.nullable(),
            users::password_hash,
        ))
        .load(db)?;
    rows.into_iter().map(account).collect()
}

/// # Errors
/// The database.
pub fn admin(db: &mut Db, id: i64) -> Result<Option<Account>, StoreError> {
    Ok(admins(db)?.into_iter().find(|account| account.user.id == id))
}

/// # Errors
/// The database.
pub fn set_role(db: &mut Db, id: i64, role: Role) -> Result<(), StoreError> {
    diesel::update(users::table.find(id)).set(users::role.eq(role.as_str())).execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn set_disabled(db: &mut Db, id: i64, at: Option<UnixMs>) -> Result<(), StoreError> {
    diesel::update(users::table.find(id)).set(users::disabled_at.eq(at.map(|at| at.0))).execute(db)?;
    Ok(())
}

/// Whether nobody signs in to it any more.
///
/// # Errors
/// The database.
pub fn is_disabled(db: &mut Db, id: i64) -> Result<bool, StoreError> {
    let closed = users::table.find(id).filter(users::disabled_at.is_not_null());
    Ok(diesel::select(diesel::dsl::exists(closed)).get_result(db)?)
}

/// The hash of an account's password.
///
/// # Errors
/// The database.
pub fn password_hash(db: &mut Db, id: i64) -> Result<Option<String>, StoreError> {
    Ok(users::table.find(id).select(users::password_hash).first(db).optional()?)
}

/// What no password hashes to.
const NO_PASSWORD: &str = "none";

/// From now on no password opens the account, until it is given a new one.
///
/// # Errors
/// The database.
pub fn void_password(db: &mut Db, id: i64) -> Result<(), StoreError> {
    diesel::update(users::table.find(id)).set(users::password_hash.eq(NO_PASSWORD)).execute(db)?;
    Ok(())
}

/// Replaces a password. `false` when there is no such account.
///
/// # Errors
/// The database.
pub fn set_password(db: &mut Db, name: &Username, password_hash: &str) -> Result<bool, StoreError> {
    let changed = diesel::update(users::table.filter(users::username.eq(name.as_str())))
        .set(users::password_hash.eq(password_hash))
        .execute(db)?;
    Ok(changed == 1)
}

/// An account as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub user: User,
    pub created_at: UnixMs,
}

/// Newest first; `begins` is how the name begins, `before` the id of the last one shown.
///
/// # Errors
/// The database.
pub fn list(
    db: &mut Db,
    begins: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let mut query = users::table
        .filter(users::id.lt(before.unwrap_or(i64::MAX)))
        .order(users::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(begins) = begins {
        let plain = begins.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query = query.filter(users::username.like(format!("{plain}%")).escape('\\'));
    }
    let rows: Vec<UserRow> = query.load(db)?;
    let listed = |row: UserRow| {
        let created_at = UnixMs(row.created_at);
        Ok(Listed { user: row.user()?, created_at })
    };
    rows.into_iter().map(listed).collect()
}

/// The account and when it was made.
///
/// # Errors
/// The database.
pub fn listed(db: &mut Db, id: i64) -> Result<Option<Listed>, StoreError> {
    let row: Option<UserRow> = users::table.find(id).first(db).optional()?;
    let listed = row.map(|row| {
        let created_at = UnixMs(row.created_at);
        Ok(Listed { user: row.user()?, created_at })
    });
    listed.transpose()
}
