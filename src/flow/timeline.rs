//! Everything that happened to one order, in the order it happened.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        order::{Attempt, Order},
        refund::Refund,
        time::UnixMs,
        user::User,
    },
    store::{
        StoreError, attempts,
        events::{self, EventKind},
        notices, refunds, users,
    },
};

/// One step, from our own story or from a gateway's message.
#[derive(Clone, Debug)]
pub struct Step {
    pub at: UnixMs,
    pub what: What,
    pub detail: String,
    /// The message as it arrived.
    pub raw: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Event(EventKind),
    /// A message and its verdict.
    Notice {
        source: String,
        verdict: String,
    },
}

/// An order with its owner, attempts, refunds and steps.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub order: Order,
    pub owner: Option<User>,
    pub attempts: Vec<Attempt>,
    /// Oldest first.
    pub refunds: Vec<Refund>,
    pub steps: Vec<Step>,
}

/// # Errors
/// The books.
pub async fn of(app: &App, order: Order) -> Result<Timeline, FlowError> {
    let timeline = app
        .store
        .read(move |db| {
            let attempts = attempts::of_order(db, order.id)?;
            let mut numbers: Vec<_> = attempts.iter().map(|attempt| attempt.out_trade_no.clone()).collect();
            if numbers.is_empty() {
                numbers.push(order.out_trade_no.clone());
            }
            let mut steps: Vec<Step> = events::of_order(db, order.id)?
                .into_iter()
                .map(|event| Step {
                    at: event.at,
                    what: What::Event(event.kind),
                    detail: event.detail,
                    raw: None,
                })
                .collect();
            steps.extend(notices::of_attempts(db, &numbers)?.into_iter().map(from_notice));
            // In the same millisecond a message comes before what it caused.
            steps.sort_by_key(|step| (step.at, matches!(step.what, What::Event(_))));
            let (owner, refunds) = (users::by_id(db, order.user_id)?, refunds::of_order(db, order.id)?);
            Ok::<_, StoreError>(Timeline { owner, order, attempts, refunds, steps })
        })
        .await?;
    Ok(timeline)
}

fn from_notice(notice: notices::Notice) -> Step {
    let answered = match (notice.reply.is_empty(), notice.reply.contains("SUCCESS")) {
        (true, _) => "",
        (false, true) => " → SUCCESS",
        (false, false) => " → FAIL",
    };
    Step {
        at: UnixMs(notice.received_at),
        detail: format!("{} {}{answered}", notice.verdict, notice.remote_ip),
        what: What::Notice { source: notice.source, verdict: notice.verdict },
        raw: Some(masked_body(&notice.body)),
    }
}

/// The message as text, with the payer's openid and the signature shortened.
pub fn masked_body(body: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for name in ["openid", "sign", "sub_openid"] {
        text = mask_element(&text, name);
    }
    text
}

fn mask_element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let Some((before, rest)) = text.split_once(&open) else {
        return text.to_owned();
    };
    let Some((value, after)) = rest.split_once(&close) else {
        return text.to_owned();
    };
    let bare = value.trim().trim_start_matches("<![CDATA[").trim_end_matches("]]>");
    format!("{before}{open}{}{close}{after}", crate::domain::ids::masked(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_message_gives_away_neither_openid_nor_signature() {
        let body = "<xml><openid><![CDATA[oUpF8uMEb4qRXf22hE3X68TekukE]]></openid><sign>0123456789ABCDEF</sign></xml>";
        let shown = masked_body(body.as_bytes());
        assert_eq!(shown, "<xml><openid>oUpF…kukE</openid><sign>0123…CDEF</sign></xml>");
    }
}
