//! How often something may be done, counted over all instances on one server, by its clock. Each key is a bucket that every
//! use fills a little and time empties, kept as the moment when it will be empty. No part of the books: not logged, and
//! written on a reader's connection, so that a flood of pages takes no turn of what writes money.

use super::{Db, StoreError};
use diesel::{
    QueryableByName, RunQueryDsl, sql_query,
    sql_types::{BigInt, Text},
};

/// `at_once` times, and then once in every `every_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub every_ms: i64,
    pub at_once: i64,
}

/// Counts one more use, or says how long to wait for it, in ms: 0 when it was counted. In a file nothing is counted: it
/// has one process, which does that itself.
///
/// # Errors
/// The database.
pub fn take(db: &mut Db, key: &str, pace: Pace) -> Result<i64, StoreError> {
    let Db::Postgres(connection) = db else { return Ok(0) };
    let query = sql_query("SELECT take_turn($1, $2, $3) AS wait_ms")
        .bind::<Text, _>(key)
        .bind::<BigInt, _>(pace.every_ms)
        .bind::<BigInt, _>(pace.every_ms.saturating_mul(pace.at_once));
    let answer: Answer =
        connection.build_transaction().read_committed().read_write().run(|db| query.get_result(db))?;
    Ok(answer.wait_ms)
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = BigInt)]
    wait_ms: i64,
}

/// Forgets whom nothing holds back any more.
///
/// # Errors
/// The database.
pub fn forget_calm(db: &mut Db) -> Result<(), StoreError> {
    let Db::Postgres(connection) = db else { return Ok(()) };
    let calm =
        sql_query("DELETE FROM rate_limits WHERE calm_at < EXTRACT(EPOCH FROM clock_timestamp()) * 1000");
    connection.build_transaction().read_committed().read_write().run(|db| calm.execute(db))?;
    Ok(())
}
