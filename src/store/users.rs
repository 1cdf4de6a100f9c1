//! Accounts.

use super::{Db, StoreError, schema::users};
use crate::domain::{
    ids::Username,
    time::UnixMs,
    user::{Role, User},
};
use diesel::{Connection, prelude::*};

#[derive(Queryable)]
pub(super) struct UserRow {
    id: i64,
    username: String,
    password_hash: String,
    role: String,
    created_at: i64,
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

/// # Errors
/// The database.
pub fn any_admin(db: &mut Db) -> Result<bool, StoreError> {
    let admins = users::table.filter(users::role.eq(Role::Owner.as_str()));
    Ok(diesel::select(diesel::dsl::exists(admins)).get_result(db)?)
}

/// Whether somebody besides this one is an administrator.
///
/// # Errors
/// The database.
pub fn another_admin(db: &mut Db, id: i64) -> Result<bool, StoreError> {
    let others = users::table.filter(users::role.eq(Role::Owner.as_str())).filter(users::id.ne(id));
    Ok(diesel::select(diesel::dsl::exists(others)).get_result(db)?)
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
