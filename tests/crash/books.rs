//! What books say, read past the program that wrote them.

use diesel::{
    Connection, PgConnection, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    sql_query,
    sql_types::{BigInt, Nullable, Text},
};
use shouyin::{
    config::Database,
    store::{Db, books},
};
use std::collections::BTreeMap;

/// Books as found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// By the number of the attempt.
    pub attempts: BTreeMap<String, Credit>,
    /// What `PRAGMA integrity_check` and the rules of `shouyin audit` object to.
    pub faults: Vec<String>,
}

/// What became of the order of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, diesel::QueryableByName)]
pub struct Credit {
    #[diesel(sql_type = Text)]
    number: String,
    #[diesel(sql_type = BigInt)]
    status: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub transaction_id: Option<String>,
    /// Ledger legs of its top-up: two when it is credited once.
    #[diesel(sql_type = BigInt)]
    pub legs: i64,
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

impl Books {
    /// Reads them, recovering a file first if nobody has it open.
    ///
    /// # Errors
    /// Whatever the database says about what it cannot read.
    pub fn read(database: &Database) -> Result<Books, String> {
        let mut db = open(database)?;
        let mut faults = vec![];
        if let Db::Sqlite(sqlite) = &mut db {
            let lines: Vec<Line> =
                sql_query("PRAGMA integrity_check").load(sqlite).map_err(|error| error.to_string())?;
            faults.extend(lines.into_iter().map(|line| line.integrity_check).filter(|line| line != "ok"));
        }
        let attempts: Vec<Credit> = sql_query(
            "SELECT a.out_trade_no AS number, CAST(o.status AS BIGINT) AS status, o.transaction_id AS transaction_id,
                (SELECT COUNT(*) FROM ledger l WHERE l.order_id = o.id AND l.kind = 'top_up') AS legs
             FROM attempts a JOIN orders o ON o.id = a.order_id",
        )
        .load(&mut db)
        .map_err(|error| error.to_string())?;
        faults.extend(books::breaches(&mut db).map_err(|error| error.to_string())?);
        let attempts = attempts.into_iter().map(|credit| (credit.number.clone(), credit)).collect();
        Ok(Books { attempts, faults })
    }

    /// The order of this attempt is paid and credited exactly once.
    pub fn credited_once(&self, number: &str) -> bool {
        self.attempts.get(number).is_some_and(|credit| credit.status == 1 && credit.legs == 2)
    }

    /// Attempts whose order has more than the two legs of one credit.
    pub fn doubled(&self) -> usize {
        self.attempts.values().filter(|credit| credit.legs > 2).count()
    }
}

pub fn open(database: &Database) -> Result<Db, String> {
    match database {
        Database::Sqlite(path) => {
            let mut sqlite =
                SqliteConnection::establish(path.to_str().unwrap()).map_err(|error| error.to_string())?;
            sqlite.batch_execute("PRAGMA busy_timeout = 5000").map_err(|error| error.to_string())?;
            Ok(Db::Sqlite(sqlite))
        }
        Database::Postgres(url) => {
            let url = url.with(&[("target_session_attrs", "read-write")]);
            Ok(Db::Postgres(PgConnection::establish(&url).map_err(|error| error.to_string())?))
        }
    }
}

/// Runs SQL on books that nobody serves, and leaves a file without a log beside it.
pub fn edit(database: &Database, sql: &str) {
    let mut db = open(database).unwrap();
    db.batch_execute(sql).unwrap();
    if let Db::Sqlite(sqlite) = &mut db {
        sqlite.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }
}
