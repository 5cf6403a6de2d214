"""The pure exchange: one seed one session, REST views that agree with the streams, and the exact book at any diff."""

from itertools import pairwise

import pytest

from pulse.simulator.exchange import Exchange
from pulse.simulator.payloads import StreamEvent
from tests.support.simulator import MINUTE_MS, SMALL, START_MS, ClientBook

PAIR = ("AVAXUSDT", SMALL)


def run_session(step_ms: int, span_ms: int = 6_000, seed: int = 1) -> list[StreamEvent]:
    """Return every event of two symbols in a span, advanced in steps."""
    exchange = Exchange(PAIR, seed, START_MS)
    return [e for at in range(0, span_ms, step_ms) for e in exchange.advance(START_MS + at + step_ms)]


@pytest.fixture(scope="module")
def whole() -> list[StreamEvent]:
    """Return the session advanced in one step."""
    return run_session(step_ms=6_000)


@pytest.mark.parametrize("step_ms", [40, 1_500])
def test_step_size_changes_nothing(whole: list[StreamEvent], step_ms: int) -> None:
    """The events of several symbols come in the same order whatever the steps."""
    assert run_session(step_ms) == whole


def test_another_seed_is_another_session(whole: list[StreamEvent]) -> None:
    """Different seeds make different markets."""
    assert run_session(6_000, seed=2) != whole


def test_unknown_symbols_are_named_in_the_error() -> None:
    """Symbols without an instrument raise at construction."""
    with pytest.raises(ValueError, match="not NOSUCH"):
        Exchange(("NOSUCH", SMALL), seed=1, start_ms=START_MS)


def test_client_that_follows_the_rule_has_the_exact_book() -> None:
    """Buffer, snapshot, join: at every diff the client's best levels equal the exchange's, on each symbol."""
    exchange = Exchange(PAIR, 1, START_MS)
    buffered = exchange.advance(START_MS + 1_050)
    books = {symbol: ClientBook(exchange.depth(symbol, 5000)) for symbol in PAIR}
    checked = dict.fromkeys(PAIR, 0)
    for event in buffered + exchange.advance(START_MS + 8_000):
        if not event.stream.endswith("@depth@100ms") or not books[event.data["s"]].apply(event.data):
            continue
        symbol, book = event.data["s"], books[event.data["s"]]
        state = exchange.book_at(symbol, book.update_id)
        assert state is not None
        assert (state.bids, state.asks) == (book.top("b"), book.top("a"))
        checked[symbol] += 1

    assert min(checked.values()) > 50


def test_current_book_has_every_level() -> None:
    """It has all levels, and a snapshot is its first part."""
    exchange = Exchange((SMALL,), 1, START_MS)
    exchange.advance(START_MS + 777)
    state, snapshot = exchange.book(SMALL), exchange.depth(SMALL, 100)

    assert len(state.bids) > 300
    assert (snapshot["lastUpdateId"], snapshot["bids"], snapshot["asks"]) == (
        state.update_id,
        state.bids[:100],
        state.asks[:100],
    )


def test_lagging_snapshot_is_an_older_book() -> None:
    """A lagging snapshot is exactly the book at the end of a diff of that time."""
    exchange = Exchange((SMALL,), 1, START_MS)
    diff_ends = {e.at_ms: e.data["u"] for e in exchange.advance(START_MS + 5_000) if "@depth@" in e.stream}
    old_id = max(u for at_ms, u in diff_ends.items() if at_ms <= START_MS + 2_000)
    snapshot = exchange.depth(SMALL, 20, lag_ms=3_000)

    assert snapshot["lastUpdateId"] == old_id
    assert exchange.book_at(SMALL, old_id) == (old_id, snapshot["bids"], snapshot["asks"])


def test_lag_beyond_the_kept_changes_gives_the_oldest_book() -> None:
    """A lag longer than what is kept is answered with the oldest book there is."""
    exchange = Exchange((SMALL,), 1, START_MS)
    exchange.advance(START_MS + 3_000)

    assert exchange.depth(SMALL, 5, lag_ms=10**9)["lastUpdateId"] < exchange.book(SMALL).update_id - 50


def test_candles_of_stream_and_rest_are_the_same() -> None:
    """A closed candle of the stream equals the one of REST, and the live one comes last."""
    exchange = Exchange((SMALL,), 1, START_MS)
    events = exchange.advance(START_MS + MINUTE_MS + 500)
    (closed,) = (e.data["k"] for e in events if e.stream.endswith("kline_1m") and e.data["k"]["x"])
    live, row = exchange.klines(SMALL)[-1], exchange.klines(SMALL, start_ms=START_MS, limit=1)[0]

    assert row[:11] == [closed[key] for key in "tohlcvTqnVQ"]
    assert live[0] == START_MS + MINUTE_MS


def test_candles_can_be_chosen_by_time_and_number() -> None:
    """Without a start the newest come, with one the oldest from there; both ends are inclusive."""
    exchange = Exchange((SMALL,), 1, START_MS)
    ago = START_MS - 10 * MINUTE_MS

    assert [r[0] for r in exchange.klines(SMALL, limit=2)] == [START_MS - MINUTE_MS, START_MS]
    assert [r[0] for r in exchange.klines(SMALL, ago, limit=2)] == [ago, ago + MINUTE_MS]
    assert [r[0] for r in exchange.klines(SMALL, ago, ago)] == [ago]


def test_aggregate_trades_equal_the_streamed_ones() -> None:
    """From an id, from a time, or the newest: the same rows as on the stream."""
    exchange = Exchange((SMALL,), 1, START_MS)
    streamed = [e.data for e in exchange.advance(START_MS + 20_000) if e.stream.endswith("@aggTrade")]
    rows = [{key: data[key] for key in "apqflTmM"} for data in streamed]

    assert exchange.agg_trades(SMALL, from_id=rows[3]["a"], limit=5) == rows[3:8]
    assert exchange.agg_trades(SMALL, start_ms=START_MS, limit=1000) == rows
    assert exchange.agg_trades(SMALL, limit=4) == rows[-4:]
    assert exchange.agg_trades(SMALL, start_ms=START_MS, end_ms=rows[4]["T"])[-1]["T"] == rows[4]["T"]


def test_newest_trades_are_single_ones() -> None:
    """The trades view ends with the last fill of the last aggregate and has no gap."""
    exchange = Exchange((SMALL,), 1, START_MS)
    exchange.advance(START_MS + 20_000)
    trades, (last,) = exchange.trades(SMALL, 30), exchange.agg_trades(SMALL, limit=1)

    assert [t["id"] for t in trades] == list(range(last["l"] - 29, last["l"] + 1))


def test_break_silences_a_symbol_without_a_gap() -> None:
    """Changes from before the break are still sent, then nothing; afterwards the ids continue."""
    exchange = Exchange((SMALL,), 1, START_MS)
    events = exchange.advance(START_MS + 2_000)
    exchange.set_status(SMALL, "BREAK")
    events += exchange.advance(START_MS + 2_100)
    silence, listed = exchange.advance(START_MS + 30_000), exchange.exchange_info()["symbols"][0]["status"]
    exchange.set_status(SMALL, "TRADING")
    events += exchange.advance(START_MS + 32_000)
    diffs = [e.data for e in events if "@depth@" in e.stream]

    assert (silence, listed) == ([], "BREAK")
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(diffs))


def test_break_leaves_no_candle() -> None:
    """Minutes wholly within a break are missing from the klines; those in which it began and ended are not."""
    exchange = Exchange((SMALL,), 1, START_MS)
    exchange.advance(START_MS + 30_000)
    exchange.set_status(SMALL, "BREAK")
    exchange.advance(START_MS + 5 * 60_000 + 30_000)
    exchange.set_status(SMALL, "TRADING")
    exchange.advance(START_MS + 7 * 60_000)
    opened_ms = START_MS - START_MS % 60_000
    minutes = [(row[0] - opened_ms) // 60_000 for row in exchange.klines(SMALL, opened_ms)]

    assert minutes == [0, 5, 6, 7]


def test_halt_is_listed_while_data_goes_on() -> None:
    """An emergency halt changes the listing alone, as the exchange documents."""
    exchange = Exchange((SMALL,), 1, START_MS)
    exchange.set_status(SMALL, "HALT")

    assert exchange.exchange_info((SMALL,))["symbols"][0]["status"] == "HALT"
    assert exchange.advance(START_MS + 1_000)
