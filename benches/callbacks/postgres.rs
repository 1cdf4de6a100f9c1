//! The same work by `pgbench`, PostgreSQL's own client, on the same server and tables.

use shouyin::config::Database;
use std::{fs, path::Path, process::Command};

/// How one order is written.
#[derive(Clone, Copy)]
pub enum Form {
    /// Six statements and COMMIT, prepared.
    Statements,
    /// Everything in one statement, prepared.
    One,
    /// The six statements, and a row that keeps the user's balance, as many shops have one.
    Balance,
}

/// A new schema on the server; gone with the value.
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub fn new(server: &str, name: &str) -> Schema {
        let schema = Schema { server: server.to_owned(), name: name.to_owned() };
        schema.run(&format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}"));
        schema
    }

    pub fn url(&self) -> String {
        let sign = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{sign}options=-csearch_path%3D{}", self.server, self.name)
    }

    pub fn database(&self) -> Database {
        Database::parse(&self.url()).unwrap()
    }

    fn run(&self, sql: &str) {
        let done = Command::new("psql").args([&self.server, "-qc", sql]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        self.run(&format!("SET client_min_messages = warning; DROP SCHEMA {} CASCADE", self.name));
    }
}

/// Orders a second by so many clients, each its own share of unpaid orders 0, 1, 2, …
pub fn orders_per_second(
    schema: &Schema,
    folder: &Path,
    orders: usize,
    clients: usize,
    form: Form,
    body: &str,
) -> f64 {
    if matches!(form, Form::Balance) {
        schema.run(&format!(
            "CREATE TABLE {0}.balances (user_id bigint PRIMARY KEY, fen bigint NOT NULL); \
             INSERT INTO {0}.balances SELECT id, 0 FROM {0}.users",
            schema.name
        ));
    }
    let each = orders / clients;
    let script = folder.join("settle.sql");
    fs::write(&script, text(form, body)).unwrap();
    let done = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-t", &each.to_string()])
        .args(["-D", "i=-1", "-D", &format!("each={each}"), "-f"])
        .arg(&script)
        .arg(schema.url())
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("failed transactions: 0 "), "{said} {errors}");
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("{said}"))
}

fn text(form: Form, body: &str) -> String {
    let next = "\\set i :i + 1\n\\set n :client_id * :each + :i\n";
    let number = "lpad((:n)::text, 32, '0')";
    let paid_by = "('4200' || lpad((:n)::text, 24, '0'))";
    let notice = "lpad((:n)::text, 32, 'a')";
    let flip = format!(
        "UPDATE orders SET status = 1, paid_at = 1, transaction_id = {paid_by}, settled_by = 'notify' WHERE id IN \
         (SELECT order_id FROM attempts WHERE out_trade_no = {number}) AND status = 0 AND amount_fen = 100"
    );
    let keep = format!(
        "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id, remote_ip, \
         headers, body, reply) SELECT {notice}, 1, 'wechat', 'notify', 'ok', {number}, {paid_by}, '127.0.0.1', '', \
         '{body}'::text::bytea, 'SUCCESS'"
    );
    let credit = |order: &str, user: &str, from: &str| {
        format!(
            "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at) \
             SELECT 'top_up', {order}, {order}, leg.account, leg.fen, {notice}, 1 FROM {from}(VALUES \
             ('gateway' || chr(58) || 'wechat', -100), ('user:' || {user}, 100)) AS leg (account, fen)"
        )
    };
    let tell = |order: &str, from: &str| {
        format!(
            "INSERT INTO order_events (order_id, at, kind, detail) SELECT {order}, 1, 'credit', '+1.00 notify JSAPI'{from}"
        )
    };
    let unask = format!("DELETE FROM pending_queries WHERE out_trade_no = {number}");
    let balance = match form {
        Form::Balance => "UPDATE balances SET fen = fen + 100 WHERE user_id = (:user)::bigint;\n",
        Form::Statements | Form::One => "",
    };
    match form {
        Form::Statements | Form::Balance => format!(
            "{next}BEGIN;\n{flip} RETURNING id AS order, user_id AS user \\gset\n{balance}{keep};\n{};\n{};\n{unask};\nCOMMIT;\n",
            credit("(:order)::bigint", "(:user)::bigint", ""),
            tell("(:order)::bigint", ""),
        ),
        Form::One => format!(
            "{next}WITH flipped AS ({flip} RETURNING id, user_id), kept AS ({keep} FROM flipped), credited AS ({}), told AS ({}) {unask};\n",
            credit("flipped.id", "flipped.user_id", "flipped, LATERAL "),
            tell("flipped.id", " FROM flipped"),
        ),
    }
}
