//! What the lists cost, by the plan of the database and not by the clock: a page goes along one index from where it
//! begins, wherever that is.

use super::*;
use crate::{
    config::Database,
    store::{postgres, sqlite},
};
use diesel::{
    backend::Backend,
    connection::SimpleConnection,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::Integer,
};
use std::marker::PhantomData;

/// The query, to be explained instead of run; `Columns` is how the engine tells.
struct Explain<Q, Columns> {
    words: &'static str,
    query: Q,
    columns: PhantomData<Columns>,
}

impl<Q, Columns> Query for Explain<Q, Columns> {
    type SqlType = Columns;
}

impl<Q, Columns> RunQueryDsl<Db> for Explain<Q, Columns> {}

impl<Q, Columns> QueryId for Explain<Q, Columns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend, Q: QueryFragment<DB>, Columns> QueryFragment<DB> for Explain<Q, Columns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.words);
        self.query.walk_ast(out.reborrow())
    }
}

/// The steps of SQLite's plan in one line.
macro_rules! plan_of_sqlite {
    ($db:expr, $query:expr) => {{
        let words = "EXPLAIN QUERY PLAN ";
        let explain: Explain<_, (Integer, Integer, Integer, Text)> =
            Explain { words, query: $query, columns: PhantomData };
        let steps: Vec<(i32, i32, i32, String)> = explain.load($db).unwrap();
        steps.into_iter().map(|step| step.3).collect::<Vec<_>>().join("; ")
    }};
}

/// 3,000 orders of one user, each third paid, in a file of their own.
fn books(db: &mut Db) {
    db.batch_execute(
        "INSERT INTO users (id, username, password_hash, role, created_at) VALUES (1, 'ann', '', 'user', 1);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO orders (out_trade_no, user_id, intent, goods_name, amount_fen, environment, status, created_at,
             expires_at, close_after, paid_at, transaction_id, settled_by)
         SELECT 'o' || i, 1, 'i' || i, 'g', 100, 'live', CASE WHEN i % 3 = 0 THEN 1 ELSE 0 END, i * 1000, 0, 0,
             CASE WHEN i % 3 = 0 THEN i * 1000 + 5 END, CASE WHEN i % 3 = 0 THEN 't' || i END,
             CASE WHEN i % 3 = 0 THEN 'notify' END FROM n;",
    )
    .unwrap();
}

fn with_sqlite(test: impl FnOnce(&mut Db)) {
    let folder = std::env::temp_dir().join(format!(
        "shouyin-lists-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let (mut db, lock) = sqlite::open(&folder.join("books.db")).unwrap();
    books(&mut db);
    test(&mut db);
    drop((db, lock));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_first_page_and_the_last_go_along_the_same_index_and_sort_nothing() {
    with_sqlite(|db| {
        for (by, index) in [(By::Created, "orders_created"), (By::Paid, "orders_paid")] {
            let all = Filter { by, ..Filter::default() };
            let days = Filter { from: Some(UnixMs(5_000)), until: Some(UnixMs(2_000_000)), ..all.clone() };
            for filter in [all, days] {
                for last in [None, Some(Place { at: 60_005, id: 60 })] {
                    let plan = plan_of_sqlite!(db, paged!(&filter, last, None, 51));
                    assert!(plan.contains(index), "{filter:?} from {last:?}: {plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{filter:?} from {last:?} sorts: {plan}");
                    let begins = last.is_none() && filter.from.is_none() && by == By::Created;
                    assert!(
                        begins || plan.contains("SEARCH orders"),
                        "{filter:?} from {last:?} skips: {plan}"
                    );
                }
            }
        }
    });
}

#[test]
fn what_is_rare_open_or_of_one_user_is_found_by_an_index_of_its_own() {
    with_sqlite(|db| {
        let since = StateFilter::OpenSince(UnixMs(9_000_000));
        for (state, index) in [
            (StateFilter::Late, "orders_late"),
            (StateFilter::Refunded, "orders_refunded"),
            (StateFilter::Unpaid, "orders_to_close"),
            (since, "orders_to_close"),
        ] {
            let filter = Filter { state: Some(state), ..Filter::default() };
            let of_days =
                Filter { from: Some(UnixMs(5_000)), until: Some(UnixMs(2_000_000)), ..filter.clone() };
            for filter in [filter, of_days] {
                let plan = plan_of_sqlite!(db, paged!(&filter, None, None, 51));
                assert!(plan.contains(index), "{filter:?}: {plan}");
            }
        }
        let of_user = Filter { user_id: Some(1), from: Some(UnixMs(5_000)), ..Filter::default() };
        let plan = plan_of_sqlite!(db, paged!(&of_user, None, None, 51));
        assert!(plan.contains("orders_user"), "{plan}");
    });
}

#[test]
fn pages_meet_without_gap_or_repeat_also_among_orders_of_one_millisecond() {
    with_sqlite(|db| {
        db.batch_execute(
            "INSERT INTO orders (out_trade_no, user_id, intent, goods_name, amount_fen, environment, status, created_at,
                 expires_at, close_after) SELECT 'same' || id, 1, 'same' || id, 'g', 100, 'live', 0, 7000, 0, 0
             FROM orders WHERE id <= 40;",
        )
        .unwrap();
        for by in [By::Created, By::Paid] {
            let filter = Filter { by, ..Filter::default() };
            let ids = |page: &Page| page.found.iter().map(|(order, _)| order.id).collect::<Vec<i64>>();
            let whole = ids(&page(db, &filter, None, 10_000).unwrap());
            let (mut pieces, mut before) = (Vec::new(), None);
            loop {
                let piece = page(db, &filter, before, 17).unwrap();
                pieces.extend(ids(&piece));
                before = piece.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(pieces, whole);
            assert_eq!(whole.len(), if by == By::Created { 3040 } else { 1000 });
        }
    });
}

#[test]
fn postgresql_goes_along_the_same_indexes() {
    let Some(url) = std::env::var("SHOUYIN_TEST_POSTGRES").ok().filter(|url| !url.is_empty()) else { return };
    let Database::Postgres(url) = Database::parse(&url).unwrap() else { panic!("{url}") };
    let schema = format!("lists_{}", std::process::id());
    let mut db = postgres::open_new_schema(&url, &schema).unwrap();
    books(&mut db);
    // A table of some pages is read whole whatever its indexes are.
    db.batch_execute("ANALYZE orders; SET enable_seqscan = off; SET enable_sort = off").unwrap();
    for (by, index) in [(By::Created, "orders_created"), (By::Paid, "orders_paid")] {
        let filter = Filter { by, ..Filter::default() };
        let query = paged!(&filter, Some(Place { at: 60_005, id: 60 }), None, 51);
        let explain: Explain<_, Text> = Explain { words: "EXPLAIN ", query, columns: PhantomData };
        let plan: Vec<String> = explain.load(&mut db).unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("Sort"), "{plan}");
    }
    db.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
}
