"""The real wires, against servers on loopback that behave badly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from pulse.binance import transport
from pulse.binance.transport import AiohttpTransport
from pulse.errors import ConnectionEnded, ExchangeError, HandshakeRefused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler at every path; gives host and port."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def wires() -> AsyncIterator[AiohttpTransport]:
    """The transport under test."""
    async with aiohttp.ClientSession() as session:
        yield AiohttpTransport(session)


async def test_an_answer_carries_status_headers_and_body(serve: Serve, wires: AiohttpTransport) -> None:
    """Header names are looked up without regard to case."""

    async def teapot(_: web.Request) -> web.Response:
        return web.Response(status=418, headers={"retry-after": "7"}, body=b"short")

    answer = await wires.get(f"http://{await serve(teapot)}/x", {})

    assert (answer.status, answer.headers.get("Retry-After"), answer.body) == (418, "7", b"short")


async def test_redirects_are_not_followed(serve: Serve, wires: AiohttpTransport) -> None:
    """An exchange that points elsewhere is not obeyed."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    answer = await wires.get(f"http://{await serve(elsewhere)}/x", {})

    assert answer.status == 302


async def test_endless_bodies_are_cut(serve: Serve, wires: AiohttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is read up to a bound."""
    monkeypatch.setattr(transport, "BODY_BYTES_MAX", 1000)

    async def endless(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 100_000)

    host = await serve(endless)
    with pytest.raises(ExchangeError, match="larger than 1000 bytes"):
        await wires.get(f"http://{host}/x", {})


async def test_a_port_that_nobody_listens_on_is_an_error(wires: AiohttpTransport) -> None:
    """Both ways say so."""
    with pytest.raises(ExchangeError, match="no answer"):
        await wires.get("http://127.0.0.1:1/x", {})
    with pytest.raises(ExchangeError, match="cannot be reached"):
        await wires.connect("ws://127.0.0.1:1/stream")


async def test_a_refused_handshake_tells_its_status(serve: Serve, wires: AiohttpTransport) -> None:
    """451 means more than a failure."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=451)

    host = await serve(refuse)
    with pytest.raises(HandshakeRefused, match="HTTP 451"):
        await wires.connect(f"ws://{host}/stream")


async def test_a_handshake_never_answered_ends(
    serve: Serve, wires: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.05)

    async def mute(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    host = await serve(mute)
    with pytest.raises(ExchangeError, match="handshake was not answered"):
        await wires.connect(f"ws://{host}/stream")


@pytest.mark.parametrize(
    ("ending", "words"),
    [("close", r"closed the connection \(code 1008\)"), ("cut", "cut"), ("binary", "binary"), ("large", "failed")],
)
async def test_every_end_of_a_stream_is_told_in_words(
    serve: Serve, wires: AiohttpTransport, ending: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last frame comes a ConnectionEnded that says how."""
    monkeypatch.setattr(transport, "FRAME_BYTES_MAX", 100)

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("first")
        if ending == "close":
            await socket.close(code=1008)
        elif ending == "binary":
            await socket.send_bytes(b"x")
        elif ending == "large":
            await socket.send_str("x" * 1000)
        elif request.transport is not None:
            request.transport.abort()
        return socket

    connected = await wires.connect(f"ws://{await serve(stream)}/stream")
    first = await connected.receive()

    assert first == "first"
    with pytest.raises(ConnectionEnded, match=words):
        await connected.receive()
    await connected.close()
    with pytest.raises(ConnectionEnded):
        await connected.send("late")


async def test_streams_are_opened_no_faster_than_the_exchange_allows(
    serve: Serve, wires: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One attempt more than the window holds waits until the oldest has left it."""
    monkeypatch.setattr(transport, "ATTEMPTS_WINDOW_S", 0.2)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    host = await serve(refuse)
    loop = asyncio.get_running_loop()
    wires._attempts.extend([loop.time()] * transport.ATTEMPTS_MAX)
    started_s = loop.time()
    with pytest.raises(HandshakeRefused):
        await wires.connect(f"ws://{host}/stream")

    assert loop.time() - started_s >= 0.19
