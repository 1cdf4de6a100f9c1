//! A database that has no reader left, throws connections out, or undoes what it was given: callbacks and pages meanwhile.

use crate::{
    database::sql,
    harness::{Browser, Shop},
};
use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, connection::SimpleConnection, sql_query,
    sql_types::BigInt,
};
use futures_util::{FutureExt, future::join_all};
use shouyin::{
    config::Database,
    store::{Db, Store, StoreError},
};
use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tokio::task::JoinHandle;

/// Readers that an instance has.
const READERS: usize = 4;

/// Somebody with an order that is paid at the gateway, and what the gateway says of it.
pub async fn paid_and_unheard(shop: &Shop) -> (Browser, String, String) {
    let ann = shop.user("ann").await;
    let number = ann.top_up("50").await;
    shop.simulator.pay(&number).unwrap();
    let callback = shop.simulator.signed_notify(&number, &[]);
    (ann, number, callback)
}

/// Questions that keep every reader until the sender is dropped.
async fn take_all_readers(shop: &Shop) -> (mpsc::Sender<()>, Vec<JoinHandle<()>>) {
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let (release, hold) = mpsc::channel::<()>();
    let hold = Arc::new(Mutex::new(hold));
    let question = move |_: &mut Db| -> Result<(), StoreError> {
        started.send(()).unwrap();
        // One waits for the sender, the others for that one.
        let _ = hold.lock().unwrap().recv();
        Ok(())
    };
    let read = |store: Store| {
        let question = question.clone();
        tokio::spawn(async move {
            // A pool that is still connecting may say that there is none.
            while store.read_at_length(question.clone()).await.is_err() {}
        })
    };
    let reading = (0..READERS).map(|_| read(shop.app.store.clone())).collect();
    for _ in 0..READERS {
        starts.recv().await.unwrap();
    }
    (release, reading)
}

#[actix_web::test]
async fn when_pages_have_taken_every_reader_callbacks_are_credited_and_pages_say_what_is_safe() {
    let shop = Shop::open().await;
    let (ann, number, callback) = paid_and_unheard(&shop).await;
    let (release, reading) = take_all_readers(&shop).await;
    let page = ann.get("/orders").await;
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("款项是安全的") && page.body.contains("请勿重复支付"), "{}", page.body);
    assert!(shop.notify(callback).await.body.contains("SUCCESS"));
    drop(release);
    join_all(reading).await;
    assert_eq!(shop.books(&number).await.balance, 5000);
    assert_eq!(ann.get("/orders").await.status, 200);
}

#[actix_web::test]
async fn when_the_server_throws_every_connection_out_the_next_callback_and_the_next_page_find_new_ones() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let ours = format!("shouyin-thrown-out-{}", std::process::id());
    let shop = Shop::open_with(|config| {
        let Database::Postgres(url) = &config.database else { unreachable!("there is a server") };
        let named = format!("application_name={ours}&options=");
        config.database = Database::parse(&url.with(&[]).replace("options=", &named)).unwrap();
    })
    .await;
    let (ann, number, callback) = paid_and_unheard(&shop).await;
    // Those of others are gone for certain before its own, which is the one that says so.
    let thrown_out = format!(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
            WHERE application_name = '{ours}' AND pid <> pg_backend_pid();
         SELECT pg_terminate_backend(pg_backend_pid())"
    );
    assert!(shop.app.store.write(sql(&thrown_out)).await.is_err());
    assert!(shop.notify(callback.clone()).await.body.contains("SUCCESS"));
    assert_eq!(ann.get("/orders").await.status, 200);
    assert!(shop.notify(callback).await.body.contains("SUCCESS"));
    assert_eq!(shop.books(&number).await.balance, 5000);
}

/// Undoes so many statements of this kind, counted by a sequence, which nothing undoes.
fn undo(state: &str, times: i64, when: &str) -> String {
    format!(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= {times} THEN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'undone'; END IF;
            RETURN NULL;
         END $$;
         CREATE TRIGGER undo {when} FOR EACH STATEMENT EXECUTE FUNCTION undo()"
    )
}

#[actix_web::test]
async fn a_settlement_that_a_deadlock_or_a_conflict_undid_is_tried_again_a_few_times_and_then_refused_whole()
{
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let ann = shop.user("ann").await;
    let mut balance = 0;
    for (state, times, credited) in
        [("40P01", 5, true), ("40001", 5, true), ("40P01", 6, false), ("40001", 6, false)]
    {
        let number = ann.top_up("50").await;
        shop.simulator.pay(&number).unwrap();
        let callback = shop.simulator.signed_notify(&number, &[]);
        // One try as a set, five by itself.
        let undo = undo(state, times, "BEFORE INSERT ON ledger");
        shop.app.store.write(sql(&undo)).await.unwrap();
        let before = shop.books(&number).await;
        let answer = shop.notify(callback.clone()).await;
        assert_eq!(answer.body.contains("SUCCESS"), credited, "{state} {times}: {}", answer.body);
        if !credited {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(shop.books(&number).await, before, "{state}: part of it stayed");
        }
        shop.app.store.write(sql("DROP FUNCTION undo CASCADE; DROP SEQUENCE tries")).await.unwrap();
        assert!(shop.notify(callback).await.body.contains("SUCCESS"));
        balance += 5000;
        assert_eq!(shop.books(&number).await.balance, balance, "{state} {times}");
    }
}

#[actix_web::test]
async fn a_change_that_a_deadlock_or_a_conflict_undid_is_tried_again_a_few_times_and_then_refused_whole() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let ann = shop.user("ann").await;
    for (state, times, made) in
        [("40P01", 4, true), ("40001", 4, true), ("40P01", 5, false), ("40001", 5, false)]
    {
        let undo = undo(state, times, "AFTER INSERT ON orders");
        shop.app.store.write(sql(&undo)).await.unwrap();
        let before = shop.app.store.read(orders_there).await.unwrap();
        let answer = ann.try_top_up("50").await;
        assert_eq!(answer.status, if made { 201 } else { 503 }, "{state} {times}: {}", answer.body);
        let after = shop.app.store.read(orders_there).await.unwrap();
        assert_eq!(after - before, i64::from(made), "{state} {times}");
        shop.app.store.write(sql("DROP FUNCTION undo CASCADE; DROP SEQUENCE tries")).await.unwrap();
    }
}

#[actix_web::test]
async fn a_change_that_panics_among_others_on_a_server_is_undone_alone() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let store = &shop.app.store;
    store.write(sql("CREATE TABLE kept (n BIGINT)")).await.unwrap();
    let (release, _) = crate::callbacks::hold_the_books(&shop).await;
    let mut all = Box::pin(join_all([1, 0, 2].map(|n| match n {
        0 => store.write(panics_inside).left_future(),
        n => store.write(sql(&format!("INSERT INTO kept VALUES ({n})"))).right_future(),
    })));
    assert!((&mut all).now_or_never().is_none());
    drop(release);
    let done: Vec<bool> = all.await.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true]);
    let kept = store.read(|db| {
        let Db::Postgres(connection) = db else { unreachable!("there is a server") };
        Ok((
            count(connection, "SELECT count(*) AS n FROM kept"),
            count(connection, "SELECT sum(n)::bigint AS n FROM kept"),
        ))
    });
    assert_eq!(kept.await.unwrap(), (2, 3));
}

fn panics_inside(db: &mut Db) -> Result<(), StoreError> {
    sql("INSERT INTO kept VALUES (7)")(db)?;
    db.transaction(|db| {
        sql("INSERT INTO kept VALUES (8)")(db)?;
        panic!("on purpose, in a savepoint of its own");
    })
}

fn orders_there(db: &mut Db) -> Result<i64, StoreError> {
    let Db::Postgres(connection) = db else { unreachable!("there is a server") };
    Ok(count(connection, "SELECT count(*) AS n FROM orders"))
}

#[actix_web::test]
async fn questions_that_take_too_long_are_ended_by_the_server_and_others_are_answered_again() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let slow = (0..READERS).map(|_| shop.app.store.read(sql("SELECT pg_sleep(60)")));
    for ended in join_all(slow).await {
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("statement timeout"), "{error}");
    }
    shop.app.store.read(sql("SELECT 1")).await.unwrap();
}

#[actix_web::test]
async fn an_instance_starts_although_the_first_of_several_servers_never_answers() {
    let Some(url) = crate::database::server() else {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    };
    let shop = Shop::open().await;
    // It takes connections in and never says a word, as a machine whose disk hangs.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (_, after) = url.split_once('@').expect("a user in the URL");
    let hosts = after.split('/').next().unwrap();
    let Database::Postgres(books) = &shop.app.config.database else { unreachable!("there is a server") };
    let several = books.with(&[]).replace(
        &format!("@{hosts}/"),
        &format!("@127.0.0.1:{},{hosts}/", silent.local_addr().unwrap().port()),
    );
    let database = Database::parse(&several).unwrap();
    let store = tokio::task::spawn_blocking(move || Store::open(&database).unwrap()).await.unwrap();
    store.write(sql("UPDATE heartbeat SET at = at")).await.unwrap();
    // The first thing `serve` does is a question.
    store.read(sql("SELECT 1")).await.unwrap();
}

/// The books of this test's server with another setting of its own.
fn with_setting(database: &Database, setting: &str) -> Database {
    let Database::Postgres(url) = database else { unreachable!("there is a server") };
    Database::parse(&format!("{}%20-c{setting}", url.with(&[]))).unwrap()
}

#[actix_web::test]
async fn a_time_limit_of_the_server_for_statements_is_not_the_writers() {
    let Some(server) = crate::database::server() else {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    };
    let books = crate::database::on_server(&server);
    // It would also end the wait of a COMMIT for a standby, which PostgreSQL then calls done.
    let store = Store::open(&with_setting(&books, "statement_timeout%3D200")).unwrap();
    store.write(sql("SELECT pg_sleep(0.4)")).await.unwrap();
    drop(store);
    crate::database::forget(&books);
}

#[actix_web::test]
async fn an_instance_that_starts_waits_for_the_one_that_migrates_as_long_as_that_takes() {
    let Some(server) = crate::database::server() else {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    };
    let books = crate::database::on_server(&server);
    let Database::Postgres(url) = &books else { unreachable!("there is a server") };
    let mut migrating = PgConnection::establish(&url.with(&[])).unwrap();
    migrating.batch_execute("SELECT pg_advisory_lock(current_schema()::regnamespace::bigint)").unwrap();
    let starting = {
        let books = books.clone();
        tokio::task::spawn_blocking(move || Store::open(&books).map(drop))
    };
    // Longer than writers wait for a lock.
    let waits = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory' \
                 AND now() - query_start > interval '2500 ms' \
                 AND pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'advisory' \
                     AND classid = 0 AND objid = current_schema()::regnamespace::oid)";
    while count(&mut migrating, waits) == 0 && !starting.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!starting.is_finished(), "{:?}", starting.await);
    drop(migrating);
    starting.await.unwrap().unwrap();
    crate::database::forget(&books);
}

fn count(connection: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    sql_query(query).get_result::<Count>(connection).unwrap().n
}

#[actix_web::test]
async fn a_change_that_spoils_the_whole_transaction_leaves_no_neighbour_told_that_it_is_kept() {
    if crate::database::server().is_none() {
        return eprintln!("skipped: SHOUYIN_TEST_POSTGRES names no server");
    }
    let shop = Shop::open().await;
    let store = shop.app.store.clone();
    store.write(sql("CREATE TABLE kept (n BIGINT)")).await.unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let first = store.write(move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
        Ok(())
    });
    let others = async {
        has_begun.recv().await.unwrap();
        let neighbour = store.write(sql("INSERT INTO kept VALUES (1)"));
        // As if the statement between two changes had failed: outside of what a savepoint undoes.
        let spoils = store.write(|db| {
            db.batch_execute("RELEASE SAVEPOINT diesel_savepoint_1; SELECT 1 / 0").unwrap_err();
            Ok(())
        });
        let release = async { drop(go_on) };
        let (told, _, ()) = tokio::join!(neighbour, spoils, release);
        told
    };
    let (_, told) = tokio::join!(first, others);
    let kept = store
        .read(|db| {
            let Db::Postgres(connection) = db else { unreachable!("there is a server") };
            Ok(count(connection, "SELECT count(*) AS n FROM kept"))
        })
        .await
        .unwrap();
    assert_eq!(told.is_ok(), kept == 1, "{told:?}");
}

#[actix_web::test]
async fn a_full_queue_refuses_at_once_says_that_it_is_not_ready_and_is_worked_off_in_its_order() {
    const PLACES: usize = 4096;
    let shop = Shop::open().await;
    let (release, stuck) = crate::callbacks::hold_the_books(&shop).await;
    let done = Arc::new(Mutex::new(Vec::new()));
    let change = |nth: usize| {
        let done = done.clone();
        shop.app.store.write(move |_| {
            done.lock().unwrap().push(nth);
            Ok(())
        })
    };
    let mut waiting = Box::pin(join_all((0..PLACES).map(change)));
    assert!((&mut waiting).now_or_never().is_none());
    let refused = shop.app.store.write(|_| Ok(()));
    assert!(matches!(refused.now_or_never(), Some(Err(StoreError::Busy))));
    let ready = shop.browser().get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: write queue nearly full\n"));
    release.send(()).unwrap();
    assert!(waiting.await.iter().all(Result::is_ok));
    stuck.await.unwrap();
    assert!(done.lock().unwrap().iter().copied().eq(0..PLACES));
    assert_eq!(shop.browser().get("/readyz").await.status, 200);
}

#[actix_web::test]
async fn an_attempt_that_cannot_be_read_keeps_no_other_from_being_asked_about() {
    let shop = Shop::open().await;
    let ann = shop.user("ann").await;
    let numbers = [ann.top_up("50").await, ann.top_up("50").await];
    for number in &numbers {
        shop.simulator.pay(number).unwrap();
    }
    let unlock = match shop.app.config.database {
        Database::Sqlite(_) => "DROP TRIGGER attempts_fixed_facts",
        Database::Postgres(_) => "ALTER TABLE attempts DISABLE TRIGGER USER",
    };
    let of_a_newer_version = format!(
        "{unlock}; UPDATE attempts SET channel = 'wechat_face' WHERE out_trade_no = '{}'",
        numbers[0]
    );
    shop.app.store.write(sql(&of_a_newer_version)).await.unwrap();
    shop.clock.advance_ms(60_000);
    assert_eq!(shop.sweep().await, 1);
    assert!(shop.order(&numbers[1]).await.is_paid());
    let alerts = || shop.app.metrics.alerts.with_label_values(&["unreadable"]).get();
    assert_eq!((alerts(), shop.sweep().await, alerts()), (1, 0, 1));
    shop.app.store.write(sql("UPDATE attempts SET channel = 'wechat_jsapi'")).await.unwrap();
    shop.clock.advance_ms(3_600_000);
    assert_eq!(shop.sweep().await, 1);
    assert!(shop.order(&numbers[0]).await.is_paid());
}
