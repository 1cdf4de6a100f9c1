//! What a person must look at.

use super::{
    Db, StoreError,
    audit_log::{self, Act},
    schema::{attempts, refunds, work_items},
};
use crate::domain::{
    ids::{OutTradeNo, TransactionId},
    money::Fen,
    order::{Claim, Environment, Provider},
    refund::RefundState,
    time::UnixMs,
    user::BY_THE_BOOKS,
};
use diesel::prelude::*;

/// One matter, open until somebody closes it with a note.
#[derive(Clone, Debug, Queryable)]
pub struct WorkItem {
    pub id: i64,
    pub kind: String,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub notice_id: String,
    pub opened_at: i64,
    pub closed_at: Option<i64>,
    pub closed_by: Option<String>,
    pub note: Option<String>,
    pub out_refund_no: String,
    /// The payment it is about, if there is one: where it was made, and how much of it is refunded.
    pub provider: Option<String>,
    pub account: Option<String>,
    pub environment: Option<String>,
    pub amount_fen: Option<i64>,
    pub refund_fen: i64,
    pub refunds: i32,
}

/// The payment of an item, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncreditedPayment {
    pub provider: Provider,
    pub account: String,
    pub environment: Environment,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub amount: Fen,
    /// Reserved for refunds or gone back.
    pub reserved: Fen,
}

impl WorkItem {
    /// The verified payment that credited nobody, if this item is about one.
    pub fn payment(&self) -> Option<UncreditedPayment> {
        Some(UncreditedPayment {
            provider: Provider::parse(self.provider.as_deref()?)?,
            account: self.account.clone()?,
            environment: Environment::parse(self.environment.as_deref()?)?,
            out_trade_no: OutTradeNo::parse(&self.out_trade_no)?,
            transaction_id: TransactionId::parse(&self.transaction_id)?,
            amount: Fen::new(self.amount_fen?)?,
            reserved: Fen::new(self.refund_fen)?,
        })
    }
}

/// A matter as it is reported. The same kind about the same numbers is the same matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Matter<'a> {
    pub kind: &'a str,
    pub out_trade_no: &'a str,
    pub transaction_id: &'a str,
    pub out_refund_no: &'a str,
    pub notice_id: &'a str,
    /// The verified payment that credited nobody, so that it can be refunded or credited by hand.
    pub payment: Option<Claim<'a>>,
}

/// Whether this very matter was ever reported.
///
/// # Errors
/// The database.
pub fn is_known(db: &mut Db, matter: &Matter<'_>) -> Result<bool, StoreError> {
    let known = work_items::table
        .filter(work_items::kind.eq(matter.kind))
        .filter(work_items::out_trade_no.eq(matter.out_trade_no))
        .filter(work_items::transaction_id.eq(matter.transaction_id))
        .filter(work_items::out_refund_no.eq(matter.out_refund_no));
    Ok(diesel::select(diesel::dsl::exists(known)).get_result(db)?)
}

/// Opens an item unless the same matter is known. Runs inside the writer, so nobody comes between.
///
/// # Errors
/// The database.
pub fn open_once(db: &mut Db, matter: Matter<'_>, now: UnixMs) -> Result<bool, StoreError> {
    if is_known(db, &matter)? {
        return Ok(false);
    }
    // Only fen can be refunded or credited here; another currency is for the gateway's own pages.
    let payment = matter.payment.filter(|payment| payment.currency == "CNY");
    diesel::insert_into(work_items::table)
        .values((
            work_items::kind.eq(matter.kind),
            work_items::out_trade_no.eq(matter.out_trade_no),
            work_items::transaction_id.eq(matter.transaction_id),
            work_items::out_refund_no.eq(matter.out_refund_no),
            work_items::notice_id.eq(matter.notice_id),
            work_items::opened_at.eq(now.0),
            work_items::provider.eq(payment.map(|payment| payment.provider.as_str())),
            work_items::account.eq(payment.map(|payment| payment.account)),
            work_items::environment.eq(payment.map(|payment| payment.environment.as_str())),
            work_items::amount_fen.eq(payment.map(|payment| payment.amount.get())),
        ))
        .execute(db)?;
    Ok(true)
}

/// # Errors
/// The database.
pub fn by_id(db: &mut Db, id: i64) -> Result<Option<WorkItem>, StoreError> {
    Ok(work_items::table.find(id).first(db).optional()?)
}

/// About any attempt of an order, open ones first and then the newest, some at most.
///
/// # Errors
/// The database.
pub fn of_order(db: &mut Db, order_id: i64, limit: i64) -> Result<Vec<WorkItem>, StoreError> {
    let numbers = attempts::table.filter(attempts::order_id.eq(order_id)).select(attempts::out_trade_no);
    Ok(work_items::table
        .filter(work_items::out_trade_no.eq_any(numbers))
        .order((work_items::closed_at.is_null().desc(), work_items::id.desc()))
        .limit(limit)
        .load(db)?)
}

/// Whether such a matter was ever reported about this number.
///
/// # Errors
/// The database.
pub fn exists(db: &mut Db, kind: &str, out_trade_no: &str) -> Result<bool, StoreError> {
    let known =
        work_items::table.filter(work_items::kind.eq(kind)).filter(work_items::out_trade_no.eq(out_trade_no));
    Ok(diesel::select(diesel::dsl::exists(known)).get_result(db)?)
}

/// What came of closing an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    Done,
    /// Somebody closed it before, or it never existed.
    Before,
    /// Its payment is on its way back, and it is closed or not as that ends.
    Refunding,
    /// Its payment is still with nobody, and who wanted it closed may not move money.
    MoneyDecides,
}

/// Closes an item unless its payment is being refunded. An abnormal refund does not count: only the gateway's own pages
/// can bring it to an end.
///
/// # Errors
/// The database.
pub fn close(db: &mut Db, id: i64, actor: &str, note: &str, now: UnixMs) -> Result<Closed, StoreError> {
    let under_way = refunds::table
        .filter(refunds::work_item_id.eq(id))
        .filter(refunds::finished_at.is_null())
        .filter(refunds::state.ne(RefundState::Abnormal.as_str()));
    let open = || work_items::table.filter(work_items::id.eq(id)).filter(work_items::closed_at.is_null());
    let closed = diesel::update(open().filter(diesel::dsl::not(diesel::dsl::exists(under_way))))
        .set((work_items::closed_at.eq(now.0), work_items::closed_by.eq(actor), work_items::note.eq(note)))
        .execute(db)?;
    if closed == 1 {
        return Ok(Closed::Done);
    }
    let still_open: bool = diesel::select(diesel::dsl::exists(open())).get_result(db)?;
    Ok(if still_open { Closed::Refunding } else { Closed::Before })
}

/// Opens an item again, if it was closed, because what dealt with it came to nothing.
///
/// # Errors
/// The database.
pub fn reopen(db: &mut Db, id: i64, why: &str, now: UnixMs) -> Result<(), StoreError> {
    let closed = work_items::table.filter(work_items::id.eq(id)).filter(work_items::closed_at.is_not_null());
    let reopened = diesel::update(closed)
        .set((
            work_items::closed_at.eq(None::<i64>),
            work_items::closed_by.eq(None::<String>),
            work_items::note.eq(None::<String>),
        ))
        .execute(db)?;
    if reopened == 1 {
        let act = Act {
            actor: BY_THE_BOOKS,
            action: "work_item_reopened",
            target: &id.to_string(),
            detail: why,
            was: "closed",
            became: "open",
        };
        audit_log::insert(db, act, now)?;
    }
    Ok(())
}

/// Closes the items of these kinds about a refund, because the refund itself has moved on.
///
/// # Errors
/// The database.
pub fn close_of_refund(
    db: &mut Db,
    kinds: &[&str],
    out_refund_no: &str,
    note: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    let open = work_items::table
        .filter(work_items::kind.eq_any(kinds))
        .filter(work_items::out_refund_no.eq(out_refund_no))
        .filter(work_items::closed_at.is_null());
    diesel::update(open)
        .set((
            work_items::closed_at.eq(now.0),
            work_items::closed_by.eq(BY_THE_BOOKS),
            work_items::note.eq(note),
        ))
        .execute(db)?;
    Ok(())
}

/// Closes the item of a payment that has gone back in full.
///
/// # Errors
/// The database.
pub fn close_refunded(db: &mut Db, id: i64, note: &str, now: UnixMs) -> Result<(), StoreError> {
    let unfinished =
        refunds::table.filter(refunds::work_item_id.eq(id)).filter(refunds::finished_at.is_null());
    let all_back = work_items::table
        .filter(work_items::id.eq(id))
        .filter(diesel::dsl::not(diesel::dsl::exists(unfinished)))
        .filter(work_items::closed_at.is_null())
        .filter(work_items::amount_fen.eq(work_items::refund_fen.nullable()));
    diesel::update(all_back)
        .set((
            work_items::closed_at.eq(now.0),
            work_items::closed_by.eq(BY_THE_BOOKS),
            work_items::note.eq(note),
        ))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn count_open(db: &mut Db) -> Result<i64, StoreError> {
    Ok(work_items::table.filter(work_items::closed_at.is_null()).count().get_result(db)?)
}

/// How many are open, by kind.
///
/// # Errors
/// The database.
pub fn open_by_kind(db: &mut Db) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(work_items::table
        .filter(work_items::closed_at.is_null())
        .group_by(work_items::kind)
        .select((work_items::kind, diesel::dsl::count_star()))
        .order(work_items::kind.asc())
        .load(db)?)
}

/// Which items somebody looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `None` is both.
    pub open: Option<bool>,
    pub kind: Option<String>,
}

/// Newest first.
///
/// # Errors
/// The database.
pub fn list(db: &mut Db, before: Option<i64>, limit: i64) -> Result<Vec<WorkItem>, StoreError> {
    filtered(db, &Filter::default(), before, limit)
}

/// Newest first.
///
/// # Errors
/// The database.
pub fn filtered(
    db: &mut Db,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<WorkItem>, StoreError> {
    let mut query = work_items::table
        .filter(work_items::id.lt(before.unwrap_or(i64::MAX)))
        .order(work_items::id.desc())
        .limit(limit)
        .into_boxed();
    query = match filter.open {
        Some(true) => query.filter(work_items::closed_at.is_null()),
        Some(false) => query.filter(work_items::closed_at.is_not_null()),
        None => query,
    };
    if let Some(kind) = &filter.kind {
        query = query.filter(work_items::kind.eq(kind.clone()));
    }
    Ok(query.load(db)?)
}
