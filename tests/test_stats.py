"""The program's counters, as Prometheus reads them."""

from prometheus_client import Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pulse import stats


def test_every_metric_is_ours_by_name_and_says_what_it_is() -> None:
    """Names begin with pulse_, and each has a sentence of help."""
    ours = [metric for metric in vars(stats).values() if isinstance(metric, Counter | Gauge)]
    families = [family for metric in ours for family in metric.describe()]

    assert len(families) > 20
    assert all(family.name.startswith("pulse_") and family.documentation.endswith(".") for family in families)


async def test_a_counter_that_moved_is_in_the_text() -> None:
    """What is incremented where it happens is read at /metrics, by which the tasks of the running loop are counted."""
    stats.depth_gaps.labels("TESTUSDT").inc()
    families = {f.name: f for f in text_string_to_metric_families(generate_latest().decode())}

    assert {s.labels["symbol"]: s.value for s in families["pulse_depth_gaps"].samples if s.name.endswith("_total")}[
        "TESTUSDT"
    ] == 1.0
