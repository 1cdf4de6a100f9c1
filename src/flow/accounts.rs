//! Who the administrators are: invited by an owner, given a role, closed again. Every act is one transaction with its row
//! in the audit log, and there is always an owner left.

use super::{
    FlowError, log_in,
    password::{self, WeakPassword},
    register::RegisterError,
};
use crate::{
    app::App,
    domain::{
        ids::Username,
        time::UnixMs,
        user::{self, Right, Role, User},
    },
    store::{
        Db, StoreError,
        audit_log::{self, Act},
        invitations::{self, Invitation},
        second_factors, sessions,
        users::{self, Account},
    },
    token,
};

/// As long as the link of the first administrator.
const LINK_LIFE_SECS: i64 = 30 * 60;

/// Why an account stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("there is no such administrator")]
    NotFound,
    #[error("somebody has to be left who decides about accounts")]
    LastOwner,
    #[error("nobody closes their own account")]
    Oneself,
    #[error("there is no second factor to take away")]
    NoFactor,
    #[error("one's own second factor takes the password")]
    OwnFactor,
    #[error("the password is wrong")]
    WrongPassword,
    #[error("the new password is not accepted")]
    Weak(WeakPassword),
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> AccountError {
        AccountError::Flow(error.into())
    }
}

/// Makes a link that makes one account of this role. Gives its address, which nobody sees again.
///
/// # Errors
/// The books.
pub async fn invite(app: &App, actor: &User, role: Role, for_whom: String) -> Result<String, FlowError> {
    let secret = app.clock.token()?;
    let (hash, name, now) = (token::hash(&secret), actor.username.clone(), app.clock.now());
    app.store
        .write(move |db| {
            let until = now.plus_secs(LINK_LIFE_SECS);
            invitations::insert(db, &hash, role, &for_whom, &name, until)?;
            let act = Act {
                actor: &name,
                action: "admin_invited",
                target: &for_whom,
                became: role.as_str(),
                ..Act::default()
            };
            audit_log::insert(db, act, now)
        })
        .await?;
    Ok(format!("{}/admin/invite/{secret}", app.config.public_url))
}

/// Closes a link before it is used. `false` when it is not open.
///
/// # Errors
/// The books.
pub async fn withdraw(app: &App, actor: &User, id: String) -> Result<bool, FlowError> {
    let (name, now) = (actor.username.clone(), app.clock.now());
    let withdrawn = app.store.write(move |db| {
        let Some(invitation) = invitations::open(db, now)?.into_iter().find(|open| open.id() == id) else {
            return Ok(false);
        };
        invitations::take(db, &invitation)?;
        let act = Act {
            actor: &name,
            action: "admin_invitation_withdrawn",
            target: &invitation.for_whom,
            was: invitation.role.as_str(),
            ..Act::default()
        };
        audit_log::insert(db, act, now)?;
        Ok(true)
    });
    Ok(withdrawn.await?)
}

/// The invitation behind a link.
///
/// # Errors
/// The books.
pub async fn invitation(app: &App, secret: &str) -> Result<Option<Invitation>, FlowError> {
    let (hash, now) = (token::hash(secret), app.clock.now());
    Ok(app.store.read(move |db| invitations::by_hash(db, &hash, now)).await?)
}

/// Makes the account of an invitation, or sets the new password of one, and uses the link up. `None` when it is not open.
///
/// # Errors
/// What a person can mend leaves the link open; then the books.
pub async fn accept(
    app: &App,
    secret: &str,
    username: &str,
    password: String,
) -> Result<Option<User>, RegisterError> {
    let Some(invitation) = invitation(app, secret).await? else { return Ok(None) };
    if let Some(account) = invitation.account {
        return renew_password(app, secret, account, password).await;
    }
    let name = Username::parse(username).ok_or(RegisterError::BadName)?;
    if user::is_reserved(&name) {
        return Err(RegisterError::NameTaken);
    }
    password::check(&password, name.as_str()).map_err(RegisterError::Weak)?;
    let hash = password::hash(app, password).await?;
    let (link, now) = (token::hash(secret), app.clock.now());
    // Link and account in one transaction: of two who come at once, one goes through.
    let made = app.store.write(move |db| {
        let Some(invitation) = invitations::by_hash(db, &link, now)? else { return Ok(Ok(None)) };
        let role = invitation.role;
        let Some(id) = users::insert(db, &name, &hash, role, now)? else {
            return Ok(Err(RegisterError::NameTaken));
        };
        invitations::take(db, &invitation)?;
        let act = Act {
            actor: name.as_str(),
            action: "admin_created",
            target: name.as_str(),
            detail: &format!("invited by {}", invitation.invited_by),
            was: "",
            became: role.as_str(),
        };
        audit_log::insert(db, act, now)?;
        Ok(Ok(Some(User { id, username: name.as_str().to_owned(), role })))
    });
    made.await.map_err(FlowError::from)?
}

/// The new password of an account that lost its second factor.
async fn renew_password(
    app: &App,
    secret: &str,
    id: i64,
    password: String,
) -> Result<Option<User>, RegisterError> {
    let found = app.store.read(move |db| users::admin(db, id)).await.map_err(FlowError::from)?;
    let Some(account) = found.filter(|account| account.disabled_at.is_none()) else { return Ok(None) };
    password::check(&password, &account.user.username).map_err(RegisterError::Weak)?;
    let hash = password::hash(app, password).await?;
    let (link, now) = (token::hash(secret), app.clock.now());
    let renewed = app.store.write(move |db| {
        let Some(invitation) = invitations::by_hash(db, &link, now)? else { return Ok(None) };
        let Some(name) = Username::parse(&account.user.username) else { return Ok(None) };
        users::set_password(db, &name, &hash)?;
        end_everything(db, &account)?;
        let (actor, target) = (name.as_str(), name.as_str());
        let detail = &format!("by a link of {}", invitation.invited_by);
        audit_log::insert(
            db,
            Act { actor, action: "password_renewed", target, detail, ..Act::default() },
            now,
        )?;
        Ok(Some(account.user.clone()))
    });
    Ok(renewed.await.map_err(FlowError::from)?)
}

/// # Errors
/// No such administrator; the last owner; the books.
pub async fn set_role(app: &App, actor: &User, id: i64, role: Role) -> Result<(), AccountError> {
    change(app, actor, id, move |db, account, _| {
        if account.user.role == role {
            return Ok(Ok(None));
        }
        let was = account.user.role;
        if !role.may(Right::Accounts) && is_last_owner(db, account)? {
            return Ok(Err(AccountError::LastOwner));
        }
        users::set_role(db, account.user.id, role)?;
        end_everything(db, account)?;
        Ok(Ok(Some(Changed {
            action: "admin_role_changed",
            detail: String::new(),
            was: was.as_str(),
            became: role.as_str(),
        })))
    })
    .await
}

/// Closes an account: whoever is signed in to it is out at once.
///
/// # Errors
/// No such administrator; the last owner; one's own; the books.
pub async fn disable(app: &App, actor: &User, id: i64, reason: String) -> Result<(), AccountError> {
    if actor.id == id {
        return Err(AccountError::Oneself);
    }
    change(app, actor, id, move |db, account, now| {
        if account.disabled_at.is_some() {
            return Ok(Ok(None));
        }
        if is_last_owner(db, account)? {
            return Ok(Err(AccountError::LastOwner));
        }
        users::set_disabled(db, account.user.id, Some(now))?;
        end_everything(db, account)?;
        Ok(Ok(Some(Changed {
            action: "admin_disabled",
            detail: reason.clone(),
            was: "open",
            became: "closed",
        })))
    })
    .await
}

/// Opens a closed account again.
///
/// # Errors
/// No such administrator; the books.
pub async fn enable(app: &App, actor: &User, id: i64, reason: String) -> Result<(), AccountError> {
    change(app, actor, id, move |db, account, _| {
        if account.disabled_at.is_none() {
            return Ok(Ok(None));
        }
        users::set_disabled(db, account.user.id, None)?;
        Ok(Ok(Some(Changed {
            action: "admin_enabled",
            detail: reason.clone(),
            was: "closed",
            became: "open",
        })))
    })
    .await
}

/// Ends one session of an account, or all.
///
/// # Errors
/// No such administrator; the books.
pub async fn sign_out(app: &App, actor: &User, id: i64, session: Option<String>) -> Result<(), AccountError> {
    change(app, actor, id, move |db, account, now| {
        let (ended, detail) = match &session {
            Some(session) => (sessions::delete_listed(db, account.user.id, session, now)?, session.clone()),
            None => {
                end_everything(db, account)?;
                (true, "all".to_owned())
            }
        };
        Ok(Ok(ended.then_some(Changed { action: "admin_signed_out", detail, was: "", became: "" })))
    })
    .await
}

/// Takes away the second factor of somebody who lost phone and recovery codes, and the password with it: who has stolen
/// that must not be let in by this. Gives the address of a link that sets a new one, which nobody sees again; asked once
/// more before it is used, another link.
///
/// # Errors
/// No such administrator; one's own; nothing to take away; the books.
pub async fn remove_second_factor(
    app: &App,
    actor: &User,
    id: i64,
    reason: String,
) -> Result<String, AccountError> {
    if actor.id == id {
        return Err(AccountError::OwnFactor);
    }
    let secret = app.clock.token().map_err(FlowError::from)?;
    let (hash, name) = (token::hash(&secret), actor.username.clone());
    change(app, actor, id, move |db, account, now| {
        let was_on = second_factors::is_on(db, account.user.id)?;
        if !was_on && !account.has_no_password {
            return Ok(Err(AccountError::NoFactor));
        }
        second_factors::remove(db, account.user.id)?;
        users::void_password(db, account.user.id)?;
        end_everything(db, account)?;
        invitations::insert_for(db, &hash, &account.user, &name, now.plus_secs(LINK_LIFE_SECS))?;
        let was = if was_on { "on" } else { "off" };
        Ok(Ok(Some(Changed { action: "second_factor_removed", detail: reason.clone(), was, became: "off" })))
    })
    .await?;
    Ok(format!("{}/admin/invite/{secret}", app.config.public_url))
}

/// Replaces one's own password, signs out everywhere but here and closes the links one has handed out.
///
/// # Errors
/// The old one is wrong; the new one is not accepted; the books.
pub async fn change_password(
    app: &App,
    actor: &User,
    browser: &str,
    old: String,
    new: String,
) -> Result<(), AccountError> {
    let name = Username::parse(&actor.username).ok_or(AccountError::NotFound)?;
    password::check(&new, name.as_str()).map_err(AccountError::Weak)?;
    let proof = log_in::is_password_of(app, actor, old).await?.ok_or(AccountError::WrongPassword)?;
    let hash = password::hash(app, new).await?;
    let (me, here, now) = (actor.clone(), token::hash(browser), app.clock.now());
    let changed = app.store.write(move |db| {
        if !proof.holds(db)? {
            return Ok(false);
        }
        users::set_password(db, &name, &hash)?;
        sessions::delete_others(db, me.id, &here)?;
        second_factors::forget_waits(db, me.id)?;
        invitations::delete_of(db, &me)?;
        let (actor, target) = (name.as_str(), name.as_str());
        audit_log::insert(db, Act { actor, action: "password_changed", target, ..Act::default() }, now)?;
        Ok(true)
    });
    if changed.await? { Ok(()) } else { Err(AccountError::WrongPassword) }
}

/// What the audit log is told.
struct Changed {
    action: &'static str,
    detail: String,
    was: &'static str,
    became: &'static str,
}

/// Reads an administrator's account, changes it and writes down that it was; `None` when there was nothing to change.
async fn change<F>(app: &App, actor: &User, id: i64, change: F) -> Result<(), AccountError>
where
    F: Fn(&mut Db, &Account, UnixMs) -> Result<Result<Option<Changed>, AccountError>, StoreError>
        + Send
        + 'static,
{
    let (name, now) = (actor.username.clone(), app.clock.now());
    app.store
        .write(move |db| {
            let Some(account) = users::admin(db, id)? else { return Ok(Err(AccountError::NotFound)) };
            let changed = match change(db, &account, now)? {
                Ok(Some(changed)) => changed,
                other => return Ok(other.map(|_| ())),
            };
            let Changed { action, detail, was, became } = changed;
            let target = account.user.username.as_str();
            audit_log::insert(db, Act { actor: &name, action, target, detail: &detail, was, became }, now)?;
            Ok(Ok(()))
        })
        .await?
}

/// Two owners who take each other's role away at the same moment come one after the other: the second one stays.
fn is_last_owner(db: &mut Db, account: &Account) -> Result<bool, StoreError> {
    let is_owner = account.user.role.may(Right::Accounts) && account.disabled_at.is_none();
    Ok(is_owner && !users::another_owner(db, account.user.id)?)
}

/// Sessions, half-made sign-ins, and the links they have handed out.
fn end_everything(db: &mut Db, account: &Account) -> Result<(), StoreError> {
    sessions::delete_of_user(db, account.user.id)?;
    second_factors::forget_waits(db, account.user.id)?;
    invitations::delete_of(db, &account.user)
}
