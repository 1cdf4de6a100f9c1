//! What pages and sweeps ask the books, as they ask it.

use super::books::{self, BUSY_USER, Plan};
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::Text};
use shouyin::{
    domain::{
        ledger::{Account, Kind},
        money::Fen,
        order::{Channel, Environment, Order, Provider, Source},
        time::UnixMs,
    },
    store::{
        Db, StoreError, attempts,
        bills::{self, Biller},
        figures, ledger,
        ledger::Filter as Legs,
        notices,
        order_lists::{self, By, Filter, StateFilter},
        orders, pending, refunds, search, statements, work_items,
    },
};

pub type Operation = fn(&mut Db, &Known, usize) -> Result<(), StoreError>;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The only one whose cost is that of a month's orders, be they many or few.
pub const WITH_THE_RATE: &str = "first page's thirty days";

/// What is asked about, drawn from all over the books.
pub struct Known {
    pub users: i64,
    now: UnixMs,
    /// From the first order to now, in ms.
    life: i64,
    orders: Vec<Order>,
    /// Second attempts, payments, our refund numbers and the gateway's.
    numbers: [Vec<String>; 4],
    /// In the middle of the busy user's orders.
    deep_of_user: i64,
    /// Where page 10,000 begins, or the middle where there are fewer.
    deep: i64,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

impl Known {
    /// Of books that have `size` orders of their plan.
    pub fn of(db: &mut Db, plan: Plan, size: i64) -> Known {
        let ids = || (1..=64_i64).map(|nth| 1 + nth * 2_654_435_761 % size);
        let orders = ids().filter_map(|id| orders::by_id(db, id).unwrap()).collect();
        let mut words = |sql: &str| {
            let word = |id: i64| {
                let sql = format!("{sql} >= {id} ORDER BY 2 LIMIT 1");
                let mut found: Vec<Word> = sql_query(sql).load(db).unwrap();
                found.pop().map(|word| word.word)
            };
            ids().filter_map(word).collect::<Vec<_>>()
        };
        let numbers = [
            words("SELECT out_trade_no AS word, order_id FROM attempts WHERE order_id % 20 = 3 AND order_id"),
            words("SELECT transaction_id AS word, id FROM orders WHERE status = 1 AND id"),
            words("SELECT out_refund_no AS word, order_id FROM refunds WHERE order_id"),
            words("SELECT refund_id AS word, order_id FROM refunds WHERE order_id"),
        ];
        let middle = format!(
            "SELECT id AS number FROM orders WHERE user_id = {BUSY_USER} ORDER BY id LIMIT 1 OFFSET 100"
        );
        Known {
            users: plan.users(),
            now: UnixMs(plan.made_at(size)),
            life: plan.made_at(size) - plan.made_at(1),
            orders,
            numbers,
            deep_of_user: books::number(db, &middle),
            deep: size - (size / 2).min(500_000),
        }
    }

    /// So many ms ago.
    const fn ago(&self, ms: i64) -> UnixMs {
        self.now.plus_ms(-ms)
    }

    /// Two hours of yesterday, or as much as there is of books that are younger.
    const fn yesterday(&self) -> (UnixMs, UnixMs) {
        if self.life > DAY_MS {
            (self.ago(20 * HOUR_MS), self.ago(18 * HOUR_MS))
        } else {
            (self.ago(self.life / 4 * 3), self.ago(self.life / 2))
        }
    }

    fn order(&self, nth: usize) -> &Order {
        &self.orders[nth % self.orders.len()]
    }

    fn number(&self, of: usize, nth: usize) -> &str {
        &self.numbers[of][nth % self.numbers[of].len()]
    }
}

pub const OPERATIONS: &[(&str, Operation)] = &[
    ("status poll", |db, known, nth| {
        let order = known.order(nth);
        let own = orders::by_number_of(db, &order.out_trade_no, order.user_id)?;
        assert!(own.is_some());
        orders::by_id(db, order.id)?;
        attempts::of_order(db, order.id).map(drop)
    }),
    ("a user's records, page 1", |db, known, _| records(db, known, None)),
    ("a user's records, deep", |db, known, _| records(db, known, Some(known.deep_of_user))),
    ("admin list, page 1", |db, _, _| listed(db, &Filter::default(), None)),
    ("admin list, page 10,000", |db, known, nth| {
        listed(db, &Filter::default(), Some(known.deep + i64::try_from(nth).unwrap_or_default()))
    }),
    ("the ledger of two hours", |db, known, _| {
        let (from, until) = known.yesterday();
        let of = Legs { from: Some(from), until: Some(until), ..Legs::default() };
        assert!(ledger::sums_of_few(db, &of)?.is_some_and(|sums| sums.legs > 0));
        ledger::list(db, &of, None, 50).map(drop)
    }),
    ("the first attempt of a provider", |db, _, _| {
        let biller =
            |provider| Biller { provider, account: String::new(), environment: Environment::Simulator };
        for provider in [Provider::Wechat, Provider::Alipay] {
            bills::first_attempt(db, &biller(provider))?;
        }
        Ok(())
    }),
    ("admin list by the moment of the credit", |db, _, _| {
        listed(db, &Filter { by: By::Paid, ..Filter::default() }, None)
    }),
    ("admin list, one hour", |db, known, _| {
        let (from, until) = (Some(known.ago(HOUR_MS)), Some(known.now));
        listed(db, &Filter { from, until, ..Filter::default() }, None)
    }),
    ("admin list, paid", |db, _, _| in_state(db, StateFilter::Paid)),
    ("admin list, unpaid", |db, _, _| in_state(db, StateFilter::Unpaid)),
    ("admin list, open for five minutes", |db, known, _| {
        in_state(db, StateFilter::OpenSince(known.ago(300_000)))
    }),
    ("admin list, closed", |db, _, _| in_state(db, StateFilter::Closed)),
    ("admin list, late", |db, _, _| in_state(db, StateFilter::Late)),
    ("admin list, refunded", |db, _, _| in_state(db, StateFilter::Refunded)),
    ("admin list, found by the sweep", |db, _, _| {
        listed(db, &Filter { settled_by: Some(Source::Sweep), ..Filter::default() }, None)
    }),
    ("admin list, a usual way to pay", |db, _, _| by_channel(db, Channel::AlipayQr)),
    ("admin list, a rare way to pay", |db, _, _| by_channel(db, Channel::WechatH5)),
    ("admin list, an amount nobody paid", |db, _, _| {
        listed(db, &Filter { least: Fen::new(1_000_000), ..Filter::default() }, None)
    }),
    ("admin list, one user", |db, known, nth| {
        listed(db, &Filter { user_id: Some(known.order(nth).user_id), ..Filter::default() }, None)
    }),
    ("search, our number", |db, known, nth| found(db, known.order(nth).out_trade_no.as_str())),
    ("search, an attempt's number", |db, known, nth| found(db, known.number(0, nth))),
    ("search, the gateway's number", |db, known, nth| found(db, known.number(1, nth))),
    ("search, our refund number", |db, known, nth| found(db, known.number(2, nth))),
    ("search, the gateway's refund number", |db, known, nth| found(db, known.number(3, nth))),
    ("search, a name", |db, _, nth| found(db, &format!("grown{}", 1 + nth % 20))),
    ("search, nothing", |db, _, _| {
        let hits = search::find(db, "4299999999999999999999999999")?;
        assert!(hits.is_empty());
        Ok(())
    }),
    ("CSV, the first thousand rows", |db, _, _| {
        let all = Filter::default();
        order_lists::totals_of_few(db, &all)?;
        let page = order_lists::page(db, &all, None, 1_000)?;
        order_lists::attempts_of(db, &page.found).map(drop)
    }),
    ("sweeps: what to ask, close, follow", |db, known, _| {
        pending::due(db, known.now, 20)?;
        orders::due_to_close(db, known.now, 8)?;
        refunds::due(db, known.now, 20).map(drop)
    }),
    ("what nobody knows the end of", |db, known, nth| {
        attempts::unknown(db, known.now, 20)?;
        refunds::unknown(db, known.now, 20)?;
        refunds::any_sent(db, &known.order(nth).out_trade_no).map(drop)
    }),
    ("ledger, page 1 and the house's balances", |db, _, _| {
        ledger::list(db, &Legs::default(), None, 51)?;
        for account in
            [Account::Gateway(Provider::Wechat), Account::Gateway(Provider::Alipay), Account::Refunds]
        {
            ledger::balance_of_few(db, &account)?;
        }
        Ok(())
    }),
    ("ledger, refunds", |db, _, _| {
        ledger::list(db, &Legs { kind: Some(Kind::Refund), ..Legs::default() }, None, 51).map(drop)
    }),
    ("callbacks, page 1", |db, _, _| notices::list(db, false, None, 51).map(drop)),
    ("first page's figures of an hour", |db, known, _| {
        figures::takings(db, known.ago(HOUR_MS), known.now)?;
        figures::open_since(db, known.ago(300_000))?;
        for door in ["wechat_v2", "wechat_v3", "alipay"] {
            figures::last_at_door(db, door, "notify")?;
        }
        work_items::open_by_kind(db).map(drop)
    }),
    (WITH_THE_RATE, |db, known, _| {
        figures::by_day(db, known.ago(30 * DAY_MS), 31)?;
        figures::made_and_paid(db, known.ago(DAY_MS))?;
        figures::delays(db, known.ago(DAY_MS))?;
        figures::by_source(db, known.ago(DAY_MS)).map(drop)
    }),
];

/// As /orders shows them.
fn records(db: &mut Db, known: &Known, before: Option<i64>) -> Result<(), StoreError> {
    let found = orders::of_user(db, BUSY_USER, before, 21)?;
    let ids: Vec<i64> = found.iter().map(|order| order.id).collect();
    assert_eq!(ids.len(), 21);
    refunds::of_orders(db, &ids)?;
    statements::odd_payments(db, &ids)?;
    ledger::balance(db, &Account::User(BUSY_USER))?;
    refunds::held(db, BUSY_USER)?;
    let (from, to) = known.now.beijing_month();
    statements::sums(db, BUSY_USER, from, to).map(drop)
}

/// As /admin/orders shows them.
fn listed(db: &mut Db, filter: &Filter, before: Option<i64>) -> Result<(), StoreError> {
    order_lists::totals_of_few(db, filter)?;
    let page = order_lists::page(db, filter, before, 50)?;
    order_lists::attempts_of(db, &page.found)?;
    work_items::count_open(db).map(drop)
}

fn in_state(db: &mut Db, state: StateFilter) -> Result<(), StoreError> {
    listed(db, &Filter { state: Some(state), ..Filter::default() }, None)
}

fn by_channel(db: &mut Db, channel: Channel) -> Result<(), StoreError> {
    listed(db, &Filter { channels: vec![channel], ..Filter::default() }, None)
}

fn found(db: &mut Db, text: &str) -> Result<(), StoreError> {
    let hits = search::find(db, text)?;
    assert!(!hits.is_empty(), "{text}");
    Ok(())
}
