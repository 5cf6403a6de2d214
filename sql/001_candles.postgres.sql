-- One row a minute: the candle of a symbol at a venue. Times are the minute's first moment.
-- The schema pulse, where Supabase's public API does not look, and its schema_version are made by the store.

CREATE TABLE pulse.candles (
    venue text NOT NULL,
    symbol text NOT NULL,
    open_time timestamptz NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    quote_volume double precision NOT NULL,
    trade_count bigint NOT NULL,
    taker_buy_volume double precision NOT NULL,
    taker_buy_quote_volume double precision NOT NULL,
    first_trade_id bigint NOT NULL, -- -1 where the minute has no trade, or they are not known
    last_trade_id bigint NOT NULL,
    source text NOT NULL, -- 'exchange': its own candle; 'trades': built here from every trade
    PRIMARY KEY (venue, symbol, open_time)
);
