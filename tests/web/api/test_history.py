"""GET /api/history and GET /orderbook?at= at the real server; what is right is proven by the tests of the reader."""

import pytest

from pulse.past.reader import PastReader
from pulse.web.api.history import NOT_RECORDED
from tests.support.past import quiet_session
from tests.support.recorders import running
from tests.support.web import ask, on_server_loop, serving


@on_server_loop
async def test_past_views_and_the_report() -> None:
    """A view of a moment, as ms or ISO 8601, and what there is of the past."""
    async with running() as made:
        live = made.live()
        live.take(quiet_session(100))
        at_ms, view = live.views[40]
        async with serving(past=PastReader(made.recorder, None, "us", made.clock)) as web:
            status, body, _ = await ask(web, f"/orderbook?symbol=btcusdt&at={at_ms}")
            _, again, _ = await ask(web, "/orderbook?at=2024-08-09T00:00:50Z")
            missing, problem, _ = await ask(web, "/orderbook?at=2020-01-01")
            _, report, _ = await ask(web, "/api/history?symbol=BTCUSDT&days=1")

    assert (status, body["source"], body["last_update_id"]) == (200, "rewind", view.last_update_id)
    assert [tuple(level) for level in body["bids"]] == view.bids
    assert again["timestamp"] == 1_723_161_650
    assert (missing, problem["parameter"]) == (404, "at")
    assert problem["detail"].startswith("Nothing of BTCUSDT is recorded at 2020-01-01")
    assert (report["symbol"], report["blocks"], report["coverage"], report["place"]) == ("BTCUSDT", 2, 1.0, "memory")


@pytest.mark.parametrize("at", ["", "soon", "9999999999999999", "1&at=2"])
@on_server_loop
async def test_wrong_moment_is_a_problem(at: str) -> None:
    """It names the parameter."""
    async with serving() as web:
        status, problem, _ = await ask(web, f"/orderbook?at={at}")

    assert (status, problem["parameter"]) == (400, "at")


@pytest.mark.parametrize("path", ["/orderbook?at=1", "/api/history"])
@on_server_loop
async def test_without_a_recording_there_is_no_past(path: str) -> None:
    """The problem names the settings."""
    async with serving() as web:
        status, problem, _ = await ask(web, path)

    assert (status, problem["detail"]) == (404, NOT_RECORDED)


@on_server_loop
async def test_recorder_that_is_stuck_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of the next try."""
    monkeypatch.setattr("pulse.past.reader.SETTLED_S", 0.01)
    async with running() as made:
        live = made.live()
        monkeypatch.setattr(made.recorder, "is_settled", lambda _: False)
        live.take(quiet_session(5))
        async with serving(past=PastReader(made.recorder, None, "us", made.clock)) as web:
            status, _, headers = await ask(web, "/api/history")

    assert (status, headers["Retry-After"]) == (503, "2")
