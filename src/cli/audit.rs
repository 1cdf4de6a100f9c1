//! `audit`: the rules of the books, each with whether it holds. Reads only; works beside a running server.

use super::CliError;
use crate::{
    config::{Config, Source},
    store::{Store, books},
};

/// # Errors
/// A rule that does not hold (1); the books cannot be read (4).
pub(super) async fn run(source: &Source) -> Result<(), CliError> {
    let database = Config::read_database(source)?;
    let store = Store::open_to_read(&database)?;
    let breaches = store.read(books::breaches).await?;
    for rule in books::rules() {
        match breaches.iter().find(|breach| breach.starts_with(rule)) {
            None => println!("ok      {rule}"),
            Some(breach) => println!("BROKEN  {breach}"),
        }
    }
    match breaches.len() {
        0 => Ok(()),
        broken => Err(CliError::Failed(format!("{broken} rules of {} do not hold", database))),
    }
}
