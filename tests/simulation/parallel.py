"""Many runs shared among processes. A failed run is a result too, with the command that repeats it."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.simulation.run import Outcome, Plan, simulate


@dataclass(frozen=True)
class Failure:
    """A run that failed."""

    plan: Plan
    reason: str

    @property
    def command(self) -> str:
        """The command line that repeats it."""
        plan = self.plan
        faults = "" if plan.kinds is None else f" --faults {' '.join(plan.kinds)}"
        return f"python -m tests.simulation --seeds 1 --first {plan.seed} --hours {plan.hours:g}{faults}"


def run_all(plans: Sequence[Plan], processes: int) -> Iterator[Outcome | Failure]:
    """Yield every plan's result, in the order of the plans."""
    if processes <= 1 or len(plans) <= 1:
        yield from map(result_of, plans)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(result_of, plans)


def result_of(plan: Plan) -> Outcome | Failure:
    """Run one plan; any exception, errors of the code under test included, becomes a Failure."""
    try:
        return simulate(plan)
    except Exception as fault:  # noqa: BLE001  # any error at all is what this looks for
        return Failure(plan, f"{type(fault).__name__}: {fault}"[:1000])
