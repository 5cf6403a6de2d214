"""The collector's pauses, kept off the hot path: what has survived a full collection is not looked at again.

Python's collector finds what only holds itself in a circle, by looking at everything there is. With 3,000 clients that
is 600,000 objects and a pause of 0.4 s, every 20 s while clients come and go (CPython 3.11). Right after a full
collection nothing that is left is garbage, so all of it is frozen then, and the next one looks at what came since.

What is frozen still goes when nothing refers to it any more, as almost all Python objects do. Only a circle that was
frozen whole and let go later stays, until everything is looked at once, every LOOK_EVERYWHERE_S. That is why what
belongs to a client has its circles cut when the client goes: tests/server/test_gc_tuning.py sees to it.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

log = logging.getLogger(__name__)

FULL_COLLECTION_EVERY_S = 3600.0
"""How often the pause is taken."""
THRESHOLDS = (700, 5, 3)
"""When the collector looks at the youngest, after how many such times at the younger, and then at the rest."""
OLDEST = 2


@contextmanager
def frozen_gc() -> Iterator[None]:
    """Have it so within this block, beginning with all there is now."""
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
    """Find for ever what was frozen before it was garbage, at long intervals."""
    while True:
        await asyncio.sleep(FULL_COLLECTION_EVERY_S)
        started_s = time.perf_counter()
        gc.unfreeze()
        found = gc.collect()
        log.info("looked for garbage everywhere found=%s took_s=%.3f", found, time.perf_counter() - started_s)


def _freeze_survivors(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] == OLDEST:
        gc.freeze()
