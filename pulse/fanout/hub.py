"""The hub: holds the newest view of each symbol, and publishes it to the topic streams that have subscribers.

No I/O and no framework. A view is complete, so a newer one replaces an older one here and with each subscriber. Trades
go to a log, which each subscriber reads with its own cursor.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pulse.fanout.recent_views import RecentViews
from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import CallLater, Listener, RunningCandles, TopicStream, ViewMessage
from pulse.fanout.trade_log import KEPT_MAX, Position, TradeLog
from pulse.fanout.trade_refill import TradeRefill
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import (
    BOOK,
    TRADES,
    AnyView,
    Stamp,
    book_channel,
    channels_of,
    liquidity_channel,
    read_stamp,
    trades_channel,
)

OWN_SILENCE_MAX_S = 3.0
"""While an instance publishes at least this often, views of other instances are ignored: two processes overlap for a
minute at each deploy, and a page must not jump between their books. Views come at least once a second."""

WATCHED_BY_ITSELF = ("ladder", "cost")
"""Kinds of which nothing is made before there is a subscriber."""
CURRENT_S = 0.1
"""A view that was received this recently is current: the exchange sends changes of a book no more often."""


class Closable(Protocol):
    """A client's connection, as the hub sees it."""

    def end(self) -> None:
        """Send nothing more and close."""


class Watched(Protocol):
    """What makes the views, as the hub sees it: it makes more of them for a symbol with a watcher."""

    def watch(self, symbol: str) -> None:
        """Count a watcher of a symbol, for which a view is made at once."""

    def unwatch(self, symbol: str) -> None:
        """Count a watcher less."""


@dataclass(slots=True)
class _Held:
    """The newest message of a channel. The time is of the hub's clock."""

    view: ViewMessage
    stamp: Stamp
    received_s: float


def call_later(delay_s: float, act: Callable[[], None]) -> object:
    """Call a function after so many seconds of the running loop."""
    return asyncio.get_running_loop().call_later(delay_s, act)


class Hub:
    """Keeps the newest of each symbol and hands it to its subscribers.

    `instance` is this process's id, `clock` gives monotonic seconds, `running_candles` knows the candles of intervals
    longer than a view's minute. `watched` is told which symbols have subscribers: all those of a symbol are one
    watcher, and each ladder and cost is one more, because it is made anew. `trades_kept` are kept of each symbol, and
    with `refill` holes in the trades are filled. `dropped` counts messages that were not passed on.
    """

    def __init__(
        self,
        instance: str,
        running_candles: RunningCandles,
        watched: Watched,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later,
        *,
        trades_kept: int = KEPT_MAX,
        refill: TradeRefill | None = None,
    ) -> None:
        self._held: dict[str, _Held | None] = {}  # by channel
        self._streams: dict[str, dict[Topic, TopicStream]] = {}  # by channel
        self._logs: dict[str, TradeLog] = {}  # by channel
        self._recent = RecentViews()
        self._watched_since_s: dict[str, float] = {}  # the symbols with subscribers
        self._instance = instance
        self._running_candles = running_candles
        self._watched = watched
        self._clock = clock
        self._call_later = call_later
        self._trades_kept = trades_kept
        self._refill = refill
        self._clients: set[Closable] = set()
        self._is_shut_down = False
        self.dropped = 0

    def open(self, symbol: str) -> None:
        """Accept messages and subscriptions of a symbol."""
        for channel in channels_of(symbol):
            self._held[channel] = None
            self._streams[channel] = {}
        self._logs[trades_channel(symbol)] = TradeLog(f"trades.{symbol}", self._trades_kept)

    def close(self, symbol: str) -> None:
        """Drop everything of a symbol, which has no subscribers."""
        for channel in channels_of(symbol):
            del self._held[channel], self._streams[channel]
        del self._logs[trades_channel(symbol)]
        self._recent.close(symbol)
        if self._refill is not None:
            self._refill.close(symbol)

    # --- messages in

    def publish(self, channel: str, payload: bytes, view: AnyView | None = None) -> None:
        """Hold a message and pass it on to subscribers; count it in `dropped` if it is not the newest.

        `view` is the object that `payload` encodes, where this process has made it.
        """
        message = self._accept(channel, payload, view)
        if message is None:
            self.dropped += 1
            return
        streams = tuple(self._streams[channel].values())
        log = self._logs.get(channel)
        if log is None:
            for stream in streams:
                stream.offer(message)
        elif self._refill is None:
            self._add_trades(channel, message.trades())
        else:
            symbol = channel.removeprefix(TRADES)
            add = partial(self._add_trades, channel)
            add(self._refill.admit(symbol, log.end, message.trades(), add))

    def _add_trades(self, channel: str, trades: Sequence[tuple[Position, object]]) -> None:
        """Add trades to the log of a channel, and have its subscribers read them."""
        if self._logs[channel].extend(trades):
            for stream in tuple(self._streams[channel].values()):
                stream.notify()

    def _accept(self, channel: str, payload: bytes, view: AnyView | None) -> ViewMessage | None:
        """Hold a message if it is the newest; None if it is out of date, of another instance, or not a view.

        A lower token is always out of date, and a higher one is always newer: its lease was given after the other.
        """
        try:
            held = self._held[channel]
            stamp = read_stamp(payload) if view is None else Stamp(view.seq, view.instance, view.token)
        except (KeyError, ValueError):
            return None
        now_s = self._clock()
        if held is not None and not self._supersedes(stamp, held, now_s):
            return None
        message = ViewMessage(payload, view, self._running_candles)
        self._held[channel] = _Held(message, stamp, now_s)
        symbol = channel.removeprefix(BOOK)
        if self.is_watched(symbol):  # false for other channels: no symbol has a colon
            self._recent.add(symbol, stamp.seq, payload)
        return message

    def _supersedes(self, stamp: Stamp, held: _Held, now_s: float) -> bool:
        if stamp.token != held.stamp.token:
            return stamp.token > held.stamp.token
        if stamp.instance == held.stamp.instance:
            return stamp.seq > held.stamp.seq
        return stamp.instance == self._instance or now_s - held.received_s > OWN_SILENCE_MAX_S

    # --- what subscribers get

    def latest(self, channel: str) -> bytes | None:
        """Return the newest encoded view of a channel; None before the first, and for an unknown channel."""
        held = self._held.get(channel)
        return None if held is None else held.view.whole.payload

    def view(self, symbol: str, seq: int) -> bytes | None:
        """Return the encoded view with this number: the newest one, or one that was made while it was watched."""
        held = self._held.get(book_channel(symbol))
        if held is not None and held.stamp.seq == seq:
            return held.view.whole.payload
        return self._recent.find(symbol, seq)

    def token(self, symbol: str) -> int:
        """Return the highest token of a symbol's views that are held; 0 without one."""
        highest = 0
        for channel in channels_of(symbol):
            held = self._held.get(channel)
            if held is not None and held.stamp.token > highest:
                highest = held.stamp.token
        return highest

    def is_current(self, symbol: str) -> bool:
        """Return whether the newest view of a symbol is the one that a subscriber would have now.

        That of a symbol without subscribers is, where it was received a moment ago.
        """
        held, now_s = self._held[book_channel(symbol)], self._clock()
        if held is None:
            return False
        return held.received_s >= min(self._watched_since_s.get(symbol, now_s), now_s - CURRENT_S)

    def is_watched(self, symbol: str) -> bool:
        """Return whether any client is subscribed to a symbol."""
        return symbol in self._watched_since_s

    def interest(self, symbol: str) -> Interest:
        """Return which ladders and costs of a symbol clients are subscribed to."""
        topics = self._streams.get(liquidity_channel(symbol))
        if not topics:
            return NO_INTEREST
        return Interest(
            frozenset(int(topic.variant) for topic in topics if topic.kind == "ladder"),
            frozenset(float(topic.variant) for topic in topics if topic.kind == "cost"),
        )

    def log(self, symbol: str) -> TradeLog:
        """Return a symbol's newest trades. Raises KeyError for an unknown symbol."""
        return self._logs[trades_channel(symbol)]

    def current(self, topic: Topic) -> EncodedMessage | None:
        """Return the message that a new subscriber of this topic gets at once; None while there is none."""
        held = self._held[channel_of(topic)]
        if held is None or not held.view.carries(topic):
            return None
        return held.view.whole if topic.kind == "trades" else held.view.part(topic)

    def subscribe(self, topic: Topic, listener: Listener) -> None:
        """Send new messages of a topic to a listener. Raises KeyError for an unknown symbol."""
        streams = self._streams[channel_of(topic)]
        stream = streams.get(topic)
        if stream is None:
            stream = streams[topic] = TopicStream(topic, self._clock, self._call_later)
            if topic.kind in WATCHED_BY_ITSELF:
                self._watched.watch(topic.symbol)
        stream.listeners.add(listener)
        if not self.is_watched(topic.symbol):
            self._watched_since_s[topic.symbol] = self._clock()
            self._watched.watch(topic.symbol)

    def unsubscribe(self, topic: Topic, listener: Listener) -> None:
        """Send a listener no more messages of a topic. Unsubscribing twice does no harm."""
        streams = self._streams[channel_of(topic)]
        stream = streams.get(topic)
        if stream is not None:
            stream.listeners.discard(listener)
            if not stream.listeners:
                del streams[topic]
                self._on_unwatched(topic)

    def _on_unwatched(self, topic: Topic) -> None:
        """Stop what is done for a topic whose last subscriber has left."""
        symbol, channel = topic.symbol, channel_of(topic)
        if topic.kind in WATCHED_BY_ITSELF:
            self._watched.unwatch(symbol)
            if not self._streams[channel]:
                self._held[channel] = None  # no newer one is made: it would be sent when it is old
        if not any(self._streams[each] for each in channels_of(symbol)):
            del self._watched_since_s[symbol]
            self._watched.unwatch(symbol)

    # --- shutdown

    def add_client(self, client: Closable) -> None:
        """Register a client to be closed on shutdown; after `shut_down` it is closed at once."""
        self._clients.add(client)
        if self._is_shut_down:
            client.end()

    def remove_client(self, client: Closable) -> None:
        """Unregister a client that has disconnected."""
        self._clients.discard(client)

    def shut_down(self) -> None:
        """Close every client, and those that connect from now on. Calling it twice does no harm."""
        self._is_shut_down = True
        for client in tuple(self._clients):
            client.end()


CHANNELS: Mapping[str, Callable[[str], str]] = {
    "trades": trades_channel,
    "ladder": liquidity_channel,
    "cost": liquidity_channel,
}
"""The bus channel of a kind, where it is not that of views."""


def channel_of(topic: Topic) -> str:
    """Return the bus channel that a client's topic is made from."""
    return CHANNELS.get(topic.kind, book_channel)(topic.symbol)
