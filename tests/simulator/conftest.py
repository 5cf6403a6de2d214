"""Fixtures: a running simulated exchange and a client session, closed after each test."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from pulse.simulator.server import SimulatedExchange
from tests.support.simulator import SMALL, START_MS


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    """Run one quiet symbol at twenty times real speed."""
    async with SimulatedExchange((SMALL,), speed=20, start_ms=START_MS) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """Open a client session."""
    async with ClientSession() as opened:
        yield opened
