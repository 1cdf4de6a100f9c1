//! `audit`: the pages of a file, the rules of the books, each with whether it holds, and the chain of the audit log. Reads
//! only; works beside a running server.

use super::CliError;
use crate::{
    config::{Config, Database, Source},
    store::{
        Store,
        audit_chain::{self, Looked},
        books,
    },
};

const PAGES: &str = "every page of the file is whole";
const CHAIN: &str = "every row of the audit log follows the one before it";
const HEAD: &str = "the head that was noted is part of the audit log";

#[derive(clap::Args)]
pub(super) struct Options {
    /// A head of the audit log that an earlier run printed: fails unless it is still part of the log.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
}

/// # Errors
/// A rule that does not hold (1); the books cannot be read (4).
pub(super) async fn run(source: &Source, options: Options) -> Result<(), CliError> {
    let database = Config::read_database(source)?;
    let store = Store::open_to_read(&database)?;
    let damaged = is_damaged(&store, &database).await?;
    let breaches = match store.read_at_length(books::audit).await {
        Err(error) if damaged => {
            return Err(CliError::Failed(format!(
                "{database} is damaged, and its rules cannot be looked at ({error}): restore a backup"
            )));
        }
        breaches => breaches?,
    };
    for rule in books::rules() {
        match breaches.iter().find(|breach| breach.starts_with(rule)) {
            None => println!("ok      {rule}"),
            Some(breach) => println!("BROKEN  {breach}"),
        }
    }
    let mut broken = breaches.len().saturating_add(usize::from(damaged));
    match store.read_at_length(audit_chain::look_at_all).await? {
        Looked::Whole { seal, loose, .. } => {
            println!("ok      {CHAIN}: {} rows, head {}", seal.rows, seal.hash);
            if loose > 0 {
                println!(
                    "note    {loose} rows at its end are of an older version; the next act takes them in"
                );
            }
        }
        Looked::Broken(row) => {
            println!("BROKEN  {CHAIN}: {row}");
            broken = broken.saturating_add(1);
        }
    }
    if let Some(head) = options.head {
        if store.read(move |db| audit_chain::has(db, &head)).await? {
            println!("ok      {HEAD}");
        } else {
            println!("BROKEN  {HEAD}");
            broken = broken.saturating_add(1);
        }
    }
    match broken {
        0 => Ok(()),
        broken => Err(CliError::Failed(format!("{broken} rules of {} do not hold", database))),
    }
}

/// Of a file, says whether its pages are whole.
async fn is_damaged(store: &Store, database: &Database) -> Result<bool, CliError> {
    let damage = store.read_at_length(books::damage).await?;
    match &damage {
        Some(damage) => println!("BROKEN  {PAGES}: {damage}"),
        None if database.file().is_some() => println!("ok      {PAGES}"),
        None => {}
    }
    Ok(damage.is_some())
}
