//! The course of a refund: asked for with one number for ever, and ended only by a verified query.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        refund::{PACE_MS, Refund, RefundState, THROTTLED_MS, next_look, next_try},
        time::{SET_BACK_MS, UnixMs},
    },
    gateway::{Gateway, RefundAsked, RefundNews, Response, Untrusted, VerifiedRefund},
    store::{
        Db, StoreError,
        notices::Notice,
        refund_settlement::{self, Concluded},
        refunds::{self, Answer},
    },
};

/// One request holds the right to ask this long: its own time limit and a little.
const CLAIM_MS: i64 = 10_000;
/// The alert for a signed answer that speaks of another refund than the one it was asked about.
const REFUND_MISMATCH: &str = "refund_mismatch";
/// Queries of one refund are at least this far apart, whoever asks.
const QUERY_GAP_MS: i64 = 2_000;

/// Takes the first step with a refund that was just written, or agreed to. It stays written whatever comes of that: the
/// job takes the next one.
pub(super) async fn first_step(app: &App, written: Refund) -> Refund {
    let id = written.id;
    let stepped = async {
        look(app, &written).await?;
        Ok::<_, FlowError>(app.store.read(move |db| refunds::by_id(db, id)).await?)
    };
    match stepped.await {
        Ok(refund) => refund.unwrap_or(written),
        Err(error) => {
            let number = &written.out_refund_no;
            tracing::warn!(out_refund_no = %number, "refund {number} is written, and its first step failed: {error}");
            written
        }
    }
}

/// Takes the next step with an unfinished refund: asks for it, or asks what became of it.
///
/// # Errors
/// The books.
pub async fn look(app: &App, refund: &Refund) -> Result<(), FlowError> {
    match refund.state {
        state if state.is_final() && is_foreign(app, refund) => Ok(()),
        _ if is_foreign(app, refund) => {
            // Another account's gateway does not know it: "not found" or "refused" there would prove nothing.
            app.metrics.alerts.with_label_values(&["foreign_account"]).inc();
            later(app, refund, "made for another merchant account".to_owned()).await
        }
        RefundState::Asking if refund.asked == 0 => ask(app, refund).await,
        RefundState::Asking | RefundState::Processing | RefundState::Abnormal => query(app, refund).await,
        // It came to nothing here. Whoever asks nevertheless hears whether the gateway knows better.
        RefundState::Closed | RefundState::Failed if refund.asked > 0 => query(app, refund).await,
        RefundState::Waiting
        | RefundState::Success
        | RefundState::Closed
        | RefundState::Failed
        | RefundState::Rejected => Ok(()),
    }
}

/// Whether the gateway, asked just now, knows no such refund. What else it says is followed as ever.
///
/// # Errors
/// The books.
pub async fn is_unknown_there(app: &App, refund: &Refund) -> Result<bool, FlowError> {
    match hear(app, refund).await? {
        Some((RefundNews::NotFound, _)) => Ok(true),
        Some((RefundNews::Found(verified), answer)) => {
            conclude(app, refund, verified, answer).await.map(|()| false)
        }
        Some((RefundNews::Unknown { code }, _)) => later(app, refund, code).await.map(|()| false),
        None => Ok(false),
    }
}

pub(super) fn is_foreign(app: &App, refund: &Refund) -> bool {
    gateway_of(app, refund).is_none()
}

fn gateway_of<'a>(app: &'a App, refund: &Refund) -> Option<&'a dyn Gateway> {
    app.gateway_of(refund.provider, &refund.account, refund.environment)
}

/// Sends the request, always with the same number and amounts.
async fn ask(app: &App, refund: &Refund) -> Result<(), FlowError> {
    let (wanted, now) = (refund.clone(), app.clock.now());
    let claimed = app
        .store
        .write(move |db| {
            let start = paced(db, &wanted, now)?;
            if start > now {
                // Another refund of this payment went out within the minute.
                let answer = Answer { word: "PACED", next_at: start, refused_at: None };
                refunds::answered(db, wanted.id, answer)?;
                return Ok(false);
            }
            refunds::claim_request(db, wanted.id, now, CLAIM_MS)
        })
        .await?;
    if !claimed {
        return Ok(());
    }
    let Some(gateway) = gateway_of(app, refund) else { return Ok(()) };
    #[cfg(feature = "canaries")]
    let refund = &wrong::number(app, refund)?;
    let request = gateway.refund(refund, &app.clock.stamp()?);
    let (asked, outcome) = match app.ask(&request).await {
        Err(error) => (RefundAsked::Unknown { code: error.to_string() }, "no_answer"),
        Ok(answer) => match gateway.refund_asked(&answer, refund) {
            Err(untrusted) => {
                (RefundAsked::Unknown { code: untrusted.to_string() }, untrusted.counted("untrusted"))
            }
            Ok(asked @ RefundAsked::Accepted { .. }) => (asked, "accepted"),
            Ok(asked) => (asked, "not_accepted"),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    remember(app, refund, asked).await
}

async fn remember(app: &App, refund: &Refund, asked: RefundAsked) -> Result<(), FlowError> {
    let (refund, now) = (refund.clone(), app.clock.now());
    let asked_now = refund.asked.saturating_add(1);
    if !matches!(asked, RefundAsked::Accepted { .. }) {
        let number = &refund.out_refund_no;
        tracing::warn!(out_refund_no = %number, "refund {number} was not accepted: {asked:?}");
    }
    if asked == RefundAsked::NotEnough {
        app.metrics.alerts.with_label_values(&[refund_settlement::NOT_ENOUGH]).inc();
    }
    app.store
        .write(move |db| {
            let (word, refused_at) = match &asked {
                RefundAsked::Accepted { refund_id } => {
                    return refund_settlement::accepted(db, &refund, refund_id, next_look(now, now), now);
                }
                RefundAsked::NotEnough => {
                    refund_settlement::report(db, &refund, refund_settlement::NOT_ENOUGH, "", now)?;
                    ("NOTENOUGH", None)
                }
                RefundAsked::Unknown { code } | RefundAsked::Throttled { code } => (code.as_str(), None),
                RefundAsked::Refused { code } => (code.as_str(), Some(now)),
            };
            if refund.last_answer.as_deref() != Some(word) {
                refund_settlement::tell(db, &refund, word, now)?;
            }
            let pause = if matches!(asked, RefundAsked::Throttled { .. }) { THROTTLED_MS } else { 0 };
            let next_at = next_try(asked_now, now).max(now.plus_ms(pause));
            refunds::answered(db, refund.id, Answer { word, next_at, refused_at })
        })
        .await?;
    Ok(())
}

/// Asks what became of it; a verified answer moves it, and "unknown there" lets the same request go out again.
async fn query(app: &App, refund: &Refund) -> Result<(), FlowError> {
    let Some((news, answer)) = hear(app, refund).await? else { return Ok(()) };
    match news {
        RefundNews::Found(verified) => conclude(app, refund, verified, answer).await,
        RefundNews::NotFound if refund.state == RefundState::Asking => not_found(app, refund).await,
        RefundNews::NotFound if refund.is_lost(app.clock.now()) => ask_anew(app, refund).await,
        // Accepted once, and unknown now: nothing is concluded from it.
        RefundNews::NotFound => later(app, refund, "REFUNDNOTEXIST".to_owned()).await,
        RefundNews::Unknown { code } => later(app, refund, code).await,
    }
}

/// One query, and the reply it was read from; `None` when somebody has asked just now.
async fn hear(app: &App, refund: &Refund) -> Result<Option<(RefundNews, Response)>, FlowError> {
    let (id, now) = (refund.id, app.clock.now());
    if !app.store.write(move |db| refunds::claim_query(db, id, now, QUERY_GAP_MS)).await? {
        return Ok(None);
    }
    let Some(gateway) = gateway_of(app, refund) else { return Ok(None) };
    let request = gateway.refund_query(refund, &app.clock.stamp()?);
    let (news, outcome, answer) = match app.ask(&request).await {
        Err(error) => (RefundNews::Unknown { code: error.to_string() }, "no_answer", Response::default()),
        Ok(answer) => match gateway.refund_news(&answer, refund) {
            Err(untrusted) => {
                if matches!(untrusted, Untrusted::Identity(_)) {
                    app.metrics.alerts.with_label_values(&[REFUND_MISMATCH]).inc();
                    let number = &refund.out_refund_no;
                    tracing::error!(out_refund_no = %number, "asked about refund {number}: {untrusted}");
                }
                let outcome = untrusted.counted("untrusted");
                (RefundNews::Unknown { code: untrusted.to_string() }, outcome, answer)
            }
            Ok(RefundNews::NotFound) => (RefundNews::NotFound, "not_found", answer),
            Ok(news) => (news, "answered", answer),
        },
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    Ok(Some((news, answer)))
}

async fn conclude(
    app: &App,
    refund: &Refund,
    verified: VerifiedRefund,
    answer: Response,
) -> Result<(), FlowError> {
    let Some(gateway) = gateway_of(app, refund) else { return Ok(()) };
    let protocol = gateway.protocol();
    let (refund, now) = (refund.clone(), app.clock.now());
    let state = verified.standing().state();
    let notice = Notice {
        id: app.clock.ordered_id()?,
        received_at: now.0,
        provider: protocol.as_str().to_owned(),
        source: "refund_query".to_owned(),
        verdict: format!("refund_{}", state.as_str()),
        out_trade_no: Some(refund.out_trade_no.as_str().to_owned()),
        transaction_id: Some(refund.transaction_id.as_str().to_owned()),
        remote_ip: String::new(),
        headers: answer.headers,
        body: answer.body,
        reply: String::new(),
    };
    let number = refund.out_refund_no.clone();
    let next_at = next_look(refund.asked_at.unwrap_or(refund.requested_at), now);
    let concluded = app
        .store
        .write(move |db| refund_settlement::conclude(db, &refund, &verified, &notice, next_at, now))
        .await?;
    let word = state.as_str();
    let alert = match (concluded, state) {
        (Concluded::Already, _) => return Ok(()),
        (Concluded::Contradicted, _) => {
            tracing::error!(out_refund_no = %number, "refund {number} came to nothing here and is {word} at the gateway");
            refund_settlement::CONTRADICTED
        }
        (Concluded::Moved, state) => {
            tracing::info!(out_refund_no = %number, "refund {number} is {word}");
            match state {
                RefundState::Abnormal => refund_settlement::ABNORMAL,
                RefundState::Closed => refund_settlement::FAILED,
                _ => return Ok(()),
            }
        }
    };
    app.metrics.alerts.with_label_values(&[alert]).inc();
    Ok(())
}

/// Alipay took it on, gave no number for it, and hours later knows nothing of it: it has failed there, or is not through.
/// The same request under the same number is the same refund, and what is said to it goes on as with any other.
async fn ask_anew(app: &App, refund: &Refund) -> Result<(), FlowError> {
    let (lost, now) = (refund.clone(), app.clock.now());
    if !app.store.write(move |db| refund_settlement::reopen(db, &lost, now)).await? {
        return Ok(());
    }
    let number = &refund.out_refund_no;
    tracing::warn!(out_refund_no = %number, "refund {number} was accepted and is unknown now: it is asked for again");
    ask(app, &Refund { state: RefundState::Asking, ..refund.clone() }).await
}

/// The gateway does not know it. After a refusal, and once no request of ours can still be on its way, that ends
/// it; otherwise the same request goes out again.
async fn not_found(app: &App, refund: &Refund) -> Result<(), FlowError> {
    let now = app.clock.now();
    let Some(refused_at) = refund.refused_at else {
        return ask(app, refund).await;
    };
    // Refused in the future: the clock was set back, and the quiet is measured anew.
    let since = if refused_at.since(now) > SET_BACK_MS { now } else { refused_at };
    let quiet_ms = refund.refusal_stands_after_ms();
    if now.since(since) < quiet_ms {
        let word = refund.last_answer.clone().unwrap_or_default();
        let (id, refused_at) = (refund.id, Some(since));
        let next_at = since.plus_ms(quiet_ms);
        let answer =
            move |db: &mut Db| refunds::answered(db, id, Answer { word: &word, next_at, refused_at });
        return Ok(app.store.write(answer).await?);
    }
    let (failed, number) = (refund.clone(), refund.out_refund_no.clone());
    if app.store.write(move |db| refund_settlement::fail(db, &failed, now)).await? {
        app.metrics.alerts.with_label_values(&[refund_settlement::FAILED]).inc();
        tracing::error!(out_refund_no = %number, "refund {number} was refused by the gateway and is given up");
    }
    Ok(())
}

async fn later(app: &App, refund: &Refund, word: String) -> Result<(), FlowError> {
    let now = app.clock.now();
    let next_at = next_look(refund.asked_at.unwrap_or(refund.requested_at), now);
    let (id, refused_at) = (refund.id, refund.refused_at);
    app.store.write(move |db| refunds::answered(db, id, Answer { word: &word, next_at, refused_at })).await?;
    Ok(())
}

/// When a request about this payment may go out: a minute after the last one about it.
fn paced(db: &mut Db, refund: &Refund, now: UnixMs) -> Result<UnixMs, StoreError> {
    let last = refunds::last_request(db, &refund.transaction_id, refund.id)?;
    // Farther than a minute only by a clock that was set back since.
    let free = last.map(|last| last.plus_ms(PACE_MS)).filter(|free| free.since(now) <= PACE_MS);
    Ok(free.map_or(now, |free| free.max(now)))
}

#[cfg(feature = "canaries")]
mod wrong {
    //! What a wrong version of asking again would do.

    use super::*;
    use crate::canary::{self, Canary};

    /// A new number for the second request: a second refund.
    pub(super) fn number(app: &App, refund: &Refund) -> Result<Refund, FlowError> {
        let mut refund = refund.clone();
        if refund.asked > 0 && canary::sings(Canary::NewRefundNumber) {
            refund.out_refund_no = app.clock.out_refund_no()?;
        }
        Ok(refund)
    }
}
