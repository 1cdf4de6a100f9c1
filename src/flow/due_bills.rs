//! Which days' bills are still to be compared, and which were left: somebody is told of those, once.

use super::FlowError;
use crate::{
    app::App,
    domain::{bill::BillDay, time::UnixMs},
    store::{
        bills::{self, Biller},
        work_items::{self, Matter},
    },
};

/// So many days back are made up for.
const DAYS_BACK: usize = 7;
/// So many where a program that stood still longer left a gap: gateways keep their bills some months.
const MOST_BACK: usize = 60;
/// The work item about a day whose bill was not to be had in all that time.
const OVERDUE: &str = "bill_overdue";

/// Yesterday and the days before: a week, or down to the one after the newest that is known. Oldest first.
fn wanted(now: UnixMs, newest: Option<BillDay>) -> Vec<BillDay> {
    let mut days = vec![BillDay::of(now).before()];
    while let Some(last) = days.last().copied() {
        let is_gap = newest.is_some_and(|newest| newest < last.before()) && days.len() < MOST_BACK;
        if days.len() >= DAYS_BACK && !is_gap {
            break;
        }
        days.push(last.before());
    }
    days.reverse();
    days
}

/// The days whose bills should be there and are not compared, oldest first; none from before the first order. What was
/// begun is brought to an end however old it is: its lines may be gone.
///
/// # Errors
/// The books.
pub async fn days(app: &App, biller: &Biller) -> Result<Vec<BillDay>, FlowError> {
    let now = app.clock.now();
    let asked = biller.clone();
    let read = app.store.read(move |db| {
        let days = wanted(now, bills::newest_day(db, &asked)?);
        let oldest = days.first().copied().unwrap_or(BillDay::of(now));
        let first = bills::first_attempt(db, &asked)?;
        let done = bills::compared_since(db, &asked, oldest)?;
        let (begun, left): (Vec<_>, Vec<_>) =
            bills::waiting_before(db, &asked, oldest)?.into_iter().partition(|(_, begun)| *begun);
        let mut untold = Vec::new();
        for (day, _) in left {
            if !work_items::is_known(db, &overdue(&day.to_string(), &asked.account))? {
                untold.push(day);
            }
        }
        Ok((days, first, done, begun, untold))
    });
    let (mut days, first, done, begun, untold) = read.await?;
    for day in untold {
        let (number, account) = (day.to_string(), biller.account.clone());
        app.store.write(move |db| work_items::open_once(db, overdue(&number, &account), now)).await?;
    }
    let Some(first) = first else { return Ok(Vec::new()) };
    days.retain(|day| day.ready_at() <= now && first < day.end() && !done.contains(day));
    Ok(begun.into_iter().map(|(day, _)| day).chain(days).collect())
}

/// Nobody asks for the bill of this day any more.
fn overdue<'a>(day: &'a str, account: &'a str) -> Matter<'a> {
    Matter { kind: OVERDUE, out_trade_no: day, transaction_id: account, ..Matter::default() }
}
