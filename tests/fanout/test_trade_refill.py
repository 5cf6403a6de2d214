"""Holes in the trades of a log, filled by id in virtual time: what waits, how long, and what clients get in the end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import orjson
import pytest

from pulse.errors import ExchangeBusy, ExchangeError
from pulse.fanout import trade_refill as module
from pulse.fanout.hub import Hub
from pulse.fanout.requests import Topic
from pulse.fanout.trade_refill import FETCH_TIMEOUT_S, MISSING_MAX, TradeRefill
from pulse.market.types import Trade
from pulse.wire import trades_channel
from tests.support.makers import trade
from tests.support.virtual_time import now_s, run
from tests.support.web import Watchers, no_candles

BTC = "BTCUSDT"
CHANNEL = trades_channel(BTC)


class Exchange:
    """Trades by id, in pages, each after a tenth of a second; the next answers may be errors."""

    def __init__(self, ids: Sequence[int], *, page: int = 1000, errors: Sequence[ExchangeError] = ()) -> None:
        self.ids = list(ids)
        self.page = page
        self.errors = list(errors)
        self.asked: list[int] = []

    async def fetch(self, _: str, from_id: int) -> list[Trade]:
        """Return the trades from this id on."""
        self.asked.append(from_id)
        await asyncio.sleep(0.1)
        if self.errors:
            raise self.errors.pop(0)
        return [trade(trade_id) for trade_id in self.ids if trade_id >= from_id][: self.page]


class Scene:
    """A hub of one symbol that refills from an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.refill = TradeRefill(exchange.fetch)
        self.hub = Hub("0a", no_candles, Watchers(), now_s, lambda delay_s, act: None, refill=self.refill)
        self.hub.open(BTC)
        self.seq = 0

    def receive(self, *ids: int) -> None:
        """Take the next message of the owner."""
        self.seq += 1
        rows = [{"id": trade_id, "first_trade_id": trade_id} for trade_id in ids]
        self.hub.publish(CHANNEL, orjson.dumps({"seq": self.seq, "instance": "0b", "token": 7, "trades": rows}))

    def shown(self) -> list[int]:
        """Return the ids of the trades that clients can read."""
        return [place.trade_id for place in self.hub.log(BTC)._places]


def play(exchange: Exchange, scenario: Callable[[Scene], Coroutine[Any, Any, None]]) -> Scene:
    """Run a scenario while holes are filled."""

    async def main() -> Scene:
        scene = Scene(exchange)
        task = asyncio.create_task(scene.refill.run())
        await scenario(scene)
        task.cancel()
        return scene

    return run(main())


def test_a_hole_is_filled_before_later_trades_are_shown() -> None:
    """In the order of their ids, whatever came while they were fetched."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1, 2)
        scene.receive(6, 7)
        scene.receive(7, 8)
        assert scene.shown() == [1, 2]
        await asyncio.sleep(1)

    scene = play(Exchange(range(1, 20)), scenario)
    assert scene.shown() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert scene.exchange.asked == [3]


def test_trades_without_a_hole_pass_at_once() -> None:
    """The first ones, those that repeat others, and those of a session that began anew: nothing is asked for."""

    async def scenario(scene: Scene) -> None:
        scene.receive(100, 101)
        scene.receive(100, 101, 102)
        assert scene.shown() == [100, 101, 102]
        scene.receive(1, 2)
        assert scene.shown() == [1, 2]

    assert play(Exchange([]), scenario).exchange.asked == []


def test_a_hole_takes_as_many_pages_as_it_needs() -> None:
    """Page after page, up to its end."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(50)
        await asyncio.sleep(2)

    scene = play(Exchange(range(1, 60), page=20), scenario)
    assert scene.shown() == list(range(1, 51))
    assert scene.exchange.asked == [2, 22, 42]


def test_what_the_exchange_does_not_have_is_not_waited_for() -> None:
    """An answer beyond the hole shows that the ids were never given; clients see the gap."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5)
        await asyncio.sleep(0.5)

    scene = play(Exchange([1, 2, 5, 6]), scenario)
    assert scene.shown() == [1, 2, 5]


def test_errors_are_tried_again() -> None:
    """So is an answer that has not got there yet."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5)
        await asyncio.sleep(1)
        assert scene.shown() == [1]
        scene.exchange.ids += [4, 5]
        await asyncio.sleep(2)

    scene = play(Exchange([1, 2, 3], errors=[ExchangeError("away")]), scenario)
    assert scene.shown() == [1, 2, 3, 4, 5]


def test_what_cannot_be_fetched_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """After FETCH_TIMEOUT_S, or at once where the exchange refuses; one line of each hole."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5)
        await asyncio.sleep(FETCH_TIMEOUT_S - 0.1)
        assert scene.shown() == [1]
        await asyncio.sleep(0.2)

    with caplog.at_level(logging.WARNING, module.__name__):
        assert play(Exchange([1, 2]), scenario).shown() == [1, 2, 5]
    assert caplog.messages == [
        f"trades not refilled symbol={BTC} ids=2-4 reason=the exchange did not give them within 5 s"
    ]

    async def refused(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5)
        await asyncio.sleep(0.2)

    assert play(Exchange([], errors=[ExchangeBusy("banned", 60.0)]), refused).shown() == [1, 5]


def test_more_than_a_log_keeps_is_not_fetched() -> None:
    """Clients see the gap at once."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(MISSING_MAX + 3)

    scene = play(Exchange([]), scenario)
    assert (scene.shown(), scene.exchange.asked) == ([1, MISSING_MAX + 3], [])


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond HELD_MAX the hole is given up; an answer that comes later changes nothing."""
    monkeypatch.setattr(module, "HELD_MAX", 2)

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5, 6)
        await asyncio.sleep(0)
        scene.receive(6, 7)
        assert scene.shown() == [1, 5, 6, 7]
        await asyncio.sleep(1)

    assert play(Exchange(range(1, 9)), scenario).shown() == [1, 5, 6, 7]


def test_a_closed_symbol_is_not_filled() -> None:
    """What is fetched for it is dropped, also if it was opened again meanwhile."""

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.receive(5)
        await asyncio.sleep(0.05)
        scene.hub.close(BTC)
        scene.hub.open(BTC)
        scene.receive(9)
        await asyncio.sleep(1)

    assert play(Exchange(range(1, 9)), scenario).shown() == [9]


def test_subscribers_are_told_of_filled_trades() -> None:
    """As of any others."""
    told: list[float] = []

    class Listener:
        def put(self, _: object) -> None:
            told.append(now_s())

    async def scenario(scene: Scene) -> None:
        scene.receive(1)
        scene.hub.subscribe(Topic(f"trades.{BTC}", "trades", BTC), Listener())
        scene.receive(5)
        assert told == []
        await asyncio.sleep(1)

    play(Exchange(range(1, 9)), scenario)
    assert told == [0.1]
