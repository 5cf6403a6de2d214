"""Run many seeds from the command line: `python -m tests.simulation --seeds 1000 --hours 24`.

A failing seed does not stop the run: it is printed with the command that runs it alone, and the exit status is 1.
"""

import argparse
import sys
from collections import Counter

from tests.simulation.parallel import Failure, run_all
from tests.simulation.run import Outcome, Plan
from tests.simulation.schedule import KINDS


def main(arguments: list[str]) -> int:
    """Run the seeds; return 0 when every seed holds, 1 when any fails, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours of each")
    parser.add_argument("--processes", type=int, default=2, help="processes to share them")
    parser.add_argument("--faults", nargs="*", choices=KINDS, help="these instead of a subset that the seed draws")
    chosen = parser.parse_args(arguments)
    kinds = None if chosen.faults is None else tuple(chosen.faults)
    plans = [Plan(seed, chosen.hours, kinds) for seed in range(chosen.first, chosen.first + chosen.seeds)]
    failed, faults, compared, took_s = 0, Counter[str](), 0, 0.0
    for result in run_all(plans, chosen.processes):
        print_line(line_of(result))
        if isinstance(result, Failure):
            failed += 1
            continue
        faults.update(result.kinds)
        compared += result.tally.compared
        took_s += result.took_s
    print_line(
        f"{len(plans)} seeds, {failed} failed; books compared {compared}; {took_s:.0f} s of processes; {dict(faults)}"
    )
    return 1 if failed else 0


def line_of(result: Outcome | Failure) -> str:
    """Return one run as one line of text."""
    if isinstance(result, Failure):
        return f"seed {result.plan.seed} FAILED: {result.reason}\n  again: {result.command}"
    tally = result.tally
    return (
        f"seed {result.plan.seed} {result.digest} {result.took_s:.1f} s: {result.faults} faults of "
        f"{', '.join(result.kinds) or 'no kind'}; {tally.compared} books and {tally.rows} stored minutes compared, "
        f"{tally.outages} times not live (longest {tally.longest_outage_s:.1f} s), {result.rotations} rotations"
    )


def print_line(text: str) -> None:
    """Print one line at once, because a run may take hours."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
