"""Which candles are deleted, from a real store."""

import asyncio
from pathlib import Path

import pytest

import pulse.candle_history.retention as module
from pulse.candle_history.retention import Retention
from pulse.market.intervals import DAY_MS
from pulse.market.types import MINUTE_MS
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, minutes
from tests.support.makers import ManualClock


async def test_candles_older_than_the_period_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hour by hour, in as many batches as it takes; newer candles stay."""
    monkeypatch.setattr(module, "BATCH_HOURS", 2)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    store = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(600))
    clock = ManualClock(wall_s=(BEGIN_MS + 8 * 60 * MINUTE_MS + 2 * DAY_MS) / 1000)
    task = asyncio.create_task(Retention(store, 2, clock).run())
    kept = minutes(600)[8 * 60 + 5 - 60 :]  # the hours begin at five minutes

    async def count() -> int:
        return len(await store.read_candles("BTCUSDT", None, None, 1000))

    for _ in range(1000):
        if await count() == len(kept):
            break
        await asyncio.sleep(0.005)
    rows = await store.read_candles("BTCUSDT", None, None, 1000)
    task.cancel()
    await asyncio.wait([task])
    await store.aclose()

    assert rows == kept


async def test_an_unavailable_store_does_not_end_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again later."""
    monkeypatch.setattr(module, "DELETE_EVERY_S", 0.01)
    store = SqliteStore(tmp_path / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.aclose()
    task = asyncio.create_task(Retention(store, 2, ManualClock()).run())
    await asyncio.sleep(0.05)

    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
