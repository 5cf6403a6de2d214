"""The command line: which rows, how long, and where the table is written. `python -m bench --help`."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import crowd, engine, fanout, footprint, latency, many, past, scale, watch
from bench.context import Context
from bench.docs import with_table
from bench.machine import describe
from bench.processes import ROOT, BenchError
from bench.rows import Outcome, Reading, Row
from bench.table import figure, render

ROWS: tuple[Row, ...] = tuple(
    row for part in (fanout, latency, engine, watch, scale, footprint, many, past, crowd) for row in part.ROWS
)
EXIT_TERMINATED = 128 + signal.SIGTERM
RESULTS = ROOT / "docs" / "benchmarks.md"
FULL_REPEATS, QUICK_REPEATS = 5, 1
IDLE_LOAD = 0.5
"""A load average above this, before anything was started, means other work on the same cores."""
CROWD_MINUTES, QUICK_CROWD_MINUTES = 20.0, 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it into the documentation if asked to; return 1 when a budget is not met."""
    options = _parser().parse_args(arguments)
    # SIGTERM must also end the programs started by the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))
    chosen = [row for row in ROWS if not options.only or row.name in options.only]
    repeats = options.repeats or (QUICK_REPEATS if options.quick else FULL_REPEATS)
    headline = _headline(repeats, options.quick, os.getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="pulse-bench-") as folder:
        context = Context(
            Path(folder), options.quick, options.recordings,
            options.crowd_minutes or (QUICK_CROWD_MINUTES if options.quick else CROWD_MINUTES), _log,
        )  # fmt: skip
        outcomes = _measure(chosen, context, repeats)
    table = render(outcomes, describe(), headline)
    print(table)
    if options.write_docs:
        RESULTS.write_text(with_table(RESULTS.read_text(), table))
    return 1 if any(outcome.is_met() is False for outcome in outcomes) else 0


def _measure(rows: Sequence[Row], context: Context, repeats: int) -> list[Outcome]:
    """Measure every row in each repeat, so that all contenders run under the same conditions."""
    readings: dict[str, list[Reading]] = {row.name: [] for row in rows}
    failures: dict[str, str] = {}
    for repeat in range(repeats):
        context.forget()
        for row in rows:
            if row.name in failures or (row.is_long and repeat):
                continue
            _log(f"repeat {repeat + 1} of {repeats}: {row.what}")
            try:
                reading = row.measure(context)
                readings[row.name].append(reading)
                _log(f"{row.name}: {', '.join(f'{name} {figure(value)}' for name, value in reading.values.items())}")
            except (BenchError, OSError) as fault:  # a failed row does not end the run
                failures[row.name] = str(fault)
                _log(f"{row.name}: {fault}")
    return [Outcome(row, tuple(readings[row.name]), failures.get(row.name, "")) for row in rows]


def _headline(repeats: int, is_quick: bool, load_before: float) -> str:
    kind = "a short run" if is_quick else "one run"
    times = "once" if repeats == 1 else f"{repeats} times, the median, and in brackets the lowest and the highest"
    busy = f", on a machine with other work (load {load_before:.1f} before)" if load_before > IDLE_LOAD else ""
    return f"{datetime.now(UTC):%Y-%m-%d}, {kind}{busy}, each row {times}"


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure every budget of the terminal against its baseline. Needs an idle machine with two cores.",
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="short windows, one repeat: to check that it works")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], metavar="ROW",
                        help=f"only this row; may be repeated: {', '.join(row.name for row in ROWS)}")  # fmt: skip
    parser.add_argument(
        "--repeats", type=int, metavar="N", help=f"default {FULL_REPEATS}, with --quick {QUICK_REPEATS}"
    )
    parser.add_argument("--crowd-minutes", type=float, metavar="N", help=f"default {CROWD_MINUTES:g}")
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", default=_recordings(),
                        help="recorded sessions; without them the simulator is used")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    return parser


def _recordings() -> Path:
    """Return the folder of recordings, the same one that the tests use."""
    given = os.environ.get("PULSE_TEST_RECORDINGS")
    return Path(given) if given else ROOT.parent / "shared" / "recordings"


if __name__ == "__main__":
    sys.exit(main())
