//! Asking for a refund: its amount is reserved and everything written down before the gateway hears of it, and a
//! large one waits for a second administrator.

use super::{
    FlowError,
    query::{self, Confirmed},
    refund::first_step,
    refund_standing::{Rules, Standing},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::{OutRefundNo, OutTradeNo},
        money::Fen,
        refund::{Refund, RefundState},
        user::User,
    },
    store::{
        Db, StoreError,
        audit_log::{self, Act},
        orders, refund_settlement,
        refunds::{self, NewRefund},
        work_items::UncreditedPayment,
    },
};

/// What the payer reads is at most this long, in bytes of UTF-8, the safe reading of `refund_desc` String(80) on
/// page 4011984092: 26 Chinese characters.
const LONGEST_REASON: usize = 80;

/// Why a payment goes back, as the payer reads it: 1 to 80 bytes, no control characters, none of four bytes, which the
/// gateway refuses or mangles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// Why a text is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReason {
    Empty,
    TooLong,
    /// An emoji, a rare character or a line break.
    Unreadable,
}

impl Reason {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Reason, BadReason> {
        let text = text.trim();
        match text {
            "" => Err(BadReason::Empty),
            text if text.chars().any(|c| c.is_control() || c.len_utf8() == 4) => Err(BadReason::Unreadable),
            text if text.len() > LONGEST_REASON => Err(BadReason::TooLong),
            text => Ok(Reason(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
    /// See `Reason`.
    pub reason: String,
    /// A random id of the form: the same twice is the same refund.
    pub intent: String,
}

/// Why a refund goes on although an administrator would give it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The gateway has taken it on, or it has ended, or nobody has agreed yet.
    NotAsking,
    /// A request may still be on its way.
    TooSoon,
    /// The gateway did not say that it knows no such refund.
    NotDenied,
}

/// Why there is no refund. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    #[error("no such payment")]
    NotFound,
    #[error("not paid")]
    NotPaid,
    #[error("the work item was closed")]
    Closed,
    #[error("the amount must be at least one fen")]
    NoAmount,
    #[error("only {0} of this payment is left to refund")]
    TooMuch(Fen),
    #[error("50 refunds of this payment were sent, which is all the gateway makes")]
    TooMany,
    #[error("the gateway refunds within a year of the payment only")]
    TooOld,
    #[error("the user's balance does not hold this amount any more")]
    Spent,
    #[error("the reason cannot be used: {0:?}")]
    BadReason(BadReason),
    #[error("the form carries no usable intent")]
    BadIntent,
    #[error("this form was already used for another refund")]
    IntentReused,
    #[error("the payment was made to another merchant account or environment")]
    OtherAccount,
    #[error("this payment was credited to a user")]
    Credited,
    /// What the gateway said instead, if it gave a usable answer.
    #[error("the gateway does not confirm this payment: {0:?}")]
    NotConfirmed(Option<String>),
    #[error("no client certificate is configured: WECHAT_CERT_PEM and WECHAT_KEY_PEM")]
    NoCertificate,
    #[error("the one who asks for a refund cannot approve it")]
    OwnRequest,
    #[error("it was decided before")]
    DecidedBefore,
    #[error("it is not given up: {0:?}")]
    NotGivenUp(Kept),
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for RefundError {
    fn from(error: StoreError) -> RefundError {
        RefundError::Flow(FlowError::Store(error))
    }
}

/// How a payment stands; what a form shows before anybody asks.
///
/// # Errors
/// Why no refund of it can be asked for; the books.
pub async fn standing(app: &App, payment: &Payment) -> Result<Standing, RefundError> {
    let (rules, payment) = (Rules::of(app), payment.clone());
    app.store.read(move |db| rules.standing(db, &payment)).await?
}

/// Reserves and writes a refund, then asks the gateway unless a second administrator has to agree first. The same
/// intent gives the same refund.
///
/// # Errors
/// Why nothing was written; the books, which may have written it nevertheless.
pub async fn request(app: &App, actor: &User, wish: Wish) -> Result<Refund, RefundError> {
    let reason = Reason::parse(&wish.reason).map_err(RefundError::BadReason)?;
    if !(8..=64).contains(&wish.intent.len())
        || !wish.intent.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err(RefundError::BadIntent);
    }
    let desk = Desk {
        rules: Rules::of(app),
        actor: actor.username.clone(),
        number: app.clock.out_refund_no().map_err(FlowError::NoEntropy)?,
        reason,
    };
    if let Payment::OfWorkItem(_) = wish.payment {
        confirm(app, &desk, &wish).await?;
    }
    let written = app.store.write(move |db| desk.write(db, &wish)).await??;
    Ok(first_step(app, written).await)
}

/// A message said that this payment was made; before the first money is sent back for it, the gateway itself is asked.
/// After that WeChat would answer REFUND.
async fn confirm(app: &App, desk: &Desk, wish: &Wish) -> Result<(), RefundError> {
    let (desk, wish, amount) = (desk.clone(), wish.clone(), wish.amount);
    let found = app.store.read(move |db| match desk.known(db, &wish)? {
        Some(known) => Ok(known.map(|_| None)),
        None => Ok(desk.rules.standing(db, &wish.payment)?.map(Some)),
    });
    let Some(standing) = found.await?? else { return Ok(()) };
    standing.allows(amount)?;
    if standing.count > 0 {
        return Ok(());
    }
    let payment = UncreditedPayment {
        provider: standing.provider,
        account: standing.account,
        environment: standing.environment,
        out_trade_no: standing.out_trade_no,
        transaction_id: standing.transaction_id,
        amount: standing.total,
        reserved: standing.reserved,
    };
    let verified = match query::confirm(app, &payment).await? {
        Confirmed::Paid(verified, _) => verified,
        Confirmed::Said(said) => return Err(RefundError::NotConfirmed(Some(said))),
        Confirmed::NoAnswer => return Err(RefundError::NotConfirmed(None)),
    };
    if *verified.transaction_id() != payment.transaction_id || verified.amount() != payment.amount {
        let said = format!("SUCCESS {} {}", verified.transaction_id(), verified.amount());
        return Err(RefundError::NotConfirmed(Some(said)));
    }
    Ok(())
}

/// Everything about a request but the wish, so that one transaction can decide.
#[derive(Clone, Debug)]
struct Desk {
    rules: Rules,
    actor: String,
    number: OutRefundNo,
    reason: Reason,
}

impl Desk {
    /// One transaction: known intent, facts, reservation, hold, refund, audit.
    fn write(&self, db: &mut Db, wish: &Wish) -> Result<Result<Refund, RefundError>, StoreError> {
        if let Some(known) = self.known(db, wish)? {
            return Ok(known);
        }
        let standing = match self.rules.standing(db, &wish.payment)? {
            Ok(standing) => standing,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Err(refused) = standing.allows(wish.amount) {
            return Ok(Err(refused));
        }
        if !reserve(db, &standing, wish.amount)? {
            return Ok(Err(RefundError::TooMuch(standing.left())));
        }
        let id = refunds::insert(db, &self.refund(&standing, wish))?;
        let refund = refunds::by_id(db, id)?.ok_or(StoreError::Unreadable("refund"))?;
        self.record(db, &standing, &refund)?;
        Ok(Ok(refund))
    }

    /// The refund this form has made before, if it was for the same.
    fn known(&self, db: &mut Db, wish: &Wish) -> Result<Option<Result<Refund, RefundError>>, StoreError> {
        let Some(known) = refunds::by_intent(db, &self.actor, &wish.intent)? else { return Ok(None) };
        let same_payment = match &wish.payment {
            Payment::OfOrder(number) => {
                orders::by_number(db, number)?.is_some_and(|order| known.order_id == Some(order.id))
            }
            Payment::OfWorkItem(id) => known.work_item_id == Some(*id),
        };
        let same = same_payment && known.amount == wish.amount;
        Ok(Some(if same { Ok(known) } else { Err(RefundError::IntentReused) }))
    }

    fn refund(&self, standing: &Standing, wish: &Wish) -> NewRefund {
        let (now, waiting) = (self.rules.now, standing.second_admin_above(wish.amount).is_some());
        NewRefund {
            out_refund_no: self.number.clone(),
            intent: wish.intent.clone(),
            order_id: standing.order_id,
            work_item_id: standing.work_item_id,
            user_id: standing.owner.as_ref().map(|owner| owner.id),
            provider: standing.provider,
            account: standing.account.clone(),
            environment: standing.environment,
            out_trade_no: standing.out_trade_no.clone(),
            transaction_id: standing.transaction_id.clone(),
            total: standing.total,
            amount: wish.amount,
            reason: self.reason.as_str().to_owned(),
            notify_url: self.rules.notify_url(standing),
            requested_by: self.actor.clone(),
            requested_at: now,
            state: if waiting { RefundState::Waiting } else { RefundState::Asking },
            next_at: (!waiting).then_some(now),
        }
    }

    fn record(&self, db: &mut Db, standing: &Standing, refund: &Refund) -> Result<(), StoreError> {
        let left = standing.left();
        let after = Fen::new(left.get().saturating_sub(refund.amount.get())).unwrap_or_default();
        let act = Act {
            actor: &self.actor,
            action: "refund_requested",
            target: refund.out_refund_no.as_str(),
            detail: &format!("{} of {}: {}", refund.amount, standing.out_trade_no, refund.reason),
            was: &format!("refundable {left}"),
            became: &format!("refundable {after}, {}", refund.state.as_str()),
        };
        audit_log::insert(db, act, self.rules.now)?;
        refund_settlement::tell(db, refund, refund.state.as_str(), self.rules.now)
    }
}

fn reserve(db: &mut Db, standing: &Standing, amount: Fen) -> Result<bool, StoreError> {
    if canary::sings(Canary::RefundUnlocked) {
        return Ok(true);
    }
    match (standing.order_id, standing.work_item_id) {
        (Some(id), _) => refunds::reserve_of_order(db, id, amount),
        (None, Some(id)) => refunds::reserve_of_work_item(db, id, amount),
        (None, None) => Ok(false),
    }
}
