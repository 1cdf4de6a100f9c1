//! Crediting by hand a payment that fits no order: only after the gateway, asked again, says it was made.

use super::{
    FlowError,
    adjust::TOGETHER_MS,
    query::{self, Confirmed},
};
use crate::{
    app::App,
    domain::{
        ids::Username,
        ledger::Account,
        money::Fen,
        order::{Refusal, Settled, Source},
        time::UnixMs,
        user::User,
    },
    gateway::VerifiedPayment,
    store::{
        Db, StoreError, attempts,
        audit_log::{self, Act},
        corrections::{self, Decision, NotCredited},
        ledger,
        notices::Notice,
        users,
        work_items::{self, UncreditedPayment, WorkItem},
    },
};

/// The verdict of the reply a correction rests on.
const VERDICT: &str = "correction";

/// Whom a payment may be credited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToWhom {
    /// The order it names has one.
    OrdersOwner,
    /// No order of ours: the administrator says who.
    Named,
}

/// Whom items of this kind may be credited to; `None` when they are not credited by hand at all.
pub fn to_whom(item: &WorkItem) -> Option<ToWhom> {
    item.payment()?;
    match item.kind.as_str() {
        kind if kind == Settled::SecondPayment.verdict() => Some(ToWhom::OrdersOwner),
        kind if kind == Refusal::AmountMismatch.verdict() => Some(ToWhom::OrdersOwner),
        kind if kind == Refusal::UnknownOrder.verdict() => Some(ToWhom::Named),
        _ => None,
    }
}

/// Why nothing was credited. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    #[error("no such work item")]
    NotFound,
    #[error("work items of this kind are not credited by hand")]
    NotThisKind,
    #[error("the work item was closed")]
    Closed,
    #[error("this payment was credited before")]
    Credited,
    #[error("a part of this payment is being refunded or was")]
    Refunding,
    #[error("a reason is needed")]
    NoReason,
    #[error("no such user")]
    NoSuchUser,
    #[error("nobody credits themself")]
    Oneself,
    /// Who it belongs to is one person's word: what would make a day's such credits exceed the limit is refunded, which
    /// takes two.
    #[error("more than {0} fen a day is refunded and not credited by a name")]
    TooMuch(Fen),
    #[error("the number belongs to an order of ours now: query that order")]
    HasOrder,
    #[error("the payment was made to another merchant account or environment")]
    OtherAccount,
    /// What the gateway said instead, if it gave a usable answer.
    #[error("the gateway does not confirm this payment: {0:?}")]
    NotConfirmed(Option<String>),
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for CreditError {
    fn from(error: StoreError) -> CreditError {
        CreditError::Flow(FlowError::Store(error))
    }
}

impl From<NotCredited> for CreditError {
    fn from(refused: NotCredited) -> CreditError {
        match refused {
            NotCredited::Closed => CreditError::Closed,
            NotCredited::Credited => CreditError::Credited,
            NotCredited::Refunding => CreditError::Refunding,
            NotCredited::Different => {
                CreditError::NotConfirmed(Some("SUCCESS（金额或单号与这件事不同）".to_owned()))
            }
        }
    }
}

/// What an administrator wants.
#[derive(Clone, Debug)]
pub struct Wish {
    pub work_item_id: i64,
    /// Read for `ToWhom::Named` alone.
    pub username: String,
    pub reason: String,
}

/// Who credits, and how far their word alone goes.
#[derive(Clone)]
struct Teller {
    id: i64,
    name: String,
    limit: Fen,
    now: UnixMs,
}

/// What is to be credited to whom.
struct Plan {
    payment: UncreditedPayment,
    owner: User,
    to_whom: ToWhom,
}

/// Asks the gateway about the payment, then credits it; gives the name of who got it.
///
/// # Errors
/// Why nothing was credited; the books.
pub async fn credit(app: &App, actor: &User, wish: Wish) -> Result<String, CreditError> {
    if wish.reason.trim().is_empty() {
        return Err(CreditError::NoReason);
    }
    let id = wish.work_item_id;
    let name = Username::parse(&wish.username);
    let teller = Teller {
        id: actor.id,
        name: actor.username.clone(),
        limit: app.config.refund_second_admin_above,
        now: app.clock.now(),
    };
    let asking = teller.clone();
    let plan = app.store.read(move |db| prepare(db, id, name.as_ref(), &asking)).await??;
    let Plan { payment, owner, to_whom } = plan;
    if app.gateway_of(payment.provider, &payment.account, payment.environment).is_none() {
        return Err(CreditError::OtherAccount);
    }
    let (verified, answer) = match query::confirm(app, &payment).await? {
        Confirmed::Paid(verified, answer) => (verified, answer),
        Confirmed::Said(said) => return Err(CreditError::NotConfirmed(Some(said))),
        Confirmed::NoAnswer => return Err(CreditError::NotConfirmed(None)),
    };
    let notice = Notice {
        id: app.clock.ordered_id().map_err(FlowError::from)?,
        received_at: app.clock.now().0,
        provider: verified.protocol().as_str().to_owned(),
        source: Source::Admin.as_str().to_owned(),
        verdict: VERDICT.to_owned(),
        out_trade_no: Some(payment.out_trade_no.as_str().to_owned()),
        transaction_id: Some(payment.transaction_id.as_str().to_owned()),
        remote_ip: String::new(),
        headers: answer.headers,
        body: answer.body,
        reply: String::new(),
    };
    let decision = Decision {
        work_item_id: id,
        user_id: owner.id,
        actor: actor.username.clone(),
        reason: wish.reason.trim().to_owned(),
    };
    let teller = (to_whom == ToWhom::Named).then_some(teller);
    write(app, decision, *verified, notice, teller).await?;
    let (number, who) = (&payment.transaction_id, owner.username);
    tracing::warn!(transaction_id = %number, "payment {number} was credited by hand to user {}", owner.id);
    Ok(who)
}

/// The item's payment and who would get it, if nothing in the books stands in the way.
fn prepare(
    db: &mut Db,
    id: i64,
    named: Option<&Username>,
    teller: &Teller,
) -> Result<Result<Plan, CreditError>, StoreError> {
    let Some(item) = work_items::by_id(db, id)? else {
        return Ok(Err(CreditError::NotFound));
    };
    let (Some(to_whom), Some(payment)) = (to_whom(&item), item.payment()) else {
        return Ok(Err(CreditError::NotThisKind));
    };
    if let Err(refused) = corrections::check(db, &item)? {
        return Ok(Err(refused.into()));
    }
    let order = attempts::with_order(db, &payment.out_trade_no)?.map(|(_, order)| order);
    let owner = match (to_whom, order) {
        (ToWhom::OrdersOwner, Some(order)) => users::by_id(db, order.user_id)?,
        (ToWhom::OrdersOwner, None) => None,
        // Restored since: the order's own door compares more than a person would.
        (ToWhom::Named, Some(_)) => return Ok(Err(CreditError::HasOrder)),
        (ToWhom::Named, None) if is_too_much(db, teller, payment.amount)? => {
            return Ok(Err(CreditError::TooMuch(teller.limit)));
        }
        (ToWhom::Named, None) => match named {
            Some(name) => users::by_name(db, name)?.map(|(user, _)| user),
            None => None,
        },
    };
    if to_whom == ToWhom::Named && owner.as_ref().is_some_and(|owner| owner.id == teller.id) {
        return Ok(Err(CreditError::Oneself));
    }
    Ok(owner.map(|owner| Plan { payment, owner, to_whom }).ok_or(CreditError::NoSuchUser))
}

/// Whether this credit and those by the same person's word within a day exceed the limit.
fn is_too_much(db: &mut Db, teller: &Teller, amount: Fen) -> Result<bool, StoreError> {
    let since = teller.now.plus_ms(TOGETHER_MS.saturating_neg());
    let lately = corrections::credited_by_since(db, &teller.name, Refusal::UnknownOrder.verdict(), since)?;
    Ok(lately.saturating_add(amount.get()) > teller.limit.get())
}

async fn write(
    app: &App,
    decision: Decision,
    verified: VerifiedPayment,
    notice: Notice,
    alone: Option<Teller>,
) -> Result<(), CreditError> {
    let now = app.clock.now();
    app.store
        .write(move |db| {
            // Once more: two pieces sent at once must not both fit.
            if let Some(teller) = &alone
                && is_too_much(db, teller, verified.amount())?
            {
                return Ok(Err(CreditError::TooMuch(teller.limit)));
            }
            let account = Account::User(decision.user_id);
            let was = ledger::balance(db, &account)?;
            if let Err(refused) = corrections::insert(db, &decision, &verified, &notice, now)? {
                return Ok(Err(refused.into()));
            }
            let act = Act {
                actor: &decision.actor,
                action: "payment_credited",
                target: &decision.work_item_id.to_string(),
                detail: &format!("{} to user {}: {}", verified.amount(), decision.user_id, decision.reason),
                was: &format!("balance {was}"),
                became: &format!("balance {}", ledger::balance(db, &account)?),
            };
            audit_log::insert(db, act, now)?;
            Ok(Ok(()))
        })
        .await?
}
