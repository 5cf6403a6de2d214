"""The writer: every closed candle reaches the store, however long it is away, the newest account of each minute."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from prometheus_client import REGISTRY

from pulse.candle_history import writer as module
from pulse.candle_history.writer import CandleWriter
from pulse.errors import StoreUnavailable
from pulse.market.intervals import AggregatedCandle, Interval
from pulse.market.types import Candle, TradeGap
from pulse.queues import make_candle_queue
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle
from tests.support.virtual_time import at, now_s, run


class ShyStore:
    """A store in memory that is away for its first writes, and takes its time for each."""

    kind = "memory"

    def __init__(self, away: int = 0, write_s: float = 0.0) -> None:
        self.away = away
        self.write_s = write_s
        self.writes: list[tuple[float, int]] = []
        self.rows: dict[tuple[str, int], Candle] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def write_candles(self, candles: Sequence[Candle]) -> None:
        """Keep them, unless away."""
        await asyncio.sleep(self.write_s)
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the store is away")
        self.writes.append((now_s(), len(candles)))
        self.rows |= {(row.symbol, row.open_time_ms): row for row in candles}

    async def read_candles(self, symbol: str, start_ms: int | None, end_ms: int | None, limit: int) -> list[Candle]:
        """Not asked for by a writer."""
        raise NotImplementedError

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Not asked for by a writer."""
        raise NotImplementedError

    async def delete_before(self, time_ms: int, hours_max: int) -> int:
        """Not asked for by a writer."""
        raise NotImplementedError

    async def write_gaps(self, gaps: Sequence[TradeGap]) -> None:
        """Not asked for by a writer."""
        raise NotImplementedError

    async def read_gaps(self, symbol: str, start_ms: int, end_ms: int, limit: int) -> list[TradeGap]:
        """Not asked for by a writer."""
        raise NotImplementedError

    async def check(self) -> None:
        """Whether the next write would be taken."""
        if self.away:
            raise StoreUnavailable("the store is away")


def minutes(count: int, start: int = 0) -> list[Candle]:
    """Closed candles of this many minutes."""
    return [candle(MIDNIGHT_MS + i * MINUTE_MS) for i in range(start, start + count)]


Story = Callable[[asyncio.Queue[Candle], CandleWriter], Awaitable[None]]


def told(store: ShyStore, story: Story, until_s: float = 60.0) -> CandleWriter:
    """Let a story happen to a running writer."""

    async def play() -> CandleWriter:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await story(queue, writer)
        await at(until_s)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return writer

    return run(play())


async def put(queue: asyncio.Queue[Candle], candles: Sequence[Candle]) -> None:
    """Let these candles close."""
    for row in candles:
        await queue.put(row)


def test_minutes_that_close_together_are_written_together() -> None:
    """One write, a second after the first of them, holds all that came meanwhile."""
    store = ShyStore()

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, minutes(1))
        await asyncio.sleep(0.9)
        await put(queue, minutes(2, start=1))

    writer = told(store, story)
    assert (store.writes, writer.pending, writer.trouble) == ([(1.0, 3)], 0, "")


def test_a_store_that_is_away_from_the_start_is_told_at_once() -> None:
    """The first minute closes up to a minute later; nobody should think until then that all is well."""
    store = ShyStore(away=1)

    async def story(queue: asyncio.Queue[Candle], writer: CandleWriter) -> None:
        await asyncio.sleep(0.1)
        assert writer.trouble == "the store is away"
        store.away = 0
        await put(queue, minutes(1))

    writer = told(store, story)
    assert (len(store.rows), writer.trouble) == (1, "")


def test_a_store_that_is_away_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Candles are kept, those that close meanwhile too, and all are written once it is back."""
    caplog.set_level("INFO", "pulse.candle_history.writer")
    store = ShyStore(away=5)

    async def story(queue: asyncio.Queue[Candle], writer: CandleWriter) -> None:
        await put(queue, minutes(2))
        await asyncio.sleep(2.0)
        await put(queue, minutes(3, start=2))

        assert (writer.pending, writer.trouble) == (5, "the store is away")

    writer = told(store, story)
    assert (len(store.rows), writer.pending, writer.trouble) == (5, 0, "")
    assert [record.getMessage() for record in caplog.records] == [
        "store away, candles are kept reason=the store is away",
        "store back, candles written",
    ]


def test_a_store_that_is_away_is_asked_ever_less_often() -> None:
    """Tries come after growing waits, ten seconds apart in the end."""
    store = ShyStore(away=10)

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, minutes(1))

    told(store, story, until_s=120.0)
    # Waits of 0.5, 1, 2, 4, 8 s and five of 10 s, each between half and all of it.
    assert 1.0 + 65.5 / 2 <= store.writes[0][0] <= 1.0 + 65.5


def test_the_newest_account_of_a_minute_is_written() -> None:
    """A corrected candle takes the place of the one that waits."""
    store = ShyStore()

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0), candle(volume=2.0), candle(volume=3.0, symbol="ETHUSDT")])

    told(store, story)
    assert sorted(row.volume for row in store.rows.values()) == [2.0, 3.0]
    assert store.writes == [(1.0, 2)]


def test_a_correction_that_comes_while_the_store_is_away() -> None:
    """What waits is replaced, and the old account is never written."""
    store = ShyStore(away=3)

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(1.2)
        await put(queue, [candle(volume=2.0)])

    told(store, story)
    assert [row.volume for row in store.rows.values()] == [2.0]
    assert len(store.writes) == 1


def test_a_correction_that_comes_during_a_write_is_written_too() -> None:
    """The store ends with the newest account, though the old one was on its way."""
    store = ShyStore(write_s=5.0)

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(3.0)
        await put(queue, [candle(volume=2.0)])

    told(store, story)
    assert [row.volume for row in store.rows.values()] == [2.0]
    assert len(store.writes) == 2


def test_many_candles_are_written_in_batches() -> None:
    """One statement holds a bounded number of rows."""
    store = ShyStore()

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, minutes(2 * module.BATCH_CANDLES_MAX + 5))

    told(store, story)
    assert [count for _, count in store.writes] == [module.BATCH_CANDLES_MAX] * 2 + [5]


def test_beyond_the_bound_the_oldest_go_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is away for too long, the newest candles are kept."""
    monkeypatch.setattr(module, "PENDING_CANDLES_MAX", 4)
    store = ShyStore(away=1)

    def dropped() -> float:
        return REGISTRY.get_sample_value("pulse_candles_dropped_total") or 0.0

    async def story(queue: asyncio.Queue[Candle], _: CandleWriter) -> None:
        await put(queue, minutes(7))

    before = dropped()
    told(store, story)
    assert [row.open_time_ms for row in store.rows.values()] == [row.open_time_ms for row in minutes(4, start=3)]
    assert dropped() - before == 3.0


def test_stopping_writes_what_is_left() -> None:
    """Whatever waits, in the queue or from a write that was cut off, is written at the end."""
    store = ShyStore(write_s=0.5)

    async def story() -> CandleWriter:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await put(queue, minutes(2))
        await asyncio.sleep(1.2)  # within the first write
        task.cancel()
        await put(queue, minutes(2, start=2))
        await writer.finish()
        return writer

    assert (run(story()).pending, len(store.rows)) == (0, 4)


@pytest.mark.parametrize(
    ("store", "took_s", "reason"), [(ShyStore(away=9), 0.0, "the store is away"), (ShyStore(write_s=99.0), 2.0, "")]
)
def test_stopping_does_not_wait_for_a_store(
    store: ShyStore, took_s: float, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is away, or mute, costs the end two seconds at most, and the log says what was not written."""

    async def story() -> float:
        queue = make_candle_queue()
        await put(queue, minutes(3))
        await CandleWriter(queue, store).finish()
        return now_s()

    assert run(story()) == pytest.approx(took_s)
    assert f"candles not written before the end candles=3 on_disk=0 reason={reason}" in caplog.text


def test_stopping_during_a_write_keeps_a_correction() -> None:
    """A write that ends after a newer account was taken in does not take that one for written."""
    store = ShyStore(write_s=1.5)

    async def story() -> None:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(1.5)
        await put(queue, [candle(volume=2.0)])
        await writer.finish()
        task.cancel()

    run(story())
    assert [row.volume for row in store.rows.values()] == [2.0]
