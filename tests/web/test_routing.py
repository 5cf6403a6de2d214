"""Rate limit, compression and cache headers of the API's routes."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from pulse.web.routing import (
    COMPRESSED_FROM_BYTES,
    COMPRESSION,
    PIECE_BYTES,
    json_response,
    limited,
    revalidated_response,
)
from tests.support.web import ask, make_context, on_server_loop, serving

SHORT, LONG = b"[]", b"[" + b" " * COMPRESSED_FROM_BYTES + b"]"


def request(**headers: str) -> Request:
    """Return a GET request; header names are written with underscores."""
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw})


async def receive_nothing() -> Message:
    """Return what a client sends that has sent its request."""
    return {"type": "http.disconnect"}


@on_server_loop
async def test_rate_limit_comes_before_compression() -> None:
    """A refused request costs no compression."""
    admission = make_context().admission

    assert len(limited(admission)) == 1
    assert limited(admission, compressed=True)[1] is COMPRESSION


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_large_answer_is_sent_in_pieces(size: int) -> None:
    """Other tasks run after each piece, and the last one says that it is the last."""
    body, sent, turns = bytes(range(256)) * (size // 256) + b"x" * (size % 256), [], 0

    async def send(message: Message) -> None:
        sent.append((turns, message))

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    await json_response(body)(request().scope, receive_nothing, send)
    counting.cancel()

    (_, start), *pieces = sent
    assert dict(start["headers"])[b"content-length"] == str(size).encode()
    assert b"".join(message["body"] for _, message in pieces) == body
    assert [message["more_body"] for _, message in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(message["body"]) for _, message in pieces) <= PIECE_BYTES
    assert len({turn for turn, _ in pieces}) == len(pieces)


def test_json_response_is_not_cached() -> None:
    """Live data must not be served from a cache."""
    response = json_response(SHORT)

    assert (response.headers["cache-control"], response.media_type) == ("no-store", "application/json")


async def test_revalidated_response_has_a_strong_tag() -> None:
    """The tag depends on the body alone, and further headers are kept."""
    first = await revalidated_response(request(), SHORT, {"Link": "<?x>"})
    same, other = await revalidated_response(request(), SHORT), await revalidated_response(request(), LONG)

    assert (first.headers["cache-control"], first.headers["link"]) == ("no-cache", "<?x>")
    assert first.headers["etag"].startswith('"')
    assert first.headers["etag"] == same.headers["etag"] != other.headers["etag"]


@pytest.mark.parametrize(("known", "status"), [("{tag}", 304), ('"x", W/{tag}', 304), ("*", 304), ('"x"', 200)])
async def test_known_tag_gives_304(known: str, status: int) -> None:
    """Without a body, and with the tag."""
    tag = (await revalidated_response(request(), SHORT)).headers["etag"]
    response = await revalidated_response(request(If_None_Match=known.format(tag=tag)), SHORT)

    assert (response.status_code, response.headers["etag"]) == (status, tag)
    assert bytes(response.body) == (b"" if status == 304 else SHORT)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("gzip", True),
        ("GZIP;q=0.001, br", True),
        ("br, gzip ; q=1", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("x-gzipped", False),
        ("br", False),
        ("", False),
    ],
)
@on_server_loop
async def test_gzip_is_sent_to_those_who_accept_it(text: str, accepted: bool) -> None:
    """A weight of 0 refuses it."""
    async with serving() as web:
        status, _, headers = await ask(web, "/openapi.json", **{"Accept-Encoding": text})

    assert status == 200
    assert headers.get("Content-Encoding") == ("gzip" if accepted else None)
    assert headers["Vary"] == "Accept-Encoding"


async def test_compressed_answer_has_its_own_tag() -> None:
    """Its bytes differ, so its strong tag must; a short answer is not compressed."""
    plain = await revalidated_response(request(), LONG)
    gzip = await revalidated_response(request(Accept_Encoding="gzip"), LONG)
    refused = await revalidated_response(request(Accept_Encoding="br, gzip;q=0"), LONG)
    short = await revalidated_response(request(Accept_Encoding="gzip"), SHORT)

    assert refused.headers["etag"] == plain.headers["etag"]
    assert plain.headers["etag"] != gzip.headers["etag"]
    assert short.headers["etag"] == (await revalidated_response(request(), SHORT)).headers["etag"]
