//! Books of any size that look like a shop's of 20,000 orders a day: users, attempts, messages with their bodies, ledger,
//! story, refunds, late and closed and open orders. Made by a handful of statements, so that millions take minutes.

use diesel::{
    Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection,
    sql_query, sql_types::BigInt,
};
use shouyin::{config::Database, store::Db};

/// The newest orders, which nobody has paid yet.
const OPEN: i64 = 40;
/// Between two orders.
const EVERY_MS: i64 = 4_320;
/// In one transaction.
const AT_ONCE: i64 = 200_000;
/// The user with a few hundred orders, whatever the books are.
pub const BUSY_USER: i64 = 1;

/// A connection of its own, beside the writer of an open store.
pub fn connect(database: &Database) -> Db {
    match database {
        Database::Sqlite(path) => {
            let mut sqlite = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            sqlite.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA cache_size = -1000000").unwrap();
            Db::Sqlite(sqlite)
        }
        Database::Postgres(url) => Db::Postgres(PgConnection::establish(&url.with(&[])).unwrap()),
    }
}

/// What the books are to become.
#[derive(Clone, Copy)]
pub struct Plan {
    pub orders: i64,
    /// When the newest of them is made.
    pub end: i64,
}

impl Plan {
    pub const fn users(self) -> i64 {
        if self.orders < 400 { 20 } else { self.orders / 20 }
    }

    /// When this order is made, in ms.
    pub const fn made_at(self, order: i64) -> i64 {
        self.end - (self.orders - order) * EVERY_MS
    }
}

/// Fills books that have `done` of their orders, so that they have `upto`; the newest are open.
pub fn fill(db: &mut Db, plan: Plan, done: i64, upto: i64) {
    let users = plan.users();
    if done == 0 {
        run(db, 1, users, USERS);
    }
    let mut first = done + 1;
    while first <= upto {
        let last = upto.min(first + AT_ONCE - 1);
        let of_busy = (plan.orders / 400).max(1);
        let made = [
            (
                "{busy}",
                format!("CASE WHEN i % {of_busy} = 0 THEN {BUSY_USER} ELSE 1 + r * 7919 % {users} END"),
            ),
            ("{created}", format!("{} + i * {EVERY_MS}", plan.made_at(0))),
            ("{open_from}", (upto - OPEN).to_string()),
            ("{first}", first.to_string()),
            ("{last}", last.to_string()),
        ];
        let words =
            |sql: &str| made.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value));
        db.batch_execute("BEGIN").unwrap();
        for sql in [ORDERS, ATTEMPTS, SECOND_ATTEMPTS, PENDING, NOTICES, LEDGER, EVENTS, REFUNDS, HOLDS] {
            run(db, first, last, &words(sql));
        }
        db.batch_execute("COMMIT").unwrap();
        first = last + 1;
    }
    if let Db::Postgres(_) = db {
        for table in ["users", "orders"] {
            let next = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))"
            );
            sql_query(next).execute(db).unwrap();
        }
        // As autovacuum would have done by then.
        db.batch_execute("VACUUM ANALYZE").unwrap();
    }
}

/// The first number a query gives.
pub fn number(db: &mut Db, sql: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let number: Number = sql_query(sql).get_result(db).unwrap();
    number.number
}

/// One statement over the numbers from `first` to `last`, in the words of the engine.
fn run(db: &mut Db, first: i64, last: i64, sql: &str) {
    let (series, random, hex, blob) = match db {
        Db::Sqlite(_) => (
            format!(
                "WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            ),
            "lower(hex(randomblob(16)))",
            ["printf('%012x', ", ")"],
            "BLOB",
        ),
        Db::Postgres(_) => (
            format!("WITH n (i) AS (SELECT generate_series({first}::bigint, {last}))"),
            "replace(gen_random_uuid()::text, '-', '')",
            ["lpad(to_hex(", "), 12, '0')"],
            "BYTEA",
        ),
    };
    let sql = sql
        .replace("{series}", &series)
        .replace("{random}", random)
        .replace("{hex}", hex[0])
        .replace("{/hex}", hex[1])
        .replace("{blob}", blob)
        .replace("{body}", BODY);
    db.batch_execute(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// As long as a callback of WeChat.
const BODY: &str = "<xml><appid>wx8888888888888888</appid><bank_type>CMB_CREDIT</bank_type><cash_fee>100</cash_fee>\
    <fee_type>CNY</fee_type><is_subscribe>N</is_subscribe><mch_id>1900000109</mch_id><nonce_str>6OQ37L7i6JN1PRLD6OQ37L7i6JN1PRLD\
    </nonce_str><openid>oUpF8uMEb4qRXf22hE3X68TekukE</openid><result_code>SUCCESS</result_code><return_code>SUCCESS</return_code>\
    <sign>5C95DB8B1A1BA65D2B5DE0B2A8A2F7E0F0D5C95DB8B1A1BA65D2B5DE0B2A8A2F</sign><time_end>20261120203040</time_end>\
    <total_fee>100</total_fee><trade_type>JSAPI</trade_type></xml>";

const USERS: &str = "{series} INSERT INTO users (id, username, password_hash, role, created_at)
    SELECT i, 'grown' || i, 'no password', 'user', 1 FROM n";

/// Numbers as `Clock::out_trade_no` makes them: milliseconds, then chance. `r` is a number that looks like chance.
/// Of a hundred orders twenty are closed unpaid; of a thousand two are late.
const ORDERS: &str = "{series}, drawn AS (SELECT i, (i * 2654435761) % 4294967296 / 16 AS r FROM n)
    INSERT INTO orders (id, out_trade_no, user_id, intent, goods_name, amount_fen, environment, status, created_at, expires_at,
        close_after, closed_at, paid_at, transaction_id, settled_by, late, told_paid_at, refund_fen, refunds)
    SELECT i, {hex}{created}{/hex} || '7' || substr({random}, 14), {busy}, {random}, '账户充值', 100 * (1 + r % 50), 'simulator',
        CASE WHEN i > {open_from} OR r % 1000 < 200 THEN 0 ELSE 1 END,
        {created}, {created} + 900000, {created} + 900000,
        CASE WHEN i <= {open_from} AND r % 1000 < 202 THEN {created} + 900000 END,
        CASE WHEN i > {open_from} OR r % 1000 < 200 THEN NULL WHEN r % 1000 < 202 THEN {created} + 960000
            ELSE {created} + 8000 + r % 10000 END,
        CASE WHEN i <= {open_from} AND r % 1000 >= 200 THEN '4200' || substr('0000000000000000' || i, length('' || i) + 1) END,
        CASE WHEN i > {open_from} OR r % 1000 < 200 THEN NULL WHEN r % 100 = 7 THEN 'sweep' WHEN r % 100 = 8 THEN 'query' ELSE 'notify' END,
        CASE WHEN i <= {open_from} AND r % 1000 IN (200, 201) THEN 1 ELSE 0 END,
        CASE WHEN i <= {open_from} AND r % 1000 >= 202 THEN {created} + 7000 + r % 10000 END,
        CASE WHEN i <= {open_from} AND r % 1000 >= 990 THEN 100 ELSE 0 END,
        CASE WHEN i <= {open_from} AND r % 1000 >= 990 THEN 1 ELSE 0 END
    FROM drawn";

/// Three in ten by Alipay, one in a thousand in a phone's browser.
const ATTEMPTS: &str = "INSERT INTO attempts (out_trade_no, order_id, channel, provider, account, environment, amount_fen,
        goods_name, payer, client_ip, notify_url, created_at, expires_at, asked_at, prepay_id, prepaid_at, closed_at)
    SELECT out_trade_no, id, CASE WHEN id % 1000 = 5 THEN 'wechat_h5' WHEN id % 10 < 3 THEN 'alipay_qr' ELSE 'wechat_jsapi' END,
        CASE WHEN id % 10 < 3 AND id % 1000 <> 5 THEN 'alipay' ELSE 'wechat' END,
        CASE WHEN id % 10 < 3 AND id % 1000 <> 5 THEN '2021000000000000' ELSE '1900000109/wx8888888888888888' END,
        environment, amount_fen, goods_name, 'oUpF8uMEb4qRXf22hE3X68TekukE', '203.0.113.7', 'https://pay.example.com/notify/wechat',
        created_at, expires_at, created_at + 5, 'wx202033' || id, created_at + 90, closed_at
    FROM orders WHERE id BETWEEN {first} AND {last}";

/// One order in twenty was tried again, on another phone.
const SECOND_ATTEMPTS: &str = "INSERT INTO attempts (out_trade_no, order_id, channel, provider, account, environment, amount_fen,
        goods_name, payer, client_ip, notify_url, created_at, expires_at, asked_at, prepay_id, prepaid_at, closed_at)
    SELECT {hex}created_at + 3000{/hex} || '7' || substr({random}, 14), order_id, channel, provider, account, environment,
        amount_fen, goods_name, payer, client_ip, notify_url, created_at + 3000, expires_at, asked_at + 3000,
        prepay_id || 'b', prepaid_at + 3000, closed_at
    FROM attempts WHERE order_id BETWEEN {first} AND {last} AND order_id % 20 = 3";

const PENDING: &str = "INSERT INTO pending_queries (out_trade_no, next_at, asked)
    SELECT out_trade_no, created_at + 600000, 0 FROM orders WHERE id BETWEEN {first} AND {last} AND status = 0 AND closed_at IS NULL";

const NOTICES: &str = "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id, remote_ip,
        headers, body, reply)
    SELECT {hex}o.paid_at{/hex} || substr(o.out_trade_no, 13), o.paid_at, a.provider || '_v2', o.settled_by,
        CASE WHEN o.late = 1 THEN 'late_payment' ELSE 'ok' END, o.out_trade_no, o.transaction_id, '203.0.113.9',
        'content-type: text/xml', CAST('{body}' AS {blob}), '<xml><return_code>SUCCESS</return_code></xml>'
    FROM orders o JOIN attempts a ON a.out_trade_no = o.out_trade_no
    WHERE o.id BETWEEN {first} AND {last} AND o.status = 1";

const LEDGER: &str = "INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at)
    SELECT 'top_up', o.id, o.id, CASE leg.side WHEN 0 THEN 'gateway:' || a.provider ELSE 'user:' || o.user_id END,
        CASE leg.side WHEN 0 THEN -o.amount_fen ELSE o.amount_fen END, {hex}o.paid_at{/hex} || substr(o.out_trade_no, 13), o.paid_at
    FROM orders o JOIN attempts a ON a.out_trade_no = o.out_trade_no CROSS JOIN (SELECT 0 AS side UNION ALL SELECT 1) AS leg
    WHERE o.id BETWEEN {first} AND {last} AND o.status = 1 ORDER BY o.id, leg.side";

const EVENTS: &str = "INSERT INTO order_events (order_id, at, kind, detail)
    SELECT o.id, CASE s.step WHEN 2 THEN COALESCE(o.paid_at, o.closed_at) ELSE o.created_at + 90 * s.step END,
        CASE s.step WHEN 0 THEN 'created' WHEN 1 THEN 'prepay' ELSE CASE WHEN o.status = 1 THEN 'credit' ELSE 'close' END END,
        CASE s.step WHEN 0 THEN 'wechat_jsapi 1.00' WHEN 1 THEN 'wx202033' || o.id ELSE '+1.00 notify JSAPI' END
    FROM orders o CROSS JOIN (SELECT 0 AS step UNION ALL SELECT 1 UNION ALL SELECT 2) AS s
    WHERE o.id BETWEEN {first} AND {last} AND (s.step < 2 OR o.status = 1 OR o.closed_at IS NOT NULL) ORDER BY o.id, s.step";

const REFUNDS: &str = "INSERT INTO refunds (out_refund_no, intent, order_id, user_id, provider, account, environment, out_trade_no,
        transaction_id, total_fen, amount_fen, reason, notify_url, requested_by, requested_at, state, refund_id, asked, asked_at,
        finished_at)
    SELECT {hex}o.paid_at + 1000{/hex} || '7' || substr({random}, 14), 'growth' || o.id, o.id, o.user_id, a.provider, a.account,
        o.environment, o.out_trade_no, o.transaction_id, o.amount_fen, o.refund_fen, 'asked for', '', 'boss',
        o.paid_at + 1000, 'success', '5030' || o.id, 1, o.paid_at + 1000, o.paid_at + 9000
    FROM orders o JOIN attempts a ON a.out_trade_no = o.out_trade_no
    WHERE o.id BETWEEN {first} AND {last} AND o.refund_fen > 0";

/// What each refund takes out of a balance, and pays out on the gateway's word.
const HOLDS: &str = "INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id, remote_ip,
        headers, body, reply)
    SELECT {hex}finished_at{/hex} || substr(out_refund_no, 13), finished_at, provider || '_v2', 'refund_query', 'refund_success', out_trade_no,
        transaction_id, '', '', CAST('{body}' AS {blob}), ''
    FROM refunds WHERE order_id BETWEEN {first} AND {last};
    INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at)
    SELECT CASE WHEN leg.side < 2 THEN 'refund_hold' ELSE 'refund' END, r.id, r.order_id,
        CASE leg.side WHEN 0 THEN 'user:' || r.user_id WHEN 3 THEN 'gateway:' || r.provider ELSE 'refunds' END,
        CASE WHEN leg.side IN (0, 2) THEN -r.amount_fen ELSE r.amount_fen END,
        CASE WHEN leg.side >= 2 THEN {hex}r.finished_at{/hex} || substr(r.out_refund_no, 13) END, r.requested_at
    FROM refunds r CROSS JOIN (SELECT 0 AS side UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS leg
    WHERE r.order_id BETWEEN {first} AND {last} ORDER BY r.id, leg.side";
