//! Where a refund moves: taken on, decided, ended. Each move books what belongs to it in the same transaction:
//! ledger, reservation, work items, evidence and the order's story.

use super::{
    Db, StoreError, attempts,
    events::{self, Event, EventKind},
    ledger,
    notices::{self, Notice},
    refunds::{Answer, answered, by_id},
    schema::{orders, refunds, work_items as items},
    work_items::{self, Matter},
};
use crate::{
    canary::{self, Canary},
    domain::{
        ledger::Entry,
        refund::{QUIET_MS, Refund, RefundState, SETTLE_DOWN_MS},
        time::UnixMs,
    },
    gateway::{RefundStanding, VerifiedRefund},
};
use diesel::prelude::*;

/// The work item of a refund that the merchant's funds do not cover.
pub const NOT_ENOUGH: &str = "refund_not_enough";
/// The work item of a refund that the payer's card cannot take.
pub const ABNORMAL: &str = "refund_abnormal";
/// The work item of a refund that ended here without money moving, and that a message says was paid out.
pub const CONTRADICTED: &str = "refund_contradicted";
/// The work item of a refund that came to nothing.
pub const FAILED: &str = "refund_failed";
/// What is over when the refund is.
const UNTIL_THE_END: [&str; 2] = [NOT_ENOUGH, ABNORMAL];

/// The last answer of a refund that the gateway has taken on: no money has moved.
pub const ACCEPTED: &str = "ACCEPTED";

/// The gateway has taken the request on.
///
/// # Errors
/// The database.
pub fn accepted(
    db: &mut Db,
    refund: &Refund,
    refund_id: &str,
    next_at: UnixMs,
    now: UnixMs,
) -> Result<(), StoreError> {
    let asking = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::state.eq(RefundState::Asking.as_str()));
    let moved = diesel::update(asking)
        .set((
            refunds::state.eq(RefundState::Processing.as_str()),
            refunds::refund_id.eq(number(refund_id)),
            refunds::last_answer.eq(ACCEPTED),
            refunds::next_at.eq(next_at.0),
        ))
        .execute(db)?;
    if moved == 1 {
        tell(db, refund, "accepted", now)?;
        work_items::close_of_refund(db, &[NOT_ENOUGH], refund.out_refund_no.as_str(), "accepted", now)?;
    }
    Ok(())
}

/// An accepted refund that the gateway gave no number and does not know any more may be asked for again. `false` when it
/// has moved or was asked for since.
///
/// # Errors
/// The database.
pub fn reopen(db: &mut Db, refund: &Refund, now: UnixMs) -> Result<bool, StoreError> {
    let lost = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::state.eq(RefundState::Processing.as_str()))
        .filter(refunds::refund_id.is_null())
        .filter(refunds::asked.eq(refund.asked));
    let reopened = diesel::update(lost)
        .set((refunds::state.eq(RefundState::Asking.as_str()), refunds::next_at.eq(now.0)))
        .execute(db)?;
    if reopened == 1 {
        tell(db, refund, "REFUNDNOTEXIST", now)?;
    }
    Ok(reopened == 1)
}

/// Alipay has no number of its own for a refund.
fn number(refund_id: &str) -> Option<&str> {
    Some(refund_id).filter(|number| !number.is_empty())
}

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    Done,
    /// Somebody decided before.
    Before,
    /// Nobody agrees to a request of their own.
    OwnRequest,
}

/// A second administrator says yes (`Asking`) or no (`Rejected`); who asked for it may only say no, and has then
/// taken it back.
///
/// # Errors
/// The database.
pub fn decide(
    db: &mut Db,
    refund: &Refund,
    actor: &str,
    agreed: bool,
    now: UnixMs,
) -> Result<Decided, StoreError> {
    let own = refund.requested_by == actor;
    if agreed && own {
        return Ok(Decided::OwnRequest);
    }
    let state = if agreed { RefundState::Asking } else { RefundState::Rejected };
    let waiting = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::state.eq(RefundState::Waiting.as_str()));
    let decided = diesel::update(waiting)
        .set((
            refunds::state.eq(state.as_str()),
            refunds::decided_by.eq(Some(actor).filter(|_| !own)),
            refunds::next_at.eq(agreed.then_some(now.0)),
            refunds::finished_at.eq((!agreed).then_some(now.0)),
        ))
        .execute(db)?;
    if decided == 0 {
        return Ok(Decided::Before);
    }
    if !agreed {
        release(db, refund, None, now)?;
    }
    tell(db, refund, if own { "withdrawn" } else { state.as_str() }, now)?;
    Ok(Decided::Done)
}

/// What a verified answer did to a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// It moved to the state the gateway reports.
    Moved,
    /// It was there before.
    Already,
    /// It came to nothing here and its amount was given back, and the gateway has it after all. Nothing moved.
    Contradicted,
}

/// Brings a refund to where the gateway says it stands: the one door through which refunds end. `notice` is
/// the reply that says so, kept when it moves something.
///
/// # Errors
/// The database; then nothing was written.
pub fn conclude(
    db: &mut Db,
    refund: &Refund,
    news: &VerifiedRefund,
    notice: &Notice,
    next_at: UnixMs,
    now: UnixMs,
) -> Result<Concluded, StoreError> {
    let state = news.standing().state();
    let from: &[RefundState] = match news.standing() {
        RefundStanding::Processing => &[RefundState::Asking],
        RefundStanding::Abnormal => &[RefundState::Asking, RefundState::Processing],
        RefundStanding::Success | RefundStanding::Closed => {
            &[RefundState::Asking, RefundState::Processing, RefundState::Abnormal]
        }
    };
    let movable = refunds::table
        .filter(refunds::out_refund_no.eq(news.out_refund_no().as_str()))
        .filter(refunds::state.eq_any(from.iter().map(|state| state.as_str())));
    let moved = diesel::update(movable)
        .set((
            refunds::state.eq(state.as_str()),
            refunds::refund_id.eq(refund.refund_id.as_deref().or(number(news.refund_id()))),
            refunds::last_answer.eq(state.as_str()),
            refunds::refused_at.eq(None::<i64>),
            refunds::next_at.eq((!state.is_final()).then_some(next_at.0)),
            refunds::finished_at.eq(state.is_final().then_some(now.0)),
        ))
        .execute(db)?;
    if moved == 0 {
        let now_here = by_id(db, refund.id)?.map_or(refund.state, |refund| refund.state);
        if now_here.is_final() && !now_here.is_reserved() && state != RefundState::Closed {
            notices::insert(db, notice)?;
            report(db, refund, CONTRADICTED, &notice.id, now)?;
            tell(db, refund, &format!("{CONTRADICTED} → {}", state.as_str()), now)?;
            return Ok(Concluded::Contradicted);
        }
        answered(db, refund.id, Answer { word: state.as_str(), next_at, refused_at: None })?;
        return Ok(Concluded::Already);
    }
    notices::insert(db, notice)?;
    book(db, refund, state, &notice.id, now)?;
    let detail = match news.received_by() {
        "" => state.as_str().to_owned(),
        whom => format!("{} → {whom}", state.as_str()),
    };
    tell(db, refund, &detail, now)?;
    Ok(Concluded::Moved)
}

/// Ledger and work items of a refund that has just moved.
fn book(
    db: &mut Db,
    refund: &Refund,
    state: RefundState,
    notice_id: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    let number = refund.out_refund_no.as_str();
    match state {
        RefundState::Success => {
            if refund.user_id.is_some() {
                let entry = Entry::refund_paid(refund.id, refund.order_id, refund.provider, refund.amount);
                ledger::insert(db, &entry, Some(notice_id), now)?;
            }
            work_items::close_of_refund(db, &UNTIL_THE_END, number, "refunded", now)?;
            if let Some(id) = refund.work_item_id {
                work_items::close_refunded(db, id, &format!("refunded by {number}"), now)?;
            }
            Ok(())
        }
        RefundState::Closed => {
            release(db, refund, Some(notice_id), now)?;
            work_items::close_of_refund(db, &UNTIL_THE_END, number, "closed", now)?;
            report(db, refund, FAILED, notice_id, now).map(|_| ())
        }
        RefundState::Abnormal => report(db, refund, ABNORMAL, notice_id, now).map(|_| ()),
        _ => Ok(()),
    }
}

/// The gateway has refused the request and knows no such refund. `false` when it has moved since.
///
/// # Errors
/// The database.
pub fn fail(db: &mut Db, refund: &Refund, now: UnixMs) -> Result<bool, StoreError> {
    let refused = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::state.eq(RefundState::Asking.as_str()))
        .filter(refunds::refused_at.is_not_null())
        .filter(refunds::asked.eq(refund.asked));
    let failed = diesel::update(refused)
        .set((
            refunds::state.eq(RefundState::Failed.as_str()),
            refunds::next_at.eq(None::<i64>),
            refunds::finished_at.eq(now.0),
        ))
        .execute(db)?;
    if failed == 0 {
        return Ok(false);
    }
    release(db, refund, None, now)?;
    report(db, refund, FAILED, "", now)?;
    work_items::close_of_refund(db, &UNTIL_THE_END, refund.out_refund_no.as_str(), "failed", now)?;
    tell(db, refund, "failed", now)?;
    Ok(true)
}

/// An administrator gives up a refund that was never sent, or that the gateway, asked just now, does not know although
/// the last request is old. `false` when it has moved or was sent since.
///
/// # Errors
/// The database.
pub fn give_up(db: &mut Db, refund: &Refund, now: UnixMs) -> Result<bool, StoreError> {
    let quiet_ms = if canary::sings(Canary::GivenUpTooSoon) {
        0
    } else if canary::sings(Canary::GivenUpByOneClock) {
        SETTLE_DOWN_MS
    } else {
        QUIET_MS
    };
    let long_ago = now.plus_ms(quiet_ms.saturating_neg());
    let quiet = refunds::table
        .filter(refunds::id.eq(refund.id))
        .filter(refunds::state.eq(RefundState::Asking.as_str()))
        .filter(refunds::asked.eq(refund.asked))
        .filter(refunds::asked.eq(0).or(refunds::asked_at.le(long_ago.0)));
    let given_up = diesel::update(quiet)
        .set((
            refunds::state.eq(RefundState::Failed.as_str()),
            refunds::next_at.eq(None::<i64>),
            refunds::finished_at.eq(now.0),
        ))
        .execute(db)?;
    if given_up == 0 {
        return Ok(false);
    }
    release(db, refund, None, now)?;
    work_items::close_of_refund(db, &UNTIL_THE_END, refund.out_refund_no.as_str(), "given up", now)?;
    tell(db, refund, GIVEN_UP, now)?;
    Ok(true)
}

/// The step in the order's story when an administrator gives a refund up.
pub const GIVEN_UP: &str = "given_up";

/// Gives the reserved amount back to the payment and to the user's balance. A refund that was never sent does not
/// count among those the gateway makes.
fn release(db: &mut Db, refund: &Refund, notice_id: Option<&str>, now: UnixMs) -> Result<(), StoreError> {
    let amount = refund.amount.get();
    let unsent = i32::from(refund.asked == 0);
    if let Some(id) = refund.order_id {
        diesel::update(orders::table.find(id))
            .set((
                orders::refund_fen.eq(orders::refund_fen - amount),
                orders::refunds.eq(orders::refunds - unsent),
            ))
            .execute(db)?;
    }
    if let Some(id) = refund.work_item_id {
        diesel::update(items::table.find(id))
            .set((
                items::refund_fen.eq(items::refund_fen - amount),
                items::refunds.eq(items::refunds - unsent),
            ))
            .execute(db)?;
        // Closed while it was under way: the payment is nobody's again.
        let why = format!("refund {} came to nothing", refund.out_refund_no);
        work_items::reopen(db, id, &why, now)?;
    }
    if let Some(user_id) = refund.user_id {
        let entry = Entry::refund_released(refund.id, refund.order_id, user_id, refund.amount);
        ledger::insert(db, &entry, notice_id, now)?;
    }
    Ok(())
}

/// Opens a work item about a refund; `false` when it is known.
///
/// # Errors
/// The database.
pub fn report(
    db: &mut Db,
    refund: &Refund,
    kind: &str,
    notice_id: &str,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let matter = Matter {
        kind,
        out_trade_no: refund.out_trade_no.as_str(),
        transaction_id: refund.transaction_id.as_str(),
        out_refund_no: refund.out_refund_no.as_str(),
        notice_id,
        payment: None,
    };
    work_items::open_once(db, matter, now)
}

/// Adds a step to the story of the order that the refunded payment named.
///
/// # Errors
/// The database.
pub fn tell(db: &mut Db, refund: &Refund, what: &str, now: UnixMs) -> Result<(), StoreError> {
    let order_id = match refund.order_id {
        Some(id) => Some(id),
        None => attempts::by_number(db, &refund.out_trade_no)?.map(|attempt| attempt.order_id),
    };
    let Some(order_id) = order_id else { return Ok(()) };
    let detail = format!("{} -{} {what}", refund.out_refund_no, refund.amount);
    events::insert(db, order_id, &Event { at: now, kind: EventKind::Refund, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_kept_when_the_gateway_gives_refunds_none() {
        assert_eq!((number(""), number("50300")), (None, Some("50300")));
    }
}
