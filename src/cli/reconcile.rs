//! `reconcile`: holds the bills of one day against the books, now.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::{bill::BillDay, money::yuan_text},
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
    if day >= BillDay::of(app.clock.now()) {
        return Err(CliError::Usage(format!("{day} is not over in Beijing")));
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
