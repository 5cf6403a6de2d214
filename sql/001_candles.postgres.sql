-- One row per minute: the candle of a symbol at a venue. open_time is the first moment of the minute.
-- The store creates the schema pulse, which Supabase's public API does not expose, and its table schema_version.

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
    first_trade_id bigint NOT NULL, -- -1 where the minute has no trade, or the ids are not known
    last_trade_id bigint NOT NULL,
    source text NOT NULL, -- 'exchange': its own candle; 'trades': built here from every trade
    PRIMARY KEY (venue, symbol, open_time)
);
