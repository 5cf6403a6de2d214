"""The terminal as a user runs it: `python -m pulse` as a process, whose address is read from what it prints."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from pulse.simulator.server import SimulatedExchange
from tests.support.programs import launched
from tests.support.services import free_port
from tests.support.waiting import WAIT_S, until
from tests.support.websockets import upgrade

POLL_S = 0.05
"""Between two requests to a process."""
SYMBOLS = "BTCUSDT,LINKUSDT"
"""What a terminal of `terminal_on` shows."""
ROOT = Path(__file__).parents[2]


class Pulse:
    """One process, killed where the `async with` block ends. `folder` is its working directory.

    With `is_bound` the permissions of files apply to it even if it is root's. `program` are Python's arguments.
    """

    def __init__(self, folder: Path, *arguments: str | Path, **environment: str) -> None:
        self.folder = folder
        self._arguments = [str(argument) for argument in arguments]
        self.port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PULSE_")},
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "TMPDIR": str(folder),  # what a killed process leaves goes with the test's folder
            "PULSE_REQUESTS_PER_ADDRESS_S": "0",  # tests ask as often as they can
            **environment,
        }
        self.is_bound = False
        self.program = ["-m", "pulse"]
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
        """Return the base URL for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, *self.program, *self._arguments]

    async def start(self) -> None:
        """Start the process and wait until it has printed its address and answers."""
        command = self.command()
        if self.is_bound:
            command = launched(command, "bound")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self._process.stdout.readline()
        assert line.decode() == f"Pulse Terminal: {self.url}\n", self.log.read_text()
        await self.until(lambda: self.get("/healthz"), lambda answer: answer == {"status": "ok"})

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self._process.wait()

    async def get(self, path: str, **params: str) -> Any:
        """Return the JSON of a path, whatever its status; None while the process does not answer."""
        try:
            async with self._session.get(self.url + path, params=params) as response:
                return json.loads(await response.read())
        except aiohttp.ClientError:
            return None

    async def text(self, path: str) -> str:
        """Return the text of a path that is found."""
        async with self._session.get(self.url + path) as response:
            assert response.status == 200
            return await response.text()

    async def view(self, symbol: str = "BTCUSDT") -> Mapping[str, Any]:
        """Return the latest view of a symbol."""
        answer: Mapping[str, Any] = await self.get("/orderbook", symbol=symbol) or {}
        return answer

    def feed(self, symbol: str = "BTCUSDT") -> Any:
        """Return the WebSocket feed of a symbol, as a context manager."""
        return self._session.ws_connect(f"{self.url}/ws/orderbook/{symbol}")

    async def until(self, ask: Callable[[], Awaitable[Any]], condition: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wanted, and return it. Raises AssertionError with the last one and the log."""
        answer = None

        async def is_wanted() -> bool:
            nonlocal answer
            answer = await ask()
            return condition(answer)

        try:
            await until(is_wanted, POLL_S)
        except TimeoutError:
            raise AssertionError(f"last answer: {answer!r}\n{self.log.read_text()[-3000:]}") from None
        return answer

    async def until_live(self, symbol: str = "BTCUSDT") -> Mapping[str, Any]:
        """Wait until a symbol's view is live, and return it."""
        view: Mapping[str, Any] = await self.until(
            lambda: self.view(symbol), lambda answer: answer.get("state") == "live"
        )
        return view


def terminal_on(exchange: SimulatedExchange, folder: Path, **environment: str) -> Pulse:
    """Make a terminal that streams this exchange as if it were Binance.US."""
    own = {
        "PULSE_SYMBOLS": SYMBOLS,
        "PULSE_REST_URL": exchange.rest_url,
        "PULSE_STREAM_URL": exchange.stream_url,
        "PULSE_DEPTH_LIMIT": "1000",
    }
    return Pulse(folder, **own | environment)


async def run_pulse(folder: Path, *arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run a process to its end; return the exit code and all that it wrote to stderr."""
    pulse = Pulse(folder, *arguments, **environment)
    await pulse._session.close()
    process = await asyncio.create_subprocess_exec(
        *pulse.command(),
        cwd=folder, env=pulse._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WAIT_S):
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


def stalled_reader(port: int, path: str) -> socket.socket:
    """Return a WebSocket client that has sent its upgrade and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(upgrade(port, path))
    return client
