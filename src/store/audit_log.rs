//! Who did what. Rows go in and stay.

use super::{Db, StoreError, schema::audit_log};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// Belongs into the transaction of the act itself.
///
/// # Errors
/// The database.
pub fn insert(
    db: &mut Db,
    actor: &str,
    action: &str,
    target: &str,
    detail: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::at.eq(now.0),
            audit_log::actor.eq(actor),
            audit_log::action.eq(action),
            audit_log::target.eq(target),
            audit_log::detail.eq(detail),
        ))
        .execute(db)?;
    Ok(())
}
