"""The order of trades: what is delivered, what is held, what fills a gap, and what is given up."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.trade_sync import TRADE_BYTES, MissingTrades, TradeSync
from pulse.market.types import Trade
from tests.support.makers import MIDNIGHT_MS, trade, unhurried

NOTED_MS = MIDNIGHT_MS + 99


def sync_after(*ids: int, held_max: int = 100) -> TradeSync:
    """Return a TradeSync that has taken these trades."""
    sync = TradeSync("BTCUSDT", held_max)
    for trade_id in ids:
        sync.take(at(trade_id))
    return sync


def at(trade_id: int) -> Trade:
    """Return a trade whose time follows from its id."""
    return trade(trade_id, time_ms=MIDNIGHT_MS + trade_id)


def ids(trades: list[Trade]) -> list[int]:
    """Return the ids of trades."""
    return [row.trade_id for row in trades]


def test_next_id_is_delivered_at_once() -> None:
    """The first trade begins the order, whatever its id; each next id follows."""
    sync = sync_after()

    assert [ids(sync.take(at(trade_id))) for trade_id in (7, 8, 9)] == [[7], [8], [9]]
    assert sync.missing is None


def test_a_repetition_is_dropped() -> None:
    """An id at or below the last is not delivered again, whether trades are held or not."""
    sync = sync_after(7, 8)
    assert [sync.take(at(trade_id)) for trade_id in (8, 7, 1)] == [[], [], []]

    sync.take(at(11))
    assert [sync.take(at(trade_id)) for trade_id in (8, 11)] == [[], []]


def test_a_jump_holds_what_comes_after_it() -> None:
    """No trade is delivered before the missing ones."""
    sync = sync_after(7)

    assert [sync.take(at(trade_id)) for trade_id in (10, 11)] == [[], []]
    assert sync.missing == MissingTrades(8, 9)


def test_is_waiting_without_computing_what_is_missing() -> None:
    """It waits exactly while trades are missing, however they come."""
    sync = sync_after(7)
    seen = [(sync.is_waiting, sync.missing)]
    for trade_id in (10, 8):
        sync.take(at(trade_id))
        seen.append((sync.is_waiting, sync.missing))
    sync.fill([at(9)])
    seen.append((sync.is_waiting, sync.missing))

    assert seen == [(False, None), (True, MissingTrades(8, 9)), (True, MissingTrades(9, 9)), (False, None)]


def test_reordered_trade_fills_the_gap_by_itself() -> None:
    """It comes by the stream after all, and is not marked as repaired."""
    sync = sync_after(7, 9)
    found = sync.take(at(8))

    assert (ids(found), [row.is_repaired for row in found]) == ([8, 9], [False, False])
    assert sync.missing is None


def test_fetched_trades_fill_the_gap() -> None:
    """They are delivered in order, marked, with those that were held; ids beyond the missing ones are ignored."""
    sync = sync_after(7, 10)
    assert sync.missing_times == (MIDNIGHT_MS + 7, MIDNIGHT_MS + 10)
    found = sync.fill([at(8), at(9), at(10), at(11)])

    assert [(row.trade_id, row.is_repaired) for row in found] == [(8, True), (9, True), (10, False)]
    assert ids(sync.take(at(11))) == [11]


def test_first_page_of_fetched_trades() -> None:
    """What follows on is delivered at once; the rest is still missing."""
    sync = sync_after(7, 12)

    assert ids(sync.fill([at(8), at(9)])) == [8, 9]
    assert sync.missing == MissingTrades(10, 11)


def test_missing_trades_can_be_given_up() -> None:
    """The gap has the missing ids and the times around them; held trades are delivered up to the next missing one."""
    sync = sync_after(7, 10, 11, 20)
    gap, found = sync.give_up(NOTED_MS)

    assert gap is not None
    assert (gap.symbol, gap.first_trade_id, gap.last_trade_id) == ("BTCUSDT", 8, 9)
    assert (gap.from_ms, gap.to_ms, gap.noted_ms) == (MIDNIGHT_MS + 7, MIDNIGHT_MS + 10, NOTED_MS)
    assert (ids(found), sync.missing) == ([10, 11], MissingTrades(12, 19))


def test_where_nothing_is_missing_nothing_is_given_up() -> None:
    """Neither before the first trade nor while ids are contiguous."""
    assert sync_after().give_up(NOTED_MS) == (None, [])
    assert sync_after(7).give_up(NOTED_MS) == (None, [])


def test_held_trades_are_bounded() -> None:
    """At the bound it is full, so that the missing trades are given up in time."""
    sync = sync_after(1, 3, held_max=2)
    assert not sync.is_full

    sync.take(at(4))
    assert sync.is_full


steps = st.lists(
    st.tuples(st.sampled_from(["next"] * 5 + ["drop", "repeat", "swap", "fill", "give up"]), st.integers(1, 5))
)


@unhurried
@given(steps)
def test_every_trade_is_delivered_once_or_in_a_gap(steps: list[tuple[str, int]]) -> None:
    """Trades lost, repeated, reordered, fetched or given up: those delivered and the gaps are all ids, in order."""
    sync, out, lost, coming = sync_after(), [], set[int](), list(range(1, 200))
    for step, amount in steps:
        if step == "swap":
            coming[0], coming[amount] = coming[amount], coming[0]
        elif step == "fill" and sync.missing is not None:
            first = sync.missing.first_id
            out += ids(sync.fill([at(trade_id) for trade_id in range(first, first + amount)]))
        elif step == "give up":
            gap, found = sync.give_up(NOTED_MS)
            lost |= set(range(gap.first_trade_id, gap.last_trade_id + 1)) if gap else set()
            out += ids(found)
        elif step != "drop":
            out += ids(sync.take(at(coming[0])))
        if step in ("next", "drop"):
            coming.pop(0)

    assert out == sorted(set(out))
    assert not out or sorted({*out, *(trade_id for trade_id in lost if trade_id > out[0])}) == [
        *range(out[0], out[-1] + 1)
    ]


@pytest.mark.proves("trade-ids-anew")
def test_ids_that_begin_anew_are_followed() -> None:
    """Rule 4: ids that follow on each other, of trades later than the last one, are delivered from the third on."""
    sync = sync_after(1000, 1001, 1005)
    later = [trade(trade_id, time_ms=MIDNIGHT_MS + 2000 + trade_id) for trade_id in (1, 2, 3, 4)]

    assert [ids(sync.take(row)) for row in later] == [[], [], [1, 2, 3], [4]]
    assert (sync.restarts, sync.is_waiting) == (1, False)


def test_lone_low_ids_are_no_new_begin() -> None:
    """Ids that do not follow on each other, or that a true trade interrupts, are dropped."""
    sync = sync_after(1000)
    later = [1, 2, 7, 8, 1001, 9, 10]
    found = [ids(sync.take(trade(trade_id, time_ms=MIDNIGHT_MS + 2000 + n))) for n, trade_id in enumerate(later)]

    assert (found, sync.restarts) == ([[], [], [], [], [1001], [], []], 0)


def test_way_back_from_a_false_id() -> None:
    """A false id that was accepted, as in a replay, stops the record for two trades only."""
    sync = sync_after(5, 10**9)
    sync.give_up(NOTED_MS)
    later = [trade(trade_id, time_ms=MIDNIGHT_MS + 10**9 + trade_id) for trade_id in (6, 7, 8)]

    assert [ids(sync.take(row)) for row in later] == [[], [], [6, 7, 8]]


def test_held_trades_are_doubtful_until_others_follow() -> None:
    """Rule 5: one alone, or those above the stream's newest id, may be false; they can be dropped."""
    sync = sync_after(1)
    seen = [sync.is_doubtful]
    for trade_id in (5, 6, 2):
        sync.take(at(trade_id))
        seen.append(sync.is_doubtful)
    sync.drop_held_above(5)

    assert (seen, sync.missing) == ([False, True, False, True], MissingTrades(3, 4))
    sync.drop_held_above(2)
    assert not sync.is_waiting


def test_memory_of_the_held_trades_is_counted() -> None:
    """It follows their number."""
    sync = sync_after(1, 3, 4)
    assert sync.held_bytes == 2 * TRADE_BYTES

    sync.fill([at(2)])
    assert sync.held_bytes == 0


def fills(trade_id: int, first_id: int, last_id: int) -> Trade:
    """Return an aggregate trade of these fills."""
    return replace(at(trade_id), first_trade_id=first_id, last_trade_id=last_id)


def keys(trades: list[Trade]) -> list[tuple[int, int]]:
    """Return the id of each trade and of its first fill."""
    return [(row.trade_id, row.first_trade_id) for row in trades]


@pytest.mark.proves("same-id")
def test_second_trade_of_one_id_is_delivered() -> None:
    """Rule 6: its fills tell it from a repetition, which is dropped."""
    sync = sync_after()
    stream = [fills(7, 70, 70), fills(7, 71, 73), fills(7, 71, 73), fills(7, 70, 70), fills(8, 74, 74)]

    assert [keys(sync.take(row)) for row in stream] == [[(7, 70)], [(7, 71)], [], [], [(8, 74)]]


def test_second_trade_of_one_id_is_delivered_while_later_ones_wait() -> None:
    """It waits for nothing, and missing trades may share an id too, whichever comes first."""
    sync = sync_after()
    sync.take(fills(7, 70, 70))
    held = [fills(9, 76, 76), fills(9, 75, 75), fills(9, 75, 75)]

    assert [keys(sync.take(row)) for row in held] == [[], [], []]
    assert keys(sync.take(fills(7, 71, 72))) == [(7, 71)]
    assert keys(sync.fill([fills(8, 73, 73), fills(8, 74, 74)])) == [(8, 73), (8, 74), (9, 75), (9, 76)]
    assert not sync.is_waiting


def test_trades_of_one_id_are_given_up_and_counted_together() -> None:
    """Both count as held, and both are delivered after the gap."""
    sync = sync_after()
    sync.take(fills(7, 70, 70))
    sync.take(fills(9, 75, 75))
    assert sync.is_doubtful
    sync.take(fills(9, 76, 76))
    assert not sync.is_doubtful
    gap, found = sync.give_up(NOTED_MS)

    assert gap is not None
    assert (gap.first_trade_id, gap.last_trade_id, keys(found)) == (8, 8, [(9, 75), (9, 76)])
    assert keys(sync.take(fills(10, 77, 77))) == [(10, 77)]


def test_held_trade_of_fetched_fills_is_false() -> None:
    """Rule 7: two trades in a row claimed ids that are too high; the true ones were fetched, and the stream goes on."""
    sync = sync_after()
    sync.take(fills(7, 70, 72))
    sync.take(fills(9, 76, 76))  # truly 8: it fits, if the one before it is believed to be lost
    found = sync.fill([fills(8, 76, 76)])

    assert (keys(found), sync.false_ids, sync.is_waiting) == ([(8, 76)], 1, False)
    assert keys(sync.take(fills(9, 77, 77))) == [(9, 77)]


def test_trade_delivered_under_a_false_id_is_not_delivered_twice() -> None:
    """Rule 7: it looked like a second one of the id below it; the exchange's history has it under its own."""
    sync = sync_after()
    sync.take(fills(7, 70, 70))
    found = [keys(sync.take(fills(7, 71, 71))), keys(sync.take(fills(9, 72, 72)))]
    filled = sync.fill([fills(8, 71, 71)])

    assert (found, keys(filled), sync.false_ids) == ([[(7, 71)], []], [(9, 72)], 0)
