-- One row per hour, rolled up from its minutes whenever one of them is written, so that long intervals read no minutes.

CREATE TABLE pulse.candles_1h (
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
    first_trade_id bigint NOT NULL, -- -1 where the id of its first trade is not known
    last_trade_id bigint NOT NULL,
    source text NOT NULL, -- the source of all its minutes, or 'mixed'
    reconciled boolean NOT NULL, -- whether all of its minutes are reconciled
    minutes bigint NOT NULL, -- how many of its sixty minutes are stored
    last_minute timestamptz NOT NULL,
    PRIMARY KEY (venue, symbol, open_time)
);

-- The hours of the minutes that are stored already, aggregated as the store itself does it.
INSERT INTO pulse.candles_1h
WITH spans AS (
    SELECT candles.venue, candles.symbol, date_trunc('hour', candles.open_time, 'UTC') AS span, max(candles.open_time) AS newest,
        min(candles.open_time) FILTER (WHERE trade_count > 0) AS first_traded,
        max(candles.open_time) FILTER (WHERE trade_count > 0) AS last_traded,
        max(high) FILTER (WHERE trade_count > 0) AS high, min(low) FILTER (WHERE trade_count > 0) AS low,
        CASE WHEN sum(round(volume)) < 9e7
            THEN (sum(round(volume)) * 1e8 + sum(round((volume - round(volume)) * 1e8))) / 1e8
            ELSE sum(round(volume)) + sum(round((volume - round(volume)) * 1e8)) / 1e8 END AS volume,
        CASE WHEN sum(round(quote_volume)) < 9e7
            THEN (sum(round(quote_volume)) * 1e8 + sum(round((quote_volume - round(quote_volume)) * 1e8))) / 1e8
            ELSE sum(round(quote_volume)) + sum(round((quote_volume - round(quote_volume)) * 1e8)) / 1e8 END AS quote_volume,
        CASE WHEN sum(round(taker_buy_volume)) < 9e7
            THEN (sum(round(taker_buy_volume)) * 1e8 + sum(round((taker_buy_volume - round(taker_buy_volume)) * 1e8))) / 1e8
            ELSE sum(round(taker_buy_volume)) + sum(round((taker_buy_volume - round(taker_buy_volume)) * 1e8)) / 1e8 END AS taker_buy_volume,
        CASE WHEN sum(round(taker_buy_quote_volume)) < 9e7
            THEN (sum(round(taker_buy_quote_volume)) * 1e8 + sum(round((taker_buy_quote_volume - round(taker_buy_quote_volume)) * 1e8))) / 1e8
            ELSE sum(round(taker_buy_quote_volume)) + sum(round((taker_buy_quote_volume - round(taker_buy_quote_volume)) * 1e8)) / 1e8 END AS taker_buy_quote_volume,
        CAST(sum(trade_count) AS bigint) AS trade_count,
        CASE WHEN min(source) = max(source) THEN min(source) ELSE 'mixed' END AS source,
        min(CASE WHEN reconciled THEN 1 ELSE 0 END) = 1 AS reconciled,
        CAST(sum(1) AS bigint) AS minutes, max(candles.open_time) AS last_minute
    FROM pulse.candles AS candles
    GROUP BY 1, 2, 3
), priced AS (
    SELECT *,
        (SELECT at.open FROM pulse.candles AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = coalesce(first_traded, newest)) AS open,
        (SELECT at.close FROM pulse.candles AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = newest) AS close,
        (SELECT at.first_trade_id FROM pulse.candles AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = coalesce(first_traded, newest)) AS first_trade_id,
        (SELECT at.last_trade_id FROM pulse.candles AS at WHERE at.venue = spans.venue AND at.symbol = spans.symbol
            AND at.open_time = coalesce(last_traded, newest)) AS last_trade_id
    FROM spans
)
SELECT venue, symbol, span, open, coalesce(high, close), coalesce(low, close), close, volume,
    quote_volume, trade_count, taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, source,
    reconciled, minutes, last_minute
FROM priced;
