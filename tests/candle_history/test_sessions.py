"""Which venues of demos and replays are deleted, and that nothing of one reaches the next."""

import asyncio
from collections.abc import Callable

import pytest

import pulse.candle_history.sessions as module
from pulse.candle_history.sessions import KEPT_S, REPLAY_KEPT_S, PastSessions, SessionStore, session_venue
from pulse.errors import StoreUnavailable
from pulse.market.intervals import HOUR
from pulse.market.types import TradeGap
from pulse.store.postgres import PostgresStore
from pulse.store.sqlite import SqliteStore
from tests.support.candles import BEGIN_MS, SQL_DIR, minutes
from tests.support.makers import ManualClock
from tests.support.virtual_time import run

NOW_S = 1_780_000_000.0
OLD_S = NOW_S - KEPT_S - 1
OLD_REPLAY_S = NOW_S - REPLAY_KEPT_S - 1


class Venues:
    """A store that knows only its venues: how many hours each has, and when its newest candle was."""

    def __init__(self, newest_s: dict[str, float], *, failures: int = 0) -> None:
        self.newest_s = newest_s
        self.hours = dict.fromkeys(newest_s, 3)
        self.failures = failures

    async def newest_ms(self) -> dict[str, int]:
        """Fail a few times, then answer."""
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        return {venue: int(newest_s * 1000) for venue, newest_s in self.newest_s.items()}

    async def delete_venue(self, venue: str, hours_max: int) -> int:
        """Delete an hour."""
        deleted = min(self.hours[venue], hours_max)
        self.hours[venue] -= deleted
        return deleted


def remaining(
    store: Venues, own_venue: str = "", hours: float = 0.5, is_ours: Callable[[], bool] = lambda: True
) -> set[str]:
    """Return the venues that have rows after so many hours."""

    async def scenario() -> None:
        task = asyncio.create_task(PastSessions(store, own_venue, ManualClock(wall_s=NOW_S), is_ours).run())
        await asyncio.sleep(hours * 3600)
        task.cancel()

    run(scenario())
    return {venue for venue, count in store.hours.items() if count}


def test_each_process_has_a_venue_of_its_own() -> None:
    """Its source and its start are in the name, and its instance makes it unique."""
    assert session_venue("replay", 1780000000.9, "9f3ac21b") == "replay-1780000000-9f3ac21b"


def test_past_sessions_are_deleted_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that began and wrote long ago is deleted, whatever its source."""
    monkeypatch.setattr(module, "BATCH_HOURS", 1)
    store = Venues({session_venue(source, OLD_REPLAY_S, "ab"): 0.0 for source in ("simulation", "replay")})

    assert remaining(store) == set()


def test_another_process_deletes_while_it_is_not_ours() -> None:
    """That is asked again every minute."""
    answers = iter([False, False, True])
    store = Venues({"replay": 0.0})

    assert remaining(store, hours=1.5 / 60, is_ours=lambda: next(answers)) == {"replay"}
    assert remaining(store, hours=1.5 / 60, is_ours=lambda: next(answers)) == set()


def test_sessions_that_may_be_running_are_kept() -> None:
    """One that began lately, one that wrote lately, and our own; a replay writes the old times of its recording."""
    young = session_venue("replay", OLD_REPLAY_S + 2, "ab")
    running, own = session_venue("simulation", OLD_S, "cd"), session_venue("replay", OLD_REPLAY_S, "ef")
    store = Venues({young: 0.0, running: OLD_S + 2, own: 0.0})

    assert remaining(store, own) == {young, running, own}


def test_venues_of_real_exchanges_are_kept() -> None:
    """Only a name that a session gives itself is one; the common venues of former versions are too."""
    real = {"us", "com", "vision", "replay-1", "replay-1780000000-xyz", "my-replay-1000000000-ab", "simulation-x"}
    store = Venues(dict.fromkeys([*real, "simulation", "replay"], 0.0))

    assert remaining(store) == real


def test_an_unavailable_store_is_tried_again_later() -> None:
    """The task does not end."""
    store = Venues({"replay": 0.0}, failures=2)

    assert remaining(store, hours=1.5) == {"replay"}
    store.failures = 2
    assert remaining(store, hours=2.5) == set()


async def test_deleting_from_a_real_server(postgres_url: str) -> None:
    """Candles, hours and gaps of the past session go; those of others stay."""
    past, real = (PostgresStore(postgres_url, venue, SQL_DIR) for venue in ("replay-1000000000-ab", "us"))
    gap = TradeGap("BTCUSDT", 1, 2, BEGIN_MS, BEGIN_MS + 1, BEGIN_MS + 2)
    for store in (past, real):
        await store.open()
        await store.write_candles(minutes(150))
        await store.write_gaps([gap])
    newest_ms = HOUR.floor(minutes(150)[-1].open_time_ms)
    assert await real.newest_ms() == {"replay-1000000000-ab": newest_ms, "us": newest_ms}

    task = asyncio.create_task(PastSessions(real, "replay-1780000000-cd", ManualClock(wall_s=NOW_S)).run())
    async with asyncio.timeout(20):
        while set(await real.newest_ms()) != {"us"}:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert await past.read_candles("BTCUSDT", None, None, 1000) == []
    assert await past.read_gaps("BTCUSDT", 0, 2**42, 10) == []
    assert len(await real.read_candles("BTCUSDT", None, None, 1000)) == 150
    assert await real.read_gaps("BTCUSDT", 0, 2**42, 10) == [gap]
    for store in (past, real):
        await store.aclose()


def test_only_a_server_has_sessions() -> None:
    """A file of SQLite is that of one process, and is deleted with it."""
    assert issubclass(PostgresStore, SessionStore)
    assert not issubclass(SqliteStore, SessionStore)
