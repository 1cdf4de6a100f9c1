//! A person asks the gateway about an order: every attempt that was ever sent, and who asked is written down before.

use super::{
    FlowError, gateway_keys,
    query::{self, Asked},
};
use crate::{
    app::App,
    domain::order::{Attempt, Order, Source},
    store::{
        attempts,
        audit_log::{self, Act},
    },
};

/// What the gateway says of each attempt, oldest first.
///
/// # Errors
/// The books.
pub async fn ask(app: &App, actor: &str, order: &Order) -> Result<Vec<(Attempt, Asked)>, FlowError> {
    let (id, name, number, now) = (order.id, actor.to_owned(), order.out_trade_no.clone(), app.clock.now());
    let all = app.store.write(move |db| {
        let act = Act { actor: &name, action: "order_queried", target: number.as_str(), ..Act::default() };
        audit_log::insert(db, act, now)?;
        attempts::of_order(db, id)
    });
    let attempts = all.await?;
    // A command has nobody who fetched them before.
    gateway_keys::refresh(app).await?;
    let mut answers = Vec::new();
    for attempt in attempts.into_iter().filter(|attempt| attempt.asked_at.is_some()) {
        let asked = query::ask(app, &attempt, Source::Admin).await?;
        answers.push((attempt, asked));
    }
    Ok(answers)
}
