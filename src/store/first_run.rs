//! How far a shop has come, read off what its books hold. Every question is answered from an index or a few rows, because
//! the first page of the day asks them all.

use super::{
    Db, StoreError, bills,
    schema::{attempts, bills as bills_table, ledger, notices, orders},
    users::{self, Account},
};
use crate::domain::{
    ledger::Kind,
    order::{Environment, Provider},
};
use diesel::{dsl::exists, prelude::*, select};

/// A prepared payment that proves our keys is looked for among so many of the newest orders.
const NEWEST: i64 = 50;

/// What has happened in this shop.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Providers that have prepared a payment for us, or told us something under their signature.
    pub known_to: Vec<Provider>,
    /// The number of the first order that was credited.
    pub first_paid: Option<String>,
    pub refunded: bool,
    /// The newest bill that was compared to its end: its id and its day.
    pub compared: Option<(i64, String)>,
    /// Those who can sign in.
    pub admins: Vec<Account>,
}

/// `protocols` are the words notices are kept under, each with its provider.
///
/// # Errors
/// The database.
pub fn standing(
    db: &mut Db,
    environment: Environment,
    protocols: &[(&'static str, Provider)],
) -> Result<Standing, StoreError> {
    let mut known_to = prepared(db, environment)?;
    for (word, provider) in protocols {
        let told = notices::table.filter(notices::provider.eq(*word));
        if !known_to.contains(provider) && select(exists(told)).get_result::<bool>(db)? {
            known_to.push(*provider);
        }
    }
    let mut admins = users::admins(db)?;
    admins.retain(|account| account.disabled_at.is_none());
    Ok(Standing {
        known_to,
        first_paid: orders::table
            .filter(orders::paid_at.is_not_null())
            .filter(orders::environment.eq(environment.as_str()))
            .order((orders::paid_at.asc(), orders::id.asc()))
            .select(orders::out_trade_no)
            .first(db)
            .optional()?,
        refunded: select(exists(ledger::table.filter(ledger::kind.eq(Kind::Refund.as_str()))))
            .get_result(db)?,
        compared: bills_table::table
            .filter(bills_table::state.ne(bills::BillState::Waiting.as_str()))
            .filter(bills_table::environment.eq(environment.as_str()))
            .order((bills_table::day.desc(), bills_table::id.asc()))
            .select((bills_table::id, bills_table::day))
            .first(db)
            .optional()?,
        admins,
    })
}

/// Of the newest orders: whose payments were prepared, which no gateway does for keys it does not know.
fn prepared(db: &mut Db, environment: Environment) -> Result<Vec<Provider>, StoreError> {
    let newest: Vec<i64> =
        orders::table.order(orders::id.desc()).limit(NEWEST).select(orders::id).load(db)?;
    let words: Vec<String> = attempts::table
        .filter(attempts::order_id.eq_any(newest))
        .filter(attempts::environment.eq(environment.as_str()))
        .filter(attempts::prepay_id.is_not_null())
        .select(attempts::provider)
        .load(db)?;
    Ok(Provider::ALL
        .into_iter()
        .filter(|provider| words.iter().any(|word| word == provider.as_str()))
        .collect())
}
