"""Latency: each hop is measured by itself, whatever the clocks show."""

from math import inf

import pytest

from pulse.latency import (
    APPLIED,
    BUS,
    ECHO,
    ECHO_ADDRESSES_MAX,
    ECHOES_PER_ADDRESS,
    EXCHANGE,
    HOPS,
    PUBLISHED,
    SOCKET,
    WINDOW_MS,
    Echoes,
    Histogram,
    Latency,
)

WALL_MS = 1_700_000_000_000.0


def nearly(value: float) -> object:
    """Compare with this value, to a bucket's width."""
    return pytest.approx(value, rel=0.25)


def test_quantiles_of_counted_delays() -> None:
    """They are right to a bucket's width, at both ends of the scale too."""
    histogram = Histogram()
    for delay_ms in [1.0] * 98 + [50.0] * 2:
        histogram.observe(delay_ms, 0.0)
    for extreme in (-5.0, 0.0, 10.0**9):
        histogram.observe(extreme, 0.0)

    assert histogram.count() == 103
    assert histogram.quantile_ms(0.5) == nearly(1.0)
    assert histogram.quantile_ms(0.98) == nearly(50.0)


def test_an_empty_histogram_has_no_quantile() -> None:
    """None, not zero."""
    assert Histogram().quantile_ms(0.5) is None


def test_old_delays_are_dropped() -> None:
    """After one to two windows."""
    histogram = Histogram()
    histogram.observe(500.0, 0.0)
    histogram.observe(1.0, WINDOW_MS)
    both = histogram.quantile_ms(0.99)
    histogram.observe(1.0, 2 * WINDOW_MS)

    assert both == nearly(500.0)
    assert histogram.quantile_ms(0.99) == nearly(1.0)


def test_each_hop_of_a_change_is_measured() -> None:
    """From the exchange's event time, by the exchange's clock, through book and bus to the hub."""
    latency = Latency("ab")
    latency.offset.add_round_trip(WALL_MS, WALL_MS + 300.0, WALL_MS)  # their clock is 300 ms ahead
    latency.applied("BTCUSDT", 1000.0, int(WALL_MS) + 280, 1002.0, WALL_MS + 2.0)
    latency.published("BTCUSDT", 7, 0.0, 1062.0)
    latency.arrived("BTCUSDT", 7, 1062.5)

    assert latency.quantile_ms(EXCHANGE, 0.5) == nearly(20.0)
    assert latency.quantile_ms(APPLIED, 0.5) == nearly(2.0)
    assert latency.quantile_ms(PUBLISHED, 0.5) == nearly(60.0)
    assert latency.quantile_ms(BUS, 0.5) == nearly(0.5)


def test_a_views_delay_is_that_of_its_oldest_change() -> None:
    """A view without a change counts no delay."""
    latency = Latency("ab")
    for received_ms in (1000.0, 1040.0):
        latency.applied("BTCUSDT", received_ms, int(WALL_MS), received_ms, WALL_MS)
    latency.published("BTCUSDT", 1, 0.0, 1100.0)
    latency.published("BTCUSDT", 2, 0.0, 9100.0)

    assert latency.quantile_ms(PUBLISHED, 1.0) == nearly(100.0)


def test_a_change_that_nothing_awaits_is_not_measured_until_shown() -> None:
    """It is shown with the view of its second; what was applied since a watcher came is measured."""
    latency = Latency("ab")
    latency.applied("BTCUSDT", 1000.0, int(WALL_MS), 1000.0, WALL_MS, is_awaited=False)
    latency.applied("BTCUSDT", 1900.0, int(WALL_MS), 1901.0, WALL_MS)
    latency.published("BTCUSDT", 1, 0.0, 1902.0)

    assert latency.quantile_ms(PUBLISHED, 1.0) == nearly(1.0)
    assert sum(row["count"] for row in latency.report()["hops"] if row["hop"] == APPLIED) == 2


@pytest.mark.parametrize(("symbol", "seq"), [("BTCUSDT", 8), ("ETHUSDT", 7)])
def test_only_the_newest_view_of_its_symbol_is_measured(symbol: str, seq: int) -> None:
    """A view with another number, or of another symbol, says nothing about the bus."""
    latency = Latency("ab")
    latency.published("BTCUSDT", 7, 0.0, 0.0)
    latency.arrived(symbol, seq, 5.0)

    assert latency.quantile_ms(BUS, 0.5) is None


def test_a_closed_symbol_leaves_nothing() -> None:
    """What was under way of it is not measured any more."""
    latency = Latency("ab")
    latency.applied("BTCUSDT", 0.0, int(WALL_MS), 0.0, WALL_MS)
    latency.published("BTCUSDT", 7, 0.0, 0.0)
    latency.close("BTCUSDT")
    latency.arrived("BTCUSDT", 7, 5.0)

    assert latency.quantile_ms(BUS, 0.5) is None


def echo(latency: Latency, address: str, ago_ms: float, *, local: bool = False, symbol: str = "BTCUSDT") -> None:
    """Echo, at time 0, the view that was made so long ago."""
    latency.echoed(address, "ab", (WALL_MS - ago_ms) / 1000, {symbol}, 0.0, WALL_MS, is_local=local)


def latency_with_views(*agos_ms: float) -> Latency:
    """Return the latency of a process that made a view so many ms ago each, by the wall clock."""
    latency = Latency("ab")
    for seq, ago_ms in enumerate(agos_ms):
        latency.published("BTCUSDT", seq, (WALL_MS - ago_ms) / 1000, 0.0)
    return latency


@pytest.mark.parametrize(
    ("instance", "ago_ms", "symbols", "is_counted"),
    [
        ("ab", 80.0, {"BTCUSDT"}, True), ("ab", 80.0, {"ETHUSDT", "BTCUSDT"}, True), ("cd", 80.0, {"BTCUSDT"}, False),
        ("ab", 80.0, {"ETHUSDT"}, False), ("ab", 80.0, set(), False), ("ab", 80.5, {"BTCUSDT"}, False),
        ("ab", -5.0, {"BTCUSDT"}, False), ("ab", 62_000.0, {"BTCUSDT"}, False),
    ],
)  # fmt: skip
def test_an_echo_counts_if_it_answers_a_view_of_the_client(
    instance: str, ago_ms: float, symbols: set[str], is_counted: bool
) -> None:
    """Not one of another instance, of a symbol without a subscription, of a time at which no view was made, or old."""
    latency = latency_with_views(-5.0, 80.0, 62_000.0)
    latency.echoed("::/64", instance, (WALL_MS - ago_ms) / 1000, symbols, 0.0, WALL_MS, is_local=True)

    assert latency.quantile_ms(ECHO, 0.5) == (pytest.approx(80.0) if is_counted else None)
    assert latency.report()["hops"][-1]["count"] == is_counted


@pytest.mark.proves("false-echo")
def test_a_lying_client_decides_no_figure() -> None:
    """However often it reports the oldest view that counts: its address has one voice among those of the others."""
    latency = latency_with_views(70.0, 80.0, 90.0, 9_900.0)
    for address, ago_ms in (("a", 70.0), ("b", 80.0), ("c", 90.0)):
        echo(latency, address, ago_ms)
    for _ in range(1_000):
        echo(latency, "liar", 9_900.0)

    assert latency.quantile_ms(ECHO, 0.5) == pytest.approx(80.0)
    assert latency.quantile_ms(ECHO, 0.99) == pytest.approx(80.0)
    assert latency.report()["over_budget"] == []


@pytest.mark.proves("false-echo")
def test_reports_of_few_addresses_are_not_shown() -> None:
    """One client alone, or a pair, could choose the figure; a client on this machine is its owner's."""
    latency = latency_with_views(80.0, 9_900.0)
    echo(latency, "liar", 9_900.0)
    echo(latency, "another", 9_900.0)
    alone = latency.report()["hops"][-1]
    latency = latency_with_views(80.0, 9_900.0)
    echo(latency, "liar", 9_900.0)
    echo(latency, "127.0.0.1", 80.0, local=True)

    assert (alone["count"], alone["p50_ms"], alone["p99_ms"]) == (2, None, None)
    assert latency.quantile_ms(ECHO, 0.99) == pytest.approx(80.0)


def test_echoes_are_bounded_and_expire() -> None:
    """Of addresses, and of each; an address that reports no more is dropped."""
    echoes = Echoes()
    for number in range(ECHO_ADDRESSES_MAX + 10):
        for _ in range(ECHOES_PER_ADDRESS + 1):
            echoes.observe(str(number), 1.0, 0.0, is_local=True)
    full = echoes.count()
    echoes.observe("later", 5.0, 2 * WINDOW_MS + 1, is_local=True)

    assert full == ECHO_ADDRESSES_MAX * ECHOES_PER_ADDRESS
    assert (echoes.count(), echoes.quantile_ms(0.5)) == (1, 5.0)


def test_views_of_a_closed_symbol_cannot_be_echoed() -> None:
    """Nothing of it is kept."""
    latency = latency_with_views(80.0)
    latency.close("BTCUSDT")
    echo(latency, "127.0.0.1", 80.0, local=True)

    assert latency.quantile_ms(ECHO, 0.5) is None


def test_a_replay_at_another_speed_measures_only_true_delays() -> None:
    """Its clock runs faster or slower than time, so nothing within the process is measured by it."""
    latency = Latency("ab", is_real_time=False)
    latency.applied("BTCUSDT", 1000.0, int(WALL_MS) - 20, 1002.0, WALL_MS + 2.0)
    latency.published("BTCUSDT", 7, 0.0, 9000.0)
    latency.arrived("BTCUSDT", 7, 9000.0)
    latency.echoed("127.0.0.1", "ab", 0.0, {"BTCUSDT"}, 9000.0, 8000.0, is_local=True)
    latency.written(2.0, 9000.0)
    report = latency.report()

    assert {row["hop"] for row in report["hops"] if row["count"]} == {EXCHANGE, SOCKET}
    assert report["over_budget"] == []


def test_a_breach_of_a_budget_names_its_hop() -> None:
    """One hop is slow, and `over_budget` lists it."""
    latency = Latency("ab")
    latency.written(2.0, 0.0)
    calm = latency.report()["over_budget"]
    for _ in range(10):
        latency.written(5000.0, 0.0)
    report = latency.report()

    assert calm == []
    assert report["over_budget"] == [SOCKET]
    assert [row["hop"] for row in report["hops"]] == [hop.name for hop in HOPS]
    assert report["clock_error_ms"] is None


def test_all_delays_since_the_start_are_counted() -> None:
    """For Prometheus: old windows stay, buckets are cumulative, each budget ends one, a negative delay is 0."""
    histogram = Histogram()
    for window, delay_ms in enumerate([-3.0, 0.5, 150.0, 151.0, 10.0**9]):
        histogram.observe(delay_ms, window * WINDOW_MS)
    buckets, sum_s = histogram.since_start()
    counts = dict(buckets)

    assert [counts[end_s] for end_s in (0.00002, 0.0002, 0.0005, 0.1, 0.15, 0.2, 100.0, inf)] == [
        1,
        1,
        2,
        2,
        3,
        4,
        4,
        5,
    ]
    assert sum_s == pytest.approx((0.5 + 150.0 + 151.0 + 10.0**9) / 1000)
    assert {hop.budget_ms / 1000 for hop in HOPS} <= counts.keys()
    assert len(buckets) < 30


def test_the_histogram_of_a_hop_is_its_own() -> None:
    """By the hop's name."""
    latency = Latency("ab")
    latency.written(3.0, 0.0)

    assert latency.since_start(SOCKET)[0][-1] == (inf, 1)
    assert latency.since_start(BUS)[0][-1] == (inf, 0)
