"""Garbage collection: what is scanned again, and that disconnected clients leave no reference cycles."""

import asyncio
import gc
import logging
import weakref
from collections import Counter
from collections.abc import Iterator

import pytest

from pulse.server import gc_tuning
from tests.support.waiting import WAIT_S, until
from tests.support.web import Web, on_server_loop, serving
from tests.support.websockets import CLOSE, frame, raw_socket, raw_websocket, read_to_end

CLIENT_MODULES = ("pulse.", "hypercorn.", "wsproto.", "h11.", "starlette.websockets", "starlette.requests")
"""Modules whose objects belong to one client; the transport is asyncio's."""
TRANSPORT = "_SelectorSocketTransport"
REMEDY = (
    "A connection is now part of a reference cycle, which pulse/server/gc_tuning.py would keep for an hour. Find it "
    "with gc.DEBUG_SAVEALL and gc.get_referents, and cut it in ClientConnection._end, or by a replacement in "
    "HYPERCORN_NAMES."
)


class Node:
    """An object in a reference cycle with itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def _gc_disabled() -> Iterator[None]:
    """Disable the collector during a test, so that only reference counting frees objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_objects() -> Counter[str]:
    """Count the objects of each class whose objects belong to a client."""
    return Counter(
        kind.__qualname__ for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith(CLIENT_MODULES) or kind.__qualname__ == TRANSPORT
    )  # fmt: skip


def test_survivors_of_a_collection_are_not_scanned_again() -> None:
    """The oldest generation is empty after each full collection; after the block all is as before."""
    thresholds = gc.get_threshold()
    with gc_tuning.frozen_gc():
        before = gc.get_freeze_count()
        kept = [Node() for _ in range(1000)]
        gc.collect()

        assert before > 1000
        assert gc.get_freeze_count() >= before + len(kept)
        assert len(gc.get_objects(generation=gc_tuning.OLDEST_GENERATION)) < 1000
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds


def test_new_cycles_are_still_collected() -> None:
    """New garbage is freed by the next collection, as always."""
    with gc_tuning.frozen_gc():
        gone = weakref.ref(Node())
        gc.collect()

        assert gone() is None


async def test_a_frozen_cycle_is_freed_by_the_full_gc(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The periodic full gc scans frozen objects too, and logs what it took."""
    monkeypatch.setattr(gc_tuning, "FULL_GC_INTERVAL_S", 0.0)
    with gc_tuning.frozen_gc():
        node = Node()
        gc.collect()
        gone = weakref.ref(node)
        del node
        gc.collect()
        assert gone() is not None
        with caplog.at_level(logging.INFO, "pulse.server.gc_tuning"):
            collecting = asyncio.create_task(gc_tuning.collect_full_periodically())
            await until(lambda: "full gc collected=" in caplog.text)
        collecting.cancel()
        assert gone() is None


def drop_cancelled_timers() -> None:
    """Make asyncio drop its cancelled timers, each of which holds a context: it does so once they are many."""
    for _ in range(1000):
        asyncio.get_running_loop().call_later(3600.0, drop_cancelled_timers).cancel()


async def until_freed(before: Counter[str]) -> None:
    """Wait until no more objects are alive than before."""
    try:
        await until(lambda: live_objects_without_timers() <= before)
    except TimeoutError:
        pytest.fail(f"{live_objects() - before} are still alive. {REMEDY}", pytrace=False)


def live_objects_without_timers() -> Counter[str]:
    """Count client objects after cancelled timers are dropped."""
    drop_cancelled_timers()
    return live_objects()


async def connect_and_leave(web: Web, count: int, ending: str) -> Counter[str]:
    """Have clients connect, receive a view, and leave; return the objects alive while they were connected."""
    clients = [(await raw_websocket(web.port))[0] for _ in range(count)]
    web.publish(1)
    during = live_objects()
    for client in clients:
        if ending == "close":
            await asyncio.get_running_loop().sock_sendall(client, frame(CLOSE, b"\x03\xe8"))
            await read_to_end(client)
        client.close()
    await until(lambda: web.sessions.open_count == 0)
    return during


@on_server_loop
@pytest.mark.usefixtures("_gc_disabled")
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_disconnected_websocket_leaves_no_cycle(ending: str) -> None:
    """Connection, session and Hypercorn's objects are freed by reference counting, after a close frame or a reset."""
    async with serving() as web:
        await connect_and_leave(web, 1, ending)
        await until(lambda: live_objects_without_timers()["ClientConnection"] == 0)
        before = live_objects()
        during = await connect_and_leave(web, 5, ending)
        await until_freed(before)

    assert (during - before).keys() >= {
        "ClientConnection",
        "WebSocketSession",
        "DirectClientQueue",
        "_AcyclicTCPServer",
        "WSStream",
        TRANSPORT,
    }


@on_server_loop
@pytest.mark.usefixtures("_gc_disabled")
@pytest.mark.parametrize("path", ["/healthz", "/api/symbols", "/api/ohlcv", "/sse?topics=book.BTCUSDT", "/none"])
async def test_a_finished_request_leaves_no_cycle(path: str) -> None:
    """Pages, the API and /sse alike."""
    async with serving() as web:
        await request(web, path)
        await until(lambda: live_objects_without_timers()["ClientConnection"] == 0)
        before = live_objects()
        during = await request(web, path)
        await until_freed(before)

    assert (during - before).keys() >= {"ClientConnection", "_AcyclicTCPServer", "StrictHttp1", TRANSPORT}


async def request(web: Web, path: str) -> Counter[str]:
    """Send a request, and leave while the connection is open; return the objects alive at that time."""
    client = await raw_socket(web.port)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    assert (await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)).startswith(b"HTTP/1.1 ")
    during = live_objects()
    client.close()
    return during
