"""Candles: whole minutes from trades with the exchange's digits, the exchange's own account everywhere else."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.candles import CLOSE_GRACE_MS, FLAT_MINUTES_MAX, CandleBuilder, minute_of, same_prints
from pulse.market.types import Aggressor, Candle, Trade
from tests.makers import MIDNIGHT_MS, MINUTE_MS, candle, trade, unhurried

M0, M1, M2, M3 = (MIDNIGHT_MS + i * MINUTE_MS for i in range(4))


def builder_since(time_ms: int = M0) -> CandleBuilder:
    """A builder that has heard of the exchange's time, and so has a record of trades, from here on."""
    builder = CandleBuilder("BTCUSDT")
    builder.on_time(time_ms)
    return builder


def trades(*rows: tuple[int, float, int]) -> list[Trade]:
    """Trades of quantity 1 from (id, price, time)."""
    return [trade(trade_id, price, 1.0, time_ms) for trade_id, price, time_ms in rows]


def built(*rows: tuple[int, float, int], since_ms: int = M0) -> CandleBuilder:
    """A builder that has taken these trades."""
    builder = builder_since(since_ms)
    for row in trades(*rows):
        builder.on_trade(row)
    return builder


def closed(builder: CandleBuilder) -> list[tuple[int, float, float, float, float, float, str]]:
    """What was closed since the last look, in short: minute, open, high, low, close, volume, source."""
    rows = builder.take_closed()
    assert all(row.is_closed for row in rows)
    return [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume, c.source) for c in rows]


# --- rule 1: a trade belongs to the minute of its exchange time


def test_a_minute_is_made_of_its_trades() -> None:
    """Open, high, low and close are the first, highest, lowest and last price; the last millisecond belongs to it."""
    builder = built((1, 100.0, M0), (2, 105.0, M0 + 1), (3, 99.0, M1 - 2), (4, 101.0, M1 - 1), (5, 102.0, M1))

    assert closed(builder) == [(M0, 100.0, 105.0, 99.0, 101.0, 4.0, "trades")]
    assert builder.take_closed() == []


def test_the_running_minute_is_shown() -> None:
    """The unfinished minute is there to be looked at, and the closed one beside it."""
    builder = built((1, 100.0, M0), (2, 105.0, M1))
    live, newest = builder.live(), builder.newest_closed()

    assert live is not None
    assert (live.open_time_ms, live.close, live.is_closed) == (M1, 105.0, False)
    assert newest is not None
    assert (newest.open_time_ms, newest.is_closed) == (M0, True)


def test_at_first_there_is_nothing_to_show() -> None:
    """A builder that has heard nothing has no candle."""
    builder = CandleBuilder("BTCUSDT")

    assert (builder.live(), builder.newest_closed(), builder.take_closed()) == (None, None, [])


def test_all_fields_of_a_candle() -> None:
    """Counts, ids, quote volume and the taker's share are kept besides, aggregates with all their fills."""
    builder = builder_since()
    builder.on_trade(Trade(7, 100.0, 0.5, M0, Aggressor.BUYER, 20, 22))
    builder.on_trade(Trade(8, 110.0, 0.25, M0 + 5, Aggressor.SELLER, 23, 23))
    builder.on_time(M1 + CLOSE_GRACE_MS)

    assert builder.take_closed() == [
        Candle("BTCUSDT", M0, 100.0, 110.0, 100.0, 110.0, 0.75, 77.5, 4, 0.5, 50.0, 20, 23, True, "trades")
    ]


def test_a_repeated_trade_counts_once() -> None:
    """An id that was seen, or one before it, changes nothing."""
    builder = built((1, 100.0, M0), (2, 101.0, M0), (2, 999.0, M0), (1, 999.0, M0), (3, 101.0, M1))

    assert closed(builder) == [(M0, 100.0, 101.0, 100.0, 101.0, 2.0, "trades")]


def test_a_jump_spoils_the_minutes_it_may_lie_in() -> None:
    """Missing ids leave the minutes around the jump unfinished business, and the next whole one is good."""
    builder = built((1, 100.0, M0), (5, 101.0, M1), (6, 102.0, M2), (7, 103.0, M3))

    assert [row[0] for row in closed(builder)] == [M2]


# --- rule 2: a minute is whole when the record reaches back before its start


def test_the_minute_of_the_start_is_not_whole() -> None:
    """A record that begins within a minute does not know what came before in it."""
    builder = built((1, 100.0, M0 + 30_000), (2, 101.0, M1), (3, 102.0, M2), since_ms=M0 + 10_000)

    assert [row[0] for row in closed(builder)] == [M1]


def test_an_unfinished_start_is_not_shown() -> None:
    """A minute that is not whole is not the live candle either."""
    assert built((1, 100.0, M0 + 30_000), since_ms=M0 + 10_000).live() is None


def test_without_any_time_the_first_trade_starts_the_record() -> None:
    """Even a trade at a minute's first millisecond may have had others before it."""
    builder = CandleBuilder("BTCUSDT")
    for row in trades((1, 100.0, M0), (2, 101.0, M1), (3, 102.0, M2)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M1]


# --- rule 3: a minute without a trade is flat


def test_a_minute_without_a_trade_is_flat() -> None:
    """Silent minutes stand at the previous close, with no volume and no trade ids."""
    builder = built((1, 100.0, M0), (2, 103.0, M3))
    rows = builder.take_closed()

    assert [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume, c.trade_count) for c in rows[1:]] == [
        (M1, 100.0, 100.0, 100.0, 100.0, 0.0, 0),
        (M2, 100.0, 100.0, 100.0, 100.0, 0.0, 0),
    ]
    assert (rows[1].first_trade_id, rows[1].last_trade_id) == (-1, -1)


def test_before_the_first_trade_no_minute_is_flat() -> None:
    """Where no price is known there is nothing to be flat at."""
    builder = builder_since()
    builder.on_time(M3)

    assert closed(builder) == []


def test_a_silence_longer_than_a_day_is_not_filled() -> None:
    """The bound on flat minutes: beyond it only the minute that was being built is closed."""
    later = M0 + (FLAT_MINUTES_MAX + 1) * MINUTE_MS
    builder = built((1, 100.0, M0), (2, 101.0, later))

    assert [row[0] for row in closed(builder)] == [M0]
    live = builder.live()
    assert live is not None
    assert (live.open_time_ms, live.open) == (later, 101.0)


def test_a_silence_of_a_day_is_filled() -> None:
    """Up to the bound every silent minute is given out."""
    builder = built((1, 100.0, M0), (2, 101.0, M0 + FLAT_MINUTES_MAX * MINUTE_MS))

    assert len(builder.take_closed()) == FLAT_MINUTES_MAX


# --- rule 4: when a minute closes


def test_a_minute_closes_by_time_after_a_grace() -> None:
    """Without a later trade a minute ends when the exchange's time is past it by the grace, and not before."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS - 1)
    assert closed(builder) == []

    builder.on_time(M1 + CLOSE_GRACE_MS)
    assert [row[0] for row in closed(builder)] == [M0]


def test_time_does_not_go_back() -> None:
    """An earlier time, as another stream may show, undoes nothing."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS)
    builder.on_time(M0)

    assert [row[0] for row in closed(builder)] == [M0]


def test_a_late_trade_corrects_its_minute() -> None:
    """A trade of the minute before is added to it, given out again, and moves what was flat after it."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS)
    builder.on_trade(trade(2, 90.0, 2.0, M1 - 1))

    assert [row[5] for row in closed(builder)] == [1.0, 3.0]
    live = builder.live()
    assert live is not None
    assert (live.open, live.high, live.low, live.close, live.volume) == (90.0, 90.0, 90.0, 90.0, 0.0)


def test_a_late_trade_leaves_a_minute_that_has_traded() -> None:
    """Where the running minute has its own prints, a late trade of the one before does not touch it."""
    builder = built((1, 100.0, M0), (2, 101.0, M1), (3, 90.0, M1 - 1))
    live = builder.live()

    assert live is not None
    assert (live.open, live.low) == (101.0, 101.0)
    assert closed(builder)[-1] == (M0, 100.0, 100.0, 90.0, 90.0, 2.0, "trades")


def test_a_trade_later_than_that_is_left_to_the_exchange() -> None:
    """A trade of an older minute changes nothing here."""
    builder = built((1, 100.0, M0), (2, 101.0, M2), (3, 90.0, M0 + 1))

    assert [(row[0], row[3]) for row in closed(builder)] == [(M0, 100.0), (M1, 100.0)]


# --- after the connection was cut


def test_a_cut_that_lost_no_trade_leaves_the_minute_whole() -> None:
    """When the next trade's id follows on the last, the record has no hole."""
    builder = built((1, 100.0, M0), (2, 101.0, M1))
    builder.interrupt()
    builder.on_time(M1 + 20_000)
    for row in trades((3, 102.0, M1 + 30_000), (4, 103.0, M2)):
        builder.on_trade(row)

    assert [(row[0], row[5]) for row in closed(builder)] == [(M0, 1.0), (M1, 2.0)]


def test_a_cut_that_lost_trades_spoils_its_minutes() -> None:
    """When ids are missing, the minutes from the cut to the first trade after it are left to the exchange."""
    builder = built((1, 100.0, M0))
    builder.interrupt()
    builder.on_time(M1 + 10_000)
    for row in trades((9, 102.0, M1 + 30_000), (10, 103.0, M2), (11, 104.0, M3)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M2]


def test_several_cuts_that_lost_nothing() -> None:
    """A connection that ends before it brought a trade makes no hole by itself."""
    builder = built((1, 100.0, M0))
    for _ in range(2):
        builder.interrupt()
        builder.on_time(M0 + 30_000)
    for row in trades((2, 101.0, M0 + 40_000), (3, 102.0, M1)):
        builder.on_trade(row)

    assert [(row[0], row[5]) for row in closed(builder)] == [(M0, 2.0)]


def test_after_a_cut_no_flat_minute_is_claimed() -> None:
    """A trade that was missed may have moved the price, so silence after a cut is not known to be flat."""
    builder = built((1, 100.0, M0 + 1))
    builder.interrupt()
    builder.on_time(M0 + 40_000)
    builder.on_time(M3)

    assert closed(builder) == []
    assert builder.live() is None


def test_a_cut_before_anything_was_heard() -> None:
    """A first connection that fails leaves the record to begin with the next."""
    builder = CandleBuilder("BTCUSDT")
    builder.interrupt()
    builder.on_time(M0)
    for row in trades((1, 100.0, M0), (2, 101.0, M1)):
        builder.on_trade(row)

    assert [row[0] for row in closed(builder)] == [M0]


# --- rule 5: the exchange's own candle


def test_the_exchange_fills_a_minute_that_is_not_whole() -> None:
    """Its closed candle takes the place of the minute in which we started, and the next is flat at its close."""
    builder = built((1, 100.0, M0 + 30_000), since_ms=M0 + 10_000)
    builder.on_exchange_candle(candle(M0, (99.0, 101.0, 98.0, 100.5), 7.0))

    assert closed(builder) == [(M0, 99.0, 101.0, 98.0, 100.5, 7.0, "exchange")]
    live = builder.live()
    assert live is not None
    assert (live.open_time_ms, live.open) == (M1, 100.5)


def test_the_exchange_may_speak_first() -> None:
    """Its candle is given out where no trade was seen at all, and the minutes after it are built from there."""
    builder = builder_since(M0 + 10_000)
    builder.on_exchange_candle(candle(M0, (99.0, 101.0, 98.0, 100.5), 7.0))
    builder.on_trade(trade(5, 103.0, 1.0, M1 + 5))
    builder.on_time(M3)

    assert [(row[0], row[4], row[6]) for row in closed(builder)] == [(M0, 100.5, "exchange"), (M1, 103.0, "trades")]


def test_an_equal_account_closes_the_minute_at_once() -> None:
    """Where the exchange closes the minute that is being built and agrees, nothing more is waited for."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0))

    assert closed(builder) == [(M0, 100.0, 100.0, 100.0, 100.0, 1.0, "trades")]
    builder.on_time(M1 + CLOSE_GRACE_MS)
    assert (closed(builder), builder.differing) == ([], 0)


def test_an_account_that_comes_before_the_last_trades() -> None:
    """Where it differs from the running minute, trades are on their way; when they agree in the end, ours stands."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    assert closed(builder) == []

    builder.on_trade(trade(2, 100.0, 1.0, M1 - 1))
    builder.on_trade(trade(3, 100.0, 1.0, M1))
    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(2.0, "trades")], 0)


@pytest.mark.parametrize("is_next_running", [False, True])
def test_an_account_that_still_differs_wins(is_next_running: bool) -> None:
    """At the minute's end the exchange's account stands, also when it already speaks of the next minute."""
    builder = built((1, 100.0, M0))
    builder.on_exchange_candle(candle(M0, volume=2.0))
    if is_next_running:
        builder.on_exchange_candle(candle(M1, is_closed=False))
    builder.on_time(M1 + CLOSE_GRACE_MS)

    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(2.0, "exchange")], 1)


def test_a_later_account_that_differs_corrects_ours() -> None:
    """A minute that was given out is given out again as the exchange has it."""
    builder = built((1, 100.0, M0), (2, 100.0, M1))
    builder.on_exchange_candle(candle(M0, volume=2.0))

    assert ([row[5:] for row in closed(builder)], builder.differing) == ([(1.0, "trades"), (2.0, "exchange")], 1)


def test_a_later_account_that_agrees_is_not_repeated() -> None:
    """An equal account of a minute that was given out says nothing new."""
    builder = built((1, 100.0, M0), (2, 100.0, M1))
    builder.on_exchange_candle(candle(M0))

    assert (len(closed(builder)), builder.differing) == (1, 0)
    live = builder.live()
    assert live is not None
    assert live.volume == 1.0


def test_an_account_of_an_older_minute_does_not_become_the_newest() -> None:
    """A late account of a minute that we could not build is given out, and the newest closed one stays."""
    builder = built((1, 100.0, M0 + 1), (2, 101.0, M1), (3, 102.0, M2), since_ms=M0 + 1)
    builder.on_exchange_candle(candle(M0, volume=4.0))

    assert [row[0] for row in closed(builder)] == [M1, M0]
    newest = builder.newest_closed()
    assert newest is not None
    assert newest.open_time_ms == M1


def test_a_running_account_stands_in_for_a_minute_that_is_not_whole() -> None:
    """The live candle is the exchange's until ours is whole; it is never given out as closed."""
    builder = built((1, 100.0, M0 + 30_000), since_ms=M0 + 10_000)
    running = candle(M0, volume=9.0, is_closed=False)
    builder.on_exchange_candle(running)

    assert (builder.live(), closed(builder)) == (running, [])


def test_a_running_account_of_an_earlier_minute_is_not_shown() -> None:
    """Once the time is past its minute it is no longer the live one."""
    builder = builder_since(M0 + 10_000)
    builder.on_exchange_candle(candle(M0, is_closed=False))
    builder.on_time(M1)

    assert builder.live() is None


# --- digits


def test_volumes_have_the_exchanges_digits() -> None:
    """Sums are exact: a thousand times 0.1 and 0.2 make 300, where doubles would not."""
    builder = builder_since()
    for trade_id in range(2_000):
        builder.on_trade(trade(trade_id, 0.07, 0.1 if trade_id % 2 else 0.2, M0))
    builder.on_time(M2)
    first = builder.take_closed()[0]

    assert (first.volume, first.quote_volume) == (300.0, 21.0)


@unhurried
@given(st.lists(st.tuples(st.integers(1, 10**11), st.integers(1, 10**11), st.booleans()), min_size=1, max_size=20))
def test_every_sum_is_the_decimal_sum(rows: list[tuple[int, int, bool]]) -> None:
    """Volumes in base and quote, whole and the takers', are the nearest double to the sum in decimals."""
    builder = builder_since()
    volume = quote = bought = Decimal(0)
    for trade_id, (price, quantity, is_buy) in enumerate(rows):
        p, q = Decimal(price).scaleb(-8), Decimal(quantity).scaleb(-8)
        volume, quote, bought = volume + q, quote + p * q, bought + q * is_buy
        builder.on_trade(trade(trade_id, float(p), float(q), M0, Aggressor.BUYER if is_buy else Aggressor.SELLER))
    live = builder.live()

    assert live is not None
    assert (live.volume, live.quote_volume, live.taker_buy_volume) == (float(volume), float(quote), float(bought))


def test_minutes_start_on_the_minute() -> None:
    """The minute of a time is its first millisecond, UTC."""
    assert [minute_of(t) for t in (M0, M0 + 1, M1 - 1, M1)] == [M0, M0, M0, M1]


@pytest.mark.parametrize("field", range(5))
def test_same_prints_compare_prices_and_volume(field: int) -> None:
    """One different price or volume is enough to differ."""
    values = [100.0, 100.0, 100.0, 100.0, 1.0]
    values[field] += 0.01
    other = candle(M0, (values[0], values[1], values[2], values[3]), values[4])

    assert same_prints(candle(M0), candle(M0))
    assert not same_prints(candle(M0), other)
