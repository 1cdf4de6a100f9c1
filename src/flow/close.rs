//! Closing what was not paid in time: query, close at the gateway, query again, and only then close here.

use super::{
    FlowError,
    query::{self, Asked},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        order::{Attempt, HOUR_MS, Order, Settled, Source},
        time::{CLOCK_OFF_MS, UnixMs},
    },
    failpoint::{self, Failpoint},
    gateway::Closing,
    store::{
        attempts,
        events::{self, Event, EventKind},
        orders,
        pending::{self, Turn},
    },
};

/// What became of an attempt we tried to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    Closed,
    /// It was paid and is settled now.
    Paid,
    /// It was paid, and the payment credits nobody: it was refused, or money of it has gone back. A work item
    /// says so. Nobody can pay this number again, so it stands in the way of closing its order no longer.
    Spent,
    /// Made for another account of ours: it stays open until that account is back.
    Foreign,
    /// The gateway did not say plainly: it stays open and is tried again.
    Unknown(String),
}

/// Closes an unpaid order once every attempt is confirmed closed at its gateway.
///
/// # Errors
/// The books.
pub async fn close_order(app: &App, order: &Order, source: Source) -> Result<Closed, FlowError> {
    let id = order.id;
    let open = app.store.read(move |db| attempts::of_order(db, id)).await?;
    let mut detail = "closed: not paid in time";
    for attempt in open.iter().filter(|attempt| attempt.closed_at.is_none()) {
        match close_attempt(app, attempt, source).await? {
            Closed::Closed => {}
            Closed::Spent => {
                detail = "closed: what was paid credited nobody";
                closed_here(app, attempt).await?;
            }
            Closed::Paid => return Ok(Closed::Paid),
            Closed::Foreign => return put_off(app, id, HOUR_MS, Closed::Foreign).await,
            unknown @ Closed::Unknown(_) => return Ok(unknown),
        }
    }
    let now = app.clock.now();
    let closed = app
        .store
        .write(move |db| {
            let closed = orders::close(db, id, now)?;
            if closed {
                let detail = detail.to_owned();
                events::insert(db, id, &Event { at: now, kind: EventKind::Close, detail })?;
            }
            Ok(closed)
        })
        .await?;
    let number = &order.out_trade_no;
    if closed {
        tracing::info!(out_trade_no = %number, "order {number} closed unpaid");
        app.waiting.wake(number.as_str());
        return Ok(Closed::Closed);
    }
    // Somebody paid or closed it between our question and our answer, or has opened another attempt.
    let order = app.store.read(move |db| orders::by_id(db, id)).await?;
    Ok(match order {
        Some(order) if order.is_paid() => Closed::Paid,
        Some(order) if order.closed_at.is_none() => Closed::Unknown("another attempt is open".to_owned()),
        _ => Closed::Closed,
    })
}

async fn put_off(app: &App, id: i64, pause_ms: i64, closed: Closed) -> Result<Closed, FlowError> {
    let after = app.clock.now().plus_ms(pause_ms);
    app.store.write(move |db| orders::close_later(db, id, after)).await?;
    Ok(closed)
}

/// Asks about an attempt whose time has come. When the answer is that it can still be paid, and nobody should, because
/// it was set aside or its order is paid, the gateway is asked to close it; the next answer says whether it did.
///
/// # Errors
/// The books.
pub async fn sweep(app: &App, attempt: &Attempt) -> Result<Option<Asked>, FlowError> {
    let asked = query::ask_in_turn(app, attempt, Source::Sweep, Turn::Due).await?;
    if matches!(asked, Some(Asked::Pending(_))) && is_in_the_way(app, attempt).await? {
        // What it answers stands in the order's story, and changes nothing here.
        let _ = ask_to_close(app, attempt).await?;
    }
    Ok(asked)
}

async fn is_in_the_way(app: &App, attempt: &Attempt) -> Result<bool, FlowError> {
    let number = attempt.out_trade_no.clone();
    let found = app.store.read(move |db| attempts::with_order(db, &number)).await?;
    Ok(found.is_some_and(|(attempt, order)| attempt.closed_at.is_some() || order.is_paid()))
}

/// Makes sure nobody can pay this attempt any more, or settles it if somebody has.
///
/// # Errors
/// The books.
pub async fn close_attempt(app: &App, attempt: &Attempt, source: Source) -> Result<Closed, FlowError> {
    // What was read may be old: the gateway need not be asked only if nobody has asked it meanwhile.
    if attempt.asked_at.is_none() && closed_unasked(app, attempt).await? {
        return Ok(Closed::Closed);
    }
    let unsent = canary::sings(Canary::UnsentByMemory) && attempt.asked_at.is_none();
    if unsent || canary::sings(Canary::CloseWithoutAsking) {
        return closed_here(app, attempt).await;
    }
    match query::ask(app, attempt, source).await? {
        Asked::Unknown(_) if canary::sings(Canary::NoAnswerMeansClosed) => {
            return closed_here(app, attempt).await;
        }
        Asked::Pending(_) if canary::sings(Canary::NotPaidIsFinal) => {
            return closed_here(app, attempt).await;
        }
        Asked::Paid(Settled::Refused(_)) | Asked::Refunded(_) => return Ok(Closed::Spent),
        Asked::Paid(_) => return Ok(Closed::Paid),
        Asked::Closed => return Ok(Closed::Closed),
        Asked::Unknown(reason) => return Ok(Closed::Unknown(reason)),
        Asked::Foreign => return Ok(Closed::Foreign),
        Asked::Pending(_) | Asked::NotFound => {}
    }
    let asked = ask_to_close(app, attempt).await?;
    failpoint::pass(Failpoint::CloseBetweenCloseAndQuery);
    // Our clock may be ahead of the gateway's: what has expired here may live there.
    let off = if canary::sings(Canary::OurClockIsRight) { 0 } else { CLOCK_OFF_MS };
    match asked {
        Ok(Closing::Closed | Closing::Paid) => confirm(app, attempt, source).await,
        // Past its time_expire the gateway would refuse it, even if a lost request of ours arrived now.
        Ok(Closing::NotFound) if app.clock.now() >= attempt.expires_at.plus_ms(off) => {
            closed_here(app, attempt).await
        }
        Ok(Closing::NotFound) => Ok(Closed::Unknown("ORDERNOTEXIST".to_owned())),
        Ok(Closing::Unbegun) if is_over(attempt, app.clock.now()) => closed_here(app, attempt).await,
        // Nobody could begin to pay it but by what we showed: it makes room for another attempt, and is asked about
        // until its time is over.
        Ok(Closing::Unbegun) => set_aside(app, attempt).await,
        Ok(Closing::Unknown { code }) => Ok(Closed::Unknown(code)),
        Err(reason) => Ok(Closed::Unknown(reason)),
    }
}

async fn confirm(app: &App, attempt: &Attempt, source: Source) -> Result<Closed, FlowError> {
    match query::ask(app, attempt, source).await? {
        Asked::Paid(Settled::Refused(_)) | Asked::Refunded(_) => Ok(Closed::Spent),
        Asked::Paid(_) => Ok(Closed::Paid),
        Asked::Closed => Ok(Closed::Closed),
        Asked::NotFound => closed_here(app, attempt).await,
        Asked::Foreign => Ok(Closed::Foreign),
        Asked::Pending(state) => Ok(Closed::Unknown(state)),
        Asked::Unknown(reason) => Ok(Closed::Unknown(reason)),
    }
}

async fn ask_to_close(app: &App, attempt: &Attempt) -> Result<Result<Closing, String>, FlowError> {
    let Some(gateway) = app.gateway_of(attempt.channel.provider(), &attempt.account, attempt.environment)
    else {
        return Ok(Err("made for another merchant account".to_owned()));
    };
    let request = gateway.close(attempt, &app.clock.stamp()?);
    let (closing, outcome) = match app.ask(&request).await {
        Err(error) => (Err(error.to_string()), "no_answer"),
        Ok(answer) => match gateway.closing(&answer, attempt) {
            Err(untrusted) => (Err(untrusted.to_string()), untrusted.counted("no_answer")),
            Ok(closing) => (Ok(closing), "answered"),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    let (order_id, at) = (attempt.order_id, app.clock.now());
    let detail = format!("closeorder {}: {}", attempt.out_trade_no, described(&closing));
    let event = Event { at, kind: EventKind::Close, detail };
    app.store.write(move |db| events::insert(db, order_id, &event)).await?;
    Ok(closing)
}

fn described(closing: &Result<Closing, String>) -> String {
    match closing {
        Ok(Closing::Closed) => "SUCCESS".to_owned(),
        Ok(Closing::Paid) => "ORDERPAID".to_owned(),
        Ok(Closing::NotFound) => "ORDERNOTEXIST".to_owned(),
        Ok(Closing::Unbegun) => "nothing to close yet".to_owned(),
        Ok(Closing::Unknown { code }) => code.clone(),
        Err(reason) => format!("no usable answer, {reason}"),
    }
}

async fn closed_unasked(app: &App, attempt: &Attempt) -> Result<bool, FlowError> {
    let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
    let closed = app
        .store
        .write(move |db| {
            let closed = attempts::close_unasked(db, &number, now)?;
            if closed {
                pending::finish(db, &number)?;
            }
            Ok(closed)
        })
        .await?;
    Ok(closed)
}

/// Past its time_expire, by the gateway's clock too: what nobody has begun to pay cannot be begun any more.
pub(super) fn is_over(attempt: &Attempt, now: UnixMs) -> bool {
    now >= attempt.expires_at.plus_ms(CLOCK_OFF_MS)
}

/// Closed here and still asked about, because the gateway could not close it.
async fn set_aside(app: &App, attempt: &Attempt) -> Result<Closed, FlowError> {
    let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
    app.store.write(move |db| attempts::close(db, &number, now)).await?;
    Ok(Closed::Closed)
}

async fn closed_here(app: &App, attempt: &Attempt) -> Result<Closed, FlowError> {
    let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
    app.store
        .write(move |db| {
            attempts::close(db, &number, now)?;
            pending::finish(db, &number)
        })
        .await?;
    Ok(Closed::Closed)
}
