//! Putting a balance right by hand: a named person, a reason, and above the limit a second person. Never below zero.

use super::FlowError;
use crate::{
    app::App,
    domain::{
        ledger::Account,
        money::{Fen, yuan_text},
        time::UnixMs,
        user::User,
    },
    store::{
        Db, StoreError,
        adjustments::{self, Adjustment, AdjustmentState, Made, NewAdjustment},
        audit_log::{self, Act},
        ledger, users,
    },
};

/// What was moved in a user's balance, asked for by one administrator, or credited on one person's word, within this
/// time counts together, in ms: nothing large is split into small ones.
pub(super) const TOGETHER_MS: i64 = 24 * 3_600_000;

/// What an administrator wants.
#[derive(Clone, Debug)]
pub struct Wish {
    pub user_id: i64,
    /// What it adds to the balance; below zero it takes away.
    pub fen: i64,
    pub reason: String,
    /// A random id of the form: the same twice is the same adjustment.
    pub intent: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AdjustError {
    #[error("no such user or adjustment")]
    NotFound,
    #[error("a reason is needed")]
    NoReason,
    #[error("the amount is nothing, or more than this system can hold")]
    BadAmount,
    #[error("the form carries no usable intent")]
    BadIntent,
    #[error("this form was already used for another adjustment")]
    IntentReused,
    #[error("the balance is only {0} fen")]
    BelowZero(i64),
    #[error("the one who asks for an adjustment cannot approve it")]
    OwnRequest,
    #[error("nobody adjusts their own balance or agrees to it")]
    OwnBalance,
    #[error("it was decided before")]
    DecidedBefore,
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl From<StoreError> for AdjustError {
    fn from(error: StoreError) -> AdjustError {
        AdjustError::Flow(FlowError::Store(error))
    }
}

/// Adjusts a balance, or writes down that a second administrator has to agree. The same intent gives the same.
///
/// # Errors
/// Why nothing was written; the books.
pub async fn request(app: &App, actor: &User, wish: Wish) -> Result<Adjustment, AdjustError> {
    let reason = wish.reason.trim().to_owned();
    if reason.is_empty() {
        return Err(AdjustError::NoReason);
    }
    let size = wish.fen.checked_abs().and_then(Fen::new).filter(|size| *size > Fen::ZERO);
    let Some(size) = size else { return Err(AdjustError::BadAmount) };
    if !(8..=64).contains(&wish.intent.len())
        || !wish.intent.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Err(AdjustError::BadIntent);
    }
    let new = NewAdjustment {
        intent: wish.intent,
        user_id: wish.user_id,
        fen: wish.fen,
        reason,
        requested_by: actor.username.clone(),
        requested_at: app.clock.now(),
    };
    let limit = app.config.refund_second_admin_above;
    let done = app.store.write(move |db| write(db, &new, size, limit)).await??;
    if done.state == AdjustmentState::Made {
        tracing::warn!(
            user = done.user_id,
            fen = done.fen,
            "the balance of user {} was adjusted",
            done.user_id
        );
    }
    Ok(done)
}

/// One transaction: known intent, facts, the row, and unless a second person is needed the entry and the audit.
fn write(
    db: &mut Db,
    new: &NewAdjustment,
    size: Fen,
    limit: Fen,
) -> Result<Result<Adjustment, AdjustError>, StoreError> {
    if let Some(known) = adjustments::by_intent(db, &new.requested_by, &new.intent)? {
        let same = known.user_id == new.user_id && known.fen == new.fen;
        return Ok(if same { Ok(known) } else { Err(AdjustError::IntentReused) });
    }
    let Some(owner) = users::by_id(db, new.user_id)? else { return Ok(Err(AdjustError::NotFound)) };
    if owner.username == new.requested_by {
        return Ok(Err(AdjustError::OwnBalance));
    }
    let balance = ledger::balance(db, &Account::User(new.user_id))?;
    if balance.saturating_add(new.fen) < 0 {
        return Ok(Err(AdjustError::BelowZero(balance)));
    }
    let since = new.requested_at.plus_ms(TOGETHER_MS.saturating_neg());
    let of_user = adjustments::moved_since(db, new.user_id, since)?;
    let of_actor = adjustments::asked_by_since(db, &new.requested_by, since)?;
    let lately = of_user.max(of_actor);
    let asked = adjustments::insert(db, new)?;
    if lately.saturating_add(size.get()) > limit.get() {
        let act = Act {
            actor: &new.requested_by,
            action: "adjustment_requested",
            target: &asked.id.to_string(),
            detail: &described(&asked),
            was: &format!("balance {balance}"),
            became: "waiting",
        };
        audit_log::insert(db, act, new.requested_at)?;
        return Ok(Ok(asked));
    }
    make(db, &asked, None, "", new.requested_at)
}

fn make(
    db: &mut Db,
    asked: &Adjustment,
    decided_by: Option<&str>,
    note: &str,
    now: UnixMs,
) -> Result<Result<Adjustment, AdjustError>, StoreError> {
    let balance = match adjustments::make(db, asked, decided_by, now)? {
        Made::Done { balance } => balance,
        Made::Before => return Ok(Err(AdjustError::DecidedBefore)),
        Made::BelowZero { balance } => return Ok(Err(AdjustError::BelowZero(balance))),
    };
    let detail = described(asked);
    let act = Act {
        actor: decided_by.unwrap_or(&asked.requested_by),
        action: "balance_adjusted",
        target: &asked.id.to_string(),
        detail: &if note.is_empty() { detail } else { format!("{detail} ({note})") },
        was: &format!("balance {}", balance.saturating_sub(asked.fen)),
        became: &format!("balance {balance}"),
    };
    audit_log::insert(db, act, now)?;
    Ok(Ok(adjustments::by_id(db, asked.id)?.unwrap_or_else(|| asked.clone())))
}

fn described(asked: &Adjustment) -> String {
    format!("¥{} of user {}: {}", yuan_text(asked.fen), asked.user_id, asked.reason)
}

/// A second administrator agrees, and the balance is adjusted; or says no. Who asked may take it back.
///
/// # Errors
/// Why nothing was changed; the books.
pub async fn decide(
    app: &App,
    actor: &User,
    id: i64,
    agreed: bool,
    note: &str,
) -> Result<Adjustment, AdjustError> {
    let note = note.trim().to_owned();
    if note.is_empty() {
        return Err(AdjustError::NoReason);
    }
    let (name, now) = (actor.username.clone(), app.clock.now());
    let decided = app.store.write(move |db| {
        let Some(asked) = adjustments::by_id(db, id)? else { return Ok(Err(AdjustError::NotFound)) };
        let own = asked.requested_by == name;
        if agreed && own {
            return Ok(Err(AdjustError::OwnRequest));
        }
        if agreed && users::by_id(db, asked.user_id)?.is_some_and(|owner| owner.username == name) {
            return Ok(Err(AdjustError::OwnBalance));
        }
        if agreed {
            return make(db, &asked, Some(&name), &note, now);
        }
        let (state, action, by) = match own {
            true => (AdjustmentState::Withdrawn, "adjustment_withdrawn", None),
            false => (AdjustmentState::Rejected, "adjustment_rejected", Some(name.as_str())),
        };
        if !adjustments::drop_it(db, id, state, by, now)? {
            return Ok(Err(AdjustError::DecidedBefore));
        }
        let target = &id.to_string();
        let act = Act { actor: &name, action, target, detail: &note, was: "waiting", became: state.as_str() };
        audit_log::insert(db, act, now)?;
        Ok(Ok(adjustments::by_id(db, id)?.unwrap_or(asked)))
    });
    decided.await?
}
