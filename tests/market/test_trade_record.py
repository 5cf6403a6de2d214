"""Every transition of the record of trades, and the minutes that it covers."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pulse.market.trade_record import CONTINUITY_TABLE, Continuity, TradeRecord
from tests.support.makers import trade
from tests.support.minutes import M0

SINCE_MS = M0 + 10_000
"""Since when the records below are contiguous, where they are or were."""
LATER_MS = M0 + 40_000
"""The exchange time of every event."""
LAST_ID = 7


def record_in(state: Continuity, has_trades: bool) -> TradeRecord:
    """Return a record in this state, which has seen LAST_ID or no trade yet."""
    record = TradeRecord()
    if state is not Continuity.UNKNOWN:
        record.on_time(SINCE_MS)
        if has_trades:
            record.on_trade(trade(LAST_ID, time_ms=SINCE_MS))
    if state is Continuity.INTERRUPTED:
        record.on_interruption()
    return record


def next_id(record: TradeRecord) -> int:
    """Return the id that follows on the last trade's; 0 before the first."""
    return LAST_ID + 1 if record.has(trade(LAST_ID)) else 0


EVENTS: dict[str, Callable[[TradeRecord], None]] = {
    "time": lambda record: record.on_time(LATER_MS),
    "interruption": lambda record: record.on_interruption(),
    "next trade": lambda record: record.on_trade(trade(next_id(record), time_ms=LATER_MS)),
    "first trade": lambda record: record.on_trade(trade(LAST_ID, time_ms=LATER_MS)),
    "jump": lambda record: record.on_trade(trade(next_id(record) + 4, time_ms=LATER_MS)),
}
UNKNOWN, CONTIGUOUS, INTERRUPTED = Continuity
CONTINUITY_CASES = [
    (UNKNOWN, "time", CONTIGUOUS, LATER_MS),
    (UNKNOWN, "interruption", UNKNOWN, 0),
    (UNKNOWN, "next trade", CONTIGUOUS, LATER_MS + 1),  # id 0
    (UNKNOWN, "first trade", CONTIGUOUS, LATER_MS + 1),
    (CONTIGUOUS, "time", CONTIGUOUS, SINCE_MS),
    (CONTIGUOUS, "interruption", INTERRUPTED, SINCE_MS),
    (CONTIGUOUS, "next trade", CONTIGUOUS, SINCE_MS),
    (CONTIGUOUS, "first trade", CONTIGUOUS, SINCE_MS),
    (CONTIGUOUS, "jump", CONTIGUOUS, LATER_MS + 1),
    (INTERRUPTED, "time", INTERRUPTED, SINCE_MS),
    (INTERRUPTED, "interruption", INTERRUPTED, SINCE_MS),
    (INTERRUPTED, "next trade", CONTIGUOUS, SINCE_MS),
    (INTERRUPTED, "first trade", CONTIGUOUS, LATER_MS + 1),
    (INTERRUPTED, "jump", CONTIGUOUS, LATER_MS + 1),
]


def test_every_transition_of_the_continuity_has_a_case() -> None:
    """Each event is tried in each state; only a jump cannot happen before the first trade."""
    pairs = {(state, event) for state, event, _, _ in CONTINUITY_CASES}

    assert pairs == {(state, event) for state in CONTINUITY_TABLE for event in EVENTS} - {(UNKNOWN, "jump")}


@pytest.mark.parametrize(("state", "event", "after", "since_ms"), CONTINUITY_CASES)
def test_continuity_after_an_event(state: Continuity, event: str, after: Continuity, since_ms: int) -> None:
    """The state after each event in each state, and since when the record is contiguous."""
    record = record_in(state, has_trades=event in ("next trade", "jump"))
    EVENTS[event](record)

    assert record.rules is CONTINUITY_TABLE[after]
    assert record.since_ms == since_ms


@pytest.mark.parametrize("state", Continuity)
def test_only_a_contiguous_record_covers_a_minute(state: Continuity) -> None:
    """A minute is whole from the start of a contiguous record on, and in no other state."""
    record = record_in(state, has_trades=True)

    covered = [record.covers(time_ms) for time_ms in (SINCE_MS - 1, SINCE_MS, LATER_MS)]
    assert covered == [False, state is CONTIGUOUS, state is CONTIGUOUS]


@pytest.mark.parametrize(
    ("second", "has", "since_ms"),
    [
        ((LAST_ID, LAST_ID, LAST_ID), True, SINCE_MS),  # repeated
        ((LAST_ID, LAST_ID + 1, LAST_ID + 3), False, SINCE_MS),  # another trade with the same id
        ((LAST_ID, LAST_ID + 2, LAST_ID + 3), False, LATER_MS + 1),  # before which one is missing
        ((LAST_ID + 1, LAST_ID + 3, LAST_ID + 3), False, LATER_MS + 1),  # the first of two with its id is missing
    ],
)
def test_fills_tell_whether_trades_of_one_id_are_missing(
    second: tuple[int, int, int], has: bool, since_ms: int
) -> None:
    """The exchange has used one id for two trades: ids that follow on each other do not show that none is missing."""
    trade_id, first_id, last_id = second
    record = record_in(CONTIGUOUS, has_trades=True)
    row = replace(trade(trade_id, time_ms=LATER_MS), first_trade_id=first_id, last_trade_id=last_id)
    had = record.has(row)
    if not had:
        record.on_trade(row)

    assert (had, record.since_ms) == (has, since_ms)
