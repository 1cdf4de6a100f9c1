//! Work items: closed by a named person with a reason, written into the audit log in the same transaction.

use super::FlowError;
use crate::{
    app::App,
    domain::user::User,
    store::{
        audit_log::{self, Act},
        work_items,
    },
};

/// Closes an item. `false` when it was closed before or never existed.
///
/// # Errors
/// The books.
pub async fn close(app: &App, actor: &User, id: i64, note: String) -> Result<bool, FlowError> {
    let (name, now) = (actor.username.clone(), app.clock.now());
    let closed = app
        .store
        .write(move |db| {
            let closed = work_items::close(db, id, &name, &note, now)?;
            if closed {
                let act = Act {
                    actor: &name,
                    action: "work_item_closed",
                    target: &id.to_string(),
                    detail: &note,
                    was: "open",
                    became: "closed",
                };
                audit_log::insert(db, act, now)?;
            }
            Ok(closed)
        })
        .await?;
    Ok(closed)
}
