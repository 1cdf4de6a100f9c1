//! The audit log as a chain: a row changed, taken out or put in by hand is named; what only came behind is not looked at
//! twice.

use crate::{
    books::{Files, sql},
    database,
    harness::Shop,
};
use futures_util::future::join_all;
use shouyin::{
    config::Database,
    domain::{time::UnixMs, user::Role},
    jobs,
    store::{
        Store, StoreError,
        audit_chain::{self, Broken, Looked, Seal, Why},
        audit_log::{self, Act},
        users,
    },
};
use std::process::Command;

/// Books that are allowed to be broken at the end.
struct Books {
    store: Store,
    database: Database,
    _files: Files,
}

impl Books {
    fn open() -> Books {
        let files = Files::new();
        let database = match database::server() {
            None => files.database(),
            Some(url) => database::on_server(&url),
        };
        Books { store: Store::open(&database).unwrap(), database, _files: files }
    }

    async fn run(&self, text: &str) -> Result<usize, StoreError> {
        self.store.write(sql(text)).await
    }

    /// Somebody with the run of the database.
    async fn by_hand(&self, text: &str) {
        let of_table = if self.database.file().is_some() { "" } else { " ON audit_log" };
        for trigger in ["audit_log_unchanged", "audit_log_kept"] {
            self.run(&format!("DROP TRIGGER IF EXISTS {trigger}{of_table}")).await.unwrap();
        }
        self.run(text).await.unwrap();
    }

    async fn acts(&self, targets: std::ops::Range<i64>) {
        for target in targets {
            act(&self.store, target).await.unwrap();
        }
    }

    async fn look(&self) -> Looked {
        self.store.read(audit_chain::look_at_all).await.unwrap()
    }

    async fn rows(&self) -> i64 {
        match self.look().await {
            Looked::Whole { seal, loose: 0, more: false } => seal.rows,
            other => panic!("{other:?}"),
        }
    }

    /// The first row that does not fit.
    async fn broken(&self) -> (i64, Why) {
        match self.look().await {
            Looked::Broken(Broken { row_id, why, .. }) => (row_id, why),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        database::forget(&self.database);
    }
}

async fn act(store: &Store, target: i64) -> Result<(), StoreError> {
    let write = move |db: &mut _| {
        let target = target.to_string();
        let act =
            Act { actor: "ann", action: "tried", target: &target, detail: "很好", was: "a", became: "b" };
        audit_log::insert(db, act, UnixMs(1))
    };
    store.write(write).await
}

#[actix_web::test]
async fn a_row_changed_by_hand_is_named_whatever_of_it_was_changed() {
    let books = Books::open();
    books.acts(0..5).await;
    assert_eq!(books.rows().await, 5);
    for (change, back) in [
        ("actor = 'bob'", "actor = 'ann'"),
        ("action = 'x'", "action = 'tried'"),
        ("target = '7'", "target = '2'"),
        ("detail = ''", "detail = '很好'"),
        ("was = 'b', became = 'a'", "was = 'a', became = 'b'"),
        ("at = 99", "at = 1"),
        ("hash = hash || '0'", "hash = substr(hash, 1, 64)"),
        ("prev = prev || '0'", "prev = substr(prev, 1, 64)"),
    ] {
        books.by_hand(&format!("UPDATE audit_log SET {change} WHERE id = 3")).await;
        assert_eq!(books.broken().await, (3, Why::Changed), "{change}");
        books.by_hand(&format!("UPDATE audit_log SET {back} WHERE id = 3")).await;
        assert_eq!(books.rows().await, 5, "{back}");
    }
}

#[actix_web::test]
async fn a_row_taken_out_put_in_or_put_elsewhere_shows_at_the_next() {
    let books = Books::open();
    books.acts(0..6).await;
    books.by_hand("UPDATE audit_log SET id = 99 WHERE id = 3").await;
    assert_eq!(books.broken().await, (4, Why::NotBehind));
    books.by_hand("UPDATE audit_log SET id = 3 WHERE id = 99").await;
    assert_eq!(books.rows().await, 6);

    let loose =
        "INSERT INTO audit_log (id, at, actor, action, target, detail) VALUES (50, 1, 'x', 'x', 'x', 'x')";
    books.by_hand(loose).await;
    books.by_hand("UPDATE audit_log SET id = id + 100 WHERE id IN (5, 6)").await;
    assert_eq!(books.broken().await, (105, Why::NotBehind));
    books.by_hand("DELETE FROM audit_log WHERE id = 50").await;
    assert_eq!(books.rows().await, 6);

    books.by_hand("DELETE FROM audit_log WHERE id = 1").await;
    assert_eq!(books.broken().await, (2, Why::NotBehind));
}

#[actix_web::test]
async fn newest_rows_cut_off_are_missed_by_the_seal_and_by_a_noted_head() {
    let books = Books::open();
    books.acts(0..4).await;
    let Looked::Whole { seal, .. } = books.look().await else { panic!() };
    let (head, kept) = (seal.hash.clone(), seal.clone());
    books.store.write(move |db| audit_chain::set_seal(db, &kept, UnixMs(9))).await.unwrap();
    books.by_hand("DELETE FROM audit_log WHERE id > 2").await;
    assert_eq!(books.broken().await, (4, Why::Gone));
    assert!(!books.store.read(move |db| audit_chain::has(db, &head)).await.unwrap());
}

#[actix_web::test]
async fn rows_of_before_come_into_the_chain_with_the_next_act_and_count_from_then_on() {
    let books = Books::open();
    for n in 1..=3 {
        let old = format!(
            "INSERT INTO audit_log (at, actor, action, target, detail) VALUES ({n}, 'old', 'did', '{n}', '')"
        );
        books.run(&old).await.unwrap();
    }
    assert!(matches!(books.look().await, Looked::Whole { loose: 3, .. }));
    books.acts(0..2).await;
    // Three of before, the row that covers them, two acts.
    assert_eq!(books.rows().await, 6);
    books.by_hand("UPDATE audit_log SET actor = 'somebody else' WHERE id = 2").await;
    assert_eq!(books.broken().await, (4, Why::NotBehind));
    books.by_hand("UPDATE audit_log SET actor = 'old' WHERE id = 2").await;
    assert_eq!(books.rows().await, 6);
    // An instance of the version before that still runs writes one more.
    books
        .run("INSERT INTO audit_log (at, actor, action, target, detail) VALUES (9, 'old', 'did', '9', '')")
        .await
        .unwrap();
    books.acts(2..3).await;
    assert_eq!(books.rows().await, 9);
}

#[actix_web::test]
async fn acts_at_the_same_moment_stand_one_behind_the_other() {
    let books = Books::open();
    let beside = match books.database.file() {
        Some(_) => books.store.clone(),
        None => Store::open(&books.database).unwrap(),
    };
    let at_once = (0..40).map(|n| act(if n % 2 == 0 { &books.store } else { &beside }, n));
    join_all(at_once).await.into_iter().for_each(|done| done.unwrap());
    assert_eq!(books.rows().await, 40);
    // The database itself refuses a fork.
    let fork = "INSERT INTO audit_log (at, actor, action, target, detail, prev, hash)
        SELECT at, actor, action, target, detail, prev, 'x' FROM audit_log WHERE id = 7";
    assert!(books.run(fork).await.is_err_and(|error| error.is_unique_violation()));
}

#[actix_web::test]
async fn a_look_goes_on_from_the_seal_in_steps_and_the_seal_never_goes_back() {
    let books = Books::open();
    books.acts(0..7).await;
    let mut seal = Seal::default();
    let mut steps = Vec::new();
    loop {
        let from = seal.clone();
        let looked = books.store.read(move |db| audit_chain::look(db, &from, 3)).await.unwrap();
        let Looked::Whole { seal: reached, more, .. } = looked else { panic!("{looked:?}") };
        steps.push(reached.rows);
        seal = reached;
        if !more {
            break;
        }
    }
    assert_eq!(steps, [3, 6, 7]);
    let whole = seal.clone();
    books.store.write(move |db| audit_chain::set_seal(db, &whole, UnixMs(1))).await.unwrap();
    let older = Seal { row_id: 3, ..seal.clone() };
    books.store.write(move |db| audit_chain::set_seal(db, &older, UnixMs(2))).await.unwrap();
    assert_eq!(books.store.read(audit_chain::seal).await.unwrap(), seal);
    assert!(books.run("UPDATE audit_seal SET row_id = 1").await.is_err());
    assert!(books.run("DELETE FROM audit_seal").await.is_err());
    // What lies before the seal is not read again: that is what the command is for.
    books.by_hand("UPDATE audit_log SET actor = 'bob' WHERE id = 2").await;
    let looked = books.store.read(move |db| audit_chain::look(db, &seal, 100)).await.unwrap();
    assert!(matches!(looked, Looked::Whole { .. }), "{looked:?}");
    assert_eq!(books.broken().await, (2, Why::Changed));
}

#[actix_web::test]
async fn the_hourly_look_moves_the_seal_and_tells_of_a_broken_row() {
    let shop = Shop::open().await;
    shop.admin().await;
    assert_eq!(jobs::audit::run_once(shop.app.clone()).await.unwrap(), 0);
    let sealed = shop.app.store.read(audit_chain::seal).await.unwrap();
    assert_eq!((sealed.row_id, sealed.rows), (2, 2));
    shop.admin_as(Role::Support).await;
    let drop_trigger = match shop.app.config.database.file() {
        Some(_) => "DROP TRIGGER audit_log_unchanged",
        None => "DROP TRIGGER audit_log_unchanged ON audit_log",
    };
    shop.app.store.write(sql(drop_trigger)).await.unwrap();
    shop.app.store.write(sql("UPDATE audit_log SET became = 'owner' WHERE id = 3")).await.unwrap();
    shop.clock.advance_ms(3_600_000);
    assert_eq!(jobs::audit::run_once(shop.app.clone()).await.unwrap(), 1);
    shop.app.store.write(sql("UPDATE audit_log SET became = 'support' WHERE id = 3")).await.unwrap();
    shop.clock.advance_ms(3_600_000);
    assert_eq!(jobs::audit::run_once(shop.app.clone()).await.unwrap(), 0);
}

#[actix_web::test]
async fn the_command_names_the_broken_row_and_fails() {
    let files = Files::new();
    let Database::Sqlite(path) = files.database() else { panic!() };
    let books =
        Books { store: Store::open(&files.database()).unwrap(), database: files.database(), _files: files };
    books.acts(0..3).await;
    let audit = |more: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_shouyin"))
            .arg("audit")
            .args(more)
            .env_clear()
            .env("DATABASE_URL", format!("sqlite:{}", path.display()))
            .current_dir(path.parent().unwrap())
            .output()
            .unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap())
    };
    let (code, said) = audit(&[]);
    assert_eq!(code, Some(0), "{said}");
    let head = said.split("3 rows, head ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!(audit(&["--head", &head]).0, Some(0));
    assert_eq!(audit(&["--head", &"0".repeat(64)]).0, Some(1));
    books.by_hand("UPDATE audit_log SET detail = 'nothing happened' WHERE id = 2").await;
    let (code, said) = audit(&[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("row 2 of the audit log was changed after it was written"), "{said}");
}

/// Of a file, made by the migrations before accounts had roles.
#[actix_web::test]
async fn administrators_of_before_become_owners_and_their_log_stays() {
    let files = Files::new();
    let Database::Sqlite(path) = files.database() else { panic!() };
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL,
            run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    )
    .unwrap();
    for (number, name) in [("1", "books"), ("2", "refunds"), ("4", "refunds_sent")] {
        let version = format!("{number:0>14}");
        let text = std::fs::read_to_string(format!("migrations/sqlite/{version}_{name}/up.sql")).unwrap();
        old.execute_batch(&text).unwrap();
        old.execute("INSERT INTO __diesel_schema_migrations (version) VALUES (?1)", [version]).unwrap();
    }
    old.execute_batch(
        "INSERT INTO users (username, password_hash, role, created_at)
            VALUES ('boss', 'x', 'owner', 1), ('ann', 'x', 'user', 2);
        INSERT INTO sessions (token_hash, user_id, created_at, seen_at, expires_at) VALUES ('t', 1, 1, 1, 9);
        INSERT INTO audit_log (at, actor, action, target, detail) VALUES (1, 'boss', 'admin_created', 'boss', '')",
    )
    .unwrap();
    drop(old);
    let store = Store::open(&files.database()).unwrap();
    let admins = store.read(users::admins).await.unwrap();
    let of: Vec<_> =
        admins.iter().map(|account| (account.user.username.as_str(), account.user.role)).collect();
    assert_eq!(of, [("boss", Role::Owner)]);
    assert!(admins[0].disabled_at.is_none());
    assert_eq!(store.read(|db| users::by_id(db, 2)).await.unwrap().unwrap().role, Role::User);
    for role in ["boss", ""] {
        let refused = store.write(sql(&format!("UPDATE users SET role = '{role}' WHERE id = 2"))).await;
        assert!(refused.is_err(), "{role}");
    }
    assert!(store.write(sql("DELETE FROM users WHERE id = 1")).await.is_err(), "still referred to");
    act(&store, 1).await.unwrap();
    let looked = store.read(audit_chain::look_at_all).await.unwrap();
    assert!(matches!(looked, Looked::Whole { seal: Seal { rows: 3, .. }, loose: 0, .. }), "{looked:?}");
}
