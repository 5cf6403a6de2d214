"""An event loop in virtual time: instead of waiting for its next timer it advances its clock to it.

Hours pass in seconds, and nothing depends on the machine's speed. A loop that would wait for ever is a deadlock and
raises; one that turns without time passing is a livelock and raises too.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pulse.clock import Uptime

T = TypeVar("T")

BEGIN_S = 5000.0
"""The start of the clock: not 0, which code might take for "never"."""
TURNS_MAX = 50_000
"""Turns of the loop without time passing that still count as work and not as a livelock."""


class Stuck(Exception):
    """A deadlock or a livelock: nothing is scheduled any more, or time does not advance."""


class _Selector(selectors.SelectSelector):
    """A selector that looks at no socket: waiting advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = BEGIN_S
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("deadlock: everything waits and nothing is scheduled")
        self._turns = 0 if timeout > 0 else self._turns + 1
        if self._turns > TURNS_MAX:
            raise Stuck("livelock: the loop turns and time stands still")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time` is virtual, in seconds from BEGIN_S."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual clock."""
        return self._virtual.now_s

    def work(self, seconds: float) -> None:
        """Let time pass as work does that keeps the loop from turning."""
        self._virtual.now_s += seconds


class VirtualClock:
    """The clocks of one machine; `jump_s` is the error of its date.

    The machine itself is never started again: its monotonic clock and its uptime go on while a process is restarted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms
        self.jump_s = 0.0

    def now_ms(self) -> float:
        """Return virtual milliseconds, unaffected by `jump_s`."""
        return self._loop.time() * 1000

    def uptime(self) -> Uptime:
        """Return the machine's uptime, unaffected by `jump_s`."""
        return Uptime("the only one", self._loop.time())

    def true_ms(self) -> float:
        """Return the correct milliseconds since the epoch: the exchange's clock."""
        return self._start_ms + (self._loop.time() - BEGIN_S) * 1000

    def wall_s(self) -> float:
        """Return seconds since the epoch by the machine's own date."""
        return self.true_ms() / 1000 + self.jump_s


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())
