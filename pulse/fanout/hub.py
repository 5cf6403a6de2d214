"""The hub: holds the newest view of each symbol, and publishes it to the topic streams that have subscribers.

No I/O and no framework. A view is complete, so a newer one replaces an older one here and with each subscriber. Trades
go to a log, which each subscriber reads with its own cursor.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import CallLater, Listener, RunningCandles, TopicStream, ViewMessage
from pulse.fanout.trade_log import TradeLog
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import AnyView, book_channel, channels_of, liquidity_channel, read_stamp, trades_channel

OWN_SILENCE_MAX_S = 3.0
"""While an instance publishes at least this often, views of other instances are ignored: two processes overlap for a
minute at each deploy, and a page must not jump between their books. Views come at least once a second."""


class Closable(Protocol):
    """A client's connection, as the hub sees it."""

    def end(self) -> None:
        """Send nothing more and close."""


@dataclass(slots=True)
class _Held:
    """The newest message of a channel. The time is of the hub's clock."""

    view: ViewMessage
    instance: str
    seq: int
    received_s: float


def call_later(delay_s: float, act: Callable[[], None]) -> object:
    """Call a function after so many seconds of the running loop."""
    return asyncio.get_running_loop().call_later(delay_s, act)


class Hub:
    """Keeps the newest of each symbol and hands it to its subscribers.

    `instance` is this process's id, `clock` gives monotonic seconds, `running_candles` knows the candles of intervals
    longer than a view's minute. `dropped` counts messages that were not passed on.
    """

    def __init__(
        self,
        instance: str,
        running_candles: RunningCandles,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later,
    ) -> None:
        self._held: dict[str, _Held | None] = {}  # by channel
        self._streams: dict[str, dict[Topic, TopicStream]] = {}  # by channel
        self._logs: dict[str, TradeLog] = {}  # by channel
        self._instance = instance
        self._running_candles = running_candles
        self._clock = clock
        self._call_later = call_later
        self._clients: set[Closable] = set()
        self._is_shut_down = False
        self.dropped = 0

    def open(self, symbol: str) -> None:
        """Accept messages and subscriptions of a symbol."""
        for channel in channels_of(symbol):
            self._held[channel] = None
            self._streams[channel] = {}
        self._logs[trades_channel(symbol)] = TradeLog(f"trades.{symbol}")

    def close(self, symbol: str) -> None:
        """Drop everything of a symbol, which has no subscribers."""
        for channel in channels_of(symbol):
            del self._held[channel], self._streams[channel]
        del self._logs[trades_channel(symbol)]

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
        elif log.extend(message.trades()):
            for stream in streams:
                stream.notify()

    def _accept(self, channel: str, payload: bytes, view: AnyView | None) -> ViewMessage | None:
        """Hold a message if it is the newest; None if it is out of date, of another instance, or not a view."""
        try:
            held = self._held[channel]
            instance, seq = read_stamp(payload) if view is None else (view.instance, view.seq)
        except (KeyError, ValueError):
            return None
        now_s = self._clock()
        if held is not None and not self._supersedes(instance, seq, held, now_s):
            return None
        message = ViewMessage(payload, view, self._running_candles)
        self._held[channel] = _Held(message, instance, seq, now_s)
        return message

    def _supersedes(self, instance: str, seq: int, held: _Held, now_s: float) -> bool:
        if instance == held.instance:
            return seq > held.seq
        return instance == self._instance or now_s - held.received_s > OWN_SILENCE_MAX_S

    # --- what subscribers get

    def latest(self, channel: str) -> bytes | None:
        """Return the newest encoded view of a channel; None before the first, and for an unknown channel."""
        held = self._held.get(channel)
        return None if held is None else held.view.whole.payload

    def is_watched(self, symbol: str) -> bool:
        """Return whether any client is subscribed to a symbol."""
        return any(self._streams.get(channel) for channel in channels_of(symbol))

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
        stream.listeners.add(listener)

    def unsubscribe(self, topic: Topic, listener: Listener) -> None:
        """Send a listener no more messages of a topic. Unsubscribing twice does no harm."""
        streams = self._streams[channel_of(topic)]
        stream = streams.get(topic)
        if stream is not None:
            stream.listeners.discard(listener)
            if not stream.listeners:
                del streams[topic]
                if not streams and channel_of(topic) == liquidity_channel(topic.symbol):
                    self._held[channel_of(topic)] = None  # no newer one is made: it would be sent when it is old

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
