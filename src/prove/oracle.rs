//! What must hold: after every commit, for every answer to a callback, and once the faults have ended.
//! It compares the books with WeChat's own; the shop never sees it.

use super::{
    machine::locked,
    world::{Payment, World},
};
use crate::{
    domain::{
        ids::OutTradeNo,
        ledger::Account,
        order::{Attempt, Order, next_query},
        time::UnixMs,
    },
    gateway::wechat_v2::{sign, xml::Fields},
    simulator::TradeState,
    store::{
        Db, StoreError, attempts, books, ledger, notices, orders, pending, settlement::REFUNDED_ELSEWHERE,
        work_items, work_items::WorkItem,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, atomic::Ordering},
};

/// More orders and items than any world makes.
const ALL: i64 = 100_000;
/// A payment must be credited within this after its query was due, in ms: two minutes and a slow round.
const SLACK_MS: i64 = 180_000;
/// A query whose time has come is asked within this, in ms.
const OVERDUE_MS: i64 = 120_000;
/// The longest pause between queries, and the farthest a clock was off.
const LONGEST_MS: i64 = 75 * 60_000;

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
    answered_success: usize,
}

/// Everything the books say about orders.
struct Books {
    orders: Vec<(Order, Vec<Attempt>)>,
    balances: Vec<(i64, i64)>,
    broken: Vec<String>,
    /// Numbers the sweep will ask about, and when the next is due.
    asked_about: BTreeSet<String>,
    next_query: Option<UnixMs>,
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

    /// After every step: nothing to do unless something was committed that concerns money or orders.
    pub fn look(&self, world: &World) {
        let writes = world.weather.writes.load(Ordering::Relaxed);
        if std::mem::replace(&mut locked(&self.seen).writes, writes) == writes {
            return;
        }
        let marks = world.store.look(books::marks).and_then(Result::ok).unwrap_or_default();
        let before = std::mem::replace(&mut locked(&self.seen).marks, marks.clone());
        if before != marks {
            self.inspect(world);
        }
    }

    /// Every rule of safety, now.
    pub fn inspect(&self, world: &World) {
        let Some(Ok(books)) = world.store.look(|db| read(db, world)) else {
            return self.report("the books cannot be read");
        };
        if let Some(broken) = books.broken.first() {
            self.report(broken);
        }
        for (user_id, balance) in &books.balances {
            let owned = books.orders.iter().filter(|(order, _)| order.user_id == *user_id);
            let paid: i64 = owned.filter(|(order, _)| order.is_paid()).map(|(o, _)| o.amount.get()).sum();
            if paid != *balance {
                self.report(&format!("user {user_id} has {balance} fen and paid orders of {paid}"));
            }
        }
        for (order, attempts) in &books.orders {
            self.inspect_payment(world, order, attempts);
            self.inspect_closing(world, order, attempts);
            self.inspect_asking(&books, order, attempts);
        }
        let overdue = books.next_query.is_some_and(|at| world.clock.now().since(at) > OVERDUE_MS);
        if world.swarm.calm && overdue {
            self.report("a query is overdue although nothing hinders it");
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
                let true_payment = attempts.iter().any(|attempt| {
                    world.simulator.trade(attempt.out_trade_no.as_str()).is_some_and(|trade| {
                        trade.transaction_id.as_ref() == Some(&transaction_id)
                            && trade.total_fee == order.amount
                    })
                });
                if !true_payment {
                    self.report(&format!("order {number} is credited for a payment nobody made"));
                }
                locked(&self.seen).paid.insert(order.id, (transaction_id, world.clock.now()));
            }
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
    fn inspect_closing(&self, world: &World, order: &Order, attempts: &[Attempt]) {
        let payable = |attempt: &&Attempt| {
            let trade = world.simulator.trade(attempt.out_trade_no.as_str());
            trade.is_some_and(|trade| trade.state == TradeState::NotPay)
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

    /// What was answered to a callback, held against what is true.
    pub fn judge_answer(&self, world: &World, body: &[u8], reply: Reply, books_failed: bool) {
        world.note(|| format!("a callback is answered {reply:?}"));
        if reply == Reply::Success {
            let mut seen = locked(&self.seen);
            seen.answered_success = seen.answered_success.saturating_add(1);
        }
        if reply == Reply::Error {
            if !books_failed {
                self.report("a callback could not be recorded although the books work");
            }
            return;
        }
        match truth(world, body) {
            Truth::Lie if reply == Reply::Success => {
                self.report("a message nobody can vouch for was answered SUCCESS")
            }
            Truth::Lie => {}
            Truth::NotPaid if reply == Reply::Fail => self.report("a true report of a failure was refused"),
            Truth::NotPaid => {}
            Truth::Paid { number, transaction_id } => {
                if reply == Reply::Fail {
                    return self.report(&format!("a true callback for {number} was refused"));
                }
                if !recorded(world, &number, &transaction_id) {
                    self.report(&format!("a callback for {number} was answered SUCCESS and is not recorded"));
                }
            }
        }
    }

    /// Once the faults have ended and time enough has passed: nothing is left hanging.
    pub fn judge_end(&self, world: &World, healed_at: UnixMs) {
        self.inspect(world);
        let found = world.store.look(|db| {
            let items = work_items::list(db, None, ALL)?;
            let told = notices::list(db, false, None, ALL)?;
            Ok::<_, StoreError>((read(db, world)?, items, told))
        });
        let Some(Ok((books, items, told))) = found else { return self.report("the books cannot be read") };
        for (order, attempts) in books.orders.iter().filter(|(order, _)| !order.is_paid()) {
            // Paid and sent back by another way than ours: it waits for a person, as its item says.
            let waits = |number: &OutTradeNo| {
                items
                    .iter()
                    .any(|item| item.kind == REFUNDED_ELSEWHERE && item.out_trade_no == number.as_str())
            };
            let waits = attempts.iter().any(|attempt| waits(&attempt.out_trade_no));
            if order.closed_at.is_none() && !waits {
                self.report(&format!("order {} is neither paid nor closed", order.out_trade_no));
            }
        }
        for payment in locked(&world.memory).paid.clone() {
            self.judge_payment(world, &books, &items, &payment, healed_at);
        }
        let told = told.iter().filter(|notice| notice.source == "notify").count();
        if told < locked(&self.seen).answered_success {
            self.report("more callbacks were answered SUCCESS than recorded");
        }
        for call in world.simulator.calls() {
            let Some(number) = call.strip_prefix("unifiedorder ") else { continue };
            let known = books.orders.iter().flat_map(|(_, attempts)| attempts);
            if !known.into_iter().any(|attempt| attempt.out_trade_no.as_str() == number) {
                self.report(&format!("the gateway was asked about {number}, which is not in the books"));
            }
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
        let Some((order, attempt)) = all.find(|(_, attempt)| attempt.out_trade_no.as_str() == number) else {
            return self.report(&format!("{number} was paid and is not in the books"));
        };
        let Some(trade) = world.simulator.trade(number) else { return };
        // Nothing but a callback can tell of a payment WeChat took for a closed trade.
        if payment.after_close && !trade.callbacks.iter().any(|sent| sent.accepted) {
            return;
        }
        let item = |kind: &str| items.iter().any(|item| item.kind == kind && item.out_trade_no == *number);
        let paid_by = order.transaction_id.as_ref().map(|id| id.as_str());
        let refunded = trade.state == TradeState::Refund && item("refunded_elsewhere");
        if paid_by != trade.transaction_id.as_deref() {
            if !refunded && !item("second_payment") {
                self.report(&format!("{number} was paid and is neither credited nor a work item"));
            }
            return;
        }
        let from = if world.swarm.calm { payment.at } else { payment.at.max(healed_at) };
        let next = next_query(attempt.created_at, attempt.expires_at, from).unwrap_or(from);
        let longest = if world.swarm.clock_jumps { from.plus_ms(LONGEST_MS) } else { next };
        let credited_at = locked(&self.seen).paid.get(&order.id).map(|(_, at)| *at);
        if !payment.after_close && !refunded && credited_at.is_none_or(|at| at > longest.plus_ms(SLACK_MS)) {
            self.report(&format!("{number} was paid and credited too late"));
        }
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
        broken: books::breaches(db)?,
        asked_about: asked_about.iter().map(|number| number.as_str().to_owned()).collect(),
        next_query: pending::backlog(db)?.1,
        told: work_items::list(db, None, ALL)?.into_iter().map(|item| item.out_trade_no).collect(),
    })
}

/// What a callback is, judged without the shop's own reader.
enum Truth {
    Lie,
    NotPaid,
    Paid { number: String, transaction_id: String },
}

fn truth(world: &World, body: &[u8]) -> Truth {
    let Ok(fields) = Fields::parse(body) else { return Truth::Lie };
    let account = &world.config.wechat;
    let of = |name: &str| fields.get(name).unwrap_or_default();
    let signed = of("sign") == sign::sign(&fields, &account.key, account.sign_type)
        && ["", account.sign_type.as_str()].contains(&of("sign_type"));
    if !signed || of("return_code") != "SUCCESS" {
        return Truth::Lie;
    }
    if of("result_code") != "SUCCESS" {
        return Truth::NotPaid;
    }
    let trade = world.simulator.trade(of("out_trade_no"));
    let fits = trade.is_some_and(|trade| {
        trade.transaction_id.as_deref() == fields.get("transaction_id")
            && trade.total_fee.get().to_string() == of("total_fee")
    });
    if !fits || of("appid") != account.appid || of("mch_id") != account.mch_id || of("fee_type") != "CNY" {
        return Truth::Lie;
    }
    Truth::Paid { number: of("out_trade_no").to_owned(), transaction_id: of("transaction_id").to_owned() }
}

/// The order is paid by this payment, or somebody was told that it was paid twice.
fn recorded(world: &World, number: &str, transaction_id: &str) -> bool {
    let Some(attempt) = OutTradeNo::parse(number) else { return false };
    let found = world.store.look(|db| {
        let order = attempts::with_order(db, &attempt)?.map(|(_, order)| order);
        Ok::<_, StoreError>((order, work_items::list(db, None, ALL)?))
    });
    let Some(Ok((Some(order), items))) = found else { return false };
    let paid_by = order.transaction_id.as_ref().map(|id| id.as_str());
    paid_by == Some(transaction_id)
        || paid_by.is_some() && items.iter().any(|item| item.transaction_id == transaction_id)
}
