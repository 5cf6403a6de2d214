"""The writer in virtual time: batches, retries while the store is unavailable, corrections, bounds and the end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from pulse.candle_history import writer as module
from pulse.candle_history.writer import CHECK_EVERY_S, CandleWriter
from pulse.market.types import Candle
from pulse.queues import CandleQueue, make_candle_queue
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle
from tests.support.metrics import sample_of
from tests.support.stores import UNAVAILABLE, MemoryStore
from tests.support.virtual_time import at, now_s, run


def minutes(count: int, start: int = 0) -> list[Candle]:
    """Return closed candles of this many minutes."""
    return [candle(MIDNIGHT_MS + i * MINUTE_MS) for i in range(start, start + count)]


Scenario = Callable[[CandleQueue, CandleWriter], Awaitable[None]]


def written(store: MemoryStore, scenario: Scenario, until_s: float = 60.0) -> CandleWriter:
    """Run a writer through a scenario and until this time; return it after it was cancelled."""

    async def play() -> CandleWriter:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await scenario(queue, writer)
        await at(until_s)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return writer

    return run(play())


async def put(queue: CandleQueue, candles: Sequence[Candle]) -> None:
    """Queue these candles."""
    for row in candles:
        await queue.put(row)


def test_minutes_that_close_together_are_written_together() -> None:
    """One write, a second after the first of them, has all that were queued meanwhile."""
    store = MemoryStore(clock=now_s)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, minutes(1))
        await asyncio.sleep(0.9)
        await put(queue, minutes(2, start=1))

    writer = written(store, scenario)
    assert (store.writes, writer.pending, writer.trouble) == ([(1.0, 3)], 0, "")


def test_an_unavailable_store_is_noticed_at_the_start() -> None:
    """The trouble is known before the first minute closes, which may be a minute later."""
    store = MemoryStore(clock=now_s, failing_writes=1)

    async def scenario(queue: CandleQueue, writer: CandleWriter) -> None:
        await asyncio.sleep(0.1)
        assert writer.trouble == UNAVAILABLE
        store.failing_writes = 0
        await put(queue, minutes(1))

    writer = written(store, scenario)
    assert (len(store.candles), writer.trouble) == (1, "")


def test_trouble_is_noticed_and_is_over_while_no_candle_comes() -> None:
    """The store is checked every few seconds, and the trouble has the time of its beginning for as long as it lasts."""
    store = MemoryStore(clock=now_s)
    seen: list[str] = []
    since_s: list[float | None] = []

    async def scenario(_: CandleQueue, writer: CandleWriter) -> None:
        for is_unavailable in (False, True, True, False):
            store.is_unavailable = is_unavailable
            await asyncio.sleep(CHECK_EVERY_S + 0.1)
            seen.append(writer.trouble)
            since_s.append(writer.trouble_since_s)

    written(store, scenario)

    assert seen == ["", UNAVAILABLE, UNAVAILABLE, ""]
    assert since_s[1] is not None
    assert since_s == [None, since_s[1], since_s[1], None]


def test_candles_are_kept_while_the_store_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """Those that close meanwhile are kept too, and all are written once it is available again."""
    caplog.set_level("INFO", "pulse.candle_history.writer")
    store = MemoryStore(clock=now_s, failing_writes=5)

    async def scenario(queue: CandleQueue, writer: CandleWriter) -> None:
        await put(queue, minutes(2))
        await asyncio.sleep(2.0)
        await put(queue, minutes(3, start=2))

        assert (writer.pending, writer.trouble) == (5, UNAVAILABLE)

    writer = written(store, scenario)
    assert (len(store.candles), writer.pending, writer.trouble) == (5, 0, "")
    assert [record.getMessage() for record in caplog.records] == [
        f"store unavailable, candles pending reason={UNAVAILABLE}",
        "store available again, candles written",
    ]


def test_retries_back_off() -> None:
    """Retries come after growing delays, of up to ten seconds."""
    store = MemoryStore(clock=now_s, failing_writes=10)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, minutes(1))

    written(store, scenario, until_s=120.0)
    # Delays of 0.5, 1, 2, 4, 8 s and five of 10 s, each between half and all of it.
    assert 1.0 + 65.5 / 2 <= store.writes[0][0] <= 1.0 + 65.5


def test_the_newest_candle_of_a_minute_is_written() -> None:
    """A correction replaces the pending candle."""
    store = MemoryStore(clock=now_s)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0), candle(volume=2.0), candle(volume=3.0, symbol="ETHUSDT")])

    written(store, scenario)
    assert sorted(row.volume for row in store.candles.values()) == [2.0, 3.0]
    assert store.writes == [(1.0, 2)]


def test_a_correction_while_the_store_is_unavailable() -> None:
    """The pending candle is replaced, and never written."""
    store = MemoryStore(clock=now_s, failing_writes=3)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(1.2)
        await put(queue, [candle(volume=2.0)])

    written(store, scenario)
    assert [row.volume for row in store.candles.values()] == [2.0]
    assert len(store.writes) == 1


def test_a_correction_during_a_write_is_written_too() -> None:
    """The store ends with the correction, though the earlier candle was being written."""
    store = MemoryStore(clock=now_s, write_delay_s=5.0)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(3.0)
        await put(queue, [candle(volume=2.0)])

    written(store, scenario)
    assert [row.volume for row in store.candles.values()] == [2.0]
    assert len(store.writes) == 2


def test_many_candles_are_written_in_batches() -> None:
    """One statement has a bounded number of rows."""
    store = MemoryStore(clock=now_s)

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, minutes(2 * module.BATCH_CANDLES_MAX + 5))

    written(store, scenario)
    assert [count for _, count in store.writes] == [module.BATCH_CANDLES_MAX] * 2 + [5]


def test_beyond_the_bound_the_oldest_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is unavailable for too long, the newest candles are kept."""
    monkeypatch.setattr(module, "PENDING_CANDLES_MAX", 4)
    store = MemoryStore(clock=now_s, failing_writes=1)

    def dropped() -> float:
        return sample_of("pulse_candles_dropped_total") or 0.0

    async def scenario(queue: CandleQueue, _: CandleWriter) -> None:
        await put(queue, minutes(7))

    before = dropped()
    written(store, scenario)
    assert [row.open_time_ms for row in store.candles.values()] == [row.open_time_ms for row in minutes(4, start=3)]
    assert dropped() - before == 3.0


def test_closing_writes_what_is_pending() -> None:
    """What is queued, and what was in a write that was cancelled, is written at the end."""
    store = MemoryStore(clock=now_s, write_delay_s=0.5)

    async def scenario() -> CandleWriter:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await put(queue, minutes(2))
        await asyncio.sleep(1.2)  # within the first write
        task.cancel()
        await put(queue, minutes(2, start=2))
        await writer.aclose()
        return writer

    assert (run(scenario()).pending, len(store.candles)) == (0, 4)


@pytest.mark.parametrize(
    ("store", "took_s", "reason"),
    [
        (MemoryStore(clock=now_s, failing_writes=9), 0.0, UNAVAILABLE),
        (MemoryStore(clock=now_s, write_delay_s=99.0), 2.0, ""),
    ],
)
def test_closing_has_a_deadline(
    store: MemoryStore, took_s: float, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unavailable or unresponsive store delays the end by two seconds at most; the log counts what was lost."""

    async def scenario() -> float:
        queue = make_candle_queue()
        await put(queue, minutes(3))
        await CandleWriter(queue, store).aclose()
        return now_s()

    assert run(scenario()) == pytest.approx(took_s)
    assert f"candles not written at shutdown candles=3 spooled=0 reason={reason}" in caplog.text


def test_closing_during_a_write_keeps_a_correction() -> None:
    """A write that ends after a correction was queued does not count the correction as written."""
    store = MemoryStore(clock=now_s, write_delay_s=1.5)

    async def scenario() -> None:
        queue = make_candle_queue()
        writer = CandleWriter(queue, store)
        task = asyncio.create_task(writer.run())
        await put(queue, [candle(volume=1.0)])
        await asyncio.sleep(1.5)
        await put(queue, [candle(volume=2.0)])
        await writer.aclose()
        task.cancel()

    run(scenario())
    assert [row.volume for row in store.candles.values()] == [2.0]
