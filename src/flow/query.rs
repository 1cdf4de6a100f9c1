//! Asking the gateway what became of an attempt. A paid answer goes through the same door as a callback.

use super::{
    FlowError, close,
    settle::{self, Evidence},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        order::{Attempt, HOUR_MS, Settled, Source, next_query},
        time::UnixMs,
    },
    failpoint::{self, Failpoint},
    gateway::{Gateway, RefundedPayment, Response, Trade, VerifiedPayment},
    store::{
        Db, StoreError, attempts,
        events::{self, Event, EventKind},
        pending::{self, Lease, Turn},
        refunds,
        settlement::{self, REFUNDED_ELSEWHERE},
        work_items::{self, Matter, UncreditedPayment},
    },
};

/// The page may make us ask this often per order, in ms (contract: at most once per 2 s).
pub const PAGE_GAP_MS: i64 = 2_000;

/// The work item of an attempt nobody may be asked about.
const FOREIGN_ACCOUNT: &str = "foreign_account";

/// What we know after asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Paid(Settled),
    Pending(String),
    /// Closed at the gateway, unpaid.
    Closed,
    NotFound,
    /// Paid, and sent back wholly or in part, by us or by another way: the payment, if the answer names it.
    Refunded(Option<RefundedPayment>),
    /// Made for another account of ours: it is not asked about, because "not found" would prove nothing.
    Foreign,
    /// No usable answer. Nothing is known, nothing is changed.
    Unknown(String),
}

/// Asks if it is this caller's turn; `None` when it is not or there is nothing to ask.
///
/// # Errors
/// The books.
pub async fn ask_in_turn(
    app: &App,
    attempt: &Attempt,
    source: Source,
    turn: Turn,
) -> Result<Option<Asked>, FlowError> {
    if attempt.asked_at.is_none() {
        return Ok(None);
    }
    match claim(app, attempt, turn).await? {
        Some(lease) => ask_with(app, attempt, source, Some(lease)).await.map(Some),
        None => Ok(None),
    }
}

/// Asks now.
///
/// # Errors
/// The books.
pub async fn ask(app: &App, attempt: &Attempt, source: Source) -> Result<Asked, FlowError> {
    let lease = claim(app, attempt, Turn::Now).await?;
    ask_with(app, attempt, source, lease).await
}

async fn claim(app: &App, attempt: &Attempt, turn: Turn) -> Result<Option<Lease>, FlowError> {
    let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
    Ok(app.store.write(move |db| pending::claim(db, &number, now, turn)).await?)
}

/// Without a lease nobody will ask again: the attempt is settled, closed or long past.
async fn ask_with(
    app: &App,
    attempt: &Attempt,
    source: Source,
    lease: Option<Lease>,
) -> Result<Asked, FlowError> {
    let started = app.clock.now();
    let asked = match app.gateway_of(attempt.channel.provider(), &attempt.account, attempt.environment) {
        Some(gateway) => hear(app, gateway, attempt, source).await?,
        None => Asked::Foreign,
    };
    if let Asked::Unknown(reason) = &asked {
        let number = &attempt.out_trade_no;
        tracing::warn!(out_trade_no = %number, "asking about {number} brought nothing usable: {reason}");
    }
    remember(app, attempt, source, &asked, started, lease).await?;
    Ok(asked)
}

async fn hear(
    app: &App,
    gateway: &dyn Gateway,
    attempt: &Attempt,
    source: Source,
) -> Result<Asked, FlowError> {
    let request = gateway.query(attempt, &app.clock.stamp()?);
    let heard = app.ask(&request).await;
    failpoint::pass(Failpoint::QueryAfterAnswer);
    let (asked, outcome) = match heard {
        Err(error) => (Asked::Unknown(error.to_string()), "no_answer"),
        Ok(answer) => match gateway.trade(&answer, attempt) {
            Err(untrusted) => (Asked::Unknown(untrusted.to_string()), untrusted.counted("untrusted")),
            Ok(Trade::Paid(payment)) if is_refunded_elsewhere(app, &payment).await? => {
                (Asked::Refunded(Some(payment.refunded())), "refunded")
            }
            Ok(Trade::Paid(payment)) => {
                let evidence = Evidence { body: answer.body, headers: answer.headers, ..Evidence::default() };
                (Asked::Paid(settle::settle(app, payment, source, evidence).await?), "paid")
            }
            Ok(Trade::Pending { state }) => (Asked::Pending(state), "pending"),
            Ok(Trade::Closed { .. }) => (Asked::Closed, "closed"),
            Ok(Trade::NotFound) => (Asked::NotFound, "not_found"),
            Ok(Trade::Refunded { payment }) => (Asked::Refunded(payment), "refunded"),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    Ok(asked)
}

/// Whether a callback has told of a refund of it that is not ours, before anybody was credited with it. Alipay says so
/// there alone: asked, it goes on calling the whole of it paid while any of it is left.
async fn is_refunded_elsewhere(app: &App, payment: &VerifiedPayment) -> Result<bool, FlowError> {
    let (number, id) = (payment.out_trade_no().clone(), payment.transaction_id().clone());
    let found = app.store.read(move |db| {
        Ok(work_items::exists(db, REFUNDED_ELSEWHERE, number.as_str())? && !settlement::is_credited(db, &id)?)
    });
    Ok(found.await?)
}

/// Writes the step into the order's story and decides when to ask again.
async fn remember(
    app: &App,
    attempt: &Attempt,
    source: Source,
    asked: &Asked,
    started: UnixMs,
    lease: Option<Lease>,
) -> Result<(), FlowError> {
    let now = app.clock.now();
    let took = now.since(started);
    let detail = format!("{} {}: {} ({took} ms)", source.as_str(), attempt.out_trade_no, described(asked));
    let event = Event { at: now, kind: EventKind::Query, detail };
    let (kept, asked) = (attempt.clone(), asked.clone());
    let newly_foreign = app
        .store
        .write(move |db| {
            events::insert(db, kept.order_id, &event)?;
            let number = &kept.out_trade_no;
            match &asked {
                // A refused settlement opened its work item; asking on cannot change the answer.
                Asked::Paid(_) => pending::finish(db, number),
                Asked::Closed => {
                    attempts::close(db, number, now)?;
                    pending::finish(db, number)
                }
                // A refund of our own is followed by its own queries.
                Asked::Refunded(_) if refunds::any_sent(db, number)? => pending::finish(db, number),
                Asked::Refunded(payment) => {
                    let payment = payment.as_ref().map(RefundedPayment::claim);
                    let matter = Matter {
                        kind: REFUNDED_ELSEWHERE,
                        out_trade_no: number.as_str(),
                        transaction_id: payment.map_or("", |payment| payment.transaction_id.as_str()),
                        payment,
                        ..Matter::default()
                    };
                    work_items::open_once(db, matter, now)?;
                    pending::finish(db, number)
                }
                Asked::Unknown(_) if canary::sings(Canary::NoAnswerEndsAsking) => pending::finish(db, number),
                // Set aside when nobody had begun to pay it, and now nobody can.
                Asked::NotFound if kept.closed_at.is_some() && close::is_over(&kept, now) => {
                    pending::finish(db, number)
                }
                Asked::Pending(_) | Asked::NotFound => later(db, &kept, lease, now, 0, false),
                Asked::Unknown(_) => later(db, &kept, lease, now, 0, true),
                Asked::Foreign => {
                    later(db, &kept, lease, now, HOUR_MS, false)?;
                    let out_trade_no = number.as_str();
                    let matter = Matter { kind: FOREIGN_ACCOUNT, out_trade_no, ..Matter::default() };
                    return work_items::open_once(db, matter, now);
                }
            }?;
            Ok(false)
        })
        .await?;
    if newly_foreign {
        let number = &attempt.out_trade_no;
        app.metrics.alerts.with_label_values(&[FOREIGN_ACCOUNT]).inc();
        tracing::error!(out_trade_no = %number, "{number} belongs to another merchant account: nobody asks about it");
    }
    Ok(())
}

/// Asks again when the timetable says so, and not within `pause_ms`. It has no end for what may still be paid, nor for
/// what the gateway has not said a usable word about.
fn later(
    db: &mut Db,
    attempt: &Attempt,
    lease: Option<Lease>,
    now: UnixMs,
    pause_ms: i64,
    unheard: bool,
) -> Result<(), StoreError> {
    let Some(lease) = lease else { return Ok(()) };
    let (asked_about, _) = pending::backlog(db)?;
    let next = match next_query(attempt.created_at, attempt.expires_at, now, asked_about) {
        None if unheard || is_awaited(db, attempt)? => Some(now.plus_ms(HOUR_MS)),
        next => next,
    };
    #[cfg(feature = "canaries")]
    let next = next.and_then(|next_at| wrong::next_query(attempt, next_at, now));
    match next {
        Some(next_at) => {
            pending::ask_again(db, &attempt.out_trade_no, lease, next_at.max(now.plus_ms(pause_ms)))
        }
        None => pending::finish(db, &attempt.out_trade_no),
    }
}

/// Its order is not paid and it is not closed.
fn is_awaited(db: &mut Db, attempt: &Attempt) -> Result<bool, StoreError> {
    let found = attempts::with_order(db, &attempt.out_trade_no)?;
    Ok(found.is_some_and(|(attempt, order)| attempt.closed_at.is_none() && !order.is_paid()))
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What wrong versions of the timetable would do.

    use super::*;

    /// After the first two minutes every five only; or never again once the order's time is over.
    pub(super) fn next_query(attempt: &Attempt, next_at: UnixMs, now: UnixMs) -> Option<UnixMs> {
        if canary::sings(Canary::SweepEndsAtExpiry) && now >= attempt.expires_at {
            return None;
        }
        let slow = canary::sings(Canary::SlowSweep) && now.since(attempt.created_at) >= 120_000;
        Some(if slow { now.plus_ms(300_000) } else { next_at })
    }
}

/// One word or two for the timeline.
pub fn described(asked: &Asked) -> String {
    match asked {
        Asked::Paid(settled) => format!("SUCCESS, {}", settled.verdict()),
        Asked::Pending(state) => state.clone(),
        Asked::Closed => "CLOSED".to_owned(),
        Asked::NotFound => "ORDERNOTEXIST".to_owned(),
        Asked::Refunded(_) => "REFUND".to_owned(),
        Asked::Foreign => "not asked, made for another merchant account".to_owned(),
        Asked::Unknown(reason) => format!("no usable answer, {reason}"),
    }
}

/// What the gateway says of a payment that credited nobody.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// Its verified word that it was made, with the reply it came in.
    Paid(Box<VerifiedPayment>, Response),
    /// What it said instead.
    Said(String),
    /// No usable answer. Nothing is known.
    NoAnswer,
}

/// Asks about a payment that credited nobody.
///
/// # Errors
/// No random bytes.
pub async fn confirm(app: &App, payment: &UncreditedPayment) -> Result<Confirmed, FlowError> {
    let Some(gateway) = app.gateway_of(payment.provider, &payment.account, payment.environment) else {
        return Ok(Confirmed::NoAnswer);
    };
    let request = gateway.query_payment(&payment.transaction_id, &payment.account, &app.clock.stamp()?);
    let (confirmed, outcome) = match app.ask(&request).await {
        Err(_) => (Confirmed::NoAnswer, "no_answer"),
        Ok(answer) => match gateway.payment(&answer, &payment.out_trade_no) {
            Err(untrusted) => (Confirmed::NoAnswer, untrusted.counted("untrusted")),
            Ok(Trade::Paid(verified)) => (Confirmed::Paid(Box::new(verified), answer), "paid"),
            Ok(Trade::Pending { state }) => (Confirmed::Said(state), "pending"),
            Ok(Trade::Closed { state }) => (Confirmed::Said(state), "closed"),
            Ok(Trade::NotFound) => (Confirmed::Said("ORDERNOTEXIST".to_owned()), "not_found"),
            Ok(Trade::Refunded { .. }) => (Confirmed::Said("REFUND".to_owned()), "refunded"),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    Ok(confirmed)
}
