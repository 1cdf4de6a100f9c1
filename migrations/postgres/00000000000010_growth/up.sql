-- Lists of what is rare among millions. No settlement of a payment that comes in time writes into any of these.

CREATE INDEX orders_late ON orders (created_at, id) WHERE late = 1;
CREATE INDEX orders_refunded ON orders (created_at, id) WHERE refund_fen > 0;
-- Everything but top-ups.
CREATE INDEX ledger_rare ON ledger (kind, id) WHERE kind <> 'top_up';
-- Whether a number has refunds.
CREATE INDEX refunds_number ON refunds (out_trade_no);
