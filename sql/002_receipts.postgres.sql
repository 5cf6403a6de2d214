-- Whether a minute is reconciled with the exchange, and the gaps: trades that are in no minute.

-- Cheap where there are many rows: most are the exchange's own, and a constant default rewrites none.
ALTER TABLE pulse.candles ADD COLUMN reconciled boolean NOT NULL DEFAULT true; -- equal to the exchange's in every field
UPDATE pulse.candles SET source = 'live', reconciled = false WHERE source = 'trades'; -- source: live, repaired, exchange
ALTER TABLE pulse.candles ALTER COLUMN reconciled SET DEFAULT false;

CREATE TABLE pulse.trade_gaps (
    venue text NOT NULL,
    symbol text NOT NULL,
    first_trade_id bigint NOT NULL, -- the missing aggregate ids, both included
    last_trade_id bigint NOT NULL,
    from_time timestamptz NOT NULL, -- exchange times of the trades around the gap
    to_time timestamptz NOT NULL,
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol, first_trade_id, last_trade_id)
);
