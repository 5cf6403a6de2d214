"""The client that needs nothing but Python, against the real server."""

import ast
import asyncio
import base64
import hashlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pulse import client
from pulse.client import Line, Lost, Refused, messages
from tests.fanout.test_subscriptions import trade
from tests.support.services import free_port
from tests.support.web import WAIT_S, Web, on_server_loop, serving, until

Messages = Iterator[dict[str, Any]]


async def heard(feed: Messages) -> dict[str, Any]:
    """The next message, while the server runs on."""
    return await asyncio.wait_for(asyncio.to_thread(next, feed), WAIT_S)


def url_of(web: Web) -> str:
    """Where its feed is."""
    return f"ws://127.0.0.1:{web.port}/ws"


def test_it_stands_alone() -> None:
    """It can be copied: nothing but the standard library is imported."""
    tree = ast.parse(Path(client.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@on_server_loop
async def test_topics_come_as_they_are_published() -> None:
    """Each topic's own, compressed on the way."""
    async with serving() as web:
        feed = messages(url_of(web), ["book.BTCUSDT", "status.ETHUSDT"], depth=5)
        web.publish(1)
        first = await heard(feed)
        web.publish(2, "ETHUSDT")
        second = await heard(feed)
        await asyncio.to_thread(feed.close)  # type: ignore[attr-defined]

    assert (first["topic"], first["seq"]) == ("book.BTCUSDT", 1)
    assert (second["topic"], second["seq"]) == ("status.ETHUSDT", 2)


@on_server_loop
async def test_a_lost_line_is_taken_up_where_its_trades_ended() -> None:
    """Trades that came while it was away are not missed, and none comes twice."""
    async with serving() as web:
        waits: list[float] = []
        feed = messages(url_of(web), ["trades.BTCUSDT"], wait=waits.append)
        trade(web, 1, 10, 11)
        first = await heard(feed)
        for connection in _connections(web):
            connection.abort()
        await until(lambda: web.sessions.open_count == 0)
        trade(web, 2, 12, 13)
        second = await heard(feed)
        await asyncio.to_thread(feed.close)  # type: ignore[attr-defined]

    assert [entry["id"] for entry in first["trades"]] == [10, 11]
    assert [entry["id"] for entry in second["trades"]] == [12, 13]
    assert len(waits) == 1


def _connections(web: Web) -> list[Any]:
    """The server's side of every client."""
    return [outlet.connection for outlet in web.hub._clients]  # type: ignore[attr-defined]


@on_server_loop
async def test_trades_of_another_world_begin_anew() -> None:
    """A simulation that started again has other ids: the server refuses the old place, the client takes the newest."""
    async with serving() as web:
        trade(web, 1, 10)
        line = await asyncio.to_thread(Line, url_of(web))
        feed = client._subscribed(line, ["trades.BTCUSDT"], {}, {"trades.BTCUSDT": 10**9})
        first = await heard(feed)
        await asyncio.to_thread(line.close)

    assert first["first_id"] == 10


@on_server_loop
async def test_a_wrong_request_is_refused_in_the_server_s_words() -> None:
    """It would be no better the next time."""
    async with serving() as web:
        with pytest.raises(Refused, match="may be asked for"):
            await heard(messages(url_of(web), ["book.DOGEUSDT"]))


@on_server_loop
async def test_a_quiet_topic_is_no_dead_line() -> None:
    """Trades may be rare: the server is asked whether it is there, and its answer is enough."""
    async with serving() as web:
        line = await asyncio.to_thread(Line, url_of(web), 0.2)
        line.say({"op": "subscribe", "topics": ["trades.BTCUSDT"]})
        loop = asyncio.get_running_loop()
        hearing = loop.run_in_executor(None, lambda: [line.hear() for _ in range(2)])
        await asyncio.sleep(0.8)
        trade(web, 1, 10)
        _, message = await asyncio.wait_for(hearing, WAIT_S)
        await asyncio.to_thread(line.close)

    assert message["first_id"] == 10


async def test_a_server_that_has_fallen_silent_is_noticed() -> None:
    """Not even a ping is answered: the line is lost, and not before it was asked."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            server, _ = listener.accept()
            key = server.recv(4096).split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + client.ACCEPT, usedforsecurity=False).digest())
            server.sendall(b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            heard.append(server.recv(4096))
            server.recv(4096)
            server.close()

        serving_it = asyncio.create_task(asyncio.to_thread(serve))
        line = await asyncio.to_thread(Line, f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", 0.2)
        with pytest.raises(Lost, match="no word from the server"):
            await asyncio.to_thread(line.hear)
        line.close()
        await serving_it

    assert heard[0][0] == 0x80 | client.PING


@on_server_loop
async def test_what_is_no_feed_is_refused() -> None:
    """Another path of the same server."""
    async with serving() as web:
        with pytest.raises(Refused, match="404"):
            await asyncio.to_thread(Line, f"ws://127.0.0.1:{web.port}/ws/nothing")


@on_server_loop
async def test_the_server_s_goodbye_is_told() -> None:
    """Then the client tries again, with longer and longer waits."""
    told: list[str] = []
    async with serving() as web:
        line = await asyncio.to_thread(Line, url_of(web))
        hearing = asyncio.create_task(asyncio.to_thread(line.hear))
        await until(lambda: web.sessions.open_count == 1)
        await asyncio.sleep(0.05)
        web.stop.set()
        with pytest.raises(Lost) as caught:
            await asyncio.wait_for(hearing, WAIT_S)
        told.append(str(caught.value))
        await asyncio.to_thread(line.close)

    assert "1001" in told[0]


def test_waits_grow_while_nobody_answers() -> None:
    """With jitter, up to a bound."""
    waits: list[float] = []

    class Enough(Exception):
        """Ends the test."""

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            raise Enough

    with pytest.raises(Enough):
        next(messages(f"ws://127.0.0.1:{free_port()}/ws", ["book.BTCUSDT"], wait=wait))

    assert max(waits[:2]) <= 2 * client.RETRY_FIRST_S
    assert max(waits) <= client.RETRY_MAX_S
    assert max(waits[6:]) > max(waits[:2])


@on_server_loop
async def test_it_runs_from_the_shell() -> None:
    """One JSON object a line."""
    async with serving() as web:
        web.publish(7)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pulse.client", "btcusdt", "--url", url_of(web), "--kinds", "book,kline",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        lines = [json.loads(await asyncio.wait_for(process.stdout.readline(), 2 * WAIT_S)) for _ in range(2)]
        process.terminate()
        await process.wait()

    assert {line["topic"] for line in lines} == {"book.BTCUSDT", "kline.BTCUSDT.1m"}
