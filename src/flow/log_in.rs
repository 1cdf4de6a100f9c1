//! Signing in and out. Every sign-in is a new session; the old one of that browser is dead.

use super::{FlowError, password};
use crate::{
    app::App,
    domain::{
        ids::{Openid, Username},
        user::User,
    },
    store::{
        sessions::{self, Session},
        users,
    },
    token,
};

/// Idle life of a session, in seconds: 14 days for users, 12 hours for administrators.
const USER_LIFE_SECS: i64 = 14 * 24 * 3600;
const ADMIN_LIFE_SECS: i64 = 12 * 3600;
/// A session in use is written back at most this often, in ms.
const TOUCH_MS: i64 = 5 * 60_000;

/// The user, if name and password fit. Unknown name and wrong password look and last the same.
///
/// # Errors
/// The books; too many passwords at once.
pub async fn check(app: &App, username: &str, password: String) -> Result<Option<User>, FlowError> {
    let found = match Username::parse(username) {
        Some(name) => app.store.read(move |db| users::by_name(db, &name)).await?,
        None => None,
    };
    let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
    let right = password::verify(app, password, hash).await?;
    if !right {
        app.metrics.log_in_failures.with_label_values::<&str>(&[]).inc();
    }
    Ok(user.filter(|_| right))
}

/// Opens a session and ends the one this browser had. Gives the token for the cookie.
///
/// # Errors
/// The books.
pub async fn open_session(
    app: &App,
    user: &User,
    old_token: Option<String>,
    openid: Option<Openid>,
) -> Result<String, FlowError> {
    let secret = app.clock.token()?;
    let (hash, now) = (token::hash(&secret), app.clock.now());
    let (user_id, expires, appid) = (user.id, now.plus_secs(life_secs(user)), app.appid().to_owned());
    app.store
        .write(move |db| {
            if let Some(old) = old_token {
                sessions::delete(db, &token::hash(&old))?;
            }
            sessions::insert(db, &hash, user_id, openid.as_ref().map(|o| (o, appid.as_str())), now, expires)
        })
        .await?;
    Ok(secret)
}

/// The live session behind a cookie's token.
///
/// # Errors
/// The books.
pub async fn session(app: &App, secret: &str) -> Result<Option<Session>, FlowError> {
    let (hash, now, appid) = (token::hash(secret), app.clock.now(), app.appid().to_owned());
    let key = hash.clone();
    let found = app.store.read(move |db| sessions::find(db, &key, &appid, now)).await?;
    if let Some(session) = &found
        && now.since(session.seen_at) > TOUCH_MS
    {
        let expires = now.plus_secs(life_secs(&session.user));
        if let Err(error) = app.store.write(move |db| sessions::touch(db, &hash, now, expires)).await {
            // A full disk is no reason to show nobody their orders.
            tracing::warn!("a session could not be prolonged: {error}");
        }
    }
    Ok(found)
}

/// # Errors
/// The books.
pub async fn log_out(app: &App, secret: &str) -> Result<(), FlowError> {
    let hash = token::hash(secret);
    app.store.write(move |db| sessions::delete(db, &hash)).await?;
    Ok(())
}

const fn life_secs(user: &User) -> i64 {
    if user.role.is_admin() { ADMIN_LIFE_SECS } else { USER_LIFE_SECS }
}
