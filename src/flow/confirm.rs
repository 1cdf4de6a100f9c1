//! The page asks "is it paid?": answered from the books, woken by the callback, helped by a query.

use super::{FlowError, query};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::order::{Attempt, Order, Source},
    store::{
        attempts,
        events::{self, Event, EventKind},
        orders,
        pending::{self, Turn},
    },
};
use std::time::Duration;

/// A page may wait this long for one answer, in seconds.
pub const LONGEST_WAIT_SECS: u64 = 25;
/// The sweep asks this long after a page came back from the pay sheet, in ms.
const RETURNED_ASK_MS: i64 = 2_000;
/// Pauses between looks while a page waits, in seconds: the gateway is asked at most at each.
const PAUSES_SECS: [u64; 9] = [2, 2, 2, 3, 3, 3, 3, 3, 4];

/// What the payer's browser reported when the pay sheet closed. A hint for the story, never proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageResult {
    Ok,
    Cancel,
    Fail,
}

impl PageResult {
    pub fn parse(text: &str) -> Option<PageResult> {
        match text {
            "ok" => Some(PageResult::Ok),
            "cancel" => Some(PageResult::Cancel),
            "fail" => Some(PageResult::Fail),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            PageResult::Ok => "ok",
            PageResult::Cancel => "cancel",
            PageResult::Fail => "fail",
        }
    }
}

/// Notes what the page returned.
///
/// # Errors
/// The books.
pub async fn returned(app: &App, order: &Order, result: PageResult) -> Result<(), FlowError> {
    let (id, at) = (order.id, app.clock.now());
    let event = Event { at, kind: EventKind::Returned, detail: result.as_str().to_owned() };
    app.store
        .write(move |db| {
            events::insert(db, id, &event)?;
            // Whatever the page was told, the payer has just been at the sheet: ask soon, browser or not. About every
            // attempt still asked about: it may have been the sheet of a code that was set aside.
            for attempt in attempts::of_order(db, id)? {
                if canary::sings(Canary::SetAsideForgotten) && attempt.closed_at.is_some() {
                    continue;
                }
                pending::ask_by(db, &attempt.out_trade_no, at.plus_ms(RETURNED_ASK_MS))?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}

/// The order as it is, waiting up to `wait_secs` (at most 25) for it to be paid or closed.
/// When no callback has come, the gateway is asked, at most once per 2 seconds and order.
///
/// # Errors
/// The books.
pub async fn status(app: &App, order: Order, wait_secs: u64) -> Result<Order, FlowError> {
    let mut left = wait_secs.min(LONGEST_WAIT_SECS);
    let news = app.waiting.on(order.out_trade_no.as_str());
    let mut pauses = PAUSES_SECS.into_iter();
    loop {
        // Registered before the look at the books, so that a callback in between still wakes us.
        let woken = news.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let order = look(app, order.id, &order).await?;
        if order.is_paid() || order.closed_at.is_some() || left == 0 || app.waiting.is_closed() {
            return Ok(order);
        }
        let pause = pauses.next().unwrap_or(5).min(left);
        left = left.saturating_sub(pause);
        // Time running out is as good as being woken: look again.
        let _ = app.clock.within(Duration::from_secs(pause), woken).await;
    }
}

/// Wakes the pages here whose order another instance has settled or closed; how many orders that were.
///
/// # Errors
/// The books.
pub async fn hear_of_others(app: &App) -> Result<usize, FlowError> {
    let numbers = app.waiting.orders();
    if numbers.is_empty() {
        return Ok(0);
    }
    let decided = app.store.read(move |db| orders::decided_among(db, &numbers)).await?;
    decided.iter().for_each(|number| app.waiting.wake(number));
    Ok(decided.len())
}

async fn look(app: &App, id: i64, fallback: &Order) -> Result<Order, FlowError> {
    let reload = move |db: &mut crate::store::Db| {
        Ok((orders::by_id(db, id)?, attempts::of_order(db, id)?.into_iter().rfind(|a| a.closed_at.is_none())))
    };
    let (order, attempt) = app.store.read(reload).await?;
    let order = order.unwrap_or_else(|| fallback.clone());
    match attempt {
        // Boxed: a page that only waits does not hold the memory of a question to the gateway.
        Some(attempt) => Box::pin(ask_about(app, &attempt, order)).await,
        None => Ok(order),
    }
}

/// The order after a browser has come back from the gateway's page for this attempt, which need not be the open one:
/// the payer may have begun another since.
///
/// # Errors
/// The books.
pub async fn came_back(app: &App, attempt: &Attempt, order: Order) -> Result<Order, FlowError> {
    ask_about(app, attempt, order).await
}

async fn ask_about(app: &App, attempt: &Attempt, order: Order) -> Result<Order, FlowError> {
    if order.is_paid() {
        return Ok(order);
    }
    if !app.may_ask_for(order.user_id).await {
        return Ok(order);
    }
    let turn = Turn::Unasked { gap_ms: query::PAGE_GAP_MS };
    let id = order.id;
    match query::ask_in_turn(app, attempt, Source::Query, turn).await? {
        Some(_) => Ok(app.store.read(move |db| orders::by_id(db, id)).await?.unwrap_or(order)),
        None => Ok(order),
    }
}
