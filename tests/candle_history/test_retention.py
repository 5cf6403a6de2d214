"""Which candles are deleted, from a real store: by two clocks that agree, and a bounded span at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import pulse.candle_history.retention as module
from pulse.candle_history.retention import SWEEP_HOURS_MAX, Retention
from pulse.market.intervals import DAY_MS, HOUR_MS
from pulse.market.types import MINUTE_MS, Candle
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, minute_candle, minutes

YEARS_MS = 3 * 365 * DAY_MS
FIRST_HOUR_MS = BEGIN_MS - 55 * MINUTE_MS
"""The hour of the minute with the number 0, which is its 55th."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Yield an open, empty store."""
    made = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await made.open()
    yield made
    await made.aclose()


def hourly(hours: range) -> list[Candle]:
    """Return the first minute of each of these hours, counted from FIRST_HOUR_MS."""
    return [minute_candle(hour * 60 - 55) for hour in hours]


async def left_after(
    store: SqliteStore, days: int, exchange_ms: Callable[[], int | None], monkeypatch: pytest.MonkeyPatch,
    sweeps: int = 1, is_ours: Callable[[], bool] = lambda: True,
) -> list[Candle]:  # fmt: skip
    """Return what is stored after this many sweeps."""
    pauses: asyncio.Queue[float] = asyncio.Queue()
    proceed = asyncio.Semaphore(sweeps - 1)

    async def sleep(seconds: float) -> None:
        if seconds >= module.RETRY_S:  # a pause between two sweeps
            pauses.put_nowait(seconds)
            await proceed.acquire()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(Retention(store, days, exchange_ms, is_ours).run())
    for _ in range(sweeps):
        await pauses.get()
    task.cancel()
    await asyncio.wait([task])
    return await store.read_candles("BTCUSDT", None, None, 100_000)


async def test_candles_older_than_the_period_are_deleted(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hour by hour, in as many batches as it takes; newer candles stay."""
    monkeypatch.setattr(module, "BATCH_HOURS", 2)
    newest = hourly(range(56, 57))
    await store.write_candles(minutes(600) + newest)
    now_ms = FIRST_HOUR_MS + 57 * HOUR_MS
    kept = minutes(600)[8 * 60 + 5 :]  # the first hour has five minutes

    assert await left_after(store, 2, lambda: now_ms, monkeypatch) == kept + newest


@pytest.mark.proves("clock-ahead")
async def test_a_clock_that_is_years_ahead_deletes_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stored minute says what time it was, whatever a clock says."""
    await store.write_candles(hourly(range(78)))

    assert await left_after(store, 4, lambda: FIRST_HOUR_MS + YEARS_MS, monkeypatch) == hourly(range(78))


async def test_a_minute_that_is_years_ahead_deletes_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange's time decides, whatever the store holds."""
    false = minute_candle(YEARS_MS // MINUTE_MS)
    await store.write_candles([*hourly(range(78)), false])

    assert await left_after(store, 4, lambda: FIRST_HOUR_MS + 78 * HOUR_MS, monkeypatch) == [*hourly(range(78)), false]


@pytest.mark.proves("clock-ahead")
async def test_nothing_is_deleted_before_the_exchanges_time_is_known(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this machine is not used in its place."""
    await store.write_candles(hourly(range(78)))

    assert await left_after(store, 1, lambda: None, monkeypatch, sweeps=3) == hourly(range(78))


@pytest.mark.proves("clock-ahead")
async def test_one_sweep_deletes_a_day_at_most(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After the period was shortened a longer span goes day by day; the log has what, and that more is due."""
    caplog.set_level("INFO", "pulse.candle_history.retention")
    await store.write_candles(hourly(range(100)))
    now_ms = FIRST_HOUR_MS + 100 * HOUR_MS

    assert await left_after(store, 1, lambda: now_ms, monkeypatch) == hourly(range(SWEEP_HOURS_MAX, 100))
    assert [record.getMessage() for record in caplog.records] == [
        "old candles deleted hours=24 from=2024-08-08T23:00:00+00:00 before=2024-08-09T23:00:00+00:00 days_kept=1"
        " left_for_later=True"
    ]
    assert await left_after(store, 1, lambda: now_ms, monkeypatch, sweeps=4) == hourly(range(76, 100))


async def test_an_unavailable_store_does_not_end_the_task(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again later."""
    monkeypatch.setattr(module, "SWEEP_EVERY_S", 0.01)
    await store.aclose()
    task = asyncio.create_task(Retention(store, 2, lambda: BEGIN_MS).run())
    await asyncio.sleep(0.05)

    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_nothing_is_deleted_while_another_does(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again after a pause, and deletes then."""
    await store.write_candles(hourly(range(78)))
    now_ms = FIRST_HOUR_MS + 78 * HOUR_MS
    answers = iter([False, False, True])

    def is_ours() -> bool:
        return next(answers, False)

    assert await left_after(store, 3, lambda: now_ms, monkeypatch, 2, is_ours) == hourly(range(78))
    assert len(await left_after(store, 3, lambda: now_ms, monkeypatch, 1, is_ours)) < 78
