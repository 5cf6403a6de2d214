"""The simulated exchange as a program: five symbols, each at least three times as busy as BTCUSDT was one night.

That night is the recorded session of 2024-08-08, with a sell-off in it. Run as a program; prints `ready` when it
listens.
"""

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import replace

from pulse.simulator.instruments import INSTRUMENTS, SimulatedInstrument
from pulse.simulator.server import SimulatedExchange

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
TIMES = 3.0
REAL_DIFFS_S, REAL_LEVELS_S, REAL_TICKERS_S, REAL_TRADES_S = 10.0, 458.0, 112.5, 30.6
"""BTCUSDT in that session, per second: diffs, level changes in them, bookTickers, and trades."""
CHANGES_PER_S, LEVELS = 1200.0, 3000
"""Changes per second of each simulated book in calm times, which make TIMES as many of each of these; and its levels.
"""


def listing() -> Mapping[str, SimulatedInstrument]:
    """Return the symbols with their rates raised."""
    return {
        symbol: replace(INSTRUMENTS[symbol], changes_per_s=CHANGES_PER_S, levels=LEVELS) for symbol in SYMBOLS
    }  # fmt: skip


async def _run(port: int) -> None:
    async with SimulatedExchange(SYMBOLS, known=listing(), port=port) as exchange:
        print('{"event":"ready"}', flush=True)
        await exchange.watch()


def main() -> None:
    """Run with the command line's arguments."""
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__)
    parser.add_argument("port", type=int)
    asyncio.run(_run(parser.parse_args().port))


if __name__ == "__main__":
    main()
