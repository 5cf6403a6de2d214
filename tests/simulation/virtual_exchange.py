"""The exchange and the network in virtual time: REST answers, streams, latency, and every fault.

It implements the protocol of `pulse.binance.transport` on the simulator's pure core, with one random generator. Faults
are set by the fault schedule; results are checked by the checker.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import orjson

from pulse.binance.refusals import FORBIDDEN_FIRST_S, FORBIDDEN_MAX_S, REFUSED_WAIT_S, TRIAL_S
from pulse.binance.transport import CONNECT_TIMEOUT_S, HEARTBEAT_S, REQUEST_TIMEOUT_S, Answer
from pulse.errors import ConnectionEnded, ExchangeError, HandshakeRefused
from pulse.ingest.exchange_stream import STREAMS
from pulse.simulator.connection import MESSAGES_PER_SECOND_MAX
from pulse.simulator.exchange import Exchange
from pulse.simulator.faults import FrameFaults, RestFault, RestFaults, SentFrame
from pulse.simulator.instruments import INSTRUMENTS, SimulatedInstrument
from pulse.simulator.limits import WeightMeter, depth_weight
from pulse.simulator.payloads import StreamEvent
from pulse.simulator.subscriptions import StreamSubscriptions
from tests.simulation.loop import VirtualClock
from tests.simulation.reference_book import ReferenceBook

TICK_S = 0.25
"""How often the market advances; REST calls advance it to their own time."""
START_MS = 1_723_161_600_000 + 23_456
"""Not the first millisecond of a minute: the first candle is incomplete."""
LEVELS = 220
JITTER_S, LATENCY_MAX_S = 0.03, 0.8
CONNECTIONS_PER_5_MIN = 300
WEIGHT_SHORT_SHARE = 0.4
"""Beyond this share of a minute's weight a client that uses half may have to wait for the next minute."""
WEIGHTS = {
    "/api/v3/time": 1, "/api/v3/klines": 1, "/api/v3/aggTrades": 1, "/api/v3/ping": 1, "/api/v3/exchangeInfo": 10,
}  # fmt: skip

ViolationHandler = Callable[[str], NoReturn]


def quiet_instruments(symbols: tuple[str, ...], changes_per_s: float) -> dict[str, SimulatedInstrument]:
    """Return the simulator's instruments, made quiet and shallow, so that an hour costs seconds.

    A name that the simulator does not know, such as one that is not ASCII, is of an instrument like LTCUSDT.
    """
    known = {symbol: INSTRUMENTS.get(symbol, INSTRUMENTS["LTCUSDT"]) for symbol in symbols}
    return {
        symbol: replace(instrument, symbol=symbol, base_asset=symbol[:-4], changes_per_s=changes_per_s, levels=LEVELS)
        for symbol, instrument in known.items()
    }


class VirtualExchange:
    """The exchange's side, a `Transport`. `violation` is called when a client breaks a rule of the exchange."""

    def __init__(
        self,
        clock: VirtualClock,
        seed: int,
        symbols: tuple[str, ...],
        changes_per_s: float,
        on_violation: ViolationHandler,
    ) -> None:
        self.clock = clock
        self.symbols = symbols
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(f"{seed}/network")
        self.core = Exchange(symbols, seed, self.now_ms(), quiet_instruments(symbols, changes_per_s))
        self.account = WeightMeter()
        self.reference_books = {symbol: ReferenceBook(self.core, symbol) for symbol in symbols}
        self.streams: dict[VirtualStream, None] = {}
        self.event_counts: dict[str, int] = {}  # events produced, by stream
        self.diffs: dict[str, deque[tuple[float, int]]] = {
            symbol: deque(maxlen=64) for symbol in symbols
        }  # (time, final update id)
        self.lost_trades: set[tuple[str, int]] = set()  # minutes with a trade that was not delivered unchanged
        self.lost_closes: set[tuple[str, int]] = set()  # minutes whose final candle was not delivered
        self._candle_counts: dict[
            str, tuple[int, int]
        ] = {}  # stream -> (minute, number of trades) of the last candle update
        self.frames = 0
        self.sent: dict[str, Any] = {}  # the newest frame of each stream, as it was sent
        self.connection_life_s = 24 * 3600.0
        # The current faults.
        self.rest_faults = RestFaults()
        self.has_dates = True  # answers have the header `Date`
        self.depth_lag_ms = 0
        self.is_muted = False  # every stream with timestamps is muted, so that the silence is detectable
        self.muted: dict[str, None] = {}  # streams that new connections do not get either
        self.same_ids = 0  # aggregate trades that are still to be sent as two with one id
        self.has_ghost_levels = False  # levels beyond every snapshot's reach are never removed
        self.refuse: int | None = None  # an HTTP status; 0: no answer at all
        self.banned_until_s = 0.0  # end of a ban: no REST call is allowed before
        self.forbidden_until_s = 0.0  # a request that was refused (403, 451) is not made again before
        self._forbidden_waits_s: dict[str, float] = {}  # by path, since its last other answer
        self.klines_failed_s = 0.0  # when candles were last requested in vain
        self.weight_short_until_s = 0.0  # until then the minute's weight is nearly used up
        self.snapshot_reach = dict.fromkeys(symbols, (float("inf"), 0.0))  # the worst prices in any snapshot
        self._on_violation = on_violation
        self._wanted = {f"{s.lower()}@{name}" for s in symbols for name in STREAMS.values()}
        self._connects: deque[float] = deque(maxlen=CONNECTIONS_PER_5_MIN)
        self.loop.call_later(TICK_S, self._tick)

    def now_ms(self) -> int:
        """Return the exchange's clock."""
        return int(self.clock.true_ms())

    # --- market time

    def _tick(self) -> None:
        self.loop.call_later(TICK_S, self._tick)
        self.advance()

    def advance(self) -> None:
        """Advance the market to now, and send the events."""
        now_ms = self.now_ms()
        made = (event for event in self.core.advance(now_ms, self._wanted) if self._is_changed(event))
        events = [event for one in made for event in self._with_same_id(one)]
        for event in events:
            self.event_counts[event.stream] = self.event_counts.get(event.stream, 0) + 1
            if event.stream.endswith("@depth@100ms"):
                self.reference_books[event.data["s"]].append(event.data)
                self.diffs[event.data["s"]].append((self.loop.time(), event.data["u"]))
        for stream in tuple(self.streams):
            stream.send_events(events, now_ms)
            if self.loop.time() - stream.opened_s > self.connection_life_s:
                stream.end("the exchange closed the connection")

    def _with_same_id(self, event: StreamEvent) -> list[StreamEvent]:
        """Split an aggregate of several trades into two that share its id, while there are such to be sent."""
        data = event.data
        if not self.same_ids or not event.stream.endswith("@aggTrade") or data["f"] == data["l"]:
            return [event]
        self.same_ids -= 1
        whole = Decimal(data["q"])
        first = (whole / 2).quantize(Decimal("0.001"))
        parts = ({"q": f"{first:.8f}", "l": data["f"]}, {"q": f"{whole - first:.8f}", "f": data["f"] + 1})
        return [event._replace(data=data | part) for part in parts]

    def _is_changed(self, event: StreamEvent) -> bool:
        """Return whether a live candle has changed: without trades the exchange sends no update."""
        if not event.stream.endswith("@kline_1m") or event.data["k"]["x"]:
            return True
        state = (event.data["k"]["t"], event.data["k"]["n"])
        is_changed = self._candle_counts.get(event.stream) != state
        self._candle_counts[event.stream] = state
        return is_changed

    def without_removals(self, event: StreamEvent) -> StreamEvent:
        """Return a diff without the removals of levels beyond every snapshot's reach."""
        if not event.stream.endswith("@depth@100ms"):
            return event
        data = event.data
        floor, ceiling = self.snapshot_reach[data["s"]]
        bids = [level for level in data["b"] if float(level[1]) or float(level[0]) >= floor]
        asks = [level for level in data["a"] if float(level[1]) or float(level[0]) <= ceiling]
        return event._replace(data=data | {"b": bids, "a": asks})

    def record_lost(self, events: list[StreamEvent], frames: list[SentFrame]) -> None:
        """Record what candles need of events that a connection did not receive unchanged."""
        event_counts = {id(frame.data) for frame in frames}
        for event in events:
            if id(event.data) in event_counts:
                continue
            symbol = event.data.get("s", "")
            if event.stream.endswith("@aggTrade") and not self.is_muted:
                self.lost_trades.add((symbol, event.data["T"] - event.data["T"] % 60_000))
            elif event.stream.endswith("@kline_1m") and event.data["k"]["x"]:
                self.lost_closes.add((symbol, event.data["k"]["t"]))

    # --- streams

    async def connect(self, url: str) -> "VirtualStream":
        """Open a stream, or refuse it."""
        now_s = self.loop.time()
        if len(self._connects) == CONNECTIONS_PER_5_MIN and now_s - self._connects[0] < 300:
            self._on_violation("more than 300 connections within 5 minutes")
        self._connects.append(now_s)
        if self.refuse == 0:
            await asyncio.sleep(CONNECT_TIMEOUT_S)
            raise ExchangeError("the handshake was not answered")
        await asyncio.sleep(self.rng.uniform(0.05, 0.4))
        if self.refuse is not None:
            self._note_refusal(urlsplit(url).path, self.refuse)
            raise HandshakeRefused(self.refuse)
        self.advance()
        names = parse_qs(urlsplit(url).query)["streams"][0].split("/")
        stream = VirtualStream(self, StreamSubscriptions(tuple(names), combined=True), self._on_violation)
        stream.faults.mute(*self.muted)
        self.streams[stream] = None
        return stream

    # --- REST

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Answer a REST call, wrongly if a fault says so."""
        if self.loop.time() < self.banned_until_s:
            self._on_violation(f"a REST call {self.banned_until_s - self.loop.time():.3f} s before the ban's end")
        path = urlsplit(url).path
        await asyncio.sleep(self.rng.uniform(0.01, 0.15))
        fault = self.rest_faults.next_for(path)
        if fault is not None and path in ("/api/v3/klines", "/api/v3/time"):  # the date is asked for before candles are
            self.klines_failed_s = self.loop.time()
        if fault is not None and fault.hang_s:
            await asyncio.sleep(min(fault.hang_s, REQUEST_TIMEOUT_S))
            if fault.hang_s >= REQUEST_TIMEOUT_S:
                raise ExchangeError("no answer: too late")
        self.advance()
        answer = self._answer(path, params, fault)
        await asyncio.sleep(self.rng.uniform(0.01, 0.3))
        self._note_refusal(path, answer.status)
        if answer.status in (429, 418):
            self.banned_until_s = max(self.banned_until_s, self.loop.time() + int(answer.headers["Retry-After"]))
        return answer

    def _note_refusal(self, path: str, status: int) -> None:
        """Note until when a client does not ask again that was refused by this status."""
        if status == 403:
            last_s = self._forbidden_waits_s.get(path)
            wait_s = FORBIDDEN_FIRST_S if last_s is None else min(last_s * 2, FORBIDDEN_MAX_S)
            self._forbidden_waits_s[path] = wait_s
            self.forbidden_until_s = max(self.forbidden_until_s, self.loop.time() + wait_s)
            return
        self._forbidden_waits_s.pop(path, None)
        if status == 451:
            # One request goes first then, and the others wait for its answer.
            self.forbidden_until_s = max(self.forbidden_until_s, self.loop.time() + REFUSED_WAIT_S + TRIAL_S)

    def _answer(self, path: str, params: Mapping[str, str], fault: RestFault | None) -> Answer:
        if fault is not None and fault.status:
            headers = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s is not None else {}
            return Answer(fault.status, headers, fault.body or b'{"code":-1003,"msg":"injected"}')
        weight = WEIGHTS.get(path) or depth_weight(int(params["limit"]))
        charge = self.account.charge(weight, self.now_ms())
        if charge.used > self.account.per_minute * WEIGHT_SHORT_SHARE:
            self.weight_short_until_s = self.loop.time() + 60
        if charge.status != 200:
            self._on_violation(f"{charge.used} of {self.account.per_minute} weight used: HTTP {charge.status}")
        headers = {
            "X-MBX-USED-WEIGHT-1M": str(charge.used),
            "Retry-After": str(charge.retry_after_s),
        }
        if self.has_dates:
            headers["Date"] = format_datetime(datetime.fromtimestamp(self.now_ms() // 1000, UTC), usegmt=True)
        body = self._view(path, params)
        if fault is not None and fault.edit is not None:
            body = fault.edit(body)
        return Answer(charge.status, headers, orjson.dumps(body))

    def _view(self, path: str, params: Mapping[str, str]) -> Any:
        if path == "/api/v3/depth":
            return self._depth(params["symbol"], int(params["limit"]))
        if path == "/api/v3/klines":
            start_ms, end_ms = int(params["startTime"]), int(params["endTime"])
            return self.core.klines(params["symbol"], start_ms, end_ms, int(params["limit"]))
        if path == "/api/v3/aggTrades":
            names = {"fromId": "from_id", "startTime": "start_ms", "endTime": "end_ms", "limit": "limit"}
            chosen = {names[name]: int(text) for name, text in params.items() if name in names}
            return self.core.agg_trades(params["symbol"], **chosen)
        if path == "/api/v3/ping":
            return {}
        if path == "/api/v3/time":
            return {"serverTime": self.now_ms()}
        return self.core.exchange_info()

    def _depth(self, symbol: str, limit: int) -> Any:
        body = self.core.depth(symbol, limit, self.depth_lag_ms)
        floor, ceiling = self.snapshot_reach[symbol]
        worst_bid = float(body["bids"][-1][0]) if len(body["bids"]) == limit else 0.0
        worst_ask = float(body["asks"][-1][0]) if len(body["asks"]) == limit else float("inf")
        self.snapshot_reach[symbol] = (min(floor, worst_bid), max(ceiling, worst_ask))
        return body


class VirtualStream:
    """One connection. Frames of one stream keep their order; frames of different streams may overtake each other."""

    def __init__(
        self, exchange: VirtualExchange, subscriptions: StreamSubscriptions, on_violation: ViolationHandler
    ) -> None:
        self.opened_s = exchange.loop.time()
        self.faults = FrameFaults()
        self.unmuted_by_subscribing: tuple[str, ...] = ()  # streams that a new subscription unmutes
        self.is_frozen = False
        self._exchange = exchange
        self._loop = exchange.loop
        self._subscriptions = subscriptions
        self._on_violation = on_violation
        rng = exchange.rng
        self._latency_s = rng.choice([rng.uniform(0.005, 0.08), rng.uniform(0.005, LATENCY_MAX_S)])
        self._due_s: dict[str, float] = {}
        self._control_due_s = 0.0
        self._arrived: deque[str] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = ""
        self._sent_s: deque[float] = deque(maxlen=MESSAGES_PER_SECOND_MAX)

    # --- client side

    async def receive(self) -> str:
        """Return the next frame."""
        while not self._arrived:
            if self._ended:
                raise ConnectionEnded(self._ended)
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._arrived.popleft()

    async def send(self, text: str) -> None:
        """Send a control message."""
        if self._ended:
            raise ConnectionEnded("the connection broke while writing")
        now_s = self._loop.time()
        if len(self._sent_s) == MESSAGES_PER_SECOND_MAX and now_s - self._sent_s[0] < 1:
            self._on_violation("more than 5 messages a second on a connection")
        self._sent_s.append(now_s)
        if not self.is_frozen:
            # Messages keep their order; the loop does not keep that of equal times.
            self._control_due_s = max(now_s + self._latency_s, self._control_due_s + 1e-6)
            self._loop.call_at(self._control_due_s, self._handle_control, text)

    async def close(self) -> None:
        """Close; frames received but not read are lost."""
        self.end("closed", is_reset=True)

    # --- exchange side

    def send_events(self, events: list[StreamEvent], now_ms: int) -> None:
        """Send the subscribed events, after the faults."""
        subscribed = [event for event in events if event.stream in self._subscriptions.streams]
        if self._exchange.has_ghost_levels:
            subscribed = [self._exchange.without_removals(event) for event in subscribed]
        frames = self.faults.apply(subscribed, now_ms)
        if len(frames) != len(subscribed) or any(f.data is not e.data for f, e in zip(frames, subscribed, strict=True)):
            self._exchange.record_lost(subscribed, frames)
        for frame in frames:
            if isinstance(frame.data, dict):
                self._exchange.sent[frame.stream] = frame.data
            self.push(frame)

    def push(self, frame: SentFrame) -> None:
        """Put a frame on the network."""
        if self.is_frozen or self._ended:
            return
        data = frame.data
        text = data if isinstance(data, str) else orjson.dumps({"stream": frame.stream, "data": data}).decode()
        rng = self._exchange.rng
        due_s = self._loop.time() + self._latency_s + rng.random() * JITTER_S
        due_s = max(due_s, self._due_s.get(frame.stream, 0.0) + 1e-6)
        self._due_s[frame.stream] = due_s
        self._loop.call_at(due_s, self._arrive, text)

    def freeze(self) -> None:
        """Become a half-open peer: nothing is sent, not even pongs, until the client's heartbeat times out."""
        self.is_frozen = True
        self._loop.call_later(HEARTBEAT_S * 1.5, self.end, "no pong", True)

    def end(self, how: str, is_reset: bool = False) -> None:
        """End the connection; a reset also drops frames that were not read yet."""
        self._ended = self._ended or how
        self._exchange.streams.pop(self, None)
        if is_reset:
            self._arrived.clear()
        self._wake()

    def _arrive(self, text: str) -> None:
        if self._ended or self.is_frozen:
            return
        self._exchange.frames += 1
        self._arrived.append(text)
        self._wake()

    def _handle_control(self, text: str) -> None:
        if self._ended or self.is_frozen:
            return
        reply = self._subscriptions.handle(text)
        if '"SUBSCRIBE"' in text and self.unmuted_by_subscribing:
            self.faults.unmute(*self.unmuted_by_subscribing)
            self.unmuted_by_subscribing = ()
        self._loop.call_later(self._latency_s, self._arrive, reply.text.decode())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
