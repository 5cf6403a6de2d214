"""GET /api/watchlist."""

from pulse.ingest.watchlist import no_watchlist
from tests.support.web import ask, on_server_loop, serving


@on_server_loop
async def test_report_is_served() -> None:
    """The object is served unchanged, and no cache keeps it."""
    async with serving() as web:
        status, body, headers = await ask(web, "/api/watchlist")

    assert status == 200
    assert body == no_watchlist()
    assert headers["cache-control"] == "no-store"
