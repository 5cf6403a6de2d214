"""Run Autobahn's own cases against the real server with an echo app: `python -m tests.autobahn PYTHON27`.

The suite runs on CPython 2.7 alone, so it is not part of the tests; tests/server/test_conformance.py covers the same
cases. PYTHON27 is the interpreter of an environment with `pip install autobahntestsuite`. The input limits are lifted,
because the cases send up to 16 MiB: all limits are tested elsewhere.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pulse.server import connection, hypercorn_patches, listener
from pulse.server.listener import open_listener, serve
from pulse.server.loop import loop_factory
from tests.server.test_conformance import echo

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
"""Outcomes that count as passed. UNIMPLEMENTED: cases of an extension parameter that we decline, as a server may."""
ALL_CASES = ("*",)
UNLIMITED = 2**40
MESSAGE_BYTES_MAX = 64 * 2**20
RUN = "from autobahntestsuite.wstest import run; run()"


def lift_limits() -> None:
    """Lift the input limits of this process."""
    connection.HTTP_INPUT_BURST_BYTES = connection.HTTP_INPUT_BYTES_S = UNLIMITED
    connection.WEBSOCKET_INPUT_BURST_BYTES = connection.WEBSOCKET_INPUT_BYTES_S = UNLIMITED
    for module in (hypercorn_patches, listener):
        vars(module)["MESSAGE_BYTES_MAX"] = MESSAGE_BYTES_MAX


async def run_cases(python27: str, cases: Sequence[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Return the outcome of each case. Raises RuntimeError if the suite wrote no report."""
    server_socket, stop = open_listener("127.0.0.1", 0), asyncio.Event()
    url = f"ws://127.0.0.1:{server_socket.getsockname()[1]}"
    spec = {"outdir": str(folder), "servers": [{"agent": "pulse", "url": url}], "cases": list(cases)}
    (folder / "spec.json").write_text(json.dumps(spec))
    serving = asyncio.create_task(serve(echo, server_socket, stop, lambda: None, clients_max=100))
    suite = await asyncio.create_subprocess_exec(
        python27, "-c", RUN, "-m", "fuzzingclient", "-s", str(folder / "spec.json")
    )
    await suite.wait()
    stop.set()
    await serving
    report = folder / "index.json"
    if not report.exists():
        raise RuntimeError(f"the suite wrote no report: is autobahntestsuite installed for {python27}?")
    found: dict[str, dict[str, Any]] = json.loads(report.read_text())["pulse"]
    return found


def main() -> int:
    """Run the cases, print their outcomes, and return the exit code: 0 if all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__)
    parser.add_argument("python27")
    parser.add_argument("--cases", nargs="+", default=ALL_CASES, metavar="CASE", help="such as 1.* 2.*; by default all")
    options = parser.parse_args()
    lift_limits()
    with (
        tempfile.TemporaryDirectory(prefix="pulse-autobahn-") as folder,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        found = runner.run(run_cases(options.python27, options.cases, Path(folder)))
    failed = [case for case, outcome in found.items() if not {outcome["behavior"], outcome["behaviorClose"]} <= PASSED]
    tally = Counter(outcome["behavior"] for outcome in found.values())
    summary = [f"{len(found)} cases", *(f"{count} {name.lower()}" for name, count in tally.most_common())]
    sys.stdout.write(f"{', '.join(summary)}; not passed: {', '.join(failed) or 'none'}\n")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
