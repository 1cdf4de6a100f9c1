-- Refunds, payments that fit no order, and what an administrator did about them.

-- How much of a payment is reserved for refunds or has gone back: reserved before anybody is asked, so that
-- refunds at the same time cannot exceed it.
ALTER TABLE orders ADD COLUMN refund_fen BIGINT NOT NULL DEFAULT 0 CHECK (refund_fen BETWEEN 0 AND amount_fen);
ALTER TABLE orders ADD COLUMN refunds INTEGER NOT NULL DEFAULT 0 CHECK (refunds BETWEEN 0 AND 50);

-- The payment a matter is about, when there is one; the same columns as an order for what goes back of it.
ALTER TABLE work_items ADD COLUMN out_refund_no TEXT NOT NULL DEFAULT '';
ALTER TABLE work_items ADD COLUMN provider TEXT;
ALTER TABLE work_items ADD COLUMN account TEXT;
ALTER TABLE work_items ADD COLUMN environment TEXT CHECK (environment IN ('live', 'simulator'));
ALTER TABLE work_items ADD COLUMN amount_fen BIGINT CHECK (amount_fen > 0);
ALTER TABLE work_items ADD COLUMN refund_fen BIGINT NOT NULL DEFAULT 0 CHECK (refund_fen = 0 OR refund_fen BETWEEN 0 AND amount_fen);
ALTER TABLE work_items ADD COLUMN refunds INTEGER NOT NULL DEFAULT 0 CHECK (refunds BETWEEN 0 AND 50);
DROP INDEX work_items_once;
CREATE UNIQUE INDEX work_items_once ON work_items (kind, out_trade_no, transaction_id, out_refund_no);
CREATE INDEX work_items_order ON work_items (out_trade_no);

-- One refund is one out_refund_no for ever. It returns a part of an order's payment, or of a payment that fits no order.
CREATE TABLE refunds (
    id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    out_refund_no  TEXT    NOT NULL UNIQUE,
    -- A double click is one refund.
    intent         TEXT    NOT NULL,
    order_id       BIGINT  REFERENCES orders (id),
    work_item_id   BIGINT  REFERENCES work_items (id),
    -- Whose balance it takes; nobody's when the payment was never credited.
    user_id        BIGINT  REFERENCES users (id),
    provider       TEXT    NOT NULL,
    account        TEXT    NOT NULL,
    environment    TEXT    NOT NULL CHECK (environment IN ('live', 'simulator')),
    out_trade_no   TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    total_fen      BIGINT  NOT NULL CHECK (total_fen > 0),
    amount_fen     BIGINT  NOT NULL CHECK (amount_fen BETWEEN 1 AND total_fen),
    reason         TEXT    NOT NULL,
    notify_url     TEXT    NOT NULL,
    requested_by   TEXT    NOT NULL,
    requested_at   BIGINT  NOT NULL,
    -- A second person above the limit; nobody decides about a request of their own.
    decided_by     TEXT    CHECK (decided_by <> requested_by),
    state          TEXT    NOT NULL CHECK (state IN
        ('waiting', 'asking', 'processing', 'success', 'abnormal', 'closed', 'failed', 'rejected')),
    -- The gateway's own number.
    refund_id      TEXT,
    last_answer    TEXT,
    asked          INTEGER NOT NULL DEFAULT 0,
    asked_at       BIGINT,
    -- The last request was refused; final once the gateway also knows no such refund.
    refused_at     BIGINT,
    queried_at     BIGINT,
    next_at        BIGINT,
    finished_at    BIGINT,
    CHECK ((order_id IS NULL) <> (work_item_id IS NULL)),
    CHECK ((order_id IS NULL) = (user_id IS NULL)),
    CHECK ((state IN ('success', 'closed', 'failed', 'rejected')) = (finished_at IS NOT NULL)),
    CHECK (state NOT IN ('waiting', 'rejected') OR asked = 0)
);
CREATE UNIQUE INDEX refunds_intent ON refunds (requested_by, intent);
CREATE INDEX refunds_order ON refunds (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX refunds_work_item ON refunds (work_item_id) WHERE work_item_id IS NOT NULL;
CREATE INDEX refunds_payment ON refunds (transaction_id);
CREATE INDEX refunds_due ON refunds (next_at) WHERE next_at IS NOT NULL;

CREATE TRIGGER refunds_fixed_facts BEFORE UPDATE ON refunds
WHEN NEW.id <> OLD.id OR NEW.out_refund_no <> OLD.out_refund_no OR NEW.intent <> OLD.intent
  OR NEW.order_id IS NOT OLD.order_id OR NEW.work_item_id IS NOT OLD.work_item_id OR NEW.user_id IS NOT OLD.user_id
  OR NEW.provider <> OLD.provider OR NEW.account <> OLD.account OR NEW.environment <> OLD.environment
  OR NEW.out_trade_no <> OLD.out_trade_no OR NEW.transaction_id <> OLD.transaction_id
  OR NEW.total_fen <> OLD.total_fen OR NEW.amount_fen <> OLD.amount_fen OR NEW.reason <> OLD.reason
  OR NEW.notify_url <> OLD.notify_url OR NEW.requested_by <> OLD.requested_by OR NEW.requested_at <> OLD.requested_at
  OR (OLD.decided_by IS NOT NULL AND NEW.decided_by IS NOT OLD.decided_by)
  OR (OLD.refund_id IS NOT NULL AND NEW.refund_id IS NOT OLD.refund_id)
BEGIN SELECT RAISE(ABORT, 'this fact of a refund never changes'); END;

CREATE TRIGGER refunds_final BEFORE UPDATE OF state ON refunds
WHEN OLD.state IN ('success', 'closed', 'failed', 'rejected') AND NEW.state <> OLD.state
BEGIN SELECT RAISE(ABORT, 'a finished refund stays as it is'); END;

CREATE TRIGGER refunds_kept BEFORE DELETE ON refunds
BEGIN SELECT RAISE(ABORT, 'refunds are never deleted'); END;

-- A payment that fits no order, credited by hand to a user after the gateway confirmed it.
CREATE TABLE corrections (
    id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    work_item_id   BIGINT  NOT NULL UNIQUE REFERENCES work_items (id),
    provider       TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    user_id        BIGINT  NOT NULL REFERENCES users (id),
    amount_fen     BIGINT  NOT NULL CHECK (amount_fen > 0),
    actor          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    created_at     BIGINT  NOT NULL
);
-- A payment is credited by hand at most once, and never beside an order it has paid.
CREATE UNIQUE INDEX corrections_transaction ON corrections (transaction_id);
CREATE TRIGGER corrections_beside_orders BEFORE INSERT ON corrections
WHEN EXISTS (SELECT 1 FROM orders WHERE transaction_id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'this payment has paid an order'); END;
CREATE TRIGGER orders_beside_corrections BEFORE UPDATE OF transaction_id ON orders
WHEN EXISTS (SELECT 1 FROM corrections WHERE transaction_id = NEW.transaction_id)
BEGIN SELECT RAISE(ABORT, 'this payment was credited by hand'); END;

CREATE TRIGGER corrections_unchanged BEFORE UPDATE ON corrections
BEGIN SELECT RAISE(ABORT, 'corrections are never changed'); END;
CREATE TRIGGER corrections_kept BEFORE DELETE ON corrections
BEGIN SELECT RAISE(ABORT, 'corrections are never deleted'); END;

-- Who did what: the state before and after the act.
ALTER TABLE audit_log ADD COLUMN was TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_log ADD COLUMN became TEXT NOT NULL DEFAULT '';

-- The ledger, with more kinds of entries. An entry is a kind and what it is about (source_id): a top-up's order,
-- a refund, a correction. Its legs sum to zero.
CREATE TABLE ledger_of_all_kinds (
    id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('top_up', 'refund_hold', 'refund', 'refund_release', 'correction')),
    source_id  BIGINT  NOT NULL,
    order_id   BIGINT  REFERENCES orders (id),
    account    TEXT    NOT NULL,
    amount_fen BIGINT  NOT NULL,
    -- The gateway's message it rests on. Holding and releasing fen moves nothing at the gateway.
    notice_id  TEXT    REFERENCES notices (id) CHECK (notice_id IS NOT NULL OR kind IN ('refund_hold', 'refund_release')),
    created_at BIGINT  NOT NULL,
    CHECK (kind <> 'top_up' OR order_id = source_id)
);
INSERT INTO ledger_of_all_kinds (id, kind, source_id, order_id, account, amount_fen, notice_id, created_at)
    SELECT id, kind, order_id, order_id, account, amount_fen, notice_id, created_at FROM ledger ORDER BY id;
DROP TABLE ledger;
ALTER TABLE ledger_of_all_kinds RENAME TO ledger;
-- An order is credited once, a refund debited once: the second assertion behind the conditional updates.
CREATE UNIQUE INDEX ledger_once ON ledger (kind, source_id, account);
CREATE INDEX ledger_account ON ledger (account);
CREATE INDEX ledger_order ON ledger (order_id);

CREATE TRIGGER ledger_unchanged BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
