-- The same function with one more argument: a notice is kept under the protocol it came by, which is no longer the
-- provider's name, so that it can be read again as what it is. The old one stays for instances of the version before.

CREATE FUNCTION settle_together(
    nths BIGINT[], numbers TEXT[], providers TEXT[], accounts TEXT[], environments TEXT[], transactions TEXT[],
    amounts BIGINT[], paid BIGINT[], sources TEXT[], steps TEXT[], clearing TEXT[],
    notice_ids TEXT[], arrivals BIGINT[], addresses TEXT[], all_headers TEXT[], bodies BYTEA[], replies TEXT[],
    protocols TEXT[],
    -- The words of src/domain: status 0 and 1, the verdict, the kinds of an entry and of a step, the matter that is not plain.
    created INTEGER, done INTEGER, said TEXT, entry TEXT, step_kind TEXT, judged TEXT
) RETURNS TABLE (nth BIGINT, order_number TEXT) LANGUAGE plpgsql
-- Always by the indexes, with one kept plan: a batch is small whatever the tables are, and a plan made while they were
-- small reads them whole.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    -- In the order of their ids, so that two of these cannot wait for each other.
    PERFORM 1 FROM orders o WHERE o.id IN (SELECT a.order_id FROM attempts a WHERE a.out_trade_no = ANY (numbers))
        ORDER BY o.id FOR UPDATE;

    RETURN QUERY
    WITH item AS (
        SELECT * FROM unnest(nths, numbers, providers, accounts, environments, transactions, amounts, paid, sources,
            steps, clearing, notice_ids, arrivals, addresses, all_headers, bodies, replies, protocols)
            AS i (nth, number, provider, account, environment, transaction_id, amount, paid_at, source,
                step, clearing, notice_id, received_at, remote_ip, headers, body, reply, protocol)
    ), flipped AS (
        UPDATE orders o
        SET status = done, paid_at = p.paid_at, transaction_id = p.transaction_id, settled_by = p.source
        FROM (
            -- Two attempts of one order in one batch: the first credits, the other is a second payment.
            SELECT DISTINCT ON (a.order_id) a.order_id, i.* FROM item i
            JOIN attempts a ON a.out_trade_no = i.number AND a.provider = i.provider AND a.account = i.account
                AND a.environment = i.environment
            ORDER BY a.order_id, i.nth
        ) p
        WHERE o.id = p.order_id AND o.status = created AND o.closed_at IS NULL
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
