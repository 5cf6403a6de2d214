"""Recording the gaps of a replay: all of them, in few calls, and again while the store is away."""

import asyncio

import pytest

from pulse import stats
from pulse.candle_history.gap_writer import GapWriter
from pulse.errors import StoreUnavailable
from pulse.market.types import TradeGap
from pulse.queues import make_gap_queue
from tests.support.virtual_time import run


class Gaps:
    """A store that keeps each call, and fails the first few."""

    kind = "test"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls: list[list[int]] = []

    async def write_gaps(self, gaps: list[TradeGap]) -> None:
        """Fail, or keep the ids of the gaps."""
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.calls.append([gap.first_trade_id for gap in gaps])


def gap(trade_id: int) -> TradeGap:
    """Return a gap of ten trades."""
    return TradeGap("GAPUSDT", trade_id, trade_id + 9, 1, 2, 3)


@pytest.mark.parametrize("failures", [0, 3])
def test_gaps_are_written_as_they_are(failures: int, caplog: pytest.LogCaptureFixture) -> None:
    """Those that wait go in one call, which is repeated until it succeeds; the log states that once."""
    store, queue = Gaps(failures), make_gap_queue()
    before = stats.trades_lost.labels("GAPUSDT")._value.get()

    async def scenario() -> None:
        for trade_id in (10, 30):
            queue.put_nowait(gap(trade_id))
        task = asyncio.create_task(GapWriter(queue, store).run())  # type: ignore[arg-type]  # it has what is used
        await asyncio.sleep(60)
        queue.put_nowait(gap(50))
        await asyncio.sleep(1)
        task.cancel()

    run(scenario())

    assert store.calls == [[10, 30], [50]]
    assert stats.trades_lost.labels("GAPUSDT")._value.get() - before == 30
    assert caplog.messages == (["trade gaps wait for the store gaps=2 reason=away"] if failures else [])
