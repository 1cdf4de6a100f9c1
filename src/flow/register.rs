//! Registration: a name nobody has, a password nobody guesses.

use super::{
    FlowError,
    password::{self, WeakPassword},
};
use crate::{
    app::App,
    domain::{
        ids::Username,
        user::{self, BY_COMMAND, Role},
    },
    store::{
        audit_log::{self, Act},
        users,
    },
};

/// Why there is no account.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error("the name is not of the accepted form")]
    BadName,
    #[error("the name is taken")]
    NameTaken,
    #[error("the password is not accepted")]
    Weak(WeakPassword),
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Makes a plain user. Rights are never a matter of what the form says.
///
/// # Errors
/// Each thing a person can mend, then the books.
pub async fn register(app: &App, username: &str, password: String) -> Result<i64, RegisterError> {
    account(app, username, password, Role::User).await
}

/// Makes an account of any role; an administrator's only at the command line.
///
/// # Errors
/// As `register`.
pub(super) async fn account(
    app: &App,
    username: &str,
    password: String,
    role: Role,
) -> Result<i64, RegisterError> {
    let name = Username::parse(username).ok_or(RegisterError::BadName)?;
    if user::is_reserved(&name) {
        return Err(RegisterError::NameTaken);
    }
    password::check(&password, name.as_str()).map_err(RegisterError::Weak)?;
    let hash = password::hash(app, password).await?;
    let now = app.clock.now();
    let made = app
        .store
        .write(move |db| {
            let id = users::insert(db, &name, &hash, role, now)?;
            if id.is_some() && role.is_admin() {
                let (target, became) = (name.as_str(), role.as_str());
                let act =
                    Act { actor: BY_COMMAND, action: "admin_created", target, became, ..Act::default() };
                audit_log::insert(db, act, now)?;
            }
            Ok(id)
        })
        .await
        .map_err(FlowError::from)?;
    made.ok_or(RegisterError::NameTaken)
}
