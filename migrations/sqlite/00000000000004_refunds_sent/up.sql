-- A refund that was withdrawn or rejected before anybody was asked no longer counts among the 50 of its payment.
-- Number 3 is PostgreSQL's alone, and this one SQLite's: no books of before were on PostgreSQL.

UPDATE orders SET refunds = (SELECT COUNT(*) FROM refunds r WHERE r.order_id = orders.id
        AND (r.asked > 0 OR r.state NOT IN ('closed', 'failed', 'rejected')))
    WHERE refunds <> 0;
UPDATE work_items SET refunds = (SELECT COUNT(*) FROM refunds r WHERE r.work_item_id = work_items.id
        AND (r.asked > 0 OR r.state NOT IN ('closed', 'failed', 'rejected')))
    WHERE refunds <> 0;
