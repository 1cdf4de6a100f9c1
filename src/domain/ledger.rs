//! Double entry: what a settled top-up writes. Balances are sums of entries, never a stored number.

use super::{money::Fen, order::Provider};

/// Where fen stand. `user:7` holds what user 7 may spend; `gateway:wechat` is the clearing account,
/// negative by what the gateway owes us until it pays out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    User(i64),
    Gateway(Provider),
}

impl Account {
    pub fn name(&self) -> String {
        match self {
            Account::User(id) => format!("user:{id}"),
            Account::Gateway(provider) => format!("gateway:{}", provider.as_str()),
        }
    }
}

/// One side of an entry, in signed fen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    pub account: Account,
    pub fen: i64,
}

/// The two legs of a top-up. They sum to zero.
pub fn top_up(user_id: i64, provider: Provider, amount: Fen) -> [Leg; 2] {
    [
        Leg { account: Account::Gateway(provider), fen: amount.get().saturating_neg() },
        Leg { account: Account::User(user_id), fen: amount.get() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legs_of_a_top_up_sum_to_zero() {
        for fen in [0, 1, 5000, Fen::MAX] {
            let legs = top_up(7, Provider::Wechat, Fen::new(fen).unwrap());
            assert_eq!(legs.iter().map(|leg| leg.fen).sum::<i64>(), 0);
        }
    }

    #[test]
    fn the_gateway_owes_what_the_user_may_spend() {
        let legs = top_up(7, Provider::Wechat, Fen::new(5000).unwrap());
        let named = legs.map(|leg| (leg.account.name(), leg.fen));
        assert_eq!(named, [("gateway:wechat".to_owned(), -5000), ("user:7".to_owned(), 5000)]);
    }
}
