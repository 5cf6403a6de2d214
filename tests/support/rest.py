"""The exchange's REST side as the candle history uses it, from memory; and the schedule of snapshots for real ones."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pulse.binance.rate_limit import Priority
from pulse.binance.rest import AGG_TRADES_MAX, KLINES_MAX, BinanceRest
from pulse.binance.venues import VENUES, Venue
from pulse.errors import PulseError
from pulse.ingest.snapshot_schedule import SnapshotSchedule
from pulse.market.types import Candle, Trade
from tests.support.makers import MIDNIGHT_MS, candle


def make_schedule(
    rest: BinanceRest, *, depth_limit: int = 1000, audit_every_s: float = 600.0, watched: Iterable[str] = ()
) -> SnapshotSchedule:
    """Make the schedule of the snapshots of all symbols, as the program does, with these symbols watched."""
    return SnapshotSchedule(
        rest, depth_limit=depth_limit, audit_every_s=audit_every_s, is_watched=frozenset(watched).__contains__
    )


@dataclass
class FakeRest:
    """Has the candles of `minutes`, all alike but those in `candles`. The one of `running` is not closed.

    Until it has been asked for the exchange's date it goes by its machine's, which is wrong by `own_error_ms`. `fault`
    is raised by the first `recovers_after` requests for candles. Stands in for `BinanceRest`.
    """

    minutes: Iterable[int] = ()
    trades: list[Trade] = field(default_factory=list)
    fault: PulseError | None = None
    recovers_after: int = 1_000
    running: int = -1
    now_ms: int = MIDNIGHT_MS
    own_error_ms: int = 0
    candles: dict[int, Candle] = field(default_factory=dict)
    venue: Venue = VENUES["us"]
    weight_per_minute: int = 600
    kline_requests: list[tuple[str, int, int]] = field(default_factory=list)
    trade_requests: list[int] = field(default_factory=list)

    def weight(self) -> tuple[int, int]:
        """Return how much weight is used of that of a minute."""
        return 0, self.weight_per_minute

    def exchange_ms(self) -> int:
        """Return the exchange's time, as far as it is known."""
        return self.now_ms + self.own_error_ms

    async def learn_date(self) -> None:
        """Ask for the exchange's time."""
        self.own_error_ms = 0

    async def klines(self, symbol: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return the candles that open in this range, oldest first."""
        self.kline_requests.append((symbol, start_ms, end_ms))
        if self.fault is not None and len(self.kline_requests) <= self.recovers_after:
            raise self.fault
        found = sorted(minute for minute in self.minutes if start_ms <= minute <= end_ms)[:KLINES_MAX]
        return [
            self.candles.get(minute, candle(minute, symbol=symbol, is_closed=minute != self.running))
            for minute in found
        ]

    async def agg_trades(self, symbol: str, from_id: int, rank: int) -> list[Trade]:
        """Return the trades from an id on; the request must not delay those for the books."""
        assert rank == Priority.HISTORY
        self.trade_requests.append(from_id)
        return [row for row in self.trades if row.trade_id >= from_id][:AGG_TRADES_MAX]

    async def agg_trades_between(self, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
        """Return the trades with a time in this range."""
        self.trade_requests.append(start_ms)
        return [row for row in self.trades if start_ms <= row.time_ms <= end_ms][:AGG_TRADES_MAX]
