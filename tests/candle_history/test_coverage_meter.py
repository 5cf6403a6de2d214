"""The coverage meter: what it keeps over a restart, what it reports, and what it does while the store is away."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from pulse.candle_history import coverage_meter as module
from pulse.candle_history.coverage_meter import CLOSED_MAX, WRITE_EVERY_S, CoverageMeter
from pulse.candle_history.reader import CandleReader
from pulse.market.coverage import DAY_MS, NOT_RUNNING, ProofRecord
from pulse.market.intervals import Newest
from pulse.market.types import MINUTE_MS, Candle, TradeGap
from tests.support.makers import MIDNIGHT_MS, candle
from tests.support.metrics import sample_of
from tests.support.stores import MemoryStore
from tests.support.virtual_time import ScenarioClock, now_s, run

SYMBOL = "BTCUSDT"


def minute(number: int) -> Candle:
    """Return a stored minute of the day."""
    return candle(MIDNIGHT_MS + number * MINUTE_MS, (1.0, 1.0, 1.0, 1.0), 1.0)


class Setup:
    """A meter of one symbol, whose book is noted every second of virtual time, which begins at midnight."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.clock = ScenarioClock()
        self.records = {SYMBOL: ProofRecord(SYMBOL)}
        self.cause = ""
        reader = CandleReader(store, lambda _: Newest((), self.running_ms()), self.clock)
        self.meter = CoverageMeter(store, reader, lambda: self.records)

    def running_ms(self) -> int:
        """Return the running minute."""
        now_ms = int(self.clock.wall_s() * 1000)
        return now_ms - now_ms % MINUTE_MS

    async def note(self) -> None:
        """Note the book's state for ever."""
        while True:
            for record in self.records.values():
                record.note(self.cause, "cut" if self.cause else "", int(self.clock.wall_s() * 1000))
            await asyncio.sleep(1.0)


async def process(store: MemoryStore, *states: tuple[float, str]) -> Setup:
    """Run a meter from now on: each state lasts up to its time; at the last it ends as a process that is stopped."""
    setup = Setup(store)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(setup.note()), group.create_task(setup.meter.run())]
        for until_s, cause in states:
            setup.cause = cause
            await asyncio.sleep(until_s - now_s())
        for task in tasks:
            task.cancel()
    return setup


def holes(row: Any) -> list[tuple[str, str, str]]:
    """Return holes as times of the day and causes."""
    return [(hole["from"][11:19], hole["to"][11:19], hole["cause"]) for hole in row["holes"]]


def reported(scenario: Coroutine[Any, Any, Setup], days: int = 1) -> list[dict[str, Any]]:
    """Return the days of the report at the end of a scenario."""

    async def report() -> list[dict[str, Any]]:
        setup = await scenario
        answer = await setup.meter.report(SYMBOL, days)
        assert answer["symbol"] == SYMBOL
        found: list[dict[str, Any]] = answer["days"]
        return found

    return run(report())


def test_a_day_has_its_share_and_each_hole_with_its_cause() -> None:
    """Of the day so far; a minute that is not stored has the cause of the book's hole in it."""
    store = MemoryStore([minute(0), minute(1), minute(3), minute(4)])
    (day,) = reported(process(store, (100, ""), (110, "offline"), (130, "syncing"), (300, "")))

    assert (day["day"], day["until"][11:19]) == ("2024-08-09", "00:04:59")
    assert holes(day["book"]) == [("00:01:40", "00:01:50", "offline"), ("00:01:50", "00:02:10", "syncing")]
    assert day["book"]["share"] == 1 - 30 / 299
    assert day["book"]["holes"][0]["reason"] == "cut"
    assert holes(day["candles"]) == [("00:02:00", "00:03:00", "syncing")]
    assert (day["candles"]["missing_minutes"], day["candles"]["share"]) == (1, 0.8)


def test_a_restart_continues_the_day_and_is_a_hole() -> None:
    """The time in which nothing ran, from the last note of one process to the first of the next."""
    store = MemoryStore()

    async def twice() -> Setup:
        await process(store, (50, ""))
        await asyncio.sleep(100)
        return await process(store, (200, ""), (220, "offline"))

    (day,) = reported(twice())

    assert holes(day["book"]) == [("00:00:49", "00:02:30", NOT_RUNNING), ("00:03:20", "00:03:39", "offline")]
    assert len(store.coverage) == 1


def test_a_killed_process_loses_what_it_had_not_written() -> None:
    """At most WRITE_EVERY_S of proven time, which counts as not running."""
    store = MemoryStore()

    async def killed() -> Setup:
        setup = Setup(store)
        noting, running = asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())
        await asyncio.sleep(3 * WRITE_EVERY_S + 10)
        store.is_unavailable = True  # nothing is written at its end
        for task in (noting, running):
            task.cancel()
        await asyncio.sleep(1)
        store.is_unavailable = False
        return Setup(store)

    (day,) = reported(killed())
    ((start, end, cause),) = holes(day["book"])

    assert (start, cause) == ("00:00:59", NOT_RUNNING)
    assert end == "00:01:11"


def test_days_are_kept_apart_and_the_newest_come_first() -> None:
    """Over midnight; a day before the first start was not covered."""
    store = MemoryStore()

    async def over_midnight() -> Setup:
        await asyncio.sleep(DAY_MS / 1000 - 100)
        return await process(store, (DAY_MS / 1000 - 50, "stale"), (DAY_MS / 1000 + 100, ""))

    today, yesterday, before = reported(over_midnight(), days=3)

    assert [day["day"] for day in (today, yesterday, before)] == ["2024-08-10", "2024-08-09", "2024-08-08"]
    assert (holes(today["book"]), today["book"]["share"]) == ([], 1.0)
    assert holes(yesterday["book"]) == [("00:00:00", "23:58:20", NOT_RUNNING), ("23:58:20", "23:59:10", "stale")]
    assert (before["book"]["share"], before["candles"]["missing_minutes"]) == (0.0, 1440)
    assert len(store.coverage) == 2


def test_lost_trades_are_the_cause_of_a_missing_minute() -> None:
    """Those that the exchange no longer gives."""
    store = MemoryStore([minute(0), minute(2)])
    store.gaps = [TradeGap(SYMBOL, 1, 2, MIDNIGHT_MS + 70_000, MIDNIGHT_MS + 71_000, MIDNIGHT_MS)]
    (day,) = reported(process(store, (200, "")))

    assert holes(day["candles"]) == [("00:01:00", "00:02:00", "trades lost")]


def test_a_closed_symbol_is_written_once_more() -> None:
    """What it had proven is not lost with it; nothing of it is measured any more."""
    store = MemoryStore()

    async def closed() -> Setup:
        setup = Setup(store)
        noting, running = asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())
        setup.meter.open(SYMBOL)
        await asyncio.sleep(10)
        setup.meter.close(SYMBOL)
        before = await setup.meter.report(SYMBOL, 1)
        setup.records.clear()
        await asyncio.sleep(WRITE_EVERY_S)
        for task in (noting, running):
            task.cancel()
        assert holes(before["days"][0]["book"]) == []
        return setup

    (day,) = reported(closed())

    assert holes(day["book"])[0][0] == "00:00:09"


def test_a_clock_that_was_set_wrong_for_a_while_hides_no_day() -> None:
    """After it is right again the day goes on; what was noted meanwhile is not of it."""
    store = MemoryStore()

    async def set_wrong() -> Setup:
        setup = Setup(store)
        tasks = [asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())]
        await asyncio.sleep(2.5 * WRITE_EVERY_S)
        setup.clock = ScenarioClock(MIDNIGHT_MS + 10_000 * DAY_MS)
        await asyncio.sleep(2 * WRITE_EVERY_S)
        setup.clock = ScenarioClock()
        await asyncio.sleep(2 * WRITE_EVERY_S + 0.5)
        for task in tasks:
            task.cancel()
        return setup

    (day,) = reported(set_wrong())
    ((start, end, cause),) = holes(day["book"])

    assert (end, cause) == ("00:01:30", NOT_RUNNING)
    assert "00:00:39" <= start <= "00:00:50"


def test_gauges_show_the_last_24_hours(monkeypatch: Any) -> None:
    """Minutes count from the first stored one: a symbol may have been listed since."""
    store = MemoryStore([minute(number) for number in range(9) if number != 5])

    async def scenario() -> dict[str, float | None]:
        setup = Setup(store)
        noting, running = asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())
        await asyncio.sleep(9 * 60 + WRITE_EVERY_S)
        found = {
            name: sample_of(name, {"symbol": SYMBOL})
            for name in ("pulse_candles_missing", "pulse_coverage_candles_ratio", "pulse_coverage_book_ratio")
        }
        for task in (noting, running):
            task.cancel()
        return found

    found = run(scenario())
    assert found["pulse_candles_missing"] == 1.0
    assert found["pulse_coverage_candles_ratio"] == 8 / 9
    assert found["pulse_coverage_book_ratio"] is not None
    assert abs(found["pulse_coverage_book_ratio"] - 540 / 86_400) < 0.001


def test_while_the_store_is_away_nothing_is_lost_and_one_line_is_logged(caplog: Any) -> None:
    """The record goes on in memory, and is written when the store is back."""
    store = MemoryStore()
    caplog.set_level("INFO", module.__name__)

    async def away() -> Setup:
        store.is_unavailable = True
        setup = Setup(store)
        tasks: Sequence[asyncio.Task[None]] = (
            asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())
        )  # fmt: skip
        await asyncio.sleep(5 * WRITE_EVERY_S)
        setup.cause = "offline"
        await asyncio.sleep(5 * WRITE_EVERY_S)
        store.is_unavailable = False
        setup.cause = ""
        await asyncio.sleep(2 * WRITE_EVERY_S)
        for task in tasks:
            task.cancel()
        return setup

    (day,) = reported(away())

    assert holes(day["book"])[0] == ("00:01:40", "00:03:20", "offline")
    assert [record.message.partition(" reason")[0] for record in caplog.records] == ["coverage not written"]


def test_closed_symbols_beyond_the_bound_are_dropped_with_one_line(caplog: Any) -> None:
    """While the store is away the oldest go, of which the log names the first; what is kept is written later."""
    store = MemoryStore()
    caplog.set_level("INFO", module.__name__)
    names = [f"COIN{number}USDT" for number in range(CLOSED_MAX + 3)]

    async def away() -> None:
        store.is_unavailable = True
        setup = Setup(store)
        setup.records.update({name: ProofRecord(name) for name in names})
        tasks = [asyncio.create_task(setup.note()), asyncio.create_task(setup.meter.run())]
        await asyncio.sleep(WRITE_EVERY_S + 1)
        for name in names:
            setup.meter.close(name)
            del setup.records[name]
        await asyncio.sleep(WRITE_EVERY_S)
        store.is_unavailable = False
        await asyncio.sleep(2 * WRITE_EVERY_S)
        for task in tasks:
            task.cancel()

    run(away())
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]

    assert lines == [f"coverage of closed symbols dropped symbol={names[0]} records_kept={CLOSED_MAX}"]
    assert {name for name, _ in store.coverage} == {SYMBOL, *names[3:]}
