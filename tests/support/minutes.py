"""Four minutes, and candle builders that have taken trades in them."""

from pulse.market.candles import CandleBuilder
from pulse.market.types import Trade
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, trade

M0, M1, M2, M3 = (MIDNIGHT_MS + i * MINUTE_MS for i in range(4))


def builder_since(time_ms: int = M0) -> CandleBuilder:
    """Return a builder that has had the exchange's time, so that its record of trades is contiguous from here on."""
    builder = CandleBuilder("BTCUSDT")
    builder.on_time(time_ms)
    return builder


def trades(*rows: tuple[int, float, int]) -> list[Trade]:
    """Return trades of quantity 1 from (id, price, time)."""
    return [trade(trade_id, price, 1.0, time_ms) for trade_id, price, time_ms in rows]


def built(*rows: tuple[int, float, int], since_ms: int = M0) -> CandleBuilder:
    """Return a builder that has taken these trades."""
    builder = builder_since(since_ms)
    for row in trades(*rows):
        builder.on_trade(row)
    return builder


def closed(builder: CandleBuilder) -> list[tuple[int, float, float, float, float, float, str]]:
    """Return what was closed since the last call, in short: minute, open, high, low, close, volume, source."""
    rows = builder.take_closed()
    assert all(row.is_closed for row in rows)
    return [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume, c.source) for c in rows]
