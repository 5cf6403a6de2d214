"""Two terminals that share everything, and what may happen to the owner and to Valkey: nothing false is shown.

Whatever the fault, afterwards both show the same book of one owner; no client was shown a lower token after a higher
one, and none lacks a trade; no candle was written by a process after another had claimed the symbol. How long a machine
under load takes for that is not asserted.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import redis

from pulse.simulator.server import SimulatedExchange
from tests.support.process import Pulse, terminal_on
from tests.support.proxy import Proxy
from tests.support.services import ValkeyServer
from tests.support.waiting import until

BTC = "BTCUSDT"
PROGRAM = """
import signal, time
from pulse.bus import leases, lease_keeper, redis
leases.LEASE_S = lease_keeper.LEASE_S = leases.ALONE_AFTER_S = 6.0
leases.HELD_S, redis.SEND_TIMEOUT_S, redis.SILENCE_MAX_S, lease_keeper.ROUND_TIMEOUT_S = 4.5, 1.5, 7.5, 1.5
real, jumped_s = time.time, [0.0]
time.time = lambda: real() + jumped_s[0]
signal.signal(signal.SIGUSR1, lambda *_: jumped_s.__setitem__(0, 3600.0))
from pulse.__main__ import main
main()
"""
"""A process whose wall clock is set an hour ahead by SIGUSR1. Its bounds of time are three times the usual ones, so
that a machine under load is not a fault by itself."""
AUDIT = (
    """
CREATE TABLE pulse.audit (
    at bigserial, writer text DEFAULT current_setting('application_name'), what text, symbol text
)""",
    """
CREATE FUNCTION pulse.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO pulse.audit (what, symbol) VALUES (TG_TABLE_NAME, NEW.symbol); RETURN NULL; END $$""",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON pulse.candles FOR EACH ROW EXECUTE FUNCTION pulse.note()",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON pulse.fences FOR EACH ROW EXECUTE FUNCTION pulse.note()",
)
"""Notes who writes candles and who claims symbols, in the order in which the database does it. Each is a transaction of
its own: the processes write meanwhile, and locks on both tables at once could deadlock with theirs."""


class Viewer:
    """A client of one process: every view and every trade that it was sent."""

    def __init__(self, pulse: Pulse) -> None:
        self.pulse = pulse
        self.views: list[dict[str, Any]] = []
        self.trade_ids: list[int] = []
        self.gaps: list[object] = []

    async def run(self) -> None:
        """Watch until the process ends."""
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{self.pulse.url}/ws") as trades,
                session.ws_connect(f"{self.pulse.url}/ws/orderbook/{BTC}") as views,
            ):
                await trades.send_json({"op": "subscribe", "topics": [f"trades.{BTC}"]})
                await asyncio.gather(self._watch(views, self._on_view), self._watch(trades, self._on_trades))

    async def _watch(self, feed: aiohttp.ClientWebSocketResponse, take: Callable[[dict[str, Any]], None]) -> None:
        async for message in feed:
            take(json.loads(message.data))

    def _on_view(self, view: dict[str, Any]) -> None:
        self.views.append(view)

    def _on_trades(self, message: dict[str, Any]) -> None:
        if "trades" in message:
            self.trade_ids += [trade["id"] for trade in message["trades"]]
            self.gaps += [message["gap"]] if message["gap"] else []

    @property
    def last(self) -> dict[str, Any]:
        """The newest view."""
        return self.views[-1]


@dataclass
class Scene:
    """Two terminals, the way of each to Valkey, and a client of each. The first began as the owner."""

    valkey: ValkeyServer
    pulses: tuple[Pulse, Pulse]
    ways: tuple[Proxy, Proxy]
    viewers: tuple[Viewer, Viewer]

    async def owner(self) -> int:
        """Return which one owns the symbol, by the streams that it has open."""
        while True:
            for number, pulse in enumerate(self.pulses):
                if f'pulse_book_is_live{{symbol="{BTC}"}} 1.0' in await pulse.text("/metrics"):
                    return number
            await asyncio.sleep(0.05)

    def token(self) -> int:
        """Return the highest token that was shown."""
        return max(int(viewer.last["token"]) for viewer in self.viewers)

    async def until_taken_over(self, number: int, token: int) -> None:
        """Wait until a process shows its clients a live book of a token above this one."""
        viewer = self.viewers[number]
        await until(lambda: viewer.last["token"] > token and viewer.last["state"] == "live")

    async def until_equal(self, *numbers: int) -> None:
        """Wait until the clients of these processes were last shown the very same live view, twice running."""
        viewers = [self.viewers[number] for number in numbers]
        for _ in range(2):
            count = len(viewers[0].views)
            await until(
                lambda count=count: (
                    len(viewers[0].views) > count  # type: ignore[misc]
                    and viewers[0].last["state"] == "live"
                    and all(viewer.last == viewers[0].last for viewer in viewers)
                )
            )


@asynccontextmanager
async def scene_of(folder: Path, valkey: ValkeyServer, postgres_url: str) -> AsyncIterator[Scene]:
    """Run everything, and wait until both show the same."""
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(SimulatedExchange([BTC], seed=5))
        ways = [await stack.enter_async_context(Proxy(valkey.port)) for _ in range(2)]
        pulses: list[Pulse] = []
        for name, way in zip(("first", "second"), ways, strict=True):
            (folder / name).mkdir()
            pulse = terminal_on(
                exchange, folder / name,
                PULSE_SYMBOLS=BTC,
                REDIS_URL=f"redis://127.0.0.1:{way.port}/0",
                DATABASE_URL=f"{postgres_url}?application_name={name}",
            )  # fmt: skip
            pulse.program = ["-c", PROGRAM]
            pulses.append(await stack.enter_async_context(pulse))
            await pulse.until_live()
        with closing(psycopg.connect(postgres_url, autocommit=True)) as own:
            for statement in AUDIT:
                own.execute(statement)
        viewers = [Viewer(pulse) for pulse in pulses]
        for viewer in viewers:
            task = asyncio.create_task(viewer.run())
            stack.callback(task.cancel)
            await until(lambda viewer=viewer: bool(viewer.views and viewer.trade_ids))  # type: ignore[misc]
        scene = Scene(valkey, (pulses[0], pulses[1]), (ways[0], ways[1]), (viewers[0], viewers[1]))
        await scene.until_equal(0, 1)
        yield scene


def check(scene: Scene, postgres_url: str) -> None:
    """Check what must hold whatever happened."""
    for viewer in scene.viewers:
        tokens = [view["token"] for view in viewer.views]
        assert tokens == sorted(tokens), "a view of a lower token was shown"
        assert viewer.gaps == []
        assert all(later == earlier + 1 for earlier, later in pairwise(viewer.trade_ids)), "a trade is missing"
    with closing(psycopg.connect(postgres_url, autocommit=True)) as own:
        rows = own.execute("SELECT writer, what FROM pulse.audit WHERE symbol = %s ORDER BY at", (BTC,)).fetchall()
    claimed_by = None
    for writer, what in rows:
        if what == "fences":
            claimed_by = writer
        assert claimed_by in (None, writer), "a candle was written by a process that another had deposed"


Fault = Callable[[Scene], Awaitable[tuple[int, ...]]]
"""Lets something happen and pass; returns the processes that run afterwards."""


async def owner_stopped(scene: Scene) -> tuple[int, ...]:
    """Stop the owner beyond its lease, and let it go on."""
    owner, token = await scene.owner(), scene.token()
    os.kill(scene.pulses[owner].pid, signal.SIGSTOP)
    try:
        await scene.until_taken_over(1 - owner, token)
    finally:
        os.kill(scene.pulses[owner].pid, signal.SIGCONT)
    return 0, 1


async def owner_partitioned(scene: Scene) -> tuple[int, ...]:
    """Cut the owner off from Valkey; its own clients see its own book meanwhile."""
    owner, token = await scene.owner(), scene.token()
    scene.ways[owner].mute()
    await scene.until_taken_over(1 - owner, token)
    count = len(scene.viewers[owner].views)
    await until(lambda: len(scene.viewers[owner].views) > count + 5)
    assert scene.viewers[owner].last["token"] <= token
    scene.ways[owner].unmute()
    return 0, 1


async def owner_killed(scene: Scene) -> tuple[int, ...]:
    """Kill the owner."""
    owner, token = await scene.owner(), scene.token()
    await scene.pulses[owner].stop(signal.SIGKILL)
    await scene.until_taken_over(1 - owner, token)
    return (1 - owner,)


async def clock_jumped(scene: Scene) -> tuple[int, ...]:
    """Set the owner's clock an hour ahead: leases go by another clock."""
    owner = await scene.owner()
    os.kill(scene.pulses[owner].pid, signal.SIGUSR1)
    viewer = scene.viewers[1 - owner]
    begin = viewer.last["timestamp"]
    await until(lambda: viewer.last["timestamp"] > begin + 3000)
    return 0, 1


async def valkey_killed(scene: Scene) -> tuple[int, ...]:
    """Kill Valkey until each process shows its own book, and start it again, empty."""
    scene.valkey.kill()
    await _until_alone(scene)
    scene.valkey.start()
    return 0, 1


async def valkey_paused(scene: Scene) -> tuple[int, ...]:
    """Pause Valkey until each process shows its own book."""
    scene.valkey.pause()
    try:
        await _until_alone(scene)
    finally:
        scene.valkey.resume()
    return 0, 1


async def valkey_emptied(scene: Scene) -> tuple[int, ...]:
    """Have Valkey forget leases, counters and views."""
    token = scene.token()
    with redis.Redis.from_url(scene.valkey.url) as client:
        client.flushall()
    await until(lambda: all(viewer.last["token"] > token for viewer in scene.viewers))
    return 0, 1


async def _until_alone(scene: Scene) -> None:
    first, second = scene.viewers
    await until(
        lambda: (
            first.last["instance"] != second.last["instance"] and first.last["state"] == second.last["state"] == "live"
        )
    )


FAULTS: tuple[Fault, ...] = (
    owner_stopped, owner_partitioned, owner_killed, clock_jumped, valkey_killed, valkey_paused, valkey_emptied,
)  # fmt: skip


@pytest.mark.proves("owner-gone")
@pytest.mark.proves("leases-lost")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_nothing_false_is_shown_or_written(
    fault: Fault, own_valkey: ValkeyServer, postgres_url: str, tmp_path: Path
) -> None:
    """Before, during and after a fault, at the clients of either process and in the database."""
    async with scene_of(tmp_path, own_valkey, postgres_url) as scene:
        running = await fault(scene)
        await scene.until_equal(*running)
        check(scene, postgres_url)
