-- The highest token of the leases under which a symbol's candles were written: a lower one writes nothing any more.

CREATE TABLE pulse.fences (
    venue text NOT NULL,
    symbol text NOT NULL,
    token bigint NOT NULL,
    PRIMARY KEY (venue, symbol)
);
