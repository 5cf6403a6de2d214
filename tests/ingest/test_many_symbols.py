"""A hundred symbols on one address, in virtual time: the real REST client, its budget, the schedule and the fetchers.

The exchange answers after a tenth of a second, counts the weight in its own minutes, which begin with none of ours, and
refuses what is beyond its limit. Every book has one level more than a first snapshot holds.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson
import pytest

from pulse.binance.messages import Frame
from pulse.binance.rate_limit import USABLE_SHARE, BanFile, Priority
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import Answer, Transport
from pulse.binance.venues import VENUES, Venue
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.snapshot_schedule import AUDIT_SHARE, JOIN_LEVELS, SnapshotSchedule
from pulse.ingest.snapshots import SnapshotFetcher
from pulse.market.depth_sync import BookAnchor
from pulse.queues import Inbox, Received
from tests.support.makers import diff
from tests.support.rest import make_schedule
from tests.support.virtual_time import ScenarioClock, at, now_s, run

ANSWERS_AFTER_S = 0.1
MINUTE_S, MINUTES_BEGIN_S = 60.0, 37.0
LEVELS = 5000
LIVE_WITHIN_S, FULL_WITHIN_S = 15.0, 600.0
UPDATE_ID = 10
BOOK_LEVELS = JOIN_LEVELS + 1
"""All symbols have the same small book; what an answer weighs is up to the levels that were asked for."""


class Exchange:
    """Answers depth calls; `weights` is what was spent in each of its minutes, `calls` the time and levels of each."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.weights: Counter[int] = Counter()
        self.calls: list[tuple[float, str, int]] = []

    async def get(self, url: str, params: Mapping[str, str]) -> Answer:
        """Answer with as many levels as are asked for."""
        levels, minute = int(params["limit"]), int((now_s() + MINUTES_BEGIN_S) // MINUTE_S)
        self.calls.append((now_s(), params["symbol"], levels))
        self.weights[minute] += self.venue.weights.depth_weight(levels)
        assert self.weights[minute] <= self.venue.weight_per_minute
        await asyncio.sleep(ANSWERS_AFTER_S)
        return Answer(200, {"X-MBX-USED-WEIGHT-1M": str(self.weights[minute])}, BODIES[levels])


def _body(count: int) -> bytes:
    bids, asks = ([[f"{100_000 + sign * (level + 1)}", "1"] for level in range(count)] for sign in (-1, 1))
    return orjson.dumps({"lastUpdateId": UPDATE_ID, "bids": bids, "asks": asks})


BODIES = {levels: _body(min(levels, BOOK_LEVELS)) for levels in (JOIN_LEVELS, LEVELS)}


@dataclass
class Times:
    """When each symbol's book joined, and was wholly known; and the exchange and the schedule at the end."""

    exchange: Exchange
    schedule: SnapshotSchedule
    live_s: dict[str, float] = field(default_factory=dict)
    full_s: dict[str, float] = field(default_factory=dict)
    audit_every_s: float = 0.0


class TimedInbox(asyncio.Queue[Received]):
    """An inbox that notes when books come, and keeps nothing."""

    def __init__(self, times: Times) -> None:
        super().__init__()
        self._times = times

    async def put(self, item: Received) -> None:
        """Note the time of an anchor."""
        if isinstance(item.event, BookAnchor):
            self._times.live_s.setdefault(item.symbol, now_s())
            if item.event.snapshot.limit == LEVELS:
                self._times.full_s.setdefault(item.symbol, now_s())


def started(venue_name: str, count: int, until_s: float, watched: tuple[str, ...] = ()) -> Times:
    """Start this many symbols of the settings together and let them run."""

    async def scenario() -> Times:
        venue = VENUES[venue_name]
        exchange = Exchange(venue)
        rest = BinanceRest(
            cast(Transport, exchange), venue, ScenarioClock(), BanFile(None), lambda _: Priority.PINNED_BOOK
        )
        schedule = make_schedule(rest, depth_limit=LEVELS, watched=watched)
        times = Times(exchange, schedule)
        inbox: Inbox = TimedInbox(times)
        tasks: list[asyncio.Task[None]] = []
        for number in range(count):
            symbol = f"COIN{number}"
            sequencer = Sequencer(symbol, inbox, ScenarioClock(), HeldBudget(), repairs_trades=True)
            fetcher = SnapshotFetcher(symbol, rest, sequencer, random.Random(number), schedule)
            schedule.open(symbol)
            schedule.begin(symbol)
            await sequencer.put_frame(Frame(symbol, "depth", diff(UPDATE_ID, UPDATE_ID)))
            fetcher.wake_if_needed()
            tasks += [asyncio.create_task(fetcher.run()), asyncio.create_task(fetcher.run_whole())]
        await at(until_s)
        times.audit_every_s = schedule.audit_every_s
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return times

    return run(scenario())


@pytest.mark.parametrize("venue", ["us", "com"])
def test_a_hundred_books_are_live_in_seconds_and_whole_in_minutes(venue: str) -> None:
    """Within the half of the request weight that is ours; those that are watched are whole within a minute."""
    times = started(venue, 100, FULL_WITHIN_S + 1.0, watched=("COIN98", "COIN99"))

    assert len(times.live_s) == len(times.full_s) == 100
    assert max(times.live_s.values()) <= LIVE_WITHIN_S
    assert max(times.full_s.values()) <= FULL_WITHIN_S
    assert max(times.full_s["COIN98"], times.full_s["COIN99"]) <= MINUTE_S
    assert not times.schedule.is_widening()
    assert [levels for _, _, levels in times.exchange.calls[:100]] == [JOIN_LEVELS] * 100


def test_books_of_more_symbols_than_a_minutes_weight_are_live_in_the_next() -> None:
    """500 first snapshots have five sixths of the weight that is ours at Binance.com."""
    times = started("com", 500, 130.0)

    assert len(times.live_s) == 500
    assert max(times.live_s.values()) <= LIVE_WITHIN_S


def test_audits_keep_to_their_share_of_the_weight() -> None:
    """Every whole book is compared once in the interval that the certificate states."""
    times = started("us", 100, 7_200.0)
    audits = [at_s for at_s, _, levels in times.exchange.calls if levels == LEVELS][100:]
    weight = VENUES["us"].weights.depth_weight(LEVELS)
    share = VENUES["us"].weight_per_minute * USABLE_SHARE * AUDIT_SHARE

    assert times.audit_every_s == pytest.approx(1_500.0)
    assert 300 <= len(audits) <= 100 * 7_200 / times.audit_every_s
    by_hour = Counter(int(at_s // 3_600) for at_s in audits)
    assert max(by_hour.values()) * weight <= 60 * share
