"""Terminals that share one Valkey and one PostgreSQL, as real processes: one ingests a symbol, the others follow it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulse.simulator.server import SimulatedExchange
from tests.support.process import Pulse, terminal_on
from tests.support.waiting import until

BTC, OTHER = "BTCUSDT", "LINKUSDT"
UNHURRIED = [
    "-c",
    """
from pulse.bus import leases
leases.LEASE_S, leases.HELD_S, leases.ALONE_AFTER_S = 60.0, 45.0, 60.0
from pulse.__main__ import main
main()
""",
]
"""A process whose leases do not end because the machine of the tests is slow."""


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run the exchange that the terminals stream."""
    async with SimulatedExchange([BTC, OTHER], seed=5) as running:
        yield running


@dataclass
class Pair:
    """Two terminals that share everything; the first was started first, so it owns the symbol."""

    owner: Pulse
    follower: Pulse

    async def instances(self) -> tuple[str, str]:
        """Return which process made the view that each shows."""
        return (await self.owner.view())["instance"], (await self.follower.view())["instance"]


@asynccontextmanager
async def shared(
    exchange: SimulatedExchange,
    folder: Path,
    redis_url: str,
    postgres_url: str,
    program: Sequence[str] = ("-m", "pulse"),
    **environment: str,
) -> AsyncIterator[Pair]:
    """Run two terminals on the same servers, and wait until both show the same live book."""
    environment |= {"REDIS_URL": redis_url, "DATABASE_URL": postgres_url, "PULSE_SYMBOLS": BTC}
    folders = [folder / name for name in ("first", "second")]
    for one in folders:
        one.mkdir()
    first, second = (terminal_on(exchange, one, **environment) for one in folders)
    first.program = second.program = list(program)
    async with first:
        await first.until_live()
        async with second:
            await second.until_live()
            yield Pair(first, second)


async def owned_work(pulse: Pulse) -> Mapping[str, float]:
    """Return how often a process has done each kind of work that only the owner of a symbol does."""
    found: dict[str, float] = {}
    for line in (await pulse.text("/metrics")).splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("pulse_owned_work_total{"):
            found[name.split('"')[1]] = float(value)
        kind = name.partition("{")[0]
        if kind in ("pulse_candles_written_total", "pulse_feed_connections_total") and float(value):
            found[kind] = float(value)
    return found


async def test_a_follower_shows_what_the_owner_makes(
    exchange: SimulatedExchange, tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    """The same views, candles, proof and readiness, from one connection to the exchange."""
    async with shared(exchange, tmp_path, redis_url, postgres_url, UNHURRIED) as pair:
        instances = await pair.instances()
        assert instances[0] == instances[1]
        assert "pulse_feed_connections_total" not in await owned_work(pair.follower)

        report: dict[str, Any] = await pair.follower.until(
            lambda: pair.follower.get("/readyz"), lambda report: report["feeds"][BTC]["state"] == "live"
        )
        assert report["ready"]
        assert {stream.get("kind") for stream in report["feeds"][BTC]["streams"]} >= {"depth", "trade"}
        proof = await pair.follower.get(f"/api/proof/{BTC}")
        assert proof["state"] == "live"
        rows = await pair.follower.get("/api/ohlcv", symbol=BTC, limit="2")
        assert [row["is_closed"] for row in rows] == [True, False]


async def test_owners_work_is_done_once(
    exchange: SimulatedExchange, tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    """Streams, candle writes, reconciliation, backfill and the walk through history: by the owner alone."""
    async with shared(exchange, tmp_path, redis_url, postgres_url, UNHURRIED, PULSE_BACKFILL_DAYS="2") as pair:
        kinds = {"reconciliation", "history_walk", "backfill"}
        await until(lambda: _has_done(pair.owner, kinds))
        await until(lambda: _has_written(pair.owner, 1000))
        assert {name: value for name, value in (await owned_work(pair.follower)).items() if value} == {}


async def _has_written(pulse: Pulse, candles: int) -> bool:
    return (await owned_work(pulse)).get("pulse_candles_written_total", 0) >= candles


async def _has_done(pulse: Pulse, kinds: set[str]) -> bool:
    done = await owned_work(pulse)
    return kinds <= {name for name, value in done.items() if value}


async def test_a_deploy_hands_everything_over(
    exchange: SimulatedExchange, tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    """The owner is asked to stop: it gives its leases back, and the other goes on without waiting for their end."""
    async with shared(exchange, tmp_path, redis_url, postgres_url, UNHURRIED) as pair:
        before = await pair.follower.view()
        assert await pair.owner.stop() == 0
        after = await pair.follower.until(
            pair.follower.view,
            lambda view: view["state"] == "live" and view["instance"] != before["instance"],
        )

        assert after["token"] > before["token"]
        done = await owned_work(pair.follower)
        assert done["pulse_feed_connections_total"] == 1


async def test_a_symbol_that_a_followers_client_asks_for_is_taken_and_given_back(
    exchange: SimulatedExchange, tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    """Nobody owned it: the process that was asked does, and the other follows it there."""
    async with shared(exchange, tmp_path, redis_url, postgres_url, UNHURRIED, PULSE_SYMBOLS_MAX="3") as pair:
        await pair.follower.until(lambda: pair.follower.view(OTHER), lambda view: view.get("state") == "live")
        await pair.owner.until_live(OTHER)
        shown = [await pulse.view(symbol) for symbol in (BTC, OTHER) for pulse in (pair.owner, pair.follower)]

    owners = [view["instance"] for view in shown]
    assert owners[0] == owners[1] != owners[2] == owners[3]
