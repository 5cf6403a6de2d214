"""The collector: what it looks at again, and that clients who leave need none."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import Iterator

import pytest

from pulse.server import gc_tuning
from tests.support.web import (
    CLOSE,
    WAIT_S,
    Web,
    frame,
    on_server_loop,
    raw_socket,
    raw_websocket,
    read_to_end,
    serving,
    until,
)

OF_A_CLIENT = ("pulse.", "hypercorn.", "wsproto.", "h11.", "starlette.websockets", "starlette.requests")
"""Modules whose objects belong to one client; the transports are asyncio's."""
TRANSPORT = "_SelectorSocketTransport"
REMEDY = (
    "A connection is now part of a reference cycle, which pulse/server/gc_tuning.py would keep for an hour. Find it "
    "with gc.DEBUG_SAVEALL and gc.get_referents, and cut it in Connection._end, or with a name in HYPERCORN_NAMES."
)


class Node:
    """Something that can hold itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """No collection during this test, so that only what nobody refers to goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held() -> Counter[str]:
    """How many objects there are of each class whose objects belong to a client."""
    return Counter(
        kind.__qualname__ for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith(OF_A_CLIENT) or kind.__qualname__ == TRANSPORT
    )  # fmt: skip


def test_what_survived_is_not_looked_at_again() -> None:
    """Within the block the oldest generation is empty after each full collection; afterwards all is as it was."""
    thresholds = gc.get_threshold()
    with gc_tuning.frozen_gc():
        before = gc.get_freeze_count()
        kept = [Node() for _ in range(1000)]
        gc.collect()

        assert before > 1000
        assert gc.get_freeze_count() >= before + len(kept)
        assert len(gc.get_objects(generation=gc_tuning.OLDEST)) < 1000
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds


def test_circles_that_nobody_holds_are_still_found() -> None:
    """What is new and garbage goes with the next collection, as ever."""
    with gc_tuning.frozen_gc():
        gone = weakref.ref(Node())
        gc.collect()

        assert gone() is None


async def test_a_circle_that_was_frozen_is_found_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """At long intervals everything is looked at."""
    monkeypatch.setattr(gc_tuning, "FULL_COLLECTION_EVERY_S", 0.0)
    with gc_tuning.frozen_gc():
        node = Node()
        gc.collect()
        gone = weakref.ref(node)
        del node
        gc.collect()
        assert gone() is not None
        looking = asyncio.create_task(gc_tuning.collect_full_periodically())
        await until(lambda: gone() is None)
        looking.cancel()


def forget_cancelled_timers() -> None:
    """Have asyncio throw away its cancelled timers, which it does when they are many: each holds a context."""
    for _ in range(1000):
        asyncio.get_running_loop().call_later(3600.0, forget_cancelled_timers).cancel()


async def until_left(before: Counter[str]) -> None:
    """Wait until no more is held than before."""
    try:
        await until(lambda: freshly_held() <= before)
    except TimeoutError:
        pytest.fail(f"{held() - before} are left. {REMEDY}", pytrace=False)


def freshly_held() -> Counter[str]:
    """What is held, but for cancelled timers."""
    forget_cancelled_timers()
    return held()


async def come_and_go(web: Web, count: int, ending: str) -> Counter[str]:
    """Have clients come, be sent a view, and leave; gives what was held while they were there."""
    clients = [(await raw_websocket(web.port))[0] for _ in range(count)]
    web.publish(1)
    during = held()
    for client in clients:
        if ending == "goodbye":
            await asyncio.get_running_loop().sock_sendall(client, frame(CLOSE, b"\x03\xe8"))
            await read_to_end(client)
        client.close()
    await until(lambda: web.sessions.open_count == 0)
    return during


@on_server_loop
@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("ending", ["goodbye", "reset"])
async def test_nothing_of_a_client_that_left_needs_the_collector(ending: str) -> None:
    """Connection, session, and all that Hypercorn made of them go by themselves, however the client went."""
    async with serving() as web:
        await come_and_go(web, 1, ending)
        await until(lambda: freshly_held()["Connection"] == 0)
        before = held()
        during = await come_and_go(web, 5, ending)
        await until_left(before)

    assert (during - before).keys() >= {
        "Connection",
        "Session",
        "DirectOutlet",
        "_PassingServer",
        "WSStream",
        TRANSPORT,
    }


@on_server_loop
@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("path", ["/healthz", "/api/symbols", "/api/ohlcv", "/sse?topics=view.BTCUSDT", "/none"])
async def test_nothing_of_a_request_needs_the_collector(path: str) -> None:
    """The same for the API and for /sse."""
    async with serving() as web:
        await request(web, path)
        await until(lambda: freshly_held()["Connection"] == 0)
        before = held()
        during = await request(web, path)
        await until_left(before)

    assert (during - before).keys() >= {"Connection", "_PassingServer", "H11Protocol", TRANSPORT}


async def request(web: Web, path: str) -> Counter[str]:
    """Ask for this, and leave while the connection is alive; gives what was held then."""
    client = await raw_socket(web.port)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    assert (await asyncio.wait_for(loop.sock_recv(client, 65536), WAIT_S)).startswith(b"HTTP/1.1 ")
    during = held()
    client.close()
    return during
