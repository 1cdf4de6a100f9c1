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
    store::{StoreError, notices, notices::Notice, pending, work_items},
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
            keep(&app, &incoming, "biz_fail", out_trade_no, Ack::Received, true).await?;
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

async fn reject(
    app: &App,
    incoming: &Incoming,
    rejection: Rejection,
    out_trade_no: Option<OutTradeNo>,
    ack: Ack,
) -> Result<(), FlowError> {
    let verdict = rejection.verdict();
    let number = out_trade_no.as_ref().map_or("", OutTradeNo::as_str);
    tracing::warn!(out_trade_no = number, verdict, "callback rejected: {verdict}");
    #[cfg(feature = "canaries")]
    if let Some(number) =
        out_trade_no.clone().filter(|_| canary::sings(Canary::BadSignClosesOrder) && verdict == "bad_sign")
    {
        let now = app.clock.now();
        app.store.write(move |db| crate::store::attempts::close(db, &number, now)).await?;
    }
    if rejection.is_authentic() {
        app.metrics.alerts.with_label_values(&[verdict]).inc();
    }
    keep(app, incoming, verdict, out_trade_no, ack, rejection.is_authentic()).await
}

/// Records a callback that credits nobody. The named order, if it is ours, is asked about soon.
async fn keep(
    app: &App,
    incoming: &Incoming,
    verdict: &'static str,
    out_trade_no: Option<OutTradeNo>,
    ack: Ack,
    authentic: bool,
) -> Result<(), FlowError> {
    let now = app.clock.now();
    let mut notice = Notice {
        id: app.clock.ordered_id()?,
        received_at: now.0,
        provider: incoming.provider.as_str().to_owned(),
        source: Source::Notify.as_str().to_owned(),
        verdict: verdict.to_owned(),
        out_trade_no: out_trade_no.as_ref().map(|number| number.as_str().to_owned()),
        transaction_id: None,
        remote_ip: incoming.evidence.remote_ip.clone(),
        headers: incoming.evidence.headers.clone(),
        body: incoming.evidence.body.clone(),
        reply: app.gateway(incoming.provider).ack(ack).body,
    };
    let refused = matches!(ack, Ack::Refused(_));
    if !authentic {
        notice.body.truncate(notices::REJECTED_BODY);
    }
    app.store
        .write(move |db| {
            if authentic {
                notices::insert(db, &notice)?;
                if refused {
                    let number = notice.out_trade_no.as_deref().unwrap_or_default();
                    work_items::open_once(db, verdict, number, "", &notice.id, now)?;
                }
            } else {
                notices::insert_rejected(db, &notice)?;
            }
            if let Some(number) =
                out_trade_no.filter(|_| refused && verdict != Rejection::Malformed.verdict())
            {
                pending::hurry(db, &number, now, HURRY_GAP_MS)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok(())
}
