//! What must hold of payments that were credited by hand, and of what clerks have signed with their names.

use super::{
    oracle::{ALL, Oracle},
    world::World,
};
use crate::{
    domain::order::{Attempt, Order},
    flow::work,
    store::{Db, StoreError, audit_log, work_items, work_items::WorkItem},
};
use std::collections::{BTreeMap, BTreeSet};

/// How the note of an item begins that was closed by a credit.
const CREDITED: &str = "credited: ";

/// Items whose payment was credited by hand.
pub(super) fn credited(db: &mut Db) -> Result<Vec<WorkItem>, StoreError> {
    let mut items = work_items::list(db, None, ALL)?;
    items.retain(|item| item.note.as_ref().is_some_and(|note| note.starts_with(CREDITED)));
    Ok(items)
}

impl Oracle {
    /// Each is a payment that was made, of that amount, that paid no order and was credited once; what each user got so.
    pub(super) fn inspect_by_hand(
        &self,
        world: &World,
        items: &[WorkItem],
        orders: &[(Order, Vec<Attempt>)],
    ) -> BTreeMap<i64, i64> {
        let (mut seen, mut got) = (BTreeSet::new(), BTreeMap::new());
        for item in items {
            let (id, number) = (&item.transaction_id, &item.out_trade_no);
            let trade = world.simulator.trade(number);
            let made = trade.is_some_and(|trade| {
                trade.transaction_id.as_ref() == Some(id) && Some(trade.total_fee.get()) == item.amount_fen
            });
            let pays =
                |order: &Order| order.transaction_id.as_ref().is_some_and(|paid_by| paid_by.as_str() == id);
            if !made || !seen.insert(id) || orders.iter().any(|(order, _)| pays(order)) {
                self.report(&format!("{number} is credited by hand and should not be"));
            }
            let of =
                |attempts: &[Attempt]| attempts.iter().any(|attempt| attempt.out_trade_no.as_str() == number);
            match orders.iter().find(|(_, attempts)| of(attempts)) {
                Some((order, _)) => {
                    let sum: &mut i64 = got.entry(order.user_id).or_default();
                    *sum = sum.saturating_add(item.amount_fen.unwrap_or_default());
                }
                None => self.report(&format!("{number}, credited by hand, is no attempt of ours")),
            }
        }
        got
    }

    /// What a person has closed or credited stands in the audit log under that name, with a reason.
    pub(super) fn judge_names(&self, world: &World) {
        let found = world.store.look(|db| {
            let items = work_items::list(db, None, ALL)?;
            let ids: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Ok::<_, StoreError>((items, audit_log::of_targets(db, &ids, &work::ACTS)?))
        });
        let Some(Ok((items, acts))) = found else { return self.report("the books cannot be read") };
        for item in &items {
            let by = item.closed_by.as_deref().unwrap_or_default();
            if !world.clerks.iter().any(|clerk| clerk.username == by) {
                continue;
            }
            let by_hand = item.note.as_ref().is_some_and(|note| note.starts_with(CREDITED));
            let action = if by_hand { "payment_credited" } else { "work_item_closed" };
            let target = item.id.to_string();
            let of_item = acts.iter().filter(|act| act.target == target && act.action == action);
            let signed = of_item.filter(|act| act.actor == by && !act.detail.is_empty()).count();
            if signed == 0 || by_hand && signed > 1 {
                self.report(&format!(
                    "work item {target} was closed by {by}, and the audit log has {signed} of it"
                ));
            }
        }
    }
}
