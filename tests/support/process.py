"""The terminal as a user runs it: `python -m pulse` as a process of its own, its address read from what it prints."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.support.services import free_port

START_TIMEOUT_S = 30.0
WAIT_S = 30.0
ROOT = Path(__file__).parents[2]


class Pulse:
    """One process; an async context manager that leaves none behind. `folder` is its working directory."""

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self.folder = folder
        self._arguments = [str(argument) for argument in arguments]
        self.port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PULSE_")},
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "PULSE_REQUESTS_PER_ADDRESS_S": "0",  # tests look as often as they can
            **environment,
        }
        self._process: asyncio.subprocess.Process | None = None
        self._session = aiohttp.ClientSession()
        self.log = folder / "pulse.log"

    async def __aenter__(self) -> "Pulse":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it has printed where it serves."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pulse", *self._arguments,
                cwd=self.folder, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await self._process.stdout.readline()
        assert line.decode() == f"Pulse Terminal: {self.url}\n", self.log.read_text()
        await self.until(lambda: self.get("/healthz"), lambda answer: answer == {"status": "ok"})

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop; gives its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.wait()

    async def get(self, path: str, **params: str) -> Any:
        """The JSON of a path, whatever its status; None while nobody answers."""
        try:
            async with self._session.get(self.url + path, params=params) as response:
                return json.loads(await response.read())
        except aiohttp.ClientError:
            return None

    async def view(self, symbol: str = "BTCUSDT") -> Mapping[str, Any]:
        """The latest view."""
        answer: Mapping[str, Any] = await self.get("/orderbook", symbol=symbol) or {}
        return answer

    def feed(self, symbol: str = "BTCUSDT") -> Any:
        """The WebSocket feed of a symbol, to be used as a context manager."""
        return self._session.ws_connect(f"{self.url}/ws/orderbook/{symbol}")

    async def until(self, ask: Callable[[], Any], condition: Callable[[Any], bool], timeout_s: float = WAIT_S) -> Any:
        """Ask again and again until the answer is as wanted; gives that answer."""
        answer = None
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(answer := await ask()):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"last answer: {answer!r}\n{self.log.read_text()[-3000:]}") from None
        return answer

    async def until_live(self, symbol: str = "BTCUSDT", timeout_s: float = WAIT_S) -> Mapping[str, Any]:
        """Wait until a symbol's view is live; gives it."""
        view: Mapping[str, Any] = await self.until(
            lambda: self.view(symbol), lambda answer: answer.get("state") == "live", timeout_s
        )
        return view


async def run_pulse(folder: Path, *arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run it to its end, which must come soon; gives the exit code and all it wrote to stderr."""
    pulse = Pulse(folder, *arguments, **environment)
    await pulse._session.close()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pulse", *pulse._arguments,
        cwd=folder, env=pulse._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


def stalled_reader(port: int, path: str) -> socket.socket:
    """A WebSocket client that upgrades and then never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return client
