-- One row per symbol and UTC day: when its book was watched and where it was not proven.

CREATE TABLE pulse.coverage (
    venue text NOT NULL,
    symbol text NOT NULL,
    day timestamptz NOT NULL, -- its first moment
    since timestamptz NOT NULL, -- watched from here
    until timestamptz NOT NULL, -- up to here
    holes text NOT NULL, -- JSON: a list of [from, to, cause, reason], times in ms since 1970, UTC
    PRIMARY KEY (venue, symbol, day)
);
