//! Settling many at once: the plain case, 0 → 1 of an open order by the right payment, in statements that the
//! database has prepared. Whatever is not plain is left alone, for `settlement::settle` to judge.

use super::{
    Db, StoreError,
    settlement::{Settlement, Settling},
};
use crate::domain::order::Settled;
use std::collections::HashSet;

mod in_file;
mod on_server;

/// What became of each, in their order; of a `None` nothing is written.
///
/// # Errors
/// The database; then nothing of it is to be committed.
pub(super) fn settle(db: &mut Db, settlings: &[&Settling]) -> Result<Vec<Option<Settlement>>, StoreError> {
    let mut settled = vec![None; settlings.len()];
    #[cfg(feature = "canaries")]
    if crate::canary::any_sings() {
        // Wrong versions are made of the other way.
        return Ok(settled);
    }
    let plain = plain(settlings);
    let paid = match db {
        _ if plain.is_empty() => vec![],
        Db::Sqlite(sqlite) => in_file::settle(sqlite, &plain)?,
        Db::Postgres(connection) => on_server::settle(connection, &plain)?,
    };
    for Paid { nth, order_number } in paid {
        let place = usize::try_from(nth).ok().and_then(|nth| settled.get_mut(nth));
        *place.ok_or(StoreError::Unreadable("settlement"))? =
            Some(Settlement { settled: Settled::Now, order_number: Some(order_number), known: false });
    }
    Ok(settled)
}

/// One that may be plain, and its place in the batch.
struct Item<'a> {
    nth: i64,
    settling: &'a Settling,
}

/// The first of each number and of each payment: others may be repeats, which are to be told so.
fn plain<'a>(settlings: &[&'a Settling]) -> Vec<Item<'a>> {
    let (mut numbers, mut payments) = (HashSet::new(), HashSet::new());
    let items = settlings.iter().enumerate().filter_map(|(nth, settling)| {
        let settling: &'a Settling = settling;
        let claim = settling.payment.claim();
        let first = numbers.insert(settling.payment.out_trade_no()) && payments.insert(claim.transaction_id);
        let nth = i64::try_from(nth).ok()?;
        (claim.currency == "CNY" && first).then_some(Item { nth, settling })
    });
    items.collect()
}

/// One that has become paid.
struct Paid {
    nth: i64,
    order_number: String,
}

#[cfg(test)]
mod tests;
