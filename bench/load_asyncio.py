"""The load generator without a C compiler: the command line and the report of load.c, in Python.

It uses more CPU per message, so it saturates earlier, and the table then has a note. The kinds of clients are described
in load.c.
"""

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

STALL_S, TICK_S = 20.0, 0.02
SLOW_BUFFER = 8192
IP_BIND_ADDRESS_NO_PORT = 24
"""Of Linux; Python has no name for it before 3.12."""
REFUSED_MAX, PENDING_MAX = 100, 64
HEALTHY, SLOW, STALLED, VISITOR = "healthy", "slow", "stalled", "visitor"
DEFAULTS: Mapping[str, str] = {
    "clients": "1", "slow": "0", "slow_bytes_s": "20000", "stalled": "0", "join_every_ms": "0", "deflate": "0",
    "stamp": "", "scale": "1", "subscribe": "", "connect_s": "60", "warmup_s": "1", "window_s": "1", "windows": "1",
    "source": "", "gate": "0",
}  # fmt: skip


@dataclass
class Tally:
    """The counts since the last report."""

    counts: Counter[str] = field(default_factory=Counter)
    ages: dict[str, list[float]] = field(default_factory=lambda: {HEALTHY: [], SLOW: []})


class Client:
    """One WebSocket over a plain socket: read, parsed and counted; pings are answered."""

    def __init__(self, kind: str, options: Mapping[str, str], port: int, path: str, tally: Tally) -> None:
        self.kind = kind
        self._options = options
        self._port = port
        self._path = path
        self.tally = tally
        self.is_open = False
        self.status = 0
        self._newest = 0.0
        self._unparsed = b""
        self._stamp = options["stamp"].encode()

    async def stay(self, gate: asyncio.Semaphore) -> None:
        """Connect and read until the end, then reconnect, until cancelled."""
        while True:
            with socket.socket() as own:
                own.setblocking(False)
                if self.kind in (SLOW, STALLED):
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
                try:
                    async with gate:
                        await self._handshake(own)
                    await self._read_stream(own)
                except OSError:
                    self.tally.counts[f"cut_{self.kind}" if self.is_open else "refused"] += 1
                except TimeoutError:
                    pass  # a visitor's time is over
                self.is_open = False
            await asyncio.sleep(TICK_S)

    async def _handshake(self, own: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._options["source"]:
            own.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            own.bind((self._options["source"], 0))
        await loop.sock_connect(own, ("127.0.0.1", self._port))
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        request = (
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{offer if self._options['deflate'] == '1' else ''}\r\n"
        )
        await loop.sock_sendall(own, request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await self._received(own, 4096)
        self.status = int(answer.split(b" ", 2)[1])
        if self.status != 101:
            raise ConnectionRefusedError
        self._unparsed = answer.partition(b"\r\n\r\n")[2]
        self._newest = 0.0
        self.is_open = True
        self.tally.counts["joined"] += 1
        if self._options["subscribe"]:
            await self._send_frame(own, 1, self._options["subscribe"].encode())

    async def _read_stream(self, own: socket.socket) -> None:
        if self.kind == STALLED:
            await asyncio.sleep(STALL_S)
        elif self.kind == SLOW:
            while True:
                await asyncio.sleep(TICK_S)
                await self._read_chunk(own, int(int(self._options["slow_bytes_s"]) * TICK_S))
        else:
            async with asyncio.timeout(2.0 if self.kind == VISITOR else None):
                while True:
                    await self._read_chunk(own, 65536)

    async def _read_chunk(self, own: socket.socket, limit: int) -> None:
        data = await self._received(own, limit)
        self.tally.counts["bytes"] += len(data)
        self._unparsed += data
        now_s = time.time()
        while (found := split_frame(self._unparsed)) is not None:
            opcode, is_compressed, body, self._unparsed = found
            if opcode == 8:
                raise ConnectionResetError
            if opcode == 9:
                await self._send_frame(own, 10, body)
            if opcode in (1, 2):
                self.tally.counts["messages"] += 1
                self.tally.counts["compressed"] += is_compressed
                if self._stamp and not is_compressed:
                    self._note_age(body, now_s)

    async def _received(self, own: socket.socket, limit: int) -> bytes:
        data = await asyncio.get_running_loop().sock_recv(own, limit)
        if not data:
            raise ConnectionResetError
        return data

    async def _send_frame(self, own: socket.socket, opcode: int, body: bytes) -> None:
        """Send a frame, masked with zeros."""
        size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
        await asyncio.get_running_loop().sock_sendall(own, bytes([0x80 | opcode]) + size + bytes(4) + body)

    def _note_age(self, body: bytes, now_s: float) -> None:
        stamp = read_stamp(body, self._stamp) * float(self._options["scale"])
        if stamp <= self._newest:
            return
        is_first, self._newest = self._newest == 0, stamp
        if not is_first and self.kind in self.tally.ages:
            self.tally.ages[self.kind].append(max(0.0, now_s - stamp))


def split_frame(data: bytes) -> tuple[int, bool, bytes, bytes] | None:
    """Return the first frame as (opcode, is_compressed, body, remainder); None when it is incomplete."""
    if len(data) < 2:
        return None
    size, head = data[1] & 127, 2
    if size > 125:
        head = 4 if size == 126 else 10
        if len(data) < head:
            return None
        size = int.from_bytes(data[2:head], "big")
    if len(data) < head + size:
        return None
    return data[0] & 15, bool(data[0] & 0x40), data[head : head + size], data[head + size :]


def read_stamp(body: bytes, key: bytes) -> float:
    """Return the first number that follows the key; 0 when there is none."""
    for part in body.split(key)[1:]:
        digits = part[: len(part) - len(part.lstrip(b"0123456789."))]
        if digits:
            return float(digits)
    return 0.0


def quantiles(ages: Sequence[float]) -> dict[str, float] | None:
    """Return the quantiles that load.c reports."""
    if not ages:
        return None
    ordered = sorted(ages)
    at = {name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] for name, share in SHARES.items()}
    return {"count": len(ordered), **at, "worst_s": ordered[-1]}


SHARES = {"p50_s": 0.5, "p99_s": 0.99}


def _clients(options: Mapping[str, str], port: int, paths: str, tally: Tally) -> list[Client]:
    every_ms = int(options["join_every_ms"])
    numbers = {
        HEALTHY: int(options["clients"]),
        SLOW: int(options["slow"]),
        STALLED: int(options["stalled"]),
        VISITOR: 1 + 2000 // every_ms if every_ms else 0,
    }
    kinds = [kind for kind, number in numbers.items() for _ in range(number)]
    turns = cycle(paths.split(","))
    return [Client(kind, options, port, path, tally) for kind, path in zip(kinds, turns, strict=False)]


def _report(tally: Tally, clients: Sequence[Client], seconds: float, cpu_s: float) -> dict[str, Any]:
    names = ("messages", "bytes", "compressed", "joined", "refused", "cut_healthy", "cut_slow", "cut_stalled")
    return {
        "event": "window",
        "seconds": seconds,
        "clients": sum(client.is_open for client in clients),
        "cpu_s": cpu_s,
        **{name: tally.counts[name] for name in names},
        **{kind: quantiles(ages) for kind, ages in tally.ages.items()},
    }


def _print_json(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def _run(port: int, paths: str, options: Mapping[str, str]) -> int:
    tally, gate = Tally(), asyncio.Semaphore(PENDING_MAX)
    clients = _clients(options, port, paths, tally)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(client.stay(gate)) for client in clients]
    deadline_s = loop.time() + float(options["connect_s"])
    while loop.time() < deadline_s and not all(client.is_open for client in clients):
        if tally.counts["refused"] > REFUSED_MAX:
            break
        await asyncio.sleep(TICK_S)
    if not any(client.is_open for client in clients) or tally.counts["refused"] > REFUSED_MAX:
        _print_json({"event": "refused", "status": clients[0].status})
        return 3
    _print_json({"event": "connected", "clients": sum(client.is_open for client in clients)})
    await asyncio.sleep(float(options["warmup_s"]))
    if options["gate"] != "0":
        await loop.run_in_executor(None, sys.stdin.readline)
    _print_json({"event": "begin"})
    for _ in range(int(options["windows"])):
        tally = Tally()
        for client in clients:
            client.tally = tally
        start_s, cpu_s = loop.time(), time.process_time()
        await asyncio.sleep(float(options["window_s"]))
        _print_json(_report(tally, clients, loop.time() - start_s, time.process_time() - cpu_s))
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    return 0


def main() -> None:
    """Run with the arguments PORT PATH[,PATH...] key=value..."""
    port, paths, *arguments = sys.argv[1:]
    options = {**DEFAULTS, **dict(word.split("=", 1) for word in arguments)}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    code = asyncio.run(_run(int(port), paths, options))
    sys.stdout.flush()
    os._exit(code)  # the clients' sockets end with the process


if __name__ == "__main__":
    main()
