-- What several instances of the program share beside the books.

-- How often an address or an account has done what costs us something, over all instances: see src/store/limits.rs.
-- Not logged: it is cheap, it goes to no standby, and after a crash everybody begins anew.
CREATE UNLOGGED TABLE rate_limits (
    key TEXT PRIMARY KEY,
    -- When everything taken has been given back, in milliseconds.
    calm_at BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Counts one more use and gives 0, or the milliseconds to wait for it. `every`: what one use takes to be given back;
-- `span`: what all that may be used at once do. The clock is read when the row is held: two readings are in that order.
CREATE FUNCTION take_turn(name TEXT, every BIGINT, span BIGINT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    calm BIGINT;
    now_ms BIGINT;
BEGIN
    INSERT INTO rate_limits AS l (key, calm_at) VALUES (name, 0)
        ON CONFLICT (key) DO UPDATE SET calm_at = l.calm_at RETURNING calm_at INTO calm;
    now_ms := EXTRACT(EPOCH FROM clock_timestamp()) * 1000;
    -- More than ever is used: the clock was set back since, and counting begins anew.
    IF calm > now_ms + span + 60000 THEN calm := now_ms; END IF;
    calm := GREATEST(calm, now_ms) + every;
    IF calm > now_ms + span THEN RETURN calm - now_ms - span; END IF;
    UPDATE rate_limits SET calm_at = calm WHERE key = name;
    RETURN 0;
END $$;

-- The last audit of the books, which one instance makes for all.
CREATE TABLE audits (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- When somebody began, finished, and how many rules were broken. 0: never.
    begun_at BIGINT NOT NULL DEFAULT 0,
    done_at BIGINT NOT NULL DEFAULT 0,
    breaches BIGINT NOT NULL DEFAULT 0
);
INSERT INTO audits (id) VALUES (1);

-- The same function, which leaves alone the orders that somebody else has locked. It waited for them before, and every
-- order of the batch with it.
CREATE OR REPLACE FUNCTION settle_together(
    nths BIGINT[], numbers TEXT[], providers TEXT[], accounts TEXT[], environments TEXT[], transactions TEXT[],
    amounts BIGINT[], paid BIGINT[], sources TEXT[], steps TEXT[], clearing TEXT[],
    notice_ids TEXT[], arrivals BIGINT[], addresses TEXT[], all_headers TEXT[], bodies BYTEA[], replies TEXT[],
    protocols TEXT[], moments BIGINT[],
    -- The words of src/domain: status 0 and 1, the verdict, the kinds of an entry and of a step, the matter that is not plain.
    created INTEGER, done INTEGER, said TEXT, entry TEXT, step_kind TEXT, judged TEXT
) RETURNS TABLE (nth BIGINT, order_number TEXT) LANGUAGE plpgsql
-- Always by the indexes, with one kept plan: a batch is small whatever the tables are, and a plan made while they were
-- small reads them whole.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    free BIGINT[];
BEGIN
    -- Nobody waits here, so no two can wait for each other. What somebody else holds is left to be judged apart.
    SELECT array_agg(o.id) INTO free FROM (
        SELECT o.id FROM orders o WHERE o.id IN (SELECT a.order_id FROM attempts a WHERE a.out_trade_no = ANY (numbers))
        ORDER BY o.id FOR UPDATE SKIP LOCKED
    ) o;

    RETURN QUERY
    WITH item AS (
        SELECT * FROM unnest(nths, numbers, providers, accounts, environments, transactions, amounts, paid, sources,
            steps, clearing, notice_ids, arrivals, addresses, all_headers, bodies, replies, protocols, moments)
            AS i (nth, number, provider, account, environment, transaction_id, amount, paid_at, source,
                step, clearing, notice_id, received_at, remote_ip, headers, body, reply, protocol, told_paid_at)
    ), flipped AS (
        UPDATE orders o
        SET status = done, paid_at = p.paid_at, transaction_id = p.transaction_id, settled_by = p.source,
            told_paid_at = p.told_paid_at
        FROM (
            -- Two attempts of one order in one batch: the first credits, the other is a second payment.
            SELECT DISTINCT ON (a.order_id) a.order_id, i.* FROM item i
            JOIN attempts a ON a.out_trade_no = i.number AND a.provider = i.provider AND a.account = i.account
                AND a.environment = i.environment
            ORDER BY a.order_id, i.nth
        ) p
        WHERE o.id = p.order_id AND o.id = ANY (free) AND o.status = created AND o.closed_at IS NULL
            AND o.environment = p.environment AND o.amount_fen = p.amount
            AND NOT EXISTS (SELECT 1 FROM orders other WHERE other.transaction_id = p.transaction_id)
            AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.transaction_id = p.transaction_id)
            AND NOT EXISTS (SELECT 1 FROM refunds r WHERE r.transaction_id = p.transaction_id)
            AND NOT EXISTS (SELECT 1 FROM work_items w WHERE w.out_trade_no = p.number AND w.kind = judged)
        RETURNING p.*, o.user_id, o.out_trade_no AS order_number
    ), kept AS (
        INSERT INTO notices (id, received_at, provider, source, verdict, out_trade_no, transaction_id, remote_ip,
            headers, body, reply)
        SELECT f.notice_id, f.received_at, f.protocol, f.source, said, f.number, f.transaction_id, f.remote_ip,
            f.headers, f.body, f.reply
        FROM flipped f
    ), credited AS (
        INSERT INTO ledger (kind, source_id, order_id, account, amount_fen, notice_id, created_at)
        SELECT entry, f.order_id, f.order_id, leg.account, leg.fen, f.notice_id, f.paid_at
        FROM flipped f, LATERAL (VALUES (f.clearing, -f.amount), ('user:' || f.user_id, f.amount)) AS leg (account, fen)
    ), told AS (
        INSERT INTO order_events (order_id, at, kind, detail)
        SELECT f.order_id, f.paid_at, step_kind, f.step FROM flipped f
    ), unasked AS (
        DELETE FROM pending_queries q USING flipped f WHERE q.out_trade_no = f.number
    )
    SELECT f.nth, f.order_number FROM flipped f;
END $$;
