"""The latency report: each hop by itself, whatever the clocks."""

import pytest

from pulse.latency import APPLIED, BUS, ECHO, EXCHANGE, HOPS, PUBLISHED, SOCKET, WINDOW_MS, Histogram, Latency

WALL_MS = 1_700_000_000_000.0


def nearly(value: float) -> object:
    """This value, to a bucket's width."""
    return pytest.approx(value, rel=0.25)


def test_quantiles_are_those_of_what_was_counted() -> None:
    """To a bucket's width, at both ends of the scale too."""
    histogram = Histogram()
    for delay_ms in [1.0] * 98 + [50.0] * 2:
        histogram.observe(delay_ms, 0.0)
    for extreme in (-5.0, 0.0, 10.0**9):
        histogram.observe(extreme, 0.0)

    assert histogram.count() == 103
    assert histogram.quantile_ms(0.5) == nearly(1.0)
    assert histogram.quantile_ms(0.98) == nearly(50.0)


def test_nothing_has_no_quantile() -> None:
    """It is not zero."""
    assert Histogram().quantile_ms(0.5) is None


def test_old_delays_are_forgotten() -> None:
    """After one to two windows."""
    histogram = Histogram()
    histogram.observe(500.0, 0.0)
    histogram.observe(1.0, WINDOW_MS)
    both = histogram.quantile_ms(0.99)
    histogram.observe(1.0, 2 * WINDOW_MS)

    assert both == nearly(500.0)
    assert histogram.quantile_ms(0.99) == nearly(1.0)


def test_a_change_is_told_hop_by_hop() -> None:
    """From the exchange's event time by the exchange's clock, through the book, to the hub."""
    latency = Latency("ab")
    latency.offset.add_round_trip(WALL_MS, WALL_MS + 300.0, WALL_MS)  # their clock is 300 ms ahead
    latency.applied("BTCUSDT", 1000.0, int(WALL_MS) + 280, 1002.0, WALL_MS + 2.0)
    latency.published("BTCUSDT", "book:BTCUSDT", 7, 1062.0)
    latency.arrived("book:BTCUSDT", b'{"seq":7,"instance":"ab","symbol":"BTCUSDT"}', 1062.5)

    assert latency.quantile_ms(EXCHANGE, 0.5) == nearly(20.0)
    assert latency.quantile_ms(APPLIED, 0.5) == nearly(2.0)
    assert latency.quantile_ms(PUBLISHED, 0.5) == nearly(60.0)
    assert latency.quantile_ms(BUS, 0.5) == nearly(0.5)


def test_the_oldest_change_of_a_picture_counts() -> None:
    """A view without a change has no such delay."""
    latency = Latency("ab")
    for received_ms in (1000.0, 1040.0):
        latency.applied("BTCUSDT", received_ms, int(WALL_MS), received_ms, WALL_MS)
    latency.published("BTCUSDT", "book:BTCUSDT", 1, 1100.0)
    latency.published("BTCUSDT", "book:BTCUSDT", 2, 9100.0)

    assert latency.quantile_ms(PUBLISHED, 1.0) == nearly(100.0)


@pytest.mark.parametrize(
    "payload", [b'{"seq":8,"instance":"ab",', b'{"seq":7,"instance":"cd",', b"nonsense"], ids=["other", "foreign", "?"]
)
def test_only_its_own_message_tells_how_long_it_took(payload: bytes) -> None:
    """Another process's clock is another clock."""
    latency = Latency("ab")
    latency.published("BTCUSDT", "book:BTCUSDT", 7, 0.0)
    latency.arrived("book:BTCUSDT", payload, 5.0)

    assert latency.quantile_ms(BUS, 0.5) is None


@pytest.mark.parametrize(
    ("instance", "ago_ms", "is_counted"),
    [("ab", 80.0, True), ("cd", 80.0, False), ("ab", -5.0, False), ("ab", 1e6, False)],
)
def test_a_reader_s_word_is_weighed(instance: str, ago_ms: float, is_counted: bool) -> None:
    """What cannot be is not counted."""
    latency = Latency("ab")
    latency.echoed(instance, WALL_MS - ago_ms, 0.0, WALL_MS)

    assert latency.quantile_ms(ECHO, 0.5) == (nearly(80.0) if is_counted else None)


def test_a_breach_names_its_hop() -> None:
    """One hop is slow, and the report says which."""
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
