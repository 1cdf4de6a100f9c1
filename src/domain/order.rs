//! Orders, their attempts at a gateway, and what a payment does to them.

pub use super::channel::{Channel, Provider};
use super::{
    ids::{Openid, OutTradeNo, TransactionId},
    money::Fen,
    time::{CLOCK_OFF_MS, UnixMs},
};

/// Whether real money is behind an order. A simulator's payment can never settle a live order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Live,
    Simulator,
}

impl Environment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Simulator => "simulator",
        }
    }

    pub fn parse(text: &str) -> Option<Environment> {
        [Environment::Live, Environment::Simulator].into_iter().find(|e| e.as_str() == text)
    }
}

/// 0 created, 1 paid and credited. There is no way from 1 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Created = 0,
    Paid = 1,
}

impl Status {
    pub const fn number(self) -> i32 {
        match self {
            Status::Created => 0,
            Status::Paid => 1,
        }
    }
}

/// What brought the news of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The gateway called `notify_url`.
    Notify,
    /// The payment page asked, and we asked the gateway.
    Query,
    /// The background sweep asked.
    Sweep,
    /// An administrator asked.
    Admin,
    /// It stood in the gateway's bill, so we asked: every other way had failed.
    Bill,
}

impl Source {
    pub const ALL: [Source; 5] = [Source::Notify, Source::Query, Source::Sweep, Source::Admin, Source::Bill];

    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Notify => "notify",
            Source::Query => "query",
            Source::Sweep => "sweep",
            Source::Admin => "admin",
            Source::Bill => "bill",
        }
    }

    pub fn parse(text: &str) -> Option<Source> {
        Source::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// One top-up of one user. Everything but the payment facts is fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: i64,
    pub out_trade_no: OutTradeNo,
    pub user_id: i64,
    pub goods_name: String,
    pub amount: Fen,
    pub status: Status,
    pub environment: Environment,
    pub created_at: UnixMs,
    pub expires_at: UnixMs,
    /// Closing is a fact of its own: a payment that arrives later still makes the order paid.
    pub closed_at: Option<UnixMs>,
    /// When we credited it.
    pub paid_at: Option<UnixMs>,
    /// When the gateway says it was paid, to the second.
    pub told_paid_at: Option<UnixMs>,
    pub transaction_id: Option<TransactionId>,
    pub settled_by: Option<Source>,
    /// Paid after it was closed here.
    pub late: bool,
    /// Reserved for refunds or gone back.
    pub reserved: Fen,
}

impl Order {
    pub fn is_paid(&self) -> bool {
        self.status == Status::Paid
    }

    /// What may still be refunded.
    pub fn refundable(&self) -> Fen {
        let left = self.amount.get().saturating_sub(self.reserved.get());
        if self.is_paid() { Fen::new(left).unwrap_or_default() } else { Fen::ZERO }
    }

    /// Neither paid nor closed nor past its time: the payer may still be asked for money.
    pub fn is_payable(&self, now: UnixMs) -> bool {
        !self.is_paid() && self.closed_at.is_none() && now < self.expires_at
    }
}

/// One `out_trade_no` at one gateway with its exact parameters: asked again, it is asked with these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub out_trade_no: OutTradeNo,
    pub order_id: i64,
    pub channel: Channel,
    /// Whose account at the gateway it was made for, in the gateway's own words.
    pub account: String,
    pub environment: Environment,
    pub amount: Fen,
    pub goods_name: String,
    /// For channels that name the payer.
    pub payer: Option<Openid>,
    pub client_ip: String,
    pub notify_url: String,
    pub created_at: UnixMs,
    pub expires_at: UnixMs,
    pub asked_at: Option<UnixMs>,
    pub prepay_id: Option<String>,
    pub prepaid_at: Option<UnixMs>,
    pub closed_at: Option<UnixMs>,
}

/// What a verified payment did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// 0 → 1, credited just now.
    Now,
    /// Credited before, by this very payment.
    Already,
    /// 0 → 1 although we had closed the order: credited, and shown to the administrator.
    Late,
    /// The order was paid before by another payment: real money twice, one credit, a refund to make.
    SecondPayment,
    Refused(Refusal),
}

/// Why a verified payment credits nobody. Each opens a work item; the gateway is told to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownOrder,
    AmountMismatch,
    CurrencyMismatch,
    ChannelMismatch,
    /// Paid to another account of ours than the attempt was made for.
    AccountMismatch,
    EnvironmentMismatch,
    /// This `transaction_id` has credited another order.
    TransactionReused,
}

impl Settled {
    /// The word kept with the notice, shown to administrators and counted in metrics.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Settled::Now => "ok",
            Settled::Already => "duplicate",
            Settled::Late => "late_payment",
            Settled::SecondPayment => "second_payment",
            Settled::Refused(refusal) => refusal.verdict(),
        }
    }

    /// Somebody must look: everything but the plain and the repeated payment.
    pub const fn needs_work(&self) -> bool {
        !matches!(self, Settled::Now | Settled::Already)
    }

    /// Money is on our books because of this very message.
    pub const fn credited(&self) -> bool {
        matches!(self, Settled::Now | Settled::Late)
    }
}

impl Refusal {
    pub const fn verdict(self) -> &'static str {
        match self {
            Refusal::UnknownOrder => "unknown_order",
            Refusal::AmountMismatch => "amount_mismatch",
            Refusal::CurrencyMismatch => "currency_mismatch",
            Refusal::ChannelMismatch => "channel_mismatch",
            Refusal::AccountMismatch => "account_mismatch",
            Refusal::EnvironmentMismatch => "environment_mismatch",
            Refusal::TransactionReused => "transaction_reused",
        }
    }
}

/// The facts of a payment that the books compare; the signature was checked before.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub provider: Provider,
    pub account: &'a str,
    pub environment: Environment,
    pub transaction_id: &'a TransactionId,
    pub amount: Fen,
    /// ISO code as the gateway wrote it.
    pub currency: &'a str,
}

/// Says why the conditional update found nothing to settle. Called after it, never instead of it.
pub fn explain(claim: Claim<'_>, found: Option<(&Attempt, &Order)>) -> Settled {
    let Some((attempt, order)) = found else {
        return Settled::Refused(Refusal::UnknownOrder);
    };
    if attempt.channel.provider() != claim.provider {
        return Settled::Refused(Refusal::ChannelMismatch);
    }
    if attempt.account != claim.account {
        return Settled::Refused(Refusal::AccountMismatch);
    }
    if order.environment != claim.environment {
        return Settled::Refused(Refusal::EnvironmentMismatch);
    }
    if claim.currency != "CNY" {
        return Settled::Refused(Refusal::CurrencyMismatch);
    }
    if order.amount != claim.amount {
        return Settled::Refused(Refusal::AmountMismatch);
    }
    match &order.transaction_id {
        Some(paid_by) if paid_by == claim.transaction_id => Settled::Already,
        Some(_) => Settled::SecondPayment,
        // Unpaid and everything fits, yet the update did not take: the payment belongs elsewhere.
        None => Settled::Refused(Refusal::TransactionReused),
    }
}

/// Ages in seconds at which a new attempt is asked about.
const QUERY_AGES: [i64; 4] = [10, 30, 60, 120];
/// The pause between two questions about an attempt that can be paid, in ms: a payment nobody told us
/// about is credited within two minutes, a slow round and a slow answer included.
const QUERY_PAUSE_MS: i64 = 110_000;
/// What every attempt still asked about adds to that pause, in ms, once there are more than 880: the
/// repeated questions take 8 of the sweep's 10 a second, and new attempts are not kept waiting by old ones.
const QUERY_SHARE_MS: i64 = 125;
pub const HOUR_MS: i64 = 3_600_000;
/// A payment in flight when an order closed still shows up within this time after its expiry.
const QUERY_TAIL_MS: i64 = 24 * HOUR_MS;

/// When to ask the gateway next about an attempt, while so many are asked about; `None` when 24 hours
/// have passed since it expired. Once it has expired by the gateway's clock too it is asked about hourly.
pub fn next_query(created_at: UnixMs, expires_at: UnixMs, now: UnixMs, asked_about: i64) -> Option<UnixMs> {
    let payable = asked_about.saturating_mul(QUERY_SHARE_MS).clamp(QUERY_PAUSE_MS, HOUR_MS);
    let pause = if now < expires_at.plus_ms(CLOCK_OFF_MS) { payable } else { HOUR_MS };
    let next = QUERY_AGES
        .iter()
        .map(|secs| created_at.plus_secs(*secs))
        .find(|at| *at > now)
        // Farther than a pause only by a clock that was set back since: no reason to wait for it.
        .filter(|at| at.since(now) <= QUERY_PAUSE_MS)
        .unwrap_or_else(|| now.plus_ms(pause));
    (next <= expires_at.plus_ms(QUERY_TAIL_MS)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_at(expires: UnixMs, asked_about: i64) -> Vec<i64> {
        let mut asked = vec![0];
        let mut now = UnixMs(0);
        while let Some(next) = next_query(UnixMs(0), expires, now, asked_about) {
            assert!(next > now);
            asked.push(next.secs());
            now = next;
        }
        asked
    }

    #[test]
    fn what_can_be_paid_by_any_clock_is_asked_about_every_110_s_at_most_and_then_hourly_for_a_day() {
        let expires = UnixMs(0).plus_secs(7200);
        let asked = asked_at(expires, 880);
        assert_eq!(asked.get(..7), Some([0, 10, 30, 60, 120, 230, 340].as_slice()));
        for pair in asked.windows(2) {
            let pause = pair[1] - pair[0];
            // The last moment it can be paid lies between two questions that are as near to each other.
            assert!(pause <= 110 || (pause == 3600 && pair[0] >= 7200 + 600), "{pair:?}");
        }
        let in_time = asked.iter().filter(|at| **at <= 7200).count();
        assert_eq!((in_time, asked.len()), (69, 69 + 6 + 23));
        assert!(asked.iter().all(|at| *at <= 7200 + 24 * 3600));
    }

    #[test]
    fn many_open_attempts_stretch_the_pauses_of_the_old_ones_and_leave_room_for_the_new() {
        let expires = UnixMs(0).plus_secs(7 * 24 * 3600);
        for (asked_about, pause) in [(881, 110), (8_800, 1_100), (28_800, 3_600), (50_000, 3_600)] {
            let asked = asked_at(expires, asked_about);
            assert_eq!(asked.get(..5), Some([0, 10, 30, 60, 120].as_slice()));
            assert_eq!(asked[6] - asked[5], pause, "with {asked_about}");
        }
    }

    fn paid_order() -> Order {
        Order {
            id: 1,
            out_trade_no: OutTradeNo::parse("R1").unwrap(),
            user_id: 1,
            goods_name: String::new(),
            amount: Fen::new(100).unwrap(),
            status: Status::Paid,
            environment: Environment::Live,
            created_at: UnixMs(0),
            expires_at: UnixMs(0),
            closed_at: None,
            paid_at: None,
            told_paid_at: None,
            transaction_id: TransactionId::parse("T1"),
            settled_by: None,
            late: false,
            reserved: Fen::ZERO,
        }
    }

    #[test]
    fn an_order_can_be_paid_until_it_is_paid_or_closed_or_its_time_is_up() {
        let paid = Order { expires_at: UnixMs(100), ..paid_order() };
        let open = Order { status: Status::Created, transaction_id: None, ..paid.clone() };
        let closed = Order { closed_at: Some(UnixMs(1)), ..open.clone() };
        assert_eq!((paid.is_paid(), open.is_paid()), (true, false));
        assert!(open.is_payable(UnixMs(99)) && !open.is_payable(UnixMs(100)));
        assert!(!paid.is_payable(UnixMs(99)) && !closed.is_payable(UnixMs(99)));
    }

    #[test]
    fn each_refusal_has_a_cause_of_its_own() {
        let paid_by = TransactionId::parse("T1").unwrap();
        let other = TransactionId::parse("T2").unwrap();
        let order = paid_order();
        let attempt = Attempt {
            out_trade_no: order.out_trade_no.clone(),
            order_id: 1,
            channel: Channel::WechatJsapi,
            account: "1:wx".to_owned(),
            environment: Environment::Live,
            amount: order.amount,
            goods_name: String::new(),
            payer: Openid::parse("o1"),
            client_ip: String::new(),
            notify_url: String::new(),
            created_at: UnixMs(0),
            expires_at: UnixMs(0),
            asked_at: None,
            prepay_id: None,
            prepaid_at: None,
            closed_at: None,
        };
        let good = Claim {
            provider: Provider::Wechat,
            account: "1:wx",
            environment: Environment::Live,
            transaction_id: &paid_by,
            amount: order.amount,
            currency: "CNY",
        };
        let found = Some((&attempt, &order));
        assert_eq!(explain(good, found), Settled::Already);
        assert_eq!(explain(Claim { transaction_id: &other, ..good }, found), Settled::SecondPayment);
        assert_eq!(explain(good, None), Settled::Refused(Refusal::UnknownOrder));
        let refused = |claim| match explain(claim, found) {
            Settled::Refused(refusal) => refusal,
            settled => panic!("{settled:?}"),
        };
        assert_eq!(refused(Claim { amount: Fen::new(99).unwrap(), ..good }), Refusal::AmountMismatch);
        assert_eq!(refused(Claim { account: "2:wx", ..good }), Refusal::AccountMismatch);
        assert_eq!(refused(Claim { currency: "USD", ..good }), Refusal::CurrencyMismatch);
        assert_eq!(
            refused(Claim { environment: Environment::Simulator, ..good }),
            Refusal::EnvironmentMismatch
        );
        let unpaid = Order { status: Status::Created, transaction_id: None, ..order.clone() };
        assert_eq!(explain(good, Some((&attempt, &unpaid))), Settled::Refused(Refusal::TransactionReused));
    }

    #[test]
    fn the_books_and_the_forms_know_these_very_words() {
        assert_eq!(Provider::Wechat.as_str(), "wechat");
        assert_eq!((Status::Created.number(), Status::Paid.number()), (0, 1));
        assert_eq!(Channel::WechatJsapi.as_str(), "wechat_jsapi");
        assert_eq!(Channel::parse("wechat_jsapi"), Some(Channel::WechatJsapi));
        for (environment, word) in [(Environment::Live, "live"), (Environment::Simulator, "simulator")] {
            assert_eq!((environment.as_str(), Environment::parse(word)), (word, Some(environment)));
        }
        let words = ["notify", "query", "sweep", "admin", "bill"];
        for (source, word) in Source::ALL.into_iter().zip(words) {
            assert_eq!((source.as_str(), Source::parse(word)), (word, Some(source)));
        }
        assert_eq!((Channel::parse(""), Environment::parse("test"), Source::parse("me")), (None, None, None));
    }

    #[test]
    fn each_outcome_says_whether_it_credits_and_whether_somebody_must_look() {
        let outcomes = [
            (Settled::Now, "ok", false, true),
            (Settled::Already, "duplicate", false, false),
            (Settled::Late, "late_payment", true, true),
            (Settled::SecondPayment, "second_payment", true, false),
            (Settled::Refused(Refusal::UnknownOrder), "unknown_order", true, false),
            (Settled::Refused(Refusal::AmountMismatch), "amount_mismatch", true, false),
            (Settled::Refused(Refusal::CurrencyMismatch), "currency_mismatch", true, false),
            (Settled::Refused(Refusal::ChannelMismatch), "channel_mismatch", true, false),
            (Settled::Refused(Refusal::AccountMismatch), "account_mismatch", true, false),
            (Settled::Refused(Refusal::EnvironmentMismatch), "environment_mismatch", true, false),
            (Settled::Refused(Refusal::TransactionReused), "transaction_reused", true, false),
        ];
        for (settled, verdict, needs_work, credited) in outcomes {
            assert_eq!(
                (settled.verdict(), settled.needs_work(), settled.credited()),
                (verdict, needs_work, credited)
            );
        }
    }
}
