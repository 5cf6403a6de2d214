"""One symbol's running recording: gathers what its market is given, and cuts it into blocks of at most 60 s.

It runs on the loop, in the engine's own calls, so it does little: it keeps references to events that exist already, and
measures and cuts once per view. Encoding, checking and writing are up to `recorder`, in a thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pulse.clock import Clock
from pulse.market.depth_sync import DIFF_BYTES, LEVEL_BYTES, BookAnchor
from pulse.market.market import Market
from pulse.market.types import DepthDiff, Levels, PartialDepth
from pulse.market.view import View
from pulse.past.block import Block, BlockMeta
from pulse.past.columns import ColumnWriter
from pulse.past.events import VIEW
from pulse.past.state import write_market

BLOCK_MS = 60_000
"""A block is no longer than this: what a killed process loses at most."""
CUT_MS = BLOCK_MS - 1_500
"""A block is cut with the first view from here on; views come at least once a second."""
BLOCK_BYTES_MAX = 8 * 2**20
"""Memory of the rows of a block, about; a busy minute has 3 MB. Beyond it the block is cut before its time."""
ROW_BYTES, EVENT_BYTES = 90, 250
"""About the memory of a row, and of a small event."""
CLOCK_STEP_MS = 1_000
"""The machine's clock was set if it is further than this from where the process's clock says."""
STARTED = "the process was started"
CLOCK_SET = "the machine's clock was set"


@dataclass(slots=True)
class Cut:
    """What one block is made of: its description, its rows, and what was shown and known at its end.

    `state` is that of the market before the first row, where it does not follow from the block before; `book` has the
    update id and the levels of both sides, None without a book. `block` is what the recorder has made of it.
    """

    recording: "Recording"
    meta: BlockMeta
    rows: list[tuple[int, object]]
    size: int  # about their memory
    state: ColumnWriter | None
    view: View | None
    book: list[Any] | None
    block: Block | None = None
    is_handled: bool = False


class Recording:
    """One symbol, from `open` to `close`. `hand_over` takes a cut, or returns why it cannot.

    `keyframe` and `keyframe_number` belong to the recorder: the state after the newest block that it has handled, and
    the number of the block that begins with it. `flaw` is set by it where no block can follow on that one.
    """

    def __init__(
        self, market: Market, venue: str, run: str, clock: Clock, hand_over: Callable[[Cut], str]
    ) -> None:  # fmt: skip
        self.market = market
        self.keyframe = b""
        self.keyframe_number = -1
        self.flaw = ""
        self.number = 0
        self.from_ms = round(clock.wall_s() * 1000)
        self.clock_ms = int(clock.now_ms())
        self.rows: list[tuple[int, object]] = []
        self._venue = venue
        self._run = run
        self._hand_over = hand_over
        self._after = STARTED
        self._state: ColumnWriter | None = _frozen(market)
        self._view: View | None = None
        self._states: list[list[Any]] = []
        self._measured = 0  # rows whose memory is counted
        self._bytes = 0
        self._incidents = market.integrity.incident_count

    def add(self, at_ms: int, event: object) -> None:
        """Note an event that the market has been given."""
        self.rows.append((at_ms, event))

    def view_made(self, at_ms: int, view: View) -> None:
        """Note a view; cut the block if it is long enough."""
        if not self.number and self._view is None:
            # A replay's clock stands still until its first event.
            self.from_ms, self.clock_ms = round(view.timestamp * 1000), at_ms
        self.rows.append((at_ms, VIEW))
        self._view = view
        self._measure()
        wall_ms = round(view.timestamp * 1000)
        if not self._states or self._states[-1][1] != view.state.value:
            self._states.append([self._wall_ms(at_ms), view.state.value, view.state_reason])
        if self.flaw:
            self._begin_anew(at_ms, wall_ms, self.flaw)
        elif abs(wall_ms - self._wall_ms(at_ms)) > CLOCK_STEP_MS:
            self._cut(at_ms, wall_ms, CLOCK_SET)
        elif at_ms - self.clock_ms >= CUT_MS or self._bytes >= BLOCK_BYTES_MAX:
            self._cut(at_ms, wall_ms, "")

    def end(self, at_ms: int, ends: str) -> None:
        """Cut the last block; `ends` is why nothing follows."""
        if not self.flaw:
            self._hand_over(self._make_cut(at_ms, ends))

    @property
    def is_readable(self) -> bool:
        """Whether the state that the running block begins with is known."""
        return self._state is not None or self.keyframe_number == self.number

    def beginning(self) -> Callable[[], bytes]:
        """Return what makes the keyframe of the running block, which must be readable: work for a thread."""
        keyframe = self.keyframe
        return self._state.finish if self._state is not None else lambda: keyframe

    def running_meta(self, at_ms: int) -> BlockMeta:
        """Return the description of the running block so far."""
        return self._meta(at_ms, "")

    def _cut(self, at_ms: int, wall_ms: int, after: str) -> None:
        reason = self._hand_over(self._make_cut(at_ms, ""))
        if reason:
            self._begin_anew(at_ms, wall_ms, reason)
        else:
            self._begin(at_ms, wall_ms, after)
            self._state = None

    def _begin_anew(self, at_ms: int, wall_ms: int, after: str) -> None:
        """Begin a block with the state of now: those before it do not lead here."""
        self.flaw = ""
        self._begin(at_ms, wall_ms, after)
        self._state = _frozen(self.market)

    def _begin(self, at_ms: int, wall_ms: int, after: str) -> None:
        self.number += 1
        self.rows = []
        self.from_ms, self.clock_ms = wall_ms, at_ms
        self._after = after
        self._view = None
        self._bytes = self._measured = 0
        self._incidents = self.market.integrity.incident_count
        newest = self._states[-1] if self._states else None
        self._states = [] if newest is None else [[wall_ms, *newest[1:]]]

    def _make_cut(self, at_ms: int, ends: str) -> Cut:
        self._measure()
        book = self.market.book
        sides = None if book is None else [book.last_update_id, book.bids.contents(), book.asks.contents()]
        return Cut(self, self._meta(at_ms, ends), self.rows, self._bytes, self._state, self._view, sides)

    def _meta(self, at_ms: int, ends: str) -> BlockMeta:
        integrity, book = self.market.integrity, self.market.book
        count = integrity.incident_count - self._incidents
        incidents = reversed(list(integrity.incidents)[:count])
        return BlockMeta(
            symbol=self.market.symbol,
            venue=self._venue,
            run=self._run,
            number=self.number,
            from_ms=self.from_ms,
            to_ms=max(self.from_ms, self._wall_ms(at_ms)),
            clock_ms=self.clock_ms,
            last_update_id=book.last_update_id if book is not None else 0,
            rows=len(self.rows),
            after=self._after,
            ends=ends,
            states=self._states,
            incidents=[[one.time_ms, one.cause, one.reason, one.update_id] for one in incidents],
            proof=asdict(integrity.view(self.market.streams.silent_checks())),
        )

    def _wall_ms(self, at_ms: int) -> int:
        return at_ms - self.clock_ms + self.from_ms

    def _measure(self) -> None:
        """Count the memory of the rows since the last call."""
        new = self.rows[self._measured :]
        self._measured = len(self.rows)
        self._bytes += ROW_BYTES * len(new) + sum([_bytes_of(event) for _, event in new if event is not VIEW])


def _frozen(market: Market) -> ColumnWriter:
    writer = ColumnWriter()
    write_market(market, writer)
    return writer


def _bytes_of(event: object) -> int:
    """Return about the memory of an event."""
    if isinstance(event, DepthDiff):
        return DIFF_BYTES + _levels_bytes(event.bids, event.asks)
    if isinstance(event, PartialDepth):
        return EVENT_BYTES + _levels_bytes(event.bids, event.asks)
    if isinstance(event, BookAnchor):
        snapshot = event.snapshot
        return EVENT_BYTES + _levels_bytes(snapshot.bids, snapshot.asks) + _sum_bytes(event.diffs)
    return EVENT_BYTES


def _sum_bytes(diffs: Sequence[DepthDiff]) -> int:
    return sum(map(_bytes_of, diffs))


def _levels_bytes(bids: Levels, asks: Levels) -> int:
    return LEVEL_BYTES * (len(bids.prices) + len(asks.prices))
