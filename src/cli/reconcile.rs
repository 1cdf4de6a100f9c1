//! `reconcile`: holds the bills of one day against the books, now.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::{bill::BillDay, money::yuan_text, time::UnixMs},
    flow::reconcile::{self, Outcome},
    store::{
        Store, bill_differences,
        bills::{BillOfDay, Turn},
    },
};
use clap::Args;

/// Differences printed.
const SHOWN: i64 = 200;

#[derive(Args)]
pub(super) struct Options {
    /// A day in Beijing that is over, yyyy-MM-dd.
    day: String,
}

/// # Errors
/// A difference that nobody has closed (1), no such day (2), no bill or no answer, or the books in use (4).
pub(super) async fn run(source: &Source, options: Options) -> Result<(), CliError> {
    let config = Config::read(source)?;
    let day = BillDay::parse(&options.day)
        .ok_or_else(|| CliError::Usage(format!("{} is no day like 2026-11-20", options.day)))?;
    let store = Store::open(&config.database)?;
    let app = App::new(config, store, Clock::system())?;
    if let Some(why) = too_early(day, app.clock.now()) {
        return Err(CliError::Usage(why));
    }
    let (mut open, mut unheard) = (0, Vec::new());
    for (gateway, biller) in reconcile::billers(&app) {
        let account = biller.account.clone();
        match reconcile::run(&app, gateway, &biller, day, Turn::Now).await? {
            Outcome::Compared(bill) => open += print(&app, &bill).await?,
            Outcome::NotYet(said) => unheard.push(format!("{account}: there is no bill yet ({said})")),
            Outcome::Unheard(said) => unheard.push(format!("{account}: {said}")),
            Outcome::Busy => {
                unheard.push(format!("{account}: somebody else is at it; try again in three minutes"))
            }
        }
    }
    match (unheard.is_empty(), open) {
        (false, _) => Err(CliError::OutOfReach(unheard.join("; "))),
        (true, 0) => Ok(()),
        (true, open) => Err(CliError::Failed(format!("{open} differences wait for somebody"))),
    }
}

/// Why a day cannot be compared yet. A bill that is asked for too soon looks like a day without one.
fn too_early(day: BillDay, now: UnixMs) -> Option<String> {
    match () {
        () if now < day.end() => Some(format!("{day} is not over in Beijing")),
        () if now < day.ready_at() => Some(format!("there is no bill of {day} before 10:10 in Beijing")),
        () => None,
    }
}

/// Gives how many work items of its differences are open.
async fn print(app: &App, bill: &BillOfDay) -> Result<i64, CliError> {
    let id = bill.id;
    let (differences, counts) = app
        .store
        .read(move |db| Ok((bill_differences::of_bill(db, id, SHOWN)?, bill_differences::counts(db, &[id])?)))
        .await?;
    let (theirs, ours) = (bill.theirs, bill.ours);
    println!("{}  {}  {}", bill.day, bill.biller.account, bill.state.as_str());
    println!(
        "bill   {:>6} payments {:>14}  {:>6} refunds {:>14}",
        theirs.payments,
        yuan_text(theirs.payments_fen),
        theirs.refunds,
        yuan_text(theirs.refunds_fen)
    );
    println!(
        "books  {:>6} payments {:>14}  {:>6} refunds {:>14}",
        ours.payments,
        yuan_text(ours.payments_fen),
        ours.refunds,
        yuan_text(ours.refunds_fen)
    );
    for shown in differences {
        let one = shown.difference;
        let (number, state) = (one.out_trade_no, if shown.open { "open" } else { "closed" });
        let amount = |fen: Option<crate::domain::money::Fen>| fen.map_or("-".to_owned(), |fen| fen.yuan());
        println!(
            "{:<8} {:<7} {number}  {}  bill {}  books {}  work item {} {state}",
            one.bucket.as_str(),
            one.kind.as_str(),
            one.transaction_id,
            amount(one.theirs),
            amount(one.ours),
            shown.work_item,
        );
    }
    Ok(counts.iter().map(|(_, _, open)| open).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_compared_from_ten_past_ten_of_the_next_on() {
        let day = BillDay::of(UnixMs(1_795_176_000_000));
        let said = |now| too_early(day, now).unwrap_or_default();
        assert!(said(day.end().plus_ms(-1)).contains("not over"));
        assert!(said(day.end()).contains("before 10:10"));
        assert!(said(day.ready_at().plus_ms(-1)).contains("before 10:10"));
        assert_eq!(said(day.ready_at()), "");
    }
}
