"""The terminal with the paced exchange: its books are live, and a view carries the time its diff was sent."""

import time
from collections.abc import Iterator

import orjson
import pytest

from bench.exchange import ID_NS
from bench.terminal import Terminal, get, terminal

SYMBOLS = ("BTCUSDT", "TOPIC00USDT")
START_ID = time.time_ns() // ID_NS


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Run a terminal that follows two symbols of the paced exchange."""
    with terminal(tmp_path_factory.mktemp("bench"), SYMBOLS, rate_hz=20.0) as found:
        yield found


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_view_is_live_and_has_twenty_levels(running: Terminal, symbol: str) -> None:
    """The terminal works for any symbol name."""
    view = orjson.loads(get(running.port, f"/orderbook?symbol={symbol}"))

    assert (view["state"], len(view["bids"]), len(view["asks"])) == ("live", 20, 20)


def test_id_of_a_view_is_the_time_of_sending(running: Terminal) -> None:
    """Tens of microseconds since the epoch, after these tests began and before now."""
    view = orjson.loads(get(running.port, "/orderbook"))

    assert START_ID < view["last_update_id"] < time.time_ns() // ID_NS


def test_running_program_can_be_measured(running: Terminal) -> None:
    """CPU time, memory and descriptors are read from the kernel."""
    program = running.program

    assert min(program.cpu_s(), program.resident_mb(), program.open_files()) > 0
