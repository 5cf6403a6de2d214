"""The program's metrics, as Prometheus reads them."""

from collections.abc import Iterator
from math import inf

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from pulse import stats
from pulse.stats import CounterOf, HistogramOf
from tests.support.metrics import sample_of


def described() -> Iterator[Metric]:
    """Iterate over what every metric of ours says of itself."""
    for metric in vars(stats).values():
        if hasattr(metric, "describe") and not isinstance(metric, type):
            yield from metric.describe()


def test_every_metric_is_ours_by_name_and_says_what_it_is() -> None:
    """Names begin with pulse_, and each has a sentence of help."""
    families = list(described())

    assert len(families) > 40
    assert all(family.name.startswith("pulse_") and family.documentation.endswith(".") for family in families)


async def test_a_counter_that_moved_is_in_the_text() -> None:
    """What is incremented where it happens is read at /metrics, and nothing says when the counter was made."""
    stats.depth_gaps.labels("TESTUSDT").inc()
    text = generate_latest().decode()
    families = {f.name: f for f in text_string_to_metric_families(text)}

    assert {s.labels["symbol"]: s.value for s in families["pulse_depth_gaps"].samples}["TESTUSDT"] == 1.0
    assert "_created" not in text


@pytest.fixture
def counter() -> Iterator[CounterOf]:
    """Register a counter that no part of the program has."""
    made = CounterOf("pulse_test_counts", "A counter of a test.", ["symbol", "kind"])
    yield made
    REGISTRY.unregister(made)


async def test_a_counter_of_another_part_is_read_on_request(counter: CounterOf) -> None:
    """Each time anew, by its labels; what was removed is gone."""
    counts = iter((1, 2, 3))
    counter.read(lambda: next(counts), "BTCUSDT", "depth")
    counter.read(lambda: 7, "ETHUSDT", "depth")
    labels = {"symbol": "BTCUSDT", "kind": "depth"}
    seen = [sample_of("pulse_test_counts_total", labels) for _ in range(2)]
    counter.remove_by_labels({"symbol": "BTCUSDT"})

    assert seen == [1.0, 2.0]
    assert sample_of("pulse_test_counts_total", labels) is None
    assert sample_of("pulse_test_counts_total", labels | {"symbol": "ETHUSDT"}) == 7.0


def test_a_histogram_of_another_part_is_read_on_request() -> None:
    """Its buckets are cumulative, the last one without an end."""
    histogram = HistogramOf("pulse_test_delays_seconds", "A histogram of a test.", "hop")
    try:
        histogram.read(lambda: ([(0.00002, 1), (0.15, 3), (inf, 4)], 2.5), "bus")
        (family,) = histogram.collect()
    finally:
        REGISTRY.unregister(histogram)

    assert isinstance(family, HistogramMetricFamily)
    assert [(s.name.rpartition("_")[2], s.labels.get("le"), s.value) for s in family.samples] == [
        ("bucket", "2e-05", 1), ("bucket", "0.15", 3), ("bucket", "+Inf", 4), ("count", None, 4), ("sum", None, 2.5)
    ]  # fmt: skip


async def test_a_closed_symbol_leaves_no_label() -> None:
    """Each metric that is labelled with a symbol forgets it."""
    stats.views_published.labels("GONEUSDT").inc()
    stats.book_resyncs.read(lambda: 1.0, "GONEUSDT")
    stats.book_incidents.labels("GONEUSDT", "touch").inc()
    stats.SymbolMetrics().close("GONEUSDT")

    assert "GONEUSDT" not in generate_latest().decode()
