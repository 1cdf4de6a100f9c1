//! The one door for money: callback, query, sweep and administrator all end here.

use super::FlowError;
#[cfg(feature = "canaries")]
use crate::store::settlement;
use crate::{
    app::App,
    canary::{self, Canary},
    domain::order::{Refusal, Settled, Source},
    gateway::{Ack, VerifiedPayment},
    store::{notices::Notice, settlement::Settling},
};

/// The message that brought a payment, as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub body: Vec<u8>,
    /// The headers worth keeping, one a line; of a reply to our own query those it is signed with.
    pub headers: String,
    /// Empty for a reply to our own query.
    pub remote_ip: String,
}

/// Settles a verified payment and answers after the commit is durable; then wakes the pages that wait. What an earlier
/// answer to a query has brought already, and the books have refused for good, is only told again: its work item and
/// its evidence are there, and the same every minute would bury them.
///
/// # Errors
/// The books could not take it: nothing was written, and the gateway must be told to come again.
pub async fn settle(
    app: &App,
    payment: VerifiedPayment,
    source: Source,
    evidence: Evidence,
) -> Result<Settled, FlowError> {
    let notice = notice(app, &payment, source, evidence)?;
    let acks = Acks::of(app, &payment, source);
    let (now, number) = (app.clock.now(), payment.out_trade_no().clone());
    let reply = Box::new(move |settled: &Settled| acks.text(settled));
    #[cfg(feature = "canaries")]
    let apart = Settling {
        payment: payment.clone(),
        source,
        notice: notice.clone(),
        reply: Box::new(|_| String::new()),
        now,
    };
    let settlement = app.store.settle(Settling { payment, source, notice, reply, now }).await?;
    #[cfg(feature = "canaries")]
    if canary::sings(Canary::CreditApart) && settlement.settled.credited() {
        app.store.write(move |db| settlement::wrong::credit_apart(db, &apart)).await?;
    }
    if settlement.known {
        return Ok(settlement.settled);
    }
    report(app, &settlement.settled, source, number.as_str());
    if let Some(order) = &settlement.order_number {
        app.waiting.wake(order);
    }
    Ok(settlement.settled)
}

/// What the gateway is told: received when the message is recorded and nothing can be healed by its coming again.
pub fn ack(settled: &Settled) -> Ack {
    match settled {
        Settled::Already if canary::sings(Canary::DuplicateRefused) => Ack::Refused("KNOWN"),
        Settled::Now | Settled::Already | Settled::Late | Settled::SecondPayment => Ack::Received,
        Settled::Refused(_) => Ack::Refused("ORDER NOT ACCEPTED"),
    }
}

fn notice(
    app: &App,
    payment: &VerifiedPayment,
    source: Source,
    evidence: Evidence,
) -> Result<Notice, FlowError> {
    Ok(Notice {
        id: app.clock.ordered_id()?,
        received_at: app.clock.now().0,
        provider: payment.protocol().as_str().to_owned(),
        source: source.as_str().to_owned(),
        verdict: String::new(),
        out_trade_no: Some(payment.out_trade_no().as_str().to_owned()),
        transaction_id: Some(payment.transaction_id().as_str().to_owned()),
        remote_ip: evidence.remote_ip,
        headers: evidence.headers,
        body: evidence.body,
        reply: String::new(),
    })
}

/// Both answers in the gateway's words, made before the books are asked so that they can be kept with the notice.
struct Acks {
    received: String,
    refused: String,
}

impl Acks {
    fn of(app: &App, payment: &VerifiedPayment, source: Source) -> Acks {
        if source != Source::Notify {
            return Acks { received: String::new(), refused: String::new() };
        }
        let refused = ack(&Settled::Refused(Refusal::UnknownOrder));
        let text =
            |ack| app.speaker(payment.protocol()).map_or_else(String::new, |gateway| gateway.ack(ack).body);
        Acks { received: text(Ack::Received), refused: text(refused) }
    }

    fn text(&self, settled: &Settled) -> String {
        match ack(settled) {
            Ack::Received => self.received.clone(),
            Ack::Refused(_) => self.refused.clone(),
        }
    }
}

fn report(app: &App, settled: &Settled, source: Source, number: &str) {
    let (verdict, via) = (settled.verdict(), source.as_str());
    app.metrics.settled.with_label_values(&[via, verdict]).inc();
    if settled.needs_work() {
        app.metrics.alerts.with_label_values(&[verdict]).inc();
    }
    match settled {
        Settled::Now => tracing::info!(out_trade_no = number, via, "order {number} paid and credited"),
        Settled::Already => tracing::debug!(out_trade_no = number, via, "order {number} was credited before"),
        Settled::Late => {
            tracing::warn!(out_trade_no = number, via, "order {number} paid after it was closed: credited")
        }
        Settled::SecondPayment => {
            tracing::error!(
                out_trade_no = number,
                via,
                "order {number} was paid twice: a refund is to be made"
            );
        }
        Settled::Refused(_) => {
            tracing::error!(
                out_trade_no = number,
                via,
                verdict,
                "a payment for {number} was not credited: {verdict}"
            );
        }
    }
}
