//! `migrate`: brings the database to this version.

use super::CliError;
use crate::{
    config::{Config, Source},
    store::Store,
};

/// # Errors
/// The books are in use or cannot be migrated.
pub(super) fn run(source: &Source) -> Result<(), CliError> {
    let database = Config::read_database(source)?;
    Store::open(&database)?;
    println!("{} is up to date", database);
    Ok(())
}
