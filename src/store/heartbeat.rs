//! One row that is written to show that the books take writes.

use super::{Db, StoreError, schema::heartbeat};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// # Errors
/// The database does not take writes.
pub fn beat(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    diesel::update(heartbeat::table).set(heartbeat::at.eq(now.0)).execute(db)?;
    Ok(())
}
