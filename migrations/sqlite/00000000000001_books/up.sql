-- Times are UTC milliseconds, money is whole fen. PostgreSQL gets the same tables under the same number.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    username      TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('user', 'owner')),
    created_at    BIGINT  NOT NULL
);

-- A WeChat user under one appid belongs to one of our users.
CREATE TABLE openids (
    appid      TEXT   NOT NULL,
    openid     TEXT   NOT NULL,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (appid, openid)
);
CREATE INDEX openids_user ON openids (user_id);

-- The cookie holds the token, the table only its SHA-256. openid: who holds the phone, not who is signed in.
CREATE TABLE sessions (
    token_hash TEXT   PRIMARY KEY NOT NULL,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    openid     TEXT,
    appid      TEXT,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK ((openid IS NULL) = (appid IS NULL))
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE oauth_states (
    state_hash   TEXT   PRIMARY KEY NOT NULL,
    browser_hash TEXT   NOT NULL,
    next         TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX oauth_states_expiry ON oauth_states (expires_at);

CREATE TABLE setup_links (
    token_hash TEXT   PRIMARY KEY NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE orders (
    id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    out_trade_no   TEXT    NOT NULL UNIQUE,
    user_id        BIGINT  NOT NULL REFERENCES users (id),
    intent         TEXT    NOT NULL,
    goods_name     TEXT    NOT NULL,
    amount_fen     BIGINT  NOT NULL CHECK (amount_fen BETWEEN 1 AND 9007199254740992),
    environment    TEXT    NOT NULL CHECK (environment IN ('live', 'simulator')),
    status         INTEGER NOT NULL DEFAULT 0 CHECK (status IN (0, 1)),
    created_at     BIGINT  NOT NULL,
    expires_at     BIGINT  NOT NULL,
    close_after    BIGINT  NOT NULL,
    closed_at      BIGINT,
    paid_at        BIGINT,
    transaction_id TEXT,
    settled_by     TEXT CHECK (settled_by IN ('notify', 'query', 'sweep', 'admin')),
    late           INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1)),
    -- Paid means all the payment facts, unpaid means none of them.
    CHECK ((status = 1) = (paid_at IS NOT NULL)),
    CHECK ((status = 1) = (transaction_id IS NOT NULL)),
    CHECK ((status = 1) = (settled_by IS NOT NULL))
);
-- A double click is one order.
CREATE UNIQUE INDEX orders_intent ON orders (user_id, intent);
-- A payment credits at most one order.
CREATE UNIQUE INDEX orders_transaction ON orders (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX orders_user ON orders (user_id, id);
CREATE INDEX orders_to_close ON orders (close_after) WHERE status = 0 AND closed_at IS NULL;
CREATE INDEX orders_created ON orders (created_at);

CREATE TRIGGER orders_never_unpaid BEFORE UPDATE OF status ON orders
WHEN OLD.status = 1 AND NEW.status <> 1
BEGIN SELECT RAISE(ABORT, 'a paid order stays paid'); END;

CREATE TRIGGER orders_fixed_facts BEFORE UPDATE ON orders
WHEN NEW.id <> OLD.id OR NEW.out_trade_no <> OLD.out_trade_no OR NEW.user_id <> OLD.user_id
  OR NEW.amount_fen <> OLD.amount_fen OR NEW.environment <> OLD.environment OR NEW.intent <> OLD.intent
  OR NEW.created_at <> OLD.created_at
  OR (OLD.transaction_id IS NOT NULL AND NEW.transaction_id IS NOT OLD.transaction_id)
  OR (OLD.paid_at IS NOT NULL AND NEW.paid_at IS NOT OLD.paid_at)
BEGIN SELECT RAISE(ABORT, 'this fact of an order never changes'); END;

CREATE TRIGGER orders_kept BEFORE DELETE ON orders
BEGIN SELECT RAISE(ABORT, 'orders are never deleted'); END;

-- One number at one gateway with its exact parameters.
CREATE TABLE attempts (
    out_trade_no TEXT   PRIMARY KEY NOT NULL,
    order_id     BIGINT NOT NULL REFERENCES orders (id),
    channel      TEXT   NOT NULL,
    provider     TEXT   NOT NULL,
    -- Whose account at the gateway: a message for another one never settles this attempt.
    account      TEXT   NOT NULL,
    environment  TEXT   NOT NULL CHECK (environment IN ('live', 'simulator')),
    amount_fen   BIGINT NOT NULL,
    goods_name   TEXT   NOT NULL,
    payer        TEXT   NOT NULL,
    client_ip    TEXT   NOT NULL,
    notify_url   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    asked_at     BIGINT,
    prepay_id    TEXT,
    prepaid_at   BIGINT,
    closed_at    BIGINT
);
CREATE INDEX attempts_order ON attempts (order_id);

CREATE TRIGGER attempts_kept BEFORE DELETE ON attempts
BEGIN SELECT RAISE(ABORT, 'attempts are never deleted'); END;

CREATE TRIGGER attempts_fixed_facts BEFORE UPDATE ON attempts
WHEN NEW.out_trade_no <> OLD.out_trade_no OR NEW.order_id <> OLD.order_id OR NEW.channel <> OLD.channel
  OR NEW.provider <> OLD.provider OR NEW.account <> OLD.account OR NEW.environment <> OLD.environment OR NEW.amount_fen <> OLD.amount_fen
  OR NEW.goods_name <> OLD.goods_name OR NEW.payer <> OLD.payer OR NEW.client_ip <> OLD.client_ip
  OR NEW.notify_url <> OLD.notify_url OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
BEGIN SELECT RAISE(ABORT, 'an attempt keeps its parameters'); END;

-- When to ask the gateway next. A row lives until its attempt needs no more asking.
CREATE TABLE pending_queries (
    out_trade_no TEXT    PRIMARY KEY NOT NULL REFERENCES attempts (out_trade_no),
    next_at      BIGINT  NOT NULL,
    asked_at     BIGINT,
    asked        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX pending_queries_due ON pending_queries (next_at);

-- Every authentic message of a gateway, as it arrived: callbacks, and query replies that settled or failed to.
CREATE TABLE notices (
    id             TEXT   PRIMARY KEY NOT NULL,
    received_at    BIGINT NOT NULL,
    provider       TEXT   NOT NULL,
    source         TEXT   NOT NULL,
    verdict        TEXT   NOT NULL,
    out_trade_no   TEXT,
    transaction_id TEXT,
    remote_ip      TEXT   NOT NULL,
    headers        TEXT   NOT NULL,
    body           BLOB   NOT NULL,
    reply          TEXT   NOT NULL
);
CREATE INDEX notices_order ON notices (out_trade_no);

CREATE TRIGGER notices_unchanged BEFORE UPDATE ON notices
BEGIN SELECT RAISE(ABORT, 'notices are never changed'); END;
CREATE TRIGGER notices_kept BEFORE DELETE ON notices
BEGIN SELECT RAISE(ABORT, 'notices are never deleted'); END;

-- Messages nobody vouches for: the newest ones only, their bodies cut, so that a flood cannot fill the disk.
CREATE TABLE rejected_notices (
    id             TEXT   PRIMARY KEY NOT NULL,
    received_at    BIGINT NOT NULL,
    provider       TEXT   NOT NULL,
    source         TEXT   NOT NULL,
    verdict        TEXT   NOT NULL,
    out_trade_no   TEXT,
    transaction_id TEXT,
    remote_ip      TEXT   NOT NULL,
    headers        TEXT   NOT NULL,
    body           BLOB   NOT NULL,
    reply          TEXT   NOT NULL
);
CREATE INDEX rejected_notices_order ON rejected_notices (out_trade_no);

CREATE TRIGGER rejected_notices_unchanged BEFORE UPDATE ON rejected_notices
BEGIN SELECT RAISE(ABORT, 'notices are never changed'); END;

-- Double entry: the legs of one order and kind sum to zero. Balances are sums.
CREATE TABLE ledger (
    id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('top_up')),
    order_id   BIGINT  NOT NULL REFERENCES orders (id),
    account    TEXT    NOT NULL,
    amount_fen BIGINT  NOT NULL,
    notice_id  TEXT    NOT NULL REFERENCES notices (id),
    created_at BIGINT  NOT NULL
);
-- An order is credited once: the second assertion behind the conditional update.
CREATE UNIQUE INDEX ledger_once ON ledger (order_id, kind, account);
CREATE INDEX ledger_account ON ledger (account);

CREATE TRIGGER ledger_unchanged BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;

-- What a person must look at. The same fault of the same payment is one item, however often it is reported.
CREATE TABLE work_items (
    id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind           TEXT    NOT NULL,
    out_trade_no   TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    notice_id      TEXT    NOT NULL,
    opened_at      BIGINT  NOT NULL,
    closed_at      BIGINT,
    closed_by      TEXT,
    note           TEXT
);
CREATE UNIQUE INDEX work_items_once ON work_items (kind, out_trade_no, transaction_id);
CREATE INDEX work_items_open ON work_items (id) WHERE closed_at IS NULL;

-- The story of an order between its messages: prepay, what the page returned, queries, closing, credit.
CREATE TABLE order_events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    order_id BIGINT  NOT NULL REFERENCES orders (id),
    at       BIGINT  NOT NULL,
    kind     TEXT    NOT NULL,
    detail   TEXT    NOT NULL
);
CREATE INDEX order_events_order ON order_events (order_id, id);

CREATE TABLE audit_log (
    id     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at     BIGINT  NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    detail TEXT    NOT NULL
);

CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is never shortened'); END;

-- Written by the readiness probe: proof that the books take writes.
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    at BIGINT  NOT NULL
);
INSERT INTO heartbeat (id, at) VALUES (1, 0);
