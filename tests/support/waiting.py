"""How tests wait for what other tasks, processes and servers do, and the bound of every such wait.

The bound keeps a test that fails from hanging. It promises nothing about speed: tests assert times under virtual time
(`virtual_time`), and real ones are measured by the benchmarks.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

WAIT_S = 30.0
POLL_S = 0.005


async def until(condition: Callable[[], bool | Awaitable[bool]], poll_s: float = POLL_S) -> None:
    """Wait until the condition holds. Raises TimeoutError after WAIT_S."""
    async with asyncio.timeout(WAIT_S):
        while not await _holds(condition):
            await asyncio.sleep(poll_s)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return await answer if inspect.isawaitable(answer) else answer
