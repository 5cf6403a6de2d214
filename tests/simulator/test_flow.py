"""The orders of a market: valid books from any seed, and the same orders from the same seed."""

import random
from dataclasses import replace

import pytest

from pulse.simulator.book import ASK, BID, SimulatedBook
from pulse.simulator.flow import EXCITATION_MAX, LEVELS_MIN, OrderFlow
from pulse.simulator.instruments import INSTRUMENTS
from tests.support.simulator import SMALL, START_MS


def run_flow(symbol: str, seed: int, orders: int) -> tuple[OrderFlow, SimulatedBook, list[int]]:
    """Return the flow, the book after so many orders, and the ids after each."""
    book = SimulatedBook(update_id=0)
    flow = OrderFlow(INSTRUMENTS[symbol], random.Random(seed), book, START_MS)
    ids, clock = [], float(START_MS)
    for _ in range(orders):
        clock += flow.wait_ms()
        flow.next_order(int(clock))
        ids.append(book.update_id)
    return flow, book, ids


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "ADAUSDT"])
def test_book_stays_deep_and_uncrossed(symbol: str) -> None:
    """After many orders both sides are still deep, near their intended number of levels, and not crossed."""
    _, book, _ = run_flow(symbol, seed=3, orders=8_000)

    levels = INSTRUMENTS[symbol].levels
    assert all(0.6 * levels < len(side.keys) < 1.3 * levels for side in book.sides)
    assert book.best(BID)[0] < book.best(ASK)[0]


def test_keys_and_orders_agree() -> None:
    """Every level has orders of at least one lot, at a positive price, in strict order."""
    _, book, _ = run_flow(SMALL, seed=8, orders=3_000)

    for side in book.sides:
        assert side.keys == sorted(set(side.orders))
        assert all(side.orders[key] and min(side.orders[key]) > 0 for key in side.keys)
    assert book.sides[BID].keys[0] > 0


def test_one_seed_one_flow() -> None:
    """The same seed makes the same orders; another seed makes others."""
    (_, same, ids), (_, again, ids_again), (_, other, _) = (
        run_flow(SMALL, seed=seed, orders=2_000) for seed in (1, 1, 2)
    )

    assert ids == ids_again
    assert same.top(ASK, 300) == again.top(ASK, 300) != other.top(ASK, 300)


def test_order_rate_is_uneven_but_bounded() -> None:
    """Orders come in clusters: in a minute the busiest second is far above the mean, yet bounded."""
    flow, clock, seconds = run_flow(SMALL, seed=4, orders=1)[0], 0.0, [0] * 60
    while (clock := clock + flow.wait_ms()) < 60_000:
        flow.next_order(START_MS + 1_000 + int(clock))
        seconds[int(clock) // 1000] += 1

    assert 1.5 * sum(seconds) / 60 < max(seconds) < INSTRUMENTS[SMALL].changes_per_s * (EXCITATION_MAX + 1) * 2


def test_thin_side_is_filled_before_it_is_taken() -> None:
    """A book of a few levels is never emptied: market orders and cancels leave it alone until it has grown."""
    book = SimulatedBook(update_id=0)
    thin = replace(INSTRUMENTS[SMALL], levels=20)
    flow = OrderFlow(thin, random.Random(6), book, START_MS)
    for number in range(3_000):
        flow.next_order(START_MS + number * 30)
        assert min(len(side.keys) for side in book.sides) >= 20

    assert min(len(side.keys) for side in book.sides) >= LEVELS_MIN
