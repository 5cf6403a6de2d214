"""GET /api/explain/{metric}, at the real server."""

import pytest

from pulse.fanout.requests import view_topic
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import book_channel, encode_view
from tests.support.market import live_market, view_of
from tests.support.web import Web, ask, on_server_loop, serving


class Reader:
    """A subscriber."""

    def put(self, _: EncodedMessage) -> None:
        """Ignore a message."""


def publish_views(web: Web, count: int) -> None:
    """Publish this many views of a live market, as they are watched."""
    web.hub.subscribe(view_topic("BTCUSDT"), Reader())
    market = live_market()
    for _ in range(count):
        web.hub.publish(book_channel("BTCUSDT"), encode_view(view_of(market)))


@on_server_loop
async def test_a_number_on_the_screen_is_explained_by_the_view_that_showed_it() -> None:
    """With its own figures, whatever came since."""
    async with serving() as web:
        publish_views(web, 5)
        status, body, headers = await ask(web, "/api/explain/mid_price?seq=2&instance=9f3ac21b")

    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert (body["seq"], body["symbol"], body["arithmetic"]) == (2, "BTCUSDT", "(100.0 + 100.02) / 2")
    assert body["inputs"][0] == {"name": "b", "meaning": "best bid price", "value": 100.0}


@on_server_loop
async def test_without_a_number_it_is_the_newest_view() -> None:
    """For those who look by hand."""
    async with serving() as web:
        publish_views(web, 5)
        _, body, _ = await ask(web, "/api/explain/mid_price")

    assert body["seq"] == 5


@pytest.mark.parametrize("query", ["seq=99", "seq=2&instance=0a0a0a0a"])
@on_server_loop
async def test_a_view_that_is_gone_is_not_found(query: str) -> None:
    """With a sentence; a view of another process is not the one on the screen."""
    async with serving() as web:
        publish_views(web, 5)
        status, body, _ = await ask(web, f"/api/explain/mid_price?{query}")

    assert (status, body["parameter"]) == (404, "seq")
    assert "no longer" in body["detail"]


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [("moon", 404, "metric"), ("mid_price?seq=x", 400, "seq"), ("mid_price?symbol=NOPE", 404, "symbol")],
)
@on_server_loop
async def test_wrong_parameter_is_named(path: str, status: int, parameter: str) -> None:
    """With its valid values."""
    async with serving() as web:
        given, body, _ = await ask(web, f"/api/explain/{path}")

    assert (given, body["parameter"]) == (status, parameter)


@on_server_loop
async def test_before_the_first_view_it_is_unavailable() -> None:
    """The answer says when to ask again."""
    async with serving() as web:
        status, _, headers = await ask(web, "/api/explain/mid_price")

    assert (status, headers["Retry-After"]) == (503, "1")
