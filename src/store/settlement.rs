//! Settling in the books: one transaction that makes an order paid, credits its owner and keeps the
//! evidence. UPDATE first, then read: the update is the lock, the unique ledger key the second assertion.

use super::{
    Db, StoreError, attempts,
    events::{self, Event, EventKind},
    ledger,
    notices::{self, Notice},
    pending,
    refunds::released,
    schema::{
        attempts as attempts_table, corrections, ledger as ledger_table, notices as notices_table, orders,
        refunds,
    },
    work_items::{self, Matter},
};
use crate::{
    canary::{self, Canary},
    domain::{
        ids::{OutTradeNo, TransactionId},
        ledger::{Entry, Kind},
        order::{Attempt, Claim, Refusal, Settled, Source, Status, explain},
        time::UnixMs,
    },
    gateway::VerifiedPayment,
};
use diesel::{Connection, prelude::*};

/// The work item of a payment that the gateway says was refunded, not by us.
pub const REFUNDED_ELSEWHERE: &str = "refunded_elsewhere";

/// What `settle` did, and to which order if it is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub settled: Settled,
    /// The order's own number, under which its pages wait.
    pub order_number: Option<String>,
    /// An answer of the gateway that says so is kept already: nothing was written.
    pub known: bool,
}

/// A verified payment on its way into the books.
pub struct Settling {
    pub payment: VerifiedPayment,
    pub source: Source,
    /// The message that brought it, without its verdict and reply.
    pub notice: Notice,
    /// The answer that belongs to an outcome, kept with the message.
    pub reply: Box<dyn Fn(&Settled) -> String + Send>,
    pub now: UnixMs,
}

impl Settling {
    /// What the story of the order says when it is credited.
    pub(super) fn step(&self) -> String {
        format!("+{} {} {}", self.payment.amount(), self.source.as_str(), self.payment.trade_type())
    }
}

/// Settles one payment, whatever there is to say about it. `settle_together` is the short way for the plain case.
///
/// # Errors
/// The database; then nothing was written, the notice neither.
pub(super) fn settle(db: &mut Db, settling: &Settling) -> Result<Settlement, StoreError> {
    let Settling { payment, source, now, .. } = settling;
    let (source, now, mut notice) = (*source, *now, settling.notice.clone());
    if source != Source::Notify
        && let Some(settled) = refused_before(db, payment)?
    {
        return Ok(Settlement { settled, order_number: None, known: true });
    }
    let flipped = flip(db, payment, source, now)?;
    let (settled, order_number) = match &flipped {
        Flip::Done(order) => {
            let settled = if order.closed_at.is_some() { Settled::Late } else { Settled::Now };
            (settled, Some(order.out_trade_no.clone()))
        }
        Flip::TransactionReused => (Settled::Refused(Refusal::TransactionReused), None),
        Flip::Nothing => {
            let found = attempts::with_order(db, payment.out_trade_no())?;
            let settled = explain(payment.claim(), found.as_ref().map(|(attempt, order)| (attempt, order)));
            (settled, found.map(|(_, order)| order.out_trade_no.as_str().to_owned()))
        }
    };
    #[cfg(feature = "canaries")]
    let settled = wrong::told(settled);
    notice.verdict = settled.verdict().to_owned();
    notice.reply = (settling.reply)(&settled);
    notices::insert(db, &notice)?;
    if let Flip::Done(order) = &flipped
        && !canary::sings(Canary::CreditApart)
    {
        credit(db, settling, order, &notice)?;
    }
    if settled.needs_work() {
        let credited = settled.credited();
        let matter = Matter {
            kind: settled.verdict(),
            out_trade_no: payment.out_trade_no().as_str(),
            transaction_id: payment.transaction_id().as_str(),
            notice_id: &notice.id,
            payment: Some(payment.claim()).filter(|_| !credited),
            ..Matter::default()
        };
        work_items::open_once(db, matter, now)?;
    }
    Ok(Settlement { settled, order_number, known: false })
}

/// Why this payment credits nobody, if that can never change and an answer of the gateway that says so is kept.
fn refused_before(db: &mut Db, payment: &VerifiedPayment) -> Result<Option<Settled>, StoreError> {
    let (number, transaction_id) = (payment.out_trade_no(), payment.transaction_id());
    let Some((attempt, order)) = attempts::with_order(db, number)? else { return Ok(None) };
    let settled = explain(payment.claim(), Some((&attempt, &order)));
    let for_good = match settled {
        // Everything fits: the books take it, unless it has credited somebody already.
        Settled::Refused(Refusal::TransactionReused) => is_credited(db, transaction_id)?,
        // By facts of the order and of the payment, which stay.
        Settled::Refused(_) | Settled::SecondPayment => true,
        Settled::Now | Settled::Already | Settled::Late => false,
    };
    let kept = for_good && notices::answer_is_kept(db, number, transaction_id, settled.verdict())?;
    Ok(kept.then_some(settled))
}

/// The attempt an order was paid by; `None` for an unpaid order.
///
/// # Errors
/// The database.
pub fn paid_attempt(db: &mut Db, order_id: i64) -> Result<Option<Attempt>, StoreError> {
    let number: Option<Option<String>> = ledger_table::table
        .filter(ledger_table::kind.eq(Kind::TopUp.as_str()))
        .filter(ledger_table::source_id.eq(order_id))
        .inner_join(notices_table::table.on(ledger_table::notice_id.eq(notices_table::id.nullable())))
        .select(notices_table::out_trade_no)
        .first(db)
        .optional()?;
    match number.flatten().as_deref().and_then(OutTradeNo::parse) {
        Some(number) => attempts::by_number(db, &number),
        None => Ok(None),
    }
}

/// Whether this payment has credited anybody, through an order or by hand.
///
/// # Errors
/// The database.
pub fn is_credited(db: &mut Db, payment: &TransactionId) -> Result<bool, StoreError> {
    let of_order = orders::table.filter(orders::transaction_id.eq(payment.as_str()));
    let by_hand = corrections::table.filter(corrections::transaction_id.eq(payment.as_str()));
    Ok(diesel::select(diesel::dsl::exists(of_order)).get_result(db)?
        || diesel::select(diesel::dsl::exists(by_hand)).get_result(db)?)
}

enum Flip {
    Done(FlippedOrder),
    Nothing,
    TransactionReused,
}

#[derive(Queryable)]
struct FlippedOrder {
    id: i64,
    out_trade_no: String,
    user_id: i64,
    closed_at: Option<i64>,
}

/// 0 → 1 where number, provider, environment, currency and amount fit; nothing else can write `status`.
fn flip(db: &mut Db, payment: &VerifiedPayment, source: Source, now: UnixMs) -> Result<Flip, StoreError> {
    let Claim { provider, account, environment, transaction_id, amount, currency } = payment.claim();
    if currency != "CNY" {
        return Ok(Flip::Nothing);
    }
    let (created, amount) = (Status::Created.number(), amount.get());
    #[cfg(feature = "canaries")]
    let Some((created, amount)) = wrong::facts(db, payment, created, amount)? else {
        return Ok(Flip::Nothing);
    };
    let of_attempt = attempts_table::table
        .filter(attempts_table::out_trade_no.eq(payment.out_trade_no().as_str()))
        .filter(attempts_table::provider.eq(provider.as_str()))
        .filter(attempts_table::account.eq(account))
        .filter(attempts_table::environment.eq(environment.as_str()))
        .select(attempts_table::order_id);
    // What an administrator has credited or sent back by hand is spoken for.
    let corrected = corrections::table.filter(corrections::transaction_id.eq(transaction_id.as_str()));
    let sent_back = refunds::table
        .filter(refunds::transaction_id.eq(transaction_id.as_str()))
        .filter(refunds::work_item_id.is_not_null())
        .filter(refunds::state.ne_all(released()));
    let payable = orders::table
        .filter(orders::id.eq_any(of_attempt))
        .filter(diesel::dsl::not(diesel::dsl::exists(corrected)))
        .filter(diesel::dsl::not(diesel::dsl::exists(sent_back)))
        .filter(orders::status.eq(created))
        .filter(orders::environment.eq(environment.as_str()))
        .filter(orders::amount_fen.eq(amount));
    // In a savepoint: a violated key must not spoil the transaction it is explained in.
    let flipped: Result<Option<FlippedOrder>, StoreError> = db.transaction(|db| {
        Ok(diesel::update(payable)
            .set((
                orders::status.eq(Status::Paid.number()),
                orders::paid_at.eq(now.0),
                orders::transaction_id.eq(transaction_id.as_str()),
                orders::settled_by.eq(source.as_str()),
                orders::told_paid_at.eq(payment.paid_at().map(|at| at.0)),
                orders::late.eq(diesel::dsl::sql::<diesel::sql_types::Integer>(
                    "CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END",
                )),
            ))
            .returning((orders::id, orders::out_trade_no, orders::user_id, orders::closed_at))
            .get_result(db)
            .optional()?)
    });
    match flipped {
        Ok(Some(order)) => Ok(Flip::Done(order)),
        Ok(None) => Ok(Flip::Nothing),
        Err(error) if error.is_unique_violation() => Ok(Flip::TransactionReused),
        Err(error) => Err(error),
    }
}

fn credit(db: &mut Db, settling: &Settling, order: &FlippedOrder, notice: &Notice) -> Result<(), StoreError> {
    let Settling { payment, now, .. } = settling;
    let now = *now;
    let entry = Entry::top_up(order.id, order.user_id, payment.provider(), payment.amount());
    ledger::insert(db, &entry, Some(&notice.id), now)?;
    events::insert(db, order.id, &Event { at: now, kind: EventKind::Credit, detail: settling.step() })?;
    let number = payment.out_trade_no().as_str();
    if work_items::exists(db, REFUNDED_ELSEWHERE, number)? {
        // The money had gone back before we heard that it came: the credit is to be looked at.
        let matter = Matter {
            kind: "credited_after_refund",
            out_trade_no: number,
            transaction_id: payment.transaction_id().as_str(),
            notice_id: &notice.id,
            ..Matter::default()
        };
        work_items::open_once(db, matter, now)?;
    }
    // Only this attempt is done with: another one of the same order may have been paid as well.
    pending::finish(db, payment.out_trade_no())?;
    Ok(())
}

#[cfg(feature = "canaries")]
pub mod wrong {
    //! What wrong versions of settling would do.

    use super::*;
    use diesel::connection::SimpleConnection;

    /// What the update compares with; `None` to refuse the payment.
    pub(super) fn facts(
        db: &mut Db,
        payment: &VerifiedPayment,
        created: i32,
        amount: i64,
    ) -> Result<Option<(i32, i64)>, StoreError> {
        let Some((_, order)) = attempts::with_order(db, payment.out_trade_no())? else {
            return Ok(Some((created, amount)));
        };
        if canary::sings(Canary::LateRefused) && order.closed_at.is_some() {
            return Ok(None);
        }
        let unguarded = canary::sings(Canary::CreditTwice);
        if unguarded {
            db.batch_execute("DROP INDEX IF EXISTS ledger_once; DROP TRIGGER IF EXISTS orders_fixed_facts")?;
        }
        let created =
            if unguarded || canary::sings(Canary::NoStatusGuard) { order.status.number() } else { created };
        let amount = if canary::sings(Canary::NoAmountCheck) { order.amount.get() } else { amount };
        Ok(Some((created, amount)))
    }

    /// The count of changed rows read the wrong way round.
    pub(super) fn told(settled: Settled) -> Settled {
        match settled {
            settled if !canary::sings(Canary::RowsInverted) => settled,
            Settled::Now | Settled::Late => Settled::Refused(Refusal::UnknownOrder),
            _ => Settled::Already,
        }
    }

    /// The credit in a transaction of its own, after the one that made the order paid.
    ///
    /// # Errors
    /// The database.
    pub fn credit_apart(db: &mut Db, settling: &Settling) -> Result<(), StoreError> {
        let found = attempts::with_order(db, settling.payment.out_trade_no())?;
        let Some((_, order)) = found else { return Ok(()) };
        let order = FlippedOrder {
            id: order.id,
            out_trade_no: order.out_trade_no.as_str().to_owned(),
            user_id: order.user_id,
            closed_at: None,
        };
        credit(db, settling, &order, &settling.notice)
    }
}
