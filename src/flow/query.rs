//! Asking the gateway what became of an attempt. A paid answer goes through the same door as a callback.

use super::{
    FlowError,
    settle::{self, Evidence},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::OutTradeNo,
        order::{Attempt, Settled, Source, next_query},
        time::UnixMs,
    },
    gateway::Trade,
    store::{
        attempts,
        events::{self, Event, EventKind},
        pending, refunds,
        settlement::REFUNDED_ELSEWHERE,
        work_items::{self, Matter},
    },
};

/// The page may make us ask this often per order, in ms (contract: at most once per 2 s).
pub const PAGE_GAP_MS: i64 = 2_000;

/// What we know after asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Paid(Settled),
    Pending(String),
    /// Closed at the gateway, unpaid.
    Closed,
    NotFound,
    /// Paid, and sent back wholly or in part, by us or by another way.
    Refunded,
    /// No usable answer. Nothing is known, nothing is changed.
    Unknown(String),
}

/// Asks if nobody asked within `gap_ms`; `None` when it is too soon or there is nothing to ask.
///
/// # Errors
/// The books.
pub async fn ask_within_budget(
    app: &App,
    attempt: &Attempt,
    source: Source,
    gap_ms: i64,
) -> Result<Option<Asked>, FlowError> {
    if attempt.asked_at.is_none() {
        return Ok(None);
    }
    let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
    let claimed = app.store.write(move |db| pending::claim(db, &number, now, gap_ms)).await?;
    match claimed {
        Some(_) => ask(app, attempt, source).await.map(Some),
        None => Ok(None),
    }
}

/// Asks now.
///
/// # Errors
/// The books.
pub async fn ask(app: &App, attempt: &Attempt, source: Source) -> Result<Asked, FlowError> {
    let started = app.clock.now();
    let asked = if attempt.account == app.gateway(attempt.channel.provider()).account() {
        hear(app, attempt, source).await?
    } else {
        // Another account's gateway does not know it, and "not found" there would prove nothing.
        app.metrics.alerts.with_label_values(&["foreign_account"]).inc();
        Asked::Unknown("made for another merchant account".to_owned())
    };
    if let Asked::Unknown(reason) = &asked {
        let number = &attempt.out_trade_no;
        tracing::warn!(out_trade_no = %number, "asking about {number} brought nothing usable: {reason}");
    }
    remember(app, attempt, source, &asked, started).await?;
    Ok(asked)
}

async fn hear(app: &App, attempt: &Attempt, source: Source) -> Result<Asked, FlowError> {
    let gateway = app.gateway(attempt.channel.provider());
    let request = gateway.query(attempt, &app.clock.stamp()?);
    let (asked, outcome) = match app.http.send(&request).await {
        Err(error) => (Asked::Unknown(error.to_string()), "no_answer"),
        Ok(answer) => match gateway.trade(&answer, attempt) {
            Err(untrusted) => (Asked::Unknown(untrusted.to_string()), "untrusted"),
            Ok(Trade::Paid(payment)) => {
                let evidence = Evidence { body: answer.body, ..Evidence::default() };
                (Asked::Paid(settle::settle(app, payment, source, evidence).await?), "paid")
            }
            Ok(Trade::Pending { state }) => (Asked::Pending(state), "pending"),
            Ok(Trade::Closed { .. }) => (Asked::Closed, "closed"),
            Ok(Trade::NotFound) => (Asked::NotFound, "not_found"),
            Ok(Trade::Refunded) => (Asked::Refunded, "refunded"),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    Ok(asked)
}

/// Writes the step into the order's story and decides when to ask again.
async fn remember(
    app: &App,
    attempt: &Attempt,
    source: Source,
    asked: &Asked,
    started: UnixMs,
) -> Result<(), FlowError> {
    let now = app.clock.now();
    let took = now.since(started);
    let detail = format!("{} {}: {} ({took} ms)", source.as_str(), attempt.out_trade_no, described(asked));
    let event = Event { at: now, kind: EventKind::Query, detail };
    let (attempt, asked) = (attempt.clone(), asked.clone());
    app.store
        .write(move |db| {
            events::insert(db, attempt.order_id, &event)?;
            let number = &attempt.out_trade_no;
            match asked {
                // A refused settlement opened its work item; asking on cannot change the answer.
                Asked::Paid(_) => pending::finish(db, number),
                Asked::Closed => {
                    attempts::close(db, number, now)?;
                    pending::finish(db, number)
                }
                // A refund of our own is followed by its own queries.
                Asked::Refunded if refunds::any_sent(db, number)? => pending::finish(db, number),
                Asked::Refunded => {
                    let out_trade_no = number.as_str();
                    let matter = Matter { kind: REFUNDED_ELSEWHERE, out_trade_no, ..Matter::default() };
                    work_items::open_once(db, matter, now)?;
                    pending::finish(db, number)
                }
                Asked::Unknown(_) if canary::sings(Canary::NoAnswerEndsAsking) => pending::finish(db, number),
                Asked::Pending(_) | Asked::NotFound | Asked::Unknown(_) => later(db, &attempt, number, now),
            }
        })
        .await?;
    Ok(())
}

fn later(
    db: &mut crate::store::Db,
    attempt: &Attempt,
    number: &OutTradeNo,
    now: UnixMs,
) -> Result<(), crate::store::StoreError> {
    match next_query(attempt.created_at, attempt.expires_at, now) {
        Some(next_at) => pending::ask_at(db, number, next_at),
        None => pending::finish(db, number),
    }
}

/// One word or two for the timeline.
pub fn described(asked: &Asked) -> String {
    match asked {
        Asked::Paid(settled) => format!("SUCCESS, {}", settled.verdict()),
        Asked::Pending(state) => state.clone(),
        Asked::Closed => "CLOSED".to_owned(),
        Asked::NotFound => "ORDERNOTEXIST".to_owned(),
        Asked::Refunded => "REFUND".to_owned(),
        Asked::Unknown(reason) => format!("no usable answer, {reason}"),
    }
}
