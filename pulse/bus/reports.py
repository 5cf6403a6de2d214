"""What the owner of a symbol knows beside its views, for the processes that follow it: once a second over the bus.

`/readyz`, `/api/symbols`, `/api/proof` and the newest minutes of `/api/ohlcv` are then the same everywhere. A report of
another version of this program may have other fields: what cannot be read of it is left out.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from pulse.market.intervals import Newest
from pulse.market.types import Candle, State, StreamState
from pulse.market.view import Certificate, StreamReport
from pulse.wire import Stamp, read_stamp, report_channel

REPORT_EVERY_S = 1.0
REPORT_LIFE_S = 5.0
"""A report that is older says nothing of the present; the owner has gone, and another takes over within 3 s."""
NO_REPORT = "No report of the process that owns this symbol has come."


class Books(Protocol):
    """What the engine knows of the books that this process makes itself."""

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each symbol's state."""

    def certificates(self) -> Mapping[str, Certificate | Mapping[str, Any]]:
        """Return the proof of each symbol's book."""

    def newest(self, symbol: str) -> Newest:
        """Return a symbol's newest closed minute and its running one."""


class Publish(Protocol):
    """The part of a bus that reports need."""

    def publish(self, channel: str, payload: bytes) -> None:
        """Hand over the newest payload of a channel."""


@dataclass(slots=True)
class _Report:
    """The newest report of a symbol."""

    stamp: Stamp
    body: Mapping[str, Any]
    received_s: float


class Reports:
    """The books of this process and of those that it follows, in one; of a symbol that is in both its own.

    `is_reported` tells whether others follow a symbol that this process owns, and `token` returns that of its lease.
    `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        instance: str,
        books: Books,
        is_reported: Callable[[str], bool],
        token: Callable[[str], int],
        clock: Callable[[], float],
    ) -> None:
        self._instance = instance
        self._books = books
        self._is_reported = is_reported
        self._token = token
        self._clock = clock
        self._reports: dict[str, _Report | None] = {}
        self._seq = 0

    def open(self, symbol: str) -> None:
        """Take reports of a symbol."""
        self._reports[symbol] = None

    def close(self, symbol: str) -> None:
        """Drop the report of a symbol."""
        del self._reports[symbol]

    # --- the books

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each symbol's state, as the engine does."""
        own = self._books.states()
        return {symbol: own.get(symbol) or self._followed_state(symbol) for symbol in self._reports}

    def certificates(self) -> dict[str, Certificate | Mapping[str, Any]]:
        """Return the proof of each symbol's book; none of one that is followed and has sent no report."""
        found: dict[str, Certificate | Mapping[str, Any]] = dict(self._books.certificates())
        for symbol in self._reports.keys() - found.keys():
            report = self._current(symbol)
            if report is not None and isinstance(report.body.get("certificate"), dict):
                found[symbol] = report.body["certificate"]
        return {symbol: found[symbol] for symbol in self._reports if symbol in found}

    def newest(self, symbol: str) -> Newest:
        """Return a symbol's newest closed minute and its running one, as far as they are known."""
        own, report = self._books.newest(symbol), self._current(symbol)
        if own.minutes or report is None:
            return own
        candles = _candles(symbol, report.body.get("candles"))
        running = (candle.open_time_ms for candle in candles if not candle.is_closed)
        return Newest(candles, max(running, default=own.running_ms))

    def _followed_state(self, symbol: str) -> dict[str, Any]:
        report = self._current(symbol)
        try:
            if report is not None:
                return _state(report.body["state"], (self._clock() - report.received_s) * 1000)
        except (KeyError, TypeError, ValueError):
            pass
        return {"state": State.OFFLINE.value, "since_ms": 0, "reason": NO_REPORT, "data_age_ms": None, "streams": []}

    def _current(self, symbol: str) -> _Report | None:
        report = self._reports.get(symbol)
        return report if report is not None and self._clock() - report.received_s <= REPORT_LIFE_S else None

    # --- reports in and out

    def deliver(self, channel: str, payload: bytes) -> None:
        """Take a report of another process; one with a lower token than the one held is dropped."""
        try:
            stamp, body = read_stamp(payload), orjson.loads(payload)
            symbol = str(body["symbol"])
        except (KeyError, TypeError, ValueError):
            return
        if stamp.instance == self._instance or symbol not in self._reports or channel != report_channel(symbol):
            return
        held = self._reports[symbol]
        if (
            held is None
            or stamp.token > held.stamp.token
            or (
                stamp.token == held.stamp.token
                and (stamp.instance != held.stamp.instance or stamp.seq > held.stamp.seq)
            )
        ):
            self._reports[symbol] = _Report(stamp, body, self._clock())

    async def run(self, bus: Publish) -> None:
        """Report every REPORT_EVERY_S what others follow, for ever."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            followed = [symbol for symbol in self._reports if self._is_reported(symbol)]
            if followed:
                self._publish(bus, followed)

    def _publish(self, bus: Publish, symbols: Iterable[str]) -> None:
        states, certificates = self._books.states(), self._books.certificates()
        self._seq += 1
        for symbol in symbols:
            if symbol in states:
                report = {
                    "seq": self._seq, "instance": self._instance, "token": self._token(symbol), "symbol": symbol,
                    "state": states[symbol], "certificate": certificates[symbol],
                    "candles": self._books.newest(symbol).minutes,
                }  # fmt: skip
                bus.publish(report_channel(symbol), orjson.dumps(report))


def _state(reported: Mapping[str, Any], age_ms: float) -> dict[str, Any]:
    """Return a reported state as the engine's, with the data as much older as the report is."""
    data_age_ms = reported["data_age_ms"]
    return {
        "state": State(reported["state"]).value,
        "since_ms": int(reported["since_ms"]),
        "reason": str(reported["reason"]),
        "data_age_ms": None if data_age_ms is None else int(data_age_ms + age_ms),
        "streams": [_stream(**stream) for stream in reported["streams"]],
    }


def _stream(*, state: str, **fields: Any) -> StreamReport:
    return StreamReport(state=StreamState(state), **fields)


def _candles(symbol: str, rows: object) -> tuple[Candle, ...]:
    """Return the reported candles; none where they cannot be read."""
    try:
        candles = tuple(Candle(**row) for row in rows)  # type: ignore[attr-defined]  # a TypeError otherwise
    except TypeError:
        return ()
    return tuple(candle for candle in candles if candle.symbol == symbol)
