-- The operator's desk: figures and lists that stay cheap among millions of orders, users who are frozen, and balances
-- put right by hand.

-- When the gateway says it was paid; orders of before, and gateways that do not say, have none.
ALTER TABLE orders ADD COLUMN told_paid_at BIGINT;

-- Lists go along these, newest first, and pages begin where the last one ended.
DROP INDEX orders_created;
CREATE INDEX orders_created ON orders (created_at, id);
-- With the amount, so that a month's takings are read from the index alone.
CREATE INDEX orders_paid ON orders (paid_at, id, amount_fen) WHERE paid_at IS NOT NULL;
-- The newest message at each door.
CREATE INDEX notices_door ON notices (provider, source, id);
CREATE INDEX refunds_of_user ON refunds (user_id) WHERE user_id IS NOT NULL AND finished_at IS NULL;
CREATE INDEX refunds_open ON refunds (id) WHERE finished_at IS NULL;
CREATE INDEX audit_log_action ON audit_log (action, id);
-- Any number a person can read somewhere is found at once.
CREATE INDEX refunds_theirs ON refunds (refund_id) WHERE refund_id IS NOT NULL;
CREATE INDEX work_items_payment ON work_items (transaction_id);

-- A user in this table cannot begin a payment. Who froze whom before is in the audit log.
CREATE TABLE freezes (
    user_id BIGINT PRIMARY KEY NOT NULL REFERENCES users (id),
    at      BIGINT NOT NULL,
    actor   TEXT   NOT NULL,
    reason  TEXT   NOT NULL
);

-- A balance put right by hand. One above the limit waits for a second person; an entry of the ledger is written when
-- it is made, and never for one that was rejected.
CREATE TABLE adjustments (
    id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- A double click is one adjustment.
    intent       TEXT   NOT NULL,
    user_id      BIGINT NOT NULL REFERENCES users (id),
    -- What it adds to the balance; below zero it takes away.
    amount_fen   BIGINT NOT NULL CHECK (amount_fen <> 0 AND amount_fen BETWEEN -9007199254740992 AND 9007199254740992),
    reason       TEXT   NOT NULL CHECK (reason <> ''),
    requested_by TEXT   NOT NULL,
    requested_at BIGINT NOT NULL,
    -- Nobody decides about a request of their own.
    decided_by   TEXT   CHECK (decided_by <> requested_by),
    state        TEXT   NOT NULL CHECK (state IN ('waiting', 'made', 'rejected', 'withdrawn')),
    finished_at  BIGINT,
    CHECK ((state = 'waiting') = (finished_at IS NULL)),
    CHECK (state <> 'rejected' OR decided_by IS NOT NULL)
);
CREATE UNIQUE INDEX adjustments_intent ON adjustments (requested_by, intent);
CREATE INDEX adjustments_user ON adjustments (user_id, id);
CREATE INDEX adjustments_waiting ON adjustments (id) WHERE finished_at IS NULL;

CREATE TRIGGER adjustments_fixed_facts BEFORE UPDATE ON adjustments
WHEN NEW.id <> OLD.id OR NEW.intent <> OLD.intent OR NEW.user_id <> OLD.user_id OR NEW.amount_fen <> OLD.amount_fen
  OR NEW.reason <> OLD.reason OR NEW.requested_by <> OLD.requested_by OR NEW.requested_at <> OLD.requested_at
  OR OLD.finished_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'this fact of an adjustment never changes'); END;
CREATE TRIGGER adjustments_kept BEFORE DELETE ON adjustments
BEGIN SELECT RAISE(ABORT, 'adjustments are never deleted'); END;

-- The ledger, with one more kind of entry, which rests on a person's word and moves nothing at a gateway.
CREATE TABLE ledger_with_adjustments (
    id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN
        ('top_up', 'refund_hold', 'refund', 'refund_release', 'correction', 'adjustment')),
    source_id  BIGINT  NOT NULL,
    order_id   BIGINT  REFERENCES orders (id),
    account    TEXT    NOT NULL,
    amount_fen BIGINT  NOT NULL,
    -- The gateway's message it rests on. Holding and releasing fen moves nothing at the gateway.
    notice_id  TEXT    REFERENCES notices (id)
        CHECK (notice_id IS NOT NULL OR kind IN ('refund_hold', 'refund_release', 'adjustment')),
    created_at BIGINT  NOT NULL,
    CHECK (kind <> 'top_up' OR order_id = source_id)
);
INSERT INTO ledger_with_adjustments (id, kind, source_id, order_id, account, amount_fen, notice_id, created_at)
    SELECT id, kind, source_id, order_id, account, amount_fen, notice_id, created_at FROM ledger ORDER BY id;
DROP TABLE ledger;
ALTER TABLE ledger_with_adjustments RENAME TO ledger;
-- An order is credited once, a refund debited once: the second assertion behind the conditional updates.
CREATE UNIQUE INDEX ledger_once ON ledger (kind, source_id, account);
-- A page of one account's entries is read from the newest on.
CREATE INDEX ledger_account ON ledger (account, id);
CREATE INDEX ledger_order ON ledger (order_id);
CREATE TRIGGER ledger_unchanged BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER ledger_kept BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;
