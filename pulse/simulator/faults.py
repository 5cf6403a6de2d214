"""Trouble on request: what a test tells the simulated exchange to do wrong, while it runs.

`FrameFaults` works on events and virtual time alone, so it serves a test without sockets as well; the rest is a few
values that the server consults. A symbol's trading status is a fact of the market: `Exchange.set_status`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from typing import Any, NamedTuple

from pulse.simulator.instruments import E8
from pulse.simulator.payloads import Event, JsonObject, decimal_text

FOREVER = 10**9  # a count that no test outlives
RULES_MAX = 1000  # rules that wait at once
HELD_MAX = 100_000  # delayed frames; beyond it the one due first goes early

PRICE = "price"
QUANTITY = "quantity"
_KEYS = {PRICE: ("p", "b", "c"), QUANTITY: ("q", "B", "v")}  # trades, best bid and ask, candles

Change = Callable[[JsonObject], "JsonObject | str"]


class Frame(NamedTuple):
    """An event after the faults. Text instead of an object is sent as it is, without its stream's name."""

    stream: str
    data: JsonObject | str
    at_ms: int


@dataclass(slots=True)
class _Rule:
    kind: str
    stream: str
    count: int
    by_ms: int = 0
    change: Change | None = None


class FrameFaults:
    """Faults of streams. A stream is a name or a pattern (`*@aggTrade`, `*`); the oldest rule that fits acts alone."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []
        self._muted: dict[str, None] = {}
        self._swapped: dict[str, Frame] = {}
        self._held: list[tuple[int, int, Frame]] = []  # a heap: due, number, frame
        self._number = 0

    def drop(self, stream: str, count: int = 1) -> None:
        """Lose the next frames."""
        self._add(_Rule("drop", stream, count))

    def duplicate(self, stream: str, count: int = 1) -> None:
        """Send each of the next frames twice."""
        self._add(_Rule("duplicate", stream, count))

    def swap(self, stream: str, count: int = 1) -> None:
        """Send the next frame after the one that follows it on its stream, `count` times."""
        self._add(_Rule("swap", stream, count))

    def delay(self, stream: str, by_ms: int, count: int = 1) -> None:
        """Send the next frames so much later, by the exchange's clock; frames after them overtake."""
        self._add(_Rule("delay", stream, count, by_ms=by_ms))

    def edit(self, stream: str, change: Change, count: int = 1) -> None:
        """Pass the next frames through a function, which may alter the object or give text to send in its place."""
        self._add(_Rule("edit", stream, count, change=change))

    def corrupt(self, stream: str, what: str = QUANTITY, count: int = 1) -> None:
        """Make one number in each of the next frames a little too large; of a diff, one in its first level."""
        self.edit(stream, lambda data: _corrupted(data, what), count)

    def mute(self, *streams: str) -> None:
        """Send nothing of these streams; connections and pings live on."""
        self._muted.update(dict.fromkeys(streams))

    def unmute(self, *streams: str) -> None:
        """Lift exactly these; all, without any."""
        for stream in streams or tuple(self._muted):
            self._muted.pop(stream, None)

    def clear(self) -> None:
        """Forget every rule and everything held back."""
        for kept in (self._rules, self._muted, self._swapped, self._held):
            kept.clear()

    def apply(self, events: Iterable[Event], now_ms: int) -> list[Frame]:
        """What is really sent up to a time, in order. Call it with no events too: delayed frames come due."""
        if not (self._rules or self._muted or self._swapped or self._held):
            return [Frame(*event) for event in events]
        sent: list[tuple[int, Frame]] = []
        for event in events:
            sent.extend((event.at_ms, frame) for frame in self._faulty(Frame(*event)))
        while self._held and (self._held[0][0] <= now_ms or len(self._held) > HELD_MAX):
            due_ms, _, frame = heappop(self._held)
            sent.append((due_ms, frame))
        sent.sort(key=lambda timed: timed[0])
        return [frame for _, frame in sent]

    def _add(self, rule: _Rule) -> None:
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"expected at most {RULES_MAX} rules to wait, got one more")
        self._rules.append(rule)

    def _faulty(self, frame: Frame) -> list[Frame]:
        if any(fnmatchcase(frame.stream, muted) for muted in self._muted):
            return []
        earlier = self._swapped.pop(frame.stream, None)
        if earlier is not None:
            return [frame, earlier]
        rule = next((rule for rule in self._rules if fnmatchcase(frame.stream, rule.stream)), None)
        if rule is None:
            return [frame]
        rule.count -= 1
        if rule.count <= 0:
            self._rules.remove(rule)
        return self._act(rule, frame)

    def _act(self, rule: _Rule, frame: Frame) -> list[Frame]:
        if rule.kind == "duplicate":
            return [frame, frame]
        if rule.kind == "swap":
            self._swapped[frame.stream] = frame
        elif rule.kind == "delay":
            self._number += 1
            heappush(self._held, (frame.at_ms + rule.by_ms, self._number, frame))
        elif rule.change is not None and isinstance(frame.data, dict):
            return [frame._replace(data=rule.change(dict(frame.data)))]
        return []


@dataclass(slots=True)
class RestFault:
    """What one request gets instead of, or before, its true answer."""

    path: str
    count: int
    status: int = 0  # 0: the true answer
    body: bytes | None = None  # None: the exchange's own words for that status
    content_type: str = "application/json"
    retry_after_s: int | None = None
    hang_s: float = 0.0  # waited first
    change: Callable[[Any], Any] | None = None  # what becomes of the true answer's JSON


class RestFaults:
    """Faults of REST paths; a path is exact or a pattern (`/api/*`). The oldest rule that fits acts alone."""

    def __init__(self) -> None:
        self._rules: deque[RestFault] = deque(maxlen=RULES_MAX)

    def answer(
        self,
        path: str,
        status: int,
        *,
        retry_after_s: int | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        count: int = FOREVER,
    ) -> None:
        """Answer with a status: 451, 403, 429, 418, 500 and so on; `body` replaces the usual one."""
        self._rules.append(RestFault(path, count, status, body, content_type, retry_after_s))

    def html(self, path: str, status: int = 502, count: int = FOREVER) -> None:
        """Answer with the web page of a proxy, as happens during maintenance."""
        page = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
        self.answer(path, status, body=page, content_type="text/html", count=count)

    def hang(self, path: str, seconds: float, count: int = FOREVER) -> None:
        """Answer truly, but so much later (real seconds)."""
        self._rules.append(RestFault(path, count, hang_s=seconds))

    def edit(self, path: str, change: Callable[[Any], Any], count: int = FOREVER) -> None:
        """Pass the true answer's JSON through a function."""
        self._rules.append(RestFault(path, count, change=change))

    def clear(self) -> None:
        """Answer truly again."""
        self._rules.clear()

    def next(self, path: str) -> RestFault | None:
        """The fault of the request that just came, None when it is served truly."""
        rule = next((rule for rule in self._rules if fnmatchcase(path, rule.path)), None)
        if rule is not None:
            rule.count -= 1
            if rule.count <= 0:
                self._rules.remove(rule)
        return rule


@dataclass(slots=True)
class Faults:
    """Every fault of one simulated exchange; all off at first, and each may be set at any time."""

    frames: FrameFaults = field(default_factory=FrameFaults)
    rest: RestFaults = field(default_factory=RestFaults)
    depth_lag_ms: int = 0  # depth snapshots are this old
    refuse_sockets: int | None = None  # new stream sockets get this HTTP status; 0: their connection is reset
    frozen: bool = False  # open sockets send nothing at all, not even pongs, and never close: a half-open peer
    nested_errors: bool = False  # control errors under an `error` key, as some of the exchange's servers send them

    def clear(self) -> None:
        """Everything off."""
        self.frames.clear()
        self.rest.clear()
        self.depth_lag_ms, self.refuse_sockets = 0, None
        self.frozen = self.nested_errors = False


def cross_depth(body: JsonObject) -> JsonObject:
    """A change for `RestFaults.edit`: a snapshot whose best bid is above its best ask."""
    bids, asks = body["bids"], body["asks"]
    return body | {"bids": [[asks[0][0], bids[0][1]], *bids[1:]], "asks": [[bids[0][0], asks[0][1]], *asks[1:]]}


def _corrupted(data: JsonObject, what: str) -> JsonObject:
    index = 0 if what == PRICE else 1
    for side in ("b", "a", "bids", "asks"):
        if data.get(side) and isinstance(data[side], list):
            levels = [list(level) for level in data[side]]
            levels[0][index] = _wrong(levels[0][index])
            return data | {side: levels}
    if isinstance(data.get("k"), dict):
        return data | {"k": _corrupted(data["k"], what)}
    key = next((key for key in _KEYS[what] if isinstance(data.get(key), str)), None)
    return data | {key: _wrong(data[key])} if key is not None else data


def _wrong(text: str) -> str:
    """A number larger by a percent, or by one in its last digit if that is more; 1 in place of 0."""
    whole, _, decimals = text.partition(".")
    units = int(whole + decimals.ljust(8, "0"))
    step = 1
    while units and units % (step * 10) == 0:
        step *= 10
    return decimal_text(units + max(step, units // 100 // step * step) if units else E8)
