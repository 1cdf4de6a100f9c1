//! WeChat's silent authorisation: who holds this phone, and which of our users is that.

use super::FlowError;
use crate::{
    app::App,
    domain::{ids::Openid, user::User},
    gateway::{
        Request,
        wechat_oauth::{self, OauthFault},
    },
    store::{openids, sessions, tickets},
    token,
};

/// A trip to WeChat and back must be done within this, in seconds.
const TRIP_SECS: i64 = 600;

/// Why no openid was learnt.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The state is missing, of another browser, used, or too old; or WeChat's code is.
    #[error("the trip to WeChat must start again")]
    Restart,
    #[error("WeChat did not answer")]
    Busy,
    #[error("WeChat refuses our appid or secret")]
    Configuration,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// What the trip brought.
#[derive(Clone, Debug)]
pub struct Learnt {
    pub openid: Openid,
    /// Whom this openid signs in, after binding; never an administrator.
    pub owner: Option<User>,
    /// Where the browser wanted to go.
    pub next: String,
}

/// The address at WeChat to send this browser to. `browser` is its cookie's secret.
///
/// # Errors
/// The books.
pub async fn start(app: &App, browser: &str, next: &str) -> Result<String, FlowError> {
    let state = app.clock.token()?;
    let (state_hash, browser_hash) = (token::hash(&state), token::hash(browser));
    let (next, expires) = (next.to_owned(), app.clock.now().plus_secs(TRIP_SECS));
    app.store
        .write(move |db| tickets::put_oauth_state(db, &state_hash, &browser_hash, &next, expires))
        .await?;
    let redirect_uri = format!("{}/wechat/callback", app.config.public_url);
    Ok(wechat_oauth::authorize_url(&app.config.wechat_authorize_base, app.appid(), &redirect_uri, &state))
}

/// Uses up the state, exchanges the code, and binds the openid to the signed-in user if it is free.
/// The state is used up before the code is tried, so that one code makes one call.
///
/// # Errors
/// See `BindError`; nothing is bound then.
pub async fn finish(
    app: &App,
    browser: &str,
    state: &str,
    code: &str,
    signed_in: Option<&User>,
) -> Result<Learnt, BindError> {
    let (state_hash, browser_hash, now) = (token::hash(state), token::hash(browser), app.clock.now());
    let next = app
        .store
        .write(move |db| tickets::take_oauth_state(db, &state_hash, &browser_hash, now))
        .await
        .map_err(FlowError::from)?
        .ok_or(BindError::Restart)?;
    let login = app.config.wechat_login.as_ref().ok_or(BindError::Configuration)?;
    let openid =
        exchange(app, code, |code| wechat_oauth::token_request(&login.appid, &login.secret, code)).await?;
    let owner = bind_if_free(app, &login.appid, &openid, signed_in).await?;
    Ok(Learnt { openid, owner: owner.filter(|user| !user.role.is_admin()), next })
}

/// Exchanges the code of a mini program's `wx.login` and binds the openid, under the mini program's appid, to the
/// user if both are free. `true` when the phone is the user's now, or was before.
///
/// # Errors
/// See `BindError`; nothing is bound then.
pub async fn bind_mini(app: &App, user: &User, code: &str) -> Result<bool, BindError> {
    let mini = app.config.wechat_mini.as_ref().ok_or(BindError::Configuration)?;
    let openid =
        exchange(app, code, |code| wechat_oauth::mini_request(&mini.appid, &mini.secret, code)).await?;
    let owner = bind_if_free(app, &mini.appid, &openid, Some(user)).await?;
    Ok(owner.is_some_and(|owner| owner.id == user.id))
}

/// Whom the openid belongs to after this.
///
/// Whoever holds a bound phone can sign in with it. So an account has one phone, the first it was
/// used on; any other only pays. An administrator has none: those rights need the password.
async fn bind_if_free(
    app: &App,
    appid: &str,
    openid: &Openid,
    user: Option<&User>,
) -> Result<Option<User>, FlowError> {
    let user_id = user.filter(|user| !user.role.is_admin()).map(|user| user.id);
    let (appid, openid, now) = (appid.to_owned(), openid.clone(), app.clock.now());
    let owner = app
        .store
        .write(move |db| {
            let free = openids::user_of(db, &appid, &openid)?.is_none();
            if let Some(user_id) = user_id.filter(|_| free)
                && openids::latest_of(db, &appid, user_id)?.is_none()
            {
                openids::bind(db, &appid, &openid, user_id, now)?;
            }
            openids::user_of(db, &appid, &openid)
        })
        .await?;
    Ok(owner)
}

/// Keeps the openid with the session: it is this phone that will pay, whoever is signed in.
///
/// # Errors
/// The books.
pub async fn keep(app: &App, session_token: &str, openid: Openid) -> Result<(), FlowError> {
    let (hash, appid) = (token::hash(session_token), app.appid().to_owned());
    app.store.write(move |db| sessions::set_openid(db, &hash, &openid, &appid)).await?;
    Ok(())
}

/// The openid of the user's own phone under this appid. For programs, which have no browser to ask.
///
/// # Errors
/// The books.
pub async fn known(app: &App, user: &User, appid: &str) -> Result<Option<Openid>, FlowError> {
    let (appid, user_id) = (appid.to_owned(), user.id);
    Ok(app.store.read(move |db| openids::latest_of(db, &appid, user_id)).await?)
}

async fn exchange(app: &App, code: &str, request: impl Fn(&str) -> Request) -> Result<Openid, BindError> {
    if code.is_empty() || code.len() > 512 {
        return Err(BindError::Restart);
    }
    let request = request(code);
    let answer = app.ask(&request).await.map_err(|error| {
        tracing::warn!(call = request.call, "WeChat did not say who it is: {error}");
        BindError::Busy
    })?;
    wechat_oauth::openid(&answer).map_err(|fault| match fault {
        OauthFault::Restart => BindError::Restart,
        OauthFault::Configuration => {
            tracing::error!(call = request.call, "WeChat refuses our appid or its secret");
            BindError::Configuration
        }
        OauthFault::Busy | OauthFault::Unusable => BindError::Busy,
    })
}
