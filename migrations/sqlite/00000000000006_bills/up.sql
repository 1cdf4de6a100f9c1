-- The gateways' bills, a row a day, and what stands in them: every difference from our books is one work item.

CREATE TABLE bills (
    id               INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    provider         TEXT    NOT NULL,
    -- Whose bill: the merchant at the gateway.
    account          TEXT    NOT NULL,
    environment      TEXT    NOT NULL CHECK (environment IN ('live', 'simulator')),
    -- In Beijing, yyyy-MM-dd.
    day              TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('waiting', 'balanced', 'unbalanced')),
    -- Whoever fetches and compares has it until then.
    leased_until     BIGINT  NOT NULL DEFAULT 0,
    -- When to try again; not once it is compared.
    next_at          BIGINT,
    -- Why it is not compared yet.
    said             TEXT    NOT NULL DEFAULT '',
    -- When the last of its lines was written down, and of which file.
    fetched_at       BIGINT,
    sha256           TEXT    NOT NULL DEFAULT '',
    compared_at      BIGINT,
    payments         BIGINT  NOT NULL DEFAULT 0,
    payments_fen     BIGINT  NOT NULL DEFAULT 0,
    refunds          BIGINT  NOT NULL DEFAULT 0,
    refunds_fen      BIGINT  NOT NULL DEFAULT 0,
    our_payments     BIGINT  NOT NULL DEFAULT 0,
    our_payments_fen BIGINT  NOT NULL DEFAULT 0,
    our_refunds      BIGINT  NOT NULL DEFAULT 0,
    our_refunds_fen  BIGINT  NOT NULL DEFAULT 0,
    -- Payments that only this bill brought to light.
    credited         BIGINT  NOT NULL DEFAULT 0,
    CHECK (state = 'waiting' OR (compared_at IS NOT NULL AND next_at IS NULL))
);
CREATE UNIQUE INDEX bills_once ON bills (provider, account, environment, day);

CREATE TRIGGER bills_kept BEFORE DELETE ON bills
BEGIN SELECT RAISE(ABORT, 'bills are never deleted'); END;

-- The lines that moved money. A gateway that makes a bill anew replaces them.
CREATE TABLE bill_rows (
    bill_id        BIGINT  NOT NULL REFERENCES bills (id),
    -- In the file.
    line           INTEGER NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('payment', 'refund')),
    transaction_id TEXT    NOT NULL,
    out_trade_no   TEXT    NOT NULL,
    out_refund_no  TEXT    NOT NULL,
    amount_fen     BIGINT  NOT NULL CHECK (amount_fen >= 0),
    at             BIGINT  NOT NULL,
    PRIMARY KEY (bill_id, line)
);
CREATE INDEX bill_rows_payment ON bill_rows (transaction_id);
CREATE INDEX bill_rows_refund ON bill_rows (out_refund_no);

-- What differs now. The work item stays when a difference goes.
CREATE TABLE bill_differences (
    id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    bill_id        BIGINT  NOT NULL REFERENCES bills (id),
    bucket         TEXT    NOT NULL CHECK (bucket IN ('extra', 'missing', 'amount')),
    kind           TEXT    NOT NULL CHECK (kind IN ('payment', 'refund')),
    transaction_id TEXT    NOT NULL,
    out_trade_no   TEXT    NOT NULL,
    out_refund_no  TEXT    NOT NULL,
    theirs_fen     BIGINT,
    ours_fen       BIGINT,
    at             BIGINT  NOT NULL,
    work_item_id   BIGINT  NOT NULL REFERENCES work_items (id),
    -- By the last comparison that found it.
    seen_at        BIGINT  NOT NULL
);
CREATE UNIQUE INDEX bill_differences_once ON bill_differences (bill_id, kind, transaction_id, out_trade_no, out_refund_no);
CREATE INDEX bill_differences_work_item ON bill_differences (work_item_id);

-- A payment can be brought by a bill. SQLite has no statement that widens a CHECK; its documentation gives this way for
-- changes that leave what is stored as it is.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
    SET sql = replace(sql, '(''notify'', ''query'', ''sweep'', ''admin'')', '(''notify'', ''query'', ''sweep'', ''admin'', ''bill'')')
    WHERE type = 'table' AND name = 'orders';
PRAGMA writable_schema = RESET;
