"""The watchlist of a simulated exchange: one request for all symbols, made only while somebody reads the list."""

import logging
from asyncio import create_task
from typing import Any

import pytest

from pulse.binance.rest import DayTickers
from pulse.errors import ExchangeError
from pulse.ingest.watchlist import POLL_EVERY_S, RECORDING, Watchlist, no_watchlist
from pulse.market.types import DayTicker
from tests.support.makers import MIDNIGHT_MS
from tests.support.virtual_time import at, now_s, run

BTC = DayTicker("BTCUSDT", 100.0, 130.0, 90.0, 110.0, 2.0, 220.0, MIDNIGHT_MS, 7)
OLD = DayTicker("OLDUSDT", 5.0, 5.0, 5.0, 5.0, 1.0, 5.0, MIDNIGHT_MS - 2 * 86_400_000, 1)


class Source:
    """Answers with `answer`, or raises it, and notes when it was asked."""

    def __init__(self, answer: DayTickers | ExchangeError) -> None:
        self.answer = answer
        self.asked_s: list[float] = []

    async def day_tickers(self) -> DayTickers:
        """Answer."""
        self.asked_s.append(now_s())
        if isinstance(self.answer, ExchangeError):
            raise self.answer
        return self.answer


def answer_of(*tickers: DayTicker, faults: tuple[str, ...] = ()) -> DayTickers:
    """Return an answer with these rows."""
    return DayTickers(MIDNIGHT_MS, {ticker.symbol: ticker for ticker in tickers}, list(faults))


def test_the_exchange_is_asked_once_an_interval_while_somebody_reads() -> None:
    """Not before the first reader, once for all that read within the interval, and no more when nobody does."""

    async def main() -> None:
        source = Source(answer_of(BTC))
        watchlist = Watchlist(source, now_s)
        task = create_task(watchlist.run())
        await at(10.0)
        assert source.asked_s == []
        assert watchlist.report()["date_ms"] is None
        await at(10.5)
        for second in range(11, 11 + int(POLL_EVERY_S)):
            watchlist.report()
            await at(float(second))
        assert source.asked_s == [10.0, 10.0 + POLL_EVERY_S]
        await at(500.0)
        assert len(source.asked_s) == 2
        assert watchlist.report()["age_ms"] == 1000 * (500 - 10 - POLL_EVERY_S)
        task.cancel()

    run(main())


def test_a_row_has_the_change_and_nulls_where_nothing_was_traded() -> None:
    """A price of the day before yesterday is not shown as one of today."""
    report = polled(Source(answer_of(BTC, OLD)))
    first, second = report["rows"]

    assert (first["symbol"], first["last"], first["quote_volume"], first["trade_count"]) == ("BTCUSDT", 110.0, 220.0, 7)
    assert first["change_percent"] == pytest.approx(10.0)
    assert [second[name] for name in ("symbol", "last", "change_percent", "high", "low", "quote_volume")] == [
        "OLDUSDT", None, None, None, None, None,
    ]  # fmt: skip
    assert (report["date_ms"], report["age_ms"], report["left_out"], report["trouble"]) == (MIDNIGHT_MS, 0, 0, "")


def polled(source: Source) -> Any:
    """Return the report after one poll."""

    async def main() -> Any:
        watchlist = Watchlist(source, now_s)
        watchlist.report()
        task = create_task(watchlist.run())
        await at(1.0)
        task.cancel()
        return {**watchlist.report(), "age_ms": watchlist.report()["age_ms"] - 1000}

    return run(main())


def test_what_was_known_remains_with_its_age_while_the_exchange_fails(caplog: pytest.LogCaptureFixture) -> None:
    """The trouble is in the report, and logged when it begins and when it is over."""

    async def main() -> None:
        source = Source(answer_of(BTC))
        watchlist = Watchlist(source, now_s)
        task = create_task(watchlist.run())
        good, source.answer = source.answer, source.answer
        for number in range(4):
            source.answer = ExchangeError("the exchange is away") if number in (1, 2) else good
            watchlist.report()
            await at(number * POLL_EVERY_S + 1.0)
            report = watchlist.report()
            assert report["trouble"] == ("the exchange is away" if number in (1, 2) else "")
            assert [row["symbol"] for row in report["rows"]] == ["BTCUSDT"]
            assert report["age_ms"] == 1000 * (1 + POLL_EVERY_S * (number if number in (1, 2) else 0))
        task.cancel()

    with caplog.at_level(logging.INFO, logger="pulse.ingest.watchlist"):
        run(main())

    assert [record.getMessage() for record in caplog.records] == [
        "watchlist not loaded reason=the exchange is away", "watchlist loaded again symbols=1",
    ]  # fmt: skip


def test_rows_that_are_left_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """And logged, with the first one's fault."""
    with caplog.at_level(logging.WARNING, logger="pulse.ingest.watchlist"):
        report = polled(Source(answer_of(BTC, faults=("XUSDT: it is there twice", "expected"))))

    assert report["left_out"] == 2
    assert caplog.messages == ["watchlist rows left out rows=2 first=XUSDT: it is there twice"]


def test_a_recording_has_no_list() -> None:
    """Its report says why."""
    assert (no_watchlist()["rows"], no_watchlist()["trouble"]) == ([], RECORDING)
