-- One row per minute: the candle of a symbol at a venue. open_time is the minute's first ms since 1970, UTC.
-- WITHOUT ROWID clusters the rows of a symbol by time, as they are read.

CREATE TABLE candles (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    open_time INTEGER NOT NULL,
    open REAL NOT NULL,
    high REAL NOT NULL,
    low REAL NOT NULL,
    close REAL NOT NULL,
    volume REAL NOT NULL,
    quote_volume REAL NOT NULL,
    trade_count INTEGER NOT NULL,
    taker_buy_volume REAL NOT NULL,
    taker_buy_quote_volume REAL NOT NULL,
    first_trade_id INTEGER NOT NULL, -- -1 where the minute has no trade, or the ids are not known
    last_trade_id INTEGER NOT NULL,
    source TEXT NOT NULL, -- 'exchange': its own candle; 'trades': built here from every trade
    PRIMARY KEY (venue, symbol, open_time)
) WITHOUT ROWID;
