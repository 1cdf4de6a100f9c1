//! What must hold: after every commit, and once the faults have ended.
//! It compares the books with WeChat's own; the shop never sees it.

use super::{
    answers::evidence,
    hand_oracle,
    machine::locked,
    refund_oracle::every_refund,
    world::{Payment, World},
};
use crate::{
    domain::{
        ledger::Account,
        order::{Attempt, Channel, Order, Provider},
        refund::Refund,
        time::UnixMs,
    },
    flow::notify::can_replay,
    gateway::Protocol,
    simulator::TradeState,
    store::{
        Db, StoreError, attempts, books, ledger, orders, pending, settlement::REFUNDED_ELSEWHERE, work_items,
        work_items::WorkItem,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, atomic::Ordering},
};

/// More orders, items and messages than any world makes.
pub(super) const ALL: i64 = 100_000;
/// A payment that no callback reports is credited within this, in ms.
const UNTOLD_MS: i64 = 120_000;
/// And within this once the payer's page has come back, in ms.
const RETURNED_MS: i64 = 5_000;
/// A query whose time has come is asked within this, in ms.
const OVERDUE_MS: i64 = 10_000;
/// An order is paid or closed within this after its time, in ms.
const DONE_MS: i64 = 15 * 60_000;
/// The farthest a clock was off, in ms: a plan made by it lies so much later.
const CLOCK_OFF_MS: i64 = 10 * 60_000;

/// Certificates are asked for once a minute at most, by a round every five seconds, in ms.
const FETCH_MS: i64 = 65_000;

/// The questions about an order, in the simulator's words.
const QUERIES: [&str; 3] = ["orderquery", "transactions/out-trade-no", "alipay.trade.query"];

/// How a callback was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Success,
    Fail,
    /// No answer but an error: the gateway comes again.
    Error,
}

#[derive(Default)]
pub struct Oracle {
    seen: Mutex<Seen>,
    breach: Mutex<Option<String>>,
}

/// What was in the books when last looked at.
#[derive(Default)]
struct Seen {
    writes: u64,
    marks: String,
    paid: BTreeMap<i64, (String, UnixMs)>,
    /// Orders that are paid or closed, and since when.
    done: BTreeMap<i64, UnixMs>,
    answered_success: usize,
    given_up: usize,
    shown: BTreeMap<String, usize>,
}

/// Everything the books say about orders.
struct Books {
    orders: Vec<(Order, Vec<Attempt>)>,
    balances: Vec<(i64, i64)>,
    refunds: Vec<Refund>,
    by_hand: Vec<WorkItem>,
    broken: Vec<String>,
    /// Numbers the sweep will ask about.
    asked_about: BTreeSet<String>,
    /// Numbers with a work item.
    told: BTreeSet<String>,
}

impl Oracle {
    /// The first thing that did not hold.
    pub fn breach(&self) -> Option<String> {
        locked(&self.breach).clone()
    }

    pub fn report(&self, what: &str) {
        locked(&self.breach).get_or_insert_with(|| what.to_owned());
    }

    pub fn credits(&self) -> usize {
        locked(&self.seen).paid.len()
    }

    /// Refunds that were sent and given up by a person.
    pub fn given_up(&self) -> usize {
        locked(&self.seen).given_up
    }

    /// What the world had to show, with how often.
    pub fn shown(&self) -> BTreeMap<String, usize> {
        locked(&self.seen).shown.clone()
    }

    pub(super) fn count_shown(&self, what: String) {
        let mut seen = locked(&self.seen);
        let many = seen.shown.entry(what).or_default();
        *many = many.saturating_add(1);
    }

    pub(super) fn count_given_up(&self, many: usize) {
        locked(&self.seen).given_up = many;
    }

    /// After every step: nothing to do unless something was committed that concerns money or orders.
    pub fn look(&self, world: &World) {
        let writes = world.weather.writes.load(Ordering::Relaxed);
        if std::mem::replace(&mut locked(&self.seen).writes, writes) == writes {
            return;
        }
        let Some(pulse) = world.pulse() else { return self.report("the books cannot be read") };
        if locked(&self.seen).marks != pulse.marks {
            locked(&self.seen).marks = pulse.marks;
            self.inspect(world);
        }
        let overdue = pulse.next_query.is_some_and(|at| world.clock.now().since(UnixMs(at)) > OVERDUE_MS);
        if world.swarm.calm && overdue {
            self.report("a query is overdue although nothing hinders it");
        }
        self.inspect_refund_pace(world, pulse.next_refund, OVERDUE_MS);
    }

    /// Every rule of safety, now.
    pub fn inspect(&self, world: &World) {
        let Some(Ok(books)) = world.store.look(|db| read(db, world)) else {
            return self.report("the books cannot be read");
        };
        if let Some(broken) = books.broken.first() {
            self.report(broken);
        }
        let held = Oracle::held(&books.refunds);
        let by_hand = self.inspect_by_hand(world, &books.by_hand, &books.orders);
        for (user_id, balance) in &books.balances {
            let owned = books.orders.iter().filter(|(order, _)| order.user_id == *user_id);
            let paid: i64 = owned.filter(|(order, _)| order.is_paid()).map(|(o, _)| o.amount.get()).sum();
            let held = held.get(user_id).copied().unwrap_or_default();
            let by_hand = by_hand.get(user_id).copied().unwrap_or_default();
            if paid.saturating_add(by_hand).saturating_sub(held) != *balance {
                let what = format!(
                    "user {user_id} has {balance} fen, paid orders of {paid}, {by_hand} by hand and refunds of {held}"
                );
                self.report(&what);
            }
        }
        self.inspect_refunds(world, &books.refunds);
        for (order, attempts) in &books.orders {
            if order.is_paid() || order.closed_at.is_some() {
                locked(&self.seen).done.entry(order.id).or_insert(world.clock.now());
            }
            self.inspect_payment(world, order, attempts);
            self.inspect_closing(world, &books, order, attempts);
            self.inspect_asking(&books, order, attempts);
        }
    }

    fn inspect_payment(&self, world: &World, order: &Order, attempts: &[Attempt]) {
        let number = &order.out_trade_no;
        let paid_by = order.transaction_id.as_ref().map(|id| id.as_str().to_owned());
        let known = locked(&self.seen).paid.get(&order.id).cloned();
        match (known, paid_by) {
            (Some((before, _)), Some(now)) if before == now => {}
            (Some(_), now) => self.report(&format!("order {number} was paid and is now paid by {now:?}")),
            (None, None) => {}
            (None, Some(transaction_id)) => {
                world.note(|| format!("order {number} is credited"));
                let made = attempts.iter().find_map(|attempt| {
                    let trade = world.simulator.trade(attempt.out_trade_no.as_str())?;
                    let true_payment = trade.transaction_id.as_ref() == Some(&transaction_id)
                        && trade.total_fee == order.amount;
                    true_payment.then_some((attempt.channel, trade.protocol))
                });
                match made {
                    Some((channel, protocol)) => self.count_credit(world, channel, protocol),
                    None => self.report(&format!("order {number} is credited for a payment nobody made")),
                }
                locked(&self.seen).paid.insert(order.id, (transaction_id, world.clock.now()));
            }
        }
    }

    fn count_credit(&self, world: &World, channel: Channel, protocol: Protocol) {
        self.count_shown(format!("{channel:?} by {protocol:?}"));
        if protocol == Protocol::WechatV3 {
            let rotated = if world.simulator.is_rotated() { ", rotated" } else { "" };
            self.count_shown(format!("{:?}{rotated}", world.trust.mode));
        }
    }

    /// What somebody may still pay is still asked about, unless a person has been told.
    fn inspect_asking(&self, books: &Books, order: &Order, attempts: &[Attempt]) {
        let open = |attempt: &&Attempt| attempt.closed_at.is_none() && !order.is_paid();
        for number in attempts.iter().filter(open).map(|attempt| attempt.out_trade_no.as_str()) {
            if !books.asked_about.contains(number) && !books.told.contains(number) {
                self.report(&format!("attempt {number} is open and nobody asks about it"));
            }
        }
    }

    /// Closed here means that nobody can pay it there; and an order has one way to be paid at a time.
    fn inspect_closing(&self, world: &World, books: &Books, order: &Order, attempts: &[Attempt]) {
        // What nobody had begun to pay at Alipay could not be closed there: it is asked about until its time is over.
        let set_aside = |attempt: &Attempt| {
            attempt.channel.provider() == Provider::Alipay
                && attempt.closed_at.is_some()
                && books.asked_about.contains(attempt.out_trade_no.as_str())
        };
        let payable = |attempt: &&Attempt| {
            let trade = world.simulator.trade(attempt.out_trade_no.as_str());
            !set_aside(attempt) && trade.is_some_and(|trade| trade.state == TradeState::NotPay)
        };
        if attempts.iter().filter(payable).count() > 1 {
            self.report(&format!("order {} can be paid twice at the gateway", order.out_trade_no));
        }
        if let Some(open) = attempts
            .iter()
            .find(|attempt| (attempt.closed_at.is_some() || order.closed_at.is_some()) && payable(attempt))
        {
            self.report(&format!("attempt {} is closed here and payable there", open.out_trade_no));
        }
    }

    /// A callback about a payment was answered SUCCESS.
    pub(super) fn count_success(&self) {
        let mut seen = locked(&self.seen);
        seen.answered_success = seen.answered_success.saturating_add(1);
    }

    /// Once the faults have ended and time enough has passed: nothing is left hanging.
    pub fn judge_end(&self, world: &World, healed_at: UnixMs) {
        self.inspect(world);
        self.judge_refunds(world, healed_at);
        self.judge_names(world);
        let found = world.store.look(|db| {
            let items = work_items::list(db, None, ALL)?;
            Ok::<_, StoreError>((read(db, world)?, items, evidence(db)?))
        });
        let Some(Ok((books, items, told))) = found else { return self.report("the books cannot be read") };
        let calls: BTreeSet<String> = world.simulator.calls().into_iter().collect();
        for (order, attempts) in &books.orders {
            self.judge_order(world, order, attempts, healed_at);
            let sent = attempts.iter().filter(|attempt| attempt.asked_at.is_some());
            for number in sent.map(|attempt| attempt.out_trade_no.as_str()) {
                let known = world.simulator.trade(number).is_some();
                let asked = QUERIES.iter().any(|query| calls.contains(&format!("{query} {number}")));
                if order.closed_at.is_some() && known && !asked {
                    self.report(&format!("attempt {number} is closed and nobody has asked about it"));
                }
            }
        }
        let payments = locked(&world.memory).paid.clone();
        for payment in &payments {
            self.judge_payment(world, &books, &items, payment, healed_at);
        }
        // Alipay tells of payments and refunds at one door.
        let told = told.iter().filter(|notice| can_replay(notice)).count();
        if told < locked(&self.seen).answered_success {
            self.report("more callbacks were answered SUCCESS than recorded");
        }
        for call in &calls {
            let Some(number) = call.strip_prefix("unifiedorder ") else { continue };
            let known = books.orders.iter().flat_map(|(_, attempts)| attempts);
            if !known.into_iter().any(|attempt| attempt.out_trade_no.as_str() == number) {
                self.report(&format!("the gateway was asked about {number}, which is not in the books"));
            }
        }
    }

    /// Paid or closed in time.
    fn judge_order(&self, world: &World, order: &Order, attempts: &[Attempt], healed_at: UnixMs) {
        let ends = attempts.iter().map(|attempt| attempt.expires_at).fold(order.expires_at, UnixMs::max);
        let by = unhindered(world, ends, healed_at).plus_ms(DONE_MS);
        match locked(&self.seen).done.get(&order.id) {
            None => self.report(&format!("order {} is neither paid nor closed", order.out_trade_no)),
            Some(at) if *at > by => {
                self.report(&format!("order {} was paid or closed too late", order.out_trade_no))
            }
            Some(_) => {}
        }
    }

    fn judge_payment(
        &self,
        world: &World,
        books: &Books,
        items: &[WorkItem],
        payment: &Payment,
        healed_at: UnixMs,
    ) {
        let number = &payment.number;
        let mut all =
            books.orders.iter().flat_map(|(order, attempts)| attempts.iter().map(move |a| (order, a)));
        let Some((order, _)) = all.find(|(_, attempt)| attempt.out_trade_no.as_str() == number) else {
            return self.report(&format!("{number} was paid and is not in the books"));
        };
        let Some(trade) = world.simulator.trade(number) else { return };
        // Nothing but a callback can tell of a payment WeChat took for a closed trade.
        if payment.after_close && !trade.callbacks.iter().any(|sent| sent.accepted) {
            return;
        }
        let item = |kind: &str| items.iter().any(|item| item.kind == kind && item.out_trade_no == *number);
        let paid_by = order.transaction_id.as_ref().map(|id| id.as_str());
        // Nobody can tell a signed word about a refund from a true one: it is a person's to look at.
        let said = trade.state == TradeState::Refund || locked(&world.memory).told_refunded.contains(number);
        let refunded = said && item(REFUNDED_ELSEWHERE);
        if paid_by != trade.transaction_id.as_deref() {
            if !refunded && !item("second_payment") {
                self.report(&format!("{number} was paid and is neither credited nor a work item"));
            }
            return;
        }
        let returned = locked(&world.memory).returned.clone();
        let mut returned = returned.iter().filter(|(id, at)| *id == order.id && *at >= payment.at);
        let told = returned.next().map(|(_, at)| unhindered(world, *at, healed_at).plus_ms(RETURNED_MS));
        let untold = unhindered(world, payment.at, healed_at).plus_ms(UNTOLD_MS);
        let by = told.filter(|_| world.swarm.calm).map_or(untold, |told| told.min(untold));
        let credited_at = locked(&self.seen).paid.get(&order.id).map(|(_, at)| *at);
        if !payment.after_close && !refunded && credited_at.is_none_or(|at| at > by) {
            self.report(&format!("{number} was paid and credited too late"));
        }
    }
}

/// From when on nothing hinders what is due at a moment.
fn unhindered(world: &World, at: UnixMs, healed_at: UnixMs) -> UnixMs {
    // Certificates that could not be fetched just before are asked for again after a while.
    let fetched = if world.trust.by_certificate() { FETCH_MS } else { 0 };
    match (world.swarm.calm, world.swarm.clock_jumps) {
        (true, _) => at,
        (false, false) => at.max(healed_at).plus_ms(fetched),
        (false, true) => at.max(healed_at).plus_ms(CLOCK_OFF_MS).plus_ms(fetched),
    }
}

fn read(db: &mut Db, world: &World) -> Result<Books, StoreError> {
    let mut all = Vec::new();
    let mut balances = Vec::new();
    for user in &world.users {
        for order in orders::of_user(db, user.user_id, None, ALL)? {
            let attempts = attempts::of_order(db, order.id)?;
            all.push((order, attempts));
        }
        balances.push((user.user_id, ledger::balance(db, &Account::User(user.user_id))?));
    }
    let asked_about = pending::due(db, UnixMs(i64::MAX), ALL)?;
    Ok(Books {
        orders: all,
        balances,
        refunds: every_refund(db)?,
        by_hand: hand_oracle::credited(db)?,
        broken: books::breaches(db)?,
        asked_about: asked_about.iter().map(|number| number.as_str().to_owned()).collect(),
        told: work_items::list(db, None, ALL)?.into_iter().map(|item| item.out_trade_no).collect(),
    })
}
