"""The simulator's listing: steps that the exchange's eight decimals represent exactly."""

import pytest

from pulse.simulator.instruments import E8, INSTRUMENTS


@pytest.mark.parametrize("symbol", INSTRUMENTS)
def test_tick_times_lot_is_whole(symbol: str) -> None:
    """Quote volumes are exact in eight decimals."""
    instrument = INSTRUMENTS[symbol]

    assert instrument.tick_e8 * instrument.lot_e8 % E8 == 0


def test_bitcoin_is_as_on_the_exchange() -> None:
    """Prices and steps are read from decimals without loss."""
    bitcoin = INSTRUMENTS["BTCUSDT"]

    assert (bitcoin.tick_e8, bitcoin.lot_e8, bitcoin.start_ticks) == (1_000_000, 1_000, 6_183_763)
    assert (bitcoin.base_asset, bitcoin.quote_asset) == ("BTC", "USDT")


def test_ids_of_different_kinds_and_symbols_cannot_be_confused() -> None:
    """Update, trade and aggregate ids start far apart, for every symbol."""
    starts = [
        start
        for instrument in INSTRUMENTS.values()
        for start in (instrument.first_agg_id, instrument.first_trade_id, instrument.first_update_id)
    ]

    assert len(set(starts)) == 3 * len(INSTRUMENTS)
    assert min(starts) > 1_000_000_000
