"""One symbol's whole market: the exchange's events go in, views and closed candles come out.

It owns the book, its cross-checks, the running metrics and the candles, and decides the state of each view. It does no
I/O and reads no clock: `now_ms` is the receiver's clock, in ms from any fixed start.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pulse.market.book_metrics import TOP_LEVELS, book_metrics
from pulse.market.candles import CLOSE_GRACE_MS, CandleBuilder
from pulse.market.depth_sync import BookAnchor
from pulse.market.flow_metrics import OrderFlowImbalance, TradeFlow, Volatility
from pulse.market.integrity import BookIntegrity
from pulse.market.intervals import DAY_MS, iso_time
from pulse.market.liquidity import Interest, LiquidityMaker, LiquidityView
from pulse.market.order_book import BookSide, OrderBook
from pulse.market.staleness import DepthStaleness
from pulse.market.stream_states import TICKER, TRADE, StreamStates
from pulse.market.types import (
    BookLost,
    BookTicker,
    Candle,
    CandleMismatch,
    DepthDiff,
    ExchangeCandle,
    FeedDown,
    FeedUp,
    Instrument,
    Pairs,
    PartialDepth,
    Quarantined,
    State,
    Trade,
    TradeGap,
    TradeIdsRestarted,
    TradesHeld,
)
from pulse.market.view import (
    CandleView,
    Certificate,
    FlowBasis,
    Metrics,
    QuarantineView,
    StreamReport,
    TradeRepeatBuffer,
    TradesView,
    TradeView,
    View,
    WindowView,
    trade_view,
)

TRADING = "TRADING"
"""The exchange's status of a symbol that trades."""
MINUTE_TEXTS_MAX = 16
"""A view shows two minutes; all symbols show the same ones, but for moments."""
_minute_text = lru_cache(MINUTE_TEXTS_MAX)(iso_time)
"""ISO 8601 text of a minute's open, which is the same for hundreds of views."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the views of this process come from; each view carries it."""

    instance: str
    source: str  # "exchange", "simulation" or "replay"
    venue: str


class Market:
    """One symbol's market. `apply` takes the exchange's events in order; `view` returns the view that results."""

    def __init__(
        self, symbol: str, origin: Origin, *, levels_max: int, trades_kept: int, stale_after_ms: float
    ) -> None:
        self.symbol = symbol
        self.book: OrderBook | None = None
        self.candles = CandleBuilder(symbol)
        self.integrity = BookIntegrity()
        self.streams = StreamStates()
        self._origin = origin
        self._levels_max = levels_max
        self._instrument: Instrument | None = None
        self._down_reason = "not connected yet"
        self._low_water = (0, 0)  # levels of bids and asks below which a snapshot is requested
        self._staleness = DepthStaleness(stale_after_ms)
        self._silences: list[str] = []
        self._received_ms: float | None = None  # when the newest event with data arrived
        self._order_flow = OrderFlowImbalance()
        self._trade_flow = TradeFlow()
        self._volatility = Volatility()
        self._trades: deque[TradeView] = deque(maxlen=trades_kept)
        self._repeat_buffer = TradeRepeatBuffer()
        self._liquidity = LiquidityMaker()
        self._session_start_ms = 0
        self._quarantined: dict[str, QuarantineView] = {}  # by kind of frame
        self._trade_id_restarts = 0
        self._event_time_ms = 0
        self._seq = 0
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            DepthDiff: self._on_diff,
            BookTicker: self._on_ticker,
            Trade: self._on_trade,
            TradesHeld: self._on_trades_held,
            TradeGap: self._on_trade_gap,
            TradeIdsRestarted: self._on_trade_ids_restarted,
            Quarantined: self._on_quarantined,
            ExchangeCandle: self._on_exchange_candle,
            CandleMismatch: self._on_candle_mismatch,
            BookAnchor: self._on_anchor,
            BookLost: self._on_book_lost,
            PartialDepth: self._on_partial,
            FeedUp: self._on_feed_up,
            FeedDown: self._on_feed_down,
            Instrument: self._on_instrument,
        }

    def apply(self, event: object, now_ms: float) -> None:
        """Take the next event."""
        self._handlers[type(event)](event, now_ms)

    def state(self, now_ms: float) -> tuple[State, str]:
        """Return the state of a view made now, and its reason as a text, empty if the state is `live`."""
        instrument = self._instrument
        if instrument is not None and instrument.status != TRADING:
            return State.HALTED, f"the exchange lists {self.symbol} as {instrument.status}"
        if self._down_reason:
            return State.OFFLINE, self._down_reason
        if not self.integrity.is_trusted or self.book is None:
            return State.SYNCING, self.integrity.reason
        if not self._touch_is_known(self.book):
            return State.SYNCING, "the price left the part of the book that is known; a new snapshot is needed"
        if self._staleness.is_stale(now_ms):
            return State.STALE, f"no book update for {self._staleness.silence.silence_ms(now_ms) / 1000:.0f} s"
        return State.LIVE, ""

    def data_age_ms(self, now_ms: float) -> int | None:
        """Return how long ago the newest data was received; None before any was."""
        return None if self._received_ms is None else int(now_ms - self._received_ms)

    def stream_reports(self, now_ms: float) -> list[StreamReport]:
        """Return each stream's state, age and habit."""
        is_stale = self._staleness.is_stale(now_ms)
        return self.streams.reports(now_ms, is_up=not self._down_reason, depth_is_stale=is_stale)

    def take_silences(self) -> list[str]:
        """Return the kinds of streams that were found silent since the last call, again or for the first time."""
        silences, self._silences = self._silences, []
        return silences

    def _judge_streams(self, state: State, now_ms: float) -> None:
        """Find silent streams, and end what their missing frames would make wrong."""
        is_trading = state not in (State.OFFLINE, State.HALTED)
        for kind in self.streams.judge(now_ms, has_book=state is State.LIVE, is_trading=is_trading):
            self._silences.append(kind)
            if kind == TICKER:
                self.integrity.touch.restart()  # tickers are missing: those before and after are no evidence
                self._order_flow.restart()
            elif kind == TRADE:
                self.candles.interrupt()

    def _touch_is_known(self, book: OrderBook) -> bool:
        """Return whether both sides have a known best level, or are known to have none."""
        bids, asks = book.bids, book.asks
        return (len(bids) > 0 or bids.known_to() is None) and (len(asks) > 0 or asks.known_to() is None)

    # --- events

    def _on_feed_up(self, event: FeedUp, now_ms: float) -> None:
        self._down_reason = ""
        self._staleness.restart(now_ms)
        self.streams.restart(now_ms, event.kinds)
        self.integrity.connected("joining the book: waiting for a snapshot")

    def _on_feed_down(self, event: FeedDown, now_ms: float) -> None:
        self._down_reason = event.reason
        self.integrity.disconnected(is_end=event.is_end)
        self.candles.interrupt()
        self._order_flow.restart()
        self._volatility.restart()

    def _on_book_lost(self, event: BookLost, now_ms: float) -> None:
        self.integrity.gap(self.book, event.reason, self._event_time_ms)
        self.candles.interrupt()  # trades may have been lost together with the diffs

    def _on_instrument(self, instrument: Instrument, now_ms: float) -> None:
        self._instrument = instrument
        if instrument.status == TRADING:
            self.candles.resume()
        else:
            self.candles.halt()

    def _on_anchor(self, anchor: BookAnchor, now_ms: float) -> None:
        self._note_data(now_ms, anchor.diffs[-1].event_time_ms if anchor.diffs else 0)
        second = OrderBook(anchor.snapshot, self._levels_max)
        for diff in anchor.diffs:
            second.apply(diff)
        book = self.integrity.anchored(self.book, second, len(anchor.diffs), self._event_time_ms)
        if book is None:
            return
        if book is second:
            # While diffs were held for it none arrived here: its silence counts from now.
            self._staleness.silence.restart(now_ms)
        self.book = book
        self._low_water = (len(book.bids) // 2, len(book.asks) // 2)
        self._staleness.on_depth(book.last_update_id)

    def _on_diff(self, diff: DepthDiff, now_ms: float) -> None:
        self._note_data(now_ms, diff.event_time_ms)
        self._staleness.silence.on_data(now_ms)
        self._staleness.on_depth(diff.final_update_id)
        self.streams.on_diff(now_ms)
        book = self.book
        if book is None or not self.integrity.is_trusted:
            self.integrity.skipped()
            return
        before_id = book.last_update_id
        book.apply(diff)
        self.integrity.applied(book, before_id, diff, self._event_time_ms)
        touch = self.integrity.newest_touch
        if touch is not None and self.integrity.is_trusted:
            self.streams.on_touch(touch, now_ms)
        low_bids, low_asks = self._low_water
        if _is_low(book.bids, low_bids) or _is_low(book.asks, low_asks):
            self.integrity.resync_request = "the price comes near the end of the known part of the book"
            self._low_water = (0, 0)  # requested once; the next anchor sets it again

    def _on_ticker(self, ticker: BookTicker, now_ms: float) -> None:
        self._note_data(now_ms, 0)
        self.streams.on_ticker(ticker, now_ms)
        self._order_flow.add(ticker, now_ms)
        if self.book is not None:
            self._staleness.on_other_stream(ticker.update_id, self.book.last_update_id, now_ms)
        self.integrity.ticker(ticker, self._event_time_ms)

    def _on_partial(self, partial: PartialDepth, now_ms: float) -> None:
        self._note_data(now_ms, 0)
        self.streams.on_partial(partial, now_ms)
        if self.book is not None:
            self._staleness.on_other_stream(partial.last_update_id, self.book.last_update_id, now_ms)
            self.integrity.partial(self.book, partial, self._event_time_ms)
            if self.integrity.is_trusted and partial.last_update_id == self.book.last_update_id:
                # The exchange shows that nothing has changed since: the market is quiet, the stream has not stalled.
                self._staleness.silence.restart(now_ms)

    def _on_trade(self, trade: Trade, now_ms: float) -> None:
        self._note_data(now_ms, trade.event_time_ms)
        self.streams.on_trade(trade, now_ms)
        newest = self._trades[0] if self._trades else None
        if (
            newest is not None
            and trade.trade_id <= newest.id
            and (trade.trade_id < newest.id or trade.first_trade_id <= newest.first_trade_id)
        ):
            return
        self._start_session_if_due(trade.time_ms)
        self._trade_flow.add(trade, now_ms)
        self.candles.on_trade(trade)
        shown = trade_view(trade)
        self._trades.appendleft(shown)
        self._repeat_buffer.add(shown)

    def _start_session_if_due(self, time_ms: int) -> None:
        """Start a session with this process's first trade, after lost ones, and at each 00:00 UTC of exchange time."""
        midnight_ms = time_ms - time_ms % DAY_MS
        if midnight_ms > self._session_start_ms:
            self._session_start_ms = midnight_ms if self._session_start_ms else time_ms
            self._trade_flow.restart()

    def _on_trades_held(self, _: TradesHeld, now_ms: float) -> None:
        self.streams.on_trades_held(now_ms)
        self.candles.interrupt()  # the next trade's id shows whether they were fetched

    def _on_trade_gap(self, _: TradeGap, now_ms: float) -> None:
        self.candles.interrupt()
        self._session_start_ms = 0  # sums that lack trades are wrong: the next trade starts a session
        self._trade_flow.restart()

    def _on_trade_ids_restarted(self, _: TradeIdsRestarted, now_ms: float) -> None:
        self._trade_id_restarts += 1
        self.streams.restart_trade_ids()
        self.candles.restart_ids()
        self._trades.clear()
        self._repeat_buffer = TradeRepeatBuffer()  # no message may hold ids of before and after
        self._session_start_ms = 0
        self._trade_flow.restart()

    def _on_quarantined(self, event: Quarantined, now_ms: float) -> None:
        before = self._quarantined.get(event.kind)
        count = before.count + 1 if before is not None else 1
        self._quarantined[event.kind] = QuarantineView(event.kind, count, event.reason, self._event_time_ms)
        if event.kind == "bookTicker":
            self.integrity.touch.restart()  # the true one is missing: those around it are no evidence
        if event.kind == "trade":
            self.streams.on_trades_dropped()
            self.candles.interrupt()  # a true trade may be missing: the next one's id shows it

    def _on_candle_mismatch(self, mismatch: CandleMismatch, now_ms: float) -> None:
        self.candles.add_mismatch(mismatch)

    def _on_exchange_candle(self, event: ExchangeCandle, now_ms: float) -> None:
        self._note_data(now_ms, event.event_time_ms)
        self.streams.on_kline(event.candle, now_ms)
        self.candles.on_exchange_candle(event.candle)

    def _note_data(self, now_ms: float, event_time_ms: int) -> None:
        """Note when data arrived, and its exchange time; 0 for streams without one."""
        self._received_ms = now_ms
        if event_time_ms:
            if 0 < self._event_time_ms < event_time_ms - CLOSE_GRACE_MS:
                self.candles.interrupt()  # all streams with a time were silent: trades may have been lost
            self._event_time_ms = max(self._event_time_ms, event_time_ms)
            self.candles.on_time(event_time_ms)

    # --- the view

    def view(self, now_ms: float, wall_s: float) -> View:
        """Return the view as of now; `wall_s` is this process's clock, in s since the epoch."""
        state, reason = self.state(now_ms)
        self._judge_streams(state, now_ms)
        book = self.book
        bids = book.bids.top(TOP_LEVELS) if book else []
        asks = book.asks.top(TOP_LEVELS) if book else []
        metrics = self._metrics(bids, asks, state, now_ms)
        self._seq += 1
        return View(
            seq=self._seq,
            instance=self._origin.instance,
            token=0,
            symbol=self.symbol,
            state=state,
            state_reason=reason,
            source=self._origin.source,
            venue=self._origin.venue,
            last_update_id=book.last_update_id if book else 0,
            bids=bids,
            asks=asks,
            metrics=metrics,
            basis=self._basis(metrics.ofi, now_ms),
            session_start_ms=self._session_start_ms,
            trades=list(self._trades),
            candle=_candle_view(self.candles.live()),
            closed_candle=_candle_view(self.candles.newest_closed()),
            window=_window_view(book),
            proof=self.integrity.view(self.streams.silent_checks()),
            instrument=self._instrument,
            timestamp=wall_s,
            event_time_ms=self._event_time_ms,
            data_age_ms=self.data_age_ms(now_ms),
            streams=self.streams.views(
                now_ms, is_up=not self._down_reason, depth_is_stale=state is State.STALE
            ),
        )  # fmt: skip

    def trades_view(self) -> TradesView | None:
        """Return the trades that go with the newest view; None if there are no new ones."""
        trades = self._repeat_buffer.take()
        return TradesView(self._seq, self._origin.instance, 0, self.symbol, trades) if trades else None

    @property
    def trades_waiting(self) -> int:
        """How many trades the next `trades_view` has beside repeated ones."""
        return self._repeat_buffer.waiting

    def liquidity_view(self, view: View, interest: Interest, now_ms: float) -> LiquidityView:
        """Return what is watched of the book at this view, which is the newest."""
        return self._liquidity.view(view, self.book, interest, self._repeat_buffer, now_ms)

    def certificate(self, now_ms: float, audit_every_s: float | None = None) -> Certificate:
        """Return the evidence for the book and the candles as of now; `audit_every_s` is the interval of audits."""
        state, reason = self.state(now_ms)
        return Certificate(
            symbol=self.symbol,
            state=state,
            state_reason=reason,
            last_update_id=self.book.last_update_id if self.book else 0,
            contiguous_since_id=self.integrity.since_id,
            diffs_applied=self.integrity.diffs_applied,
            window=_window_view(self.book),
            proof=self.integrity.view(self.streams.silent_checks()),
            audit_levels_compared=self.integrity.audit.last_compared,
            audit_levels_differing=self.integrity.audit.last_differing,
            incidents=list(self.integrity.incidents),
            candle_mismatches=list(self.candles.mismatches),
            quarantined=list(self._quarantined.values()),
            trade_id_restarts=self._trade_id_restarts,
            streams=self.stream_reports(now_ms),
            audit_every_s=audit_every_s,
        )

    def _metrics(self, bids: Pairs, asks: Pairs, state: State, now_ms: float) -> Metrics:
        metrics = book_metrics(self.book, bids, asks)
        if metrics.mid_price is not None and state is State.LIVE:
            self._volatility.sample(metrics.mid_price, now_ms)
        else:
            self._volatility.restart()
        metrics.ofi = self._order_flow.value(now_ms)
        metrics.trade_cvd = self._trade_flow.cvd()
        metrics.vwap = self._trade_flow.vwap()
        metrics.trade_rate = self._trade_flow.rate(now_ms)
        metrics.realised_volatility = self._volatility.percent_per_year()
        metrics.realised_volatility_bps = self._volatility.bps()
        metrics.realised_volatility_s = self._volatility.measured_s()
        return metrics

    def _basis(self, ofi: float | None, now_ms: float) -> FlowBasis:
        ofi_up, ofi_down = self._order_flow.parts(ofi)
        volume, notional = self._trade_flow.sums()
        rate_then, rate_age_s = self._trade_flow.rate_basis(now_ms)
        squared_returns, returns = self._volatility.sums()
        return FlowBasis(ofi_up, ofi_down, volume, notional, rate_then, rate_age_s, squared_returns, returns)


def _is_low(side: BookSide, low: int) -> bool:
    """Return whether a side that is known in part holds fewer levels than this."""
    return len(side) < low and side.known_to() is not None


def _candle_view(candle: Candle | None) -> CandleView | None:
    if candle is None:
        return None
    return CandleView(
        symbol=candle.symbol,
        timestamp=_minute_text(candle.open_time_ms),
        open=candle.open,
        high=candle.high,
        low=candle.low,
        close=candle.close,
        volume=candle.volume,
        quote_volume=candle.quote_volume,
        taker_buy_volume=candle.taker_buy_volume,
        source=candle.source,
        is_closed=candle.is_closed,
    )


def _window_view(book: OrderBook | None) -> WindowView:
    if book is None:
        return WindowView(None, None, 0, 0)
    return WindowView(book.bids.known_to(), book.asks.known_to(), len(book.bids), len(book.asks))
