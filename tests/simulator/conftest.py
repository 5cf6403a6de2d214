"""A running simulated exchange and a client session, closed after each test."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from pulse.simulator.server import SimulatedExchange
from tests.support.simulator import SMALL, START_MS


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """One quiet symbol, twenty times as fast as life."""
    async with SimulatedExchange((SMALL,), speed=20, start_ms=START_MS) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A client that knows nothing of the simulator."""
    async with ClientSession() as opened:
        yield opened
