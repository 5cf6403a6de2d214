"""Reading one of the process's Prometheus metrics."""

from collections.abc import Mapping

from prometheus_client import REGISTRY


def sample_of(name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """Return a sample's value; None if there is none with these labels.

    No other metric is read: one that an earlier test has registered may need an event loop.
    """
    wanted = dict(labels or {})
    for metric in REGISTRY.restricted_registry([name]).collect():
        for sample in metric.samples:
            if sample.name == name and sample.labels == wanted:
                return float(sample.value)
    return None
