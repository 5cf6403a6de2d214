-- The sums of an hour as whole parts and hundred-millionths, each a whole number, because one double may not resolve
-- them; null, or of an earlier roll-up, in an hour that an earlier version has written.

ALTER TABLE pulse.candles_1h
    ADD COLUMN volume_whole double precision,
    ADD COLUMN volume_rest double precision,
    ADD COLUMN quote_volume_whole double precision,
    ADD COLUMN quote_volume_rest double precision,
    ADD COLUMN taker_buy_volume_whole double precision,
    ADD COLUMN taker_buy_volume_rest double precision,
    ADD COLUMN taker_buy_quote_volume_whole double precision,
    ADD COLUMN taker_buy_quote_volume_rest double precision;
