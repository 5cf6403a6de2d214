"""The id of each request, from the client to the answer and the log, on the real server."""

import asyncio
import logging

import aiohttp
import pytest

from pulse.logs import REQUEST_ID, request_id
from tests.support.web import ask, on_server_loop, serving
from tests.support.websockets import upgrade

HEADER = "X-Request-Id"


@on_server_loop
async def test_each_answer_has_an_id_of_its_own() -> None:
    """Pages, API, errors and refusals."""
    ids = []
    async with serving() as web:
        for path in ("/healthz", "/healthz", "/", "/api/nothing", "/api/ohlcv?interval=7m"):
            _, _, headers = await ask(web, path)
            ids.append(headers[HEADER])

    assert all(REQUEST_ID.fullmatch(each) for each in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("trace-1.A_b", True), ("a" * 64, True), ("a" * 65, False), ("two words", False), ('x"y', False), ("", False)],
)
@on_server_loop
async def test_a_well_formed_id_is_kept(given: str, is_kept: bool) -> None:
    """Any other is replaced, not repeated: it goes into the log."""
    async with serving() as web:
        _, _, headers = await ask(web, "/healthz", **{HEADER: given})

    assert (headers[HEADER] == given) is is_kept
    assert REQUEST_ID.fullmatch(headers[HEADER])


@on_server_loop
async def test_a_websocket_has_an_id() -> None:
    """In the answer to its handshake, and in that of one that is refused."""
    async with serving() as web, aiohttp.ClientSession() as client:
        async with client.ws_connect(web.feed_url, headers={HEADER: "session-7"}) as feed:
            accepted = feed._response.headers[HEADER]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{web.feed_url}/NOSUCH", headers={HEADER: "session-8"})

    assert accepted == "session-7"
    assert refused.value.headers is not None
    assert refused.value.headers[HEADER] == "session-8"


@on_server_loop
async def test_a_request_that_cannot_be_read_has_an_id() -> None:
    """The server answers it alone."""
    async with serving() as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nbroken\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"x-request-id: " in answer.lower()


@on_server_loop
async def test_lines_of_a_request_have_its_id(caplog: pytest.LogCaptureFixture) -> None:
    """The context of the code that serves it; at the level DEBUG each answer is logged."""
    seen: list[str] = []

    class Watch(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(f"{request_id.get()} {record.getMessage().partition(' took_s')[0]}")
            return True

    logger = logging.getLogger("pulse.web.request_ids")
    watch = Watch()
    caplog.set_level(logging.DEBUG, logger.name)
    logger.addFilter(watch)
    try:
        async with serving() as web:
            await ask(web, "/healthz", **{HEADER: "a"})
            await ask(web, "/api/nothing", **{HEADER: "b"})
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(upgrade(web.port, "/ws", X_Request_Id="c"))
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
    finally:
        logger.removeFilter(watch)

    assert seen == [
        "a answer method=GET path=/healthz status=200",
        "b answer method=GET path=/api/nothing status=404",
        "c answer method=WEBSOCKET path=/ws status=101",
    ]
    assert request_id.get() == ""
