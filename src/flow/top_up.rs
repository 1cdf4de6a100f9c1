//! A top-up: an order of our own first, then an attempt, then WeChat is asked, then the payer may pay.

use super::{
    FlowError,
    close::{self, Closed},
    query::{self, Asked},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::Openid,
        money::Fen,
        order::{Attempt, Channel, Order, Settled, Source, next_query},
    },
    failpoint::{self, Failpoint},
    gateway::{Checkout, Gateway, Prepaid, SIGN_PROBE},
    store::{
        StoreError, attempts,
        events::{self, Event, EventKind},
        freezes,
        orders::{self, NewOrder},
        pending,
    },
};
use std::time::Duration;

/// What the payer reads on WeChat's sheet.
pub const GOODS_NAME: &str = "账户充值";
/// Unpaid orders one user may have at a time.
const MOST_OPEN: i64 = 100;
/// WeChat refuses an expiry less than 5 minutes away; one minute more for clocks that differ.
const SHORTEST_LIFE_MS: i64 = 6 * 60_000;
/// How long one request may hold the right to ask WeChat: its own time limit and a little.
const CLAIM_MS: i64 = 6_000;
/// New numbers tried for one click, should the gateway keep calling them closed or used.
const MOST_ASKED: u32 = 3;
/// Attempts of one order: phones and browsers it was tried on, and numbers WeChat called spent.
const MOST_ATTEMPTS: usize = 10;
/// Looks at what another request is doing, every 100 ms.
const LOOKS: usize = 65;
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Pauses before the same question again when WeChat answers that it is busy.
const BUSY_PAUSES_MS: [u64; 2] = [300, 900];

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub user_id: i64,
    pub amount: Fen,
    pub channel: Channel,
    /// A random id of the form: the same twice is the same order.
    pub intent: String,
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub enum TopUpError {
    #[error("the amount is outside the limits")]
    AmountOutside,
    #[error("the form carries no usable intent")]
    BadIntent,
    #[error("this form was already used for another amount")]
    IntentReused,
    #[error("too many unpaid orders")]
    TooManyOpen,
    /// An administrator has stopped this user's payments.
    #[error("the user is frozen")]
    Frozen,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Makes the order, status 0, durable before anybody is asked. The same intent gives the same order.
///
/// # Errors
/// An amount outside the limits, an intent used for another amount, too many unpaid orders; the books.
pub async fn create(app: &App, wish: Wish) -> Result<Order, TopUpError> {
    let limits = &app.config.top_up;
    if wish.amount < limits.min || wish.amount > limits.max {
        return Err(TopUpError::AmountOutside);
    }
    if !(8..=64).contains(&wish.intent.len())
        || !wish.intent.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err(TopUpError::BadIntent);
    }
    let now = app.clock.now();
    let new = NewOrder {
        out_trade_no: app.clock.out_trade_no().map_err(FlowError::from)?,
        user_id: wish.user_id,
        intent: wish.intent,
        goods_name: GOODS_NAME.to_owned(),
        amount: wish.amount,
        environment: app.environment(),
        created_at: now,
        expires_at: now.plus_secs(limits.expire_minutes.saturating_mul(60)),
    };
    let made = app.store.write(move |db| insert_once(db, &new)).await.map_err(FlowError::from)?;
    match made {
        Made::New(order) => {
            app.metrics.orders_created.with_label_values(&[wish.channel.as_str()]).inc();
            let number = &order.out_trade_no;
            tracing::info!(out_trade_no = %number, "order {number} created");
            failpoint::pass(Failpoint::TopUpAfterOrderWritten);
            Ok(order)
        }
        Made::Before(order) if order.amount == wish.amount => Ok(order),
        Made::Before(_) => Err(TopUpError::IntentReused),
        Made::TooManyOpen => Err(TopUpError::TooManyOpen),
        Made::Frozen => Err(TopUpError::Frozen),
    }
}

enum Made {
    New(Order),
    Before(Order),
    TooManyOpen,
    Frozen,
}

fn insert_once(db: &mut crate::store::Db, new: &NewOrder) -> Result<Made, StoreError> {
    if let Some(order) = orders::by_intent(db, new.user_id, &new.intent)? {
        return Ok(Made::Before(order));
    }
    if freezes::of_user(db, new.user_id)?.is_some() {
        return Ok(Made::Frozen);
    }
    if orders::count_open(db, new.user_id, new.created_at)? >= MOST_OPEN {
        return Ok(Made::TooManyOpen);
    }
    let id = orders::insert(db, new)?;
    let detail = new.amount.to_string();
    events::insert(db, id, &Event { at: new.created_at, kind: EventKind::Created, detail })?;
    let order = orders::by_id(db, id)?.ok_or(StoreError::Unreadable("order"))?;
    Ok(Made::New(order))
}

/// How an order can be paid from this browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pay {
    Ready(Checkout),
    Paid,
    Closed,
    /// The gateway must know who pays, and we do not yet.
    NeedOpenid,
    /// No account of ours has this channel.
    NotOffered,
    /// The gateway did not answer usably: the order is kept and may be tried again.
    Busy,
    /// The gateway refuses our account or our request; trying again cannot help.
    Refused,
    /// Tried on so many phones that another attempt is not made: a new order is needed.
    UsedUp,
    /// An administrator has stopped this user's payments. What is paid nevertheless is credited.
    Frozen,
}

/// Gives this payer what is needed to pay the order: an attempt with a fresh `prepay_id`, signed now. `payer` is not
/// looked at for channels that anybody may pay by.
/// Several requests at once ask the gateway once.
///
/// # Errors
/// The books.
pub async fn checkout(
    app: &App,
    order_id: i64,
    channel: Channel,
    payer: Option<&Openid>,
    client_ip: &str,
) -> Result<Pay, FlowError> {
    let mut asked = 0;
    for _ in 0..LOOKS {
        let Current { order, open, frozen } = current(app, order_id).await?;
        if order.is_paid() {
            return Ok(Pay::Paid);
        }
        if !order.is_payable(app.clock.now()) {
            return Ok(Pay::Closed);
        }
        if frozen {
            return Ok(Pay::Frozen);
        }
        let Some((gateway, account)) = app.gateway_for(channel) else {
            return Ok(Pay::NotOffered);
        };
        let payer = payer.filter(|_| channel.names_payer());
        let notify_url = app.config.url(gateway.protocol().notify_path());
        if channel.names_payer() && payer.is_none() {
            return Ok(Pay::NeedOpenid);
        }
        let attempt = match open {
            None => {
                let opening = Opening { channel, account, notify_url, payer, client_ip };
                if !open_attempt(app, &order, opening).await? {
                    return Ok(Pay::UsedUp);
                }
                continue;
            }
            // Another phone, a browser that came to another network where that matters, another way to pay, another
            // account of ours, which could not credit this attempt, or another protocol: the old one must be closed
            // before there is a new one.
            Some(attempt)
                if attempt.payer.as_ref() != payer
                    || attempt.channel != channel
                    || (channel.names_address() && attempt.client_ip != client_ip)
                    || attempt.account != account
                    || attempt.notify_url != notify_url =>
            {
                match close::close_attempt(app, &attempt, Source::Query).await? {
                    Closed::Closed => continue,
                    Closed::Paid => return Ok(Pay::Paid),
                    Closed::Spent | Closed::Foreign | Closed::Unknown(_) => return Ok(Pay::Busy),
                }
            }
            Some(attempt) => attempt,
        };
        if let Some(ready) = sign_if_fresh(app, gateway, &attempt)? {
            return Ok(ready);
        }
        let (number, now) = (attempt.out_trade_no.clone(), app.clock.now());
        if app.store.write(move |db| attempts::claim_prepay(db, &number, now, CLAIM_MS)).await? {
            if asked == MOST_ASKED {
                return Ok(Pay::Busy);
            }
            asked += 1;
            match prepay(app, gateway, &attempt).await? {
                Step::Done(pay) => return Ok(pay),
                Step::Again => continue,
            }
        }
        app.clock.sleep(LOOK_PAUSE).await;
    }
    Ok(Pay::Busy)
}

/// How an order stands.
struct Current {
    order: Order,
    /// Its open attempt, if there is one.
    open: Option<Attempt>,
    /// Its owner's payments are stopped.
    frozen: bool,
}

async fn current(app: &App, order_id: i64) -> Result<Current, FlowError> {
    let found = app
        .store
        .read(move |db| {
            let order = orders::by_id(db, order_id)?.ok_or(StoreError::Unreadable("order"))?;
            let open =
                attempts::of_order(db, order_id)?.into_iter().rfind(|attempt| attempt.closed_at.is_none());
            let frozen = freezes::of_user(db, order.user_id)?.is_some();
            Ok(Current { order, open, frozen })
        })
        .await?;
    Ok(found)
}

/// How an attempt is to be made.
struct Opening<'a> {
    channel: Channel,
    account: String,
    /// Names the protocol, too: a prepay_id of V2 is not signed for by V3.
    notify_url: String,
    payer: Option<&'a Openid>,
    client_ip: &'a str,
}

/// Writes a new attempt and its first query, unless somebody else just has, or has closed the order. The first
/// carries the order's number. `false` when the order has used up its attempts.
async fn open_attempt(app: &App, order: &Order, opening: Opening<'_>) -> Result<bool, FlowError> {
    let now = app.clock.now();
    let fresh = app.clock.out_trade_no()?;
    let first = Attempt {
        out_trade_no: order.out_trade_no.clone(),
        order_id: order.id,
        channel: opening.channel,
        account: opening.account,
        environment: order.environment,
        amount: order.amount,
        goods_name: order.goods_name.clone(),
        payer: opening.payer.cloned(),
        client_ip: opening.client_ip.to_owned(),
        notify_url: opening.notify_url,
        created_at: now,
        expires_at: order.expires_at.max(now.plus_ms(SHORTEST_LIFE_MS)),
        asked_at: None,
        prepay_id: None,
        prepaid_at: None,
        closed_at: None,
    };
    app.store
        .write(move |db| {
            let others = attempts::of_order(db, first.order_id)?;
            // What was read before may be old: another clock, or another request, can have closed the order.
            let order = orders::by_id(db, first.order_id)?.ok_or(StoreError::Unreadable("order"))?;
            let closed = order.closed_at.is_some() && !canary::sings(Canary::OpenedAfterClosing);
            let over = order.is_paid() || closed;
            if over || others.iter().any(|other| other.closed_at.is_none()) {
                return Ok(true);
            }
            if others.len() >= MOST_ATTEMPTS {
                return Ok(false);
            }
            let mut attempt = first.clone();
            if !others.is_empty() {
                attempt.out_trade_no = fresh.clone();
            }
            attempts::insert(db, &attempt)?;
            orders::close_later(db, attempt.order_id, attempt.expires_at)?;
            let first_query = next_query(attempt.created_at, attempt.expires_at, now, 0).unwrap_or(now);
            pending::insert(db, &attempt.out_trade_no, first_query)?;
            Ok(true)
        })
        .await
        .map_err(FlowError::from)
}

fn sign_if_fresh(app: &App, gateway: &dyn Gateway, attempt: &Attempt) -> Result<Option<Pay>, FlowError> {
    let (Some(prepay_id), Some(prepaid_at)) = (&attempt.prepay_id, attempt.prepaid_at) else {
        return Ok(None);
    };
    if app.clock.now().since(prepaid_at) > gateway.prepaid_life_ms(attempt.channel) {
        return Ok(None);
    }
    Ok(Some(Pay::Ready(gateway.checkout(attempt, prepay_id, &app.clock.stamp()?))))
}

enum Step {
    Done(Pay),
    Again,
}

/// Asks the gateway to prepare the attempt; the caller holds the claim.
async fn prepay(app: &App, gateway: &dyn Gateway, attempt: &Attempt) -> Result<Step, FlowError> {
    let started = app.clock.now();
    let prepaid = ask_until_clear(app, gateway, attempt).await?;
    failpoint::pass(Failpoint::TopUpAfterPrepayAnswer);
    let now = app.clock.now();
    let number = attempt.out_trade_no.clone();
    let detail = format!("{number}: {} ({} ms)", described(&prepaid), now.since(started));
    let kind = match &prepaid {
        Prepaid::Ready { prepay_id } if prepay_id.is_empty() => EventKind::Handed,
        Prepaid::Ready { .. } => EventKind::Prepay,
        _ => EventKind::NoPrepay,
    };
    let event = Event { at: now, kind, detail };
    let (order_id, kept) = (attempt.order_id, prepaid.clone());
    app.store
        .write(move |db| {
            events::insert(db, order_id, &event)?;
            match &kept {
                Prepaid::Ready { prepay_id } => attempts::set_prepay_id(db, &number, prepay_id, now)?,
                Prepaid::Closed => attempts::close(db, &number, now)?,
                Prepaid::Unknown { .. } if canary::sings(Canary::NewNumberOnRetry) => {
                    attempts::close(db, &number, now)?;
                }
                Prepaid::Unknown { .. } | Prepaid::Refused { .. } => attempts::release_prepay(db, &number)?,
                Prepaid::Paid | Prepaid::NumberUsed => {}
            }
            Ok(())
        })
        .await?;
    match prepaid {
        // Round again: the callback may have come before this answer, and then nothing is to be paid.
        Prepaid::Ready { .. } | Prepaid::Closed => Ok(Step::Again),
        Prepaid::Paid => Ok(match query::ask(app, attempt, Source::Query).await? {
            Asked::Paid(Settled::Refused(_)) => Step::Done(Pay::Busy),
            Asked::Paid(_) => Step::Done(Pay::Paid),
            _ => Step::Done(Pay::Busy),
        }),
        Prepaid::NumberUsed => Ok(match close::close_attempt(app, attempt, Source::Query).await? {
            Closed::Paid => Step::Done(Pay::Paid),
            Closed::Closed => Step::Again,
            Closed::Spent | Closed::Foreign | Closed::Unknown(_) => Step::Done(Pay::Busy),
        }),
        Prepaid::Unknown { .. } => Ok(Step::Done(Pay::Busy)),
        Prepaid::Refused { code } => {
            app.metrics.alerts.with_label_values(&["prepay_refused"]).inc();
            tracing::error!(out_trade_no = %attempt.out_trade_no, %code, "the gateway refuses to prepare payments: {code}");
            Ok(Step::Done(Pay::Refused))
        }
    }
}

/// The same question up to three times while WeChat authentically says that it is busy.
async fn ask_until_clear(app: &App, gateway: &dyn Gateway, attempt: &Attempt) -> Result<Prepaid, FlowError> {
    let mut pauses = BUSY_PAUSES_MS.into_iter();
    loop {
        let Some(request) = gateway.prepay(attempt, &app.clock.stamp()?) else {
            // The payer's browser brings the order there itself.
            return Ok(Prepaid::Ready { prepay_id: String::new() });
        };
        let heard = match app.ask(&request).await {
            Err(error) => Err((error.to_string(), "no_answer")),
            Ok(answer) => gateway
                .prepaid(&answer, attempt)
                .map_err(|untrusted| (untrusted.to_string(), untrusted.counted("no_answer"))),
        };
        let outcome = heard.as_ref().map_or_else(|(_, word)| *word, |_| "answered");
        app.metrics.gateway_calls.with_label_values(&[request.call, outcome]).inc();
        let prepaid = match heard {
            Ok(prepaid) => prepaid,
            Err((code, word)) => {
                if word != SIGN_PROBE {
                    app.metrics.alerts.with_label_values(&["prepay_no_answer"]).inc();
                }
                let number = &attempt.out_trade_no;
                tracing::warn!(out_trade_no = %number, "asking the gateway to prepare {number} brought nothing usable: {code}");
                return Ok(Prepaid::Unknown { code });
            }
        };
        let busy = matches!(prepaid, Prepaid::Unknown { .. });
        match pauses.next() {
            Some(pause) if busy => app.clock.sleep(Duration::from_millis(pause)).await,
            _ => return Ok(prepaid),
        }
    }
}

fn described(prepaid: &Prepaid) -> String {
    match prepaid {
        Prepaid::Ready { prepay_id } if prepay_id.is_empty() => {
            "the browser brings it to the gateway's page".to_owned()
        }
        Prepaid::Ready { .. } => "prepay_id".to_owned(),
        Prepaid::Paid => "ORDERPAID".to_owned(),
        Prepaid::Closed => "ORDERCLOSED".to_owned(),
        Prepaid::NumberUsed => "number used with other parameters".to_owned(),
        Prepaid::Unknown { code } => format!("outcome unknown, {code}"),
        Prepaid::Refused { code } => format!("refused, {code}"),
    }
}
