//! `order`: the story of one order in the terminal, or a question to the gateway now.

use super::CliError;
use crate::{
    app::App,
    clock::Clock,
    config::{Config, Source},
    domain::{ids::OutTradeNo, order::Order, user::BY_COMMAND},
    flow::{
        ask_order, query,
        timeline::{self, What},
    },
    store::{Store, attempts, orders},
};
use clap::Subcommand;
use std::sync::Arc;

#[derive(Subcommand)]
pub(super) enum Action {
    /// Prints an order and its timeline. Works beside a running server.
    ///
    /// Example: shouyin order show 0c1f…9a
    Show { out_trade_no: String },
    /// Asks the gateway now and settles what it says. The server must not be running on the same file.
    ///
    /// Example: shouyin order query 0c1f…9a
    Query { out_trade_no: String },
}

/// # Errors
/// No such order (1), no answer from the gateway or the books in use (4).
pub(super) async fn run(source: &Source, action: Action) -> Result<(), CliError> {
    let config = Config::read(source)?;
    match action {
        Action::Show { out_trade_no } => {
            let store = Store::open_to_read(&config.database)?;
            let app = App::new(config, store, Clock::system())?;
            let order = find(&app, &out_trade_no).await?;
            show(&app, order).await
        }
        Action::Query { out_trade_no } => {
            let store = Store::open(&config.database)?;
            let app = App::new(config, store, Clock::system())?;
            let order = find(&app, &out_trade_no).await?;
            ask(&app, &order).await?;
            let order = find(&app, &out_trade_no).await?;
            show(&app, order).await
        }
    }
}

async fn find(app: &Arc<App>, number: &str) -> Result<Order, CliError> {
    let unknown = || CliError::Failed(format!("there is no order {number}"));
    let wanted = OutTradeNo::parse(number).ok_or_else(unknown)?;
    let found = app
        .store
        .read(move |db| match orders::by_number(db, &wanted)? {
            Some(order) => Ok(Some(order)),
            None => Ok(attempts::with_order(db, &wanted)?.map(|(_, order)| order)),
        })
        .await?;
    found.ok_or_else(unknown)
}

async fn ask(app: &Arc<App>, order: &Order) -> Result<(), CliError> {
    for (attempt, asked) in ask_order::ask(app, BY_COMMAND, order).await? {
        println!("{}: {}", attempt.out_trade_no, query::described(&asked));
        if matches!(asked, query::Asked::Foreign | query::Asked::Unknown(_)) {
            let told = query::described(&asked);
            return Err(CliError::OutOfReach(format!("the gateway gave no usable answer: {told}")));
        }
    }
    Ok(())
}

async fn show(app: &Arc<App>, order: Order) -> Result<(), CliError> {
    let timeline = timeline::of(app, order).await?;
    let order = &timeline.order;
    let state = match (order.is_paid(), order.late, order.closed_at) {
        (true, true, _) => "paid after closing",
        (true, false, _) => "paid",
        (false, _, Some(_)) => "closed unpaid",
        (false, _, None) => "open",
    };
    let owner = timeline.owner.as_ref().map_or("?", |user| user.username.as_str());
    println!("{}  {}  {state}  user {owner}", order.out_trade_no, order.amount);
    if let Some(id) = &order.transaction_id {
        println!("transaction_id {id}");
    }
    for refund in &timeline.refunds {
        let (number, state) = (&refund.out_refund_no, refund.state.as_str());
        let said = refund.last_answer.as_deref().unwrap_or("not asked yet");
        println!(
            "refund {number}  {}  {state}  by {}  last answer {said}",
            refund.amount, refund.requested_by
        );
    }
    for step in &timeline.steps {
        let what = match &step.what {
            What::Event(kind) => kind.as_str().to_owned(),
            What::Notice { source, .. } => format!("message ({source})"),
        };
        println!("{}  {what:<18} {}", step.at, step.detail);
    }
    Ok(())
}
