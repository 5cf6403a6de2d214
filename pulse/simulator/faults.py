"""Fault injection: what the simulated exchange does wrong, set by a test while it runs.

`FrameFaults` works on events and virtual time alone, so it also serves tests without sockets; the rest is a few values
that the server reads. A symbol's trading status belongs to the market: `Exchange.set_status`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from typing import Any, NamedTuple

from pulse.simulator.instruments import E8
from pulse.simulator.payloads import JsonObject, StreamEvent, decimal_text

FOREVER = 10**9  # a count that no test reaches
RULES_MAX = 1000  # pending rules at once
HELD_MAX = 100_000  # delayed frames; beyond it the one due first is sent early

PRICE = "price"
QUANTITY = "quantity"
_KEYS = {PRICE: ("p", "b", "c"), QUANTITY: ("q", "B", "v")}  # trades, best bid and ask, candles

Edit = Callable[[JsonObject], "JsonObject | str"]


class SentFrame(NamedTuple):
    """An event after the faults. Text in place of an object is sent as it is, without the stream's name."""

    stream: str
    data: JsonObject | str
    at_ms: int


@dataclass(slots=True)
class _FrameRule:
    kind: str
    stream: str
    count: int
    by_ms: int = 0
    edit: Edit | None = None


class FrameFaults:
    """Faults of streams. A stream is a name or a pattern (`*@aggTrade`, `*`); only the oldest matching rule applies."""

    def __init__(self) -> None:
        self._rules: list[_FrameRule] = []
        self._muted: dict[str, None] = {}
        self._swapped: dict[str, SentFrame] = {}
        self._held: list[tuple[int, int, SentFrame]] = []  # a heap: due, sequence number, frame
        self._number = 0

    def drop(self, stream: str, count: int = 1) -> None:
        """Drop the next frames."""
        self._add(_FrameRule("drop", stream, count))

    def duplicate(self, stream: str, count: int = 1) -> None:
        """Send each of the next frames twice."""
        self._add(_FrameRule("duplicate", stream, count))

    def swap(self, stream: str, count: int = 1) -> None:
        """Send the next frame after the one that follows it on its stream, `count` times."""
        self._add(_FrameRule("swap", stream, count))

    def delay(self, stream: str, by_ms: int, count: int = 1) -> None:
        """Send the next frames later, by the exchange's clock; the frames after them overtake."""
        self._add(_FrameRule("delay", stream, count, by_ms=by_ms))

    def edit(self, stream: str, edit: Edit, count: int = 1) -> None:
        """Pass the next frames through a function that may alter the object or return text to send in its place."""
        self._add(_FrameRule("edit", stream, count, edit=edit))

    def corrupt(self, stream: str, field_kind: str = QUANTITY, count: int = 1) -> None:
        """Make one number in each of the next frames slightly too large; of a diff, one in its first level."""
        self.edit(stream, lambda data: _corrupt_payload(data, field_kind), count)

    def mute(self, *streams: str) -> None:
        """Send nothing on these streams; connections and pings continue."""
        self._muted.update(dict.fromkeys(streams))

    def unmute(self, *streams: str) -> None:
        """Unmute exactly these names and patterns; all, without arguments."""
        for stream in streams or tuple(self._muted):
            self._muted.pop(stream, None)

    def is_muted(self, stream: str) -> bool:
        """Return whether this name or pattern is muted."""
        return stream in self._muted

    def clear(self) -> None:
        """Remove every rule and every held frame."""
        for state in (self._rules, self._muted, self._swapped, self._held):
            state.clear()

    def apply(self, events: Iterable[StreamEvent], now_ms: int) -> list[SentFrame]:
        """Return the frames to send up to a time, in order. Call it without events too: delayed frames come due."""
        if not (self._rules or self._muted or self._swapped or self._held):
            return [SentFrame(*event) for event in events]
        sent: list[tuple[int, SentFrame]] = []
        for event in events:
            sent.extend((event.at_ms, frame) for frame in self._apply_one(SentFrame(*event)))
        while self._held and (self._held[0][0] <= now_ms or len(self._held) > HELD_MAX):
            due_ms, _, frame = heappop(self._held)
            sent.append((due_ms, frame))
        sent.sort(key=lambda timed: timed[0])
        return [frame for _, frame in sent]

    def _add(self, rule: _FrameRule) -> None:
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"expected at most {RULES_MAX} pending rules, got one more")
        self._rules.append(rule)

    def _apply_one(self, frame: SentFrame) -> list[SentFrame]:
        if any(fnmatchcase(frame.stream, muted) for muted in self._muted):
            return []
        swapped = self._swapped.pop(frame.stream, None)
        if swapped is not None:
            return [frame, swapped]
        rule = next((rule for rule in self._rules if fnmatchcase(frame.stream, rule.stream)), None)
        if rule is None:
            return [frame]
        rule.count -= 1
        if rule.count <= 0:
            self._rules.remove(rule)
        return self._apply_rule(rule, frame)

    def _apply_rule(self, rule: _FrameRule, frame: SentFrame) -> list[SentFrame]:
        if rule.kind == "duplicate":
            return [frame, frame]
        if rule.kind == "swap":
            self._swapped[frame.stream] = frame
        elif rule.kind == "delay":
            self._number += 1
            heappush(self._held, (frame.at_ms + rule.by_ms, self._number, frame))
        elif rule.edit is not None and isinstance(frame.data, dict):
            return [frame._replace(data=rule.edit(dict(frame.data)))]
        return []


@dataclass(slots=True)
class RestFault:
    """What one request gets in place of its correct answer, or before it."""

    path: str
    count: int
    status: int = 0  # 0: the correct answer
    body: bytes | None = None  # None: the exchange's own body for that status
    content_type: str = "application/json"
    retry_after_s: int | None = None
    hang_s: float = 0.0  # waited first
    edit: Callable[[Any], Any] | None = None  # applied to the JSON of the correct answer


class RestFaults:
    """Faults of REST paths; a path is exact or a pattern (`/api/*`). Only the oldest matching rule applies."""

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
        """Answer correctly, but late (real seconds)."""
        self._rules.append(RestFault(path, count, hang_s=seconds))

    def edit(self, path: str, edit: Callable[[Any], Any], count: int = FOREVER) -> None:
        """Pass the JSON of the correct answer through a function."""
        self._rules.append(RestFault(path, count, edit=edit))

    def clear(self) -> None:
        """Answer correctly again."""
        self._rules.clear()

    def next_for(self, path: str) -> RestFault | None:
        """Return the fault for a request that just came, None when it is answered correctly."""
        rule = next((rule for rule in self._rules if fnmatchcase(path, rule.path)), None)
        if rule is not None:
            rule.count -= 1
            if rule.count <= 0:
                self._rules.remove(rule)
        return rule


@dataclass(slots=True)
class Faults:
    """Every fault of one simulated exchange; all off by default, and each may be set at any time."""

    frames: FrameFaults = field(default_factory=FrameFaults)
    rest: RestFaults = field(default_factory=RestFaults)
    depth_lag_ms: int = 0  # depth snapshots are this old
    refuse_sockets: int | None = None  # new stream sockets get this HTTP status; 0: their connection is reset
    half_open: bool = False  # open sockets send nothing, not even pongs, and never close
    nested_errors: bool = False  # control errors under an `error` key, as some of the exchange's servers send them

    def clear(self) -> None:
        """Switch every fault off."""
        self.frames.clear()
        self.rest.clear()
        self.depth_lag_ms, self.refuse_sockets = 0, None
        self.half_open = self.nested_errors = False


def cross_depth(body: JsonObject) -> JsonObject:
    """Return a snapshot whose best bid is above its best ask; for use with `RestFaults.edit`."""
    bids, asks = body["bids"], body["asks"]
    return body | {"bids": [[asks[0][0], bids[0][1]], *bids[1:]], "asks": [[bids[0][0], asks[0][1]], *asks[1:]]}


def _corrupt_payload(data: JsonObject, field_kind: str) -> JsonObject:
    index = 0 if field_kind == PRICE else 1
    for side in ("b", "a", "bids", "asks"):
        if data.get(side) and isinstance(data[side], list):
            levels = [list(level) for level in data[side]]
            levels[0][index] = _corrupt_number(levels[0][index])
            return data | {side: levels}
    if isinstance(data.get("k"), dict):
        return data | {"k": _corrupt_payload(data["k"], field_kind)}
    key = next((key for key in _KEYS[field_kind] if isinstance(data.get(key), str)), None)
    return data | {key: _corrupt_number(data[key])} if key is not None else data


def _corrupt_number(text: str) -> str:
    """Return a number larger by one percent, or by one in its last digit if that is more; 1 in place of 0."""
    whole, _, decimals = text.partition(".")
    units = int(whole + decimals.ljust(8, "0"))
    step = 1
    while units and units % (step * 10) == 0:
        step *= 10
    return decimal_text(units + max(step, units // 100 // step * step) if units else E8)
