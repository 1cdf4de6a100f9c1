//! How a user's records read: months with their sums, rows, refunds, and the steps of one order.

use super::{grouped, layout::OrderState, providers, words::Lang};
use crate::{
    domain::{
        money::yuan_text,
        order::Order,
        refund::{Refund, RefundState},
        time::UnixMs,
    },
    flow::top_up::GOODS_NAME,
    store::statements::{OddPayment, Sums},
};

/// Who reads, and when.
#[derive(Clone, Copy)]
pub struct Reading {
    pub lang: Lang,
    pub now: UnixMs,
}

pub struct Month {
    pub title: String,
    pub paid: String,
    pub refunded: Option<String>,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub url: String,
    /// Where to go on paying, for what can still be paid.
    pub pay_url: Option<String>,
    pub amount: String,
    pub at: String,
    pub state: OrderState,
    pub tail: String,
    pub refunds: Vec<RefundView>,
}

/// A refund as its payer sees it.
pub struct RefundView {
    pub amount: String,
    pub state: &'static str,
    pub tone: &'static str,
    pub at: String,
    /// Where it goes and how long that takes, while it does.
    pub course: Option<&'static str>,
}

pub struct Step {
    pub label: String,
    pub at: String,
    pub done: bool,
}

/// Three states of a refund are enough for a payer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Processing,
    Success,
    Failed,
}

impl Seen {
    pub const fn of(state: RefundState) -> Seen {
        match state {
            RefundState::Success => Seen::Success,
            RefundState::Closed | RefundState::Failed | RefundState::Rejected => Seen::Failed,
            RefundState::Waiting | RefundState::Asking | RefundState::Processing | RefundState::Abnormal => {
                Seen::Processing
            }
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Seen::Processing => "processing",
            Seen::Success => "success",
            Seen::Failed => "failed",
        }
    }
}

/// Begin and end of each month these orders were made in, newest first.
pub fn spans(orders: &[Order]) -> Vec<(UnixMs, UnixMs)> {
    let mut spans: Vec<(UnixMs, UnixMs)> =
        orders.iter().map(|order| order.created_at.beijing_month()).collect();
    // Newest first, also when a clock was once set back.
    spans.sort_unstable_by(|a, b| b.cmp(a));
    spans.dedup();
    spans
}

/// What these refunds, as far as they are seen like this, come to, in yuan.
pub fn sum_of(refunds: &[Refund], seen: Seen) -> Option<String> {
    let those = refunds.iter().filter(|refund| Seen::of(refund.state) == seen);
    let sum = those.fold(0_i64, |sum, refund| sum.saturating_add(refund.amount.get()));
    (sum > 0).then(|| yuan_text(sum))
}

impl Reading {
    /// Groups orders, newest first, under their months. `sums` go with `spans`.
    pub fn months(
        self,
        orders: &[Order],
        sums: Vec<Sums>,
        refunds: &[Refund],
        odd: &[OddPayment],
    ) -> Vec<Month> {
        let month = |((from, to), sums): ((UnixMs, UnixMs), Sums)| {
            let day = from.beijing_day();
            let (year, number) = (day.get(..4).unwrap_or_default(), day.get(5..7).unwrap_or_default());
            let made = orders.iter().filter(|order| (from..to).contains(&order.created_at));
            Month {
                title: self.lang.month(year, number),
                paid: yuan_text(sums.paid),
                refunded: (sums.refunded > 0).then(|| yuan_text(sums.refunded)),
                rows: made.map(|order| self.row(order, refunds, odd)).collect(),
            }
        };
        spans(orders).into_iter().zip(sums).map(month).collect()
    }

    fn row(self, order: &Order, refunds: &[Refund], odd: &[OddPayment]) -> Row {
        let state = self.state(order, odd);
        let url = format!("/orders/{}", order.out_trade_no);
        Row {
            pay_url: (state == OrderState::Open).then(|| format!("{url}/pay")),
            url,
            amount: order.amount.yuan(),
            at: self.day_and_time(order.created_at),
            state,
            tail: tail(order),
            refunds: self.refunds(order, refunds),
        }
    }

    pub fn state(self, order: &Order, odd: &[OddPayment]) -> OrderState {
        let mut own = odd.iter().filter(|odd| odd.order_id == order.id).peekable();
        let state = OrderState::of(order, self.now);
        match () {
            () if order.is_paid() || own.peek().is_none() => state,
            () if own.any(|odd| odd.open) => OrderState::Review,
            // An open order may still be paid as it should be.
            () if state == OrderState::Closed => OrderState::Handled,
            () => state,
        }
    }

    /// `今天 20:30`, `昨天 20:30`, `11-18 20:30`, or with the year when it is another.
    pub fn day_and_time(self, at: UnixMs) -> String {
        let (text, today) = (at.beijing_text(), self.now.beijing_day());
        let yesterday = self.now.plus_secs(-24 * 3600).beijing_day();
        let (day, clock) = text.split_once(' ').unwrap_or_default();
        let minute = clock.get(..5).unwrap_or_default();
        match () {
            () if day == today => self.lang.today(minute),
            () if day == yesterday => self.lang.yesterday(minute),
            () if day.get(..4) == today.get(..4) => format!("{} {minute}", day.get(5..).unwrap_or_default()),
            () => format!("{day} {minute}"),
        }
    }

    pub fn refunds(self, order: &Order, refunds: &[Refund]) -> Vec<RefundView> {
        let own = refunds.iter().filter(|refund| refund.order_id == Some(order.id));
        own.map(|refund| {
            let (state, tone) = match Seen::of(refund.state) {
                Seen::Success => (self.lang.refund_done(), "ok"),
                Seen::Failed => (self.lang.refund_failed(), "mute"),
                Seen::Processing => (self.lang.refund_under_way(), "info"),
            };
            RefundView {
                amount: refund.amount.yuan(),
                state,
                tone,
                at: self.day_and_time(refund.finished_at.unwrap_or(refund.requested_at)),
                course: (!refund.state.is_final())
                    .then(|| providers::refund_course(refund.provider, self.lang)),
            }
        })
        .collect()
    }

    pub fn steps(self, order: &Order, refunds: &[Refund]) -> Vec<Step> {
        let step = |label: String, at: Option<UnixMs>| Step {
            label,
            at: at.map(|at| at.beijing_text()).unwrap_or_default(),
            done: at.is_some(),
        };
        let mut steps = vec![step(self.lang.step_ordered().to_owned(), Some(order.created_at))];
        if let (Some(closed), None) = (order.closed_at, order.paid_at) {
            steps.push(step(self.lang.step_closed().to_owned(), Some(closed)));
        } else {
            steps.push(step(self.lang.step_paid().to_owned(), order.paid_at));
        }
        let going_back = refunds.iter().filter(|refund| Seen::of(refund.state) != Seen::Failed);
        steps
            .extend(going_back.map(|refund| {
                step(self.lang.step_refund(grouped(refund.amount.yuan())), refund.finished_at)
            }));
        steps
    }
}

/// What was bought. The one thing that is sold has a name in every language; WeChat's bill keeps the Chinese one.
pub fn goods(order: &Order, lang: Lang) -> &str {
    if order.goods_name == GOODS_NAME { lang.goods_name() } else { &order.goods_name }
}

fn tail(order: &Order) -> String {
    let number = order.out_trade_no.as_str();
    number.get(number.len().saturating_sub(6)..).unwrap_or(number).to_owned()
}
