"""REST calls to a simulated exchange on loopback, and the errors that its refusals become."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlsplit

import aiohttp
import orjson
import pytest

from pulse.binance import rest as module
from pulse.binance.rate_limit import HISTORY_SHARE, MINUTE_S, OTHERS_SHARE, USABLE_SHARE, BanFile, Priority
from pulse.binance.refusals import REFUSED_WAIT_S
from pulse.binance.rest import UNLISTED_S, BinanceRest
from pulse.binance.transport import AiohttpTransport, Answer, Transport
from pulse.binance.venues import venue_of
from pulse.clock import SystemClock
from pulse.concurrency import RetryGate
from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused, MalformedFrame
from pulse.market.candles import candle_of_trades, candles_equal
from pulse.market.types import MINUTE_MS
from pulse.simulator.server import SimulatedExchange
from tests.support.makers import MIDNIGHT_MS, ManualClock
from tests.support.virtual_time import ScenarioClock, at, now_s, run
from tests.support.waiting import WAIT_S, until


class Setup(NamedTuple):
    """An exchange and a client of its REST API."""

    exchange: SimulatedExchange
    rest: BinanceRest


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """Run a simulated exchange of two symbols."""
    async with SimulatedExchange(["BTCUSDT", "ETHUSDT"], seed=3) as exchange, aiohttp.ClientSession() as session:
        venue = venue_of("us", exchange.rest_url, exchange.stream_url)
        rest = BinanceRest(
            AiohttpTransport(session), venue, SystemClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )
        yield Setup(exchange, rest)


async def test_depth_is_the_book_best_first(setup: Setup) -> None:
    """A snapshot carries its id, its limit and both sides."""
    snapshot = await setup.rest.depth("BTCUSDT", 100)

    assert snapshot.limit == 100
    assert len(snapshot.bids.prices) == len(snapshot.asks.prices) == 100
    assert max(snapshot.bids.prices) < min(snapshot.asks.prices)


async def test_klines_are_candles_and_only_past_ones_are_closed(setup: Setup) -> None:
    """Rows become candles; the current minute is not closed."""
    now_ms = setup.exchange.core.now_ms
    candles = await setup.rest.klines("BTCUSDT", now_ms - 5 * MINUTE_MS, now_ms)

    assert len(candles) == 5
    assert [candle.is_closed for candle in candles] == [True] * 4 + [False]
    assert {candle.source for candle in candles} == {"exchange"}


async def test_trades_are_fetched_by_id(setup: Setup) -> None:
    """They come from an id on, oldest first, without a gap."""
    newest = setup.exchange.core.agg_trades("BTCUSDT", limit=1)[0]["a"]
    trades = await setup.rest.agg_trades("BTCUSDT", newest - 5)

    assert [trade.trade_id for trade in trades][:6] == list(range(newest - 5, newest + 1))


async def test_trades_of_a_minute_make_the_exchanges_candle(setup: Setup) -> None:
    """Trades fetched by time aggregate to the exchange's own candle of the minute."""
    now_ms = setup.exchange.core.now_ms
    minute = now_ms - now_ms % MINUTE_MS - 3 * MINUTE_MS
    trades = await setup.rest.agg_trades_between("BTCUSDT", minute, minute + MINUTE_MS - 1)
    theirs = (await setup.rest.klines("BTCUSDT", minute, minute))[0]

    assert candles_equal(candle_of_trades("BTCUSDT", minute, trades), theirs)


async def test_day_of_every_symbol_is_fetched_with_one_request(setup: Setup) -> None:
    """Its prices are those of the exchange's own candles; the request costs what the venue states."""
    before = setup.rest.weight()[0]
    earlier = setup.exchange.core.klines("BTCUSDT")[-1440:]
    answer = await setup.rest.day_tickers()
    rows = setup.exchange.core.klines("BTCUSDT")[-1441:]
    ticker = answer.found["BTCUSDT"]

    assert list(answer.found) == list(setup.exchange.core.symbols)
    assert answer.faults == []
    assert max(float(row[2]) for row in earlier) <= ticker.high <= max(float(row[2]) for row in rows)
    assert min(float(row[3]) for row in earlier) >= ticker.low >= min(float(row[3]) for row in rows)
    assert ticker.open in {float(row[1]) for row in rows[:2]}
    assert ticker.volume == pytest.approx(sum(float(row[5]) for row in rows), rel=0.01)
    assert setup.rest.weight()[0] - before == 40
    assert [record.path for record in setup.exchange.rest.requests][-1] == "/api/v3/ticker/24hr"


async def test_rows_of_days_that_cannot_be_true_are_left_out(setup: Setup) -> None:
    """Each with its fault; the others stand by themselves."""

    def falsify(rows: list[Any]) -> list[Any]:
        first, *others = rows
        return [{**first, "lastPrice": "0.00000001"}, "no row", *others, others[0]]

    setup.exchange.faults.rest.edit("/api/v3/ticker/24hr", falsify)
    answer = await setup.rest.day_tickers()
    first, second, *_ = setup.exchange.core.symbols

    assert list(answer.found) == list(setup.exchange.core.symbols[1:])
    assert [fault.partition(" ")[0] for fault in answer.faults] == [f"{first}:", "expected", f"{second}:"]


async def test_exchanges_date_is_taken_from_its_answers(setup: Setup) -> None:
    """Whatever this machine's date is, the exchange's own is known after its first answer."""
    wrong = ManualClock(wall_s=0.0)
    venue = venue_of("us", setup.exchange.rest_url, setup.exchange.stream_url)
    async with aiohttp.ClientSession() as session:
        rest = BinanceRest(AiohttpTransport(session), venue, wrong, BanFile(None), lambda _: Priority.OTHER_BOOK)
        assert rest.exchange_ms() == 0
        await rest.instruments(["BTCUSDT"])

    assert abs(rest.exchange_ms() - setup.exchange.core.now_ms) < 60_000
    before_ms = rest.exchange_ms()
    wrong.at_ms += 5_000
    assert rest.exchange_ms() - before_ms == pytest.approx(5_000, abs=5)


class Dateless:
    """A network whose answers have no date, of an exchange whose date is MIDNIGHT_MS; `paths` are the requests."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self.answers = {"/api/v3/time": b'{"serverTime":%d}' % MIDNIGHT_MS, **answers}
        self.paths: list[str] = []

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Answer without a header."""
        path = urlsplit(url).path
        self.paths.append(path)
        return Answer(200, {}, self.answers[path])


@pytest.mark.parametrize("behind_s", [0.0, 3.0, 300.0, 3e8])
async def test_trades_of_an_answer_without_a_date_are_judged_by_the_exchanges_clock(behind_s: float) -> None:
    """However far this machine's is behind: the exchange's time is asked for, once."""
    row = b'{"a":%d,"p":"1","q":"1","f":1,"l":1,"T":%d,"m":true,"M":true}'
    network = Dateless({"/api/v3/aggTrades": b"[" + row % (7, MIDNIGHT_MS - 5) + b"]"})
    clock = ManualClock(wall_s=MIDNIGHT_MS / 1000 - behind_s)
    rest = BinanceRest(cast(Transport, network), venue_of("us"), clock, BanFile(None), lambda _: Priority.OTHER_BOOK)

    assert [trade.trade_id for trade in await rest.agg_trades("BTCUSDT", 7)] == [7]
    assert [trade.trade_id for trade in await rest.agg_trades("BTCUSDT", 7)] == [7]
    assert network.paths == ["/api/v3/aggTrades", "/api/v3/time", "/api/v3/aggTrades"]

    network.answers["/api/v3/aggTrades"] = b"[" + row % (7, MIDNIGHT_MS + 60_000) + b"]"
    with pytest.raises(MalformedFrame, match="outside of what was asked for"):
        await rest.agg_trades("BTCUSDT", 7)


async def test_exchanges_date_is_asked_for_once() -> None:
    """Where no answer has shown it."""
    network = Dateless({})
    clock = ManualClock(wall_s=77.0)
    rest = BinanceRest(cast(Transport, network), venue_of("us"), clock, BanFile(None), lambda _: Priority.OTHER_BOOK)
    for _ in range(2):
        await rest.learn_date()

    assert (network.paths, rest.exchange_ms()) == (["/api/v3/time"], MIDNIGHT_MS)


@pytest.mark.parametrize("error_s", [-300.0, 0.0, 300.0])
async def test_minute_of_an_answer_without_a_date_is_closed_once_it_has_ended(error_s: float) -> None:
    """By the exchange's clock when the request was sent: the answer was made after that."""
    minute = [MIDNIGHT_MS - MINUTE_MS, *"1111", "0", MIDNIGHT_MS - 1, "0", 0, "0", "0", "0"]
    rows = [minute, [MIDNIGHT_MS, *"1111", "0", MIDNIGHT_MS + MINUTE_MS - 1, "0", 0, "0", "0", "0"]]
    network = Dateless({"/api/v3/klines": orjson.dumps(rows)})
    clock = ManualClock(wall_s=MIDNIGHT_MS / 1000 + error_s)
    rest = BinanceRest(cast(Transport, network), venue_of("us"), clock, BanFile(None), lambda _: Priority.OTHER_BOOK)

    candles = await rest.klines("BTCUSDT", MIDNIGHT_MS - MINUTE_MS, MIDNIGHT_MS + MINUTE_MS)

    assert [candle.is_closed for candle in candles] == [True, False]


@pytest.mark.parametrize("date", ["", "today", "Mon, 01 Jan 99999 00:00:00 GMT", "Fri, 32 Aug 2024 00:00:00 GMT"])
async def test_date_that_cannot_be_read_is_none(date: str) -> None:
    """What was known before goes on."""

    class Network:
        async def get(self, url: str, params: Mapping[str, str]) -> Answer:
            return Answer(200, {"Date": date}, b"[]")

    clock = ManualClock(wall_s=77.0)
    rest = BinanceRest(cast(Transport, Network()), venue_of("us"), clock, BanFile(None), lambda _: Priority.OTHER_BOOK)
    assert await rest.klines("BTCUSDT", 0, 1) == []

    assert (rest.exchange_clock.is_known, rest.exchange_ms()) == (False, 77_000)


async def test_unlisted_symbol_has_no_instrument(setup: Setup) -> None:
    """One unknown name does not fail the others."""
    found = (await setup.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])).found

    assert list(found) == ["BTCUSDT"]
    assert found["BTCUSDT"].base_asset == "BTC"


@pytest.mark.parametrize(("unlisted_s", "requests"), [(UNLISTED_S, 1), (0.0, 3)], ids=["left out", "again"])
async def test_unlisted_symbol_does_not_cost_a_request_of_each_other_one_for_long(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, unlisted_s: float, requests: int
) -> None:
    """It is left out for UNLISTED_S, so that the others are polled with one request; then it is looked for again."""
    monkeypatch.setattr(module, "UNLISTED_S", unlisted_s)
    await setup.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])
    before = len(setup.exchange.rest.requests)
    found = (await setup.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])).found

    assert list(found) == ["BTCUSDT"]
    assert len(setup.exchange.rest.requests) - before == requests


async def test_no_request_is_made_where_no_symbol_is_listed(setup: Setup) -> None:
    """An empty list would ask for all of them."""
    await setup.rest.instruments(["NOSUCHCOIN"])
    before = len(setup.exchange.rest.requests)

    assert await setup.rest.instruments(["NOSUCHCOIN"]) == ({}, {})
    assert len(setup.exchange.rest.requests) == before


async def test_unreachable_exchange_is_probed_by_the_cheapest_call(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting costs the cheapest call at intervals, and ends with the first answer."""
    monkeypatch.setattr(setup.rest, "_retry_gate", RetryGate(0.01))
    setup.exchange.faults.rest.answer("/api/*", 503, count=3)
    with pytest.raises(ExchangeError):
        await setup.rest.depth("BTCUSDT", 100)
    await setup.rest.wait_until_reachable(60.0)

    paths = [(request.path, request.status) for request in setup.exchange.rest.requests]
    assert paths[1:] == [("/api/v3/ping", 503), ("/api/v3/ping", 503), ("/api/v3/ping", 200)]


async def test_wait_for_an_unreachable_exchange_is_bounded(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer the wait ends after its maximum."""
    monkeypatch.setattr(setup.rest, "_retry_gate", RetryGate(0.01))
    setup.exchange.faults.rest.answer("/api/*", 503)
    await setup.rest.wait_until_reachable(0.1)

    assert {request.status for request in setup.exchange.rest.requests} == {503}


async def test_history_leaves_weight_for_a_snapshot(setup: Setup) -> None:
    """However many history calls wait for the next minute, a snapshot goes through now."""
    venue = setup.rest.venue
    clock = ManualClock(now_ms=60_000.0)  # the start of a minute, and the clock stands
    async with aiohttp.ClientSession() as session:
        rest = BinanceRest(AiohttpTransport(session), venue, clock, BanFile(None), lambda _: Priority.OTHER_BOOK)
        rest._budget.spend(int(venue.weight_per_minute * USABLE_SHARE * HISTORY_SHARE), 60.0)
        history = [asyncio.create_task(rest.klines("BTCUSDT", 0, 1)) for _ in range(3)]
        snapshot = await asyncio.wait_for(rest.depth("BTCUSDT", 100), WAIT_S)
        waiting = [task.cancel() for task in history]
        await asyncio.wait(history)

    assert snapshot.limit == 100
    assert waiting == [True] * 3


@pytest.mark.proves("rest-budget")
async def test_pinned_symbols_snapshot_does_not_wait_for_what_clients_ask(setup: Setup) -> None:
    """However many other symbols wait for the next minute: they have spent all but the reserve."""
    venue = setup.rest.venue
    clock = ManualClock(now_ms=60_000.0)  # the start of a minute, and the clock stands
    priorities = {"BTCUSDT": Priority.PINNED_BOOK}
    affordable = int(venue.weight_per_minute * USABLE_SHARE * OTHERS_SHARE) // 50

    async with aiohttp.ClientSession() as session:
        rest = BinanceRest(
            AiohttpTransport(session), venue, clock, BanFile(None),
            lambda symbol: priorities.get(symbol, Priority.WATCHED_BOOK),
        )  # fmt: skip
        others = [asyncio.create_task(rest.depth("ETHUSDT", 5000)) for _ in range(12)]
        for _ in range(3):
            snapshot = await asyncio.wait_for(rest.depth("BTCUSDT", 100), WAIT_S)
        await until(lambda: sum(task.done() for task in others) == affordable)
        waiting = [task.cancel() for task in others]
        await asyncio.wait(others)

    assert snapshot.bids.prices
    assert sum(waiting) == 12 - affordable


def test_order_of_callers_when_the_budget_is_short() -> None:
    """First snapshots of pinned symbols within the same minute, then those of watched ones, trades, the clock, others.

    What widens a book and what fills the history have shares of their own.
    """

    class Network:
        """Answers at once; `calls` are the time and the name of each."""

        def __init__(self) -> None:
            self.calls: list[tuple[float, str]] = []

        async def get(self, url: str, params: Mapping[str, str]) -> Answer:
            """Answer with an empty list; only the call counts."""
            self.calls.append((now_s(), params.get("symbol", "time")))
            return Answer(200, {}, b"[]")

    priorities = {
        "PINNED": Priority.PINNED_BOOK, "WATCHED": Priority.WATCHED_BOOK, "OTHER": Priority.OTHER_BOOK,
    }  # fmt: skip

    async def scenario() -> list[tuple[float, str]]:
        network = Network()
        rest = BinanceRest(
            cast(Transport, network), venue_of("us"), ScenarioClock(), BanFile(None), priorities.__getitem__
        )
        rest._budget.spend(int(1200 * USABLE_SHARE * OTHERS_SHARE), 0.0)
        calls = [
            rest.klines("HISTORY", 0, 1), rest.depth("OTHER", 100), rest.depth("OTHER", 100), rest.time(),
            rest.agg_trades("TRADES", 1), rest.depth("WATCHED", 100), rest.depth("PINNED", 100),
            rest.depth("PINNED", 5000, is_widening=True),
        ]  # fmt: skip
        await asyncio.wait([asyncio.create_task(_outcome(call)) for call in calls])
        return network.calls

    calls = run(scenario())
    assert calls[0] == (0.0, "PINNED")
    in_next_minute = [name for time_s, name in calls[1:] if time_s == MINUTE_S]
    # The first OTHER had the lock before the more urgent ones came.
    others = [name for name in in_next_minute if name not in ("HISTORY", "PINNED")]
    assert others == ["OTHER", "WATCHED", "TRADES", "time", "OTHER"]
    assert {"HISTORY", "PINNED"} <= set(in_next_minute)


async def _outcome(call: Awaitable[object]) -> None:
    """Make a call whose answer is of no interest."""
    with contextlib.suppress(MalformedFrame):
        await call


async def test_refusal_of_the_region_is_an_error_of_its_own_and_not_asked_again(setup: Setup) -> None:
    """451 does not pass by itself: each call raises ExchangeRefused, and only the first is made."""
    setup.exchange.faults.rest.answer("/api/v3/*", 451)

    with pytest.raises(ExchangeRefused, match="does not serve this address or region"):
        await setup.rest.depth("BTCUSDT", 100)
    with pytest.raises(ExchangeRefused, match="does not serve this address or region"):
        await setup.rest.time()
    with pytest.raises(ExchangeRefused, match="does not serve this address or region"):
        await setup.rest.klines("ETHUSDT", 0, 1)
    assert len(setup.exchange.rest.requests) == 1


async def test_403_of_one_request_is_not_a_refusal_of_the_region(setup: Setup) -> None:
    """That request is not made again soon; every other is answered, the same of another symbol too."""
    setup.exchange.faults.rest.answer("/api/v3/depth", 403, count=1)

    with pytest.raises(ExchangeBusy, match="refuses this request"):
        await setup.rest.depth("BTCUSDT", 100)
    with pytest.raises(ExchangeBusy, match="refuses this request"):
        await setup.rest.depth("BTCUSDT", 100)
    assert (await setup.rest.depth("ETHUSDT", 100)).bids.prices
    assert (await setup.rest.time()).exchange_ms
    assert len(setup.exchange.rest.requests) == 3


def test_refusing_exchange_is_asked_once_in_minutes() -> None:
    """However many callers ask, and whatever for: one request goes out after each pause."""

    class Refusing:
        """A network that answers 451; `calls_s` are the times."""

        def __init__(self) -> None:
            self.calls_s: list[float] = []

        async def get(self, url: str, params: Mapping[str, str]) -> Answer:
            """Answer after a while."""
            self.calls_s.append(now_s())
            await asyncio.sleep(0.5)
            return Answer(451, {}, b"{}")

    async def scenario() -> list[float]:
        network = Refusing()
        rest = BinanceRest(
            cast(Transport, network), venue_of("us"), ScenarioClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )

        async def call_for_ever(call: Callable[[], Awaitable[object]]) -> None:
            while True:
                with pytest.raises(ExchangeRefused):
                    await call()
                await asyncio.sleep(1.0)

        calls = [rest.time, lambda: rest.depth("BTCUSDT", 100), lambda: rest.klines("ETHUSDT", 0, 1)]
        tasks = []
        for number, call in enumerate(calls):
            await at(number + 1.0)  # none of them while the first answer is still to come
            tasks.append(asyncio.create_task(call_for_ever(call)))
        await at(2.5 * REFUSED_WAIT_S)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        return network.calls_s

    calls_s = run(scenario())

    assert len(calls_s) == 3
    assert calls_s == pytest.approx([1.0, 1.0 + REFUSED_WAIT_S, 1.0 + 2 * REFUSED_WAIT_S], abs=4.0)


@pytest.mark.parametrize("status", [429, 418])
async def test_no_call_is_made_before_retry_after(setup: Setup, status: int) -> None:
    """After a 429 or 418 every call raises ExchangeBusy until Retry-After has passed."""
    setup.exchange.faults.rest.answer("/api/v3/depth", status, retry_after_s=60, count=1)
    with pytest.raises(ExchangeBusy):
        await setup.rest.depth("BTCUSDT", 100)

    with pytest.raises(ExchangeBusy, match="blocks all requests for"):
        await setup.rest.klines("BTCUSDT", 0, 1)


async def test_html_page_instead_of_json_is_an_error(setup: Setup) -> None:
    """A proxy's HTML page is never parsed as data, whatever its status."""
    setup.exchange.faults.rest.html("/api/v3/depth", 200, count=1)
    setup.exchange.faults.rest.html("/api/v3/depth", 502, count=1)

    with pytest.raises(MalformedFrame, match="not JSON"):
        await setup.rest.depth("BTCUSDT", 100)
    with pytest.raises(ExchangeError, match="HTTP 502"):
        await setup.rest.depth("BTCUSDT", 100)


async def test_refused_connection_is_an_error_that_names_the_venue(setup: Setup) -> None:
    """Without an exchange the error text starts with the venue's title."""
    await setup.exchange.close()

    with pytest.raises(ExchangeError, match=r"Binance\.US gave no answer"):
        await setup.rest.depth("BTCUSDT", 100)


@pytest.mark.proves("log-forgery")
async def test_error_text_of_the_exchange_is_one_line(setup: Setup) -> None:
    """Its control characters are escaped; a text that is no string is left out."""
    setup.exchange.faults.rest.answer("/api/v3/depth", 500, body=b'{"code":-1000,"msg":"a\\nb"}', count=1)
    with pytest.raises(ExchangeError, match=r"HTTP 500: a\\x0ab$"):
        await setup.rest.depth("BTCUSDT", 100)
    setup.exchange.faults.rest.answer("/api/v3/depth", 500, body=b'{"code":-1000,"msg":[1]}', count=1)
    with pytest.raises(ExchangeError, match="no reason given"):
        await setup.rest.depth("BTCUSDT", 100)


def test_a_name_that_is_not_ascii_is_requested_as_it_is() -> None:
    """In a list as well: the exchange reads no escapes there."""

    class Recorder:
        """A network that notes the parameters of each request."""

        def __init__(self) -> None:
            self.params: list[Mapping[str, str]] = []

        async def get(self, url: str, params: Mapping[str, str]) -> Answer:
            """Answer that nothing is listed."""
            self.params.append(params)
            return Answer(200, {}, b'{"symbols":[]}')

    async def scenario() -> list[Mapping[str, str]]:
        network = Recorder()
        rest = BinanceRest(
            cast(Transport, network), venue_of("us"), ScenarioClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )
        await rest.instruments(["\u5e01\u5b89USDT", "BTCUSDT"])
        return network.params

    assert run(scenario()) == [{"symbols": '["\u5e01\u5b89USDT","BTCUSDT"]'}]


def test_many_symbols_are_polled_in_few_requests_also_where_one_is_unknown() -> None:
    """Their names are in addresses that servers take, and the one that fails a request is found by halving it."""

    class Network:
        """Lists everything but S7; `lengths` are those of the addresses."""

        def __init__(self) -> None:
            self.lengths: list[int] = []

        async def get(self, url: str, params: Mapping[str, str]) -> Answer:
            """Refuse the request for S7 and others, answer all others with nothing."""
            self.lengths.append(len(quote(params["symbols"])))
            if '"S7"' in params["symbols"]:
                return Answer(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
            return Answer(200, {}, b'{"symbols":[]}')

    async def scenario() -> list[int]:
        network = Network()
        rest = BinanceRest(
            cast(Transport, network), venue_of("com"), ScenarioClock(), BanFile(None), lambda _: Priority.OTHER_BOOK
        )
        symbols = [f"S{number}" for number in range(500)]
        await rest.instruments(symbols)
        first = len(network.lengths)
        await rest.instruments(symbols)
        assert first <= 3 + 2 * 8
        return network.lengths[first:]

    lengths = run(scenario())
    assert len(lengths) == 3
    assert max(lengths) < 8_000


async def test_false_candles_of_an_answer_are_left_out(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """A candle that does not open on its minute is no candle; the others are."""
    setup.exchange.faults.rest.edit("/api/v3/klines", lambda rows: [[rows[0][0] + 1, *rows[0][1:]], *rows[1:]], count=1)
    now_ms = setup.exchange.core.now_ms
    candles = await setup.rest.klines("BTCUSDT", now_ms - 5 * MINUTE_MS, now_ms)

    assert len(candles) == 4
    assert caplog.text.count("rows of an answer quarantined rows=kline rows symbol=BTCUSDT") == 1


async def test_false_trades_of_an_answer_are_refused(setup: Setup) -> None:
    """The answer is asked for again by whoever needs it."""
    newest = setup.exchange.core.agg_trades("BTCUSDT", limit=1)[0]["a"]
    setup.exchange.faults.rest.edit(
        "/api/v3/aggTrades", lambda rows: [rows[0] | {"T": rows[0]["T"] + 10**8}, *rows[1:]], count=1
    )
    with pytest.raises(MalformedFrame, match="outside of what was asked for"):
        await setup.rest.agg_trades("BTCUSDT", newest - 5)

    assert len(await setup.rest.agg_trades("BTCUSDT", newest - 5)) >= 6


async def test_malformed_instrument_of_one_unlisted_request_is_named(setup: Setup) -> None:
    """Also where each symbol is requested alone."""
    setup.exchange.faults.rest.edit("/api/v3/exchangeInfo", _without_status)
    rows = await setup.rest.instruments(["BTCUSDT", "NOSUCHCOIN"])

    assert (rows.found, list(rows.malformed)) == ({}, ["BTCUSDT"])


def _without_status(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"symbols": [row | {"status": 1} for row in body["symbols"]]}
