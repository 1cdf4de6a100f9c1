//! The short way and the long way write the same books, on each engine that is there.

use super::*;
use crate::{
    config::Database,
    domain::{
        order::{Environment, Source},
        time::UnixMs,
    },
    gateway::{
        Gateway, Notified, Notify, VerifiedPayment,
        wechat_v2::{
            Account as Merchant, ApiKey, WechatV2,
            sign::{self, SignType},
            xml::Fields,
        },
    },
    store::{books, notices::Notice, postgres, settlement, sqlite},
};
use diesel::{
    Connection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_query, sql_types::Text,
};
use std::path::Path;

/// Some seconds after what WeChat calls the time of payment.
const NOW: i64 = 1_795_176_012_345;

/// Orders of ¥50, each with an attempt of its own number. Order 8 is closed, order 9 has a second attempt, and a payment
/// of order 7 is said to have been refunded elsewhere. Of orders 10 to 13 one fact is another than the gateway's: the
/// attempt's account, gateway and environment, and the order's environment. What will be paid for order 14 has been
/// credited by hand, and for order 15 sent back; order 6 is paid. Something else is to be looked at about order 2.
fn shop(db: &mut Db) {
    let mut sql =
        "INSERT INTO users (id, username, password_hash, role, created_at) VALUES (1, 'ann', '', 'user', 1);"
            .to_owned();
    for id in 1..=16 {
        let order = format!(
            "INSERT INTO orders (id, out_trade_no, user_id, intent, goods_name, amount_fen, environment, created_at, \
             expires_at, close_after) VALUES ({id}, '{}', 1, 'i{id}', 'g', 5000, 'live', 1, 2, 3);",
            number(id)
        );
        let attempt = attempt(&number(id), id);
        sql += &match id {
            10 => order + &attempt.replace("1900000001:wx1", "1900000001:wx2"),
            11 => order + &attempt.replace("'wechat_jsapi', 'wechat'", "'alipay_qr', 'alipay'"),
            12 => order + &attempt.replace("'live'", "'simulator'"),
            13 => order.replace("'live'", "'simulator'") + &attempt,
            _ => order + &attempt,
        };
    }
    sql += &attempt(&number(90), 9);
    sql += "UPDATE orders SET closed_at = 5 WHERE id = 8;";
    sql += &format!(
        "INSERT INTO work_items (kind, out_trade_no, transaction_id, notice_id, opened_at) \
         VALUES ('refunded_elsewhere', '{}', '', '', 1), ('amount_mismatch', '{}', '', '', 1); \
         UPDATE orders SET status = 1, paid_at = 4, transaction_id = '{}', settled_by = 'notify' WHERE id = 6;",
        number(7),
        number(2),
        transaction(20)
    );
    sql += &format!(
        "INSERT INTO work_items (id, kind, out_trade_no, transaction_id, notice_id, opened_at) \
         VALUES (9001, 'unknown_order', 'a', '', '', 1), (9002, 'unknown_order', 'b', '', '', 1); \
         INSERT INTO corrections (work_item_id, provider, transaction_id, user_id, amount_fen, actor, reason, created_at) \
         VALUES (9001, 'wechat', '{}', 1, 5000, 'root', 'r', 1); \
         INSERT INTO refunds (out_refund_no, intent, work_item_id, provider, account, environment, out_trade_no, \
         transaction_id, total_fen, amount_fen, reason, notify_url, requested_by, requested_at, state) \
         VALUES ('r1', 'i1', 9002, 'wechat', '1900000001:wx1', 'live', 'b', '{}', 5000, 5000, 'r', '', 'root', 1, 'processing');",
        transaction(14),
        transaction(15)
    );
    db.batch_execute(&sql).unwrap();
}

fn attempt(number: &str, order: i64) -> String {
    format!(
        "INSERT INTO attempts (out_trade_no, order_id, channel, provider, account, environment, amount_fen, goods_name, \
         payer, client_ip, notify_url, created_at, expires_at) VALUES ('{number}', {order}, 'wechat_jsapi', 'wechat', \
         '1900000001:wx1', 'live', 5000, 'g', 'o1', '::1', 'n', 1, 2); \
         INSERT INTO pending_queries (out_trade_no, next_at) VALUES ('{number}', 1);"
    )
}

fn number(id: i64) -> String {
    format!("{id:032x}")
}

fn transaction(id: i64) -> String {
    format!("42{id:026}")
}

/// What WeChat says about one payment, verified as a callback is.
fn payment(order: i64, transaction_id: i64, fen: i64) -> VerifiedPayment {
    payment_in("CNY", order, transaction_id, fen)
}

fn payment_in(currency: &str, order: i64, transaction_id: i64, fen: i64) -> VerifiedPayment {
    let account = Merchant {
        appids: crate::gateway::wechat::Appids { web: "wx1".to_owned(), mini: None, app: None },
        public_url: String::new(),
        mch_id: "1900000001".to_owned(),
        key: ApiKey::new("k").unwrap(),
        sign_type: SignType::Md5,
        accept: vec![SignType::Md5],
        environment: Environment::Live,
    };
    let mut fields = Fields::default();
    for (name, value) in [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", "wx1"),
        ("mch_id", "1900000001"),
        ("nonce_str", "n"),
        ("openid", "o1"),
        ("trade_type", "JSAPI"),
        ("bank_type", "CMC"),
        ("total_fee", &fen.to_string()),
        ("cash_fee", &fen.to_string()),
        ("fee_type", currency),
        ("transaction_id", &transaction(transaction_id)),
        ("out_trade_no", &number(order)),
        ("time_end", "20261120200000"),
    ] {
        fields.set(name, value);
    }
    let sign = sign::sign(&fields, &account.key, SignType::Md5);
    fields.set("sign", &sign);
    match (WechatV2 { account }).notified(Notify { body: fields.to_xml().as_bytes(), ..Notify::default() }) {
        Notified::Paid(payment) => payment,
        other => panic!("{other:?}"),
    }
}

/// Three plain ones among everything that is not.
fn batch() -> Vec<Settling> {
    let payments = [
        payment(1, 1, 5000),
        payment(2, 2, 5000),
        payment(1, 1, 5000),
        payment(3, 3, 4999),
        payment(77, 4, 5000),
        payment(8, 5, 5000),
        payment(9, 6, 5000),
        payment(90, 7, 5000),
        payment(4, 2, 5000),
        payment(7, 8, 5000),
        payment(10, 10, 5000),
        payment(11, 11, 5000),
        payment(12, 12, 5000),
        payment(13, 13, 5000),
        payment(14, 14, 5000),
        payment(15, 15, 5000),
        payment_in("USD", 16, 16, 5000),
        payment(5, 20, 5000),
        payment(6, 21, 5000),
    ];
    let settling = |(nth, payment): (usize, VerifiedPayment)| Settling {
        notice: Notice {
            id: format!("{nth:032x}"),
            received_at: NOW,
            provider: "wechat".to_owned(),
            source: "notify".to_owned(),
            verdict: String::new(),
            out_trade_no: Some(payment.out_trade_no().as_str().to_owned()),
            transaction_id: Some(payment.transaction_id().as_str().to_owned()),
            remote_ip: "::1".to_owned(),
            headers: "a: \"b\"".to_owned(),
            body: format!("<xml>'{nth}' 收银\\ \u{1f4b0}</xml>").into_bytes(),
            reply: String::new(),
        },
        payment,
        source: Source::Notify,
        reply: Box::new(|settled| settled.verdict().to_owned()),
        now: UnixMs(NOW),
    };
    payments.into_iter().enumerate().map(settling).collect()
}

/// Every row that settling writes, without the numbers the database gives.
fn written(db: &mut Db) -> Vec<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        row: String,
    }
    let mut rows = vec![];
    for (table, columns) in [
        (
            "orders",
            "out_trade_no || ':' || status || coalesce(paid_at, 0) || coalesce(transaction_id, '-') \
            || coalesce(settled_by, '-') || coalesce(told_paid_at, 0) || late || refund_fen || refunds",
        ),
        (
            "notices",
            "id || received_at || provider || source || verdict || out_trade_no || transaction_id || remote_ip \
            || headers || HEX(body) || reply",
        ),
        (
            "ledger",
            "kind || ':' || source_id || ':' || order_id || ':' || account || ':' || amount_fen || notice_id || created_at",
        ),
        ("order_events", "order_id || ':' || at || kind || detail"),
        ("pending_queries", "out_trade_no || ':' || next_at || asked"),
        (
            "work_items",
            "kind || out_trade_no || ':' || transaction_id || notice_id || opened_at || coalesce(amount_fen, 0)",
        ),
    ] {
        let columns = match db {
            Db::Sqlite(_) => columns.to_owned(),
            Db::Postgres(_) => columns.replace("HEX(body)", "upper(encode(body, 'hex'))"),
        };
        let query = sql_query(format!("SELECT '{table} ' || {columns} AS row FROM {table}"));
        let found: Vec<Row> = query.load(db).unwrap();
        rows.extend(found.into_iter().map(|row| row.row));
    }
    rows.sort();
    rows
}

/// Settles the batch in empty books and takes everything back; what was said, and what was written.
fn settled(db: &mut Db, together: bool) -> (Vec<Settlement>, Vec<String>, usize) {
    let mut kept = None;
    let undone: Result<(), StoreError> = db.transaction(|db| {
        shop(db);
        let (batch, breaches) = (batch(), books::breaches(db)?);
        let short = match together {
            true => settle(db, &batch.iter().collect::<Vec<_>>())?,
            false => vec![None; batch.len()],
        };
        let plain = short.iter().flatten().count();
        let mut said = vec![];
        for (settling, settlement) in batch.iter().zip(short) {
            said.push(match settlement {
                Some(settlement) => settlement,
                None => db.transaction(|db| settlement::settle(db, settling))?,
            });
        }
        assert_eq!(books::breaches(db)?, breaches, "settling breaks no rule that was kept before");
        kept = Some((said, written(db), plain));
        Err(StoreError::Busy)
    });
    assert!(matches!(undone, Err(StoreError::Busy)), "{undone:?}");
    kept.unwrap()
}

fn the_two_ways_agree(db: &mut Db) {
    let (said, together, plain) = settled(db, true);
    let (said_alone, alone, none) = settled(db, false);
    assert_eq!((plain, none), (3, 0), "orders 1, 2 and 9 are plain");
    assert_eq!(together, alone);
    assert_eq!(said, said_alone);
    let verdicts: Vec<&str> = said.iter().map(|settlement| settlement.settled.verdict()).collect();
    assert_eq!(
        verdicts,
        [
            "ok",
            "ok",
            "duplicate",
            "amount_mismatch",
            "unknown_order",
            "late_payment",
            "ok",
            "second_payment",
            "transaction_reused",
            "ok",
            "account_mismatch",
            "channel_mismatch",
            // No payment fits an order and not its attempt's environment: they are made as one.
            "transaction_reused",
            "environment_mismatch",
            // Spoken for, by hand.
            "transaction_reused",
            "transaction_reused",
            "currency_mismatch",
            "transaction_reused",
            "second_payment"
        ]
    );
}

#[test]
fn settling_together_and_one_by_one_write_the_same_books_on_sqlite() {
    let mut db = sqlite::connect(Path::new(":memory:")).unwrap();
    sqlite::migrate(&mut db, Path::new(":memory:")).unwrap();
    the_two_ways_agree(&mut db);
}

#[test]
fn settling_together_and_one_by_one_write_the_same_books_on_postgres() {
    let Some(server) = std::env::var("SHOUYIN_TEST_POSTGRES").ok().filter(|url| !url.is_empty()) else {
        eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
        return;
    };
    let schema = format!("together_{}", std::process::id());
    let open = |url: &str| match Database::parse(url).unwrap() {
        Database::Postgres(url) => url,
        Database::Sqlite(_) => panic!("not a server"),
    };
    let mut outside = postgres::connect(&open(&server)).unwrap();
    outside.batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
    let url =
        format!("{server}{}options=-csearch_path%3D{schema}", if server.contains('?') { '&' } else { '?' });
    let mut db = postgres::open(&open(&url)).unwrap();
    the_two_ways_agree(&mut db);
    outside.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
}
