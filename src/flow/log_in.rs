//! Signing in and out. Every sign-in is a new session; the old one of that browser is dead.

use super::{FlowError, password};
use crate::{
    app::App,
    domain::{
        ids::{Openid, Username},
        time::UnixMs,
        user::User,
    },
    store::{
        Db, StoreError,
        audit_log::{self, Act},
        second_factors,
        sessions::{self, Place, Session},
        users,
    },
    token,
};

/// Idle life of a session, in seconds: 14 days for users, 12 hours for administrators.
const USER_LIFE_SECS: i64 = 14 * 24 * 3600;
const ADMIN_LIFE_SECS: i64 = 12 * 3600;
/// How long after the password the code may come.
const CODE_WAIT_SECS: i64 = 5 * 60;
/// A session in use is written back at most this often, in ms.
const TOUCH_MS: i64 = 5 * 60_000;

/// A password that was right when the books were read. Hashing takes its time, and waits for its turn: whoever acts on it
/// asks within the change whether it is still.
pub struct Proof {
    user_id: i64,
    hash: String,
}

impl Proof {
    /// Whether the account is open and the password the same as then.
    ///
    /// # Errors
    /// The database.
    pub(super) fn holds(&self, db: &mut Db) -> Result<bool, StoreError> {
        let is_same = users::password_hash(db, self.user_id)?.as_ref() == Some(&self.hash);
        Ok(is_same && !users::is_disabled(db, self.user_id)?)
    }
}

/// The user, if name and password fit and the account is open. Unknown name, wrong password and a closed account look
/// and last the same.
///
/// # Errors
/// The books; too many passwords at once.
pub async fn check(app: &App, username: &str, password: String) -> Result<Option<(User, Proof)>, FlowError> {
    let found = match Username::parse(username) {
        Some(name) => app.store.read(move |db| open_account(db, &name)).await?,
        None => None,
    };
    let right = password::verify(app, password, found.as_ref().map(|(_, hash)| hash.clone())).await?;
    if !right {
        app.metrics.log_in_failures.with_label_values::<&str>(&[]).inc();
    }
    Ok(found.filter(|_| right).map(|(user, hash)| {
        let user_id = user.id;
        (user, Proof { user_id, hash })
    }))
}

fn open_account(db: &mut Db, name: &Username) -> Result<Option<(User, String)>, StoreError> {
    match users::by_name(db, name)? {
        Some((user, _)) if users::is_disabled(db, user.id)? => Ok(None),
        found => Ok(found),
    }
}

/// Whether this is the password of an account that is signed in already: `None` when it is not.
///
/// # Errors
/// The books; too many passwords at once.
pub async fn is_password_of(app: &App, user: &User, password: String) -> Result<Option<Proof>, FlowError> {
    let user_id = user.id;
    let hash = app.store.read(move |db| users::password_hash(db, user_id)).await?;
    let right = password::verify(app, password, hash.clone()).await?;
    if !right {
        app.metrics.log_in_failures.with_label_values::<&str>(&[]).inc();
    }
    Ok(hash.filter(|_| right).map(|hash| Proof { user_id, hash }))
}

/// What a right password has opened.
#[derive(Clone, Debug)]
pub enum Entered {
    /// A session; this is its token.
    In(String),
    /// Nothing yet: the browser with this token has to show a code within five minutes.
    CodeFirst(String),
}

/// Goes in after a right password, or waits for the second factor of an account that has one. The session this browser
/// had is over in both cases. `None` when the password was changed or the account closed meanwhile.
///
/// # Errors
/// The books.
pub async fn enter(
    app: &App,
    (user, proof): (&User, Proof),
    old_token: String,
    openid: Option<Openid>,
    place: Place,
    next: String,
) -> Result<Option<Entered>, FlowError> {
    let secret = app.clock.token()?;
    let session = NewSession::of(app.appid(), app.clock.now(), &secret, user);
    let old = token::hash(&old_token);
    let code_first = app
        .store
        .write(move |db| {
            if !proof.holds(db)? {
                return Ok(None);
            }
            sessions::delete(db, &old)?;
            let code_first = second_factors::is_on(db, session.user_id)?;
            if code_first {
                let until = session.now.plus_secs(CODE_WAIT_SECS);
                second_factors::wait(db, &session.hash, session.user_id, &next, until)?;
            } else {
                session.insert(db, openid.as_ref(), &place)?;
            }
            Ok(Some(code_first))
        })
        .await?;
    Ok(code_first.map(|code_first| if code_first { Entered::CodeFirst(secret) } else { Entered::In(secret) }))
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
    open_session_at(app, user, old_token, openid, Place::default()).await
}

/// The same for an administrator, who sees later where it was.
///
/// # Errors
/// The books.
pub async fn open_session_at(
    app: &App,
    user: &User,
    old_token: Option<String>,
    openid: Option<Openid>,
    place: Place,
) -> Result<String, FlowError> {
    let secret = app.clock.token()?;
    let session = NewSession::of(app.appid(), app.clock.now(), &secret, user);
    app.store
        .write(move |db| {
            if let Some(old) = &old_token {
                sessions::delete(db, &token::hash(old))?;
            }
            session.insert(db, openid.as_ref(), &place)
        })
        .await?;
    Ok(secret)
}

/// A session about to be written.
pub(super) struct NewSession {
    hash: String,
    user_id: i64,
    is_admin: bool,
    appid: String,
    now: UnixMs,
    expires: UnixMs,
}

impl NewSession {
    pub(super) fn of(appid: &str, now: UnixMs, secret: &str, user: &User) -> NewSession {
        NewSession {
            hash: token::hash(secret),
            user_id: user.id,
            is_admin: user.role.is_admin(),
            appid: appid.to_owned(),
            now,
            expires: now.plus_secs(life_secs(user)),
        }
    }

    pub(super) fn insert(
        &self,
        db: &mut Db,
        openid: Option<&Openid>,
        place: &Place,
    ) -> Result<(), StoreError> {
        let openid = openid.map(|openid| (openid, self.appid.as_str()));
        sessions::insert(db, &self.hash, self.user_id, openid, place, self.now, self.expires)?;
        if self.is_admin
            && let Some(user) = users::by_id(db, self.user_id)?
        {
            let (name, detail) = (user.username.as_str(), place.ip.as_str());
            let act = Act { actor: name, action: "admin_signed_in", target: name, detail, ..Act::default() };
            audit_log::insert(db, act, self.now)?;
        }
        Ok(())
    }
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
