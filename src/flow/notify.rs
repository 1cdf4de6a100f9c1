//! A gateway's callback: read, believed or not, settled, answered.

use super::{
    FlowError, gateway_keys,
    settle::{self, Evidence},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::OutTradeNo,
        order::{Refusal, Source},
        refund::RefundHint,
        time::UnixMs,
    },
    gateway::{Ack, AckReply, Gateway, Headers, Notified, Notify, Protocol, RefundNotified, Rejection},
    store::{
        Db, StoreError, attempts,
        audit_log::{self, Act},
        notices::{self, Notice},
        pending, refund_settlement, refunds,
        settlement::{self, REFUNDED_ELSEWHERE},
        work_items::{self, Matter},
    },
};
use std::sync::Arc;

/// A message that could not be believed makes us ask about its order at most this often, in ms.
const HURRY_GAP_MS: i64 = 60_000;

/// Hints make us ask about a refund at most this often, in ms.
const REFUND_HURRY_GAP_MS: i64 = 10_000;
/// The source of a refund callback among the notices.
pub const REFUND_NOTIFY: &str = "refund_notify";

/// The line that `replay` adds to the headers of what it sends again. No header of this name is kept of what comes in.
const COPY: &str = "replayed: 1";

/// A callback as it arrived.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub protocol: Protocol,
    pub evidence: Evidence,
    /// By our clock; for one that is sent again by a person, when it first came.
    pub received_at: UnixMs,
}

impl Incoming {
    fn notify(&self) -> Notify<'_> {
        let Evidence { body, headers, .. } = &self.evidence;
        Notify { headers: Headers(headers), body, received_at: self.received_at }
    }
}

/// Takes one callback and gives the answer in the gateway's own words, after whatever it
/// changed is durable.
///
/// # Errors
/// Nothing could be recorded: the gateway must not be told SUCCESS.
pub async fn receive(app: Arc<App>, incoming: Incoming) -> Result<AckReply, FlowError> {
    let gateway = speaker(&app, incoming.protocol)?;
    let (ack, verdict) = match gateway.notified(incoming.notify()) {
        Notified::Paid(payment) => {
            let settled = settle::settle(&app, payment, Source::Notify, incoming.evidence).await;
            if settled.is_err() && canary::sings(Canary::SuccessBeforeCommit) {
                return Ok(gateway.ack(Ack::Received));
            }
            let settled = settled?;
            (settle::ack(&settled), settled.verdict())
        }
        Notified::NotPaid { out_trade_no } => {
            let notice = notice(&app, &incoming, "biz_fail", out_trade_no.as_ref(), Ack::Received)?;
            app.store.write(move |db| notices::insert(db, &notice)).await?;
            (Ack::Received, "biz_fail")
        }
        Notified::Refund(hint) => {
            let read = RefundNotified::Hint(hint);
            return hear_of_refund(&app, gateway, incoming, read).await;
        }
        Notified::Rejected { rejection, out_trade_no } => {
            let ack = Ack::Refused(class(rejection));
            reject(&app, &incoming, Refused { rejection, out_trade_no, of_refund: false, ack }).await?;
            (ack, rejection.counted())
        }
    };
    app.metrics.notices.with_label_values(&[incoming.protocol.as_str(), verdict]).inc();
    Ok(gateway.ack(ack))
}

/// Doors are open only for protocols we have keys for, so there is always one.
fn speaker(app: &App, protocol: Protocol) -> Result<&dyn Gateway, FlowError> {
    app.speaker(protocol).ok_or(FlowError::NoKeys(protocol.as_str()))
}

/// Why a message is not sent through its door again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no such message")]
    NotFound,
    #[error("it is a reply to a query of ours and no callback: ask again instead")]
    NoCallback,
    #[error("it is itself a copy that was sent again: replay the message it was made from")]
    Copy,
    #[error("it was longer than 16 KiB and nobody vouched for it, so only its beginning is kept")]
    Cut,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Sends a kept callback through the same door again, by a named person, who is written down before it happens. It
/// can never credit twice.
///
/// # Errors
/// Why it is not; the books.
pub async fn replay(app: Arc<App>, actor: &str, id: &str) -> Result<AckReply, ReplayError> {
    let (name, target, now) = (actor.to_owned(), id.to_owned(), app.clock.now());
    let written = app
        .store
        .write(move |db| {
            let Some(notice) = notices::by_id(db, &target)? else { return Ok(Err(ReplayError::NotFound)) };
            if !is_callback(&notice) {
                return Ok(Err(ReplayError::NoCallback));
            }
            if is_copy(&notice) {
                return Ok(Err(ReplayError::Copy));
            }
            if notice.body.len() == notices::REJECTED_BODY {
                return Ok(Err(ReplayError::Cut));
            }
            let act = Act {
                actor: &name,
                action: "notice_replayed",
                target: &target,
                detail: &notice.verdict,
                ..Act::default()
            };
            audit_log::insert(db, act, now)?;
            Ok(Ok(notice))
        })
        .await;
    let notice = written.map_err(FlowError::from)??;
    // A command has nobody who fetched them before.
    gateway_keys::refresh(&app).await?;
    let protocol = Protocol::parse(&notice.provider).ok_or(ReplayError::NoCallback)?;
    let headers = format!("{}{COPY}\n", notice.headers);
    let evidence = Evidence { body: notice.body, headers, remote_ip: "replay".to_owned() };
    let incoming = Incoming { protocol, evidence, received_at: UnixMs(notice.received_at) };
    Ok(match notice.source.as_str() {
        REFUND_NOTIFY if protocol.refund_notify_path().is_some() => receive_refund(app, incoming).await?,
        _ => receive(app, incoming).await?,
    })
}

/// Whether it came in by a door of ours, and not from `replay`.
pub fn can_replay(notice: &Notice) -> bool {
    is_callback(notice) && !is_copy(notice)
}

fn is_callback(notice: &Notice) -> bool {
    notice.source == Source::Notify.as_str() || notice.source == REFUND_NOTIFY
}

/// A copy is kept with the time it was made and the headers of the message it was made from, so what was signed in
/// time would look late.
fn is_copy(notice: &Notice) -> bool {
    notice.headers.lines().any(|line| line == COPY)
}

/// Takes one callback about a refund. It changes nothing by itself: one that fits a refund of ours makes us ask soon.
/// V2 does not sign it, and then like every message nobody vouches for it is kept in the ring.
///
/// # Errors
/// Nothing could be recorded: the gateway must not be told SUCCESS.
pub async fn receive_refund(app: Arc<App>, incoming: Incoming) -> Result<AckReply, FlowError> {
    let gateway = speaker(&app, incoming.protocol)?;
    let read = gateway.refund_notified(incoming.notify());
    hear_of_refund(&app, gateway, incoming, read).await
}

async fn hear_of_refund(
    app: &App,
    gateway: &dyn Gateway,
    incoming: Incoming,
    read: RefundNotified,
) -> Result<AckReply, FlowError> {
    let now = app.clock.now();
    let (ack, verdict) = match read {
        RefundNotified::Hint(hint) if !hint.signed && !app.has_room_for_junk() => {
            app.metrics.notices_dropped.inc();
            // The words for any other refusal: nobody learns by asking what opens with our key.
            return Ok(gateway.ack(Ack::Refused(REFUND_REFUSED)));
        }
        RefundNotified::Hint(hint) => {
            let mut notice = notice(app, &incoming, "refund_hint", Some(&hint.out_trade_no), Ack::Received)?;
            notice.transaction_id = Some(hint.transaction_id.as_str().to_owned());
            if !hint.signed {
                notice.body.truncate(notices::REJECTED_BODY);
            }
            let refused = gateway.ack(Ack::Refused(REFUND_REFUSED)).body;
            let (ack, verdict, contradicts) =
                app.store.write(move |db| take_hint(db, &hint, notice.clone(), &refused, now)).await?;
            if contradicts {
                app.metrics.alerts.with_label_values(&[refund_settlement::CONTRADICTED]).inc();
            }
            if ack != Ack::Received {
                tracing::warn!(verdict, "refund callback rejected: {verdict}");
            }
            (ack, verdict)
        }
        RefundNotified::Rejected { rejection, out_trade_no } => {
            let ack = Ack::Refused(REFUND_REFUSED);
            reject(app, &incoming, Refused { rejection, out_trade_no, of_refund: true, ack }).await?;
            (ack, rejection.counted())
        }
    };
    app.metrics.notices.with_label_values(&[incoming.protocol.as_str(), verdict]).inc();
    Ok(gateway.ack(ack))
}

/// One word for every refused refund callback: different ones would help to decrypt.
const REFUND_REFUSED: &str = "MESSAGE NOT ACCEPTED";

/// Its answer, its verdict, and whether it says that a refund which came to nothing here was paid out, which was
/// not known before.
fn take_hint(
    db: &mut Db,
    hint: &RefundHint,
    mut notice: Notice,
    refused: &str,
    now: UnixMs,
) -> Result<(Ack, &'static str, bool), StoreError> {
    let mut contradicts = false;
    // What is recorded and signed need not come again, whatever it says.
    let unfit = if hint.signed { Ack::Received } else { Ack::Refused(REFUND_REFUSED) };
    let (ack, verdict) = match refunds::by_number(db, &hint.out_refund_no)? {
        Some(refund) if refund.is_named_by(hint) => {
            refunds::hurry(db, &refund, now, REFUND_HURRY_GAP_MS)?;
            if refund.state.is_final() && !refund.state.is_reserved() && hint.status == "SUCCESS" {
                contradicts =
                    refund_settlement::report(db, &refund, refund_settlement::CONTRADICTED, "", now)?;
            }
            (Ack::Received, "refund_hint")
        }
        Some(_) => (unfit, "refund_mismatch"),
        None => {
            unknown_refund(db, hint, now)?;
            (unfit, "unknown_refund")
        }
    };
    if ack != Ack::Received {
        notice.reply = refused.to_owned();
    }
    notice.verdict = verdict.to_owned();
    notice.source = REFUND_NOTIFY.to_owned();
    if hint.signed {
        notices::insert(db, &notice)?;
    } else {
        notices::insert_rejected(db, &notice)?;
    }
    Ok((ack, verdict, contradicts))
}

/// Somebody refunds a payment of ours at the gateway's own pages: a person must look.
fn unknown_refund(db: &mut Db, hint: &RefundHint, now: UnixMs) -> Result<(), StoreError> {
    let number = &hint.out_trade_no;
    // A signed one may be the first we hear of the payment, or be about one that waits to be credited by hand.
    let ours = hint.signed
        && (attempts::by_number(db, number)?.is_some()
            || work_items::exists(db, Refusal::UnknownOrder.verdict(), number.as_str())?);
    if ours || settlement::is_credited(db, &hint.transaction_id)? {
        let matter = Matter {
            kind: REFUNDED_ELSEWHERE,
            out_trade_no: number.as_str(),
            transaction_id: hint.transaction_id.as_str(),
            out_refund_no: hint.out_refund_no.as_str(),
            ..Matter::default()
        };
        work_items::open_once(db, matter, now)?;
    }
    Ok(())
}

/// Fixed words that name the class of fault and reveal nothing.
const fn class(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Malformed => "MESSAGE NOT UNDERSTOOD",
        Rejection::CommFail => "MESSAGE REPORTS FAILURE",
        Rejection::BadSign | Rejection::SignProbe => "SIGNATURE NOT ACCEPTED",
        Rejection::Stale => "MESSAGE TOO OLD",
        Rejection::AppidMismatch | Rejection::MchIdMismatch => "RECIPIENT NOT ACCEPTED",
        Rejection::Incomplete => "MESSAGE INCOMPLETE",
        Rejection::BadCipher => "MESSAGE NOT ACCEPTED",
    }
}

/// A callback that is not believed, and what it is answered.
struct Refused {
    rejection: Rejection,
    out_trade_no: Option<OutTradeNo>,
    /// It came to the door for refunds.
    of_refund: bool,
    ack: Ack,
}

/// Records a callback that is not believed; the order it names, if it is ours, is asked about soon.
async fn reject(app: &App, incoming: &Incoming, refused: Refused) -> Result<(), FlowError> {
    let Refused { rejection, out_trade_no: number, of_refund, ack } = refused;
    let (verdict, now) = (rejection.verdict(), app.clock.now());
    // What nobody has signed can say anything about whom it is for.
    let needs_work = rejection.needs_work() && (!of_refund || incoming.protocol.signs_refunds());
    let named = number.as_ref().map_or("", OutTradeNo::as_str).to_owned();
    tracing::warn!(out_trade_no = named, verdict, "callback rejected: {verdict}");
    #[cfg(feature = "canaries")]
    if let Some(number) =
        number.clone().filter(|_| canary::sings(Canary::BadSignClosesOrder) && verdict == "bad_sign")
    {
        app.store.write(move |db| crate::store::attempts::close(db, &number, now)).await?;
    }
    if needs_work || rejection.is_alarm(incoming.protocol) {
        app.metrics.alerts.with_label_values(&[verdict]).inc();
    }
    if !needs_work && !app.has_room_for_junk() {
        app.metrics.notices_dropped.inc();
        return Ok(());
    }
    let mut notice = notice(app, incoming, verdict, number.as_ref(), ack)?;
    if of_refund {
        notice.source = REFUND_NOTIFY.to_owned();
    }
    if !rejection.is_evidence() {
        notice.body.truncate(notices::REJECTED_BODY);
    }
    app.store
        .write(move |db| {
            if needs_work {
                let notice_id = &notice.id;
                let matter = Matter { kind: verdict, out_trade_no: &named, notice_id, ..Matter::default() };
                work_items::open_once(db, matter, now)?;
            }
            if rejection.is_evidence() {
                notices::insert(db, &notice)?;
            } else {
                notices::insert_rejected(db, &notice)?;
            }
            match number.as_ref().filter(|_| rejection != Rejection::Malformed) {
                Some(number) => pending::hurry(db, number, now, HURRY_GAP_MS),
                None => Ok(()),
            }
        })
        .await?;
    Ok(())
}

/// The callback as it is kept.
fn notice(
    app: &App,
    incoming: &Incoming,
    verdict: &str,
    number: Option<&OutTradeNo>,
    ack: Ack,
) -> Result<Notice, FlowError> {
    Ok(Notice {
        id: app.clock.ordered_id()?,
        received_at: app.clock.now().0,
        provider: incoming.protocol.as_str().to_owned(),
        source: Source::Notify.as_str().to_owned(),
        verdict: verdict.to_owned(),
        out_trade_no: number.map(|number| number.as_str().to_owned()),
        transaction_id: None,
        remote_ip: incoming.evidence.remote_ip.clone(),
        headers: incoming.evidence.headers.clone(),
        body: incoming.evidence.body.clone(),
        reply: speaker(app, incoming.protocol)?.ack(ack).body,
    })
}
