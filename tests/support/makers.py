"""Short ways to make the values that tests feed in. Nothing here is measured or recorded: see `recordings` for that."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings

from pulse.market.types import (
    Aggressor,
    BookTicker,
    Candle,
    DepthDiff,
    DepthSnapshot,
    ExchangeCandle,
    Levels,
    Trade,
)

Pairs = Iterable[tuple[float, float]]

unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
"""For properties: a machine that is shared is slow at times, which is no failure of theirs."""

MIDNIGHT_MS = 1_723_161_600_000
"""2024-08-09 00:00:00 UTC, the first millisecond of a minute."""
MINUTE_MS = 60_000


class ManualClock:
    """A clock that the test sets."""

    def __init__(self, now_ms: float = 0.0, wall_s: float = MIDNIGHT_MS / 1000) -> None:
        self.at_ms = now_ms
        self.at_wall_s = wall_s

    def now_ms(self) -> float:
        """Return the reading that the test set."""
        return self.at_ms

    def wall_s(self) -> float:
        """Return the reading that the test set."""
        return self.at_wall_s


def levels(pairs: Pairs) -> Levels:
    """Make levels from (price, quantity) pairs."""
    rows = list(pairs)
    return Levels([price for price, _ in rows], [quantity for _, quantity in rows])


def snapshot(update_id: int, bids: Pairs = (), asks: Pairs = (), limit: int = 5000) -> DepthSnapshot:
    """Make a snapshot; with the default limit it holds both sides whole."""
    return DepthSnapshot(update_id, levels(bids), levels(asks), limit)


def diff(first: int, final: int, bids: Pairs = (), asks: Pairs = (), time_ms: int = MIDNIGHT_MS) -> DepthDiff:
    """Make a diff that spans these ids."""
    return DepthDiff(first, final, time_ms, levels(bids), levels(asks))


def ticker(
    update_id: int, bid: tuple[float, float] = (100.0, 5.0), ask: tuple[float, float] = (100.02, 2.0)
) -> BookTicker:
    """Make a bookTicker with these best levels."""
    return BookTicker(update_id, *bid, *ask)


def trade(
    trade_id: int,
    price: float = 100.0,
    quantity: float = 1.0,
    time_ms: int = MIDNIGHT_MS,
    aggressor: Aggressor = Aggressor.BUYER,
) -> Trade:
    """Make a trade of one print, whose event has the trade's own time."""
    return Trade(trade_id, price, quantity, time_ms, aggressor, trade_id, trade_id, time_ms)


def candle(
    open_time_ms: int = MIDNIGHT_MS,
    prices: tuple[float, float, float, float] = (100.0, 100.0, 100.0, 100.0),
    volume: float = 1.0,
    *,
    source: str = "exchange",
    **fields: Any,
) -> Candle:
    """Return a closed minute with this open, high, low and close; `fields` sets any other field of it.

    Each unit of volume was bought in a trade of its own. The exchange's own candle is reconciled, others are not.
    """
    quote = prices[3] * volume
    made = Candle(
        "BTCUSDT", open_time_ms, *prices, volume, quote, int(volume), volume, quote, -1, -1, True, source,
        source == "exchange",
    )  # fmt: skip
    return replace(made, **fields)


def exchange_candle(minute: Candle, event_time_ms: int) -> ExchangeCandle:
    """Make the stream's event of a candle."""
    return ExchangeCandle(minute, event_time_ms)
