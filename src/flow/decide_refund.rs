//! What administrators do about a refund that is written: agree or not, ask now, give up one that nobody will make.

use super::{
    FlowError,
    refund::{first_step, is_foreign, is_unknown_there, look},
    request_refund::{Kept, RefundError},
};
use crate::{
    app::App,
    canary::{self, Canary},
    domain::{
        ids::OutRefundNo,
        refund::{Refund, RefundState},
        user::{Right, User},
    },
    store::{
        StoreError,
        audit_log::{self, Act},
        refund_settlement::{self, Decided},
        refunds, users,
    },
};

/// The acts that a refund knows, as the audit log names them, whose notes are shown with it.
pub const ACTS: [&str; 4] = ["refund_approved", "refund_rejected", "refund_withdrawn", "refund_given_up"];

/// A second administrator agrees, and the gateway is asked; or says no, and everything is as before. Who asked
/// for it may take it back while it waits.
///
/// # Errors
/// No such refund; the one who asked agrees to it; it was decided before; the books.
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
            match refund_settlement::decide(db, &refund, &name, agreed, now)? {
                Decided::Done => {}
                Decided::Before => return Ok(Err(RefundError::DecidedBefore)),
                Decided::OwnRequest => return Ok(Err(RefundError::OwnRequest)),
            }
            let act = Act {
                actor: &name,
                action: match agreed {
                    true => "refund_approved",
                    false if refund.requested_by == name => "refund_withdrawn",
                    false => "refund_rejected",
                },
                target: number.as_str(),
                detail: &note,
                was: refund.state.as_str(),
                became: if agreed { "asking" } else { "rejected" },
            };
            audit_log::insert(db, act, now)?;
            Ok(Ok(refunds::by_id(db, refund.id)?.unwrap_or(refund)))
        })
        .await??;
    Ok(first_step(app, decided).await)
}

/// An administrator wants to know now: queries, and asks again if the gateway knows nothing of it. Written down
/// before it happens.
///
/// # Errors
/// The books.
pub async fn look_now(app: &App, actor: &User, refund: &Refund) -> Result<Refund, RefundError> {
    let (name, asked, now) = (actor.username.clone(), refund.clone(), app.clock.now());
    app.store
        .write(move |db| {
            let act = Act {
                actor: &name,
                action: "refund_queried",
                target: asked.out_refund_no.as_str(),
                was: asked.state.as_str(),
                ..Act::default()
            };
            audit_log::insert(db, act, now)
        })
        .await?;
    look(app, refund).await?;
    let id = refund.id;
    Ok(app.store.read(move |db| refunds::by_id(db, id)).await?.ok_or(StoreError::Unreadable("refund"))?)
}

/// Ends a refund that the gateway will not make, and gives its amount back. One that was sent is given up only when
/// the gateway, asked now, knows no such refund and the last request is so old that none can be on its way.
///
/// # Errors
/// Why it goes on; it was made for another account, so nobody can be asked; the books.
pub async fn give_up(app: &App, actor: &User, refund: &Refund, note: String) -> Result<Refund, RefundError> {
    if refund.state != RefundState::Asking {
        return Err(RefundError::NotGivenUp(Kept::NotAsking));
    }
    let hasty = canary::sings(Canary::GivenUpTooSoon) || canary::sings(Canary::GivenUpByOneClock);
    if !refund.is_quiet(app.clock.now()) && !hasty {
        return Err(RefundError::NotGivenUp(Kept::TooSoon));
    }
    if refund.asked > 0 {
        if is_foreign(app, refund) {
            return Err(RefundError::OtherAccount);
        }
        if !is_unknown_there(app, refund).await? {
            return Err(RefundError::NotGivenUp(Kept::NotDenied));
        }
    }
    let (name, wanted, now) = (actor.username.clone(), refund.clone(), app.clock.now());
    let given_up = app.store.write(move |db| {
        if !refund_settlement::give_up(db, &wanted, now)? {
            return Ok(None);
        }
        let act = Act {
            actor: &name,
            action: "refund_given_up",
            target: wanted.out_refund_no.as_str(),
            detail: &note,
            was: wanted.state.as_str(),
            became: RefundState::Failed.as_str(),
        };
        audit_log::insert(db, act, now)?;
        refunds::by_id(db, wanted.id)
    });
    let given_up = given_up.await?.ok_or(RefundError::NotGivenUp(Kept::TooSoon))?;
    let number = &given_up.out_refund_no;
    tracing::warn!(out_refund_no = %number, "refund {number} was given up by {}", actor.username);
    Ok(given_up)
}

/// Who else could agree to a refund above the limit.
///
/// # Errors
/// The books.
pub async fn has_second_admin(app: &App, actor: &User) -> Result<bool, FlowError> {
    let id = actor.id;
    Ok(app.store.read(move |db| users::another_with(db, Right::Money, id)).await?)
}
