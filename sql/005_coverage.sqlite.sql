-- One row per symbol and UTC day: when its book was watched and where it was not proven. Times are ms since 1970, UTC.

CREATE TABLE coverage (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    day INTEGER NOT NULL, -- its first ms
    since INTEGER NOT NULL, -- watched from here
    until INTEGER NOT NULL, -- up to here
    holes TEXT NOT NULL, -- JSON: a list of [from, to, cause, reason]
    PRIMARY KEY (venue, symbol, day)
) WITHOUT ROWID;
