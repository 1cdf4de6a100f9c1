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
    let query = sql_query(TAKE)
        .bind::<Text, _>(key)
        .bind::<BigInt, _>(pace.every_ms)
        .bind::<BigInt, _>(pace.every_ms.saturating_mul(pace.at_once));
    let answer: Answer = connection.build_transaction().read_write().run(|db| query.get_result(db))?;
    Ok(answer.wait_ms)
}

/// What would be emptied later than a full one was written before the server's clock was set back: it begins anew.
const TAKE: &str = "WITH moment AS (
        SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now
    ), taken AS (
        INSERT INTO rate_limits AS l (key, calm_at) SELECT $1, now + $2 FROM moment
        ON CONFLICT (key) DO UPDATE SET calm_at = CASE WHEN l.calm_at > EXCLUDED.calm_at - $2 + $3 THEN EXCLUDED.calm_at
                ELSE GREATEST(l.calm_at + $2, EXCLUDED.calm_at) END
            WHERE l.calm_at <= EXCLUDED.calm_at - $2 + $3 - $2 OR l.calm_at > EXCLUDED.calm_at - $2 + $3
        RETURNING 1
    )
    SELECT CASE WHEN EXISTS (SELECT 1 FROM taken) THEN 0
        ELSE GREATEST(1, COALESCE((SELECT calm_at FROM rate_limits WHERE key = $1), now + $3) + $2 - $3 - now) END AS wait_ms
    FROM moment";

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
    connection.build_transaction().read_write().run(|db| calm.execute(db))?;
    Ok(())
}
