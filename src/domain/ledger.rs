//! Double entry: what each movement of fen writes. Balances are sums of legs, never a stored number.

use super::{money::Fen, order::Provider};

/// Where fen stand. `user:7` holds what user 7 may spend; `gateway:wechat` is the clearing account,
/// negative by what the gateway owes us until it pays out; `refunds` holds what is on its way back to payers;
/// `adjustments` stands against what administrators put right by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    User(i64),
    Gateway(Provider),
    Refunds,
    Adjustments,
}

impl Account {
    pub fn name(&self) -> String {
        match self {
            Account::User(id) => format!("user:{id}"),
            Account::Gateway(provider) => format!("gateway:{}", provider.as_str()),
            Account::Refunds => "refunds".to_owned(),
            Account::Adjustments => "adjustments".to_owned(),
        }
    }
}

/// Why fen moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A paid order credits its owner.
    TopUp,
    /// A refund takes its amount out of the balance before anybody is asked.
    RefundHold,
    /// The gateway has paid the refund out.
    Refund,
    /// The refund came to nothing: the amount is the user's again.
    RefundRelease,
    /// A payment that fits no order, credited by hand.
    Correction,
    /// A balance put right by hand, in either direction.
    Adjustment,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::TopUp,
        Kind::RefundHold,
        Kind::Refund,
        Kind::RefundRelease,
        Kind::Correction,
        Kind::Adjustment,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::TopUp => "top_up",
            Kind::RefundHold => "refund_hold",
            Kind::Refund => "refund",
            Kind::RefundRelease => "refund_release",
            Kind::Correction => "correction",
            Kind::Adjustment => "adjustment",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One side of an entry, in signed fen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub account: Account,
    pub fen: i64,
}

/// One movement: its kind and what it is about are unique together, its two legs sum to zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// The order, refund, correction or adjustment it is about.
    pub source_id: i64,
    pub order_id: Option<i64>,
    pub legs: [Leg; 2],
}

impl Entry {
    pub fn top_up(order_id: i64, user_id: i64, provider: Provider, amount: Fen) -> Entry {
        let legs = moved(Account::Gateway(provider), Account::User(user_id), amount);
        Entry { kind: Kind::TopUp, source_id: order_id, order_id: Some(order_id), legs }
    }

    pub fn refund_hold(id: i64, order_id: Option<i64>, user_id: i64, amount: Fen) -> Entry {
        let legs = moved(Account::User(user_id), Account::Refunds, amount);
        Entry { kind: Kind::RefundHold, source_id: id, order_id, legs }
    }

    pub fn refund_paid(id: i64, order_id: Option<i64>, provider: Provider, amount: Fen) -> Entry {
        let legs = moved(Account::Refunds, Account::Gateway(provider), amount);
        Entry { kind: Kind::Refund, source_id: id, order_id, legs }
    }

    pub fn refund_released(id: i64, order_id: Option<i64>, user_id: i64, amount: Fen) -> Entry {
        let legs = moved(Account::Refunds, Account::User(user_id), amount);
        Entry { kind: Kind::RefundRelease, source_id: id, order_id, legs }
    }

    pub fn correction(id: i64, user_id: i64, provider: Provider, amount: Fen) -> Entry {
        let legs = moved(Account::Gateway(provider), Account::User(user_id), amount);
        Entry { kind: Kind::Correction, source_id: id, order_id: None, legs }
    }

    /// `fen` is what it adds to the balance; below zero it takes away.
    pub fn adjustment(id: i64, user_id: i64, fen: i64) -> Entry {
        let legs = [
            Leg { account: Account::Adjustments, fen: fen.saturating_neg() },
            Leg { account: Account::User(user_id), fen },
        ];
        Entry { kind: Kind::Adjustment, source_id: id, order_id: None, legs }
    }
}

fn moved(from: Account, to: Account, amount: Fen) -> [Leg; 2] {
    [Leg { account: from, fen: amount.get().saturating_neg() }, Leg { account: to, fen: amount.get() }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legs_of_an_entry_sum_to_zero() {
        for fen in [0, 1, 5000, Fen::MAX].map(|fen| Fen::new(fen).unwrap()) {
            for entry in [
                Entry::top_up(1, 7, Provider::Wechat, fen),
                Entry::refund_hold(1, Some(1), 7, fen),
                Entry::refund_paid(1, Some(1), Provider::Wechat, fen),
                Entry::refund_released(1, Some(1), 7, fen),
                Entry::correction(1, 7, Provider::Wechat, fen),
                Entry::adjustment(1, 7, fen.get()),
                Entry::adjustment(1, 7, -fen.get()),
            ] {
                assert_eq!(entry.legs.iter().map(|leg| leg.fen).sum::<i64>(), 0, "{entry:?}");
            }
        }
    }

    #[test]
    fn the_gateway_owes_what_the_user_may_spend() {
        let legs = Entry::top_up(1, 7, Provider::Wechat, Fen::new(5000).unwrap()).legs;
        let named = legs.map(|leg| (leg.account.name(), leg.fen));
        assert_eq!(named, [("gateway:wechat".to_owned(), -5000), ("user:7".to_owned(), 5000)]);
    }
}
