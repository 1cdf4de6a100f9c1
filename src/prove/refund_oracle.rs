//! What must hold of refunds: our books against the gateway's own.

use super::{oracle::Oracle, world::World};
use crate::{
    domain::{
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    simulator::{RefundStatus, RefundView},
    store::{Db, StoreError, audit_log, refunds},
};
use std::{collections::BTreeMap, sync::atomic::Ordering};

/// More refunds than any world makes.
const ALL: i64 = 100_000;
/// An unfinished refund is looked at within an hour, wherever clocks stand, in ms.
const LOOK_MS: i64 = 3_600_000;
/// Its answer may be lost some times before that, in ms.
const SLACK_MS: i64 = 15 * 60_000;

impl Oracle {
    /// Fen of each user that refunds have taken or hold.
    pub(super) fn held(refunds: &[Refund]) -> BTreeMap<i64, i64> {
        let mut held = BTreeMap::new();
        for refund in refunds.iter().filter(|refund| refund.state.is_reserved()) {
            if let Some(user_id) = refund.user_id {
                let sum: &mut i64 = held.entry(user_id).or_default();
                *sum = sum.saturating_add(refund.amount.get());
            }
        }
        held
    }

    /// Each refund at the gateway is one of ours, and each of ours stands where the gateway allows.
    pub(super) fn inspect_refunds(&self, world: &World, ours: &[Refund]) {
        let theirs = world.simulator.refunds();
        for refund in theirs.iter().filter(|refund| !refund.elsewhere) {
            let known = ours.iter().find(|known| known.out_refund_no.as_str() == refund.out_refund_no);
            let fits = known.is_some_and(|known| {
                known.amount == refund.amount && known.transaction_id.as_str() == refund.transaction_id
            });
            if !fits {
                self.report(&format!("refund {} at the gateway is not in the books", refund.out_refund_no));
            }
        }
        for refund in ours {
            let number = refund.out_refund_no.as_str();
            let there = theirs.iter().find(|their| their.out_refund_no == number);
            if !allowed(refund.state, there) {
                let (state, there) = (refund.state.as_str(), there.map(|their| their.status.as_str()));
                self.report(&format!("refund {number} is {state} here and {there:?} at the gateway"));
            }
        }
    }

    /// At the end every refund is where the gateway has it, or is looked at within the hour.
    pub(super) fn judge_refunds(&self, world: &World, healed_at: UnixMs) {
        let Some(Ok(ours)) = world.store.look(every_refund) else {
            return self.report("the books cannot be read");
        };
        self.judge_given_up(world, &ours);
        let (theirs, now) = (world.simulator.refunds(), world.clock.now());
        for refund in ours.iter().filter(|refund| !refund.state.is_final()) {
            let number = refund.out_refund_no.as_str();
            let looked_at = refund.next_at.is_some_and(|at| at.since(now) <= LOOK_MS);
            if refund.state != RefundState::Waiting && !looked_at {
                self.report(&format!("refund {number} is unfinished and nobody will look at it"));
            }
            let ended = theirs.iter().find(|their| {
                their.out_refund_no == number
                    && matches!(their.status, RefundStatus::Success | RefundStatus::Closed)
            });
            let by = ended.map(|their| their.ends_at.max(healed_at).plus_ms(LOOK_MS).plus_ms(SLACK_MS));
            if by.is_some_and(|by| now > by) {
                self.report(&format!("refund {number} ended at the gateway long ago and not here"));
            }
        }
    }

    /// What was given up stands in the audit log once, under a clerk's name and with a reason.
    fn judge_given_up(&self, world: &World, ours: &[Refund]) {
        let given_up: Vec<&Refund> = ours.iter().filter(|refund| refund.is_given_up()).collect();
        self.count_given_up(given_up.iter().filter(|refund| refund.asked > 0).count());
        let numbers: Vec<&str> = given_up.iter().map(|refund| refund.out_refund_no.as_str()).collect();
        let acts = world.store.look(|db| audit_log::of_targets(db, &numbers, &["refund_given_up"]));
        let Some(Ok(acts)) = acts else { return self.report("the books cannot be read") };
        for number in numbers {
            let by_clerk = |actor: &str| world.clerks.iter().any(|clerk| clerk.username == actor);
            let of_refund = acts.iter().filter(|act| act.target == number);
            let signed = of_refund.filter(|act| by_clerk(&act.actor) && !act.detail.is_empty()).count();
            if signed != 1 {
                self.report(&format!("refund {number} was given up, and the audit log has {signed} of it"));
            }
        }
    }

    /// Nothing hinders it, and an unfinished refund is overdue.
    pub(super) fn inspect_refund_pace(&self, world: &World, next_refund: Option<i64>, limit_ms: i64) {
        let overdue = next_refund.is_some_and(|at| world.clock.now().since(UnixMs(at)) > limit_ms);
        if world.swarm.calm && overdue && world.weather.spoiled.load(Ordering::Relaxed) == 0 {
            self.report("a refund is overdue although nothing hinders it");
        }
    }
}

/// Unfinished and ended.
pub(super) fn every_refund(db: &mut Db) -> Result<Vec<Refund>, StoreError> {
    let mut all = refunds::open(db, ALL)?;
    all.extend(refunds::ended(db, None, ALL)?);
    Ok(all)
}

/// What ours may be, by what the gateway has. It may always know more than we have heard.
fn allowed(ours: RefundState, there: Option<&RefundView>) -> bool {
    match ours {
        RefundState::Waiting | RefundState::Rejected => there.is_none(),
        RefundState::Asking => true,
        RefundState::Processing | RefundState::Abnormal => there.is_some(),
        RefundState::Success => there.is_some_and(|their| their.status == RefundStatus::Success),
        RefundState::Closed => there.is_some_and(|their| their.status == RefundStatus::Closed),
        RefundState::Failed => there.is_none_or(|their| their.status == RefundStatus::Closed),
    }
}
