"""A muted stream: what must be said of it and when, judged by what the exchange has sent on the other streams.

While other faults are active only the end is checked: they may hide the evidence, or delay it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from pulse.market.stream_states import KLINE_LATE_MS, PARTIAL_LATE_MS, TICKER_LATE_MS, TRADE_LATE_MS
from pulse.market.types import State, StreamState
from pulse.market.view import View
from tests.simulation.bounds import RECOVER_S
from tests.simulation.context import POLL_S, FaultContext

KIND_OF = {"@bookTicker": "bookTicker", "@depth20": "partial", "@aggTrade": "trade", "@kline_1m": "kline"}
"""The kinds of the streams that may be muted, by the end of their names."""
LATE_MS = {
    "bookTicker": TICKER_LATE_MS, "partial": PARTIAL_LATE_MS, "trade": TRADE_LATE_MS, "kline": KLINE_LATE_MS,
}  # fmt: skip
NOTICED_S = 2.5
"""Beyond the bound of the evidence: the time until it arrives, and until the next view."""
ENDS_MAX_S = 900.0
"""A mute that only the client can end is over by then, or was never noticed: a quiet stream has nothing to send."""


def best_of(view: View) -> tuple[float, ...] | None:
    """Return the best levels of a view; None where a side is empty."""
    return (*view.bids[0], *view.asks[0]) if view.bids and view.asks else None


def _numbers(*texts: str) -> tuple[float, ...]:
    return tuple(float(text) for text in texts)


class MutedStream:
    """One stream that the exchange does not send, from its construction to `unmute`."""

    def __init__(self, context: FaultContext, symbol: str, suffix: str) -> None:
        self._context = context
        self._symbol = symbol
        self._prefix = symbol.lower()
        self.name = self._prefix + suffix
        self.kind = KIND_OF[suffix]
        self._began_s = context.checker.now_s
        self._evidence_s: float | None = None  # since when there has been evidence without a break
        self._own: Any = None  # the newest frame of the stream when that was seen
        self._klines: list[Any] = []  # the newest candle at the begin, and the first after it

    async def watch(self, is_over: Callable[[], bool]) -> None:
        """Fail where evidence has lasted for longer than its bound and the view does not call the stream silent."""
        bound_s = LATE_MS[self.kind] / 1000 + NOTICED_S
        while not is_over():
            await asyncio.sleep(POLL_S)
            now_s = self._context.checker.now_s
            view = self._view()
            if view is None or view.state is not State.LIVE or not self._is_alone() or not self._has_evidence(view):
                self._evidence_s = None
                continue
            own = self._context.exchange.sent[self.name]
            if self._evidence_s is None or own is not self._own:
                self._evidence_s, self._own = now_s, own
            if now_s - self._evidence_s > bound_s and self._state(view) is not StreamState.SILENT:
                self._context.checker.fail(
                    f"{self.name} is muted, there is evidence since {self._evidence_s:.1f} s, "
                    f"and it is called {self._state(view)}"
                )

    async def until_live(self) -> None:
        """Wait until the exchange sends on the stream again; fail where it is not live RECOVER_S later."""
        context = self._context
        while True:
            await context.wait_for_frames(self.name, 1)
            spoke_s, process = context.checker.now_s, context.process
            # A second connection takes over with the next diff.
            await context.wait_for_frames(f"{self._prefix}@depth@100ms", 2)
            await asyncio.sleep(max(0.0, spoke_s + RECOVER_S - context.checker.now_s) + NOTICED_S)
            if not self._is_alone() or context.process is not process or context.process.is_stopped:
                return
            view = self._view()
            if view is None or view.state is not State.LIVE:
                return  # judged by the bounds of the book
            if self._state(view) is StreamState.SILENT:
                context.checker.fail(f"{self.name} was sent again at {spoke_s:.1f} s, and is still called silent")
            return

    def _is_alone(self) -> bool:
        return self._context.bounds.is_alone("mute", self._context.checker.now_s)

    def _view(self) -> View | None:
        return self._context.checker.newest_views.get(self._symbol)

    def _state(self, view: View) -> StreamState | None:
        return next((stream.state for stream in view.streams if stream.kind == self.kind), None)

    def _has_evidence(self, view: View) -> bool:
        """Return whether other streams show now that a frame of this one is missing.

        On a connection that began later nobody knows what was missed before it.
        """
        sent = self._context.exchange.sent
        own, up_since_s = sent.get(self.name), self._context.checker.up_since_s(self._symbol)
        if own is None or up_since_s is None or up_since_s > self._began_s:
            return False
        if self.kind == "bookTicker":
            return best_of(view) != _numbers(own["b"], own["B"], own["a"], own["A"])
        if self.kind == "partial":
            return best_of(view) != _numbers(*own["bids"][0], *own["asks"][0])
        trade, kline = sent.get(f"{self._prefix}@aggTrade"), sent.get(f"{self._prefix}@kline_1m")
        if trade is None or kline is None:
            return False
        if self.kind == "kline":
            return bool(0 <= kline["k"]["L"] < trade["l"])
        if len(self._klines) < 2 and all(known is not kline for known in self._klines):
            self._klines.append(kline)
        is_later = len(self._klines) == 2 and kline["k"]["L"] > self._klines[1]["k"]["L"]
        return bool(is_later and kline["k"]["L"] > trade["l"])


async def mute(context: FaultContext) -> None:
    """Mute one stream while all others go on: until a time, a new subscription or a new connection ends it."""
    rng, exchange = context.rng, context.exchange
    symbol, suffix = context.symbol(), rng.choice(tuple(KIND_OF))
    muted = MutedStream(context, symbol, suffix)
    ends = rng.choice(["itself", "subscribing", "connection"])
    length_s = rng.uniform(10, 300)
    if muted.name in context.muted_streams:
        return
    context.muted_streams.add(muted.name)
    if suffix == "@bookTicker":
        context.bounds.note_ticker_fault(context.checker.now_s + ENDS_MAX_S)
    streams = tuple(exchange.streams)
    exchange.muted[muted.name] = None
    for stream in streams:
        stream.faults.mute(muted.name)
        stream.unmuted_by_subscribing = (muted.name,) if ends == "subscribing" else ()
    if ends != "itself":
        exchange.muted.pop(muted.name)  # connections to come are not muted
    began_s = context.checker.now_s

    def is_over() -> bool:
        lasted_s = context.checker.now_s - began_s
        if ends == "itself":
            return lasted_s > length_s
        has_ended = not any(stream in exchange.streams and stream.faults.is_muted(muted.name) for stream in streams)
        return has_ended or lasted_s > ENDS_MAX_S

    await muted.watch(is_over)
    exchange.muted.pop(muted.name, None)
    for stream in tuple(exchange.streams):
        stream.unmuted_by_subscribing = ()
        stream.faults.unmute(muted.name)
    await muted.until_live()
    context.muted_streams.discard(muted.name)
