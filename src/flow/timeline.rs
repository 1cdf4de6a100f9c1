//! Everything that happened to one order, in the order it happened.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        ids,
        order::{Attempt, Order},
        refund::Refund,
        time::UnixMs,
        user::User,
    },
    gateway::{Ack, Protocol},
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
    let (mut timeline, notices) = app
        .store
        .read(move |db| {
            let attempts = attempts::of_order(db, order.id)?;
            let mut numbers: Vec<_> = attempts.iter().map(|attempt| attempt.out_trade_no.clone()).collect();
            if numbers.is_empty() {
                numbers.push(order.out_trade_no.clone());
            }
            let steps: Vec<Step> = events::of_order(db, order.id)?
                .into_iter()
                .map(|event| Step {
                    at: event.at,
                    what: What::Event(event.kind),
                    detail: event.detail,
                    raw: None,
                })
                .collect();
            let (owner, refunds) = (users::by_id(db, order.user_id)?, refunds::of_order(db, order.id)?);
            let notices = notices::of_attempts(db, &numbers)?;
            Ok::<_, StoreError>((Timeline { owner, order, attempts, refunds, steps }, notices))
        })
        .await?;
    let received = |notice: &notices::Notice| {
        let gateway = app.speaker(Protocol::parse(&notice.provider)?)?;
        Some(gateway.ack(Ack::Received).body)
    };
    timeline.steps.extend(notices.into_iter().map(|notice| {
        let received = received(&notice);
        from_notice(notice, received)
    }));
    // In the same millisecond a message comes before what it caused.
    timeline.steps.sort_by_key(|step| (step.at, matches!(step.what, What::Event(_))));
    Ok(timeline)
}

/// `received` is what a notice of this provider is answered when all is well.
fn from_notice(notice: notices::Notice, received: Option<String>) -> Step {
    let answered = match received {
        Some(received) if notice.reply == received => " → SUCCESS",
        Some(_) if !notice.reply.is_empty() => " → FAIL",
        // No answer was due, or we have no keys any more for what it came by.
        _ => "",
    };
    Step {
        at: UnixMs(notice.received_at),
        detail: format!("{} {}{answered}", notice.verdict, notice.remote_ip),
        what: What::Notice { source: notice.source, verdict: notice.verdict },
        raw: Some(masked_body(&notice.body)),
    }
}

/// What is not shown in full: who paid, and what was signed, as each protocol calls them.
const SECRET: [&str; 7] =
    ["openid", "sub_openid", "buyer_id", "buyer_user_id", "buyer_open_id", "sign", "signature"];

/// The message as text, payer and signature shortened, whether it is XML, JSON or a form.
pub fn masked_body(body: &[u8]) -> String {
    // The first pair of a form is one like the others.
    let mut text = format!("&{}", String::from_utf8_lossy(body));
    for name in SECRET {
        for (before, after) in [
            (format!("<{name}>"), format!("</{name}>")),
            (format!("\"{name}\":\""), "\"".to_owned()),
            (format!("\"{name}\": \""), "\"".to_owned()),
            (format!("&{name}="), "&".to_owned()),
        ] {
            text = mask_between(&text, &before, &after);
        }
    }
    text.strip_prefix('&').unwrap_or_default().to_owned()
}

/// The headers it came with, one a line.
pub fn masked_headers(headers: &str) -> String {
    let shown = format!("\n{headers}");
    mask_between(&shown, "\nwechatpay-signature: ", "\n").trim_start_matches('\n').to_owned()
}

/// Shortens whatever stands between these marks, however often they come; without the second it ends with the text.
fn mask_between(text: &str, before: &str, after: &str) -> String {
    let mut pieces = text.split(before);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (value, rest) = piece.split_at(piece.find(after).unwrap_or(piece.len()));
        let bare = value.trim().trim_start_matches("<![CDATA[").trim_end_matches("]]>");
        shown.push_str(before);
        shown.push_str(&if bare.is_empty() { value.to_owned() } else { ids::masked(bare) });
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_message_gives_away_neither_payer_nor_signature() {
        for (message, shown) in [
            (
                "<xml><openid>\n<![CDATA[oUpF8uMEb4qRXf22hE3X68TekukE]]></openid><sign>0123456789ABCDEF</sign></xml>",
                "<xml><openid>oUpF…kukE</openid><sign>0123…CDEF</sign></xml>",
            ),
            ("<sign>0123456789ABCDEF</sign><sign>FEDCBA9876543210", "<sign>0123…CDEF</sign><sign>FEDC…3210"),
            (
                r#"{"payer":{"openid":"oUpF8uMEb4qRXf22hE3X68TekukE"},"appid":"wx8888888888888888"}"#,
                r#"{"payer":{"openid":"oUpF…kukE"},"appid":"wx8888888888888888"}"#,
            ),
            (
                r#"{"r":{"buyer_user_id": "2088101117955611","buyer_open_id":"0123456789"},"sign":"ERITJKEIJKJHKKKK"}"#,
                r#"{"r":{"buyer_user_id": "2088…5611","buyer_open_id":"0123…6789"},"sign":"ERIT…KKKK"}"#,
            ),
            (
                "buyer_id=2088102116773037&sign=kPbQIjX%2BxQc8F0%2FA6%2FAoc%3D&sign_type=RSA2&sign=",
                "buyer_id=2088…3037&sign=kPbQ…c%3D&sign_type=RSA2&sign=",
            ),
        ] {
            assert_eq!(masked_body(message.as_bytes()), shown);
        }
    }

    #[test]
    fn of_shown_headers_the_signature_is_short() {
        let signature = "wechatpay-signature: CtcbzwtQjN8rnOXItEBJ5aQF\n";
        let others = "wechatpay-serial: 5157F09EFDC096DE15EBE81A47057A72\nuser-agent: Mozilla/4.0\n";
        let short = "wechatpay-signature: Ctcb…5aQF\n";
        assert_eq!(masked_headers(&format!("{others}{signature}")), format!("{others}{short}"));
        assert_eq!(masked_headers(&format!("{signature}{others}")), format!("{short}{others}"));
        assert_eq!(masked_headers(""), "");
    }
}
