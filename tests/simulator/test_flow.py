"""The orders of a market: sane books from any seed, and the same orders from the same one."""

import random
from dataclasses import replace

import pytest

from pulse.simulator.book import ASK, BID, Book
from pulse.simulator.flow import HEAT_MAX, LEVELS_MIN, Flow
from pulse.simulator.instruments import INSTRUMENTS
from tests.support.simulator import SMALL, START_MS


def lived(symbol: str, seed: int, orders: int) -> tuple[Flow, Book, list[int]]:
    """A book after so many orders, and the ids after each."""
    book = Book(update_id=0)
    flow = Flow(INSTRUMENTS[symbol], random.Random(seed), book, START_MS)
    ids, clock = [], float(START_MS)
    for _ in range(orders):
        clock += flow.wait_ms()
        flow.order(int(clock))
        ids.append(book.update_id)
    return flow, book, ids


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "ADAUSDT"])
def test_the_book_stays_a_book(symbol: str) -> None:
    """After many orders both sides are still deep, near their intended number of levels, and not crossed."""
    _, book, _ = lived(symbol, seed=3, orders=8_000)

    levels = INSTRUMENTS[symbol].levels
    assert all(0.6 * levels < len(side.keys) < 1.3 * levels for side in book.sides)
    assert book.best(BID)[0] < book.best(ASK)[0]


def test_keys_and_orders_agree() -> None:
    """Every level has orders of at least one lot, at a positive price, in strict order."""
    _, book, _ = lived(SMALL, seed=8, orders=3_000)

    for side in book.sides:
        assert side.keys == sorted(set(side.orders))
        assert all(side.orders[key] and min(side.orders[key]) > 0 for key in side.keys)
    assert book.sides[BID].keys[0] > 0


def test_one_seed_one_flow() -> None:
    """The same seed makes the same orders; another seed makes others."""
    (_, same, ids), (_, again, ids_again), (_, other, _) = (lived(SMALL, seed=seed, orders=2_000) for seed in (1, 1, 2))

    assert ids == ids_again
    assert same.top(ASK, 300) == again.top(ASK, 300) != other.top(ASK, 300)


def test_the_pace_is_uneven_but_bounded() -> None:
    """Orders come in clusters: over a minute the busiest second is far above the mean, within the heat's bound."""
    flow, clock, seconds = lived(SMALL, seed=4, orders=1)[0], 0.0, [0] * 60
    while (clock := clock + flow.wait_ms()) < 60_000:
        flow.order(START_MS + 1_000 + int(clock))
        seconds[int(clock) // 1000] += 1

    assert 1.5 * sum(seconds) / 60 < max(seconds) < INSTRUMENTS[SMALL].changes_per_s * (HEAT_MAX + 1) * 2


def test_a_thin_side_is_filled_before_it_is_taken() -> None:
    """A book of a few levels is never emptied: takers and cancels leave it alone until it has grown."""
    book = Book(update_id=0)
    thin = replace(INSTRUMENTS[SMALL], levels=20)
    flow = Flow(thin, random.Random(6), book, START_MS)
    for number in range(3_000):
        flow.order(START_MS + number * 30)
        assert min(len(side.keys) for side in book.sides) >= 20

    assert min(len(side.keys) for side in book.sides) >= LEVELS_MIN
