"""The task that keeps how much of each day is covered: a proven book, whole candles, and the cause of each hole.

Proof states come from the engine's records, candles from the store. What is kept is merged with what is stored, so that
a restart continues a day, and the time in which nothing ran is a hole of it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pulse import stats
from pulse.candle_history.reader import CandleReader
from pulse.errors import StoreUnavailable
from pulse.logs import StateOfTrouble
from pulse.market.coverage import (
    DAY_MS,
    STALLED_MS,
    DayCoverage,
    Hole,
    ProofRecord,
    day_of,
    holes_between,
    merge_days,
    missing_minutes,
    share,
    with_causes,
)
from pulse.market.intervals import HOUR, MINUTE, TIME_MAX_MS, iso_time
from pulse.market.types import MINUTE_MS
from pulse.store.contract import Store

log = logging.getLogger(__name__)

WRITE_EVERY_S = 20.0
"""A process that is killed loses at most so much of what it has proven."""
LAST_WRITE_S = 0.5
"""The most that the last write of a stopping process takes."""
CLOSED_MAX = 200
"""Records of closed symbols that are not written yet; beyond it the oldest is dropped, and the log says so."""
DAYS_MAX = 7
"""How many days a report has at most."""
GAPS_MAX = 1000
"""Trade gaps of a day that are looked at for causes."""


class CoverageMeter:
    """Writes the records of the engine to the store, and reports them. `records` returns those of the open symbols."""

    def __init__(self, store: Store, reader: CandleReader, records: Callable[[], Mapping[str, ProofRecord]]) -> None:
        self._store = store
        self._reader = reader
        self._records = records
        self._written_ms: dict[ProofRecord, int] = {}  # up to when a record is in the store
        self._closed: deque[ProofRecord] = deque()
        self._dropping = StateOfTrouble(log, "coverage of closed symbols dropped symbol=%s records_kept=%s")
        self._trouble = ""

    def open(self, symbol: str) -> None:
        """Begin to measure a symbol: its record begins with its first view."""

    def close(self, symbol: str) -> None:
        """Keep the record of a symbol that is being closed until it is written."""
        self._closed.append(self._records()[symbol])
        if len(self._closed) > CLOSED_MAX:
            dropped = self._closed.popleft()
            self._written_ms.pop(dropped, None)
            self._dropping.warn("there are too many", dropped.symbol, CLOSED_MAX)

    async def run(self) -> None:
        """Write and measure every WRITE_EVERY_S, and write at the end; never return."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S)
                await self._write_and_measure()
        finally:
            # Not `asyncio.timeout`: this task has been cancelled.
            await asyncio.wait({asyncio.create_task(self._write_and_measure())}, timeout=LAST_WRITE_S)

    async def report(self, symbol: str, days: int) -> dict[str, Any]:
        """Return the object of /api/coverage: the newest days, the newest first. Raises StoreUnavailable."""
        now_ms = int(self._reader.now_s() * 1000)
        today_ms = day_of(now_ms)
        known = await self._known(symbol, today_ms - (days - 1) * DAY_MS)
        rows = [await self._day(symbol, today_ms - at * DAY_MS, now_ms, known) for at in range(days)]
        return {"symbol": symbol, "days": rows}

    async def _day(self, symbol: str, day_ms: int, now_ms: int, known: list[DayCoverage]) -> dict[str, Any]:
        end_ms = self._noted_ms(symbol, min(day_ms + DAY_MS, now_ms))
        book = holes_between(known, day_ms, end_ms)
        closed_ms = min(day_ms + DAY_MS, self._reader.running_ms(symbol), MINUTE.floor(now_ms))
        stored = await self._reader.read(symbol, MINUTE, day_ms, max(day_ms, closed_ms - 1), DAY_MS // MINUTE_MS)
        missing = missing_minutes((row.candle.open_time_ms for row in stored), day_ms, closed_ms)
        gaps = await self._reader.gaps(symbol, day_ms, end_ms, GAPS_MAX) if missing else []
        candles = with_causes(missing, book, gaps)
        return {
            "day": iso_time(day_ms)[:10],
            "until": iso_time(end_ms),
            "book": {"share": share(book, day_ms, end_ms), "holes": list(map(_hole_row, book))},
            "candles": {
                "share": share(candles, day_ms, closed_ms),
                "missing_minutes": sum(hole.to_ms - hole.from_ms for hole in candles) // MINUTE_MS,
                "holes": list(map(_hole_row, candles)),
            },
        }

    async def _known(self, symbol: str, from_ms: int) -> list[DayCoverage]:
        """Return what is stored and what is not yet, day by day."""
        stored = await self._store.read_coverage(symbol, from_ms, TIME_MAX_MS)
        return _merged(stored, self._own(symbol, from_ms))

    def _noted_ms(self, symbol: str, now_ms: int) -> int:
        """Return up to when the book can have been noted: a running one is noted every second, not at each moment."""
        record = self._records().get(symbol)
        is_running = record is not None and 0 <= now_ms - record.until_ms <= STALLED_MS
        return record.until_ms if record is not None and is_running else now_ms

    def _own(self, symbol: str, from_ms: int) -> list[DayCoverage]:
        records = [*self._closed, self._records().get(symbol)]
        return [day for one in records if one is not None and one.symbol == symbol for day in one.days(from_ms)]

    async def _write_and_measure(self) -> None:
        try:
            while self._closed:
                record = self._closed[0]
                await self._write(record)
                self._written_ms.pop(record, None)
                if self._closed and self._closed[0] is record:  # not dropped meanwhile
                    self._closed.popleft()
            self._dropping.over()
            for symbol, record in tuple(self._records().items()):
                await self._write(record)
                await self._measure(symbol)
        except StoreUnavailable as fault:
            log.log(logging.DEBUG if self._trouble else logging.INFO, "coverage not written reason=%s", fault)
            self._trouble = str(fault)
        else:
            self._trouble = ""

    async def _write(self, record: ProofRecord) -> None:
        until_ms = record.until_ms
        written_ms = self._written_ms.get(record, 0)
        days = record.days(written_ms if written_ms <= until_ms else 0)  # else the clock was set back
        if days:
            stored = await self._store.read_coverage(record.symbol, days[0].day_ms, days[-1].day_ms)
            await self._store.write_coverage([day for day in _merged(stored, days) if day.day_ms >= days[0].day_ms])
            self._written_ms[record] = until_ms
            record.forget_before(day_of(until_ms))

    async def _measure(self, symbol: str) -> None:
        """Set the gauges of the last 24 hours."""
        now_ms = self._noted_ms(symbol, int(self._reader.now_s() * 1000))
        book = holes_between(await self._known(symbol, day_of(now_ms - DAY_MS)), now_ms - DAY_MS, now_ms)
        running_ms = self._reader.running_ms(symbol)
        begin_ms = HOUR.floor(running_ms - DAY_MS)
        hours = await self._reader.read(symbol, HOUR, begin_ms, None, DAY_MS // HOUR.length_ms + 2)
        closed = sum(row.minutes - (row.last_minute_ms >= running_ms) for row in hours)
        begin_ms = hours[0].candle.open_time_ms if hours else begin_ms
        minutes = max(0, (running_ms - begin_ms) // MINUTE_MS)
        if symbol not in self._records():
            return  # closed meanwhile
        stats.coverage_book.labels(symbol).set(share(book, now_ms - DAY_MS, now_ms) or 0.0)
        stats.coverage_candles.labels(symbol).set(closed / minutes if minutes else 1.0)
        stats.candles_missing.labels(symbol).set(minutes - closed)


def _merged(stored: list[DayCoverage], own: list[DayCoverage]) -> list[DayCoverage]:
    found = {day.day_ms: day for day in stored}
    for day in own:
        found[day.day_ms] = merge_days(found[day.day_ms], day) if day.day_ms in found else day
    return [found[day_ms] for day_ms in sorted(found)]


def _hole_row(hole: Hole) -> dict[str, str]:
    return {
        "from": iso_time(hole.from_ms), "to": iso_time(hole.to_ms), "cause": hole.cause, "reason": hole.reason
    }  # fmt: skip
