//! The differences between a bill and the books, each with the one work item it is about.

use super::{
    Db, StoreError,
    audit_log::{self, Act},
    bills::BillState,
    schema::{bill_differences as differences, bill_rows as rows, bills, orders, work_items as items},
    work_items::{self, Matter},
};
use crate::domain::{
    bill::{BillKind, Bucket, Totals},
    money::Fen,
    order::Source,
    time::UnixMs,
    user::BY_THE_BOOKS,
};
use diesel::prelude::*;

/// One payment or refund the two sides do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub bucket: Bucket,
    pub kind: BillKind,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub out_refund_no: String,
    pub theirs: Option<Fen>,
    pub ours: Option<Fen>,
    pub at: UnixMs,
    /// The item somebody opened before.
    pub work_item: Option<i64>,
}

/// As it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub difference: Difference,
    pub work_item: i64,
    pub open: bool,
}

type Row = (String, String, String, String, String, Option<i64>, Option<i64>, i64, i64, Option<i64>);

/// Writes a difference down, with a work item unless there is one. `true` when the item is new.
///
/// # Errors
/// The database.
pub fn keep(db: &mut Db, bill_id: i64, found: &Difference, now: UnixMs) -> Result<bool, StoreError> {
    let (item, new) = match found.work_item {
        Some(item) => (item, false),
        None => open(db, found, now)?,
    };
    let same = || {
        differences::table
            .filter(differences::bill_id.eq(bill_id))
            .filter(differences::kind.eq(found.kind.as_str()))
            .filter(differences::transaction_id.eq(found.transaction_id.clone()))
            .filter(differences::out_trade_no.eq(found.out_trade_no.clone()))
            .filter(differences::out_refund_no.eq(found.out_refund_no.clone()))
    };
    let facts = (
        differences::bucket.eq(found.bucket.as_str()),
        differences::theirs_fen.eq(found.theirs.map(Fen::get)),
        differences::ours_fen.eq(found.ours.map(Fen::get)),
        differences::at.eq(found.at.0),
        differences::work_item_id.eq(item),
        differences::seen_at.eq(now.0),
    );
    let before: Option<i64> = same().select(differences::work_item_id).get_result(db).optional()?;
    match before {
        Some(before) => {
            diesel::update(same()).set(facts).execute(db)?;
            if before != item {
                close(db, before, &format!("see #{item}"), now)?;
            }
        }
        None => {
            diesel::insert_into(differences::table)
                .values((
                    differences::bill_id.eq(bill_id),
                    differences::kind.eq(found.kind.as_str()),
                    differences::transaction_id.eq(&found.transaction_id),
                    differences::out_trade_no.eq(&found.out_trade_no),
                    differences::out_refund_no.eq(&found.out_refund_no),
                    facts,
                ))
                .execute(db)?;
        }
    }
    Ok(new)
}

/// The item of this difference, opened now if nobody knew of it or the books had closed it. What a person has closed
/// stays closed: they have said what it was.
fn open(db: &mut Db, found: &Difference, now: UnixMs) -> Result<(i64, bool), StoreError> {
    let matter = Matter {
        kind: found.bucket.matter(),
        out_trade_no: &found.out_trade_no,
        transaction_id: &found.transaction_id,
        out_refund_no: &found.out_refund_no,
        ..Matter::default()
    };
    let new = work_items::open_once(db, matter, now)?;
    let (id, closed_by): (i64, Option<String>) = items::table
        .filter(items::kind.eq(matter.kind))
        .filter(items::out_trade_no.eq(matter.out_trade_no))
        .filter(items::transaction_id.eq(matter.transaction_id))
        .filter(items::out_refund_no.eq(matter.out_refund_no))
        .select((items::id, items::closed_by))
        .get_result(db)?;
    let back = closed_by.as_deref() == Some(BY_THE_BOOKS);
    if back {
        work_items::reopen(db, id, "books and bill differ again", now)?;
    }
    Ok((id, new || back))
}

/// Closes an item that a bill opened, because there is no such difference any more.
fn close(db: &mut Db, id: i64, note: &str, now: UnixMs) -> Result<(), StoreError> {
    let ours = items::table
        .filter(items::id.eq(id))
        .filter(items::closed_at.is_null())
        .filter(items::kind.eq_any(Bucket::ALL.map(Bucket::matter)));
    let closed = diesel::update(ours)
        .set((items::closed_at.eq(now.0), items::closed_by.eq(BY_THE_BOOKS), items::note.eq(note)))
        .execute(db)?;
    if closed == 1 {
        let act = Act {
            actor: BY_THE_BOOKS,
            action: "work_item_closed",
            target: &id.to_string(),
            detail: note,
            was: "open",
            became: "closed",
        };
        audit_log::insert(db, act, now)?;
    }
    Ok(())
}

/// Ends a comparison that began at `began`: what it did not find is gone, and the bill is what is left of differences.
/// `next_at` when it has to be done again.
///
/// # Errors
/// The database.
pub fn finish(
    db: &mut Db,
    bill_id: i64,
    ours: Totals,
    (began, now, next_at): (UnixMs, UnixMs, Option<(UnixMs, &str)>),
) -> Result<(), StoreError> {
    let gone = || {
        differences::table.filter(differences::bill_id.eq(bill_id)).filter(differences::seen_at.lt(began.0))
    };
    for item in gone().select(differences::work_item_id).load(db)? {
        close(db, item, "books and bill agree now", now)?;
    }
    diesel::delete(gone()).execute(db)?;
    let left = count(db, bill_id)?;
    let state = match (next_at, left) {
        (Some(_), _) => BillState::Waiting,
        (None, 0) => BillState::Balanced,
        (None, _) => BillState::Unbalanced,
    };
    diesel::update(bills::table.find(bill_id))
        .set((
            bills::state.eq(state.as_str()),
            bills::leased_until.eq(0),
            bills::next_at.eq(next_at.map(|(at, _)| at.0)),
            bills::said.eq(next_at.map_or("", |(_, said)| said)),
            bills::compared_at.eq(now.0),
            bills::our_payments.eq(ours.payments),
            bills::our_payments_fen.eq(ours.payments_fen),
            bills::our_refunds.eq(ours.refunds),
            bills::our_refunds_fen.eq(ours.refunds_fen),
            bills::credited.eq(credited(db, bill_id)?),
        ))
        .execute(db)?;
    Ok(())
}

/// How many of its payments only this bill has brought to light.
fn credited(db: &mut Db, bill_id: i64) -> Result<i64, StoreError> {
    Ok(rows::table
        .inner_join(orders::table.on(orders::transaction_id.eq(rows::transaction_id.nullable())))
        .filter(rows::bill_id.eq(bill_id))
        .filter(rows::kind.eq(BillKind::Payment.as_str()))
        .filter(orders::settled_by.eq(Source::Bill.as_str()))
        .count()
        .get_result(db)?)
}

/// What an earlier bill lacked and some bill has now agrees: gateways count what happens around midnight to one day or
/// the other.
///
/// # Errors
/// The database.
pub fn heal_missing(db: &mut Db, now: UnixMs) -> Result<(), StoreError> {
    let billed_payment = rows::table
        .filter(rows::kind.eq(BillKind::Payment.as_str()))
        .filter(rows::kind.eq(differences::kind))
        .filter(rows::transaction_id.eq(differences::transaction_id));
    let billed_refund = rows::table
        .filter(rows::kind.eq(BillKind::Refund.as_str()))
        .filter(rows::kind.eq(differences::kind))
        .filter(rows::out_refund_no.eq(differences::out_refund_no));
    let healed: Vec<(i64, i64, i64, String, Option<i64>)> = differences::table
        .filter(differences::bucket.eq(Bucket::Missing.as_str()))
        .filter(diesel::dsl::exists(billed_payment).or(diesel::dsl::exists(billed_refund)))
        .select((
            differences::id,
            differences::bill_id,
            differences::work_item_id,
            differences::kind,
            differences::ours_fen,
        ))
        .load(db)?;
    for (id, bill_id, item, kind, amount) in healed {
        close(db, item, "another day's bill has it", now)?;
        diesel::delete(differences::table.find(id)).execute(db)?;
        forget(db, bill_id, BillKind::parse(&kind), amount.unwrap_or_default())?;
    }
    Ok(())
}

/// Takes what belongs to another day's bill out of our side of this one.
fn forget(db: &mut Db, bill_id: i64, kind: Option<BillKind>, amount: i64) -> Result<(), StoreError> {
    let bill = || bills::table.find(bill_id);
    match kind {
        Some(BillKind::Payment) => diesel::update(bill())
            .set((
                bills::our_payments.eq(bills::our_payments - 1),
                bills::our_payments_fen.eq(bills::our_payments_fen - amount),
            ))
            .execute(db)?,
        _ => diesel::update(bill())
            .set((
                bills::our_refunds.eq(bills::our_refunds - 1),
                bills::our_refunds_fen.eq(bills::our_refunds_fen - amount),
            ))
            .execute(db)?,
    };
    if count(db, bill_id)? == 0 {
        diesel::update(bill().filter(bills::state.eq(BillState::Unbalanced.as_str())))
            .set(bills::state.eq(BillState::Balanced.as_str()))
            .execute(db)?;
    }
    Ok(())
}

fn count(db: &mut Db, bill_id: i64) -> Result<i64, StoreError> {
    Ok(differences::table.filter(differences::bill_id.eq(bill_id)).count().get_result(db)?)
}

/// How many differences each of these bills has, and how many of their work items are open.
///
/// # Errors
/// The database.
pub fn counts(db: &mut Db, bill_ids: &[i64]) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let mut counts = Vec::new();
    for id in bill_ids {
        let open = differences::table
            .inner_join(items::table)
            .filter(differences::bill_id.eq(id))
            .filter(items::closed_at.is_null())
            .count()
            .get_result(db)?;
        counts.push((*id, count(db, *id)?, open));
    }
    Ok(counts)
}

/// Of one bill, oldest first.
///
/// # Errors
/// The database.
pub fn of_bill(db: &mut Db, bill_id: i64, limit: i64) -> Result<Vec<Shown>, StoreError> {
    let found: Vec<Row> = differences::table
        .inner_join(items::table)
        .filter(differences::bill_id.eq(bill_id))
        .order((differences::at.asc(), differences::id.asc()))
        .limit(limit)
        .select((
            differences::bucket,
            differences::kind,
            differences::transaction_id,
            differences::out_trade_no,
            differences::out_refund_no,
            differences::theirs_fen,
            differences::ours_fen,
            differences::at,
            items::id,
            items::closed_at,
        ))
        .load(db)?;
    found.into_iter().map(shown).collect()
}

fn shown(row: Row) -> Result<Shown, StoreError> {
    let (bucket, kind, transaction_id, out_trade_no, out_refund_no, theirs, ours, at, item, closed_at) = row;
    Ok(Shown {
        difference: Difference {
            bucket: Bucket::parse(&bucket).ok_or(StoreError::Unreadable("bucket"))?,
            kind: BillKind::parse(&kind).ok_or(StoreError::Unreadable("bill kind"))?,
            transaction_id,
            out_trade_no,
            out_refund_no,
            theirs: theirs.and_then(Fen::new),
            ours: ours.and_then(Fen::new),
            at: UnixMs(at),
            work_item: Some(item),
        },
        work_item: item,
        open: closed_at.is_none(),
    })
}
