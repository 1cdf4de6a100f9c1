//! The same work through SQLite's own API: prepared statements in a loop, on the same tables and disk.

use crate::shop::{number, transaction};
use rusqlite::{Connection, params};
use std::{path::Path, sync::mpsc, thread, time::Instant};

/// Orders a second, so many in each transaction, in books with unpaid orders that were made for this account.
pub fn orders_per_second(books: &Path, orders: usize, each: usize, account: &str, body: &str) -> f64 {
    let mut sqlite = open(books);
    let numbers: Vec<usize> = (0..orders).collect();
    let started = Instant::now();
    for chunk in numbers.chunks(each) {
        commit(&mut sqlite, chunk, account, body);
    }
    orders as f64 / started.elapsed().as_secs_f64()
}

/// One order a transaction, each by another thread that is waited for, as one request after the other would have to.
pub fn handed_over(books: &Path, orders: usize, account: &str, body: &str) -> f64 {
    let mut sqlite = open(books);
    let (hand, to_do) = mpsc::sync_channel(1);
    let (done, answer) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            for n in to_do {
                commit(&mut sqlite, &[n], account, body);
                done.send(()).unwrap();
            }
        });
        let started = Instant::now();
        for n in 0..orders {
            hand.send(n).unwrap();
            answer.recv().unwrap();
        }
        drop(hand);
        orders as f64 / started.elapsed().as_secs_f64()
    })
}

fn open(books: &Path) -> Connection {
    let sqlite = Connection::open(books).unwrap();
    sqlite
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        .unwrap();
    sqlite
}

fn commit(sqlite: &mut Connection, numbers: &[usize], account: &str, body: &str) {
    let transaction = sqlite.transaction().unwrap();
    for n in numbers {
        settle(&transaction, *n, account, body);
    }
    transaction.commit().unwrap();
}

/// The six statements of one order, with the conditions of `src/store/settle_together/in_file.rs`; COMMIT is the seventh.
fn settle(sqlite: &Connection, n: usize, account: &str, body: &str) {
    let (number, paid_by, notice) = (number(n), transaction(n), format!("{n:032x}"));
    let mut flip = sqlite
        .prepare_cached(
            "UPDATE orders SET status = 1, paid_at = 1, transaction_id = ?2, settled_by = 'notify', told_paid_at = 1 \
             WHERE id = (SELECT order_id FROM attempts WHERE out_trade_no = ?1 AND provider = 'wechat' \
                 AND account = ?3 AND environment = 'simulator') \
             AND status = 0 AND closed_at IS NULL AND environment = 'simulator' AND amount_fen = 100 \
             AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.transaction_id = ?2) \
             AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.transaction_id = ?2) \
             AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.transaction_id = ?2) \
             AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.out_trade_no = ?1 AND w.kind = 'refunded_elsewhere') \
             RETURNING id, user_id",
        )
        .unwrap();
    let (order, user): (i64, i64) =
        flip.query_row(params![number, paid_by, account], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        assert!(sqlite.prepare_cached(sql).unwrap().execute(values).unwrap() > 0);
    };
    run(
        "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id, remote_ip, \
         headers, body, reply) VALUES (?1, 1, 'wechat', 'notify', 'ok', ?2, ?3, '127.0.0.1', '', ?4, 'SUCCESS')",
        params![notice, number, paid_by, body.as_bytes()],
    );
    for (account, fen) in [("gateway:wechat".to_owned(), -100), (format!("user:{user}"), 100)] {
        run(
            "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) \
             VALUES ('top_up', ?1, ?1, ?2, ?3, ?4, 1)",
            params![order, account, fen, notice],
        );
    }
    run(
        "INSERT INTO order_events (order_id, at, kind, detail) VALUES (?1, 1, 'credit', '+1.00 notify JSAPI')",
        params![order],
    );
    run("DELETE FROM pending_queries WHERE out_trade_no = ?1", params![number]);
}
