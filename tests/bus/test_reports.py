"""What a follower knows of the books that another process makes: what the owner reported, while that is new."""

import asyncio

import orjson
import pytest

from pulse.bus.reports import NO_REPORT, REPORT_EVERY_S, REPORT_LIFE_S, Books, Reports
from pulse.market.intervals import Newest
from pulse.market.market import Market, Origin
from pulse.market.types import Candle, FeedUp
from pulse.market.view import Certificate
from pulse.wire import report_channel
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade
from tests.support.virtual_time import run

BTC, ETH = "BTCUSDT", "ETHUSDT"


class OwnBooks:
    """The books of a process that makes those of some symbols itself."""

    def __init__(self, *symbols: str) -> None:
        self.markets = {
            symbol: Market(symbol, Origin("0a", "exchange", "us"), levels_max=9, trades_kept=1, stale_after_ms=5000)
            for symbol in symbols
        }
        self.candles: tuple[Candle, ...] = ()
        for market in self.markets.values():
            market.apply(FeedUp(frozenset({"trade"})), 0.0)
            market.apply(trade(1), 0.0)
            market.view(0.0, 0.0)

    def states(self) -> dict[str, dict[str, object]]:
        """Return each as the engine does."""
        return {
            symbol: {
                "state": "syncing", "since_ms": 7, "reason": "joining", "data_age_ms": 40,
                "streams": market.stream_reports(0.0),
            }
            for symbol, market in self.markets.items()
        }  # fmt: skip

    def certificates(self) -> dict[str, Certificate]:
        """Return those of the markets."""
        return {symbol: market.certificate(0.0) for symbol, market in self.markets.items()}

    def newest(self, symbol: str) -> Newest:
        """Return the candles set."""
        return Newest(self.candles if symbol in self.markets else (), MIDNIGHT_MS)


class Wire:
    """A bus that delivers to every process, its own included, and what was published on it."""

    def __init__(self, *processes: Reports) -> None:
        self.processes = processes
        self.published: list[tuple[str, bytes]] = []

    def publish(self, channel: str, payload: bytes) -> None:
        """Deliver at once."""
        self.published.append((channel, payload))
        for process in self.processes:
            process.deliver(channel, payload)


class Scene:
    """An owner of BTC and a process that follows it and owns nothing."""

    def __init__(self) -> None:
        self.now_s, self.token = 100.0, 7
        self.followed = {BTC}
        self.books = OwnBooks(BTC)
        self.owner = self.reports("0a", self.books)
        self.follower = self.reports("0b", OwnBooks())
        self.wire = Wire(self.owner, self.follower)

    def reports(self, instance: str, books: Books) -> Reports:
        """Make the reports of a process that has both symbols open."""
        made = Reports(instance, books, lambda s: s in self.followed, lambda _: self.token, lambda: self.now_s)
        made.open(BTC)
        made.open(ETH)
        return made

    def report(self, count: int = 1) -> None:
        """Let the owner report so many times."""

        async def scenario() -> None:
            task = asyncio.create_task(self.owner.run(self.wire))
            await asyncio.sleep(count * REPORT_EVERY_S + 0.1)
            task.cancel()

        run(scenario())


@pytest.fixture
def scene() -> Scene:
    """Return a scene before the first report."""
    return Scene()


def test_a_follower_says_what_the_owner_says(scene: Scene) -> None:
    """State, streams and certificate, the data as much older as the report is."""
    scene.report()
    scene.now_s += 0.5
    own, followed = scene.owner.states()[BTC], scene.follower.states()[BTC]

    assert followed == own | {"data_age_ms": 540}
    assert followed["streams"][0].kind == own["streams"][0].kind
    assert orjson.dumps(scene.follower.certificates()[BTC]) == orjson.dumps(scene.owner.certificates()[BTC])


def test_a_follower_has_the_owners_newest_minutes(scene: Scene) -> None:
    """The closed one and the running one, whole, and which minute is running."""
    closed, live = candle(MIDNIGHT_MS), candle(MIDNIGHT_MS + MINUTE_MS, is_closed=False)
    scene.books.candles = (closed, live)
    scene.report()

    assert scene.follower.newest(BTC) == Newest((closed, live), MIDNIGHT_MS + MINUTE_MS)


def test_before_the_first_report_nothing_is_known(scene: Scene) -> None:
    """No book, no certificate, no minute; the time is known all the same."""
    assert scene.follower.states()[BTC]["reason"] == NO_REPORT
    assert scene.follower.states()[BTC]["state"] == "offline"
    assert scene.follower.certificates() == {}
    assert scene.follower.newest(BTC) == Newest((), MIDNIGHT_MS)


def test_an_old_report_says_nothing(scene: Scene) -> None:
    """Its owner has gone."""
    scene.report()
    scene.now_s += REPORT_LIFE_S + 0.1

    assert scene.follower.states()[BTC]["reason"] == NO_REPORT
    assert scene.follower.certificates() == {}


def test_only_what_is_followed_is_reported(scene: Scene) -> None:
    """Once a second, by its owner alone."""
    scene.followed = {BTC, ETH}
    scene.report(3)
    assert [channel for channel, _ in scene.wire.published] == [report_channel(BTC)] * 3

    scene.followed.clear()
    scene.report(3)
    assert len(scene.wire.published) == 3


def test_own_books_come_before_reports(scene: Scene) -> None:
    """A process that has just become the owner may still have the report of the one before it."""
    late = scene.reports("0c", OwnBooks(BTC))
    scene.wire.processes = (late,)
    scene.report()

    assert late.states()[BTC]["data_age_ms"] == 40


def test_a_report_of_a_lower_token_is_dropped(scene: Scene) -> None:
    """So is an older one of the same owner; the first of the next owner counts."""
    scene.report(2)
    payloads = [payload for _, payload in scene.wire.published]
    follower = scene.reports("0d", OwnBooks())
    for payload in (payloads[1], payloads[0], changed(payloads[1], token=6, seq=9)):
        follower.deliver(report_channel(BTC), payload)
    assert certificate_id(follower) == 0

    follower.deliver(report_channel(BTC), changed(payloads[0], token=8, instance="0e", certificate={"id": 8}))
    assert certificate_id(follower) == 8


def certificate_id(reports: Reports) -> int:
    """Return the mark of the certificate that was taken, 0 for that of the owner."""
    certificate = reports.certificates()[BTC]
    assert isinstance(certificate, dict)
    return int(certificate.get("id", 0))


def changed(payload: bytes, **fields: object) -> bytes:
    """Return a report with other fields, in the same order."""
    return orjson.dumps(orjson.loads(payload) | {"certificate": {"id": 1}} | fields)


@pytest.mark.parametrize(
    "payload",
    [
        b"nonsense", b'{"seq":1,"instance":"0a","token":7,', b'{"seq":1,"instance":"0a","token":7,"symbol":"NONE"}',
        b'{"seq":1,"instance":"0a","token":7,"symbol":["BTCUSDT"]}', b'{"seq":1,"instance":"0a","token":7,"state":{}}',
    ],
)  # fmt: skip
def test_what_is_no_report_is_dropped(scene: Scene, payload: bytes) -> None:
    """As if it had not come."""
    scene.follower.deliver(report_channel(BTC), payload)

    assert scene.follower.certificates() == {}


def test_a_report_of_another_version_says_what_it_can(scene: Scene) -> None:
    """Fields that are missing, new or of another kind are left out, and nothing breaks."""
    body = {"seq": 1, "instance": "0a", "token": 7, "symbol": BTC}
    strange = {"state": 1, "candles": [{"open": 1}], "certificate": 5}
    parts: list[dict[str, object]] = [{}, {"state": {"state": "new"}}, strange, {"candles": 7}]
    for part in parts:
        follower = scene.reports("0d", OwnBooks())
        follower.deliver(report_channel(BTC), orjson.dumps(body | part))

        assert follower.states()[BTC]["reason"] == NO_REPORT
        assert follower.newest(BTC).minutes == ()
        assert follower.certificates() == {}


def test_a_closed_symbol_is_forgotten(scene: Scene) -> None:
    """Reports of it are dropped, and it is no longer listed."""
    scene.report()
    scene.follower.close(BTC)
    scene.report()

    assert scene.follower.states().keys() == {ETH}
