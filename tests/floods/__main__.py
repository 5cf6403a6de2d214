"""The long runs from the command line: `python -m tests.floods flood --minutes 60`, `python -m tests.floods sockets`.

The exit status is 1 where something was not as it must be, the ratio of the viewers' 99th percentiles included.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.floods.run import KINDS, PAUSE_S, RATIO_MAX, floods, sockets


def main(arguments: list[str]) -> int:
    """Run, print what was seen, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.floods", description=__doc__)
    runs = parser.add_subparsers(dest="run", required=True)
    flood = runs.add_parser("flood", help="floods by one client, in spells between quiet ones")
    flood.add_argument("--minutes", type=float, default=10.0)
    flood.add_argument("--spell-s", type=float, default=15.0)
    flood.add_argument("--rate", type=float, default=20.0, help="acts of each kind in a second")
    flood.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    many = runs.add_parser("sockets", help="many sockets from a few addresses")
    many.add_argument("--count", type=int, default=10_000)
    many.add_argument("--addresses", type=int, default=4)
    many.add_argument("--per-s", type=float, default=500.0)
    many.add_argument("--hold-s", type=float, default=15.0)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pulse-floods-") as folder:
        if chosen.run == "flood":
            spells = max(1, round(chosen.minutes * 60 / (2 * chosen.spell_s + 2 * PAUSE_S)))
            report = asyncio.run(
                floods(Path(folder), spells=spells, spell_s=chosen.spell_s, rate=chosen.rate, kinds=chosen.kinds)
            )
            ratio = report.figures.get("ratio", float("inf"))
            report.expect(
                ratio <= RATIO_MAX, f"the viewers' 99th percentile beside floods is {ratio:.2f} times as long"
            )
        else:
            report = asyncio.run(
                sockets(
                    Path(folder), count=chosen.count, addresses=chosen.addresses, per_s=chosen.per_s,
                    hold_s=chosen.hold_s,
                )
            )  # fmt: skip
    sys.stdout.write(json.dumps(report.figures, indent=1) + "\n")
    sys.stdout.writelines(f"FAULT: {fault}\n" for fault in report.faults)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
