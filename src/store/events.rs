//! The story of an order between its messages.

use super::{Db, StoreError, schema::order_events};
use crate::domain::time::UnixMs;
use diesel::prelude::*;

/// A stuck page cannot fill the disk.
const MOST_PER_ORDER: i64 = 300;
/// Twice what an order of two hours needs; the last hundred steps are not for queries, so that the story
/// of an order open for a week still tells how it ended.
const MOST_BEFORE_QUERY: i64 = 200;

/// What happened. The text is for the administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    /// A prepay_id came.
    Prepay,
    /// None came: refused, or nothing usable was heard.
    NoPrepay,
    /// Nobody was asked: the payer's browser brings the order to the gateway's page.
    Handed,
    Returned,
    Query,
    Close,
    Credit,
    Refund,
}

impl EventKind {
    pub const ALL: [EventKind; 9] = [
        EventKind::Created,
        EventKind::Prepay,
        EventKind::NoPrepay,
        EventKind::Handed,
        EventKind::Returned,
        EventKind::Query,
        EventKind::Close,
        EventKind::Credit,
        EventKind::Refund,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Created => "created",
            EventKind::Prepay => "prepay",
            EventKind::NoPrepay => "no_prepay",
            EventKind::Handed => "handed",
            EventKind::Returned => "returned",
            EventKind::Query => "query",
            EventKind::Close => "close",
            EventKind::Credit => "credit",
            EventKind::Refund => "refund",
        }
    }

    fn parse(text: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One step of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: UnixMs,
    pub kind: EventKind,
    pub detail: String,
}

/// Adds a step. Credits and refunds are always written; queries stop at 200 steps an order, anything else at 300.
///
/// # Errors
/// The database.
pub fn insert(db: &mut Db, order_id: i64, event: &Event) -> Result<(), StoreError> {
    let steps: i64 =
        order_events::table.filter(order_events::order_id.eq(order_id)).count().get_result(db)?;
    let most = match event.kind {
        EventKind::Credit | EventKind::Refund => i64::MAX,
        EventKind::Query => MOST_BEFORE_QUERY,
        _ => MOST_PER_ORDER,
    };
    if steps >= most {
        return Ok(());
    }
    diesel::insert_into(order_events::table)
        .values((
            order_events::order_id.eq(order_id),
            order_events::at.eq(event.at.0),
            order_events::kind.eq(event.kind.as_str()),
            order_events::detail.eq(&event.detail),
        ))
        .execute(db)?;
    Ok(())
}

/// Oldest first.
///
/// # Errors
/// The database.
pub fn of_order(db: &mut Db, order_id: i64) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<(i64, String, String)> = order_events::table
        .filter(order_events::order_id.eq(order_id))
        .order(order_events::id.asc())
        .select((order_events::at, order_events::kind, order_events::detail))
        .load(db)?;
    rows.into_iter()
        .map(|(at, kind, detail)| {
            let kind = EventKind::parse(&kind).ok_or(StoreError::Unreadable("event"))?;
            Ok(Event { at: UnixMs(at), kind, detail })
        })
        .collect()
}
