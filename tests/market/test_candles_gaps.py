"""Candles where trades are missing: interruptions, halts, and the exchange's own candles beside ours."""

import pytest

from pulse.market.candles import CLOSE_GRACE_MS, MISMATCHES_MAX, CandleBuilder
from pulse.market.types import CandleMismatch
from tests.support.makers import MINUTE_MS, candle, trade
from tests.support.minutes import M0, M1, M2, M3, builder_since, built, closed, trades

# --- after an interruption


def test_interruption_without_a_lost_trade_leaves_the_minute_whole() -> None:
    """When the next trade's id follows on the last, the record is contiguous."""
    builder = built((1, 100.0, M0), (2, 101.0, M1))
    builder.interrupt()
    builder.on_time(M1 + 20_000)
    for row in trades((3, 102.0, M1 + 30_000), (4, 103.0, M2)):
        builder.on_trade(row)

    assert [(row[0], row[5]) for row in closed(builder)] == [(M0, 1.0), (M1, 2.0)]


def test_interruption_with_lost_trades_leaves_its_minutes_to_the_exchange() -> None:
    """When ids are missing, the minutes from the interruption to the first trade after it are not whole."""
    builder = built((1, 100.0, M0))
    builder.interrupt()
    builder.on_time(M1 + 10_000)
    for row in trades((9, 102.0, M1 + 30_000), (10, 103.0, M2), (11, 104.0, M3)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M2]


def test_several_interruptions_without_a_lost_trade() -> None:
    """A connection that ends before its first trade does not end the record."""
    builder = built((1, 100.0, M0))
    for _ in range(2):
        builder.interrupt()
        builder.on_time(M0 + 30_000)
    for row in trades((2, 101.0, M0 + 40_000), (3, 102.0, M1)):
        builder.on_trade(row)

    assert [(row[0], row[5]) for row in closed(builder)] == [(M0, 2.0)]


def test_after_an_interruption_no_flat_minute_is_given_out() -> None:
    """A trade that was missed may have moved the price, so the minutes are not known to be flat."""
    builder = built((1, 100.0, M0 + 1))
    builder.interrupt()
    builder.on_time(M0 + 40_000)
    builder.on_time(M3)
    assert (closed(builder), builder.live()) == ([], None)

    builder.on_trade(trade(2, 101.0, 1.0, M3))
    assert [row[0] for row in closed(builder)] == [M0]


def test_halt_that_no_status_showed_makes_no_candle() -> None:
    """Trading stopped and went on between two polls: its minutes have contiguous ids, and the exchange has no candle.

    After the trade that shows that trading goes on minutes are flat as ever.
    """
    builder = built((1, 100.0, M0 + 1))
    builder.interrupt()
    builder.on_trade(trade(2, 101.0, 1.0, M2))
    builder.on_time(M3 + MINUTE_MS + CLOSE_GRACE_MS)

    assert closed(builder) == [
        (M0, 100.0, 100.0, 100.0, 100.0, 1.0, "live"),
        (M2, 101.0, 101.0, 101.0, 101.0, 1.0, "live"),
        (M3, 101.0, 101.0, 101.0, 101.0, 0.0, "live"),
    ]


def test_interruption_during_a_halt_does_not_end_it() -> None:
    """A new connection says nothing about trading: trades during a halt leave its other minutes to the exchange."""
    builder = halted_at(M0 + 5)
    builder.interrupt()
    for row in trades((2, 101.0, M1), (3, 102.0, M3)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M0, M1]


def test_exchange_candle_confirms_a_flat_minute_after_an_interruption() -> None:
    """What the exchange has a candle of is ours, reconciled, where the two are equal."""
    builder = built((1, 100.0, M0 + 1))
    builder.interrupt()
    builder.on_exchange_candle(candle(M1, (100.0, 100.0, 100.0, 100.0), 0.0))
    builder.on_trade(trade(2, 101.0, 1.0, M3))

    assert [row[0] for row in closed(builder)] == [M1]


def test_interruption_before_the_first_event() -> None:
    """A first connection that fails leaves the record to begin with the next."""
    builder = CandleBuilder("BTCUSDT")
    builder.interrupt()
    builder.on_time(M0)
    for row in trades((1, 100.0, M0), (2, 101.0, M1)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M0]


# --- rule 5: the exchange's own candle


def test_exchange_candle_replaces_a_minute_that_is_not_whole() -> None:
    """It takes the place of the minute in which the record started, and the next is flat at its close."""
    builder = built((1, 100.0, M0 + 30_000), since_ms=M0 + 10_000)
    builder.on_exchange_candle(candle(M0, (99.0, 101.0, 98.0, 100.5), 7.0))

    assert closed(builder) == [(M0, 99.0, 101.0, 98.0, 100.5, 7.0, "exchange")]
    live = builder.live()
    assert live is not None
    assert (live.open_time_ms, live.open) == (M1, 100.5)


def test_exchange_candle_before_the_first_trade() -> None:
    """It is given out where no trade was received at all, and the minutes after it are built from its close."""
    builder = builder_since(M0 + 10_000)
    builder.on_exchange_candle(candle(M0, (99.0, 101.0, 98.0, 100.5), 7.0))
    builder.on_trade(trade(5, 103.0, 1.0, M1 + 5))
    builder.on_time(M3)

    assert [(row[0], row[4], row[6]) for row in closed(builder)] == [(M0, 100.5, "exchange"), (M1, 103.0, "live")]


def test_equal_exchange_candle_closes_the_minute_at_once() -> None:
    """Where the exchange closes the minute that is being built and agrees, nothing more is waited for."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0))

    assert closed(builder) == [(M0, 100.0, 100.0, 100.0, 100.0, 1.0, "live")]
    builder.on_time(M1 + CLOSE_GRACE_MS)
    assert (closed(builder), builder.differing) == ([], 0)


def test_exchange_candle_before_the_last_trades() -> None:
    """Where it differs from the running minute, trades are on their way; if they are equal in the end, ours is kept."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    assert closed(builder) == []

    builder.on_trade(trade(2, 100.0, 1.0, M1 - 1))
    builder.on_trade(trade(3, 100.0, 1.0, M1))
    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(2.0, "live")], 0)


@pytest.mark.parametrize("is_next_running", [False, True])
def test_exchange_candle_that_still_differs_replaces_ours(is_next_running: bool) -> None:
    """At the minute's end the exchange's candle is kept, also when it has sent the next minute's already."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    if is_next_running:
        builder.on_exchange_candle(candle(M1, is_closed=False))
    builder.on_time(M1 + CLOSE_GRACE_MS)

    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(2.0, "exchange")], 1)


def test_later_exchange_candle_that_differs_corrects_ours() -> None:
    """A minute that was given out is given out again as the exchange has it."""
    builder = built((1, 100.0, M0), (2, 100.0, M1))
    builder.on_exchange_candle(candle(M0, volume=2.0))

    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(1.0, "live"), (2.0, "exchange")], 1)


def test_later_exchange_candle_that_is_equal_reconciles_ours_once() -> None:
    """An equal candle makes the one that was given out reconciled; a second one changes nothing."""
    builder = built((1, 100.0, M0), (2, 100.0, M1))
    for _ in range(2):
        builder.on_exchange_candle(candle(M0))

    assert [row.reconciled for row in builder.take_closed()] == [False, True]
    assert builder.differing == 0
    live = builder.live()
    assert live is not None
    assert live.volume == 1.0


def test_earlier_exchange_candle_reconciles_ours_at_its_end() -> None:
    """Where the exchange closed the minute before its last trades came, equality is found when ours closes."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    builder.on_trade(trade(2, 100.0, 1.0, M1 - 1))
    builder.on_trade(trade(3, 100.0, 1.0, M1))

    assert [(row.source, row.reconciled) for row in builder.take_closed()] == [("live", True)]


def test_mismatch_is_kept_with_both_candles() -> None:
    """It has ours, the exchange's, and the time at which it was found."""
    builder = built((1, 100.0, M0), (2, 100.0, M1))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    mismatch = builder.mismatches[0]

    assert (mismatch.ours.volume, mismatch.theirs.volume, mismatch.time_ms) == (1.0, 2.0, M1)


def test_mismatches_are_bounded() -> None:
    """Only the newest are kept; all are counted."""
    builder = CandleBuilder("BTCUSDT")
    for time_ms in range(MISMATCHES_MAX + 5):
        open_ms = M0 + time_ms * MINUTE_MS
        builder.add_mismatch(CandleMismatch(candle(open_ms), candle(open_ms, volume=2.0), time_ms))

    assert (len(builder.mismatches), builder.differing) == (MISMATCHES_MAX, MISMATCHES_MAX + 5)
    assert builder.mismatches[0].time_ms == MISMATCHES_MAX + 4


def test_exchange_candle_of_an_older_minute_does_not_become_the_newest() -> None:
    """A late candle of a minute that was not whole is given out, and the newest closed one stays."""
    builder = built((1, 100.0, M0 + 1), (2, 101.0, M1), (3, 102.0, M2), since_ms=M0 + 1)
    builder.on_exchange_candle(candle(M0, volume=4.0))

    assert [row[0] for row in closed(builder)] == [M1, M0]
    newest = builder.newest_closed()
    assert newest is not None
    assert newest.open_time_ms == M1


def test_running_exchange_candle_is_live_while_ours_is_not_whole() -> None:
    """The live candle is the exchange's until ours is whole; it is never given out as closed."""
    builder = built((1, 100.0, M0 + 30_000), since_ms=M0 + 10_000)
    running = candle(M0, volume=9.0, is_closed=False)
    builder.on_exchange_candle(running)

    assert (builder.live(), closed(builder)) == (running, [])


def test_running_exchange_candle_of_an_earlier_minute_is_not_live() -> None:
    """Once the time is past its minute it is no longer the live one."""
    builder = builder_since(M0 + 10_000)
    builder.on_exchange_candle(candle(M0, is_closed=False))
    builder.on_time(M1)

    assert builder.live() is None


# --- rule 6: halts


def halted_at(time_ms: int) -> CandleBuilder:
    """Return a builder whose symbol was halted after a trade, at 100, of this time."""
    builder = built((1, 100.0, time_ms))
    builder.halt()
    return builder


def test_a_halt_makes_no_candles() -> None:
    """The next id follows on, for nothing was traded; yet the exchange has no candles of the halt."""
    builder = halted_at(M0 + 5)
    builder.resume()
    for row in trades((2, 101.0, M3 + 5), (3, 102.0, M3 + MINUTE_MS)):
        builder.on_trade(row)

    assert closed(builder) == [
        (M0, 100.0, 100.0, 100.0, 100.0, 1.0, "live"),
        (M3, 101.0, 101.0, 101.0, 101.0, 1.0, "live"),
    ]


def test_time_alone_makes_no_candle_of_a_halt() -> None:
    """Other streams may go on: the minute with a trade closes, and there is no live candle."""
    builder = halted_at(M0 + 5)
    builder.on_time(M2)

    assert [row[0] for row in closed(builder)] == [M0]
    assert builder.live() is None


def test_after_a_halt_no_flat_candle_until_a_trade() -> None:
    """The resumed status comes some time before or after trading does: only the next trade shows that it goes on."""
    builder = halted_at(M0 + 5)
    builder.resume()
    builder.on_time(M2 + CLOSE_GRACE_MS)
    assert [row[0] for row in closed(builder)] == [M0]

    builder.on_trade(trade(2, 101.0, 1.0, M2 + 10_000))
    builder.on_time(M3 + MINUTE_MS + CLOSE_GRACE_MS)
    assert closed(builder) == [
        (M2, 101.0, 101.0, 101.0, 101.0, 1.0, "live"),
        (M3, 101.0, 101.0, 101.0, 101.0, 0.0, "live"),
    ]


def test_trades_during_a_halt() -> None:
    """Minutes with trades are candles whatever the status is; those without are left to the exchange."""
    builder = halted_at(M0 + 5)
    for row in trades((2, 101.0, M1), (3, 102.0, M3)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M0, M1]


def test_exchange_candle_of_a_halt_is_given_out() -> None:
    """A flat candle of the exchange is kept, reconciled where ours is the same."""
    builder = halted_at(M0 + 5)
    builder.on_time(M1 + CLOSE_GRACE_MS)
    builder.on_exchange_candle(candle(M1, (100.0, 100.0, 100.0, 100.0), 0.0))
    builder.on_exchange_candle(candle(M2, (100.0, 100.0, 100.0, 100.0), 0.0))

    assert [(c.open_time_ms, c.reconciled) for c in builder.take_closed()] == [(M0, False), (M1, True), (M2, True)]


def test_resume_without_a_halt_changes_nothing() -> None:
    """The status is sent at each start: minutes without a trade are flat as before."""
    builder = built((1, 100.0, M0))
    builder.resume()
    builder.on_time(M2 + CLOSE_GRACE_MS)

    assert [row[0] for row in closed(builder)] == [M0, M1]
