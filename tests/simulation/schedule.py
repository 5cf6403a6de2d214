"""The fault schedule: faults of some kinds at random times, from the first connection to the end of a run.

Each fault is reported to `bounds` at its start and end, so that the checker knows what is excused.
"""

import asyncio
from typing import Any

from tests.simulation.context import POLL_S, FaultContext
from tests.simulation.faults import FAULTS

KINDS = tuple(FAULTS)
FIRST_S = 90.0
PAUSE_S = 240.0
"""The mean time between faults by default."""
ROUNDING_S = 1e-6
"""A remaining wait this short comes from rounding: it is too short for the clock to advance."""
TAIL_S = 120.0
"""The time at the end of a run without new faults."""
SETTLE_S = 480.0
"""The time after a run, its last fault and any ban by which everything stored must be exact."""


class FaultSchedule:
    """Injects faults of some kinds at random times."""

    def __init__(self, context: FaultContext, kinds: tuple[str, ...], length_s: float, pause_s: float) -> None:
        self._context = context
        self._kinds = kinds
        self._length_s = length_s
        self._pause_s = pause_s
        self.injected = 0

    async def run(self) -> None:
        """Run from the first connection to the end."""
        context = self._context
        context.process = context.make_process()
        context.bounds.begin("start", 0.0)
        context.bounds.end("start", 0.0)
        context.process.start()
        faults = asyncio.create_task(self._faults())
        try:
            await self._until(self._length_s, faults)
            await faults
            refused_until_s = max(context.exchange.banned_until_s, context.exchange.forbidden_until_s)
            ban_s = refused_until_s - asyncio.get_running_loop().time()
            await self._until(context.checker.now_s + max(0.0, ban_s) + SETTLE_S, faults)
            await context.process.check_table()
        finally:
            faults.cancel()
            context.rotations += context.process.rotations
            await context.process.stop()

    async def _until(self, end_s: float, faults: asyncio.Task[None]) -> None:
        """Wait until this time, or raise as soon as anything fails, a callback of the loop included."""
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()

        def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not broken.done():
                broken.set_exception(context.get("exception") or RuntimeError(context["message"]))

        loop.set_exception_handler(note)
        while (left_s := end_s - self._context.checker.now_s) > ROUNDING_S:
            process = self._context.process
            if process.is_stopped:
                await asyncio.sleep(POLL_S)
                continue
            fault = asyncio.create_task(process.fault())
            done, _ = await asyncio.wait(
                {fault, broken} | ({faults} if not faults.done() else set()),
                timeout=left_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            fault.cancel()
            if self._context.checker.violation is not None:
                raise self._context.checker.violation
            for task in done:
                task.result()

    async def _faults(self) -> None:
        if not self._kinds:
            return
        rng, checker = self._context.rng, self._context.checker
        async with asyncio.TaskGroup() as faults:
            wait_s = FIRST_S * rng.uniform(0.3, 1.0)
            while checker.now_s + wait_s < self._length_s - TAIL_S:
                await asyncio.sleep(wait_s)
                faults.create_task(self._one(rng.choice(self._kinds)))
                wait_s = rng.expovariate(1 / self._pause_s)

    async def _one(self, kind: str) -> None:
        context = self._context
        self.injected += 1
        context.bounds.begin(kind, context.checker.now_s)
        await FAULTS[kind](context)
        context.bounds.end(kind, context.checker.now_s)
