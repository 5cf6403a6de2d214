"""What cannot be true is refused, nothing is judged by it, and what truly changes is accepted within a few frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pulse.market.plausibility import (
    BEHIND_MAX_MS,
    CONFIRMED_BY,
    DECAY,
    JUMP_MIN,
    LEAD_MIN,
    OWN_DATE_ERROR_MAX_MS,
    QUANTITIES_MIN,
    TIMES_CONFIRMED_BY,
    DateOf,
    ExchangeDate,
    ExchangeTime,
    Plausibility,
)
from pulse.market.types import Candle, DepthDiff, DepthSnapshot, Levels, Trade
from tests.support.makers import MIDNIGHT_MS, MINUTE_MS, candle, diff, exchange_candle, ticker, trade
from tests.support.market import partial

DAY_MS = 86_400_000
CENTURY_MS = 3_155_760_000_000
HUGE = 1e19
FAR = 10**9
AT_MS = 30_000
"""When frames arrive: half a minute after the first ones."""

Change = Callable[[Any], object]


def judge(known: Plausibility, event: object, now_ms: float = AT_MS) -> str:
    """Return the reason why an event is refused that arrives at this time after midnight."""
    return known.refusal(event, now_ms, dated(MIDNIGHT_MS + now_ms))


def dated(date_ms: float) -> DateOf:
    """Return what gives this date as measured exactly."""
    return lambda: ExchangeDate(date_ms, date_ms, is_measured=True)


def own_date(date_ms: float) -> DateOf:
    """Return what gives this date as that of the receiver's own clock."""
    return lambda: ExchangeDate.of_machine(date_ms)


def traded(trade_id: int, after_ms: int = AT_MS, **fields: Any) -> Trade:
    """Return a trade of this time after midnight; `fields` sets any field of it."""
    made = trade(trade_id, time_ms=MIDNIGHT_MS + after_ms)
    return replace(made, first_trade_id=2 * trade_id, last_trade_id=2 * trade_id + 1, **fields)


def changed(first: int, final: int, after_ms: int = AT_MS, quantity: float = 1.0) -> DepthDiff:
    """Return a diff of this time after midnight."""
    return diff(first, final, [(99.0, quantity)], time_ms=MIDNIGHT_MS + after_ms)


def minute(open_ms: int = 0, **fields: Any) -> Candle:
    """Return a closed minute that opens this long after midnight; `fields` sets any field of it."""
    made = candle(MIDNIGHT_MS + open_ms, (100.0, 101.0, 99.0, 100.0), 4.0, first_trade_id=1, last_trade_id=4)
    return replace(made, **fields)


def known_market() -> Plausibility:
    """Return the rules after half a minute of a market at 100: trades to id 30, updates to id 30."""
    known = Plausibility()
    for number in range(1, 31):
        at_ms = number * 1000
        for event in (changed(number, number, at_ms), ticker(number), partial(number), traded(number, at_ms)):
            assert judge(known, event, at_ms) == ""
    return known


IMPOSSIBLE: dict[str, object] = {
    "trade a day ahead": traded(31, AT_MS + DAY_MS),
    "trade a century ahead": traded(31, AT_MS + CENTURY_MS),
    "trade a day old": traded(31, AT_MS - DAY_MS),
    "trade time ahead of its event": traded(31, time_ms=MIDNIGHT_MS + AT_MS + DAY_MS),
    "trade time long before its event": traded(31, time_ms=MIDNIGHT_MS + AT_MS - 20_000),
    "trade time before the last trade": traded(31, time_ms=MIDNIGHT_MS + AT_MS - 5_000),
    "trade id far ahead": traded(30 + FAR),
    "aggregate id ahead of the ids inside": replace(traded(31), trade_id=33),
    "ids inside that overlap the last trade's": replace(traded(31), first_trade_id=60),
    "too many trades in an aggregate": replace(traded(31), last_trade_id=62 + FAR),
    "ids inside far ahead": replace(traded(31), first_trade_id=62 + FAR, last_trade_id=62 + FAR),
    "price with a digit too many": traded(31, price=1000.0),
    "price with a digit missing": traded(31, price=10.0),
    "quantity beyond any market": traded(31, quantity=HUGE),
    "quantity beyond this market": traded(31, quantity=1e6),
    "diff a day ahead": changed(31, 31, AT_MS + DAY_MS),
    "diff two seconds ahead": changed(31, 31, AT_MS + 2_000),
    "diff a day old": changed(31, 31, AT_MS - DAY_MS),
    "diff whose final id is far ahead": changed(31, 31 + FAR),
    "diff whose ids are far ahead": changed(31 + FAR, 31 + FAR),
    "diff with an impossible bid": changed(31, 31, quantity=HUGE),
    "diff with an impossible ask": diff(31, 31, [], [(101.0, HUGE)], MIDNIGHT_MS + AT_MS),
    "ticker id far ahead": ticker(31 + FAR),
    "ticker bid with a digit too many": ticker(31, bid=(1000.0, 5.0)),
    "ticker ask with a digit missing": ticker(31, ask=(10.0, 5.0)),
    "ticker bid quantity": ticker(31, bid=(100.0, HUGE)),
    "ticker ask quantity": ticker(31, ask=(100.02, HUGE)),
    "partial id far ahead": partial(31 + FAR),
    "partial bid with a digit too many": partial(31, [(1000.0, 5.0)]),
    "partial bid quantity": partial(31, [(100.0, HUGE)]),
    "partial ask quantity": partial(31, asks=[(100.02, HUGE)]),
    "candle within a minute": exchange_candle(minute(1, is_closed=False), MIDNIGHT_MS + AT_MS),
    "candle of the next minute": exchange_candle(minute(MINUTE_MS, is_closed=False), MIDNIGHT_MS + AT_MS),
    "candle of yesterday": exchange_candle(minute(-DAY_MS), MIDNIGHT_MS + AT_MS),
    "candle closed before its end": exchange_candle(minute(), MIDNIGHT_MS + AT_MS),
    "candle sent a day ahead": exchange_candle(minute(DAY_MS), MIDNIGHT_MS + DAY_MS + MINUTE_MS),
    "open outside the range": exchange_candle(minute(-MINUTE_MS, open=98.0), MIDNIGHT_MS + AT_MS),
    "close outside the range": exchange_candle(minute(-MINUTE_MS, close=102.0), MIDNIGHT_MS + AT_MS),
    "taker volume above all": exchange_candle(minute(-MINUTE_MS, taker_buy_volume=5.0), MIDNIGHT_MS + AT_MS),
    "volume beyond any market": exchange_candle(minute(-MINUTE_MS, volume=HUGE), MIDNIGHT_MS + AT_MS),
    "volume without trades": exchange_candle(minute(-MINUTE_MS, trade_count=0), MIDNIGHT_MS + AT_MS),
    "more trades than ids": exchange_candle(minute(-MINUTE_MS, trade_count=FAR), MIDNIGHT_MS + AT_MS),
    "quote volume too large": exchange_candle(minute(-MINUTE_MS, quote_volume=800.0), MIDNIGHT_MS + AT_MS),
    "taker quote volume": exchange_candle(minute(-MINUTE_MS, taker_buy_quote_volume=1.0), MIDNIGHT_MS + AT_MS),
    "flat candle far from the price": exchange_candle(
        candle(MIDNIGHT_MS - MINUTE_MS, (1000.0,) * 4, 0.0), MIDNIGHT_MS + AT_MS
    ),
}


@pytest.mark.proves("impossible")
@pytest.mark.parametrize("event", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_values_are_refused_and_forgotten(event: object) -> None:
    """Each value that no market can have is refused, with a reason; the next true frame of each kind is accepted."""
    known = known_market()

    assert judge(known, event) != ""
    for true in (changed(31, 31), ticker(31), partial(31), traded(31)):
        assert judge(known, true, AT_MS + 100) == ""
    closed = exchange_candle(minute(-MINUTE_MS), MIDNIGHT_MS + AT_MS)
    assert judge(known, closed, AT_MS + 100) == ""


def test_true_frames_pass() -> None:
    """Repetitions, old frames after a rotation, jumps after an outage, and the wide prices of a thin book."""
    known = known_market()
    outage_ms = AT_MS + 3_600_000
    later = exchange_candle(minute(3_600_000, is_closed=False), MIDNIGHT_MS + outage_ms)
    events = (
        traded(30), traded(12, 12_000), changed(12, 12, 12_000), ticker(12), ticker(31, (1.0, 5.0), (900.0, 2.0)),
        ticker(32), partial(33, []), diff(34, 34, time_ms=MIDNIGHT_MS + AT_MS),
    )  # fmt: skip

    assert [judge(known, event) for event in events] == [""] * len(events)
    known.restart()
    jumped = (changed(FAR, FAR, outage_ms), ticker(FAR), traded(30 + 72_000_000, outage_ms), later)
    assert [judge(known, event, outage_ms) for event in jumped] == [""] * 4


@pytest.mark.proves("true-extremes")
def test_crash_of_30_percent_passes() -> None:
    """A fall of 30 % between two trades, before any ticker shows it, and again and again, is true."""
    known = known_market()
    price = 100.0
    for number in range(31, 41):
        price *= 0.7
        assert judge(known, traded(number, price=price), AT_MS + number) == ""
        assert judge(known, ticker(number, (price, 1.0), (price * 1.001, 1.0)), AT_MS + number) == ""


@pytest.mark.parametrize("first", [True, False], ids=["without a price", "with a price from trades alone"])
def test_first_values_have_nothing_to_contradict(first: bool) -> None:
    """Without any known price, id or quantity each is accepted; trades alone are compared with each other."""
    known = Plausibility()
    if not first:
        assert judge(known, traded(1, price=100.0)) == ""

    assert (judge(known, traded(2, price=1000.0)) == "") == first


def runs() -> dict[str, list[object]]:
    """Return runs of frames that contradict what is known, each with the frames after which they are accepted."""
    return {
        "price": [traded(31 + n, price=1000.0 + n) for n in range(CONFIRMED_BY)],
        "trade ids": [traded(31 + FAR + n) for n in range(CONFIRMED_BY)],
        "update ids": [changed(31 + FAR + n, 31 + FAR + n) for n in range(CONFIRMED_BY)],
        "times": [changed(31 + n, 31 + n, AT_MS + DAY_MS + n) for n in range(TIMES_CONFIRMED_BY)],
    }


@pytest.mark.proves("true-extremes")
@pytest.mark.parametrize("kind", runs())
def test_run_of_consistent_values_is_accepted(kind: str) -> None:
    """Where everything has truly changed, the stream goes on after a few frames that agree with each other."""
    known, events = known_market(), runs()[kind]
    reasons = [judge(known, event) for event in events]

    assert [reason == "" for reason in reasons] == [False] * (len(events) - 1) + [True]
    assert judge(known, events[-1]) == ""


def test_true_value_in_between_ends_a_run() -> None:
    """False values with a true one in between never confirm each other."""
    known = known_market()
    for number in range(31, 41):
        assert judge(known, traded(number, price=1000.0)) != ""
        assert judge(known, ticker(number + FAR)) != ""
        assert judge(known, changed(number, number, AT_MS + DAY_MS)) != ""
        for true in (changed(number, number), ticker(number), traded(number)):
            assert judge(known, true) == ""


def test_trades_that_the_exchange_sends_late_go_on() -> None:
    """Once a run of them was accepted, all are, until they come in time again; then a late one is refused."""
    known = Plausibility()
    late = [
        judge(known, traded(n, AT_MS + n - 12_000, event_time_ms=MIDNIGHT_MS + AT_MS + n)) == "" for n in range(1, 31)
    ]

    assert late == [False] * (CONFIRMED_BY - 1) + [True] * (31 - CONFIRMED_BY)
    assert judge(known, traded(31)) == ""
    later_ms = AT_MS + 13_000
    assert judge(known, traded(32, AT_MS + 500, event_time_ms=MIDNIGHT_MS + later_ms), later_ms) != ""


def flat(close: float) -> object:
    """Return the exchange's closed candle of a minute without a trade."""
    return exchange_candle(candle(MIDNIGHT_MS, (close,) * 4, 0.0, is_closed=True), MIDNIGHT_MS + MINUTE_MS)


def test_flat_candles_may_repeat_an_old_price() -> None:
    """Without trades the book may be far from the last price, which every candle repeats; two in a row may be false."""
    known = Plausibility()
    assert judge(known, partial(1)) == ""

    answers = []
    for number, close in enumerate([200.0, 200.0, 10.0, 200.0, 200.0, 200.0, 200.0, 10.0], 2):
        answers.append(judge(known, flat(close), MINUTE_MS) == "")
        assert judge(known, partial(number)) == ""
    assert answers == [False, False, False, False, False, True, True, False]


def test_flat_candle_may_repeat_the_last_trade() -> None:
    """Its price is known, however far the book has gone since."""
    known = Plausibility()
    assert judge(known, traded(1, price=100.0)) == ""
    for number in range(1, 8):
        price = 100.0 * 1.3**number
        assert judge(known, ticker(number, (price, 5.0), (price + 1, 5.0))) == ""

    assert judge(known, flat(100.0), MINUTE_MS) == ""


def test_two_false_quantities_do_not_make_others_possible() -> None:
    """They were accepted while nothing was known: the largest two of a connection are no measure."""
    known = Plausibility()
    for number in range(1, QUANTITIES_MIN + 2):
        assert judge(known, traded(number, quantity=1e9 if number in (3, 4) else 1.0)) == ""

    assert judge(known, traded(QUANTITIES_MIN + 2, quantity=1e9)) != ""
    assert judge(known, traded(QUANTITIES_MIN + 2, quantity=9e3)) == ""


def test_trade_ids_that_begin_anew_are_followed() -> None:
    """After CONFIRMED_BY later trades with ids that follow each other from 1 on, ids are compared with those."""
    known = known_market()
    for number in range(1, CONFIRMED_BY + 1):
        assert judge(known, traded(number, AT_MS + 10 * number)) == ""
    beyond = traded(CONFIRMED_BY + 2 + JUMP_MIN, AT_MS + 100)

    assert judge(known, replace(beyond, event_time_ms=MIDNIGHT_MS + AT_MS + 30)) != ""
    assert judge(known, traded(CONFIRMED_BY + 1, AT_MS + 100)) == ""


def test_false_id_within_the_limit_does_not_last() -> None:
    """A ticker that is ahead by less than the limit raises it until the stream's next frame, and no longer."""
    known = known_market()

    assert judge(known, ticker(30 + LEAD_MIN)) == ""
    assert judge(known, ticker(31)) == ""
    assert judge(known, ticker(32 + 2 * LEAD_MIN)) != ""


def test_quantities_are_compared_once_enough_were_seen() -> None:
    """With fewer than QUANTITIES_MIN a large first trade says nothing."""
    known = Plausibility()
    for number in range(1, QUANTITIES_MIN):
        assert judge(known, ticker(number)) == ""
    assert judge(known, traded(1, quantity=1e6)) == ""


# --- the exchange's time


def accepted(clock: ExchangeTime, times: Sequence[tuple[int, int]], date_error_ms: float = 0.0) -> list[bool]:
    """Return which of these times are accepted: each when it was sent and when it arrives, in ms after midnight."""
    return [
        clock.refusal(MIDNIGHT_MS + sent_ms, now_ms, dated(MIDNIGHT_MS + now_ms + date_error_ms)) == ""
        for sent_ms, now_ms in times
    ]


@pytest.mark.parametrize("error_ms", [3 * 365 * DAY_MS, -3 * 365 * DAY_MS, -2_000.0])
def test_date_that_differs_must_be_confirmed(error_ms: float) -> None:
    """CONFIRMED_BY times that agree with each other, and not with the date, show that the date is wrong."""
    times = [(at_ms, at_ms) for at_ms in range(0, 600, 100)]

    assert accepted(ExchangeTime(), times, error_ms) == [False, False, True, True, True, True]


@pytest.mark.parametrize("late_ms", [1_600, 5_000, 9_000])
def test_late_first_frames_do_not_make_later_ones_false(late_ms: int) -> None:
    """However many they are: a time near the exchange's date is possible, whatever the frames before it show."""
    late = [(now_ms - late_ms, now_ms) for now_ms in range(10_000, 40_000, 1_000)]
    true = [(now_ms, now_ms) for now_ms in range(40_000, 41_000, 100)]

    assert accepted(ExchangeTime(), [*late, *true]) == [True] * 40


def test_frames_that_become_less_late_are_true() -> None:
    """Each is far ahead of what those before it show, and none as late as a frame can be."""
    times = [(now_ms - late_ms, now_ms) for now_ms, late_ms in enumerate((590_000, 60_000, 9_000, 5_000, 1_600, 0))]

    assert accepted(ExchangeTime(), times) == [True] * 6


def test_date_that_is_known_roughly_lets_true_times_pass() -> None:
    """An answer that took long leaves seconds in which the exchange's date may be: no true time is beyond them."""
    clock = ExchangeTime()

    def rough() -> ExchangeDate:
        return ExchangeDate(MIDNIGHT_MS - 4_000, MIDNIGHT_MS + 4_000, is_measured=True)

    assert [clock.refusal(MIDNIGHT_MS + at_ms, 0.0, rough) for at_ms in (-9_000, 0, -4_000, 4_000)] == [""] * 4
    assert clock.refusal(MIDNIGHT_MS + DAY_MS, 0.0, rough) != ""


def test_own_date_that_is_set_wrong_lets_true_times_pass() -> None:
    """Before any answer has shown the exchange's date, a machine whose clock is off by minutes or hours."""
    for error_ms in (-OWN_DATE_ERROR_MAX_MS, -600_000.0, 5_000.0, OWN_DATE_ERROR_MAX_MS):
        clock, own = ExchangeTime(), own_date(MIDNIGHT_MS + error_ms)
        assert [clock.refusal(MIDNIGHT_MS + at_ms, at_ms, own) for at_ms in range(5)] == [""] * 5


def test_own_date_allows_only_the_first_time_to_be_far_from_it() -> None:
    """A time a day ahead of what a frame has shown is false; one near our own date is not, after frames came late."""
    clock, own = ExchangeTime(), own_date(MIDNIGHT_MS)
    assert clock.refusal(MIDNIGHT_MS - 9_000, 0.0, own) == ""

    assert clock.refusal(MIDNIGHT_MS + 60_000, 0.0, own) != ""
    assert clock.refusal(MIDNIGHT_MS, 0.0, own) == ""
    assert ExchangeTime().refusal(MIDNIGHT_MS, 0.0, own_date(MIDNIGHT_MS + 2 * OWN_DATE_ERROR_MAX_MS)) != ""


def test_first_time_may_not_be_older_than_a_connection_survives() -> None:
    """Where the exchange's date is known; nor in its future."""
    for at_ms in (-BEHIND_MAX_MS - 1, 60_000):
        assert ExchangeTime().refusal(int(MIDNIGHT_MS + at_ms), 0.0, dated(MIDNIGHT_MS)) != ""


@pytest.mark.parametrize("ahead_ms", [3_000, DAY_MS, CENTURY_MS])
@pytest.mark.parametrize("error_ms", [0.0, DAY_MS / 3])
def test_two_false_times_in_a_row_are_never_enough(ahead_ms: int, error_ms: float) -> None:
    """Neither as the first ones nor after a few true ones, with a right date and a wrong one; true ones go on."""
    for count in (0, 1, 3, 5):
        clock = ExchangeTime()
        accepted(clock, [(at_ms, at_ms) for at_ms in range(0, 100 * count, 100)], error_ms)
        begin_ms = 100 * count
        false = accepted(clock, [(begin_ms + ahead_ms, begin_ms), (begin_ms + ahead_ms, begin_ms + 1)], error_ms)
        true = accepted(clock, [(at_ms, at_ms) for at_ms in range(begin_ms + 100, begin_ms + 600, 100)], error_ms)

        assert false == [False, False]
        assert true[2:] == [True] * 3


def test_new_connection_needs_fewer_times_to_confirm() -> None:
    """A machine that slept has a clock that stood still: three times of the next connection show it, or its date."""
    clocks = [ExchangeTime(), ExchangeTime(), ExchangeTime()]
    for clock in clocks:
        assert all(accepted(clock, [(at_ms, at_ms) for at_ms in (0, 5_000, 10_000)]))
    for clock in clocks[:2]:
        clock.restart()
    later = [(DAY_MS + at_ms, at_ms) for at_ms in range(10_100, 11_000, 100)]

    assert accepted(clocks[0], later, DAY_MS) == [True] * 9
    assert accepted(clocks[1], later, DAY_MS / 2) == [False] * 2 + [True] * 7
    assert accepted(clocks[2], later, DAY_MS / 2) == [False] * (TIMES_CONFIRMED_BY - 1) + [True] * 2


def test_frames_of_a_stopped_process_are_old_and_true() -> None:
    """Minutes of frames that waited in a socket pass, and so do those after them."""
    clock = ExchangeTime()
    times = [(0, 0), (100, 100), (300_000, 200), (300_001, 150_000), (300_002, 300_002)]

    assert [clock.refusal(MIDNIGHT_MS + sent, now, dated(MIDNIGHT_MS)) for now, sent in times] == [""] * 5


def test_estimate_falls_slowly_and_rises_in_steps() -> None:
    """A drifting clock is followed; one time within the limit raises the estimate by a small step alone."""
    clock = ExchangeTime()
    assert clock.refusal(MIDNIGHT_MS, 0.0, dated(MIDNIGHT_MS)) == ""
    assert clock.refusal(MIDNIGHT_MS + 1_400, 0.0, dated(MIDNIGHT_MS)) == ""  # raises it by 250 ms
    assert clock.refusal(MIDNIGHT_MS + 1_800, 0.0, dated(MIDNIGHT_MS)) != ""
    later_ms = 400_000
    drifted_ms = int(later_ms * (1 - DECAY))

    assert clock.refusal(MIDNIGHT_MS + drifted_ms + 1_800, later_ms, dated(MIDNIGHT_MS)) != ""
    assert clock.refusal(MIDNIGHT_MS + drifted_ms + 1_700, later_ms, dated(MIDNIGHT_MS)) == ""


# --- REST answers


def book_of(update_id: int = 31, bid: float = 100.0, ask: float = 100.02, quantity: float = 5.0) -> DepthSnapshot:
    """Return a snapshot of one level a side."""
    return DepthSnapshot(update_id, Levels([bid], [quantity]), Levels([ask], [quantity]), 100)


@pytest.mark.parametrize(
    "false",
    [
        book_of(31 + FAR), book_of(bid=1000.0, ask=1000.02), book_of(ask=10.0), book_of(quantity=HUGE),
        replace(book_of(), asks=Levels([100.02], [HUGE])),
    ],
    ids=["id far ahead", "prices with a digit too many", "ask with a digit missing", "bid quantity", "ask quantity"],
)  # fmt: skip
def test_false_snapshot_is_refused(false: DepthSnapshot) -> None:
    """By the proven book's prices and ids; the true one after it is not."""
    known = known_market()

    assert known.refuse_snapshot(false, AT_MS) != ""
    assert known.refuse_snapshot(book_of(), AT_MS) == ""


def test_true_snapshots_pass() -> None:
    """Before anything is known, an older one, one without a side, and one after a true change of price."""
    assert Plausibility().refuse_snapshot(book_of(10**9), 0.0) == ""
    known = known_market()
    assert known.refuse_snapshot(book_of(7), AT_MS) == ""
    assert known.refuse_snapshot(replace(book_of(), bids=Levels([], [])), AT_MS) == ""
    changed_price = [known.refuse_snapshot(book_of(bid=1000.0, ask=1001.0), AT_MS) == "" for _ in range(4)]
    assert changed_price == [False] * (CONFIRMED_BY - 1) + [True] * (5 - CONFIRMED_BY)


@pytest.mark.parametrize(
    ("false", "is_possible"),
    [
        (traded(29, 20_500), True), (traded(29, 20_500, price=70.0), True), (traded(29, 20_500, price=1000.0), False),
        (traded(29, 20_500, price=10.0), False), (traded(29, 20_500, quantity=HUGE), False),
        (traded(29, 20_500 + DAY_MS), False), (traded(29, 20_500 - DAY_MS), False),
    ],
)  # fmt: skip
def test_fetched_trades_are_judged_by_those_around_them(false: Trade, is_possible: bool) -> None:
    """By time, price and quantity."""
    reason = known_market().refuse_fetched(false, MIDNIGHT_MS + 20_000, MIDNIGHT_MS + 21_000)

    assert (reason == "") == is_possible
