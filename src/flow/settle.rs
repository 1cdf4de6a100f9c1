//! The one door for money: callback, query, sweep and administrator all end here.

use super::FlowError;
use crate::{
    app::App,
    canary::{self, Canary},
    domain::order::{Refusal, Settled, Source, explain},
    gateway::{Ack, VerifiedPayment},
    store::{
        Db, StoreError, attempts,
        notices::{self, Notice},
        settlement::{self, Settlement},
    },
};

/// The message that brought a payment, as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub body: Vec<u8>,
    /// The headers worth keeping, one a line. Empty for a reply to our own query.
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
    #[cfg(feature = "canaries")]
    let apart = (payment.clone(), notice.clone());
    let (settlement, known) = app
        .store
        .write(move |db| {
            if source != Source::Notify
                && let Some(settled) = refused_before(db, &payment)?
            {
                return Ok((Settlement { settled, order_number: None }, true));
            }
            let reply = |settled: &Settled| acks.text(settled);
            Ok((settlement::settle(db, &payment, source, notice, &reply, now)?, false))
        })
        .await?;
    if known {
        return Ok(settlement.settled);
    }
    #[cfg(feature = "canaries")]
    if canary::sings(Canary::CreditApart) && settlement.settled.credited() {
        let write = move |db: &mut _| settlement::wrong::credit_apart(db, &apart.0, &apart.1, source, now);
        app.store.write(write).await?;
    }
    report(app, &settlement.settled, source, number.as_str());
    if let Some(order) = &settlement.order_number {
        app.waiting.wake(order);
    }
    Ok(settlement.settled)
}

/// Why this payment credits nobody, if that can never change and an answer of the gateway that says so is kept.
fn refused_before(db: &mut Db, payment: &VerifiedPayment) -> Result<Option<Settled>, StoreError> {
    let (number, transaction_id) = (payment.out_trade_no(), payment.transaction_id());
    let Some((attempt, order)) = attempts::with_order(db, number)? else { return Ok(None) };
    let settled = explain(payment.claim(), Some((&attempt, &order)));
    let for_good = match settled {
        // Everything fits: the books take it, unless it has credited somebody already.
        Settled::Refused(Refusal::TransactionReused) => settlement::is_credited(db, transaction_id)?,
        // By facts of the order and of the payment, which stay.
        Settled::Refused(_) | Settled::SecondPayment => true,
        Settled::Now | Settled::Already | Settled::Late => false,
    };
    let kept = for_good && notices::answer_is_kept(db, number, transaction_id, settled.verdict())?;
    Ok(kept.then_some(settled))
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
        provider: payment.provider().as_str().to_owned(),
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
        let gateway = app.gateway(payment.provider());
        let refused = ack(&Settled::Refused(Refusal::UnknownOrder));
        Acks { received: gateway.ack(Ack::Received).body, refused: gateway.ack(refused).body }
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
