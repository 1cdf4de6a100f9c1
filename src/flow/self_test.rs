//! A person asks every gateway about an order that was never made: the cheapest question there is, which shows whether
//! the gateway is reached, knows our keys, and signs its answers with its own. Nothing is changed by it.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        money::Fen,
        order::{Attempt, Channel},
        user::User,
    },
    gateway::{Gateway, Protocol, Trade},
    store::audit_log::{self, Act},
};
use futures_util::future::try_join_all;

/// What one gateway made of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    pub protocol: Protocol,
    pub said: Said,
    pub took_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Under its own signature: it knows of no such order.
    NoSuchOrder,
    /// Under its own signature, but another word.
    Else(String),
    /// There was an answer that may not be believed: it knows us not, or we know its signature not.
    Refused(String),
    NotReached(String),
}

/// Who asks is written down before; all gateways are asked at once.
///
/// # Errors
/// The books; no random bytes.
pub async fn run(app: &App, actor: &User) -> Result<Vec<Tested>, FlowError> {
    let (name, now) = (actor.username.clone(), app.clock.now());
    let act = move |db: &mut crate::store::Db| {
        let act = Act { actor: &name, action: "gateways_tested", target: "gateways", ..Act::default() };
        audit_log::insert(db, act, now)
    };
    app.store.write(act).await?;
    try_join_all(app.gateways().map(|gateway| ask(app, gateway))).await
}

async fn ask(app: &App, gateway: &dyn Gateway) -> Result<Tested, FlowError> {
    let protocol = gateway.protocol();
    let Some(attempt) = never_made(app, gateway)? else {
        return Ok(Tested { protocol, said: Said::Refused("it has no channel".to_owned()), took_ms: 0 });
    };
    let request = gateway.query(&attempt, &app.clock.stamp()?);
    let started = app.clock.monotonic();
    let heard = app.ask(&request).await;
    let took = app.clock.monotonic().saturating_sub(started).as_millis();
    let (said, outcome) = match heard.map(|answer| gateway.trade(&answer, &attempt)) {
        Err(error) => (Said::NotReached(error.to_string()), "no_answer"),
        Ok(Err(untrusted)) => (Said::Refused(untrusted.to_string()), untrusted.counted("untrusted")),
        Ok(Ok(Trade::NotFound)) => (Said::NoSuchOrder, "not_found"),
        Ok(Ok(Trade::Pending { state } | Trade::Closed { state })) => (Said::Else(state), "pending"),
        Ok(Ok(Trade::Paid(_) | Trade::Refunded { .. })) => (Said::Else("paid".to_owned()), "pending"),
    };
    app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
    Ok(Tested { protocol, said, took_ms: i64::try_from(took).unwrap_or(i64::MAX) })
}

/// A number nobody has, for the first channel of this gateway. It is never written down.
fn never_made(app: &App, gateway: &dyn Gateway) -> Result<Option<Attempt>, FlowError> {
    let now = app.clock.now();
    let first = Channel::ALL.into_iter().find_map(|channel| Some((channel, gateway.account(channel)?)));
    let Some((channel, account)) = first else { return Ok(None) };
    Ok(Some(Attempt {
        out_trade_no: app.clock.out_trade_no()?,
        order_id: 0,
        channel,
        account,
        environment: gateway.environment(),
        amount: Fen::ZERO,
        goods_name: String::new(),
        payer: None,
        client_ip: String::new(),
        notify_url: String::new(),
        created_at: now,
        expires_at: now,
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    }))
}
