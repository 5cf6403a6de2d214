"""Fetching missing trades page by page, with retries, and skipping those that cannot be fetched."""

import asyncio
import random
from collections.abc import Iterable
from typing import cast

import pytest

from pulse.binance.messages import Frame
from pulse.binance.rest import BinanceRest
from pulse.errors import ExchangeBusy, ExchangeError, PulseError
from pulse.ingest import trade_repair
from pulse.ingest.held_budget import HeldBudget
from pulse.ingest.sequencer import Sequencer
from pulse.ingest.trade_repair import ABSENT_AFTER, MISSING_TRADES_MAX, REPAIR_TIMEOUT_S, TradeRepair
from pulse.market.trade_sync import TradeSync
from pulse.market.types import Quarantined, Trade, TradeGap, TradesHeld
from pulse.queues import make_inbox
from tests.support.makers import ManualClock, trade
from tests.support.virtual_time import ScenarioClock, now_s, run

PAGE = 3


class Exchange:
    """The exchange's trades by id, PAGE at a time; each call takes a tenth of a second."""

    def __init__(self, ids: Iterable[int], fault: PulseError | None = None) -> None:
        self.ids = sorted(ids)
        self.fault = fault
        self.calls: list[tuple[float, int]] = []

    async def agg_trades(self, symbol: str, from_id: int) -> list[Trade]:
        """Return trades from this id on."""
        self.calls.append((now_s(), from_id))
        await asyncio.sleep(0.1)
        if self.fault is not None:
            raise self.fault
        return [trade(trade_id) for trade_id in self.ids if trade_id >= from_id][:PAGE]


def delivered(exchange: Exchange, *ids: int, until_s: float = 30.0) -> list[object]:
    """Return the events that the engine gets when the stream brings these trades at once."""

    async def scenario() -> list[object]:
        inbox, clock = make_inbox(), ScenarioClock()
        sequencer = Sequencer("BTCUSDT", inbox, clock, HeldBudget(), repairs_trades=True)
        repair = TradeRepair("BTCUSDT", cast(BinanceRest, exchange), sequencer, clock, random.Random(1))
        task = asyncio.create_task(repair.run())
        for trade_id in ids:
            await sequencer.put_frame(Frame("BTCUSDT", "trade", trade(trade_id)))
            repair.wake_if_needed()
        await asyncio.sleep(until_s)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    return run(scenario())


def ids_of(events: list[object]) -> list[tuple[int, bool]]:
    """Return id and repaired mark of each trade among the events."""
    return [(event.trade_id, event.is_repaired) for event in events if isinstance(event, Trade)]


def test_missing_trades_are_fetched_page_by_page() -> None:
    """Each page starts where the last one ended, and all trades are delivered in order."""
    exchange = Exchange(range(1, 20))
    events = delivered(exchange, 1, 9, 10)

    assert ids_of(events) == [(1, False), *((i, True) for i in range(2, 9)), (9, False), (10, False)]
    assert isinstance(events[1], TradesHeld)
    assert [from_id for _, from_id in exchange.calls] == [2, 5, 8]


def test_contiguous_trades_cause_no_call() -> None:
    """Without a missing trade nothing is fetched."""
    exchange = Exchange(range(1, 20))

    assert ids_of(delivered(exchange, 1, 2, 3)) == [(1, False), (2, False), (3, False)]
    assert exchange.calls == []


def test_reordered_trade_causes_no_call() -> None:
    """A trade that is only out of order has REORDER_S to arrive by itself."""
    exchange = Exchange([])

    assert ids_of(delivered(exchange, 1, 3, 2)) == [(1, False), (2, False), (3, False)]
    assert exchange.calls == []


def gaps_of(events: list[object]) -> list[tuple[int, int]]:
    """Return the first and the last id of each gap among the events."""
    return [(event.first_trade_id, event.last_trade_id) for event in events if isinstance(event, TradeGap)]


def test_trades_that_the_exchange_lacks_are_skipped_soon() -> None:
    """Answers that start after the first missing id show that there is no such trade; what they have is used."""
    exchange = Exchange([3, 4, 7])
    events = delivered(exchange, 1, 4, 8)

    assert gaps_of(events) == [(2, 2), (5, 6)]
    assert ids_of(events) == [(1, False), (3, True), (4, False), (7, True), (8, False)]
    assert [from_id for _, from_id in exchange.calls] == [2] * ABSENT_AFTER + [5] * ABSENT_AFTER
    assert exchange.calls[-1][0] < REPAIR_TIMEOUT_S


@pytest.mark.parametrize("lacking", [[(2,)], [(2,), (2, 3)], [(3,), (2, 3, 4), ()]])
def test_an_answer_that_lacks_rows_is_no_evidence_yet(lacking: list[tuple[int, ...]]) -> None:
    """The exchange has them after all: no trade is given up, and each is delivered once."""

    class Flaky(Exchange):
        async def agg_trades(self, symbol: str, from_id: int) -> list[Trade]:
            """Leave out the rows that this answer lacks."""
            left_out = lacking.pop(0) if lacking else ()
            return [row for row in await super().agg_trades(symbol, from_id) if row.trade_id not in left_out]

    events = delivered(Flaky(range(1, 10)), 1, 5, 6)

    assert gaps_of(events) == []
    assert ids_of(events) == [(1, False), (2, True), (3, True), (4, True), (5, False), (6, False)]


def test_trades_are_held_until_the_last_page_has_come() -> None:
    """Each page says so again: between two of them no minute may be closed, for it lacks trades."""
    events = delivered(Exchange(range(1, 20)), 1, 9, 10)
    kinds = [event.trade_id if isinstance(event, Trade) else type(event) for event in events]

    assert kinds == [1, TradesHeld, 2, 3, 4, TradesHeld, 5, 6, 7, TradesHeld, 8, 9, 10]


@pytest.mark.proves("lost-trades")
@pytest.mark.parametrize("exchange", [Exchange([]), Exchange([], ExchangeError("no answer"))], ids=["empty", "error"])
def test_missing_trades_are_skipped_after_the_timeout(exchange: Exchange) -> None:
    """Where none arrives the fetch is retried, less and less often, until later trades have waited long enough."""
    exchange.calls.clear()
    events = delivered(exchange, 1, 4, 5)

    assert ids_of(events) == [(1, False), (4, False), (5, False)]
    assert 3 <= len(exchange.calls) <= 12
    assert exchange.calls[-1][0] < trade_repair.REORDER_S + REPAIR_TIMEOUT_S


@pytest.mark.proves("false-trade-id")
@pytest.mark.parametrize("last_ids", [(4,), (4, 2)], ids=["alone", "the stream goes on below it"])
def test_trade_that_the_exchange_lacks_is_dropped(last_ids: tuple[int, ...]) -> None:
    """A trade whose id jumps, that nothing follows on, and that the exchange's history does not have is false."""
    events = delivered(Exchange([]), 1, *last_ids)

    assert [trade_id for trade_id, _ in ids_of(events)] == [1, *last_ids[1:]]
    assert [event for event in events if isinstance(event, TradeGap)] == []
    assert [event.kind for event in events if isinstance(event, Quarantined)] == ["trade"]


def test_rate_limited_exchange_is_not_waited_for() -> None:
    """A block lasts longer than the timeout: later trades go on, and nothing is fetched again."""
    exchange = Exchange([], ExchangeBusy("too many requests", 60.0))

    assert ids_of(delivered(exchange, 1, 4)) == [(1, False), (4, False)]
    assert len(exchange.calls) == 1


def test_too_many_missing_trades_are_skipped_at_once() -> None:
    """They would cost more calls than they are worth."""
    exchange = Exchange([])
    events = delivered(exchange, 1, MISSING_TRADES_MAX + 3)

    assert len(ids_of(events)) == 2
    assert exchange.calls == []


async def test_frames_do_not_search_the_waiting_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands may wait: the missing ids are searched for by the repair task, not at each frame."""
    searches: list[TradeSync] = []
    monkeypatch.setattr(TradeSync, "missing", property(searches.append))
    clock = ManualClock()
    sequencer = Sequencer("BTCUSDT", make_inbox(), clock, HeldBudget(), repairs_trades=True)
    repair = TradeRepair("BTCUSDT", cast(BinanceRest, Exchange([])), sequencer, clock, random.Random(1))
    for trade_id in (1, 4, 5, 6):
        await sequencer.put_frame(Frame("BTCUSDT", "trade", trade(trade_id)))
        repair.wake_if_needed()

    assert sequencer.has_waiting_trades
    assert searches == []
