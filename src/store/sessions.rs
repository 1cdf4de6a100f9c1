//! Server-side sessions: revocable, known only by the hash of their token.

use super::{
    Db, StoreError,
    schema::{sessions, users},
    users::UserRow,
};
use crate::domain::{ids::Openid, time::UnixMs, user::User};
use diesel::prelude::*;

/// A live session.
#[derive(Clone, Debug)]
pub struct Session {
    pub user: User,
    /// The WeChat user whose browser this is, under our appid.
    pub openid: Option<Openid>,
    pub seen_at: UnixMs,
}

/// Where somebody signed in, as far as their browser says. Kept of administrators, empty of payers.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub ip: String,
    pub device: String,
}

/// A live session in a list.
#[derive(Clone, Debug, Queryable)]
pub struct Listed {
    token_hash: String,
    pub created_at: i64,
    pub seen_at: i64,
    pub ip: String,
    pub device: String,
}

impl Listed {
    /// Enough of its hash to tell an account's sessions apart, and of no other use.
    pub fn id(&self) -> String {
        self.token_hash.chars().take(16).collect()
    }

    pub fn is(&self, token_hash: &str) -> bool {
        self.token_hash == token_hash
    }
}

/// openid, its appid, seen_at.
type Phone = (Option<String>, Option<String>, i64);

/// # Errors
/// The database.
pub fn insert(
    db: &mut Db,
    token_hash: &str,
    user_id: i64,
    openid: Option<(&Openid, &str)>,
    place: &Place,
    now: UnixMs,
    expires_at: UnixMs,
) -> Result<(), StoreError> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::token_hash.eq(token_hash),
            sessions::user_id.eq(user_id),
            sessions::openid.eq(openid.map(|(openid, _)| openid.as_str())),
            sessions::appid.eq(openid.map(|(_, appid)| appid)),
            sessions::created_at.eq(now.0),
            sessions::seen_at.eq(now.0),
            sessions::expires_at.eq(expires_at.0),
            sessions::ip.eq(&place.ip),
            sessions::device.eq(&place.device),
        ))
        .execute(db)?;
    Ok(())
}

/// The session, unless it has expired. An openid of another appid is as good as none.
///
/// # Errors
/// The database.
pub fn find(db: &mut Db, token_hash: &str, appid: &str, now: UnixMs) -> Result<Option<Session>, StoreError> {
    let found: Option<(Phone, UserRow)> = sessions::table
        .inner_join(users::table)
        .filter(sessions::token_hash.eq(token_hash))
        .filter(sessions::expires_at.gt(now.0))
        .filter(users::disabled_at.is_null())
        .select(((sessions::openid, sessions::appid, sessions::seen_at), users::all_columns))
        .first(db)
        .optional()?;
    found
        .map(|((openid, of_appid, seen_at), user)| {
            let openid =
                openid.filter(|_| of_appid.as_deref() == Some(appid)).and_then(|text| Openid::parse(&text));
            Ok(Session { user: user.user()?, openid, seen_at: UnixMs(seen_at) })
        })
        .transpose()
}

/// Keeps a session in use alive.
///
/// # Errors
/// The database.
pub fn touch(db: &mut Db, token_hash: &str, now: UnixMs, expires_at: UnixMs) -> Result<(), StoreError> {
    diesel::update(sessions::table.find(token_hash))
        .set((sessions::seen_at.eq(now.0), sessions::expires_at.eq(expires_at.0)))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn set_openid(db: &mut Db, token_hash: &str, openid: &Openid, appid: &str) -> Result<(), StoreError> {
    diesel::update(sessions::table.find(token_hash))
        .set((sessions::openid.eq(openid.as_str()), sessions::appid.eq(appid)))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn delete(db: &mut Db, token_hash: &str) -> Result<(), StoreError> {
    diesel::delete(sessions::table.find(token_hash)).execute(db)?;
    Ok(())
}

/// Signs a user out everywhere.
///
/// # Errors
/// The database.
pub fn delete_of_user(db: &mut Db, user_id: i64) -> Result<(), StoreError> {
    diesel::delete(sessions::table.filter(sessions::user_id.eq(user_id))).execute(db)?;
    Ok(())
}

/// Signs a user out everywhere but here.
///
/// # Errors
/// The database.
pub fn delete_others(db: &mut Db, user_id: i64, token_hash: &str) -> Result<(), StoreError> {
    let others =
        sessions::table.filter(sessions::user_id.eq(user_id)).filter(sessions::token_hash.ne(token_hash));
    diesel::delete(others).execute(db)?;
    Ok(())
}

/// An account's live sessions, the latest used first.
///
/// # Errors
/// The database.
pub fn of_user(db: &mut Db, user_id: i64, now: UnixMs) -> Result<Vec<Listed>, StoreError> {
    Ok(sessions::table
        .filter(sessions::user_id.eq(user_id))
        .filter(sessions::expires_at.gt(now.0))
        .order(sessions::seen_at.desc())
        .select((
            sessions::token_hash,
            sessions::created_at,
            sessions::seen_at,
            sessions::ip,
            sessions::device,
        ))
        .load(db)?)
}

/// Ends the session of an account that is listed under this id. `false` when there is none.
///
/// # Errors
/// The database.
pub fn delete_listed(db: &mut Db, user_id: i64, id: &str, now: UnixMs) -> Result<bool, StoreError> {
    match of_user(db, user_id, now)?.into_iter().find(|listed| listed.id() == id) {
        Some(listed) => delete(db, &listed.token_hash).map(|()| true),
        None => Ok(false),
    }
}

/// # Errors
/// The database.
pub fn purge(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    diesel::delete(sessions::table.filter(sessions::expires_at.le(now.0))).execute(db)?;
    Ok(())
}
