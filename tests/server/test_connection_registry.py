"""The registry of connections: its batches, keep-alive pings, and idle connections."""

import asyncio
import socket
import weakref

import pytest

from pulse import stats
from pulse.server import connection_registry
from pulse.server.connection import KEEPALIVE_PING, ClientConnection
from pulse.server.connection_registry import (
    IDLE_TIMEOUT_S,
    PING_INTERVAL_S,
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


@pytest.mark.parametrize(
    ("idle_s", "sent", "is_aborted"),
    [
        (PING_INTERVAL_S - 1, b"", False),
        (PING_INTERVAL_S, KEEPALIVE_PING, False),
        (IDLE_TIMEOUT_S - 1, KEEPALIVE_PING, False),
        (IDLE_TIMEOUT_S + 1, b"", True),
    ],
)
async def test_idle_connections_are_pinged_and_dead_ones_aborted(idle_s: float, sent: bytes, is_aborted: bool) -> None:
    """Input of any kind, such as the pong to a flow-control ping, makes a keep-alive ping needless."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    inner = asyncio.Protocol()
    transport, one = await loop.create_connection(lambda: ClientConnection(inner, ConnectionRegistry(1)), sock=ours)
    one.start_websocket()
    connection_registry._check(one, loop.time() + idle_s)
    was_aborted = transport.is_closing()
    transport.abort()
    await asyncio.sleep(0)  # the loop closes it
    with theirs:
        received = theirs.recv(100)

    assert (received, was_aborted) == (sent, is_aborted)


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
    monkeypatch.setattr(connection_registry, "IDLE_TIMEOUT_S", float("inf"))
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


async def test_refused_connections_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A flood is one line, however long it is; the metric counts each."""
    before = stats.connections_refused.labels("address")._value.get()
    admitted(ConnectionRegistry(100, per_address_max=1), *["192.0.2.1"] * 51)

    assert [record.getMessage() for record in caplog.records] == [
        "connections refused limit=address address=192.0.2.1 times=1"
    ]
    assert stats.connections_refused.labels("address")._value.get() - before == 50
