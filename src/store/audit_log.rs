//! Who did what. Rows go in and stay, each linked to the one before (`audit_chain`).

use super::{Db, StoreError, audit_chain, schema::audit_log};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// One act of a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct Act<'a> {
    pub actor: &'a str,
    pub action: &'a str,
    /// What it was done to: a number or a name.
    pub target: &'a str,
    /// The reason given.
    pub detail: &'a str,
    /// The state before and after, where the act changes one.
    pub was: &'a str,
    pub became: &'a str,
}

/// Belongs into the transaction of the act itself.
///
/// # Errors
/// The database.
pub fn insert(db: &mut Db, act: Act<'_>, now: UnixMs) -> Result<(), StoreError> {
    audit_chain::append(db, act, now)
}

/// One act as it is kept.
#[derive(Clone, Debug, Queryable)]
pub struct Done {
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: String,
}

/// What was done to these things, oldest first; `actions` names the kind of thing, as numbers of different things
/// may be alike.
///
/// # Errors
/// The database.
pub fn of_targets(db: &mut Db, targets: &[&str], actions: &[&str]) -> Result<Vec<Done>, StoreError> {
    Ok(audit_log::table
        .filter(audit_log::target.eq_any(targets))
        .filter(audit_log::action.eq_any(actions))
        .order(audit_log::id.asc())
        .select((audit_log::at, audit_log::actor, audit_log::action, audit_log::target, audit_log::detail))
        .load(db)?)
}

/// One act with everything about it, for the list of all acts.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct Entry {
    pub id: i64,
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub detail: String,
    pub was: String,
    pub became: String,
}

/// Which acts somebody looks at. Each is the whole word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
}

/// Newest first; `before` is the id of the last one shown.
///
/// # Errors
/// The database.
pub fn list(db: &mut Db, filter: &Filter, before: Option<i64>, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let mut query = audit_log::table
        .filter(audit_log::id.lt(before.unwrap_or(i64::MAX)))
        .select((
            audit_log::id,
            audit_log::at,
            audit_log::actor,
            audit_log::action,
            audit_log::target,
            audit_log::detail,
            audit_log::was,
            audit_log::became,
        ))
        .order(audit_log::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(actor) = &filter.actor {
        query = query.filter(audit_log::actor.eq(actor.clone()));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit_log::action.eq(action.clone()));
    }
    if let Some(target) = &filter.target {
        query = query.filter(audit_log::target.eq(target.clone()));
    }
    Ok(query.load(db)?)
}
