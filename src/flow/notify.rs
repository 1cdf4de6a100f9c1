//! A gateway's callback: read, believed or not, settled, answered.

use super::{
    FlowError,
    settle::{self, Evidence},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::OutTradeNo,
        order::{Provider, Source},
    },
    gateway::{Ack, AckReply, Notified, Notify, Rejection},
    store::{notices, notices::Notice, pending, work_items},
};
use std::sync::Arc;

/// A message that could not be believed makes us ask about its order at most this often, in ms.
const HURRY_GAP_MS: i64 = 60_000;

/// A callback as it arrived.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub provider: Provider,
    pub evidence: Evidence,
}

/// Takes one callback and gives the answer in the gateway's own words, after whatever it
/// changed is durable.
///
/// # Errors
/// Nothing could be recorded: the gateway must not be told SUCCESS.
pub async fn receive(app: Arc<App>, incoming: Incoming) -> Result<AckReply, FlowError> {
    let gateway = app.gateway(incoming.provider);
    let (ack, verdict) = match gateway.notified(Notify { body: &incoming.evidence.body }) {
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
        Notified::Rejected { rejection, out_trade_no } => {
            let refused = Ack::Refused(class(rejection));
            reject(&app, &incoming, rejection, out_trade_no, refused).await?;
            (refused, rejection.verdict())
        }
    };
    app.metrics.notices.with_label_values(&[incoming.provider.as_str(), verdict]).inc();
    Ok(gateway.ack(ack))
}

/// Sends a kept callback through the same door again. It can never credit twice.
///
/// # Errors
/// No such notice, or it was a reply to a query; the books.
pub async fn replay(app: Arc<App>, id: &str) -> Result<Option<AckReply>, FlowError> {
    let id = id.to_owned();
    let Some(notice) = app.store.read(move |db| notices::by_id(db, &id)).await? else {
        return Ok(None);
    };
    if notice.source != Source::Notify.as_str() {
        return Ok(None);
    }
    let evidence =
        Evidence { body: notice.body, headers: "replayed: 1\n".to_owned(), remote_ip: "replay".to_owned() };
    receive(app, Incoming { provider: Provider::Wechat, evidence }).await.map(Some)
}

/// Fixed words that name the class of fault and reveal nothing.
const fn class(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Malformed => "MESSAGE NOT UNDERSTOOD",
        Rejection::CommFail => "MESSAGE REPORTS FAILURE",
        Rejection::BadSign => "SIGNATURE NOT ACCEPTED",
        Rejection::AppidMismatch | Rejection::MchIdMismatch => "RECIPIENT NOT ACCEPTED",
        Rejection::Incomplete => "MESSAGE INCOMPLETE",
    }
}

/// Records a callback that is not believed; the order it names, if it is ours, is asked about soon.
async fn reject(
    app: &App,
    incoming: &Incoming,
    rejection: Rejection,
    number: Option<OutTradeNo>,
    ack: Ack,
) -> Result<(), FlowError> {
    let (verdict, now) = (rejection.verdict(), app.clock.now());
    let named = number.as_ref().map_or("", OutTradeNo::as_str).to_owned();
    tracing::warn!(out_trade_no = named, verdict, "callback rejected: {verdict}");
    #[cfg(feature = "canaries")]
    if let Some(number) =
        number.clone().filter(|_| canary::sings(Canary::BadSignClosesOrder) && verdict == "bad_sign")
    {
        app.store.write(move |db| crate::store::attempts::close(db, &number, now)).await?;
    }
    if rejection.needs_work() {
        app.metrics.alerts.with_label_values(&[verdict]).inc();
    }
    if !rejection.needs_work() && !app.has_room_for_junk() {
        app.metrics.notices_dropped.inc();
        return Ok(());
    }
    let mut notice = notice(app, incoming, verdict, number.as_ref(), ack)?;
    app.store
        .write(move |db| {
            if rejection.needs_work() {
                work_items::open_once(db, verdict, &named, "", &notice.id, now)?;
            }
            if rejection.is_evidence() {
                notices::insert(db, &notice)?;
            } else {
                notice.body.truncate(notices::REJECTED_BODY);
                notices::insert_rejected(db, &notice)?;
            }
            match number.filter(|_| rejection != Rejection::Malformed) {
                Some(number) => pending::hurry(db, &number, now, HURRY_GAP_MS),
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
        provider: incoming.provider.as_str().to_owned(),
        source: Source::Notify.as_str().to_owned(),
        verdict: verdict.to_owned(),
        out_trade_no: number.map(|number| number.as_str().to_owned()),
        transaction_id: None,
        remote_ip: incoming.evidence.remote_ip.clone(),
        headers: incoming.evidence.headers.clone(),
        body: incoming.evidence.body.clone(),
        reply: app.gateway(incoming.provider).ack(ack).body,
    })
}
