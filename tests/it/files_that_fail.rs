//! A file of books that is damaged is not built on; a log that grows is told of.

use crate::{books::Files, harness::Shop};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use shouyin::{
    config::Database,
    jobs,
    store::{Store, books},
};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PAGE: u64 = 4096;

fn run(command: &str, path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shouyin"))
        .arg(command)
        .env_clear()
        .env("DATABASE_URL", format!("sqlite:{}", path.display()))
        .current_dir(path.parent().unwrap())
        .output()
        .unwrap()
}

/// Books of some hundred pages that nobody has open.
fn books_of_a_file(files: &Files) -> PathBuf {
    let Database::Sqlite(path) = files.database() else { unreachable!("a file") };
    assert!(run("migrate", &path).status.success());
    let mut sqlite = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let users = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO users (id, username, password_hash, role, created_at)
            SELECT i, 'user' || i, hex(randomblob(40)), 'user', 1 FROM n";
    sqlite.batch_execute(users).unwrap();
    path
}

fn damage(path: &Path) {
    let middle = fs::metadata(path).unwrap().len() / 2 / PAGE * PAGE;
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xff; 64], middle).unwrap();
}

#[test]
fn books_with_a_damaged_page_are_neither_opened_nor_changed_and_the_audit_says_so() {
    let files = Files::new();
    let path = books_of_a_file(&files);
    let audit = run("audit", &path);
    let said = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.status.success() && said.contains("ok      every page of the file is whole\n"), "{said}");
    damage(&path);
    let before = fs::read(&path).unwrap();
    let refused = Store::open(&files.database()).err().expect("it is damaged").to_string();
    for part in ["the file is damaged (", "Nothing was changed", "restore the newest backup"] {
        assert!(refused.contains(part), "{refused}");
    }
    let migrate = run("migrate", &path);
    assert_eq!(migrate.status.code(), Some(4), "{migrate:?}");
    let audit = run("audit", &path);
    let said = String::from_utf8(audit.stdout).unwrap();
    assert_eq!(audit.status.code(), Some(1), "{said}");
    assert!(said.contains("BROKEN  every page of the file is whole: "), "{said}");
    assert!(fs::read(&path).unwrap() == before, "it was written to");
}

/// As a process leaves them that was killed: with a log that is not in the file yet.
fn left_behind(files: &Files) -> (PathBuf, PathBuf) {
    let path = books_of_a_file(files);
    let mut sqlite = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    sqlite.batch_execute("UPDATE users SET created_at = 2 WHERE id = 1").unwrap();
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    let image = path.with_file_name("image.db");
    fs::copy(&path, &image).unwrap();
    fs::copy(log(&path), log(&image)).unwrap();
    let log = log(&image);
    (image, log)
}

#[test]
fn the_log_beside_a_damaged_file_stays_what_it_is() {
    let files = Files::new();
    let (path, log) = left_behind(&files);
    damage(&path);
    let before = [&path, &log].map(|file| fs::read(file).unwrap());
    assert!(!before[1].is_empty());
    let refused = Store::open(&Database::Sqlite(path.clone())).err().expect("it is damaged").to_string();
    assert!(refused.contains("the file is damaged ("), "{refused}");
    assert_eq!(run("migrate", &path).status.code(), Some(4));
    assert_eq!(run("audit", &path).status.code(), Some(1));
    assert!([&path, &log].map(|file| fs::read(file).unwrap()) == before, "it was written to");
}

#[test]
fn an_audit_beside_nobody_leaves_the_log_to_the_next_start() {
    let files = Files::new();
    let (path, log) = left_behind(&files);
    let before = fs::read(&log).unwrap();
    let audit = run("audit", &path);
    assert!(audit.status.success(), "{audit:?}");
    assert!(fs::read(&log).unwrap() == before);
    drop(Store::open(&Database::Sqlite(path)).unwrap());
}

#[test]
fn a_row_that_breaks_a_rule_of_its_table_is_no_damage() {
    let files = Files::new();
    let path = books_of_a_file(&files);
    let mut sqlite = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let outside = "PRAGMA ignore_check_constraints = ON; UPDATE users SET role = 'king' WHERE id = 1";
    sqlite.batch_execute(outside).unwrap();
    drop(sqlite);
    let audit = run("audit", &path);
    let said = String::from_utf8(audit.stdout).unwrap();
    assert!(said.contains("ok      every page of the file is whole\n"), "{said}");
    drop(Store::open(&files.database()).unwrap());
}

#[test]
fn books_whose_name_means_something_in_a_uri_are_read() {
    let files = Files::new();
    let named = |name: &str| Database::Sqlite(files.database().file().unwrap().with_file_name(name));
    for name in ["50%25 of it.db", "b#c.db", "收银.db"] {
        drop(Store::open(&named(name)).unwrap());
        assert!(run("audit", named(name).file().unwrap()).status.success(), "{name}");
    }
}

#[test]
fn what_is_no_book_at_all_is_refused_as_that() {
    let files = Files::new();
    let path = books_of_a_file(&files);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"not a database at all", 0).unwrap();
    let refused = Store::open(&files.database()).err().expect("it is none").to_string();
    assert!(refused.contains("file is not a database"), "{refused}");
}

#[actix_web::test]
async fn a_log_that_has_grown_to_hundreds_of_mebibytes_is_an_alert() {
    let files = Files::new();
    let database = files.database();
    let shop = Shop::open_with(|config| config.database = database.clone()).await;
    shop.paid("ann", "50").await;
    let alert = async || {
        jobs::housekeeping::run_once(shop.app.clone()).await.unwrap();
        let metrics = shop.browser().get("/metrics").await.body;
        let bytes = metrics.lines().find_map(|line| line.strip_prefix("db_log_bytes ")).unwrap();
        (bytes.parse::<u64>().unwrap(), metrics.contains("alerts_total{name=\"long_log\"} 1\n"))
    };
    let (bytes, alerted) = alert().await;
    assert!(bytes > 0 && !alerted, "{bytes}");
    // Behind what SQLite has written there is nothing it would read.
    let mut log = database.file().unwrap().as_os_str().to_owned();
    log.push("-wal");
    OpenOptions::new().write(true).open(log).unwrap().set_len(257 << 20).unwrap();
    assert_eq!(alert().await, (257 << 20, true));
    assert_eq!(shop.app.store.read(books::damage).await.unwrap(), None);
}
