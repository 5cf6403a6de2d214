"""The simulated exchange as a program: five symbols, each by default three times as busy as BTCUSDT was one night.

That night is the recorded session of 2024-08-08, with a sell-off in it. Run as a program; prints `ready` when it
listens. A line `cut SECONDS` on its stdin cuts every stream, and refuses streams and REST for so long; the market goes
on.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace

from pulse.simulator.instruments import INSTRUMENTS, SimulatedInstrument
from pulse.simulator.market import Retention
from pulse.simulator.server import SimulatedExchange

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT")
TIMES = 3.0
REAL_DIFFS_S, REAL_LEVELS_S, REAL_TICKERS_S, REAL_TRADES_S = 10.0, 458.0, 112.5, 30.6
"""BTCUSDT in that session, per second: diffs, level changes in them, bookTickers, and trades."""
CHANGES_PER_S, LEVELS = 1200.0, 3000
"""Changes per second of each simulated book in calm times, which make TIMES as many of each of these; and its levels.
"""


RETENTION = Retention(agg_trades=100_000)
"""Trades are available for some minutes, so that what was missed in an outage can be fetched, as on a real exchange."""


def listing(times: float = TIMES) -> Mapping[str, SimulatedInstrument]:
    """Return the symbols with rates so many times as high as BTCUSDT's."""
    rate = CHANGES_PER_S * times / TIMES
    return {symbol: replace(INSTRUMENTS[symbol], changes_per_s=rate, levels=LEVELS) for symbol in SYMBOLS}


async def _run(port: int, times: float) -> None:
    exchange = SimulatedExchange(SYMBOLS, known=listing(times), port=port, retention=RETENTION)
    async with exchange:
        print('{"event":"ready"}', flush=True)
        commands = asyncio.create_task(_obey(exchange))
        try:
            await exchange.watch()
        finally:
            commands.cancel()
            await asyncio.wait([commands])


async def _obey(exchange: SimulatedExchange) -> None:
    """Execute the commands on stdin until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).split():
        cut(exchange)
        loop.call_later(float(line[1]), exchange.faults.clear)


def cut(exchange: SimulatedExchange) -> None:
    """Reset every stream, and refuse streams and REST until the faults are cleared."""
    exchange.faults.refuse_sockets = 0
    exchange.faults.rest.answer("/api/*", 503)
    exchange.cut()


def main() -> None:
    """Run with the command line's arguments."""
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--times", type=float, default=TIMES)
    options = parser.parse_args()
    asyncio.run(_run(options.port, options.times))


if __name__ == "__main__":
    main()
