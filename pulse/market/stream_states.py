"""Whether each stream of one symbol is live, quiet or silent. Pure: the clock is an argument.

One stream may stop while the others go on, and pings do not show it. Silence alone is no fault either: a quiet symbol
has no trade for minutes. So a stream is called silent on evidence of another one:
1. bookTicker follows every change of the best levels: the book's have differed from its newest for TICKER_LATE_MS.
2. The partial depth comes once a second: the same for PARTIAL_LATE_MS.
3. The exchange's candle names its last trade: one that no trade has reached for TRADE_LATE_MS.
4. A candle follows a trade within about 2 s: none for KLINE_LATE_MS after a trade that none has shown. Without trades
   there are none (recorded in 2021, a whole minute long).
5. Trades and the partial depth, where nothing above can show it: many more updates of the book have passed than ever
   did between two of its frames (HABIT_FACTOR). It is counted in updates, not in time, because a market that rests has
   neither.
6. The depth stream is judged by `staleness.DepthStaleness`.
It stays silent until it sends again. Each piece of evidence counts once, then only what happens later is evidence: so a
stream that is silent on is reported again and again, and one that was repaired, but has nothing to send, is not.
"""

from dataclasses import dataclass
from math import exp, inf

from pulse.market.cross_checks import Touch
from pulse.market.types import BookTicker, Candle, PartialDepth, StreamState, Trade
from pulse.market.view import StreamReport, StreamView

DEPTH, TICKER, PARTIAL, TRADE, KLINE = KINDS = ("depth", "bookTicker", "partial", "trade", "kline")
"""The kinds of streams, by the names that `binance.messages.Frame` uses."""
CHECKS = {TICKER: "touch", PARTIAL: "top", KLINE: "candle"}
"""The checks of the book and of the candles, by the stream that they compare with."""

TICKER_LATE_MS = 3_000.0
PARTIAL_LATE_MS = 4_000.0
TRADE_LATE_MS = 3_000.0
KLINE_LATE_MS = 8_000.0
"""How long evidence must last. Frames of two streams of one connection arrive in any order, but within a second."""
HABIT_FACTOR, HABIT_GAPS_MIN = 8, 32
"""By habit alone a stream is silent beyond this many times its longest gap, counted in updates of the book, once so
many gaps are known. Where they come by chance a gap exceeds 8 times the longest of 32 once in C(40, 8) = 77 million."""
HABIT_UPDATES_MIN, HABIT_MIN_MS = 600, 60_000.0
"""The least that is too long by habit: a minute of the busiest book."""
HABIT_FORGOTTEN = 36_000
"""Updates of the book, at least an hour's, over which the longest gap is forgotten."""
USUAL_OVER_MS = 1_800_000.0
"""The time over which the usual interval between two frames is averaged."""
QUIET_FACTOR, QUIET_MIN_MS = 10.0, 5_000.0
"""A stream is quiet beyond this many times its usual interval."""
JUDGED_AGAIN_MS = 200.0
"""While none is silent streams are judged this often at most: a view may be made more often."""
JUDGED_EVERY_MS = 2_500.0
"""Evidence counts only while the streams are judged at least this often: a process that was stopped has frames to
read that refute it."""
ROLLED_EVERY_MS = 1_000.0


@dataclass(slots=True)
class _Stream:
    """What is known of one stream. Times are ms of the caller's clock."""

    kind: str
    late_ms: float
    has_habit: bool = False
    is_expected: bool = False  # it is subscribed to, or has sent something
    frames: int = 0
    last_ms: float | None = None  # when the newest frame arrived
    since_ms: float | None = None  # since when there is evidence against it, and the frames before that
    frames_before: int = 0
    evidence: str = ""
    silent: str = ""  # why it is silent; empty while it is not
    state: StreamState = StreamState.QUIET  # when it was judged last
    shown: BookTicker | None = None  # the newest best levels that it has sent
    counted: int = 0  # the frames that were judged
    updates: int = 0  # the book's updates at the newest frame that was judged
    longest: float = 0.0  # the most updates between two frames, forgotten slowly
    gaps: int = 0
    usual_frames: float = 0.0  # the frames of the recent past, and its length
    usual_span_ms: float = 0.0
    rolled: int = 0

    def usual_ms(self) -> float | None:
        """Return the usual interval between two frames; None while it is not known."""
        return self.usual_span_ms / self.usual_frames if self.usual_frames >= 1 else None

    def set_state(self, now_ms: float) -> None:
        """Set its state by what is known now."""
        if self.silent:
            self.state = StreamState.SILENT
            return
        silence_ms = inf if self.last_ms is None else now_ms - self.last_ms
        is_live = silence_ms <= QUIET_MIN_MS or silence_ms <= QUIET_FACTOR * (self.usual_ms() or 0.0)
        self.state = StreamState.LIVE if is_live else StreamState.QUIET

    def suspect(self, now_ms: float, evidence: str) -> None:
        """Note evidence against it, unless there is some already that no frame has refuted."""
        if self.since_ms is None or self.frames > self.frames_before:
            self.since_ms, self.frames_before, self.evidence = now_ms, self.frames, evidence

    def roll(self, passed_ms: float) -> None:
        """Add the time since the last call, and the frames in it, to the usual interval; a pause is no habit."""
        if passed_ms <= JUDGED_EVERY_MS:
            kept = exp(-passed_ms / USUAL_OVER_MS)
            self.usual_frames = self.usual_frames * kept + self.frames - self.rolled
            self.usual_span_ms = self.usual_span_ms * kept + passed_ms
        self.rolled = self.frames

    def count(self, updates: int) -> None:
        """Take the frames since the last call: they refute older evidence, and end a gap."""
        if self.frames == self.counted:
            return
        if self.frames > self.frames_before:
            self.since_ms = None
        self.counted = self.frames
        self.is_expected = True
        self.silent = ""
        gap = updates - self.updates
        self.updates = updates
        if gap > 0:
            self.longest = max(gap, self.longest * (1 - min(1.0, gap / HABIT_FORGOTTEN)))
            self.gaps += 1

    def accusation(self, now_ms: float, updates: int) -> str:
        """Return why it is silent, empty if nothing shows it."""
        if not self.is_expected:
            return ""
        if self.since_ms is not None and now_ms - self.since_ms > self.late_ms:
            return self.evidence
        if not self.has_habit or self.gaps < HABIT_GAPS_MIN or self.last_ms is None:
            return ""
        passed = updates - self.updates
        if passed > max(HABIT_UPDATES_MIN, HABIT_FACTOR * self.longest) and now_ms - self.last_ms > HABIT_MIN_MS:
            return f"{passed} updates of the book without it"
        return ""


class StreamStates:
    """The streams of one symbol. Frames and evidence are noted as they come; `judge` decides, about once a second."""

    def __init__(self) -> None:
        self.depth = _Stream(DEPTH, 0.0)
        self.ticker = _Stream(TICKER, TICKER_LATE_MS)
        self.partial = _Stream(PARTIAL, PARTIAL_LATE_MS, has_habit=True)
        self.trade = _Stream(TRADE, TRADE_LATE_MS, has_habit=True)
        self.kline = _Stream(KLINE, KLINE_LATE_MS)
        self._streams = (self.depth, self.ticker, self.partial, self.trade, self.kline)
        self._judged = self._streams[1:]
        self.silent: dict[str, str] = {}  # the streams that are silent, besides depth, and why
        self._judged_ms = -JUDGED_AGAIN_MS
        self._rolled_ms = 0.0
        # Ids of single trades.
        self._traded_to = -1  # the last that has arrived
        self._candle_due_to = -1  # the last that has arrived and that the exchange counts in its candles
        self._shown_to = -1  # the last that the exchange's newest candle with trades names
        self._excused_to: int | None = None  # up to here it is no evidence; None before the connection's first candle
        self._holds_trades = False
        self._touch: Touch | None = None  # the book's best levels after the newest diff of this connection

    def restart(self, now_ms: float, kinds: frozenset[str]) -> None:
        """Begin with a new connection, on which streams of these kinds are expected."""
        for stream in self._streams:
            stream.is_expected = stream.is_expected or stream.kind in kinds
            stream.since_ms, stream.shown = None, None
            stream.updates = self.depth.frames
            stream.rolled = stream.frames
        self._judged_ms = now_ms - JUDGED_AGAIN_MS
        self._rolled_ms = now_ms
        self._excused_to = None
        self._holds_trades = False
        self._touch = None

    def restart_trade_ids(self) -> None:
        """Forget the ids of trades: they began anew."""
        self._traded_to = self._candle_due_to = self._shown_to = -1
        self._excused_to = None
        self.trade.since_ms = self.kline.since_ms = None

    # --- frames, and what they show of the other streams

    def on_diff(self, now_ms: float) -> None:
        """Take a depth diff."""
        self.depth.last_ms = now_ms
        self.depth.frames += 1

    def on_touch(self, touch: Touch, now_ms: float) -> None:
        """Take the book's best levels after a diff."""
        self._touch = touch
        self._compare(touch, now_ms)

    def _compare(self, touch: Touch, now_ms: float) -> None:
        """Compare the book's best levels with those that other streams have shown."""
        best = (*touch.bid, *touch.ask)
        for stream in (self.ticker, self.partial):
            shown = stream.shown
            if shown is None:
                stream.shown = BookTicker(touch.update_id, *best)
            elif shown[1:] == best or shown.update_id > touch.update_id:
                stream.since_ms = None
            else:
                stream.suspect(now_ms, "the best bid and ask of the book have changed without it")

    def on_ticker(self, ticker: BookTicker, now_ms: float) -> None:
        """Take a bookTicker."""
        stream = self.ticker
        stream.last_ms = now_ms
        stream.frames += 1
        stream.shown = ticker

    def on_partial(self, partial: PartialDepth, now_ms: float) -> None:
        """Take a partial depth."""
        stream = self.partial
        stream.last_ms = now_ms
        stream.frames += 1
        (bid_prices, bid_quantities), (ask_prices, ask_quantities) = partial.bids, partial.asks
        stream.shown = None
        if bid_prices and ask_prices:
            stream.shown = BookTicker(
                partial.last_update_id, bid_prices[0], bid_quantities[0], ask_prices[0], ask_quantities[0]
            )

    def on_trade(self, trade: Trade, now_ms: float) -> None:
        """Take a trade; a candle that shows it must follow."""
        stream = self.trade
        stream.last_ms = now_ms
        stream.frames += 1
        self._holds_trades = False
        if trade.last_trade_id > self._traded_to:
            self._traded_to = trade.last_trade_id
        if trade.is_market:
            self._candle_due_to = trade.last_trade_id
            if trade.last_trade_id > self._shown_to:
                self.kline.suspect(now_ms, "trades have come without it")

    def on_trades_held(self, now_ms: float) -> None:
        """Note that trades have come, but are held until those before them are fetched."""
        self.trade.last_ms = now_ms
        self.trade.frames += 1
        self._holds_trades = True

    def on_trades_dropped(self) -> None:
        """Note that trades that may have been held are not delivered any more."""
        self._holds_trades = False

    def on_kline(self, candle: Candle, now_ms: float) -> None:
        """Take the exchange's own candle; the trades that it names must have come, or follow at once."""
        stream, last_id = self.kline, candle.last_trade_id
        stream.last_ms = now_ms
        stream.frames += 1
        if self._excused_to is None or 0 <= last_id < self._excused_to:
            self._excused_to = last_id  # what was traded before the connection is not awaited; a false id is left
        if last_id < 0:
            return  # a minute without a trade: those that later ones name came after it
        self._shown_to = last_id
        if last_id < self._candle_due_to:
            stream.suspect(now_ms, "trades have come without it")  # it was sent before them
        if self._holds_trades or last_id <= self._traded_to or last_id <= self._excused_to:
            self.trade.since_ms = None
        else:
            self.trade.suspect(now_ms, "the exchange's candle has trades that have not come")

    # --- the judgement

    def judge(self, now_ms: float, *, has_book: bool, is_trading: bool = True) -> list[str]:
        """Return the kinds that are found silent now, again or for the first time.

        `has_book`: the book is trusted up to its best levels, which may be compared. Without `is_trading`, and without
        a connection, any silence is as it should be.
        """
        updates, last_ms = self.depth.frames, self._judged_ms
        if now_ms - last_ms < JUDGED_AGAIN_MS and not self.silent:
            return []
        self._judged_ms = now_ms
        self._roll(now_ms)
        for stream in self._judged:
            stream.count(updates)
        if not has_book:
            self.ticker.since_ms = self.partial.since_ms = None
        elif self._touch is not None:
            self._compare(self._touch, now_ms)  # a frame that was on its way when the book changed refutes nothing
        found: list[str] = []
        for stream in self._judged:
            if stream.since_ms is not None and now_ms - last_ms > JUDGED_EVERY_MS:
                stream.since_ms = now_ms
            if not is_trading:
                stream.since_ms = None
                stream.updates = updates
            accusation = stream.accusation(now_ms, updates)
            if accusation:
                found.append(stream.kind)
                self._accept(stream, accusation)
            stream.set_state(now_ms)
        self.depth.set_state(now_ms)
        self.silent = {stream.kind: stream.silent for stream in self._judged if stream.silent}
        return found

    def _roll(self, now_ms: float) -> None:
        """Bring the usual intervals up to date."""
        if now_ms - self._rolled_ms >= ROLLED_EVERY_MS:
            for stream in self._streams:
                stream.roll(now_ms - self._rolled_ms)
            self._rolled_ms = now_ms

    def _accept(self, stream: _Stream, accusation: str) -> None:
        """Call a stream silent; what it was accused of is no evidence a second time."""
        stream.silent = accusation
        stream.since_ms, stream.shown = None, None
        stream.updates = self.depth.frames
        if stream is self.trade:
            self._excused_to = self._shown_to

    def silent_checks(self) -> list[str]:
        """Return the names of the checks that confirm nothing now, because their stream is silent."""
        return [CHECKS[kind] for kind in self.silent if kind in CHECKS]

    def views(self, now_ms: float, *, is_up: bool, depth_is_stale: bool) -> list[StreamView]:
        """Return the streams as a view shows them; those that a recording does not have are left out."""
        return [
            StreamView(
                stream.kind,
                stream.state if is_up and stream is not self.depth else self._state(stream, is_up, depth_is_stale),
                None if stream.last_ms is None else int(now_ms - stream.last_ms),
            )
            for stream in self._streams
            if stream.is_expected or stream.frames
        ]

    def reports(self, now_ms: float, *, is_up: bool, depth_is_stale: bool) -> list[StreamReport]:
        """Return the streams with their habits, as the certificate and /readyz show them."""
        return [
            StreamReport(
                stream.kind,
                self._state(stream, is_up, depth_is_stale),
                None if stream.last_ms is None else int(now_ms - stream.last_ms),
                None if (usual_ms := stream.usual_ms()) is None else round(usual_ms),
                stream.silent,
            )
            for stream in self._streams
            if stream.is_expected or stream.frames
        ]

    def _state(self, stream: _Stream, is_up: bool, depth_is_stale: bool) -> StreamState:
        if not is_up:
            return StreamState.OFFLINE
        return StreamState.SILENT if stream is self.depth and depth_is_stale else stream.state
