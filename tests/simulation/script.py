"""When what goes wrong: faults of some kinds at random times, from the first connection to the end of a run.

Every play is framed by `bounds`, so that the judge knows what is excused.
"""

import asyncio
from typing import Any

from tests.simulation.plays import PLAYS
from tests.simulation.stage import POLL_S, Stage

KINDS = tuple(PLAYS)
FIRST_S = 90.0
PAUSE_S = 240.0
"""The mean time between faults, where nothing else is said."""
ROUNDING_S = 1e-6
"""What rounding leaves of a wait may be too short for the clock to pass it."""
TAIL_S = 120.0
"""The end of a run in which nothing new goes wrong."""
AFTERMATH_S = 480.0
"""After a run, its last fault and any ban: by then everything that is stored must be right."""


class Script:
    """Plays faults of some kinds at random times."""

    def __init__(self, stage: Stage, kinds: tuple[str, ...], length_s: float, pause_s: float) -> None:
        self._stage = stage
        self._kinds = kinds
        self._length_s = length_s
        self._pause_s = pause_s
        self.played = 0

    async def play(self) -> None:
        """From the first connection to the end."""
        stage = self._stage
        stage.process = stage.make_process()
        stage.bounds.begin("start", 0.0)
        stage.bounds.end("start", 0.0)
        stage.process.start()
        plays = asyncio.create_task(self._faults())
        try:
            await self._until(self._length_s, plays)
            await plays
            ban_s = stage.world.silent_until_s - asyncio.get_running_loop().time()
            await self._until(stage.checker.now_s + max(0.0, ban_s) + AFTERMATH_S, plays)
            await stage.process.check_table()
        finally:
            plays.cancel()
            stage.rotations += stage.process.rotations
            await stage.process.stop()

    async def _until(self, end_s: float, plays: asyncio.Task[None]) -> None:
        """Wait for this time, or for anything to fail, a callback of the loop included."""
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()

        def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if not broken.done():
                broken.set_exception(context.get("exception") or RuntimeError(context["message"]))

        loop.set_exception_handler(note)
        while (left_s := end_s - self._stage.checker.now_s) > ROUNDING_S:
            process = self._stage.process
            if process.is_stopped:
                await asyncio.sleep(POLL_S)
                continue
            fault = asyncio.create_task(process.fault())
            done, _ = await asyncio.wait(
                {fault, broken} | ({plays} if not plays.done() else set()),
                timeout=left_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            fault.cancel()
            if self._stage.checker.violation is not None:
                raise self._stage.checker.violation
            for task in done:
                task.result()

    async def _faults(self) -> None:
        if not self._kinds:
            return
        rng, checker = self._stage.rng, self._stage.checker
        async with asyncio.TaskGroup() as plays:
            wait_s = FIRST_S * rng.uniform(0.3, 1.0)
            while checker.now_s + wait_s < self._length_s - TAIL_S:
                await asyncio.sleep(wait_s)
                plays.create_task(self._one(rng.choice(self._kinds)))
                wait_s = rng.expovariate(1 / self._pause_s)

    async def _one(self, kind: str) -> None:
        stage = self._stage
        self.played += 1
        stage.bounds.begin(kind, stage.checker.now_s)
        await PLAYS[kind](stage)
        stage.bounds.end(kind, stage.checker.now_s)
