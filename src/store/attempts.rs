//! Attempts: one number at one gateway, with the parameters it was and will be asked with.

use super::{
    Db, StoreError,
    orders::OrderRow,
    schema::{attempts, orders},
};
use crate::domain::{
    ids::{Openid, OutTradeNo},
    money::Fen,
    order::{Attempt, Channel, Environment, Order},
    time::{SET_BACK_MS, UnixMs},
};
use diesel::{dsl::sql, prelude::*, sql_types::Bool};

/// Orders in one question about their attempts.
const AT_ONCE: usize = 500;

#[derive(Queryable)]
struct AttemptRow {
    out_trade_no: String,
    order_id: i64,
    channel: String,
    _provider: String,
    account: String,
    environment: String,
    amount_fen: i64,
    goods_name: String,
    payer: String,
    client_ip: String,
    notify_url: String,
    created_at: i64,
    expires_at: i64,
    asked_at: Option<i64>,
    prepay_id: Option<String>,
    prepaid_at: Option<i64>,
    closed_at: Option<i64>,
}

impl AttemptRow {
    fn attempt(self) -> Result<Attempt, StoreError> {
        Ok(Attempt {
            out_trade_no: OutTradeNo::parse(&self.out_trade_no)
                .ok_or(StoreError::Unreadable("out_trade_no"))?,
            order_id: self.order_id,
            channel: Channel::parse(&self.channel).ok_or(StoreError::Unreadable("channel"))?,
            account: self.account,
            environment: Environment::parse(&self.environment)
                .ok_or(StoreError::Unreadable("environment"))?,
            amount: Fen::new(self.amount_fen).ok_or(StoreError::Unreadable("amount"))?,
            goods_name: self.goods_name,
            payer: payer(&self.payer)?,
            client_ip: self.client_ip,
            notify_url: self.notify_url,
            created_at: UnixMs(self.created_at),
            expires_at: UnixMs(self.expires_at),
            asked_at: self.asked_at.map(UnixMs),
            prepay_id: self.prepay_id,
            prepaid_at: self.prepaid_at.map(UnixMs),
            closed_at: self.closed_at.map(UnixMs),
        })
    }
}

/// The column is empty for channels by which anybody may pay.
fn payer(text: &str) -> Result<Option<Openid>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    Openid::parse(text).map(Some).ok_or(StoreError::Unreadable("openid"))
}

/// # Errors
/// The database.
pub fn insert(db: &mut Db, attempt: &Attempt) -> Result<(), StoreError> {
    diesel::insert_into(attempts::table)
        .values((
            attempts::out_trade_no.eq(attempt.out_trade_no.as_str()),
            attempts::order_id.eq(attempt.order_id),
            attempts::channel.eq(attempt.channel.as_str()),
            attempts::provider.eq(attempt.channel.provider().as_str()),
            attempts::account.eq(&attempt.account),
            attempts::environment.eq(attempt.environment.as_str()),
            attempts::amount_fen.eq(attempt.amount.get()),
            attempts::goods_name.eq(&attempt.goods_name),
            attempts::payer.eq(attempt.payer.as_ref().map_or("", Openid::as_str)),
            attempts::client_ip.eq(&attempt.client_ip),
            attempts::notify_url.eq(&attempt.notify_url),
            attempts::created_at.eq(attempt.created_at.0),
            attempts::expires_at.eq(attempt.expires_at.0),
        ))
        .execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn by_number(db: &mut Db, number: &OutTradeNo) -> Result<Option<Attempt>, StoreError> {
    // Not `first`: SQLite prepares a statement anew whenever its LIMIT is bound.
    let row: Option<AttemptRow> = attempts::table.find(number.as_str()).get_result(db).optional()?;
    row.map(AttemptRow::attempt).transpose()
}

/// The attempt of this number and the order it belongs to.
///
/// # Errors
/// The database.
pub fn with_order(db: &mut Db, number: &OutTradeNo) -> Result<Option<(Attempt, Order)>, StoreError> {
    let row: Option<(AttemptRow, OrderRow)> = attempts::table
        .inner_join(orders::table)
        .filter(attempts::out_trade_no.eq(number.as_str()))
        .get_result(db)
        .optional()?;
    row.map(|(attempt, order)| Ok((attempt.attempt()?, order.order()?))).transpose()
}

/// Of several orders, each order's oldest first.
///
/// # Errors
/// The database.
pub fn of_orders(db: &mut Db, order_ids: &[i64]) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<AttemptRow> = attempts::table
        .filter(attempts::order_id.eq_any(order_ids))
        .order((attempts::order_id.asc(), attempts::created_at.asc()))
        .load(db)?;
    rows.into_iter().map(AttemptRow::attempt).collect()
}

/// Oldest first.
///
/// # Errors
/// The database.
pub fn of_order(db: &mut Db, order_id: i64) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<AttemptRow> = attempts::table
        .filter(attempts::order_id.eq(order_id))
        .order((attempts::created_at.asc(), attempts::out_trade_no.asc()))
        .load(db)?;
    rows.into_iter().map(AttemptRow::attempt).collect()
}

/// Lets one caller ask the gateway to prepare the payment; the others wait for its answer.
/// A claim that brought nothing within `patience_ms` may be taken over.
///
/// # Errors
/// The database.
pub fn claim_prepay(
    db: &mut Db,
    number: &OutTradeNo,
    now: UnixMs,
    patience_ms: i64,
) -> Result<bool, StoreError> {
    let free = attempts::table
        .filter(attempts::out_trade_no.eq(number.as_str()))
        .filter(attempts::closed_at.is_null())
        .filter(
            attempts::asked_at
                .is_null()
                .or(attempts::asked_at.le(now.plus_ms(patience_ms.saturating_neg()).0))
                // Claimed far in the future: the clock was set back, and nobody waits for it to come again.
                .or(attempts::asked_at.gt(now.plus_ms(SET_BACK_MS).0)),
        );
    Ok(diesel::update(free).set(attempts::asked_at.eq(now.0)).execute(db)? == 1)
}

/// Gives a claim back after an answer that allows to ask again at once. The epoch stands for "asked,
/// free to ask": NULL would say that the gateway has never heard of the number.
///
/// # Errors
/// The database.
pub fn release_prepay(db: &mut Db, number: &OutTradeNo) -> Result<(), StoreError> {
    diesel::update(attempts::table.find(number.as_str())).set(attempts::asked_at.eq(0)).execute(db)?;
    Ok(())
}

/// # Errors
/// The database.
pub fn set_prepay_id(
    db: &mut Db,
    number: &OutTradeNo,
    prepay_id: &str,
    now: UnixMs,
) -> Result<(), StoreError> {
    diesel::update(attempts::table.find(number.as_str()))
        .set((attempts::prepay_id.eq(prepay_id), attempts::prepaid_at.eq(now.0)))
        .execute(db)?;
    Ok(())
}

/// Closes an attempt the gateway has never been asked about; from then on nobody can claim to ask.
/// `false` when somebody has claimed or closed it since it was read.
///
/// # Errors
/// The database.
pub fn close_unasked(db: &mut Db, number: &OutTradeNo, now: UnixMs) -> Result<bool, StoreError> {
    let unasked = attempts::table
        .filter(attempts::out_trade_no.eq(number.as_str()))
        .filter(attempts::asked_at.is_null())
        .filter(attempts::closed_at.is_null());
    Ok(diesel::update(unasked).set(attempts::closed_at.eq(now.0)).execute(db)? == 1)
}

/// # Errors
/// The database.
pub fn close(db: &mut Db, number: &OutTradeNo, now: UnixMs) -> Result<(), StoreError> {
    let open = attempts::table
        .filter(attempts::out_trade_no.eq(number.as_str()))
        .filter(attempts::closed_at.is_null());
    diesel::update(open).set(attempts::closed_at.eq(now.0)).execute(db)?;
    Ok(())
}

/// The gateway was asked to prepare them before `since`, and nobody knows whether it did: of orders that are
/// neither paid nor closed. Oldest first, with how many there are.
///
/// # Errors
/// The database.
pub fn unknown(db: &mut Db, since: UnixMs, limit: i64) -> Result<(Vec<Attempt>, i64), StoreError> {
    // First the open orders, in the words of their index: PostgreSQL takes them for many and would read all attempts.
    let open = orders::table.filter(sql::<Bool>("orders.status = 0 AND orders.closed_at IS NULL"));
    let open: Vec<i64> = open.select(orders::id).load(db)?;
    let mut found: Vec<AttemptRow> = Vec::new();
    for ids in open.chunks(AT_ONCE) {
        let unknown = attempts::table
            .filter(attempts::order_id.eq_any(ids))
            .filter(attempts::asked_at.is_not_null())
            .filter(attempts::prepay_id.is_null())
            .filter(attempts::closed_at.is_null())
            .filter(attempts::created_at.le(since.0));
        found.extend(unknown.load::<AttemptRow>(db)?);
    }
    let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
    found.sort_by_key(|attempt| attempt.created_at);
    found.truncate(usize::try_from(limit).unwrap_or_default());
    Ok((found.into_iter().map(AttemptRow::attempt).collect::<Result<_, _>>()?, count))
}
