//! The first administrator: a link that works once, for 30 minutes, printed where only the operator looks.

use super::{
    FlowError, password,
    register::{self, RegisterError},
};
use crate::{
    app::App,
    domain::{
        ids::Username,
        user::{self, BY_COMMAND, Role},
    },
    store::{
        audit_log::{self, Act},
        invitations, openids, second_factors, sessions, tickets, users,
    },
    token,
};

const LINK_LIFE_SECS: i64 = 30 * 60;

/// A fresh link if there is no administrator yet; it replaces any earlier one.
///
/// # Errors
/// The books.
pub async fn link_if_needed(app: &App) -> Result<Option<String>, FlowError> {
    if app.store.read(users::any_admin).await? {
        return Ok(None);
    }
    let secret = app.clock.token()?;
    let (hash, expires) = (token::hash(&secret), app.clock.now().plus_secs(LINK_LIFE_SECS));
    app.store.write(move |db| tickets::put_setup_link(db, &hash, expires)).await?;
    Ok(Some(format!("{}/admin/setup/{secret}", app.config.public_url)))
}

/// Whether this link still opens the form.
///
/// # Errors
/// The books.
pub async fn is_open(app: &App, secret: &str) -> Result<bool, FlowError> {
    let (hash, now) = (token::hash(secret), app.clock.now());
    let open = move |db: &mut crate::store::Db| {
        Ok(!users::any_admin(db)? && tickets::setup_link_is_open(db, &hash, now)?)
    };
    Ok(app.store.read(open).await?)
}

/// Makes the first administrator and uses up the link. `None` when the link is not open.
///
/// # Errors
/// What a person can mend leaves the link open; then the books.
pub async fn first_admin(
    app: &App,
    secret: &str,
    username: &str,
    password: String,
) -> Result<Option<i64>, RegisterError> {
    if !is_open(app, secret).await? {
        return Ok(None);
    }
    let name = Username::parse(username).ok_or(RegisterError::BadName)?;
    if user::is_reserved(&name) {
        return Err(RegisterError::NameTaken);
    }
    password::check(&password, name.as_str()).map_err(RegisterError::Weak)?;
    let hash = password::hash(app, password).await?;
    let (link, now) = (token::hash(secret), app.clock.now());
    // Link and account in one transaction: of two who come at once, one goes through.
    app.store
        .write(move |db| {
            if users::any_admin(db)? || !tickets::setup_link_is_open(db, &link, now)? {
                return Ok(Ok(None));
            }
            let Some(id) = users::insert(db, &name, &hash, Role::Owner, now)? else {
                return Ok(Err(RegisterError::NameTaken));
            };
            tickets::take_setup_link(db, &link, now)?;
            let actor = name.as_str();
            let detail = "by setup link";
            let became = Role::Owner.as_str();
            let act = Act { actor, action: "admin_created", target: actor, detail, was: "", became };
            audit_log::insert(db, act, now)?;
            Ok(Ok(Some(id)))
        })
        .await
        .map_err(FlowError::from)?
}

/// Makes an administrator at the command line of the machine itself.
///
/// # Errors
/// As `register`.
pub async fn admin_by_command(
    app: &App,
    username: &str,
    password: String,
    role: Role,
) -> Result<i64, RegisterError> {
    register::account(app, username, password, role).await
}

/// Replaces an account's password, ends its sessions and invitations, takes its second factor away and forgets its phone.
/// `false` when there is no such account.
///
/// # Errors
/// A name or password that is not accepted; the books.
pub async fn reset_password(app: &App, username: &str, password: String) -> Result<bool, RegisterError> {
    let name = Username::parse(username).ok_or(RegisterError::BadName)?;
    password::check(&password, name.as_str()).map_err(RegisterError::Weak)?;
    let hash = password::hash(app, password).await?;
    let now = app.clock.now();
    let changed = app
        .store
        .write(move |db| {
            let changed = users::set_password(db, &name, &hash)?;
            if let Some((user, _)) = users::by_name(db, &name)? {
                sessions::delete_of_user(db, user.id)?;
                openids::delete_of_user(db, user.id)?;
                invitations::delete_of(db, &user)?;
                let (actor, target) = (BY_COMMAND, name.as_str());
                let act = Act { actor, action: "password_reset", target, ..Act::default() };
                audit_log::insert(db, act, now)?;
                if second_factors::remove(db, user.id)? {
                    let (action, detail) = ("second_factor_removed", "with the password");
                    let act = Act { actor, action, target, detail, was: "on", became: "off" };
                    audit_log::insert(db, act, now)?;
                }
            }
            Ok(changed)
        })
        .await
        .map_err(FlowError::from)?;
    Ok(changed)
}
