//! Asking for a refund: its amount is reserved and everything written down before the gateway hears of it, and a
//! large one waits for a second administrator.

use super::{FlowError, query, refund::look};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::{OutRefundNo, OutTradeNo, TransactionId},
        ledger::Account,
        money::Fen,
        order::{Environment, Order, Provider},
        refund::{MOST_PER_PAYMENT, Refund, RefundState, WINDOW_MS},
        time::UnixMs,
        user::User,
    },
    store::{
        Db, StoreError,
        audit_log::{self, Act},
        ledger, orders, refund_settlement,
        refunds::{self, NewRefund},
        settlement, users,
        work_items::{self, WorkItem},
    },
};

/// What the payer reads is at most this long, in bytes of UTF-8, the safe reading of `refund_desc` String(80) on
/// page 4011984092: 26 Chinese characters.
pub const LONGEST_REASON: usize = 80;

/// Which payment to return.
#[derive(Clone, Debug)]
pub enum Payment {
    /// The one an order was paid with.
    OfOrder(OutTradeNo),
    /// One that credited nobody, as its work item describes it.
    OfWorkItem(i64),
}

/// What an administrator asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub payment: Payment,
    pub amount: Fen,
    /// The payer reads it: 1 to 80 bytes, no emoji.
    pub reason: String,
    /// A random id of the form: the same twice is the same refund.
    pub intent: String,
}

/// Why there is no refund. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    #[error("no such payment")]
    NotFound,
    #[error("not paid")]
    NotPaid,
    #[error("the amount must be at least one fen")]
    NoAmount,
    #[error("only {0} of this payment is left to refund")]
    TooMuch(Fen),
    #[error("this payment had 50 refunds, which is all the gateway makes")]
    TooMany,
    #[error("the gateway refunds within a year of the payment only")]
    TooOld,
    #[error("the user's balance does not hold this amount any more")]
    Spent,
    #[error("a reason of 1 to 80 bytes without emoji is needed")]
    BadReason,
    #[error("the form carries no usable intent")]
    BadIntent,
    #[error("this form was already used for another refund")]
    IntentReused,
    #[error("the payment was made to another merchant account or environment")]
    OtherAccount,
    #[error("this payment was credited to a user")]
    Credited,
    /// What the gateway said instead.
    #[error("the gateway does not confirm this payment: {0}")]
    NotConfirmed(String),
    #[error("no client certificate is configured: WECHAT_CERT_PEM and WECHAT_KEY_PEM")]
    NoCertificate,
    #[error("the one who asks for a refund cannot approve it, and it is decided once")]
    NotYours,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for RefundError {
    fn from(error: StoreError) -> RefundError {
        RefundError::Flow(FlowError::Store(error))
    }
}

/// The facts of a payment that its refunds share.
struct Paid {
    order_id: Option<i64>,
    work_item_id: Option<i64>,
    user_id: Option<i64>,
    provider: Provider,
    account: String,
    environment: Environment,
    out_trade_no: OutTradeNo,
    transaction_id: TransactionId,
    total: Fen,
    /// Reserved for refunds or gone back.
    reserved: Fen,
    refunds: i32,
    at: UnixMs,
}

/// Reserves and writes a refund, then asks the gateway unless a second administrator has to agree first. The same
/// intent gives the same refund.
///
/// # Errors
/// Why nothing was written; the books.
pub async fn request(app: &App, actor: &User, wish: Wish) -> Result<Refund, RefundError> {
    let reason = wish.reason.trim();
    // Characters of four bytes are refused or mangled by the gateway.
    let readable = |c: char| !c.is_control() && c.len_utf8() < 4;
    if !(1..=LONGEST_REASON).contains(&reason.len()) || !reason.chars().all(readable) {
        return Err(RefundError::BadReason);
    }
    if !(8..=64).contains(&wish.intent.len())
        || !wish.intent.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err(RefundError::BadIntent);
    }
    if wish.amount == Fen::ZERO {
        return Err(RefundError::NoAmount);
    }
    if !app.http.can_show_certificate() {
        return Err(RefundError::NoCertificate);
    }
    if let Payment::OfWorkItem(id) = wish.payment {
        confirm(app, id).await?;
    }
    let number = app.clock.out_refund_no().map_err(FlowError::NoEntropy)?;
    let desk = Desk {
        actor: actor.username.clone(),
        number,
        reason: reason.to_owned(),
        now: app.clock.now(),
        notify_url: app.config.refund_notify_url(),
        second_admin_above: app.config.refund_second_admin_above,
        environment: app.environment(),
        accounts: Provider::ALL.map(|provider| (provider, app.gateway(provider).account())).to_vec(),
    };
    let written = app.store.write(move |db| desk.write(db, &wish)).await??;
    look(app, &written).await?;
    let id = written.id;
    let refund = app.store.read(move |db| refunds::by_id(db, id)).await?;
    Ok(refund.unwrap_or(written))
}

/// A message said that this payment was made; before money is sent back for it, the gateway itself is asked. Once
/// a part of it is being refunded it answers REFUND, and was asked before.
async fn confirm(app: &App, work_item_id: i64) -> Result<(), RefundError> {
    let item = app.store.read(move |db| work_items::by_id(db, work_item_id)).await?;
    let Some((item, payment)) = item.and_then(|item| item.payment().map(|payment| (item, payment))) else {
        return Err(RefundError::NotFound);
    };
    let gateway = app.gateway(payment.provider);
    if gateway.account() != payment.account || gateway.environment() != payment.environment {
        return Err(RefundError::OtherAccount);
    }
    if item.refunds > 0 {
        return Ok(());
    }
    let (verified, _) = query::confirm(app, &payment).await?.map_err(RefundError::NotConfirmed)?;
    if *verified.transaction_id() != payment.transaction_id || verified.amount() != payment.amount {
        return Err(RefundError::NotConfirmed(format!("a payment of {}", verified.amount())));
    }
    Ok(())
}

/// Everything about a request but the wish, so that one transaction can decide.
struct Desk {
    actor: String,
    number: OutRefundNo,
    reason: String,
    now: UnixMs,
    notify_url: String,
    second_admin_above: Fen,
    environment: Environment,
    accounts: Vec<(Provider, String)>,
}

impl Desk {
    /// One transaction: known intent, facts, reservation, hold, refund, audit.
    fn write(&self, db: &mut Db, wish: &Wish) -> Result<Result<Refund, RefundError>, StoreError> {
        if let Some(known) = refunds::by_intent(db, &self.actor, &wish.intent)? {
            let same = known.amount == wish.amount && self.names(db, &known, &wish.payment)?;
            return Ok(if same { Ok(known) } else { Err(RefundError::IntentReused) });
        }
        let paid = match self.find(db, &wish.payment)? {
            Ok(paid) => paid,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = self.check(db, &paid, wish.amount)? {
            return Ok(Err(refused));
        }
        if !reserve(db, &paid, wish.amount)? {
            return Ok(Err(RefundError::TooMuch(left(&paid))));
        }
        let new = self.refund(&paid, wish);
        let id = refunds::insert(db, &new)?;
        let refund = refunds::by_id(db, id)?.ok_or(StoreError::Unreadable("refund"))?;
        self.record(db, &paid, &refund)?;
        Ok(Ok(refund))
    }

    fn names(&self, db: &mut Db, known: &Refund, payment: &Payment) -> Result<bool, StoreError> {
        Ok(match payment {
            Payment::OfOrder(number) => {
                orders::by_number(db, number)?.is_some_and(|order| known.order_id == Some(order.id))
            }
            Payment::OfWorkItem(id) => known.work_item_id == Some(*id),
        })
    }

    fn find(&self, db: &mut Db, payment: &Payment) -> Result<Result<Paid, RefundError>, StoreError> {
        match payment {
            Payment::OfOrder(number) => match orders::by_number(db, number)? {
                Some(order) => of_order(db, order),
                None => Ok(Err(RefundError::NotFound)),
            },
            Payment::OfWorkItem(id) => match work_items::by_id(db, *id)? {
                Some(item) if item.closed_at.is_none() => of_work_item(db, &item),
                _ => Ok(Err(RefundError::NotFound)),
            },
        }
    }

    fn check(&self, db: &mut Db, paid: &Paid, amount: Fen) -> Result<Result<(), RefundError>, StoreError> {
        let ours = self.accounts.contains(&(paid.provider, paid.account.clone()));
        if !ours || paid.environment != self.environment {
            return Ok(Err(RefundError::OtherAccount));
        }
        if paid.refunds >= MOST_PER_PAYMENT {
            return Ok(Err(RefundError::TooMany));
        }
        if self.now.since(paid.at) > WINDOW_MS {
            return Ok(Err(RefundError::TooOld));
        }
        if amount > left(paid) {
            return Ok(Err(RefundError::TooMuch(left(paid))));
        }
        if let Some(user_id) = paid.user_id
            && ledger::balance(db, &Account::User(user_id))? < amount.get()
        {
            return Ok(Err(RefundError::Spent));
        }
        Ok(Ok(()))
    }

    fn refund(&self, paid: &Paid, wish: &Wish) -> NewRefund {
        // By the sum, so that a large refund is not split into small ones.
        let sum = paid.reserved.get().saturating_add(wish.amount.get());
        let waiting = sum > self.second_admin_above.get();
        NewRefund {
            out_refund_no: self.number.clone(),
            intent: wish.intent.clone(),
            order_id: paid.order_id,
            work_item_id: paid.work_item_id,
            user_id: paid.user_id,
            provider: paid.provider,
            account: paid.account.clone(),
            environment: paid.environment,
            out_trade_no: paid.out_trade_no.clone(),
            transaction_id: paid.transaction_id.clone(),
            total: paid.total,
            amount: wish.amount,
            reason: self.reason.clone(),
            notify_url: self.notify_url.clone(),
            requested_by: self.actor.clone(),
            requested_at: self.now,
            state: if waiting { RefundState::Waiting } else { RefundState::Asking },
            next_at: (!waiting).then_some(self.now),
        }
    }

    fn record(&self, db: &mut Db, paid: &Paid, refund: &Refund) -> Result<(), StoreError> {
        let after = left(paid).get().saturating_sub(refund.amount.get());
        let act = Act {
            actor: &self.actor,
            action: "refund_requested",
            target: refund.out_refund_no.as_str(),
            detail: &format!("{} of {}: {}", refund.amount, paid.out_trade_no, self.reason),
            was: &format!("refundable {}", left(paid)),
            became: &format!("refundable {}, {}", Fen::new(after).unwrap_or_default(), refund.state.as_str()),
        };
        audit_log::insert(db, act, self.now)?;
        refund_settlement::tell(db, refund, refund.state.as_str(), self.now)
    }
}

fn left(paid: &Paid) -> Fen {
    Fen::new(paid.total.get().saturating_sub(paid.reserved.get())).unwrap_or_default()
}

fn reserve(db: &mut Db, paid: &Paid, amount: Fen) -> Result<bool, StoreError> {
    if canary::sings(Canary::RefundUnlocked) {
        return Ok(true);
    }
    match (paid.order_id, paid.work_item_id) {
        (Some(id), _) => refunds::reserve_of_order(db, id, amount),
        (None, Some(id)) => refunds::reserve_of_work_item(db, id, amount),
        (None, None) => Ok(false),
    }
}

fn of_order(db: &mut Db, order: Order) -> Result<Result<Paid, RefundError>, StoreError> {
    let (Some(transaction_id), Some(at)) = (order.transaction_id.clone(), order.paid_at) else {
        return Ok(Err(RefundError::NotPaid));
    };
    let Some(attempt) = settlement::paid_attempt(db, order.id)? else {
        return Ok(Err(RefundError::NotPaid));
    };
    Ok(Ok(Paid {
        order_id: Some(order.id),
        work_item_id: None,
        user_id: Some(order.user_id),
        provider: attempt.channel.provider(),
        account: attempt.account,
        environment: order.environment,
        out_trade_no: attempt.out_trade_no,
        transaction_id,
        total: order.amount,
        reserved: order.refund,
        refunds: order.refunds,
        at,
    }))
}

fn of_work_item(db: &mut Db, item: &WorkItem) -> Result<Result<Paid, RefundError>, StoreError> {
    let facts = item.payment();
    let Some(payment) = facts else { return Ok(Err(RefundError::NotFound)) };
    if settlement::is_credited(db, &payment.transaction_id)? {
        return Ok(Err(RefundError::Credited));
    }
    // One payment can be told of by two items: what goes back of it is counted once.
    let reserved = refunds::reserved_of_payment(db, &payment.transaction_id)?;
    Ok(Ok(Paid {
        order_id: None,
        work_item_id: Some(item.id),
        user_id: None,
        provider: payment.provider,
        account: payment.account,
        environment: payment.environment,
        out_trade_no: payment.out_trade_no,
        transaction_id: payment.transaction_id,
        total: payment.amount,
        reserved: Fen::new(reserved).ok_or(StoreError::Unreadable("amount"))?,
        refunds: item.refunds,
        at: UnixMs(item.opened_at),
    }))
}

/// A second administrator agrees, and the gateway is asked; or says no, and everything is as before. Who asked
/// for it may take it back while it waits.
///
/// # Errors
/// No such refund; the one who asked decides about it, or it was decided before; the books.
pub async fn decide(
    app: &App,
    actor: &User,
    number: &OutRefundNo,
    agreed: bool,
    note: String,
) -> Result<Refund, RefundError> {
    let (name, number, now) = (actor.username.clone(), number.clone(), app.clock.now());
    let decided = app
        .store
        .write(move |db| {
            let Some(refund) = refunds::by_number(db, &number)? else {
                return Ok(Err(RefundError::NotFound));
            };
            if !refund_settlement::decide(db, &refund, &name, agreed, now)? {
                return Ok(Err(RefundError::NotYours));
            }
            let act = Act {
                actor: &name,
                action: if agreed { "refund_approved" } else { "refund_rejected" },
                target: number.as_str(),
                detail: &note,
                was: refund.state.as_str(),
                became: if agreed { "asking" } else { "rejected" },
            };
            audit_log::insert(db, act, now)?;
            Ok(Ok(refunds::by_id(db, refund.id)?.unwrap_or(refund)))
        })
        .await??;
    look(app, &decided).await?;
    let id = decided.id;
    Ok(app.store.read(move |db| refunds::by_id(db, id)).await?.unwrap_or(decided))
}

/// An administrator wants to know now: queries, and asks again if the gateway knows nothing of it.
///
/// # Errors
/// The books.
pub async fn look_now(app: &App, actor: &User, refund: &Refund) -> Result<Refund, RefundError> {
    let (name, number, now) = (actor.username.clone(), refund.out_refund_no.clone(), app.clock.now());
    let was = refund.state;
    look(app, refund).await?;
    let id = refund.id;
    let after = app
        .store
        .write(move |db| {
            let after = refunds::by_id(db, id)?.ok_or(StoreError::Unreadable("refund"))?;
            let act = Act {
                actor: &name,
                action: "refund_queried",
                target: number.as_str(),
                detail: after.last_answer.as_deref().unwrap_or_default(),
                was: was.as_str(),
                became: after.state.as_str(),
            };
            audit_log::insert(db, act, now)?;
            Ok(after)
        })
        .await?;
    Ok(after)
}

/// Who else could agree to a refund above the limit.
///
/// # Errors
/// The books.
pub async fn has_second_admin(app: &App, actor: &User) -> Result<bool, FlowError> {
    let id = actor.id;
    Ok(app.store.read(move |db| users::another_admin(db, id)).await?)
}
