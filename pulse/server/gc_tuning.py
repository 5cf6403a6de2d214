"""Garbage collection tuned for many clients: objects that survived a full collection are frozen, not scanned again.

CPython's collector finds reference cycles by scanning every object. With 3,000 clients that is 600,000 objects and a
pause of 0.4 s, every 20 s while clients connect and disconnect (CPython 3.11). Right after a full collection nothing
left is garbage, so all of it is frozen then, and the next collection scans only what was created since.

Frozen objects are still freed by reference counting, as almost all Python objects are. Only a cycle that was frozen
and became garbage later stays, until the full gc every FULL_GC_INTERVAL_S. Therefore the objects of a client must not
form cycles once it has disconnected: tests/server/test_gc_tuning.py proves it.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger(__name__)

FULL_GC_INTERVAL_S = 3600.0
"""How often everything is scanned, frozen objects too: this is the long pause."""
THRESHOLDS = (700, 5, 3)
"""Arguments of gc.set_threshold: allocations before generation 0 is collected, its collections before generation 1 is,
and that one's before generation 2 is."""
OLDEST_GENERATION = 2


@contextmanager
def frozen_gc() -> Iterator[None]:
    """Freeze the survivors of each full collection within this block, beginning with all objects that exist now."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(_freeze_survivors)
    gc.collect()
    try:
        yield
    finally:
        gc.callbacks.remove(_freeze_survivors)
        gc.set_threshold(*before)
        gc.unfreeze()


async def collect_full_periodically() -> None:
    """Collect frozen cycles too, every FULL_GC_INTERVAL_S, until cancelled."""
    while True:
        await asyncio.sleep(FULL_GC_INTERVAL_S)
        started_s = time.perf_counter()
        gc.unfreeze()
        collected = gc.collect()
        log.info("full gc collected=%s took_s=%.3f", collected, time.perf_counter() - started_s)


def _freeze_survivors(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] == OLDEST_GENERATION:
        gc.freeze()
