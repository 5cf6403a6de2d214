"""Healthy viewers: WebSockets that read whole views, and a health check, as a program that reports what they got.

    python -m tests.floods.viewers PORT SYMBOL COUNT

A line on stdin names the spell that begins; an empty one begins a pause, which is not counted. At the end of stdin it
prints one JSON object: for each spell the ages of views when they arrived and the times of health checks, and how often
a viewer was disconnected. The kernel notes when data arrives (SO_TIMESTAMPNS), so that no age depends on when this
program, which is a machine's twenty viewers in one, gets the processor.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
import sys
import time
from collections import defaultdict
from typing import Any

import aiohttp

from tests.support.websockets import PING, PONG, TEXT, frame, raw_websocket, split_frames

STAMP = re.compile(rb'"timestamp":([0-9.]+)')
HEALTH_EVERY_S = 0.2
ANSWER_MAX_S = 10.0
"""A health check that takes longer has failed."""
READ_BYTES = 256 * 1024
SO_TIMESTAMPNS, TIMESPEC = 35, struct.Struct("qq")
"""Linux's number of this option and what it adds to what is received; Python's `socket` has no name for it."""


class Viewers:
    """What the viewers of one server have seen, by spell."""

    def __init__(self, port: int, symbol: str) -> None:
        self._port = port
        self._symbol = symbol
        self._spell = ""
        self._ages_s: dict[str, list[float]] = defaultdict(list)
        self._health_s: dict[str, list[float]] = defaultdict(list)
        self._disconnected = 0
        self._health_failed = 0

    async def run(self, count: int) -> None:
        """View until stdin ends."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
            tasks = [asyncio.create_task(self._view()) for _ in range(count)]
            tasks.append(asyncio.create_task(self._check_health(session)))
            await self._read_spells()
            for task in tasks:
                task.cancel()
            ended, _ = await asyncio.wait(tasks)
            for task in ended:
                if not task.cancelled():
                    task.result()

    async def _read_spells(self) -> None:
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        write("ready")
        while line := await lines.readline():
            self._spell = line.decode().strip()

    async def _view(self) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                client, _ = await raw_websocket(self._port, f"/ws/orderbook/{self._symbol}")
                with client:
                    client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                    await self._read(client)
            self._disconnected += 1
            await asyncio.sleep(0.1)

    async def _read(self, client: socket.socket) -> None:
        """Read to the end of the connection."""
        readable, rest = asyncio.Event(), b""
        loop = asyncio.get_running_loop()
        loop.add_reader(client, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                try:
                    data, ancillary, _, _ = client.recvmsg(READ_BYTES, socket.CMSG_SPACE(TIMESPEC.size))
                except BlockingIOError:
                    continue  # it was read the time before
                if not data:
                    return
                # What came before the kernel began to note times has none.
                seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2]) if ancillary else (0, 0)
                found, rest = split_frames(rest + data)
                for opcode, payload in found:
                    if opcode == PING:
                        await loop.sock_sendall(client, frame(PONG, payload))
                    elif opcode == TEXT and seconds:
                        self._note(payload, seconds + nanoseconds / 1e9)
        finally:
            loop.remove_reader(client)

    def _note(self, view: bytes, received_s: float) -> None:
        stamp = STAMP.search(view)
        if stamp is not None and self._spell:
            self._ages_s[self._spell].append(received_s - float(stamp[1]))

    async def _check_health(self, session: aiohttp.ClientSession) -> None:
        while True:
            began_s = time.monotonic()
            try:
                async with (
                    asyncio.timeout(ANSWER_MAX_S),
                    session.get(f"http://127.0.0.1:{self._port}/healthz") as answer,
                ):
                    self._health_failed += answer.status != 200
            except (aiohttp.ClientError, TimeoutError):
                self._health_failed += 1
            if self._spell:
                self._health_s[self._spell].append(time.monotonic() - began_s)
            await asyncio.sleep(HEALTH_EVERY_S)

    def report(self) -> dict[str, Any]:
        """Return what was seen; times in seconds."""
        return {
            "ages": {spell: quantiles(ages_s) for spell, ages_s in self._ages_s.items()},
            "health": {spell: quantiles(times_s) for spell, times_s in self._health_s.items()},
            "disconnected": self._disconnected,
            "health_failed": self._health_failed,
        }


def quantiles(values: list[float]) -> dict[str, float]:
    """Return how many values there are, their median, 99th percentile and largest one."""
    ordered = sorted(values)
    return {
        "count": len(ordered), "p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100],
        "worst": ordered[-1],
    }  # fmt: skip


def write(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run with the command line's arguments."""
    port, symbol, count = sys.argv[1:]
    viewers = Viewers(int(port), symbol)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(viewers.run(int(count)))
    write(json.dumps(viewers.report()))


if __name__ == "__main__":
    main()
