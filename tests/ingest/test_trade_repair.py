"""Fetching missing trades: page by page, with patience, and giving up what cannot be had."""

import asyncio
import random
from collections.abc import Iterable
from typing import cast

import pytest

from pulse.binance.messages import Frame
from pulse.binance.rest import BinanceRest
from pulse.errors import ExchangeBusy, ExchangeError, PulseError
from pulse.ingest import trade_repair
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.trade_repair import HOLE_TRADES_MAX, PATIENCE_S, TradeRepair
from pulse.market.trade_sync import TradeSync
from pulse.market.types import Trade, TradeGap, TradesHeld
from pulse.queues import make_inbox
from tests.support.makers import ManualClock, trade
from tests.support.virtual_time import StoryClock, now_s, run

PAGE = 3


class Exchange:
    """The exchange's trades by id, PAGE at a time; each call takes a tenth of a second."""

    def __init__(self, ids: Iterable[int], fault: PulseError | None = None) -> None:
        self.ids = sorted(ids)
        self.fault = fault
        self.asked: list[tuple[float, int]] = []

    async def agg_trades(self, symbol: str, from_id: int) -> list[Trade]:
        """From this id on."""
        self.asked.append((now_s(), from_id))
        await asyncio.sleep(0.1)
        if self.fault is not None:
            raise self.fault
        return [trade(trade_id) for trade_id in self.ids if trade_id >= from_id][:PAGE]


def told(exchange: Exchange, *ids: int, until_s: float = 30.0) -> list[object]:
    """What the engine was told when the stream brought these trades at once."""

    async def story() -> list[object]:
        inbox, clock = make_inbox(), StoryClock()
        intake = Sequencer("BTCUSDT", inbox, clock, may_repair=True)
        mender = TradeRepair("BTCUSDT", cast(BinanceRest, exchange), intake, clock, random.Random(1))
        task = asyncio.create_task(mender.run())
        for trade_id in ids:
            await intake.frame(Frame("BTCUSDT", "trade", trade(trade_id)))
            mender.look()
        await asyncio.sleep(until_s)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    return run(story())


def ids_of(events: list[object]) -> list[tuple[int, bool]]:
    """The trades among them: id, and whether it was repaired."""
    return [(event.trade_id, event.is_repaired) for event in events if isinstance(event, Trade)]


def test_a_hole_is_filled_page_by_page() -> None:
    """Each page is asked for from where the last one ended, and everything comes in order."""
    exchange = Exchange(range(1, 20))
    events = told(exchange, 1, 9, 10)

    assert ids_of(events) == [(1, False), *((i, True) for i in range(2, 9)), (9, False), (10, False)]
    assert isinstance(events[1], TradesHeld)
    assert [from_id for _, from_id in exchange.asked] == [2, 5, 8]


def test_a_stream_without_a_hole_asks_nothing() -> None:
    """Contiguous trades cost no call."""
    exchange = Exchange(range(1, 20))

    assert ids_of(told(exchange, 1, 2, 3)) == [(1, False), (2, False), (3, False)]
    assert exchange.asked == []


def test_a_trade_that_was_only_overtaken_asks_nothing() -> None:
    """It has a moment to come by itself."""
    exchange = Exchange([])

    assert ids_of(told(exchange, 1, 3, 2)) == [(1, False), (2, False), (3, False)]
    assert exchange.asked == []


def test_what_the_exchange_passes_over_is_given_up_at_once() -> None:
    """An answer that begins after the hole's first id says that there is no such trade."""
    exchange = Exchange([3, 4])
    events = told(exchange, 1, 4)

    gaps = [event for event in events if isinstance(event, TradeGap)]
    assert [(gap.first_trade_id, gap.last_trade_id) for gap in gaps] == [(2, 3)]
    assert ids_of(events) == [(1, False), (4, False)]
    assert len(exchange.asked) == 1


@pytest.mark.parametrize("exchange", [Exchange([]), Exchange([], ExchangeError("away"))], ids=["empty", "away"])
def test_patience_ends(exchange: Exchange) -> None:
    """Where nothing comes it is asked again, less and less often, until later trades have waited long enough."""
    exchange.asked.clear()
    events = told(exchange, 1, 4)

    assert ids_of(events) == [(1, False), (4, False)]
    assert 3 <= len(exchange.asked) <= 12
    assert exchange.asked[-1][0] < trade_repair.REORDER_S + PATIENCE_S


def test_a_busy_exchange_is_not_waited_for() -> None:
    """A ban lasts longer than the patience: the later trades go on, and nothing is asked again."""
    exchange = Exchange([], ExchangeBusy("too many requests", 60.0))

    assert ids_of(told(exchange, 1, 4)) == [(1, False), (4, False)]
    assert len(exchange.asked) == 1


def test_a_hole_that_is_too_large_is_left() -> None:
    """It would cost more calls than it is worth."""
    exchange = Exchange([])
    events = told(exchange, 1, HOLE_TRADES_MAX + 3)

    assert len(ids_of(events)) == 2
    assert exchange.asked == []


async def test_no_frame_pays_for_the_trades_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands may wait: the hole is looked for, through all of them, by whoever fills it and not at each frame."""
    looked: list[TradeSync] = []
    monkeypatch.setattr(TradeSync, "missing", property(looked.append))
    clock = ManualClock()
    intake = Sequencer("BTCUSDT", make_inbox(), clock, may_repair=True)
    mender = TradeRepair("BTCUSDT", cast(BinanceRest, Exchange([])), intake, clock, random.Random(1))
    for trade_id in (1, 4, 5, 6):
        await intake.frame(Frame("BTCUSDT", "trade", trade(trade_id)))
        mender.look()

    assert intake.holds_trades
    assert looked == []
