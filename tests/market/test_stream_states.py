"""When a stream is live, quiet or silent: on which evidence, how soon, and what is no evidence."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pulse.market.cross_checks import Touch
from pulse.market.stream_states import (
    HABIT_GAPS_MIN,
    HABIT_MIN_MS,
    HABIT_UPDATES_MIN,
    KINDS,
    KLINE_LATE_MS,
    PARTIAL_LATE_MS,
    QUIET_MIN_MS,
    TICKER_LATE_MS,
    TRADE_LATE_MS,
    StreamStates,
)
from pulse.market.types import Level, StreamState
from pulse.market.view import StreamView
from tests.support.makers import candle, ticker, trade
from tests.support.market import partial

ASK = Level(100.02, 2.0)
STEP_MS = 500.0


class Run:
    """Streams that are all subscribed to, judged twice a second."""

    def __init__(self, *kinds: str) -> None:
        self.streams = StreamStates()
        self.streams.restart(0.0, frozenset(kinds or KINDS))
        self.now_ms = 0.0
        self.found: list[tuple[float, str]] = []
        self.has_book = True

    def judge(self) -> None:
        """Judge now, and note what is found silent."""
        self.found += [(self.now_ms, kind) for kind in self.streams.judge(self.now_ms, has_book=self.has_book)]

    def wait(self, ms: float, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass; call `each` before each judgement."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms += STEP_MS
            each()
            self.judge()

    def touch(self, update_id: int, bid_quantity: float = 5.0) -> None:
        """Apply a diff after which the best levels are these."""
        self.streams.on_diff(self.now_ms)
        self.streams.on_touch(Touch(update_id, Level(100.0, bid_quantity), ASK), self.now_ms)

    def ticker(self, update_id: int, bid_quantity: float = 5.0) -> None:
        """Receive a bookTicker."""
        self.streams.on_ticker(ticker(update_id, (100.0, bid_quantity), ASK), self.now_ms)

    def partial(self, update_id: int, bid_quantity: float = 5.0) -> None:
        """Receive a partial depth."""
        self.streams.on_partial(partial(update_id, [(100.0, bid_quantity)], [ASK]), self.now_ms)

    def trade(self, trade_id: int) -> None:
        """Receive a trade."""
        self.streams.on_trade(trade(trade_id), self.now_ms)

    def kline(self, last_trade_id: int) -> None:
        """Receive the exchange's candle."""
        self.streams.on_kline(replace(candle(), last_trade_id=last_trade_id), self.now_ms)

    def state(self, kind: str) -> StreamState:
        """Return a stream's state in a view made now."""
        views = self.streams.views(self.now_ms, is_up=True, depth_is_stale=False)
        return next(view.state for view in views if view.kind == kind)

    def kinds_found(self) -> list[str]:
        """Return what was found silent, in order."""
        return [kind for _, kind in self.found]


# --- best levels that change without bookTicker or partial depth


@pytest.mark.parametrize(("kind", "late_ms"), [("bookTicker", TICKER_LATE_MS), ("partial", PARTIAL_LATE_MS)])
def test_changed_best_levels_show_that_a_stream_is_silent(kind: str, late_ms: float) -> None:
    """Best levels other than the newest that it has sent, for its bound: silent at the next judgement, not before."""
    run = Run(kind)
    send = run.ticker if kind == "bookTicker" else run.partial
    send(10)
    run.touch(11, 7.0)
    run.wait(late_ms)
    assert (run.found, run.state(kind)) == ([], StreamState.LIVE)

    run.wait(STEP_MS)
    assert run.found == [(late_ms + STEP_MS, kind)]
    assert run.state(kind) is StreamState.SILENT
    assert run.streams.silent == {kind: "the best bid and ask of the book have changed without it"}
    assert run.streams.silent_checks() == [{"bookTicker": "touch", "partial": "top"}[kind]]


def test_streams_that_never_sent_anything_are_judged_by_the_first_book() -> None:
    """Muted from the first moment on: the best levels at the first diff are those that must change."""
    run = Run("bookTicker", "partial")
    run.touch(10)
    run.wait(10_000)
    assert run.found == []

    run.touch(11, 7.0)
    run.wait(10_000)
    assert sorted(run.kinds_found()) == ["bookTicker", "partial"]


def test_best_levels_that_return_are_no_evidence() -> None:
    """Between two partial depths the best levels may change and return; nothing is missing then."""
    run = Run()
    run.ticker(10)
    run.partial(10)
    for update_id in range(11, 51, 2):
        run.touch(update_id, 7.0)
        run.wait(STEP_MS)
        run.touch(update_id + 1)
        run.wait(STEP_MS)

    assert run.found == []


def test_stream_ahead_of_the_book_is_not_silent() -> None:
    """A ticker of a later id than the book's may differ from it for as long as the depth stream is late."""
    run = Run()
    run.ticker(20, 7.0)
    run.partial(20, 7.0)
    run.touch(11)
    run.wait(10_000)

    assert run.found == []


def test_frame_refutes_the_evidence() -> None:
    """A ticker that comes late, but within its bound, is not silent."""
    run = Run()
    run.ticker(10)
    run.touch(11, 7.0)
    run.wait(TICKER_LATE_MS - STEP_MS)
    run.ticker(11, 7.0)
    run.wait(10_000)

    assert "bookTicker" not in run.kinds_found()


def test_evidence_right_after_a_frame_counts() -> None:
    """A frame refutes what was noted before it, not what comes after it and before the next judgement."""
    run = Run("kline")
    run.kline(1)
    run.trade(2)
    run.kline(2)
    run.trade(3)
    run.wait(KLINE_LATE_MS + STEP_MS)

    assert run.kinds_found() == ["kline"]


@pytest.mark.parametrize("kind", ["bookTicker", "partial", "kline"])
def test_frame_that_was_on_its_way_refutes_nothing(kind: str) -> None:
    """One that was sent before the change, and comes after it: the evidence counts from then on."""
    run = Run(kind)
    if kind == "kline":
        run.kline(1)
        run.trade(2)
        run.kline(1)
    else:
        send = run.ticker if kind == "bookTicker" else run.partial
        send(9, 4.0)
        run.touch(11, 7.0)
        send(10)
    run.wait(KLINE_LATE_MS + STEP_MS)

    assert run.kinds_found() == [kind]


def test_levels_of_a_book_that_is_not_trusted_are_no_evidence() -> None:
    """Without a trusted book nothing can be compared; from then on the evidence counts anew."""
    run = Run("bookTicker")
    run.ticker(10)
    run.touch(11, 7.0)
    run.has_book = False
    run.wait(10_000)
    assert run.found == []

    run.has_book = True
    run.touch(12, 7.0)
    run.wait(10_000)
    assert run.kinds_found()[:1] == ["bookTicker"]


def test_one_sided_partial_depth_is_no_evidence() -> None:
    """Without a best bid or ask there is nothing to compare; the next diff begins the comparison."""
    run = Run("partial")
    run.streams.on_partial(partial(10, [], [ASK]), 0.0)
    run.touch(11, 7.0)
    run.wait(10_000)

    assert run.found == []


# --- trades and candles


def test_candle_shows_trades_that_have_not_come() -> None:
    """The exchange's candle names its last trade; silent once the bound has passed without it."""
    run = Run()
    run.kline(100)  # traded before the connection
    run.wait(10_000)
    assert run.found == []

    run.kline(101)
    run.wait(TRADE_LATE_MS)
    assert run.found == []
    run.wait(STEP_MS)
    assert run.kinds_found() == ["trade"]
    assert run.streams.silent == {"trade": "the exchange's candle has trades that have not come"}
    run.trade(101)
    run.wait(STEP_MS)
    assert run.state("trade") is StreamState.LIVE


def test_candle_without_trades_is_no_evidence() -> None:
    """A flat candle names no trade."""
    run = Run()
    run.kline(-1)
    run.trade(5)
    run.kline(5)
    run.kline(-1)
    run.wait(20_000)

    assert run.found == []


def test_trades_after_a_flat_minute_are_awaited() -> None:
    """Where the connection's first candle is flat, every trade that a later one names came on the connection."""
    run = Run()
    run.kline(-1)
    run.kline(7)
    run.wait(1_000)
    run.kline(-1)
    run.wait(TRADE_LATE_MS)

    assert run.kinds_found() == ["trade"]


def test_false_id_of_one_candle_is_forgotten() -> None:
    """A trade id far ahead that the next candle does not repeat accuses nobody, and blinds nobody for later."""
    run = Run()
    run.kline(100)
    run.trade(100)
    run.kline(10**12)
    run.wait(1_000)
    run.kline(100)
    run.wait(10_000)
    assert run.found == []

    run.kline(10**12)
    run.wait(TRADE_LATE_MS + STEP_MS)
    run.kline(101)
    run.kline(102)
    run.wait(TRADE_LATE_MS + STEP_MS)
    assert run.kinds_found() == ["trade", "trade"]


def test_held_trades_are_not_missing() -> None:
    """While trades are fetched those that the exchange's candle names are held, not silent."""
    run = Run()
    run.kline(100)
    run.streams.on_trades_held(run.now_ms)
    run.kline(105)
    run.wait(20_000)
    assert run.found == []

    run.streams.on_trades_dropped()
    run.kline(106)
    run.wait(TRADE_LATE_MS + STEP_MS)
    assert run.kinds_found() == ["trade"]


def test_trade_without_a_candle_shows_that_candles_are_silent() -> None:
    """A candle follows within two seconds or so; one for each trade is not needed."""
    run = Run()
    run.kline(1)
    run.trade(1)
    run.wait(60_000)
    assert run.found == []

    run.trade(2)
    run.wait(KLINE_LATE_MS)
    assert run.found == []
    run.wait(STEP_MS)
    assert run.kinds_found() == ["kline"]
    assert run.streams.silent_checks() == ["candle"]
    run.kline(2)
    run.wait(STEP_MS)
    assert run.streams.silent_checks() == []


def test_print_outside_the_candles_is_no_evidence() -> None:
    """A print that the exchange leaves out of its candles is followed by none."""
    run = Run()
    run.kline(1)
    run.streams.on_trade(replace(trade(2), is_market=False), run.now_ms)
    run.wait(20_000)

    assert run.found == []


def test_ids_that_begin_anew_are_compared_anew() -> None:
    """After a reset low ids of trades and candles belong together."""
    run = Run()
    run.trade(1_000)
    run.kline(1_000)
    run.streams.restart_trade_ids()
    run.trade(2)
    run.kline(2)
    run.wait(20_000)
    assert run.found == []

    run.kline(3)
    run.wait(TRADE_LATE_MS + STEP_MS)
    assert run.kinds_found() == ["trade"]


# --- a stream that stays silent


def test_evidence_counts_once() -> None:
    """A stream that was found silent stays so until it sends; only what changes later is evidence again."""
    run = Run("bookTicker")
    run.ticker(10)
    run.touch(11, 7.0)
    run.wait(60_000)
    assert run.kinds_found() == ["bookTicker"]
    assert run.state("bookTicker") is StreamState.SILENT

    run.touch(12, 7.0)
    run.touch(13, 8.0)
    run.wait(60_000)
    assert run.kinds_found() == ["bookTicker"] * 2

    run.ticker(14)
    run.wait(STEP_MS)
    assert (run.streams.silent, run.state("bookTicker")) == ({}, StreamState.LIVE)


def test_missing_trades_count_once() -> None:
    """A candle that names the same trade again is no new evidence."""
    run = Run()
    run.kline(100)
    run.kline(101)
    run.wait(60_000, lambda: run.kline(101))
    assert run.kinds_found() == ["trade"]

    run.kline(102)
    run.wait(TRADE_LATE_MS + STEP_MS)
    assert run.kinds_found() == ["trade"] * 2


def test_new_connection_forgives_nothing_until_the_stream_sends() -> None:
    """A silent stream is silent on the next connection too, but what the old one missed is no evidence again."""
    run = Run("bookTicker")
    run.ticker(10)
    run.touch(11, 7.0)
    run.wait(TICKER_LATE_MS + STEP_MS)
    run.streams.restart(run.now_ms, frozenset(KINDS))
    run.touch(12, 8.0)
    run.wait(20_000)

    assert run.kinds_found() == ["bookTicker"]
    assert run.state("bookTicker") is StreamState.SILENT


def test_process_that_was_stopped_accuses_nobody() -> None:
    """After a pause the frames that refute the evidence are still to be read: it counts from then on."""
    run = Run("bookTicker")
    run.ticker(10)
    run.touch(11, 7.0)
    run.judge()
    run.now_ms += 600_000
    run.judge()
    assert run.found == []
    run.wait(1_000)
    run.ticker(11, 7.0)
    run.wait(10_000)

    assert run.found == []


def test_stream_that_a_recording_lacks_is_neither_judged_nor_shown() -> None:
    """Without a list of streams only those that have sent something are expected."""
    run = Run()
    run.streams = StreamStates()
    run.streams.restart(0.0, frozenset())
    run.trade(1)
    run.touch(10)
    run.touch(11, 7.0)
    run.wait(20_000)
    assert run.found == []

    shown = run.streams.views(run.now_ms, is_up=True, depth_is_stale=False)
    assert [view.kind for view in shown] == ["depth", "trade"]


def test_stream_that_sends_while_nothing_trades_is_not_silent_any_more() -> None:
    """Without trading nobody is accused, however long; what is sent all the same counts."""
    run = Run("bookTicker")
    run.ticker(10)
    run.touch(11, 7.0)
    run.wait(TICKER_LATE_MS + STEP_MS)
    run.ticker(12, 8.0)
    run.streams.judge(run.now_ms, has_book=False, is_trading=False)
    assert run.streams.silent == {}

    run.touch(13, 9.0)
    for _ in range(100):
        run.now_ms += STEP_MS
        assert run.streams.judge(run.now_ms, has_book=True, is_trading=False) == []


# --- by habit alone


def speak(run: Run, send: Callable[[int], None], updates_between: int, times: int = HABIT_GAPS_MIN + 1) -> int:
    """Let a stream send after so many updates of the book each; return the last id."""
    for number in range(times):
        send(number)
        for _ in range(updates_between):
            run.wait(STEP_MS, lambda: run.streams.on_diff(run.now_ms))
    return times - 1


@pytest.mark.parametrize("kind", ["trade", "partial"])
def test_many_updates_without_it_show_that_a_stream_is_silent(kind: str) -> None:
    """Where nothing else shows it: far more updates of the book than ever between two frames, and a minute."""
    run = Run("trade", "partial")
    speak(run, run.trade if kind == "trade" else run.partial, 2)
    run.wait(HABIT_MIN_MS - STEP_MS, lambda: run.streams.on_diff(run.now_ms))
    assert run.found == []

    for _ in range(HABIT_UPDATES_MIN):
        run.streams.on_diff(run.now_ms)
    run.wait(2 * STEP_MS)
    assert run.kinds_found() == [kind]
    assert run.streams.silent[kind].endswith("updates of the book without it")


def test_rest_of_the_whole_market_is_no_silence() -> None:
    """For hours nothing changes: neither the book nor the trades."""
    run = Run("trade")
    speak(run, run.trade, 2)
    run.wait(600_000)

    assert run.found == []
    assert run.state("trade") is StreamState.QUIET


def test_long_gaps_of_the_past_are_remembered() -> None:
    """A stream that once had a long gap may have eight times as long a one, even after a lively time."""
    run = Run("trade")
    run.trade(0)
    for _ in range(1_000):
        run.streams.on_diff(run.now_ms)
    speak(run, lambda number: run.trade(number + 1), 2, 100)
    for _ in range(5_000):
        run.streams.on_diff(run.now_ms)
    run.wait(HABIT_MIN_MS + STEP_MS)

    assert run.found == []


def test_bookticker_is_never_accused_by_habit() -> None:
    """Deep levels may change for hours while the best ones rest."""
    run = Run("bookTicker")
    speak(run, run.ticker, 2)
    for _ in range(100_000):
        run.streams.on_diff(run.now_ms)
    run.wait(HABIT_MIN_MS + STEP_MS)

    assert run.found == []


# --- what a view and the certificate show


def test_stream_is_quiet_beyond_ten_usual_intervals() -> None:
    """Its usual interval is learned; a stream that has sent nothing yet is quiet."""
    run = Run()
    assert run.state("trade") is StreamState.QUIET
    for number in range(20):
        run.trade(number)
        run.wait(2_000)
    assert run.state("trade") is StreamState.LIVE
    run.wait(18_000)
    assert run.state("trade") is StreamState.LIVE
    run.wait(20_000)
    assert run.state("trade") is StreamState.QUIET


def test_busy_stream_is_quiet_after_seconds() -> None:
    """However short the usual interval, a pause of five seconds is nothing to mention."""
    run = Run()

    def send() -> None:
        for update_id in range(10):
            run.ticker(update_id)

    run.wait(30_000, send)
    run.wait(QUIET_MIN_MS)
    assert run.state("bookTicker") is StreamState.LIVE
    run.wait(STEP_MS)
    assert run.state("bookTicker") is StreamState.QUIET


def test_pause_of_the_process_is_no_habit() -> None:
    """The clock of a replay begins with the recording's time, and a process may be stopped."""
    run = Run()
    run.wait(20_000, lambda: run.trade(int(run.now_ms)))
    run.now_ms += 1e12
    run.trade(int(run.now_ms))
    run.wait(20_000, lambda: run.trade(int(run.now_ms)))
    reports = run.streams.reports(run.now_ms, is_up=True, depth_is_stale=False)

    assert {report.kind: report.usual_ms for report in reports}["trade"] == pytest.approx(500, abs=20)


@pytest.mark.proves("stream-silent")
def test_views_have_every_stream_with_its_age() -> None:
    """The ages are of each stream by itself; null before its first frame."""
    run = Run()
    run.now_ms = 1_000.0
    run.trade(1)
    run.now_ms = 1_250.0
    run.touch(11)
    run.judge()

    assert run.streams.views(1_300.0, is_up=True, depth_is_stale=False) == [
        StreamView("depth", StreamState.LIVE, 50),
        StreamView("bookTicker", StreamState.QUIET, None),
        StreamView("partial", StreamState.QUIET, None),
        StreamView("trade", StreamState.LIVE, 300),
        StreamView("kline", StreamState.QUIET, None),
    ]


def test_depth_is_silent_where_the_book_is_stale_and_all_are_offline_without_a_connection() -> None:
    """The depth stream's state is that of the book's own rule; without a connection no stream has another state."""
    run = Run()
    run.touch(11)
    run.judge()

    assert run.streams.views(0.0, is_up=True, depth_is_stale=True)[0].state is StreamState.SILENT
    offline = run.streams.views(0.0, is_up=False, depth_is_stale=True)
    assert {view.state for view in offline} == {StreamState.OFFLINE}


def test_reports_have_the_habit_and_the_reason() -> None:
    """The usual interval in ms, null while unknown, and why a stream is silent."""
    run = Run()
    run.ticker(0)
    run.wait(20_000, lambda: run.trade(int(run.now_ms)))
    run.touch(11, 7.0)
    run.wait(TICKER_LATE_MS + STEP_MS)
    reports = {report.kind: report for report in run.streams.reports(run.now_ms, is_up=True, depth_is_stale=False)}

    assert reports["trade"].usual_ms == pytest.approx(600, abs=50)
    assert reports["kline"].usual_ms is None
    assert (reports["bookTicker"].state, reports["trade"].reason) == (StreamState.SILENT, "")
    assert reports["bookTicker"].reason == "the best bid and ask of the book have changed without it"
