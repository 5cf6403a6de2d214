"""Tools for tasks and clients that share one loop and one server: work in chunks, retries, fair shares, rate limits."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

CHUNK_ITEMS = 25
"""Items handled between two turns of the loop: 0.2 ms of converting candles, so that a view that waits for several
turns, each with the chunks of several requests, is not noticeably late."""
TURNS_OF_A_VIEW = 6
"""Turns of the loop from the exchange's bytes to the viewers': read, sequencer, engine, relay, fan-out, flush."""


async def give_way() -> None:
    """Let whatever is on its way through the process pass before the next piece of a long work.

    After one turn alone, each of the turns that a view takes would have a piece in it.
    """
    for _ in range(TURNS_OF_A_VIEW):
        await asyncio.sleep(0)


async def map_in_chunks(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `function` of each item, in order. Other tasks run after every CHUNK_ITEMS items."""
    results: list[B] = []
    for start in range(0, len(items), CHUNK_ITEMS):
        results += map(function, items[start : start + CHUNK_ITEMS])
        await give_way()
    return results


class RetryGate:
    """Shared retry gate: caps the joint retry rate and wakes all waiters on the first success.

    Every task that waits for the same server waits here; `spacing_s` is about the time between two retries of them all.
    """

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._waiting = 0
        self._success = asyncio.Event()

    async def wait(self, max_s: float, *, is_capped: bool = True) -> None:
        """Wait before the next retry: `max_s` at most, less while few tasks wait, and only until the next success.

        With `is_capped` false few waiting tasks do not shorten the wait.
        """
        self._waiting += 1
        success = self._success
        try:
            async with asyncio.timeout(min(max_s, self._spacing_s * self._waiting) if is_capped else max_s):
                await success.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def succeeded(self) -> None:
        """Wake all waiters: the server has answered one of the tasks."""
        if self._waiting:
            self._success.set()
            self._success = asyncio.Event()


def backoff_delays(first_s: float, max_s: float, rng: random.Random) -> Iterator[float]:
    """Yield ever longer delays in seconds, each drawn evenly from [half, all] of a bound that doubles up to `max_s`.

    The jitter keeps many clients of one server, which were cut at the same moment, from coming back together.
    """
    bound_s = first_s
    while True:
        yield rng.uniform(bound_s / 2, bound_s)
        bound_s = min(bound_s * 2, max_s)


class Limit(Enum):
    """Which limit of a `FairShare` is reached."""

    ALL = "all"
    ADDRESS = "address"


class FairShare:
    """Counts what is in use of a bounded thing: at most `total` in all, and at most `per_address_max` by one address.

    An address is any text that stands for one, such as `server.addresses.address_key`. One that uses nothing takes no
    memory.
    """

    def __init__(self, total: int, per_address_max: int) -> None:
        self._total = total
        self._per_address_max = per_address_max
        self._by_address: Counter[str] = Counter()
        self.count = 0

    def limit_reached(self, address: str, wanted: int = 1) -> Limit | None:
        """Return the limit beyond which `wanted` more of this address would be; None if it may have them."""
        if self.count + wanted > self._total:
            return Limit.ALL
        return Limit.ADDRESS if self._by_address[address] + wanted > self._per_address_max else None

    def enter(self, address: str, count: int = 1) -> None:
        """Count so many more."""
        self.count += count
        if count:
            self._by_address[address] += count

    def leave(self, address: str, count: int = 1) -> None:
        """Count so many less."""
        self.count -= count
        self._by_address[address] -= count
        if not self._by_address[address]:
            del self._by_address[address]


ROUNDING_S = 1e-6
"""Rounding error of sums of seconds; without this tolerance the last request of a burst would often be refused."""


class RateLimiter:
    """Rate limit per key: `per_s` requests a second in the long run, and `burst` at once after a pause.

    A token bucket in the form of the generic cell rate algorithm (GCRA, ITU-T I.371): the only state of a key is the
    time at which its bucket is full again. Beyond `keys_max` keys the least recently served are evicted.
    """

    def __init__(self, per_s: float, burst: int, keys_max: int) -> None:
        self._interval_s = 1 / per_s
        self._burst_s = burst / per_s
        self._keys_max = keys_max
        self._full_at_s: dict[str, float] = {}  # least recently served first

    def acquire(self, key: str, now_s: float) -> float:
        """Count one request and return 0, or count nothing and return the seconds until the next one is allowed."""
        full_at_s = max(self._full_at_s.get(key, now_s), now_s) + self._interval_s
        wait_s = full_at_s - now_s - self._burst_s
        if wait_s > ROUNDING_S:
            return wait_s
        self._keep(key, full_at_s)
        return 0.0

    def charge(self, key: str, requests: float, now_s: float) -> None:
        """Count work that was done as so many requests more; the key waits for them before its next one."""
        self._keep(key, max(self._full_at_s.get(key, now_s), now_s) + requests * self._interval_s)

    def _keep(self, key: str, full_at_s: float) -> None:
        self._full_at_s.pop(key, None)
        self._full_at_s[key] = full_at_s
        if len(self._full_at_s) > self._keys_max:
            del self._full_at_s[next(iter(self._full_at_s))]


class WorkShare:
    """Keeps work that is repeated for several keys within `share` of the time: each key waits longer if all cost more.

    A key's work is taken to cost what it did last time. None waits longer than `wait_max_s`.
    """

    def __init__(self, share: float, wait_max_s: float) -> None:
        self._share = share
        self._wait_max_s = wait_max_s
        self._costs_s: dict[str, float] = {}
        self._due_s: dict[str, float] = {}

    def is_due(self, key: str, now_s: float) -> bool:
        """Return whether a key's work may be done now."""
        return now_s >= self._due_s.get(key, now_s)

    def done(self, key: str, began_s: float, ended_s: float) -> None:
        """Note how long a key's work took."""
        self._costs_s[key] = ended_s - began_s
        self._due_s[key] = began_s + min(sum(self._costs_s.values()) / self._share, self._wait_max_s)

    def discard(self, key: str) -> None:
        """Forget a key, whose work is no longer wanted."""
        self._costs_s.pop(key, None)
        self._due_s.pop(key, None)


PAUSE_MAX_S = 1.0
"""The longest rest: work that took longer has mostly waited for something itself."""


class DutyCycle:
    """Work of many that takes turns, and all together at most `share` of the time: the loop is there for others."""

    def __init__(self, share: float) -> None:
        self._pause_per_work = 1 / share - 1
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn, work in this block, and rest; the longer the work took, the longer."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            began_s = loop.time()
            yield
            await asyncio.sleep(min((loop.time() - began_s) * self._pause_per_work, PAUSE_MAX_S))
