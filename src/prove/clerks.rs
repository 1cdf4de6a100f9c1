//! Administrators of a world: they send payments back, in parts, too much, twice at once, decide about what another
//! has asked for, and sort out by hand what needs a person.

use super::world::World;
use crate::{
    domain::{
        ids::OutRefundNo,
        money::Fen,
        order::Settled,
        refund::{Refund, RefundState},
        user::User,
    },
    flow::{
        credit_by_hand, decide_refund,
        request_refund::{self, Payment, RefundError, Wish},
        work,
    },
    store::{Db, StoreError, orders, refunds, work_items, work_items::WorkItem},
};
use futures_util::future::join;
use std::sync::Arc;

/// More orders and items than any world makes.
const ALL: i64 = 100_000;

/// Works until the faults end.
pub async fn clerk(world: Arc<World>, me: User) {
    let longest = u64::try_from(world.swarm.chaos_ms).unwrap_or_default().checked_div(12).unwrap_or_default();
    loop {
        world.clock.sleep(world.dice.ms(10_000, longest)).await;
        if world.healed() {
            return;
        }
        // Some only where there are clerks who sort out exceptions, and the last ones where refunds hang.
        let acts = match (world.swarm.hangs, world.swarm.exceptions) {
            (true, _) => 16,
            (false, true) => 12,
            (false, false) => 8,
        };
        match world.dice.below(acts) {
            0 => sort_out(&world),
            1 => look_now(&world, &me).await,
            2 | 3 => decide(&world, &me).await,
            8 | 12.. => give_up(&world, &me).await,
            9 | 10 => credit_by_hand(&world, &me).await,
            11 => deal_with(&world, &me).await,
            _ => send_back(&world, &me).await,
        }
    }
}

/// A payment that is in the books, and what is left of it.
fn payments(db: &mut Db, world: &World) -> Result<Vec<(Payment, Fen)>, StoreError> {
    let mut all = Vec::new();
    for user in &world.users {
        for order in orders::of_user(db, user.user_id, None, ALL)?.into_iter().filter(|o| o.is_paid()) {
            all.push((Payment::OfOrder(order.out_trade_no.clone()), order.refundable()));
        }
    }
    for item in work_items::list(db, None, ALL)?.into_iter().filter(|item| item.closed_at.is_none()) {
        if let Some(payment) = item.payment() {
            let left = payment.amount.get().saturating_sub(payment.reserved.get());
            all.push((Payment::OfWorkItem(item.id), Fen::new(left).unwrap_or_default()));
        }
    }
    Ok(all)
}

async fn send_back(world: &Arc<World>, me: &User) {
    let Some(Ok(known)) = world.store.look(|db| payments(db, world)) else { return };
    let Some((payment, left)) = known.get(world.dice.index(known.len())).cloned() else { return };
    let most = u64::try_from(left.get()).unwrap_or_default();
    let fen = match world.dice.below(6) {
        0 | 1 => most,
        2 => most.saturating_add(world.dice.between(1, 1_000)),
        _ => world.dice.between(1, most),
    };
    let amount = i64::try_from(fen).ok().and_then(Fen::new).unwrap_or_default();
    let Ok(intent) = world.clock.nonce() else { return };
    let wish = Wish { payment, amount, reason: "用户申请".to_owned(), intent };
    if world.dice.permille(300) {
        let (a, b) = join(ask(world, me, &wish), ask(world, me, &wish)).await;
        if let (Some(Ok(a)), Some(Ok(b))) = (a, b)
            && a.out_refund_no != b.out_refund_no
        {
            world.oracle.report("one intent made two refunds");
        }
    } else {
        ask(world, me, &wish).await;
    }
}

async fn ask(world: &Arc<World>, me: &User, wish: &Wish) -> Option<Result<Refund, RefundError>> {
    let (me, wish, amount) = (me.clone(), wish.clone(), wish.amount);
    let asked = world.ask(move |app| async move { request_refund::request(&app, &me, wish).await }).await;
    match &asked {
        Some(Ok(refund)) => {
            let (number, state) = (&refund.out_refund_no, refund.state.as_str());
            world.note(|| format!("refund {number} of {amount}: {state}"));
        }
        Some(Err(error)) => world.note(|| format!("no refund of {amount}: {error}")),
        None => {}
    }
    asked
}

/// Says yes or no to what waits, now and then also to what is one's own, which must not help.
async fn decide(world: &Arc<World>, me: &User) {
    let Some(Ok(open)) = world.store.look(|db| refunds::open(db, ALL)) else { return };
    let waiting: Vec<Refund> = open.into_iter().filter(|r| r.state == RefundState::Waiting).collect();
    let Some(refund) = waiting.get(world.dice.index(waiting.len())).cloned() else { return };
    let (agreed, own) = (world.dice.permille(700), refund.requested_by == me.username);
    let (me, number) = (me.clone(), refund.out_refund_no.clone());
    let decided = world
        .ask(move |app| async move { decide_refund::decide(&app, &me, &number, agreed, String::new()).await })
        .await;
    if let Some(Ok(_)) = decided {
        world.note(|| format!("refund {} is decided: {agreed}", refund.out_refund_no));
        if own && agreed {
            world.oracle.report("somebody has agreed to a refund of their own");
        }
    }
}

async fn look_now(world: &Arc<World>, me: &User) {
    let Some(Ok(open)) = world.store.look(|db| refunds::open(db, ALL)) else { return };
    let Some(refund) = open.get(world.dice.index(open.len())).cloned() else { return };
    let me = me.clone();
    // Whatever comes of it is in the books.
    let _ = world
        .ask(move |app| async move { decide_refund::look_now(&app, &me, &refund).await.map(|_| ()) })
        .await;
}

/// Somebody acts at the gateway's own pages about a refund that hangs there.
fn sort_out(world: &World) {
    let open: Vec<OutRefundNo> =
        world.simulator.refunds().iter().filter_map(|r| OutRefundNo::parse(&r.out_refund_no)).collect();
    let Some(number) = open.get(world.dice.index(open.len())) else { return };
    if world.simulator.resolve_refund(number.as_str()).is_ok() {
        world.note(|| format!("refund {number} is sorted out at the gateway"));
    }
}

/// Ends a refund that hangs; the flow knows when that is too early.
async fn give_up(world: &Arc<World>, me: &User) {
    let Some(Ok(open)) = world.store.look(|db| refunds::open(db, ALL)) else { return };
    let asking: Vec<Refund> = open.into_iter().filter(|r| r.state == RefundState::Asking).collect();
    let Some(refund) = asking.get(world.dice.index(asking.len())).cloned() else { return };
    let (me, number) = (me.clone(), refund.out_refund_no.clone());
    let given_up = world
        .ask(
            move |app| async move { decide_refund::give_up(&app, &me, &refund, "不会再退".to_owned()).await },
        )
        .await;
    match given_up {
        Some(Ok(_)) => world.note(|| format!("refund {number} is given up")),
        Some(Err(error)) => world.note(|| format!("refund {number} goes on: {error}")),
        None => {}
    }
}

/// One of those wanted for the most part, and now and then any other.
fn item(world: &World, wanted: impl Fn(&WorkItem) -> bool) -> Option<WorkItem> {
    let all = world.store.look(|db| work_items::list(db, None, ALL))?.ok()?;
    let some: Vec<WorkItem> = all.iter().filter(|item| wanted(item)).cloned().collect();
    let some = if some.is_empty() || world.dice.permille(200) { all } else { some };
    some.get(world.dice.index(some.len())).cloned()
}

async fn credit_by_hand(world: &Arc<World>, me: &User) {
    // Of the payments that a person may credit those that were made; what is forged is among the others.
    let paid_twice =
        |item: &WorkItem| item.closed_at.is_none() && item.kind == Settled::SecondPayment.verdict();
    let Some(item) = item(world, paid_twice) else { return };
    let reason = if world.dice.permille(100) { " " } else { "用户来电，已核对" };
    let (work_item_id, username) = (item.id, "user0".to_owned());
    let wish = credit_by_hand::Wish { work_item_id, username, reason: reason.to_owned() };
    if world.dice.permille(300) {
        join(credit(world, me, &wish), credit(world, me, &wish)).await;
    } else {
        credit(world, me, &wish).await;
    }
}

async fn credit(world: &Arc<World>, me: &User, wish: &credit_by_hand::Wish) {
    let (id, me, wish) = (wish.work_item_id, me.clone(), wish.clone());
    match world.ask(move |app| async move { credit_by_hand::credit(&app, &me, wish).await }).await {
        Some(Ok(who)) => world.note(|| format!("work item {id} is credited by hand to {who}")),
        Some(Err(error)) => world.note(|| format!("work item {id} is not credited by hand: {error}")),
        None => {}
    }
}

/// Notes something on an item, or closes it.
async fn deal_with(world: &Arc<World>, me: &User) {
    let Some(WorkItem { id, .. }) = item(world, |item| item.closed_at.is_none()) else { return };
    let me = me.clone();
    if world.dice.permille(500) {
        let noted =
            world.ask(move |app| async move { work::note(&app, &me, id, "等用户回电".to_owned()).await });
        if let Some(Ok(true)) = noted.await {
            world.note(|| format!("work item {id} is noted on"));
        }
        return;
    }
    let closed = world.ask(move |app| async move { work::close(&app, &me, id, "已处理".to_owned()).await });
    if let Some(Ok(closed)) = closed.await {
        world.note(|| format!("work item {id} is to be closed: {closed:?}"));
    }
}
