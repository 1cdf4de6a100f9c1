//! Freezing a user: no new payment can be begun. One that arrives nevertheless is credited, because the money is theirs.

use super::FlowError;
use crate::{
    app::App,
    domain::user::User,
    store::{
        audit_log::{self, Act},
        freezes, users,
    },
};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    #[error("no such user")]
    NotFound,
    #[error("a reason is needed")]
    NoReason,
    #[error("the user is in that state already")]
    Already,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Freezes a user, or ends it, with the reason in the audit log.
///
/// # Errors
/// Why nothing was changed; the books.
pub async fn set(
    app: &App,
    actor: &User,
    user_id: i64,
    frozen: bool,
    reason: &str,
) -> Result<(), FreezeError> {
    let reason = reason.trim().to_owned();
    if reason.is_empty() {
        return Err(FreezeError::NoReason);
    }
    let (name, now) = (actor.username.clone(), app.clock.now());
    let set = app.store.write(move |db| {
        if users::by_id(db, user_id)?.is_none() {
            return Ok(Err(FreezeError::NotFound));
        }
        let changed = match frozen {
            true => freezes::insert(db, user_id, &name, &reason, now)?,
            false => freezes::delete(db, user_id)?,
        };
        if !changed {
            return Ok(Err(FreezeError::Already));
        }
        let (action, was, became) = match frozen {
            true => ("user_frozen", "free", "frozen"),
            false => ("user_unfrozen", "frozen", "free"),
        };
        let target = &user_id.to_string();
        audit_log::insert(db, Act { actor: &name, action, target, detail: &reason, was, became }, now)?;
        Ok(Ok(()))
    });
    set.await.map_err(FlowError::from)?
}
