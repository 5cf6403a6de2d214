"""One run: a virtual exchange, the process under test, a fault schedule and the checker. A seed decides everything.

Tests and the command line call `simulate`, which returns an outcome or raises the checker's Violation.
"""

import asyncio
import logging
import random
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pulse.ingest.rotation import OVERLAP_MAX_S
from tests.simulation import loop
from tests.simulation.bounds import Bounds
from tests.simulation.checker import Checker, Tally
from tests.simulation.context import FaultContext
from tests.simulation.loop import VirtualClock
from tests.simulation.process import Process, Settings
from tests.simulation.schedule import KINDS, PAUSE_S, FaultSchedule
from tests.simulation.virtual_exchange import START_MS, VirtualExchange


@dataclass(frozen=True)
class Plan:
    """The parameters of a run. Without `kinds` the seed draws a subset of the faults; () is a run without faults."""

    seed: int
    hours: float = 1.0
    kinds: tuple[str, ...] | None = None
    symbols: tuple[str, ...] = ("LTCUSDT",)
    settings: Settings | None = None
    pause_s: float = PAUSE_S
    clock_error_s: float | None = None
    """The error of the machine's date from the start; where it and `kinds` are None the seed draws it."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    plan: Plan
    digest: str
    tally: Tally
    kinds: tuple[str, ...]
    faults: int
    rotations: int
    kills: int
    frames: int
    took_s: float


def simulate(plan: Plan) -> Outcome:
    """Run to the end, in virtual time."""
    logger = logging.getLogger("pulse")
    before = logger.level
    if before == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)  # a run logs thousands of lines
    try:
        with tempfile.TemporaryDirectory() as folder:
            return loop.run(lambda: _run(plan, Path(folder)))
    finally:
        logger.setLevel(before)


async def _run(plan: Plan, folder: Path) -> Outcome:
    began_s = time.perf_counter()
    rng = random.Random(f"{plan.seed}/plan")
    settings = plan.settings or _settings(rng)
    kinds = tuple(sorted(rng.sample(KINDS, rng.randint(1, 6)))) if plan.kinds is None else plan.kinds
    clock = VirtualClock(asyncio.get_running_loop(), START_MS)
    bounds = Bounds(settings.audit_every_s)
    checker = Checker(clock, bounds, settings.levels_max)
    exchange = VirtualExchange(clock, plan.seed, plan.symbols, settings.changes_per_s, checker.fail)
    exchange.connection_life_s = settings.rotate_after_s * 24 / 23.5 + OVERLAP_MAX_S
    checker.exchange = exchange
    if plan.clock_error_s is not None:
        clock.jump_s = plan.clock_error_s
    elif plan.kinds is None:
        _draw_dates(random.Random(f"{plan.seed}/dates"), clock, exchange)

    def make() -> Process:
        return Process(exchange, checker, clock, settings, folder, rng)

    context = FaultContext(exchange, checker, clock, bounds, rng, make)
    schedule = FaultSchedule(context, kinds, plan.hours * 3600, plan.pause_s)
    await schedule.run()
    return Outcome(
        plan, checker.digest, checker.tally, kinds, schedule.injected, context.rotations, context.kills,
        exchange.frames, time.perf_counter() - began_s,
    )  # fmt: skip


def _draw_dates(rng: random.Random, clock: VirtualClock, exchange: VirtualExchange) -> None:
    """Set the machine's clock wrong from the start, in some runs, and leave the exchange's answers without a date."""
    clock.jump_s = rng.choice([0.0, 0.0, -4.0, -200.0, 200.0, rng.uniform(-43_200, 43_200)])
    exchange.has_dates = rng.random() < 0.7


def _settings(rng: random.Random) -> Settings:
    rotate_after_s = rng.choice([23.5 * 3600, 23.5 * 3600, 1200.0, 300.0])
    return replace(
        Settings(),
        depth_limit=rng.choice([100, 100, 100, 500, 5000]),
        levels_max=rng.choice([150, 400]),
        audit_every_s=rng.choice([120.0, 600.0]),
        rotate_after_s=rotate_after_s,
        publish_interval_s=rng.choice([1.0, 1.0, 1.0, 0.1, 0.0]),
        changes_per_s=rng.choice([0.25, 0.4, 0.4, 1.2]),
    )
