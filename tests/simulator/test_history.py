"""The day before the session: candles and trades that agree, and join the live market without a hole."""

from itertools import islice, pairwise

import pytest

from pulse.simulator.candles import flat_minute
from pulse.simulator.history import HISTORY_MINUTES, MINUTE_MS, History
from pulse.simulator.instruments import INSTRUMENTS
from tests.support.simulator import SMALL, START_MS

INSTRUMENT = INSTRUMENTS[SMALL]


@pytest.fixture(scope="module")
def day() -> History:
    """One day before the session's start."""
    return History(INSTRUMENT, seed=1, end_ms=START_MS)


def test_minutes_are_contiguous_and_end_at_the_start(day: History) -> None:
    """There is a candle for each minute of more than a day, up to the session's start and price."""
    minutes = day.minutes

    assert len(minutes) == HISTORY_MINUTES >= 1500
    assert all(later.open_ms - earlier.open_ms == MINUTE_MS for earlier, later in pairwise(minutes))
    assert (minutes[-1].open_ms + MINUTE_MS, minutes[-1].close) == (START_MS, INSTRUMENT.start_ticks)


def test_trade_ids_run_into_the_live_ones(day: History) -> None:
    """The candles' trade ids have no hole and end just below the session's first."""
    minutes = day.minutes

    assert all(later.first_trade_id == earlier.last_trade_id + 1 for earlier, later in pairwise(minutes))
    assert minutes[-1].last_trade_id + 1 == INSTRUMENT.first_trade_id
    assert all(m.count == m.last_trade_id - m.first_trade_id + 1 for m in minutes)


def test_the_candles_are_made_of_the_trades(day: History) -> None:
    """Adding the trades that are told for any minute gives that minute's candle exactly."""
    rebuilt = {m.open_ms: flat_minute(m.open_ms, 0) for m in day.minutes}
    for trade in day.trades(day.first_agg_id):
        rebuilt[trade.time_ms // MINUTE_MS * MINUTE_MS].add(trade)

    assert list(rebuilt.values()) == day.minutes


def test_trades_can_be_told_from_any_id(day: History) -> None:
    """From an id in the middle of a minute the very next trades come, in order."""
    start = day.first_agg_id + 4321

    assert [t.agg_id for t in islice(day.trades(start), 50)] == list(range(start, start + 50))


def test_a_time_finds_its_minute(day: History) -> None:
    """The first id at a time is that of its minute; beyond either end, that end's."""
    minute = day.minutes[700]
    ahead = INSTRUMENT.first_trade_id - INSTRUMENT.first_agg_id

    assert day.agg_id_at(minute.open_ms + 59_999) == minute.first_trade_id - ahead
    assert day.agg_id_at(0) == day.first_agg_id
    assert day.agg_id_at(START_MS + 10**9) == INSTRUMENT.first_agg_id


def test_one_seed_one_history(day: History) -> None:
    """The same seed tells the same day; another seed another one."""
    same, other = (History(INSTRUMENT, seed=seed, end_ms=START_MS) for seed in (1, 2))

    assert same.minutes == day.minutes != other.minutes
