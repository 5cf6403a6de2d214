"""Real sessions played through the real code, compared with the exchange's own tickers and candles."""

import asyncio
import csv
import gzip
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest

from pulse.binance.messages import Frame, parse
from pulse.clock import ReplayClock
from pulse.ingest.recording import RawFrame, Recording, open_recording
from pulse.ingest.replay import Replay
from pulse.market.candles import CandleBuilder
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.plausibility import ExchangeDate, Plausibility
from pulse.market.types import (
    MINUTE_MS,
    Aggressor,
    BookLost,
    BookTicker,
    Candle,
    DepthDiff,
    FeedDown,
    Level,
    Quarantined,
    State,
    Trade,
)
from pulse.queues import Received, make_inbox
from tests.support.makers import MIDNIGHT_MS
from tests.support.recordings import case, recording

Prices = tuple[float, float, float, float, float]
"""Open, high, low, close and volume."""
BEYOND_THE_SNAPSHOT = {50093478174, 50093480542}
"""Diffs of the 2024 session whose true best bid is older than the snapshot and lies beyond its levels."""


@dataclass(frozen=True, slots=True)
class Claim:
    """State and best levels of a market right after an anchor or a diff."""

    update_id: int
    is_anchor: bool
    state: State
    bid: Level | None
    ask: Level | None
    is_top_20_exact: bool


@dataclass
class Played:
    """One symbol of a session: the market that it makes, and the exchange's own tickers."""

    market: Market
    claims: list[Claim] = field(default_factory=list)
    tickers: list[BookTicker] = field(default_factory=list)
    states: Counter[State] = field(default_factory=Counter)
    lost: list[BookLost] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    candles: list[Candle] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)

    def take(self, received: Received) -> None:
        """Apply the next event to the market, and note the result."""
        event, market = received.event, self.market
        market.apply(event, received.received_ms)
        if isinstance(event, BookTicker):
            self.tickers.append(event)
            return
        state, _ = market.state(received.received_ms)
        self.states[state] += 1
        if isinstance(event, Trade):
            self.trades.append(event)
        elif isinstance(event, BookLost):
            self.lost.append(event)
        elif isinstance(event, Quarantined):
            self.quarantined.append(event)
        elif isinstance(event, DepthDiff | BookAnchor):
            self.claims.append(self._claim(isinstance(event, BookAnchor), state))
        self.candles += market.candles.take_closed()

    def _claim(self, is_anchor: bool, state: State) -> Claim:
        book = self.market.book
        assert book is not None
        is_exact = all(len(side) >= 20 or side.known_to() is None for side in (book.bids, book.asks))
        return Claim(book.last_update_id, is_anchor, state, book.bids.best(), book.asks.best(), is_exact)

    def live_claims(self) -> list[Claim]:
        """Return the claims whose state is live."""
        return [claim for claim in self.claims if claim.state is State.LIVE]

    def compare(self, claims: list[Claim]) -> Counter[bool | None]:
        """Count which claims equal the newest ticker at or below their id, in price and quantity; None: there is none.

        All tickers of the session are compared afterwards, without any of the code under test.
        """
        ids = [ticker.update_id for ticker in self.tickers]
        return Counter(self._is_equal(claim, bisect_right(ids, claim.update_id)) for claim in claims)

    def _is_equal(self, claim: Claim, index: int) -> bool | None:
        if not index:
            return None
        ticker = self.tickers[index - 1]
        theirs = ((ticker.bid_price, ticker.bid_quantity), (ticker.ask_price, ticker.ask_quantity))
        return (claim.bid, claim.ask) == theirs


def played(folder: str, pattern: str = "*") -> dict[str, Played]:
    """Play a session as fast as possible, every event through its market."""
    session = open_recording(sorted(recording(folder).glob(pattern)))
    return asyncio.run(_play(session))


async def _play(session: Recording) -> dict[str, Played]:
    inbox, origin = make_inbox(), Origin("00000000", "replay", "com")
    symbols = {
        symbol: Played(Market(symbol, origin, levels_max=20_000, trades_kept=30, stale_after_ms=5000))
        for symbol in session.instruments
    }
    replay = asyncio.create_task(Replay(session, inbox, ReplayClock(), inf).run())
    ended = 0
    while ended < len(symbols):
        received = await inbox.get()
        symbols[received.symbol].take(received)
        ended += isinstance(received.event, FeedDown)
    await replay
    return symbols


def prices_of(candle: Candle) -> Prices:
    """Return the values in which a candle is compared with a row of the exchange."""
    return candle.open, candle.high, candle.low, candle.close, candle.volume


def exchange_candles(path: Path) -> dict[int, Prices]:
    """Return the exchange's own candles by their first millisecond."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return {int(row[0]): (float(row[1]), float(row[2]), float(row[3]), float(row[4]), float(row[5])) for row in rows}


# --- BTCUSDT, Binance.com, 2024-08-08: 650 s across midnight, one snapshot of a thousand levels


@pytest.fixture(scope="module")
def btcusdt() -> Played:
    """Return the session, played as a whole."""
    return played("btcusdt-2024-08-08", "*.gz")["BTCUSDT"]


def test_2024_session_joins_once_and_has_no_gap(btcusdt: Played) -> None:
    """Of 6,495 diffs two are older than the snapshot, one joins with it, and all others follow without a gap."""
    assert [claim.is_anchor for claim in btcusdt.claims] == [True] + [False] * 6_492
    assert btcusdt.lost == []


def test_every_live_book_of_the_2024_session_is_correct(btcusdt: Played) -> None:
    """At each of 5,575 live moments best bid and ask equal the exchange's, in price and in quantity."""
    live = btcusdt.live_claims()

    assert (len(live), btcusdt.compare(live)) == (5_575, Counter({True: 5_575}))
    assert btcusdt.compare([claim for claim in live if claim.is_top_20_exact]) == Counter({True: 5_276})


@pytest.mark.proves("out-of-range")
def test_book_beyond_the_2024_snapshot_is_not_live(btcusdt: Played) -> None:
    """Where the price has left the snapshot's levels the book is syncing, instead of live and wrong."""
    not_live = [claim for claim in btcusdt.claims if claim.state is not State.LIVE]

    assert {claim.state for claim in not_live} == {State.SYNCING}
    assert {claim.update_id for claim in not_live} >= BEYOND_THE_SNAPSHOT
    assert all(claim.bid is None for claim in not_live)


def test_cross_check_of_the_2024_session_finds_no_difference(btcusdt: Played) -> None:
    """The market's own check compared each of those moments while it ran, and none differed."""
    check = btcusdt.market.integrity.touch

    assert (check.compared, check.equal) == (5_575, 5_575)
    assert btcusdt.market.integrity.incident_count == 0


def test_candles_of_the_2024_session_are_the_exchanges(btcusdt: Played) -> None:
    """The ten whole minutes equal the exchange's own; the two partial ones are not emitted."""
    theirs = exchange_candles(recording("btcusdt-2024-08-08") / "klines-1m.csv")
    whole = range(1_723_161_300_000, 1_723_161_900_000, MINUTE_MS)  # 23:55 to 00:04

    assert [candle.open_time_ms for candle in btcusdt.candles] == list(whole)
    assert [prices_of(candle) for candle in btcusdt.candles] == [theirs[minute] for minute in whole]
    assert all(candle.is_closed and candle.source == "live" for candle in btcusdt.candles)


def test_trades_of_the_2024_session_are_complete(btcusdt: Played) -> None:
    """All 19,904 ids are there; CVD and VWAP are the sums of the trades since midnight, where a trading day begins."""
    view = btcusdt.market.view(0.0, 0.0)
    session = [t for t in btcusdt.trades if t.time_ms >= MIDNIGHT_MS]
    bought = sum(t.quantity for t in session if t.aggressor is Aggressor.BUYER)
    sold = sum(t.quantity for t in session if t.aggressor is Aggressor.SELLER)

    assert [after.trade_id - before.trade_id for before, after in pairwise(btcusdt.trades)] == [1] * 19_903
    assert view.metrics.trade_cvd == pytest.approx(bought - sold)
    assert view.metrics.vwap == pytest.approx(sum(t.price * t.quantity for t in session) / (bought + sold))


# --- BTCUSDT, Binance.com, 2023-04-05: 415 s without a snapshot


def test_without_a_snapshot_no_book_is_ever_live() -> None:
    """The 2023 session has every stream and no snapshot: its book is syncing from the first event to the last."""
    session = played("btcusdt-2023-04-05-no-snapshot")["BTCUSDT"]
    view = session.market.view(0.0, 0.0)

    assert set(session.states) == {State.OFFLINE, State.SYNCING}
    assert session.states[State.OFFLINE] == 2  # before its first event, and after its last
    assert (session.claims, view.bids, view.last_update_id) == ([], [], 0)
    assert len(session.trades) > 0


# --- four small symbols each of Binance.US and Binance.com, 2021-10-12: 30 s with their snapshots


@pytest.mark.parametrize(
    ("folder", "symbols", "compared", "without_ticker"),
    [
        ("binance-us-2021-10-12", ["COMPUSDT", "CRVUSDT", "OMGBUSD", "ZRXUSDT"], 316, 16),
        ("binance-com-2021-10-12", ["BLZETH", "LRCBTC", "NKNUSDT", "RUNEEUR"], 159, 13),
    ],
)
def test_every_diff_of_the_2021_sessions_is_correct(
    folder: str, symbols: list[str], compared: int, without_ticker: int
) -> None:
    """After each diff beyond its snapshot best bid and ask equal the newest ticker at or below its id, if there is one.

    Diffs before the first ticker of their symbol cannot be compared and are counted apart. All snapshots join, no id is
    missing, and the books are live from then on.
    """
    session = played(folder)
    diffs = {symbol: [claim for claim in s.claims if not claim.is_anchor] for symbol, s in session.items()}
    results = sum((s.compare(diffs[symbol]) for symbol, s in session.items()), Counter[bool | None]())

    assert sorted(session) == symbols
    assert results == Counter({True: compared, None: without_ticker})
    assert all([c.is_anchor for c in s.claims[:2]] == [True, False] and not s.lost for s in session.values())
    assert all(s.live_claims() == s.claims for s in session.values())
    assert all(s.market.integrity.incident_count == 0 for s in session.values())


# --- no true frame is taken for a false one


@pytest.mark.proves("true-extremes")
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("btcusdt-2024-08-08", "*.gz"),
        ("btcusdt-2023-04-05-no-snapshot", "*"),
        ("binance-us-2021-10-12", "*"),
        ("binance-com-2021-10-12", "*"),
    ],
)
def test_no_frame_of_a_real_session_is_quarantined(folder: str, pattern: str) -> None:
    """Every frame of every recording is possible."""
    assert [session.quarantined for session in played(folder, pattern).values() if session.quarantined] == []


def _same(date: ExchangeDate) -> ExchangeDate:
    return date


def test_no_trade_of_a_real_day_is_refused() -> None:
    """All trades of XRPETH in order, each received when it was made."""
    known, refused = Plausibility(), []
    with gzip.open(recording("xrpeth-2019-10-11") / "trades.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            trade_id, time_ms = int(row["trade_id"]), int(row["time_ms"])
            price, quantity = float(row["price"]), float(row["qty"])
            made = Trade(trade_id, price, quantity, time_ms, Aggressor.BUYER, trade_id, trade_id, time_ms)
            date = ExchangeDate(time_ms, time_ms, is_measured=True)
            refused.append(known.refusal(made, time_ms, partial(_same, date)))

    assert set(refused) == {""}


@pytest.mark.proves("trade-ids-anew")
def test_trades_go_on_where_recorded_ids_begin_anew() -> None:
    """After a reconnect ids begin at small numbers: every trade is delivered, and no minute lacks trades."""
    session = asyncio.run(_play(open_recording([case("trade_ids_restart.rec")])))["BTCUSDT"]
    frames = [
        parse(m.raw) for m in open_recording([case("trade_ids_restart.rec")]).messages() if isinstance(m, RawFrame)
    ]
    sent = [frame.event for frame in frames if isinstance(frame, Frame) and isinstance(frame.event, Trade)]
    by_minute = Counter(trade.time_ms // MINUTE_MS for trade in sent)

    assert session.trades == sent
    assert session.market.certificate(0.0).trade_id_restarts == 1
    assert session.quarantined == []
    live = [candle for candle in session.candles if candle.source == "live"]
    assert all(candle.trade_count == by_minute[candle.open_time_ms // MINUTE_MS] for candle in live)


@pytest.mark.proves("same-id")
def test_both_trades_of_one_recorded_id_count() -> None:
    """Two trades share an aggregate id: both are in the tape, CVD, VWAP and the minute."""
    session = asyncio.run(_play(open_recording([case("same_aggregate_id_twice.rec")])))["BTCUSDT"]
    view = session.market.view(0.0, 0.0)
    minute = next(candle for candle in session.candles if candle.first_trade_id > 900)

    assert (minute.volume, minute.first_trade_id, minute.last_trade_id, minute.trade_count) == (796.0, 901, 922, 22)
    assert [(t.id, t.quantity) for t in view.trades if t.id == 510] == [(510, 777.0), (510, 1.0)]
    assert view.metrics.trade_cvd == sum(trade.quantity for trade in session.trades)
    assert sum(trade.last_trade_id - trade.first_trade_id + 1 for trade in session.trades) == 24


# --- XRPETH, Binance.com, 2019-10-11: every trade of a day


@pytest.fixture(scope="module")
def xrpeth() -> list[Candle]:
    """Return our candles of that day, made from its trades alone."""
    day_ms = 1_570_752_000_000
    builder = CandleBuilder("XRPETH")
    builder.on_time(day_ms)
    with gzip.open(recording("xrpeth-2019-10-11") / "trades.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            aggressor = Aggressor.BUYER if row["taker_side"] == "buy" else Aggressor.SELLER
            trade_id, time_ms = int(row["trade_id"]), int(row["time_ms"])
            builder.on_trade(
                Trade(trade_id, float(row["price"]), float(row["qty"]), time_ms, aggressor, trade_id, trade_id)
            )
    builder.on_time(day_ms + 1_441 * MINUTE_MS)
    return builder.take_closed()


def test_candles_of_a_day_are_the_exchanges(xrpeth: list[Candle]) -> None:
    """All 1,440 minutes equal the exchange's own, those without a trade among them."""
    theirs = exchange_candles(recording("xrpeth-2019-10-11") / "klines-1m.csv")
    flat = [candle for candle in xrpeth if candle.trade_count == 0]

    assert len(theirs) == 1_440
    assert {candle.open_time_ms: prices_of(candle) for candle in xrpeth} == theirs
    assert len(flat) > 0
    assert all(candle.volume == 0.0 and candle.open == candle.close for candle in flat)


def test_five_of_our_minutes_make_the_exchanges_five_minutes(xrpeth: list[Candle]) -> None:
    """Five of our minutes merged equal each of the exchange's 288 five-minute candles."""
    theirs = exchange_candles(recording("xrpeth-2019-10-11") / "klines-5m.csv")
    ours = {five[0].open_time_ms: merged(five) for five in zip(*[iter(xrpeth)] * 5, strict=True)}

    assert len(theirs) == 288
    assert ours == theirs


def merged(minutes: tuple[Candle, ...]) -> Prices:
    """Return several minutes as one candle; minutes without a trade are left out, as their prices are no trade's."""
    traded = [candle for candle in minutes if candle.trade_count] or minutes
    volume = round(sum(candle.volume for candle in traded), 8)
    high, low = max(candle.high for candle in traded), min(candle.low for candle in traded)
    return traded[0].open, high, low, traded[-1].close, volume


# --- silent streams


async def _silences(session: Recording, muted: str, from_s: float) -> dict[str, list[tuple[float, str]]]:
    """Play a session with one stream muted from a time on; return when which streams were found silent, in s."""
    inbox, origin = make_inbox(), Origin("00000000", "replay", "com")
    markets = {
        symbol: Market(symbol, origin, levels_max=20_000, trades_kept=30, stale_after_ms=5000)
        for symbol in session.instruments
    }
    replay = asyncio.create_task(Replay(session, inbox, ReplayClock(), inf).run())
    found: dict[str, list[tuple[float, str]]] = {symbol: [] for symbol in markets}
    began_ms, judged_ms, ended = 0.0, 0.0, 0
    while ended < len(markets):
        symbol, event, now_ms = await inbox.get()
        began_ms = began_ms or now_ms
        ended += isinstance(event, FeedDown)
        if now_ms - judged_ms > 1_000:
            judged_ms = now_ms
            for each, market in markets.items():
                market.view(now_ms, 0.0)
                found[each] += [((now_ms - began_ms) / 1000, kind) for kind in market.take_silences()]
        if type(event).__name__ != muted or now_ms - began_ms < from_s * 1000:
            markets[symbol].apply(event, now_ms)
    await replay
    return found


@pytest.mark.proves("true-quiet")
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("btcusdt-2024-08-08", "*.gz"),
        ("btcusdt-2023-04-05-no-snapshot", "*"),
        ("binance-us-2021-10-12", "*"),
        ("binance-com-2021-10-12", "*"),
    ],
)
def test_no_stream_of_a_real_session_is_called_silent(folder: str, pattern: str) -> None:
    """Busy or quiet, every recorded stream is found as it should be."""
    session = open_recording(sorted(recording(folder).glob(pattern)))
    found = asyncio.run(_silences(session, "", inf))

    assert {symbol: silences for symbol, silences in found.items() if silences} == {}


@pytest.mark.proves("stream-silent")
@pytest.mark.parametrize(("muted", "kind", "within_s"), [("BookTicker", "bookTicker", 5.0), ("Trade", "trade", 75.0)])
def test_muted_stream_of_a_real_session_is_found(muted: str, kind: str, within_s: float) -> None:
    """BTCUSDT, muted after 60 s: bookTicker by the book's best levels; trades, without a candle stream, by habit."""
    session = open_recording(sorted(recording("btcusdt-2024-08-08").glob("*0808.gz")))
    silences = asyncio.run(_silences(session, muted, 60.0))["BTCUSDT"]

    assert {found for _, found in silences} == {kind}
    assert 60.0 < silences[0][0] < 60.0 + within_s
