"""Candles from trades: whole minutes, flat ones, late trades, and the exchange's digits."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.market.candles import (
    CLOSE_GRACE_MS,
    FLAT_MINUTES_MAX,
    CandleBuilder,
    candle_of_trades,
    candles_equal,
    exact_units,
    minute_of,
)
from pulse.market.types import Aggressor, Candle, Trade
from tests.support.makers import MINUTE_MS, candle, trade, unhurried
from tests.support.minutes import M0, M1, M2, M3, builder_since, built, closed, trades

# --- rule 1: a trade belongs to the minute of its exchange time


def test_a_minute_is_made_of_its_trades() -> None:
    """Open, high, low and close are the first, highest, lowest and last price; the last millisecond belongs to it."""
    builder = built((1, 100.0, M0), (2, 105.0, M0 + 1), (3, 99.0, M1 - 2), (4, 101.0, M1 - 1), (5, 102.0, M1))

    assert closed(builder) == [(M0, 100.0, 105.0, 99.0, 101.0, 4.0, "live")]
    assert builder.take_closed() == []


def test_running_minute_is_the_live_candle() -> None:
    """The unfinished minute can be read at any time, and the newest closed one beside it."""
    builder = built((1, 100.0, M0), (2, 105.0, M1))
    live, newest = builder.live(), builder.newest_closed()

    assert live is not None
    assert (live.open_time_ms, live.close, live.is_closed) == (M1, 105.0, False)
    assert newest is not None
    assert (newest.open_time_ms, newest.is_closed) == (M0, True)


def test_new_builder_has_no_candle() -> None:
    """Before the first event there is neither a live nor a closed candle."""
    builder = CandleBuilder("BTCUSDT")

    assert (builder.live(), builder.newest_closed(), builder.take_closed()) == (None, None, [])


def test_all_fields_of_a_candle() -> None:
    """Counts, ids, quote volume and the taker's share are kept too, aggregates with all their fills."""
    builder = builder_since()
    builder.on_trade(Trade(7, 100.0, 0.5, M0, Aggressor.BUYER, 20, 22))
    builder.on_trade(Trade(8, 110.0, 0.25, M0 + 5, Aggressor.SELLER, 23, 23))
    builder.on_time(M1 + CLOSE_GRACE_MS)

    assert builder.take_closed() == [
        Candle("BTCUSDT", M0, 100.0, 110.0, 100.0, 110.0, 0.75, 77.5, 4, 0.5, 50.0, 20, 23, True, "live", False)
    ]


def test_a_repeated_trade_counts_once() -> None:
    """An id at or below the last one changes nothing."""
    builder = built((1, 100.0, M0), (2, 101.0, M0), (2, 999.0, M0), (1, 999.0, M0), (3, 101.0, M1))

    assert closed(builder) == [(M0, 100.0, 101.0, 100.0, 101.0, 2.0, "live")]


def test_minutes_around_a_jump_are_not_whole() -> None:
    """Missing ids leave the minutes around the jump to the exchange; the next whole one is given out."""
    builder = built((1, 100.0, M0), (5, 101.0, M1), (6, 102.0, M2), (7, 103.0, M3))

    assert [row[0] for row in closed(builder)] == [M2]


# --- rule 2: a minute is whole when the record reaches back before its start


def test_minute_in_which_the_record_starts_is_not_whole() -> None:
    """A record that begins within a minute lacks what came before in it."""
    builder = built((1, 100.0, M0 + 30_000), (2, 101.0, M1), (3, 102.0, M2), since_ms=M0 + 10_000)

    assert [row[0] for row in closed(builder)] == [M1]


def test_minute_that_is_not_whole_is_not_live() -> None:
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
    """Minutes without a trade stay at the previous close, with no volume and no trade ids."""
    builder = built((1, 100.0, M0), (2, 103.0, M3))
    rows = builder.take_closed()

    assert [(c.open_time_ms, c.open, c.high, c.low, c.close, c.volume, c.trade_count) for c in rows[1:]] == [
        (M1, 100.0, 100.0, 100.0, 100.0, 0.0, 0),
        (M2, 100.0, 100.0, 100.0, 100.0, 0.0, 0),
    ]
    assert (rows[1].first_trade_id, rows[1].last_trade_id) == (-1, -1)


def test_before_the_first_trade_no_minute_is_flat() -> None:
    """Without a known price there is no flat candle."""
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
    """Up to the bound every minute without a trade is given out."""
    builder = built((1, 100.0, M0), (2, 101.0, M0 + FLAT_MINUTES_MAX * MINUTE_MS))

    assert len(builder.take_closed()) == FLAT_MINUTES_MAX


# --- rule 4: when a minute closes


def test_a_minute_closes_by_time_after_a_grace() -> None:
    """Without a later trade a minute closes when the exchange's time is CLOSE_GRACE_MS past its end, not before."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS - 1)
    assert closed(builder) == []

    builder.on_time(M1 + CLOSE_GRACE_MS)
    assert [row[0] for row in closed(builder)] == [M0]


def test_time_does_not_go_back() -> None:
    """An earlier time, as another stream may have, changes nothing."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS)
    builder.on_time(M0)

    assert [row[0] for row in closed(builder)] == [M0]


def test_a_late_trade_corrects_its_minute() -> None:
    """A trade of the minute before is added to it, the minute is given out again, and the flat one after it moves."""
    builder = built((1, 100.0, M0))
    builder.on_time(M1 + CLOSE_GRACE_MS)
    builder.on_trade(trade(2, 90.0, 2.0, M1 - 1))

    assert [row[5] for row in closed(builder)] == [1.0, 3.0]
    live = builder.live()
    assert live is not None
    assert (live.open, live.high, live.low, live.close, live.volume) == (90.0, 90.0, 90.0, 90.0, 0.0)


def test_minute_that_differs_counts_once_however_many_trades_come_late() -> None:
    """After a long outage thousands of trades may belong to a minute of which the exchange's candle is known."""
    builder = built((1, 100.0, M0))
    theirs = candle(M0, (100.0, 100.0, 100.0, 100.0), 4.0, first_trade_id=1, last_trade_id=4, trade_count=4)
    builder.on_exchange_candle(theirs)
    builder.on_time(M1 + CLOSE_GRACE_MS)
    for row in trades((2, 100.0, M0 + 1), (3, 100.0, M0 + 2)):
        builder.on_trade(row)

    (mismatch,) = builder.mismatches
    assert (builder.differing, mismatch.ours.volume, mismatch.theirs) == (1, 3.0, theirs)


def test_late_trade_does_not_change_a_running_minute_with_trades() -> None:
    """Where the running minute has its own trades, a late trade of the one before does not change it."""
    builder = built((1, 100.0, M0), (2, 101.0, M1), (3, 90.0, M1 - 1))
    live = builder.live()

    assert live is not None
    assert (live.open, live.low) == (101.0, 101.0)
    assert closed(builder)[-1] == (M0, 100.0, 100.0, 90.0, 90.0, 2.0, "live")


def test_trade_of_an_older_minute_changes_nothing() -> None:
    """A trade that comes more than one traded minute late is left to the exchange."""
    builder = built((1, 100.0, M0), (2, 101.0, M2), (3, 90.0, M0 + 1))

    assert [(row[0], row[3]) for row in closed(builder)] == [(M0, 100.0), (M1, 100.0)]


# --- digits


def test_volumes_have_the_exchanges_digits() -> None:
    """Sums are exact: a thousand times 0.1 and 0.2 make 300, where doubles would not."""
    builder = builder_since()
    for trade_id in range(2_000):
        builder.on_trade(trade(trade_id, 0.07, 0.1 if trade_id % 2 else 0.2, M0))
    builder.on_time(M2)
    first = builder.take_closed()[0]

    assert (first.volume, first.quote_volume) == (300.0, 21.0)


@pytest.mark.proves("exact-sums")
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


FIELDS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_candles_differ_if_any_field_does(field: str) -> None:
    """One different price, sum or count is enough."""
    other = replace(candle(M0), **{field: getattr(candle(M0), field) + 1})

    assert candles_equal(candle(M0), candle(M0))
    assert not candles_equal(candle(M0), other)


def test_quote_volume_may_differ_by_its_rounding() -> None:
    """The exchange prints eight decimals of a product that may have sixteen, trade by trade."""
    ours = replace(candle(M0), trade_count=3)

    assert candles_equal(ours, replace(ours, quote_volume=ours.quote_volume + 2.9e-8))
    assert not candles_equal(ours, replace(ours, quote_volume=ours.quote_volume + 4e-8))


@pytest.mark.parametrize(("ids", "is_same"), [((1, 1), True), ((1, 2), False), ((-1, -1), True)])
def test_trade_ids_are_compared_where_both_have_them(ids: tuple[int, int], is_same: bool) -> None:
    """The exchange's REST has no trade ids; its stream has, and they must be ours."""
    ours = replace(candle(M0), first_trade_id=1, last_trade_id=1)
    theirs = replace(candle(M0), first_trade_id=ids[0], last_trade_id=ids[1])

    assert candles_equal(ours, theirs) is is_same


# --- trades that come late, were fetched, or do not count


def test_minute_with_a_repaired_trade_is_repaired() -> None:
    """A trade that was fetched by its id makes its minute repaired, and no other."""
    builder = built((1, 100.0, M0))
    builder.on_trade(replace(trade(2, 101.0, 1.0, M0 + 5), is_repaired=True))
    builder.on_trade(trade(3, 101.0, 1.0, M1))
    builder.on_trade(trade(4, 101.0, 1.0, M2))

    assert [row.source for row in builder.take_closed()] == ["repaired", "live"]


def test_print_outside_the_market_does_not_count() -> None:
    """Its id keeps the record contiguous; price, volume and count leave it out, as the exchange's candle does."""
    builder = built((1, 100.0, M0))
    builder.on_trade(replace(trade(2, 500.0, 9.0, M0 + 5), is_market=False))
    builder.on_trade(trade(3, 101.0, 1.0, M1))

    assert closed(builder) == [(M0, 100.0, 100.0, 100.0, 100.0, 1.0, "live")]


def test_late_trade_corrects_the_flat_minutes_after_it() -> None:
    """A trade of a minute that was given out as flat is added to it, and moves the flat ones after it."""
    builder = built((1, 100.0, M0))
    builder.on_time(M3 + CLOSE_GRACE_MS)
    builder.take_closed()
    builder.on_trade(trade(2, 90.0, 2.0, M1 + 1))

    assert [row[:6] for row in closed(builder)] == [
        (M1, 90.0, 90.0, 90.0, 90.0, 2.0), (M2, 90.0, 90.0, 90.0, 90.0, 0.0),
    ]  # fmt: skip
    live = builder.live()
    assert live is not None
    assert (live.open_time_ms, live.open, live.volume) == (M3, 90.0, 0.0)


def test_fetched_trades_make_a_closed_candle() -> None:
    """All trades of a minute, fetched, make its candle, closed and repaired."""
    rows = [*trades((1, 100.0, M0), (2, 105.0, M0 + 1)), replace(trade(3, 1.0, 1.0, M0 + 2), is_market=False)]
    made = candle_of_trades("BTCUSDT", M0, rows)

    assert (made.open, made.close, made.volume, made.last_trade_id) == (100.0, 105.0, 2.0, 2)
    assert (made.is_closed, made.source, made.reconciled) == (True, "repaired", False)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0.00000001", 1),
        ("11258999.06842623", 1_125_899_906_842_623),
        ("11258999.06842625", 1_125_899_906_842_625),
        ("67108863.1234567", 6_710_886_312_345_670),
        ("99999999.1234567", 9_999_999_912_345_670),
        ("184467440737.01", 18_446_744_073_701_000_000),
        ("123456789012345", 12_345_678_901_234_500_000_000),
        ("0", 0),
    ],
)
def test_a_printed_decimal_in_units(text: str, units: int) -> None:
    """Exact at any size, up to the fifteen digits that the exchange prints."""
    assert exact_units(float(text)) == units


@pytest.mark.proves("exact-sums")
def test_large_quantities_add_up_exactly() -> None:
    """A cheap coin's minute, of more than 2**53 units, equals the exchange's in every digit: no false mismatch."""
    builder = builder_since()
    quantities = ["184467440737.01", "92233720368.55", "0.4", "7777777777.77"]
    for at, quantity in enumerate(quantities, 1):
        builder.on_trade(trade(at, 0.00001234, float(quantity), M0 + at))
    builder.on_time(M2)
    ours = builder.take_closed()[0]
    total = sum(map(Decimal, quantities))

    assert ours.volume == ours.taker_buy_volume == float(total)
    assert ours.quote_volume == float(total * Decimal("0.00001234"))
    theirs = replace(ours, volume=float(str(total)), source="exchange")
    assert candles_equal(ours, theirs)
