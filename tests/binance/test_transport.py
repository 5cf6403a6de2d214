"""The real network transport against servers on loopback that misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey

from pulse.binance import transport
from pulse.binance.transport import AiohttpTransport
from pulse.errors import ConnectionEnded, ExchangeError, HandshakeRefused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Return a function that serves a handler at every path and returns host and port."""
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
async def network() -> AsyncIterator[AiohttpTransport]:
    """Open the transport under test."""
    async with transport.open_session() as session:
        yield AiohttpTransport(session)


async def test_answer_has_status_headers_and_body(serve: Serve, network: AiohttpTransport) -> None:
    """Headers are looked up without regard to case."""

    async def teapot(_: web.Request) -> web.Response:
        return web.Response(status=418, headers={"retry-after": "7"}, body=b"short")

    answer = await network.get(f"http://{await serve(teapot)}/x", {})

    assert (answer.status, answer.headers.get("Retry-After"), answer.body) == (418, "7", b"short")


@pytest.mark.proves("redirect")
async def test_redirects_are_not_followed(serve: Serve, network: AiohttpTransport) -> None:
    """A redirect is returned as an answer."""

    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})

    answer = await network.get(f"http://{await serve(elsewhere)}/x", {})

    assert answer.status == 302


@pytest.mark.proves("upstream-size")
async def test_body_size_is_bounded(serve: Serve, network: AiohttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer larger than BODY_BYTES_MAX is an error."""
    monkeypatch.setattr(transport, "BODY_BYTES_MAX", 1000)

    async def endless(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 100_000)

    host = await serve(endless)
    with pytest.raises(ExchangeError, match="larger than 1000 bytes"):
        await network.get(f"http://{host}/x", {})


async def test_closed_port_is_an_error(network: AiohttpTransport) -> None:
    """REST call and stream each raise ExchangeError, without the address in its text."""
    with pytest.raises(ExchangeError, match=r"^no answer: Connection refused$"):
        await network.get("http://127.0.0.1:1/x", {})
    with pytest.raises(ExchangeError, match=r"^the exchange cannot be reached: Connection refused$"):
        await network.connect("ws://127.0.0.1:1/stream")


KEY = ConnectionKey("secret.host", 443, True, True, None, None, None)


@pytest.mark.proves("troubles")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "secret.host not known")), "its name cannot be resolved"),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("secret.host")),
         "its certificate cannot be verified"),
        (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "secret.host")), "TLS failed"),
        (aiohttp.ConnectionTimeoutError("Connection timeout to host https://secret.host"), "time-out"),
        (TimeoutError(), "time-out"),
        (aiohttp.ClientConnectorError(KEY, OSError("Multiple exceptions: 10.1.2.3")), "no connection could be opened"),
        (aiohttp.ClientResponseError(None, (), status=400, message="Bad\x1b line"), r"Bad\x1b line"),  # type: ignore[arg-type]
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_reasons_name_no_address(fault: Exception, reason: str) -> None:
    """They are shown to everyone as the reason of a book's state."""
    assert transport._reason(fault) == reason


async def test_refused_handshake_has_its_status(serve: Serve, network: AiohttpTransport) -> None:
    """The status tells a refused region from other failures."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=451)

    host = await serve(refuse)
    with pytest.raises(HandshakeRefused, match="HTTP 451"):
        await network.connect(f"ws://{host}/stream")


@pytest.mark.proves("redirect")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirected_handshake_is_refused(serve: Serve, network: AiohttpTransport, status: int) -> None:
    """The other host, which may be any, gets no request."""
    requests: list[str] = []

    async def other(request: web.Request) -> web.WebSocketResponse:
        requests.append(request.path)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        return socket

    target = await serve(other)

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"http://{target}/stream"})

    host = await serve(redirect)
    with pytest.raises(HandshakeRefused, match=f"HTTP {status}"):
        await network.connect(f"ws://{host}/stream")
    assert requests == []


async def test_a_librarys_text_cannot_break_a_log_line(network: AiohttpTransport) -> None:
    """An error that quotes what the other side sent is one line."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nbad\x0b header\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ExchangeError) as fault:
            await network.get(f"http://127.0.0.1:{port}/x", {})

    assert str(fault.value) == str(fault.value).splitlines()[0]


async def test_unanswered_handshake_times_out(
    serve: Serve, network: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the answer is bounded."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.05)

    never = asyncio.Event()

    async def mute(_: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    host = await serve(mute)
    with pytest.raises(ExchangeError, match="handshake was not answered"):
        await network.connect(f"ws://{host}/stream")


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("close", r"closed the connection \(code 1008\)"), ("cut", "cut"), ("binary", "binary"), ("large", "failed")],
)
async def test_end_of_a_stream_states_its_reason(
    serve: Serve, network: AiohttpTransport, ending: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last frame `receive` raises ConnectionEnded, whose text says how the stream ended."""
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

    connected = await network.connect(f"ws://{await serve(stream)}/stream")
    first = await connected.receive()

    assert first == "first"
    with pytest.raises(ConnectionEnded, match=reason):
        await connected.receive()
    await connected.close()
    with pytest.raises(ConnectionEnded):
        await connected.send("late")


async def test_rate_of_opened_streams_is_limited(
    serve: Serve, network: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt beyond ATTEMPTS_MAX waits until the oldest has left the window."""
    monkeypatch.setattr(transport, "ATTEMPTS_WINDOW_S", 0.2)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503)

    host = await serve(refuse)
    loop = asyncio.get_running_loop()
    network._attempts.extend([loop.time()] * transport.ATTEMPTS_MAX)
    started_s = loop.time()
    with pytest.raises(HandshakeRefused):
        await network.connect(f"ws://{host}/stream")

    assert loop.time() - started_s >= 0.19
