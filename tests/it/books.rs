//! The books by themselves: what the database refuses, what it notices, what survives.

use crate::{
    database,
    harness::{Browser, PASSWORD, Shop},
};
use diesel::{RunQueryDsl, sql_query};
use shouyin::{
    clock::Clock,
    config::Database,
    domain::{ids::Username, user::Role},
    store::{Db, Store, StoreError, books, notices, notices::Notice, users},
};
use std::path::PathBuf;

pub fn sql(text: &str) -> impl Fn(&mut Db) -> Result<usize, StoreError> + Send + use<> {
    let text = text.to_owned();
    move |db| Ok(sql_query(text.as_str()).execute(db)?)
}

/// A file of its own in a folder of its own, gone at the end.
pub struct Files {
    folder: PathBuf,
}

impl Files {
    pub fn new() -> Files {
        let name = format!("shouyin-books-{}", Clock::system().nonce().unwrap());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Files { folder }
    }

    pub fn database(&self) -> Database {
        database::file(&self.folder)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

#[actix_web::test]
async fn the_database_refuses_what_must_never_happen() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let user = shop.user("ann").await;
    let (paid, open) = (user.top_up("50").await, user.top_up("50").await);
    shop.simulator.pay(&paid).unwrap();
    shop.deliver().await;
    shop.notify("not a message").await;
    let token = admin.form_token("/admin/orders").await;
    admin.post(&format!("/admin/orders/{paid}/query"), &[("token", &token)]).await;
    let transaction = shop.order(&paid).await.transaction_id.unwrap();
    let before = (shop.books(&paid).await, shop.books(&open).await);
    let of =
        |number: &str, change: &str| format!("UPDATE orders SET {change} WHERE out_trade_no = '{number}'");
    let settle = format!("status = 1, paid_at = 1, settled_by = 'notify', transaction_id = '{transaction}'");
    let insert = "INSERT INTO orders (out_trade_no, user_id, intent, goods_name, amount_fen, environment, \
                  created_at, expires_at, close_after, status) VALUES";
    for refused in [
        // Paid stays paid, with the facts it was paid by.
        of(&paid, "status = 0"),
        of(&paid, "status = 0, paid_at = NULL, transaction_id = NULL, settled_by = NULL"),
        of(&paid, "transaction_id = 'another'"),
        of(&paid, "transaction_id = NULL"),
        of(&paid, "paid_at = 1"),
        of(&paid, "paid_at = NULL"),
        // Facts of an order never change, paid or not.
        of(&open, "amount_fen = 1"),
        of(&open, "user_id = user_id + 1"),
        of(&open, "out_trade_no = 'another'"),
        of(&open, "environment = 'live'"),
        of(&open, "intent = 'another'"),
        of(&open, "created_at = 1"),
        // Paid means all facts of a payment, and one payment pays one order.
        of(&open, "status = 1"),
        of(&open, "status = 2"),
        of(&open, "status = 1, paid_at = 1"),
        of(&open, "transaction_id = 'T'"),
        of(&open, &settle),
        format!("{insert} ('n1', 1, 'i1', 'g', 0, 'simulator', 1, 1, 1, 0)"),
        format!("{insert} ('n1', 1, 'i1', 'g', -1, 'simulator', 1, 1, 1, 0)"),
        format!("{insert} ('n1', 1, 'i1', 'g', 9007199254740993, 'simulator', 1, 1, 1, 0)"),
        format!("{insert} ('n1', 1, 'i1', 'g', 1, 'sandbox', 1, 1, 1, 0)"),
        format!("{insert} ('n1', 999, 'i1', 'g', 1, 'simulator', 1, 1, 1, 0)"),
        format!("{insert} ('{open}', 1, 'i1', 'g', 1, 'simulator', 1, 1, 1, 0)"),
        "DELETE FROM orders".to_owned(),
        // An attempt keeps its parameters.
        "UPDATE attempts SET amount_fen = 1".to_owned(),
        "UPDATE attempts SET payer = 'oSomebodyElse'".to_owned(),
        "UPDATE attempts SET notify_url = 'https://evil.example'".to_owned(),
        // Written once, kept for ever.
        "UPDATE ledger SET amount_fen = amount_fen + 1".to_owned(),
        "DELETE FROM ledger".to_owned(),
        "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) \
         SELECT kind, source_id, order_id, account, amount_fen, notice_id, created_at FROM ledger"
            .to_owned(),
        "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) \
         VALUES ('gift', 1, 1, 'user:1', 1, (SELECT id FROM notices), 1)"
            .to_owned(),
        "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) \
         VALUES ('top_up', 2, 2, 'user:1', 1, 'no such notice', 1)"
            .to_owned(),
        "UPDATE notices SET verdict = 'ok'".to_owned(),
        "DELETE FROM notices".to_owned(),
        "UPDATE rejected_notices SET verdict = 'ok'".to_owned(),
        "UPDATE audit_log SET actor = 'nobody'".to_owned(),
        "DELETE FROM audit_log".to_owned(),
    ] {
        assert!(shop.app.store.write(sql(&refused)).await.is_err(), "was not refused: {refused}");
    }
    assert_eq!((shop.books(&paid).await, shop.books(&open).await), before);
    // What is not refused here is what the program itself does.
    assert_eq!(shop.app.store.write(sql(&of(&open, "closed_at = 1"))).await.unwrap(), 1);
}

#[actix_web::test]
async fn a_reader_cannot_write() {
    let shop = Shop::open().await;
    shop.user("ann").await;
    assert!(shop.app.store.read(sql("UPDATE users SET role = 'owner'")).await.is_err());
    assert!(shop.app.store.read(sql("DROP TABLE users")).await.is_err());
    let beside = Store::open_to_read(&shop.app.config.database).unwrap();
    assert!(beside.write(sql("UPDATE users SET role = 'owner'")).await.is_err());
    assert!(!beside.read(users::any_admin).await.unwrap());
}

#[actix_web::test]
async fn a_second_process_on_the_same_file_is_refused_until_the_first_has_gone() {
    let files = Files::new();
    let first = Store::open(&files.database()).unwrap();
    let copy = first.clone();
    for _ in 0..2 {
        let second = Store::open(&files.database());
        assert!(matches!(second, Err(StoreError::InUse(path)) if path == files.folder.join("books.db")));
    }
    drop(first);
    assert!(Store::open(&files.database()).is_err(), "a clone still holds the file");
    drop(copy);
    let again = Store::open(&files.database()).unwrap();
    assert!(again.read(books::breaches).await.unwrap().is_empty());
    assert!(Store::open_to_read(&Database::Sqlite(files.folder.join("none.db"))).is_err());
}

#[actix_web::test]
async fn a_change_that_fails_half_way_leaves_nothing_and_its_neighbours_alone() {
    let files = Files::new();
    let store = Store::open(&files.database()).unwrap();
    let user = |name: &str| {
        let name = name.to_owned();
        move |db: &mut Db| {
            let name = Username::parse(&name).unwrap();
            users::insert(db, &name, "hash", Role::User, Clock::system().now())
        }
    };
    let half = {
        let insert = user("half");
        move |db: &mut Db| {
            insert(db)?;
            sql_query("INSERT INTO no_such_table VALUES (1)").execute(db)?;
            Ok(None::<i64>)
        }
    };
    let (a, b, c) = tokio::join!(store.write(user("ann")), store.write(half), store.write(user("bob")));
    assert!(a.unwrap().is_some() && b.is_err() && c.unwrap().is_some());
    let panicking = store.write(|db| -> Result<(), StoreError> {
        sql_query("DELETE FROM users").execute(db)?;
        panic!("on purpose");
    });
    assert!(panicking.await.is_err());
    let known = store
        .read(|db| {
            ["ann", "half", "bob"]
                .map(|name| users::by_name(db, &Username::parse(name).unwrap()).map(|user| user.is_some()))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
        })
        .await;
    assert_eq!(known.unwrap(), [true, false, true]);
}

#[actix_web::test]
async fn the_books_notice_every_way_they_can_be_wrong() {
    let order = "INSERT INTO users (id, username, password_hash, role, created_at) VALUES (1, 'ann', 'h', 'user', 1); \
        INSERT INTO orders (id, out_trade_no, user_id, intent, goods_name, amount_fen, environment, created_at, \
            expires_at, close_after) VALUES (1, 'n1', 1, 'i', 'g', 100, 'simulator', 1, 1, 1); \
        INSERT INTO attempts (out_trade_no, order_id, channel, provider, account, environment, amount_fen, goods_name, payer, \
            client_ip, notify_url, created_at, expires_at) \
            VALUES ('n1', 1, 'wechat_jsapi', 'wechat', 'm:a', 'simulator', 100, 'g', 'o', '', '', 1, 1);";
    let paid = "UPDATE orders SET status = 1, paid_at = 1, transaction_id = 'T1', settled_by = 'notify';";
    let notice = |number: &str, transaction: &str, verdict: &str| {
        format!(
            "INSERT INTO notices VALUES ('m1', 1, 'wechat', 'notify', '{verdict}', '{number}', '{transaction}', '', '', '', '');"
        )
    };
    let legs = |user: &str, fen: i64, other: i64| {
        format!(
            "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) VALUES \
             ('top_up', 1, 1, '{user}', {fen}, 'm1', 1), ('top_up', 1, 1, 'gateway:wechat', {other}, 'm1', 1);"
        )
    };
    let good = notice("n1", "T1", "ok");
    let credited = format!("{paid}{good}{}", legs("user:1", 100, -100));
    let leg = |kind: &str, account: &str, fen: i64, notice: &str| {
        format!(
            "INSERT INTO ledger (kind, source_id, account, amount_fen, notice_id, created_at) \
             VALUES ('{kind}', 1, '{account}', {fen}, {notice}, 1);"
        )
    };
    let moved = |kind: &str, from: &str, to: &str, fen: i64, notice: &str| {
        format!("{}{}", leg(kind, from, -fen, notice), leg(kind, to, fen, notice))
    };
    let refund = |transaction: &str, state: &str, finished: &str| {
        format!(
            "INSERT INTO refunds (id, out_refund_no, intent, order_id, user_id, provider, account, environment, \
             out_trade_no, transaction_id, total_fen, amount_fen, reason, notify_url, requested_by, requested_at, state, \
             finished_at) VALUES (1, 'r1', 'i', 1, 1, 'wechat', 'm:a', 'simulator', 'n1', '{transaction}', 100, 40, 'x', \
             '', 'boss', 1, '{state}', {finished});"
        )
    };
    let reserved = "UPDATE orders SET refund_fen = 40, refunds = 1;";
    let hold = moved("refund_hold", "user:1", "refunds", 40, "NULL");
    let reply = |transaction: &str, source: &str, verdict: &str| {
        format!(
            "INSERT INTO notices VALUES ('m2', 1, 'wechat', '{source}', '{verdict}', 'n9', '{transaction}', '', '', '', '');"
        )
    };
    let paid_out = format!("{credited}{reserved}{}{hold}{}", refund("T1", "success", "1"), "{reply}");
    let paid_out = |message: String| {
        paid_out.replace(
            "{reply}",
            &format!("{message}{}", moved("refund", "refunds", "gateway:wechat", 40, "'m2'")),
        )
    };
    let item = "INSERT INTO work_items (id, kind, out_trade_no, transaction_id, notice_id, opened_at, provider, account, \
        environment, amount_fen) VALUES (1, 'unknown_order', 'n9', 'T2', '', 1, 'wechat', 'm:a', 'simulator', 70);";
    let correction = |fen: i64| {
        format!("INSERT INTO corrections VALUES (1, 1, 'wechat', 'T2', 1, {fen}, 'boss', 'x', 1);")
    };
    let by_hand = |fen: i64| moved("correction", "gateway:wechat", "user:1", fen, "'m2'");
    let confirmed = reply("T2", "admin", "correction");
    let adjustment = |state: &str, finished: &str| {
        format!(
            "INSERT INTO adjustments VALUES (1, 'i', 1, 30, 'x', 'boss', 1, NULL, '{state}', {finished});"
        )
    };
    let put_right = moved("adjustment", "adjustments", "user:1", 30, "NULL");
    let said = "INSERT INTO audit_log (at, actor, action, target, detail) VALUES (1, 'boss', 'balance_adjusted', '1', 'x');";
    let mut broken = std::collections::BTreeSet::new();
    for (name, written, breaches) in [
        (
            "a refund under way",
            format!("{credited}{reserved}{}{hold}", refund("T1", "processing", "NULL")),
            0,
        ),
        ("a refund paid out", paid_out(reply("T1", "refund_query", "refund_success")), 0),
        (
            "a refund given back",
            format!(
                "{credited}UPDATE orders SET refunds = 1;{}UPDATE refunds SET asked = 1, refused_at = 1;{hold}{}",
                refund("T1", "failed", "1"),
                moved("refund_release", "refunds", "user:1", 40, "NULL")
            ),
            0,
        ),
        (
            "a refund nobody refused and nobody gave up",
            format!(
                "{credited}{}{hold}{}",
                refund("T1", "failed", "1"),
                moved("refund_release", "refunds", "user:1", 40, "NULL")
            ),
            1,
        ),
        (
            "a refund that was never sent and counts",
            format!(
                "{credited}UPDATE orders SET refunds = 1;{}{hold}{}",
                refund("T1", "rejected", "1"),
                moved("refund_release", "refunds", "user:1", 40, "NULL")
            ),
            1,
        ),
        (
            "a refund that reserved nothing",
            format!("{credited}{}{hold}", refund("T1", "processing", "NULL")),
            1,
        ),
        (
            "a refund that reserved less than it returns",
            format!(
                "{credited}UPDATE orders SET refund_fen = 30, refunds = 1;{}{hold}",
                refund("T1", "processing", "NULL")
            ),
            1,
        ),
        (
            "a refund that holds nothing",
            format!("{credited}{reserved}{}", refund("T1", "processing", "NULL")),
            2,
        ),
        (
            "a refund that holds more than there is",
            format!(
                "{credited}{reserved}{}{}",
                refund("T1", "processing", "NULL"),
                moved("refund_hold", "user:1", "refunds", 140, "NULL")
            ),
            3,
        ),
        (
            "a refund of a payment that was not this order's",
            format!("{credited}{reserved}{}{hold}", refund("T9", "processing", "NULL")),
            1,
        ),
        ("paid out on another payment's reply", paid_out(reply("T9", "refund_query", "refund_success")), 1),
        ("paid out on a callback nobody signed", paid_out(reply("T1", "refund_notify", "refund_success")), 1),
        ("credited by hand", format!("{item}{confirmed}{}{}", correction(70), by_hand(70)), 0),
        (
            "credited by hand with another amount",
            format!("{item}{confirmed}{}{}", correction(60), by_hand(60)),
            1,
        ),
        ("a correction that credits nobody", format!("{item}{confirmed}{}", correction(70)), 2),
        ("a credit by hand without its correction", format!("{item}{confirmed}{}", by_hand(70)), 2),
        (
            "credited by hand on the callback alone",
            format!("{item}{}{}{}", reply("T2", "notify", "unknown_order"), correction(70), by_hand(70)),
            1,
        ),
        (
            "credited by hand on another payment's confirmation",
            format!("{item}{}{}{}", reply("T3", "admin", "correction"), correction(70), by_hand(70)),
            1,
        ),
        ("put right by hand", format!("{}{said}{put_right}", adjustment("made", "1")), 0),
        ("put right by nobody", format!("{}{put_right}", adjustment("made", "1")), 1),
        ("an adjustment that moved nothing", format!("{}{said}", adjustment("made", "1")), 2),
        (
            "an adjustment that waits and moved fen",
            format!("{}{put_right}", adjustment("waiting", "NULL")),
            2,
        ),
        ("an entry without its adjustment", put_right.clone(), 2),
        ("nothing has happened", String::new(), 0),
        ("as it should be", format!("{paid}{good}{}", legs("user:1", 100, -100)), 0),
        ("paid without a credit", format!("{paid}{good}"), 2),
        ("credited without being paid", format!("{good}{}", legs("user:1", 100, -100)), 2),
        ("another amount", format!("{paid}{good}{}", legs("user:1", 99, -99)), 2),
        ("another user", format!("{paid}{good}{}", legs("user:2", 100, -100)), 1),
        ("legs that do not balance", format!("{paid}{good}{}", legs("user:1", 100, -99)), 1),
        (
            "another payment's message",
            format!("{paid}{}{}", notice("n1", "T2", "ok"), legs("user:1", 100, -100)),
            1,
        ),
        (
            "another order's message",
            format!("{paid}{}{}", notice("n2", "T1", "ok"), legs("user:1", 100, -100)),
            1,
        ),
        (
            "a message that was refused",
            format!("{paid}{}{}", notice("n1", "T1", "amount_mismatch"), legs("user:1", 100, -100)),
            1,
        ),
    ] {
        let files = Files::new();
        let store = Store::open(&files.database()).unwrap();
        let script = format!("{order}{written}");
        let done = store.write(move |db| {
            script.split(';').filter(|one| !one.trim().is_empty()).try_for_each(|one| {
                sql_query(one).execute(db)?;
                Ok(())
            })
        });
        done.await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = store.read(books::breaches).await.unwrap();
        assert_eq!(found.len(), breaches, "{name}: {found:?}");
        broken.extend(found.into_iter().map(|rule| rule.rsplit_once(": ").unwrap().0.to_owned()));
    }
    assert_eq!(broken, books::rules().map(str::to_owned).collect(), "a rule that nothing here breaks");
}

#[actix_web::test]
async fn after_a_restart_on_the_same_file_everything_is_found_again() {
    let files = Files::new();
    let database = files.database();
    let shop = Shop::open_with(move |config| config.database = database).await;
    let user = shop.user("ann").await;
    let (paid, open) = (user.top_up("50").await, user.top_up("9.90").await);
    shop.simulator.pay(&paid).unwrap();
    shop.deliver().await;
    shop.notify("not a message").await;
    // On its way while the shop is down.
    shop.simulator.set_scenario(&open, shouyin::simulator::faults::Scenario::NotifyLost);
    shop.simulator.pay(&open).unwrap();
    let (callback, session) = (shop.simulator.signed_notify(&open, &[]), user.cookie().unwrap());
    let (before, verdicts) = (shop.order(&paid).await, shop.verdicts().await);
    let old = shop.close().await;

    let database = files.database();
    let shop = Shop::open_with(move |config| {
        config.database = database;
        config.wechat_v2 = old.wechat_v2;
        config.secret_key = old.secret_key;
    })
    .await;
    assert_eq!(shop.order(&paid).await, before);
    assert_eq!((shop.verdicts().await, shop.balance(before.user_id).await), (verdicts, 5000));
    let returning = Browser::new(shop.url.clone(), crate::harness::WECHAT);
    returning.set_cookie(&session);
    assert_eq!(returning.get_json("/orders").await.json()["balance_fen"], 5000);
    assert_eq!(shop.browser().log_in("ann", PASSWORD).await.status, 303);
    // WeChat comes again, and the query that was due is still due.
    shop.clock.advance_ms(10_000);
    assert_eq!(shop.sweep().await, 1);
    assert!(!shop.order(&open).await.is_paid(), "this WeChat does not know the order, which proves nothing");
    assert!(shop.notify(callback).await.body.contains("SUCCESS"));
    assert_eq!(shop.balance(before.user_id).await, 5990);
}

#[actix_web::test]
async fn of_rejected_messages_the_newest_ten_thousand_are_kept_and_their_bodies_cut() {
    let shop = Shop::open().await;
    let flood = vec![b'x'; 60_000];
    shop.notify(flood).await;
    assert_eq!(shop.all_notices().await[0].body.len(), notices::REJECTED_BODY);
    // In parts: one write has three seconds, whatever else the machine does.
    for part in 0..50 {
        let write = move |db: &mut Db| {
            (part * 200..(part + 1) * 200).try_for_each(|n| notices::insert_rejected(db, &numbered(n)))
        };
        shop.app.store.write(write).await.unwrap();
    }
    shop.app.store.write(|db| notices::insert_rejected(db, &numbered(10_000))).await.unwrap();
    let kept = shop.app.store.read(|db| notices::list(db, true, None, 20_000)).await.unwrap();
    assert_eq!(kept.len(), 10_000);
    assert_eq!((kept[0].id.as_str(), kept[9_999].id.as_str()), (id(10_000).as_str(), id(1).as_str()));
}

/// Sorts after every id made now.
fn id(n: u32) -> String {
    format!("f{n:031x}")
}

fn numbered(n: u32) -> Notice {
    Notice {
        id: id(n),
        received_at: 0,
        provider: "wechat".to_owned(),
        source: "notify".to_owned(),
        verdict: "malformed".to_owned(),
        out_trade_no: None,
        transaction_id: None,
        remote_ip: String::new(),
        headers: String::new(),
        body: Vec::new(),
        reply: String::new(),
    }
}

#[actix_web::test]
async fn books_of_the_first_version_are_brought_up_to_date_with_everything_in_them() {
    use diesel::{Connection, connection::SimpleConnection};
    let files = Files::new();
    let path = files.folder.join("books.db");
    let mut first = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    first.batch_execute(include_str!("../../migrations/sqlite/00000000000001_books/up.sql")).unwrap();
    first
        .batch_execute(
            "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
                run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
            INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000001');
            INSERT INTO users (id, username, password_hash, role, created_at) VALUES (1, 'ann', 'h', 'user', 1);
            INSERT INTO orders (id, out_trade_no, user_id, intent, goods_name, amount_fen, environment, status, created_at,
                expires_at, close_after, paid_at, transaction_id, settled_by)
                VALUES (7, 'n7', 1, 'i', 'g', 100, 'simulator', 1, 1, 1, 1, 1, 'T7', 'notify');
            INSERT INTO attempts (out_trade_no, order_id, channel, provider, account, environment, amount_fen, goods_name,
                payer, client_ip, notify_url, created_at, expires_at)
                VALUES ('n7', 7, 'wechat_jsapi', 'wechat', 'm:a', 'simulator', 100, 'g', 'o', '', '', 1, 1);
            INSERT INTO notices VALUES ('m1', 1, 'wechat', 'notify', 'ok', 'n7', 'T7', '', '', '', '');
            INSERT INTO ledger (kind, order_id, account, amount_fen, notice_id, created_at) VALUES
                ('top_up', 7, 'gateway:wechat', -100, 'm1', 1), ('top_up', 7, 'user:1', 100, 'm1', 1);
            INSERT INTO work_items (kind, out_trade_no, transaction_id, notice_id, opened_at)
                VALUES ('second_payment', 'n7', 'T8', 'm1', 1);",
        )
        .unwrap();
    drop(first);
    let store = Store::open(&files.database()).unwrap();
    assert_eq!(store.read(books::breaches).await.unwrap(), Vec::<String>::new());
    let found = store
        .read(|db| {
            use shouyin::store::{ledger, settlement, work_items};
            let balance = ledger::balance(db, &shouyin::domain::ledger::Account::User(1))?;
            let paid =
                settlement::paid_attempt(db, 7)?.map(|attempt| attempt.out_trade_no.as_str().to_owned());
            Ok((balance, paid, work_items::list(db, None, 9)?.len()))
        })
        .await;
    assert_eq!(found.unwrap(), (100, Some("n7".to_owned()), 1));
    let gone = store.write(|db| Ok(sql_query("DELETE FROM ledger").execute(db)?)).await;
    assert!(gone.is_err(), "the new ledger is as append-only as the old one");
}

#[actix_web::test]
async fn refunds_that_were_never_sent_no_longer_count_in_books_of_the_second_version() {
    use diesel::{Connection, connection::SimpleConnection};
    let files = Files::new();
    let path = files.folder.join("books.db");
    let mut second = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    second.batch_execute(include_str!("../../migrations/sqlite/00000000000001_books/up.sql")).unwrap();
    second.batch_execute(include_str!("../../migrations/sqlite/00000000000002_refunds/up.sql")).unwrap();
    second
        .batch_execute(
            "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
                run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
            INSERT INTO __diesel_schema_migrations (version) VALUES ('00000000000001'), ('00000000000002');
            INSERT INTO work_items (id, kind, out_trade_no, transaction_id, notice_id, opened_at, provider, account,
                environment, amount_fen, refund_fen, refunds)
                VALUES (1, 'second_payment', 'n7', 'T8', 'm1', 1, 'wechat', 'm:a', 'simulator', 100, 30, 2);
            INSERT INTO refunds (out_refund_no, intent, work_item_id, provider, account, environment, out_trade_no,
                transaction_id, total_fen, amount_fen, reason, notify_url, requested_by, requested_at, state, asked, finished_at)
                VALUES ('r1', 'i1', 1, 'wechat', 'm:a', 'simulator', 'n7', 'T8', 100, 30, 'x', '', 'boss', 1, 'processing', 1, NULL),
                ('r2', 'i2', 1, 'wechat', 'm:a', 'simulator', 'n7', 'T8', 100, 30, 'x', '', 'boss', 1, 'rejected', 0, 2);",
        )
        .unwrap();
    drop(second);
    let store = Store::open(&files.database()).unwrap();
    assert_eq!(store.read(books::breaches).await.unwrap(), Vec::<String>::new());
    let item = store.read(|db| shouyin::store::work_items::by_id(db, 1)).await.unwrap().unwrap();
    assert_eq!((item.refunds, item.refund_fen), (1, 30));
}
