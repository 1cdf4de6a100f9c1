//! Refunds: a part of a payment on its way back, and what each answer of the gateway does to it.

use super::{
    ids::{OutRefundNo, OutTradeNo, TransactionId},
    money::Fen,
    order::{Environment, Provider},
    time::{CLOCK_OFF_MS, UnixMs},
};

/// A payment can be refunded in at most this many parts (refund page 4011984092).
pub const MOST_PER_PAYMENT: i32 = 50;
/// Two refunds of one payment are at least this far apart, in ms (the same page: one minute).
pub const PACE_MS: i64 = 60_000;
/// The gateway refunds within a year of the payment, in ms; a day is left for the clocks.
pub const WINDOW_MS: i64 = 364 * 24 * 3_600_000;
/// A gateway that was asked too often is left alone this long, in ms (the same page).
pub const THROTTLED_MS: i64 = 60_000;
/// "No such refund" proves nothing while a request of ours may still be on its way, in ms. Alipay's refund pages ask for
/// five or ten seconds between a request and the query about it: they are in it many times over.
pub const SETTLE_DOWN_MS: i64 = 5 * 60_000;
/// The same by the clocks of two instances, one that asked and one that looks: so long after the last request, whoever
/// sent it, none is on its way.
pub const QUIET_MS: i64 = SETTLE_DOWN_MS + 2 * CLOCK_OFF_MS;
/// Accepted without a number so long ago and unknown since, a refund is asked for again under its own number, in ms.
const LOST_MS: i64 = 6 * 3_600_000;

/// Where a refund stands. Only a verified reply of the gateway makes it `Success`, `Closed` or `Abnormal`;
/// nothing ever expires here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefundState {
    /// Reserved; a second administrator decides.
    Waiting,
    /// To be asked, or asked without a plain answer: the same number again.
    Asking,
    /// Accepted by the gateway, which takes minutes to days.
    Processing,
    /// The money is with the payer.
    Success,
    /// The payer's card cannot take it: the money stays with the merchant until somebody acts at the gateway.
    Abnormal,
    /// Closed by the gateway before money moved.
    Closed,
    /// The gateway has no such refund: it refused the request, or an administrator gave it up.
    Failed,
    /// The second administrator said no, or who asked for it took it back.
    Rejected,
}

impl RefundState {
    pub const ALL: [RefundState; 8] = [
        RefundState::Waiting,
        RefundState::Asking,
        RefundState::Processing,
        RefundState::Success,
        RefundState::Abnormal,
        RefundState::Closed,
        RefundState::Failed,
        RefundState::Rejected,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            RefundState::Waiting => "waiting",
            RefundState::Asking => "asking",
            RefundState::Processing => "processing",
            RefundState::Success => "success",
            RefundState::Abnormal => "abnormal",
            RefundState::Closed => "closed",
            RefundState::Failed => "failed",
            RefundState::Rejected => "rejected",
        }
    }

    pub fn parse(text: &str) -> Option<RefundState> {
        RefundState::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing will change any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            RefundState::Success | RefundState::Closed | RefundState::Failed | RefundState::Rejected
        )
    }

    /// Its amount counts against the payment.
    pub const fn is_reserved(self) -> bool {
        !matches!(self, RefundState::Closed | RefundState::Failed | RefundState::Rejected)
    }
}

/// One refund. Everything but its course is fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub id: i64,
    /// Ours, and the same in every request about it: another number would be another refund.
    pub out_refund_no: OutRefundNo,
    /// The order whose payment it returns…
    pub order_id: Option<i64>,
    /// …or the work item of a payment that credited nobody.
    pub work_item_id: Option<i64>,
    /// Whose balance holds the amount meanwhile.
    pub user_id: Option<i64>,
    pub provider: Provider,
    pub account: String,
    pub environment: Environment,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    /// Of the payment.
    pub total: Fen,
    pub amount: Fen,
    /// The payer reads it.
    pub reason: String,
    pub notify_url: String,
    pub requested_by: String,
    pub requested_at: UnixMs,
    pub decided_by: Option<String>,
    pub state: RefundState,
    /// The gateway's number; Alipay has none.
    pub refund_id: Option<String>,
    /// What the gateway said last, in its own words.
    pub last_answer: Option<String>,
    /// How often it was requested.
    pub asked: i32,
    pub asked_at: Option<UnixMs>,
    /// The last request was refused; final once a query knows no such refund.
    pub refused_at: Option<UnixMs>,
    pub queried_at: Option<UnixMs>,
    pub next_at: Option<UnixMs>,
    pub finished_at: Option<UnixMs>,
}

impl Refund {
    /// Whether a message about a refund speaks of this one: number, payment and the amounts it names.
    pub fn is_named_by(&self, hint: &RefundHint) -> bool {
        self.out_refund_no == hint.out_refund_no
            && self.out_trade_no == hint.out_trade_no
            && self.transaction_id == hint.transaction_id
            && hint.amount.is_none_or(|amount| amount == self.amount)
            && self.total == hint.total
    }

    /// Whether no request of ours can be on its way: never sent, or long enough ago, also if it was sent by a clock
    /// behind ours. A clock that was set back proves nothing.
    pub fn is_quiet(&self, now: UnixMs) -> bool {
        self.asked == 0 || self.asked_at.is_some_and(|at| now.since(at) >= QUIET_MS)
    }

    /// Whether it was accepted without a number of the gateway's so long ago that "no such refund" is worth asking anew
    /// about: Alipay says the same of one that has failed and of one that is not through yet.
    pub fn is_lost(&self, now: UnixMs) -> bool {
        self.state == RefundState::Processing
            && self.refund_id.is_none()
            && self.asked_at.is_some_and(|at| now.since(at) >= LOST_MS)
    }

    /// How long after the last request was refused "no such refund" ends it, in ms. What was sent once and refused is
    /// not on its way; of several an earlier one may be, sent by another instance's clock.
    pub const fn refusal_stands_after_ms(&self) -> i64 {
        if self.asked == 1 { SETTLE_DOWN_MS } else { QUIET_MS }
    }

    /// An administrator gave it up.
    pub fn is_given_up(&self) -> bool {
        self.state == RefundState::Failed && self.refused_at.is_none()
    }

    /// Who asked for it has taken it back.
    pub fn is_withdrawn(&self) -> bool {
        self.state == RefundState::Rejected && self.decided_by.is_none()
    }
}

/// What a message says about a refund: a reason to ask, and never a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundHint {
    pub out_refund_no: OutRefundNo,
    pub out_trade_no: OutTradeNo,
    pub transaction_id: TransactionId,
    pub total: Fen,
    /// Of the refund; `None` when the message only names the sum of all refunds of the payment.
    pub amount: Option<Fen>,
    /// `SUCCESS`, `CHANGE` or `REFUNDCLOSE`, in WeChat's words.
    pub status: String,
    /// Whether the gateway vouches for it; V2's callbacks about refunds carry no signature.
    pub signed: bool,
}

/// Seconds after which an unfinished refund is looked at again: dense at first, then hourly, for ever.
const LOOKS_SECS: [i64; 6] = [10, 30, 60, 120, 300, 600];
const HOUR_MS: i64 = 3_600_000;

/// When to look again at a refund that was last requested at `asked_at`.
pub fn next_look(asked_at: UnixMs, now: UnixMs) -> UnixMs {
    LOOKS_SECS
        .iter()
        .map(|secs| asked_at.plus_secs(*secs))
        .find(|at| *at > now && at.since(now) <= HOUR_MS)
        .unwrap_or_else(|| now.plus_ms(HOUR_MS))
}

/// When to look again after a request, the `asked`th, that was not accepted.
pub fn next_try(asked: i32, now: UnixMs) -> UnixMs {
    let tried = usize::try_from(asked).unwrap_or_default().saturating_sub(1);
    LOOKS_SECS.get(tried).map_or(now.plus_ms(HOUR_MS), |secs| now.plus_secs(*secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_refund_by_number_payment_and_the_amounts_it_knows() {
        let ours = Refund {
            id: 1,
            out_refund_no: OutRefundNo::parse("r1").unwrap(),
            order_id: Some(1),
            work_item_id: None,
            user_id: Some(1),
            provider: Provider::Alipay,
            account: String::new(),
            environment: Environment::Live,
            out_trade_no: OutTradeNo::parse("a1").unwrap(),
            transaction_id: TransactionId::parse("t1").unwrap(),
            total: Fen::new(990).unwrap(),
            amount: Fen::new(7).unwrap(),
            reason: String::new(),
            notify_url: String::new(),
            requested_by: String::new(),
            requested_at: UnixMs(0),
            decided_by: None,
            state: RefundState::Asking,
            refund_id: None,
            last_answer: None,
            asked: 1,
            asked_at: None,
            refused_at: None,
            queried_at: None,
            next_at: None,
            finished_at: None,
        };
        let hint = RefundHint {
            out_refund_no: ours.out_refund_no.clone(),
            out_trade_no: ours.out_trade_no.clone(),
            transaction_id: ours.transaction_id.clone(),
            total: ours.total,
            amount: Some(ours.amount),
            status: "SUCCESS".to_owned(),
            signed: false,
        };
        assert!(ours.is_named_by(&hint) && ours.is_named_by(&RefundHint { amount: None, ..hint.clone() }));
        for other in [
            RefundHint { amount: Fen::new(8), ..hint.clone() },
            RefundHint { total: ours.amount, amount: None, ..hint.clone() },
            RefundHint { out_refund_no: OutRefundNo::parse("r2").unwrap(), ..hint.clone() },
            RefundHint { out_trade_no: OutTradeNo::parse("a2").unwrap(), ..hint.clone() },
            RefundHint { transaction_id: TransactionId::parse("t2").unwrap(), ..hint.clone() },
        ] {
            assert!(!ours.is_named_by(&other), "{other:?}");
        }
    }

    #[test]
    fn a_refund_is_looked_at_for_ever_and_less_often() {
        let mut now = UnixMs(0);
        let mut looks = Vec::new();
        for _ in 0..9 {
            now = next_look(UnixMs(0), now);
            looks.push(now.secs());
        }
        assert_eq!(looks, [10, 30, 60, 120, 300, 600, 4200, 7800, 11400]);
        assert_eq!(next_try(1, now), now.plus_secs(10));
        assert_eq!(next_try(7, now), now.plus_secs(3600));
        assert_eq!(next_try(i32::MAX, now), now.plus_secs(3600));
    }

    #[test]
    fn a_clock_set_back_does_not_put_a_refund_off_for_days() {
        let asked = UnixMs(0).plus_secs(10 * 24 * 3600);
        assert_eq!(next_look(asked, UnixMs(0)), UnixMs(3_600_000));
    }
}
