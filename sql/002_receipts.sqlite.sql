-- Whether a minute is reconciled with the exchange, and the gaps: trades that are in no minute.

ALTER TABLE candles ADD COLUMN reconciled INTEGER NOT NULL DEFAULT 0; -- 1: equal to the exchange's in every field
UPDATE candles SET source = 'live' WHERE source = 'trades'; -- source: live, repaired or exchange
UPDATE candles SET reconciled = 1 WHERE source = 'exchange';

CREATE TABLE trade_gaps (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    first_trade_id INTEGER NOT NULL, -- the missing aggregate ids, both included
    last_trade_id INTEGER NOT NULL,
    from_time INTEGER NOT NULL, -- exchange times of the trades around the gap
    to_time INTEGER NOT NULL,
    noted_at INTEGER NOT NULL,
    PRIMARY KEY (venue, symbol, first_trade_id, last_trade_id)
) WITHOUT ROWID;
