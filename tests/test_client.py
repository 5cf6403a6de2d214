"""The client in one file, against the real server."""

import ast
import asyncio
import base64
import hashlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulse import client
from pulse.client import ConnectionLost, RequestRefused, WebSocketConnection, messages
from pulse.symbols import SymbolRegistry
from tests.fanout.test_subscriptions import trade
from tests.support.services import free_port
from tests.support.waiting import WAIT_S, until
from tests.support.web import SETTINGS, Web, on_server_loop, serving

Messages = Iterator[dict[str, Any]]


async def next_of(feed: Messages) -> dict[str, Any]:
    """Return the next message, while the server keeps running."""
    return await asyncio.wait_for(asyncio.to_thread(next, feed), WAIT_S)


def url_of(web: Web) -> str:
    """Return the address of its WebSocket."""
    return f"ws://127.0.0.1:{web.port}/ws"


def test_only_the_standard_library_is_imported() -> None:
    """The file can be copied."""
    tree = ast.parse(Path(client.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@on_server_loop
async def test_messages_arrive_as_they_are_published() -> None:
    """In their order, and compressed."""
    async with serving() as web:
        feed = messages(url_of(web), ["book.BTCUSDT", "status.ETHUSDT"], depth=5)
        web.publish(1)
        first = await next_of(feed)
        web.publish(2, "ETHUSDT")
        second = await next_of(feed)
        await asyncio.to_thread(feed.close)  # type: ignore[attr-defined]

    assert (first["topic"], first["seq"]) == ("book.BTCUSDT", 1)
    assert (second["topic"], second["seq"]) == ("status.ETHUSDT", 2)


@on_server_loop
async def test_trades_resume_after_a_lost_connection() -> None:
    """Trades published meanwhile are received, and none twice."""
    async with serving() as web:
        waits: list[float] = []
        feed = messages(url_of(web), ["trades.BTCUSDT"], wait=waits.append)
        trade(web, 1, 10, 11)
        first = await next_of(feed)
        for connection in _connections(web):
            connection.abort()
        await until(lambda: web.sessions.open_count == 0)
        trade(web, 2, 12, 13)
        second = await next_of(feed)
        await asyncio.to_thread(feed.close)  # type: ignore[attr-defined]

    assert [entry["id"] for entry in first["trades"]] == [10, 11]
    assert [entry["id"] for entry in second["trades"]] == [12, 13]
    assert len(waits) == 1


def _connections(web: Web) -> list[Any]:
    """Return the server's end of every client."""
    return [outlet.connection for outlet in web.hub._clients]  # type: ignore[attr-defined]


@on_server_loop
async def test_trades_restart_where_the_server_has_other_ids() -> None:
    """After a restart of a simulation the server rejects the old `from_id`; the client subscribes without one."""
    async with serving() as web:
        trade(web, 1, 10)
        connection = await asyncio.to_thread(WebSocketConnection, url_of(web))
        feed = client._subscribed(connection, ["trades.BTCUSDT"], {}, {"trades.BTCUSDT": {"from_id": 10**9}})
        first = await next_of(feed)
        await asyncio.to_thread(connection.close)

    assert first["first_id"] == 10


@on_server_loop
async def test_a_rejected_request_raises_the_server_s_text() -> None:
    """A retry would be rejected too."""
    async with serving() as web:
        with pytest.raises(RequestRefused, match="not listed"):
            await next_of(messages(url_of(web), ["book.DOGEUSDT"]))


@on_server_loop
async def test_a_request_that_is_refused_for_now_is_sent_again() -> None:
    """A restarted server refuses a symbol until it knows which ones its exchange lists."""
    registry = SymbolRegistry(["BTCUSDT"], running_max=2)
    async with serving(registry=registry) as web:
        troubles: list[str] = []
        source = messages(url_of(web), ["book.DOGEUSDT"], on_trouble=troubles.append, wait=lambda _: time.sleep(0.01))
        receiving = asyncio.create_task(next_of(source))
        await until(lambda: len(troubles) > 1)
        registry.set_listed(["BTCUSDT"])
        with pytest.raises(RequestRefused, match="not listed"):
            await receiving

    assert "has not answered yet" in troubles[0]


@on_server_loop
async def test_a_quiet_topic_is_no_lost_connection() -> None:
    """Trades may be rare: pings are sent, and a pong is enough."""
    async with serving() as web:
        connection = await asyncio.to_thread(WebSocketConnection, url_of(web), 0.2)
        pings: list[int] = []
        send_frame = connection._send_frame

        def count_pings(opcode: int, payload: bytes) -> None:
            if opcode == client.PING:
                pings.append(opcode)
            send_frame(opcode, payload)

        connection._send_frame = count_pings  # type: ignore[method-assign]
        connection.send({"op": "subscribe", "topics": ["trades.BTCUSDT"]})
        loop = asyncio.get_running_loop()
        receiving = loop.run_in_executor(None, lambda: [connection.receive() for _ in range(2)])
        await until(lambda: len(pings) >= 3)  # longer than the time-out
        trade(web, 1, 10)
        _, message = await asyncio.wait_for(receiving, WAIT_S)
        await asyncio.to_thread(connection.close)

    assert message["first_id"] == 10


async def test_a_silent_server_is_a_lost_connection() -> None:
    """Only after a ping has gone unanswered."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            server, _ = listener.accept()
            key = server.recv(4096).split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + client.HANDSHAKE_GUID, usedforsecurity=False).digest())
            server.sendall(b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            received.append(server.recv(4096))
            server.recv(4096)
            server.close()

        server_task = asyncio.create_task(asyncio.to_thread(serve))
        connection = await asyncio.to_thread(WebSocketConnection, f"ws://127.0.0.1:{listener.getsockname()[1]}/ws", 0.2)
        with pytest.raises(ConnectionLost, match="does not respond"):
            await asyncio.to_thread(connection.receive)
        connection.close()
        await server_task

    assert received[0][0] == 0x80 | client.PING


@on_server_loop
async def test_a_path_without_a_websocket_is_refused() -> None:
    """The error names the HTTP status."""
    async with serving() as web:
        with pytest.raises(RequestRefused, match="404"):
            await asyncio.to_thread(WebSocketConnection, f"ws://127.0.0.1:{web.port}/ws/nothing")


@on_server_loop
async def test_the_close_code_of_a_stopping_server_is_reported() -> None:
    """It is a lost connection: the client reconnects."""
    async with serving() as web:
        connection = await asyncio.to_thread(WebSocketConnection, url_of(web))
        await until(lambda: web.sessions.open_count == 1)
        receiving = asyncio.create_task(asyncio.to_thread(connection.receive))
        web.stop.set()
        with pytest.raises(ConnectionLost, match="1001"):
            await asyncio.wait_for(receiving, WAIT_S)
        await asyncio.to_thread(connection.close)


def test_waits_grow_while_the_server_cannot_be_reached() -> None:
    """Exponential backoff with jitter, up to a bound."""
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


TOKEN = "a-reader's-token!"


@on_server_loop
async def test_a_token_opens_a_server_that_needs_one() -> None:
    """Without it, and with a wrong one, the reason is said; a retry would not help."""
    async with serving(replace(SETTINGS, token=TOKEN)) as web:
        feed = messages(url_of(web), ["book.BTCUSDT"], token=TOKEN)
        web.publish(1)
        message = await next_of(feed)
        await asyncio.to_thread(feed.close)  # type: ignore[attr-defined]
        for wrong in ("", "wrong"):
            with pytest.raises(RequestRefused, match="needs a token, or the one given is wrong"):
                await next_of(messages(url_of(web), ["book.BTCUSDT"], token=wrong))

    assert message["seq"] == 1


@pytest.mark.parametrize("token", ["a\r\nX: y", "t\xf6ken", "\x00"])
def test_a_token_that_no_header_can_hold_is_refused(token: str) -> None:
    """Before anything is sent: a line end would add headers."""
    with pytest.raises(RequestRefused, match="printable ASCII"):
        next(messages("ws://127.0.0.1:1/ws", ["book.BTCUSDT"], token=token))


@on_server_loop
async def test_the_command_line_reads_the_token_from_a_file(tmp_path: Path) -> None:
    """Its arguments are seen by every user of the machine."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    async with serving(replace(SETTINGS, token=TOKEN)) as web:
        web.publish(1)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pulse.client", "btcusdt", "--url", url_of(web), "--token-file",
            str(tmp_path / "token"), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_S)
        process.kill()
        await process.wait()
    code = await asyncio.to_thread(client.main, ["BTCUSDT", "--token-file", str(tmp_path / "none")])

    assert json.loads(line)["seq"] == 1
    assert code == 2


@on_server_loop
async def test_the_command_line_prints_json_lines() -> None:
    """One object per line."""
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
