"""The registry of connections: its batches, keep-alive pings, and idle connections."""

import asyncio
import weakref

import pytest

from pulse import stats
from pulse.server import connection_registry
from pulse.server.connection import ClientConnection
from pulse.server.connection_registry import (
    CONNECTIONS_BURST_S,
    PING_BATCHES,
    PING_INTERVAL_S,
    PONG_TIMEOUT_S,
    RESERVED_CONNECTIONS,
    RESERVED_PER_ADDRESS,
    ConnectionRegistry,
    Place,
)
from tests.support.asgi import accept_and_read, running
from tests.support.waiting import WAIT_S, until
from tests.support.web import on_server_loop
from tests.support.websockets import PING, frames, raw_websocket


@on_server_loop
async def test_an_idle_websocket_is_pinged_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a client that is gone is noticed."""
    monkeypatch.setattr(connection_registry, "PING_INTERVAL_S", 0.02)
    async with running(accept_and_read) as (port, _):
        client, _ = await raw_websocket(port)
        loop, received = asyncio.get_running_loop(), b""
        while len(received) < 4:
            received += await asyncio.wait_for(loop.sock_recv(client, 4), WAIT_S)
        client.close()

    assert frames(received)[:2] == [(PING, b""), (PING, b"")]


class Client:
    """A connection as the registry sees it, and what was done with it."""

    def __init__(self) -> None:
        self.received_at_s = 0.0
        self.done: list[str] = []

    def abort(self) -> None:
        """Note it."""
        self.done.append("aborted")

    def send_keepalive_ping(self) -> None:
        """Note it."""
        self.done.append("pinged")


def checked(client: Client, *, idle_s: float, then_s: float, answers_after_s: float | None = None) -> list[str]:
    """Return what is done with a WebSocket at a check after so long without input, and at another check after that."""
    registry = ConnectionRegistry(1)
    registry.admit(client)
    registry.keep_alive(client)
    for _ in range(PING_BATCHES):
        registry._check_next_batch(idle_s)
    if answers_after_s is not None:
        client.received_at_s = idle_s + answers_after_s
    registry._abort_unanswered(idle_s + then_s)
    return client.done


@pytest.mark.parametrize(
    ("idle_s", "then_s", "answers_after_s", "expected"),
    [
        (PING_INTERVAL_S - 1, PONG_TIMEOUT_S, None, []),
        (PING_INTERVAL_S, PONG_TIMEOUT_S - 1, None, ["pinged"]),
        (PING_INTERVAL_S, PONG_TIMEOUT_S, None, ["pinged", "aborted"]),
        (PING_INTERVAL_S, PONG_TIMEOUT_S, 0.1, ["pinged"]),
    ],
)
async def test_idle_connections_are_pinged_and_silent_ones_aborted(
    idle_s: float, then_s: float, answers_after_s: float | None, expected: list[str]
) -> None:
    """Input of any kind, such as the pong to a flow-control ping, makes a ping needless, and answers one."""
    assert checked(Client(), idle_s=idle_s, then_s=then_s, answers_after_s=answers_after_s) == expected


@pytest.mark.proves("silent-websocket")
async def test_silent_websocket_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was opened and never says anything gives its place back."""
    monkeypatch.setattr(connection_registry, "PING_INTERVAL_S", 0.0)
    monkeypatch.setattr(connection_registry, "PONG_TIMEOUT_S", 0.05)
    registry, client = ConnectionRegistry(1), Client()
    client.received_at_s = asyncio.get_running_loop().time()
    registry.admit(client)
    registry.keep_alive(client)
    pings = asyncio.create_task(registry.ping_idle())
    await until(lambda: "aborted" in client.done)
    pings.cancel()


async def test_connection_that_ended_is_not_waited_for() -> None:
    """Its place among the pinged ones is free."""
    registry, client = ConnectionRegistry(1), Client()
    registry.admit(client)
    registry.keep_alive(client)
    for _ in range(PING_BATCHES):
        registry._check_next_batch(PING_INTERVAL_S)
    registry.remove(client)

    assert not registry._pinged


async def test_batches_are_of_equal_size_and_hold_each_websocket_once() -> None:
    """A connection that ended is in none."""
    registry = ConnectionRegistry(100)
    connections = [ClientConnection(asyncio.Protocol(), registry) for _ in range(50)]
    for one in connections:
        registry.admit(one)
        registry.keep_alive(one)
    registry.remove(connections[0])
    held = [one for batch in registry._batches for one in batch]

    assert set(held) == set(connections[1:])
    assert len(held) == 49
    assert {len(batch) for batch in registry._batches} <= {2, 3}


async def test_a_connection_that_ended_before_its_session_began_is_not_kept() -> None:
    """After a reset right behind the handshake the session still asks for pings."""
    registry = ConnectionRegistry(100)
    gone = ClientConnection(asyncio.Protocol(), registry)
    registry.admit(gone)
    registry.remove(gone)
    gone.start_websocket()

    assert not any(registry._batches)


async def test_the_ping_task_keeps_no_connection_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ended after its check is freed at once, not at the check of the next."""
    monkeypatch.setattr(connection_registry, "PING_INTERVAL_S", 0.0)
    monkeypatch.setattr(connection_registry, "PONG_TIMEOUT_S", float("inf"))
    registry = ConnectionRegistry(1)
    checked: list[float] = []

    class Noting(ClientConnection):
        def send_keepalive_ping(self) -> None:
            checked.append(self.received_at_s)

    one = Noting(asyncio.Protocol(), registry)
    registry.admit(one)
    one.start_websocket()
    pings = asyncio.create_task(registry.ping_idle())
    await until(lambda: len(checked) > 0)
    registry.remove(one)
    freed = weakref.ref(one)
    del one
    is_freed = freed() is None
    pings.cancel()

    assert is_freed


async def test_beyond_its_limit_the_registry_admits_none() -> None:
    """A connection that ended makes room."""
    registry = ConnectionRegistry(1)
    first, second = (ClientConnection(asyncio.Protocol(), registry) for _ in range(2))
    admitted = [registry.admit(first), registry.admit(second)]
    registry.remove(first)

    assert admitted == [Place.ANY, Place.HEALTH]
    assert registry.admit(second) is Place.ANY


def admitted(registry: ConnectionRegistry, *peers: str) -> list[Place]:
    """Return the places of new connections from these addresses."""
    return [registry.admit(ClientConnection(asyncio.Protocol(), registry), peer) for peer in peers]


async def test_an_address_has_a_limit_of_its_own() -> None:
    """Beyond it only health checks are served; other addresses are not concerned, and an IPv6 /64 is one address."""
    registry = ConnectionRegistry(100, per_address_max=2)
    first = admitted(registry, "192.0.2.1", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1")
    others = admitted(registry, "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")

    assert first == [Place.ANY, Place.ANY, Place.HEALTH, Place.HEALTH]
    assert others == [Place.ANY, Place.ANY, Place.ANY, Place.HEALTH, Place.ANY]


async def test_behind_a_proxy_one_address_may_take_every_place() -> None:
    """All connections come from the proxy."""
    assert set(admitted(ConnectionRegistry(50), *["192.0.2.1"] * 50)) == {Place.ANY}


async def test_the_newest_connection_always_has_a_reserved_place() -> None:
    """It takes the place of the oldest of its address, or of all: the reserve stays bounded and open to everybody."""
    registry = ConnectionRegistry(0)
    admitted(registry, *["192.0.2.1"] * 100)
    of_one = list(registry._reserved.values())
    admitted(registry, *[f"198.51.100.{number}" for number in range(100)])
    last = admitted(registry, "192.0.2.2")

    assert of_one == ["192.0.2.1"] * RESERVED_PER_ADDRESS
    assert last == [Place.HEALTH]
    assert list(registry._reserved.values()) == [
        *(f"198.51.100.{number}" for number in range(100 - RESERVED_CONNECTIONS + 1, 100)),
        "192.0.2.2",
    ]


async def test_a_connection_that_ended_gives_its_place_back() -> None:
    """An address without connections takes no memory."""
    registry = ConnectionRegistry(2, per_address_max=1)
    connections = [ClientConnection(asyncio.Protocol(), registry) for _ in range(2)]
    before = [registry.admit(one, "192.0.2.1") for one in connections]
    for one in connections:
        registry.remove(one)
    left = registry._share.count, dict(registry._share._by_address), dict(registry._reserved)

    assert before == [Place.ANY, Place.HEALTH]
    assert left == (0, {}, {})
    assert admitted(registry, "192.0.2.1") == [Place.ANY]


@pytest.mark.proves("many-new-connections")
async def test_an_address_opens_connections_at_a_bounded_rate() -> None:
    """Beyond it only health checks are served, until its time has come; other addresses are not concerned."""
    now_s = 0.0
    registry = ConnectionRegistry(1000, per_address_max=1000, per_address_s=2, clock=lambda: now_s)
    burst = admitted(registry, *["192.0.2.1"] * (2 * CONNECTIONS_BURST_S + 3))
    other = admitted(registry, "192.0.2.2")
    now_s = 1.0
    later = admitted(registry, *["192.0.2.1"] * 3)

    assert burst == [Place.ANY] * 2 * CONNECTIONS_BURST_S + [Place.HEALTH] * 3
    assert other == [Place.ANY]
    assert later == [Place.ANY, Place.ANY, Place.HEALTH]


async def test_connections_beyond_the_number_of_an_address_do_not_count_against_its_rate() -> None:
    """Who is refused for the one is not also refused for the other a moment later."""
    registry = ConnectionRegistry(100, per_address_max=1, per_address_s=1, clock=lambda: 0.0)
    first = ClientConnection(asyncio.Protocol(), registry)
    registry.admit(first, "192.0.2.1")
    admitted(registry, *["192.0.2.1"] * 20)
    registry.remove(first)

    assert admitted(registry, "192.0.2.1") == [Place.ANY]


async def test_without_a_rate_an_address_opens_as_many_as_it_wants() -> None:
    """PULSE_REQUESTS_PER_ADDRESS_S=0, and behind a proxy."""
    assert set(admitted(ConnectionRegistry(1000, clock=lambda: 0.0), *["192.0.2.1"] * 500)) == {Place.ANY}


@pytest.mark.proves("many-connections")
async def test_refused_connections_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A flood is one line, however long it is; the metric counts each."""
    before = stats.connections_refused.labels("address")._value.get()
    admitted(ConnectionRegistry(100, per_address_max=1), *["192.0.2.1"] * 51)

    assert [record.getMessage() for record in caplog.records] == [
        "connections refused limit=address address=192.0.2.1 times=1"
    ]
    assert stats.connections_refused.labels("address")._value.get() - before == 50
