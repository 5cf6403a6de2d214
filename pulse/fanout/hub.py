"""What came last by the bus, and who is listening. No I/O and no framework.

A view is whole, so a newer one replaces an older one everywhere: here, and with each listener. Trades are kept in a
log, from which each listener takes what it lacks.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pulse.fanout.requests import Topic
from pulse.fanout.topic_stream import Later, Listener, RunningCandles, TopicStream, ViewMessage, no_bars
from pulse.fanout.trade_log import TradeLog
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import book_topic, topics_of, trades_topic

OWN_SILENCE_MAX_S = 3.0
"""While an instance speaks at least this often, no other one is heard on its topic: two processes overlap for a
minute at each deploy, and a page must not jump between their books. Views come at least once a second."""
STAMP = re.compile(rb'\{"seq":([0-9]{1,18}),"instance":"([0-9a-f]{1,32})",')
"""How every view begins: it can be judged without decoding it."""


def read_stamp(payload: bytes) -> tuple[str, int]:
    """The instance that made a view and its sequence number. Raises ValueError if it does not begin as ours do."""
    match = STAMP.match(payload)
    if match is None:
        raise ValueError(f'a view begins with {{"seq":...,"instance":"...", this message with {payload[:40]!r}')
    return match[2].decode(), int(match[1])


class Ending(Protocol):
    """A client that subscribes and unsubscribes as it likes."""

    def end(self) -> None:
        """There will be no more of anything."""


@dataclass(slots=True)
class _Held:
    view: ViewMessage
    instance: str
    seq: int
    heard_at_s: float


def call_later(delay_s: float, act: Callable[[], None]) -> object:
    """Call something in so many seconds of the running loop."""
    return asyncio.get_running_loop().call_later(delay_s, act)


class Hub:
    """Keeps the newest of each symbol and hands it to those who joined.

    `instance` is this process's own stamp, `clock` gives monotonic seconds. `dropped` counts messages not passed on;
    `bars`, to be set before anything is published, knows the candles of intervals longer than a view's minute.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        later: Later = call_later,
    ) -> None:
        self._held: dict[str, _Held | None] = {}
        self._streams: dict[str, dict[Topic, TopicStream]] = {}
        self._logs: dict[str, TradeLog] = {}
        self._instance = instance
        self._clock = clock
        self._later = later
        self._clients: set[Ending] = set()
        self._closed = False
        for symbol in symbols:
            self.open(symbol)
        self.dropped = 0
        self.bars: RunningCandles = no_bars

    def open(self, symbol: str) -> None:
        """Take what comes of a symbol from now on."""
        for topic in topics_of(symbol):
            self._held[topic] = None
            self._streams[topic] = {}
        self._logs[trades_topic(symbol)] = TradeLog(f"trades.{symbol}")

    def drop(self, symbol: str) -> None:
        """Forget a symbol that nobody listens to."""
        for topic in topics_of(symbol):
            del self._held[topic], self._streams[topic]
        del self._logs[trades_topic(symbol)]

    def publish(self, topic: str, payload: bytes) -> None:
        """Keep and pass on a message, unless it is old, from an instance that is not the one to hear, or not ours."""
        view = self._judge(topic, payload)
        if view is None:
            self.dropped += 1
            return
        log = self._logs.get(topic)
        if log is not None:
            if log.extend(view.field("trades")):
                for stream in tuple(self._streams[topic].values()):
                    stream.nudge()
            return
        for stream in tuple(self._streams[topic].values()):
            stream.offer(view)

    def _judge(self, topic: str, payload: bytes) -> ViewMessage | None:
        """Hold a message if it is news."""
        try:
            held = self._held[topic]
            instance, seq = read_stamp(payload)
        except (KeyError, ValueError):
            return None
        now_s = self._clock()
        if held is not None and not self._follows(held, instance, seq, now_s):
            return None
        view = ViewMessage(payload, self.bars)
        self._held[topic] = _Held(view, instance, seq, now_s)
        return view

    def _follows(self, held: _Held, instance: str, seq: int, now_s: float) -> bool:
        if instance == held.instance:
            return seq > held.seq
        return instance == self._instance or now_s - held.heard_at_s > OWN_SILENCE_MAX_S

    def latest(self, topic: str) -> bytes | None:
        """The newest view of a topic; None before the first, and for a topic that there is not."""
        held = self._held.get(topic)
        return None if held is None else held.view.message.payload

    def is_heard(self, symbol: str) -> bool:
        """Whether anybody listens to anything of a symbol."""
        return any(self._streams.get(topic) for topic in topics_of(symbol))

    def log(self, symbol: str) -> TradeLog:
        """A symbol's newest trades. Raises KeyError for a symbol that there is not."""
        return self._logs[trades_topic(symbol)]

    def now(self, choice: Topic) -> EncodedMessage | None:
        """What who begins with this topic is told at once; None while there is nothing."""
        held = self._held[bus_topic(choice)]
        if held is None:
            return None
        return held.view.message if choice.kind == "trades" else held.view.part(choice)

    def subscribe(self, choice: Topic, listener: Listener) -> None:
        """Listen to what is new of one topic. Raises KeyError for a symbol that there is not."""
        streams = self._streams[bus_topic(choice)]
        stream = streams.get(choice)
        if stream is None:
            stream = streams[choice] = TopicStream(choice, self._clock, self._later)
        stream.listeners.add(listener)

    def unsubscribe(self, choice: Topic, listener: Listener) -> None:
        """Listen to it no more. Leaving twice does no harm."""
        streams = self._streams[bus_topic(choice)]
        stream = streams.get(choice)
        if stream is not None:
            stream.listeners.discard(listener)
            if not stream.listeners:
                del streams[choice]

    def admit(self, client: Ending) -> None:
        """Tell this client of the end, whatever it listens to."""
        self._clients.add(client)
        if self._closed:
            client.end()

    def dismiss(self, client: Ending) -> None:
        """It has left."""
        self._clients.discard(client)

    def close(self) -> None:
        """Tell every client, and whoever joins from now on, that there is no more. Closing twice does no harm."""
        self._closed = True
        for client in tuple(self._clients):
            client.end()


def bus_topic(choice: Topic) -> str:
    """Which of the bus's topics a client's topic is made from."""
    return (trades_topic if choice.kind == "trades" else book_topic)(choice.symbol)
