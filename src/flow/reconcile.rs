//! A day's bill held against the books. A bill is not signed and never credits: a payment in it that the books lack is
//! asked about, and the answer goes through the one door. What then differs is one work item each.
//!
//! Every step may be repeated: a run that was cut off leaves lines, credits and work items that the next one finds.

use super::{
    FlowError, gateway_keys,
    query::{self, Asked},
    refund,
    settle::{self, Evidence},
};
#[cfg(feature = "canaries")]
use crate::canary::{self, Canary};
use crate::{
    app::App,
    domain::{
        bill::{BillDay, BillKind, BillRow, Bucket, Totals, judge},
        ids::{OutTradeNo, TransactionId},
        order::{Channel, HOUR_MS, Source},
        time::UnixMs,
        user::User,
    },
    gateway::{Bill, Billed, Gateway, Trade, Untrusted},
    store::{
        attempts,
        audit_log::{self, Act},
        bill_compare::{self, Held, Unbilled},
        bill_differences::{self, Difference},
        bills::{self, BillOfDay, Biller, Turn},
    },
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;

/// Whoever works on a day has it so long without a word, in ms: a file takes a minute, a step less.
const LEASE_MS: i64 = 3 * 60_000;
/// When a bill that was not to be had is asked for again, in ms.
const AGAIN_MS: i64 = 10 * 60_000;
/// A bill that is not compared by noon of the next day is an alarm.
const OVERDUE_MS: i64 = 12 * HOUR_MS;
/// Lines handled at once, so that no change keeps the writer from money for long.
const STEP: usize = 200;

/// What came of working on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Compared(BillOfDay),
    /// There is no bill yet, says the gateway.
    NotYet(String),
    /// No usable answer, or not to everything. What was found is kept.
    Unheard(String),
    /// Somebody else is at it, or it is not due.
    Busy,
}

/// Who hands out bills: one gateway for each merchant, whatever protocols they speak.
pub fn billers(app: &App) -> Vec<(&dyn Gateway, Biller)> {
    let mut found: Vec<(&dyn Gateway, Biller)> = Vec::new();
    for gateway in app.gateways() {
        let biller = Biller {
            provider: gateway.protocol().provider(),
            account: gateway.bill_account(),
            environment: gateway.environment(),
        };
        if !found.iter().any(|(_, known)| *known == biller) {
            found.push((gateway, biller));
        }
    }
    found
}

/// Fetches the bill of a day, asks about what only the bill knows, compares.
///
/// # Errors
/// The books.
pub async fn run(
    app: &App,
    gateway: &dyn Gateway,
    biller: &Biller,
    day: BillDay,
    turn: Turn,
) -> Result<Outcome, FlowError> {
    let Ok(_alone) = app.bills.try_acquire() else { return Ok(Outcome::Busy) };
    let (now, asked) = (app.clock.now(), biller.clone());
    let until = now.plus_ms(LEASE_MS);
    let claimed = app.store.write(move |db| bills::claim(db, &asked, day, turn, now, until)).await?;
    let Some(bill) = claimed else { return Ok(Outcome::Busy) };
    let outcome = match fetch(app, gateway, &bill).await? {
        Fetched::Bill(file) => {
            keep(app, &bill, &file).await?;
            let healed = heal(app, gateway, &bill).await?;
            compare(app, gateway, &bill, healed).await?
        }
        Fetched::NotYet(said) => {
            put_off(app, &bill, &said).await?;
            Outcome::NotYet(said)
        }
        Fetched::Unheard(said) => {
            app.metrics.alerts.with_label_values(&["bill_failed"]).inc();
            put_off(app, &bill, &said).await?;
            Outcome::Unheard(said)
        }
    };
    report(app, &bill, &outcome);
    Ok(outcome)
}

/// An administrator wants it done again: who asked is written down before. On a task of its own: a browser that has
/// waited long enough does not stop it when the old lines are gone and the new ones are not there.
pub fn again(app: Arc<App>, actor: User, bill: BillOfDay) -> JoinHandle<Result<Option<Outcome>, FlowError>> {
    tokio::spawn(async move { compare_again(&app, &actor, &bill).await })
}

async fn compare_again(app: &App, actor: &User, bill: &BillOfDay) -> Result<Option<Outcome>, FlowError> {
    let found = billers(app).into_iter().find(|(_, biller)| *biller == bill.biller);
    let Some((gateway, biller)) = found else { return Ok(None) };
    let (name, target, was, now) =
        (actor.username.clone(), bill.id.to_string(), bill.state.as_str(), app.clock.now());
    let detail = format!("{} {}", biller.account, bill.day);
    app.store
        .write(move |db| {
            let act = Act {
                actor: &name,
                action: "bill_reconciled",
                target: &target,
                detail: &detail,
                was,
                became: "asked",
            };
            audit_log::insert(db, act, now)
        })
        .await?;
    run(app, gateway, &biller, bill.day, Turn::Now).await.map(Some)
}

enum Fetched {
    Bill(Bill),
    NotYet(String),
    Unheard(String),
}

async fn fetch(app: &App, gateway: &dyn Gateway, bill: &BillOfDay) -> Result<Fetched, FlowError> {
    // A command has nobody who fetched them before.
    gateway_keys::refresh(app).await?;
    let request = gateway.bill(bill.day, &app.clock.stamp()?);
    let mut call = request.call;
    let mut told = match app.fetch(&request).await {
        Err(error) => Err((error.to_string(), "no_answer")),
        Ok(answer) => gateway.billed(&answer, bill.day).map_err(|untrusted| unusable(&untrusted)),
    };
    if let Ok(Billed::At(file)) = &told {
        let request = gateway.bill_file(file, &app.clock.stamp()?);
        call = request.call;
        told = match app.fetch(&request).await {
            Err(error) => Err((error.to_string(), "no_answer")),
            Ok(answer) => gateway
                .bill_fetched(&answer, file)
                .map(Billed::Here)
                .map_err(|untrusted| unusable(&untrusted)),
        };
    }
    let (fetched, outcome) = match told {
        Ok(Billed::Here(file)) => (Fetched::Bill(file), "answered"),
        Ok(Billed::NotYet { code }) => (Fetched::NotYet(code), "not_yet"),
        Ok(Billed::Nothing { .. }) if is_empty_day(app, gateway, bill).await? => {
            (Fetched::Bill(Bill { rows: Vec::new(), sha256: String::new() }), "nothing")
        }
        Ok(Billed::Nothing { code }) => (Fetched::NotYet(code), "not_yet"),
        Ok(Billed::At(_)) => (Fetched::Unheard("an address in place of a file".to_owned()), "untrusted"),
        Err((reason, outcome)) => (Fetched::Unheard(reason), outcome),
    };
    app.metrics.gateway_calls.with_label_values(&[call, outcome]).inc();
    Ok(fetched)
}

/// Why, and the word it is counted under.
fn unusable(untrusted: &Untrusted) -> (String, &'static str) {
    (untrusted.to_string(), untrusted.counted("no_answer"))
}

/// "No bill" also means that it is not made yet. It is believed from noon on, of a day our books have nothing of either
/// and no line of which any bill has shown.
async fn is_empty_day(app: &App, gateway: &dyn Gateway, bill: &BillOfDay) -> Result<bool, FlowError> {
    if !is_overdue(bill.day, app.clock.now()) || bill.theirs != Totals::default() {
        return Ok(false);
    }
    let id = bill.id;
    let has_lines = app.store.read(move |db| Ok(!bills::rows_after(db, id, 0, 1)?.is_empty())).await?;
    Ok(!has_lines && unbilled(app, gateway, bill).await?.is_empty())
}

async fn unbilled(app: &App, gateway: &dyn Gateway, bill: &BillOfDay) -> Result<Vec<Unbilled>, FlowError> {
    let bill = bill.clone();
    let all = app.store.read(move |db| bill_compare::unbilled(db, &bill)).await?;
    Ok(all.into_iter().filter(|one| gateway.is_billed(&one.account)).collect())
}

/// Writes the lines down, unless this very file was written down to its end before.
async fn keep(app: &App, bill: &BillOfDay, file: &Bill) -> Result<(), FlowError> {
    if bill.fetched_at.is_some() && bill.sha256 == file.sha256 {
        return Ok(());
    }
    let (id, now) = (bill.id, app.clock.now());
    app.store.write(move |db| bills::begin_rows(db, id, now)).await?;
    for lines in file.rows.chunks(STEP) {
        let (lines, until) = (lines.to_vec(), app.clock.now().plus_ms(LEASE_MS));
        app.store
            .write(move |db| {
                bills::renew(db, id, until)?;
                bills::insert_rows(db, id, &lines)
            })
            .await?;
    }
    let mut theirs = Totals::default();
    file.rows.iter().for_each(|row| theirs.add(row.kind, row.amount));
    let (sha256, now) = (file.sha256.clone(), app.clock.now());
    app.store
        .write(move |db| {
            bills::finish_rows(db, id, &sha256, theirs, now)?;
            bill_differences::heal_missing(db, now)
        })
        .await?;
    Ok(())
}

/// What asking about the lines that the books lack has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Healed {
    credited: i64,
    unheard: i64,
}

/// Asks the gateway about every payment that only the bill knows, and about refunds that have not ended here.
async fn heal(app: &App, gateway: &dyn Gateway, bill: &BillOfDay) -> Result<Healed, FlowError> {
    let mut healed = Healed::default();
    let mut line = 0;
    loop {
        let held = step(app, bill, line).await?;
        let Some(last) = held.last() else { return Ok(healed) };
        line = last.row.line;
        for held in &held {
            match held.row.kind {
                BillKind::Refund => follow(app, &held.row).await?,
                // Nobody can learn more of what has a work item with the gateway's own word.
                BillKind::Payment if held.ours.booked.is_none() && held.work_item.is_none() => {
                    match ask_about(app, gateway, &held.row).await? {
                        Heard::Credited => healed.credited = healed.credited.saturating_add(1),
                        Heard::Nothing => healed.unheard = healed.unheard.saturating_add(1),
                        Heard::Else => {}
                    }
                    let (id, until) = (bill.id, app.clock.now().plus_ms(LEASE_MS));
                    app.store.write(move |db| bills::renew(db, id, until)).await?;
                }
                BillKind::Payment => {}
            }
        }
    }
}

/// The next lines below `line`, held against the books.
async fn step(app: &App, bill: &BillOfDay, line: i32) -> Result<Vec<Held>, FlowError> {
    let (id, biller) = (bill.id, bill.biller.clone());
    let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
    let held = app.store.read(move |db| {
        let lines = bills::rows_after(db, id, line, limit)?;
        bill_compare::hold(db, &biller, lines)
    });
    Ok(held.await?)
}

/// What the gateway said of a payment that only the bill knows.
enum Heard {
    Credited,
    Else,
    /// No usable answer.
    Nothing,
}

async fn ask_about(app: &App, gateway: &dyn Gateway, row: &BillRow) -> Result<Heard, FlowError> {
    let number = OutTradeNo::parse(&row.out_trade_no);
    if let Some(number) = number.clone() {
        let attempt = app.store.read(move |db| attempts::by_number(db, &number)).await?;
        let ours = attempt.filter(|attempt| {
            app.gateway_of(attempt.channel.provider(), &attempt.account, attempt.environment).is_some()
        });
        if let Some(attempt) = ours {
            #[cfg(feature = "canaries")]
            if canary::sings(Canary::BillCredits) {
                return wrong::credit(app, gateway, &attempt, row).await;
            }
            return Ok(match query::ask(app, &attempt, Source::Bill).await? {
                Asked::Paid(settled) if settled.credited() => Heard::Credited,
                Asked::Unknown(_) => Heard::Nothing,
                _ => Heard::Else,
            });
        }
    }
    let (Some(number), Some(payment)) = (number, TransactionId::parse(&row.transaction_id)) else {
        return Ok(Heard::Else);
    };
    // Nobody knows which of the merchant's apps it was made in: asked as any of them.
    let Some(account) = Channel::ALL.iter().find_map(|channel| gateway.account(*channel)) else {
        return Ok(Heard::Else);
    };
    let request = gateway.query_payment(&payment, &account, &app.clock.stamp()?);
    Ok(match app.ask(&request).await {
        Err(_) => Heard::Nothing,
        Ok(answer) => match gateway.payment(&answer, &number) {
            // It fits no order, so it opens the work item from which it is refunded or credited by hand.
            Ok(Trade::Paid(verified)) => {
                let evidence = Evidence { body: answer.body, headers: answer.headers, ..Evidence::default() };
                settle::settle(app, verified, Source::Bill, evidence).await?;
                Heard::Else
            }
            _ => Heard::Else,
        },
    })
}

/// A refund of ours that the bill has and that has not ended here is asked about now.
async fn follow(app: &App, row: &BillRow) -> Result<(), FlowError> {
    let row = row.clone();
    let unfinished = app.store.read(move |db| bill_compare::unfinished_refund(db, &row)).await?;
    match unfinished {
        Some(refund) => refund::look(app, &refund).await,
        None => Ok(()),
    }
}

async fn compare(
    app: &App,
    gateway: &dyn Gateway,
    bill: &BillOfDay,
    healed: Healed,
) -> Result<Outcome, FlowError> {
    let began = app.clock.now();
    let (mut ours, mut seen) = (Totals::default(), BTreeSet::new());
    let mut line = 0;
    loop {
        let held = step(app, bill, line).await?;
        let Some(last) = held.last() else { break };
        line = last.row.line;
        let found = held.iter().filter_map(|held| {
            // The second of the same is in the bill and not in the books.
            let first = seen.insert(key(&held.row));
            if let Some(booked) = held.ours.booked.filter(|_| first) {
                ours.add(held.row.kind, booked);
            }
            let bucket = if first { judge(held.row.amount, held.ours)? } else { Bucket::Extra };
            Some(billed_difference(held, bucket))
        });
        note(app, bill, found.collect()).await?;
    }
    let missing = unbilled(app, gateway, bill).await?;
    for one in &missing {
        ours.add(one.kind, one.amount);
    }
    note(app, bill, missing.into_iter().map(missing_difference).collect()).await?;
    let (id, now) = (bill.id, app.clock.now());
    let said = format!("{} payments could not be asked about", healed.unheard);
    let unheard = (healed.unheard > 0).then(|| said.clone());
    let finished = app
        .store
        .write(move |db| {
            let next = unheard.as_deref().map(|said| (now.plus_ms(AGAIN_MS), said));
            bill_differences::finish(db, id, ours, (began, now, next))?;
            bills::by_id(db, id)
        })
        .await?;
    if healed.credited > 0 {
        app.metrics.alerts.with_label_values(&["credited_by_bill"]).inc();
    }
    Ok(match finished {
        Some(finished) if healed.unheard == 0 => Outcome::Compared(finished),
        _ => Outcome::Unheard(said),
    })
}

/// What makes two lines the same one.
fn key(row: &BillRow) -> (BillKind, String, String) {
    (row.kind, row.transaction_id.clone(), row.out_refund_no.clone())
}

fn billed_difference(held: &Held, bucket: Bucket) -> Difference {
    let row = &held.row;
    Difference {
        bucket,
        kind: row.kind,
        transaction_id: row.transaction_id.clone(),
        out_trade_no: row.out_trade_no.clone(),
        out_refund_no: row.out_refund_no.clone(),
        theirs: Some(row.amount),
        ours: held.ours.booked.or(held.ours.expected),
        at: row.at,
        work_item: held.work_item,
    }
}

fn missing_difference(one: Unbilled) -> Difference {
    Difference {
        bucket: Bucket::Missing,
        kind: one.kind,
        transaction_id: one.transaction_id,
        out_trade_no: one.out_trade_no,
        out_refund_no: one.out_refund_no,
        theirs: None,
        ours: Some(one.amount),
        at: one.at,
        work_item: None,
    }
}

/// Writes differences down, a few at a time.
async fn note(app: &App, bill: &BillOfDay, found: Vec<Difference>) -> Result<(), FlowError> {
    for some in found.chunks(STEP) {
        let (id, some, now) = (bill.id, some.to_vec(), app.clock.now());
        let opened = app.store.write(move |db| {
            bills::renew(db, id, now.plus_ms(LEASE_MS))?;
            let mut opened = 0;
            for difference in &some {
                opened += u64::from(bill_differences::keep(db, id, difference, now)?);
            }
            Ok(opened)
        });
        app.metrics.alerts.with_label_values(&["bill_difference"]).inc_by(opened.await?);
    }
    Ok(())
}

async fn put_off(app: &App, bill: &BillOfDay, said: &str) -> Result<(), FlowError> {
    let (id, said, next_at) = (bill.id, said.to_owned(), app.clock.now().plus_ms(AGAIN_MS));
    Ok(app.store.write(move |db| bills::put_off(db, id, &said, next_at)).await?)
}

fn report(app: &App, bill: &BillOfDay, outcome: &Outcome) {
    let (account, day) = (&bill.biller.account, bill.day);
    match outcome {
        Outcome::Compared(bill) if bill.state == bills::BillState::Balanced => {
            tracing::info!(%day, "the bill of {account} for {day} agrees with the books");
        }
        Outcome::Compared(_) => {
            tracing::warn!(%day, "the bill of {account} for {day} differs from the books: see the work items");
        }
        Outcome::NotYet(said) | Outcome::Unheard(said) => {
            tracing::warn!(%day, "the bill of {account} for {day} is still to be compared: {said}");
            if bill.state == bills::BillState::Waiting && is_overdue(day, app.clock.now()) {
                app.metrics.alerts.with_label_values(&["bill_overdue"]).inc();
                tracing::error!(%day, "the bill of {account} for {day} was due by noon");
            }
        }
        Outcome::Busy => {}
    }
}

fn is_overdue(day: BillDay, now: UnixMs) -> bool {
    now >= day.end().plus_ms(OVERDUE_MS)
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What a wrong version would make of a line of a bill.

    use super::*;
    use crate::{domain::order::Attempt, gateway::VerifiedPayment};

    pub(super) async fn credit(
        app: &App,
        gateway: &dyn Gateway,
        attempt: &Attempt,
        row: &BillRow,
    ) -> Result<Heard, FlowError> {
        let Some(payment) = TransactionId::parse(&row.transaction_id) else { return Ok(Heard::Else) };
        let verified = VerifiedPayment::of_bill(gateway.protocol(), attempt, payment);
        settle::settle(app, verified, Source::Bill, Evidence::default()).await?;
        Ok(Heard::Credited)
    }
}
