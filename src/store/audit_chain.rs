//! The audit log as a chain: every row carries the hash of the row before it and its own, so that a row that is
//! changed, taken out or put in later shows. There is no key in it: what somebody has written down elsewhere, the head
//! of the chain or the seal of an older backup, is what it is held against.

use super::{
    Db, StoreError,
    audit_log::Act,
    schema::{audit_log, audit_seal},
};
use crate::domain::{ids::hex, time::UnixMs, user::BY_THE_BOOKS};
use aws_lc_rs::digest::{Context, SHA256};
use diesel::prelude::*;
use std::fmt;

/// What the first row of all names as the hash before it.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// The row that takes rows of a version without a chain into it.
const COVERS: &str = "audit_chain_begins";
/// Rows read at once.
const PAGE: i64 = 1_000;

/// A row as it stands in the table.
#[derive(Clone, Debug, Queryable)]
struct Link {
    id: i64,
    at: i64,
    actor: String,
    action: String,
    target: String,
    detail: String,
    was: String,
    became: String,
    prev: String,
    hash: String,
}

impl Link {
    /// What the row's hash has to be behind a row with the hash `prev`.
    fn hash_behind(&self, prev: &str) -> String {
        let act = Act {
            actor: &self.actor,
            action: &self.action,
            target: &self.target,
            detail: &self.detail,
            was: &self.was,
            became: &self.became,
        };
        hash(prev, &act, self.at)
    }

    /// Written by a version that knew no chain.
    fn is_loose(&self) -> bool {
        self.hash.is_empty()
    }
}

/// SHA-256 over the fields, each with its length before it, so that no two rows give the same bytes.
fn hash(prev: &str, act: &Act<'_>, at: i64) -> String {
    let mut context = Context::new(&SHA256);
    for field in [prev, &at.to_string(), act.actor, act.action, act.target, act.detail, act.was, act.became] {
        context.update(format!("{}:", field.len()).as_bytes());
        context.update(field.as_bytes());
    }
    hex(context.finish().as_ref())
}

/// Writes a row behind the newest one. Writers come one at a time (`writer`), and the unique key on `prev` is the
/// second assertion.
pub(super) fn append(db: &mut Db, act: Act<'_>, now: UnixMs) -> Result<(), StoreError> {
    let newest: Option<String> =
        audit_log::table.order(audit_log::id.desc()).select(audit_log::hash).first(db).optional()?;
    let prev = match newest {
        None => NOTHING_BEFORE.to_owned(),
        Some(hash) if !hash.is_empty() => hash,
        Some(_) => cover(db, now)?,
    };
    link(db, &prev, &act, now)?;
    Ok(())
}

fn link(db: &mut Db, prev: &str, act: &Act<'_>, now: UnixMs) -> Result<String, StoreError> {
    let hash = hash(prev, act, now.0);
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::at.eq(now.0),
            audit_log::actor.eq(act.actor),
            audit_log::action.eq(act.action),
            audit_log::target.eq(act.target),
            audit_log::detail.eq(act.detail),
            audit_log::was.eq(act.was),
            audit_log::became.eq(act.became),
            audit_log::prev.eq(prev),
            audit_log::hash.eq(&hash),
        ))
        .execute(db)?;
    Ok(hash)
}

/// Takes the rows since the last linked one into the chain: a row that is linked to a hash over all of them and says how
/// many they are. Gives its hash.
fn cover(db: &mut Db, now: UnixMs) -> Result<String, StoreError> {
    let last: Option<(i64, String)> = audit_log::table
        .filter(audit_log::hash.ne(""))
        .order(audit_log::id.desc())
        .select((audit_log::id, audit_log::hash))
        .first(db)
        .optional()?;
    let (mut id, mut running) = last.unwrap_or((0, NOTHING_BEFORE.to_owned()));
    let mut rows: i64 = 0;
    loop {
        let page = after(db, id, PAGE)?;
        for row in &page {
            running = row.hash_behind(&running);
            rows = rows.saturating_add(1);
            id = row.id;
        }
        if page.is_empty() {
            break;
        }
    }
    let rows = rows.to_string();
    let act = Act {
        actor: BY_THE_BOOKS,
        action: COVERS,
        target: &rows,
        detail: "rows before this one were written without a chain",
        ..Act::default()
    };
    link(db, &running, &act, now)
}

fn after(db: &mut Db, id: i64, limit: i64) -> Result<Vec<Link>, StoreError> {
    let rows = audit_log::table.filter(audit_log::id.gt(id)).order(audit_log::id.asc()).limit(limit);
    Ok(rows.load(db)?)
}

/// How far the chain was found whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// The newest row that was looked at; 0 before the first.
    pub row_id: i64,
    pub hash: String,
    /// Up to here.
    pub rows: i64,
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Whole as far as was looked.
    Whole {
        seal: Seal,
        /// Newest rows of an older version; the next row will take them into the chain.
        loose: i64,
        /// There is more behind.
        more: bool,
    },
    Broken(Broken),
}

/// The first row that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub row_id: i64,
    /// What the row says it is, if it is there.
    pub row: String,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its fields do not give its hash.
    Changed,
    /// It does not follow the row before it.
    NotBehind,
    /// It was there when the seal was set.
    Gone,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Changed => "was changed after it was written",
            Why::NotBehind => {
                "does not follow the row before it: a row before it was taken out, put in or changed"
            }
            Why::Gone => "was found whole before and is gone or another one now",
        };
        write!(f, "row {} of the audit log {why}", self.row_id)?;
        if self.row.is_empty() { Ok(()) } else { write!(f, " ({})", self.row) }
    }
}

/// Looks at no more than `at_most` linked rows behind the seal; with the empty seal from the beginning.
///
/// # Errors
/// The database.
pub fn look(db: &mut Db, from: &Seal, at_most: i64) -> Result<Looked, StoreError> {
    let mut walk = match Walk::from(db, from)? {
        Ok(walk) => walk,
        Err(broken) => return Ok(Looked::Broken(broken)),
    };
    let mut left = at_most;
    while left > 0 {
        let page = after(db, walk.row_id, left.min(PAGE))?;
        if page.is_empty() {
            return Ok(walk.done(false));
        }
        for row in &page {
            if let Err(broken) = walk.step(row) {
                return Ok(Looked::Broken(broken));
            }
            // The seal stands on linked rows only: loose ones are gone through to their end, or it would never move.
            left = left.saturating_sub(i64::from(!row.is_loose()));
        }
    }
    Ok(walk.done(true))
}

/// A look on its way.
struct Walk {
    seal: Seal,
    row_id: i64,
    /// The hash that the next row has to name.
    running: String,
    loose: i64,
}

impl Walk {
    fn from(db: &mut Db, seal: &Seal) -> Result<Result<Walk, Broken>, StoreError> {
        let mut running = NOTHING_BEFORE.to_owned();
        if seal.row_id > 0 {
            let row: Option<Link> = audit_log::table.find(seal.row_id).first(db).optional()?;
            let holds = |row: &Link| row.hash == seal.hash && row.hash_behind(&row.prev) == seal.hash;
            match row {
                Some(row) if holds(&row) => running = row.hash,
                row => {
                    let row = row.as_ref().map(described).unwrap_or_default();
                    return Ok(Err(Broken { row_id: seal.row_id, row, why: Why::Gone }));
                }
            }
        }
        Ok(Ok(Walk { seal: seal.clone(), row_id: seal.row_id, running, loose: 0 }))
    }

    fn step(&mut self, row: &Link) -> Result<(), Broken> {
        let broken = |why| Broken { row_id: row.id, row: described(row), why };
        let hash = row.hash_behind(&self.running);
        if row.is_loose() {
            self.loose = self.loose.saturating_add(1);
        } else {
            if row.hash_behind(&row.prev) != row.hash {
                return Err(broken(Why::Changed));
            }
            let counted = self.loose == 0 || (row.action == COVERS && row.target == self.loose.to_string());
            if row.prev != self.running || !counted {
                return Err(broken(Why::NotBehind));
            }
            let rows = self.seal.rows.saturating_add(self.loose).saturating_add(1);
            self.seal = Seal { row_id: row.id, hash: hash.clone(), rows };
            self.loose = 0;
        }
        self.row_id = row.id;
        self.running = hash;
        Ok(())
    }

    fn done(self, more: bool) -> Looked {
        Looked::Whole { seal: self.seal, loose: self.loose, more }
    }
}

fn described(row: &Link) -> String {
    format!("{} by {} at {}", row.action, row.actor, UnixMs(row.at).beijing_text())
}

/// Looks at the whole log, and whether the seal's row is in it. Pages are read one after the other: rows only come
/// behind.
///
/// # Errors
/// The database.
pub fn look_at_all(db: &mut Db) -> Result<Looked, StoreError> {
    let sealed = seal(db)?;
    if let Err(broken) = Walk::from(db, &sealed)? {
        return Ok(Looked::Broken(broken));
    }
    look(db, &Seal::default(), i64::MAX)
}

/// Whether a row with this hash is in the log: a head that was noted once stays in it for ever.
///
/// # Errors
/// The database.
pub fn has(db: &mut Db, hash: &str) -> Result<bool, StoreError> {
    let row = audit_log::table.filter(audit_log::hash.eq(hash)).filter(audit_log::hash.ne(""));
    Ok(diesel::select(diesel::dsl::exists(row)).get_result(db)?)
}

/// # Errors
/// The database.
pub fn seal(db: &mut Db) -> Result<Seal, StoreError> {
    let (row_id, hash, rows) =
        audit_seal::table.select((audit_seal::row_id, audit_seal::hash, audit_seal::rows)).first(db)?;
    Ok(Seal { row_id, hash, rows })
}

/// Moves the seal forward; another instance may have moved it further.
///
/// # Errors
/// The database.
pub fn set_seal(db: &mut Db, seal: &Seal, now: UnixMs) -> Result<(), StoreError> {
    diesel::update(audit_seal::table.filter(audit_seal::row_id.lt(seal.row_id)))
        .set((
            audit_seal::row_id.eq(seal.row_id),
            audit_seal::hash.eq(&seal.hash),
            audit_seal::rows.eq(seal.rows),
            audit_seal::at.eq(now.0),
        ))
        .execute(db)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_every_field_and_on_where_one_ends() {
        let act = Act { actor: "a", action: "b", target: "c", detail: "d", was: "e", became: "f" };
        let first = hash(NOTHING_BEFORE, &act, 7);
        assert_eq!(first.len(), 64);
        for other in [
            Act { actor: "x", ..act },
            Act { action: "x", ..act },
            Act { target: "x", ..act },
            Act { detail: "x", ..act },
            Act { was: "x", ..act },
            Act { became: "x", ..act },
            Act { actor: "ab", action: "", ..act },
            Act { was: "", became: "ef", ..act },
        ] {
            assert_ne!(hash(NOTHING_BEFORE, &other, 7), first, "{other:?}");
        }
        assert_ne!(hash(NOTHING_BEFORE, &act, 8), first);
        assert_ne!(hash(&first, &act, 7), first);
    }
}
