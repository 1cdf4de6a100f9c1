//! Which days' bills are still to be compared, and which were left: somebody is told of those, once.

use super::FlowError;
use crate::{
    app::App,
    domain::bill::BillDay,
    store::{
        bills::{self, Biller},
        work_items::{self, Matter},
    },
};

/// So many days back are made up for.
const DAYS_BACK: usize = 7;
/// The work item about a day whose bill was not to be had in all that time.
const OVERDUE: &str = "bill_overdue";

/// The days whose bills should be there and are not compared, oldest first; none from before the first order. What was
/// begun is brought to an end however old it is: its lines may be gone.
///
/// # Errors
/// The books.
pub async fn days(app: &App, biller: &Biller) -> Result<Vec<BillDay>, FlowError> {
    let now = app.clock.now();
    let mut days = vec![BillDay::of(now).before()];
    while days.len() < DAYS_BACK {
        let Some(last) = days.last() else { break };
        days.push(last.before());
    }
    days.reverse();
    let (asked, oldest) = (biller.clone(), days.first().copied().unwrap_or(BillDay::of(now)));
    let read = app.store.read(move |db| {
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
        Ok((first, done, begun, untold))
    });
    let (first, done, begun, untold) = read.await?;
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
