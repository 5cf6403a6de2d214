"""The notes that qualify the fan-out's figures."""

from dataclasses import replace

import pytest

from bench.fanout import notes_of
from bench.load import Window

WELL = Window(10.0, 1000, 100_000, 200_000_000, 0, 0.1, 1.0, 0, 0, 0, 0, None, None)


def test_full_delivery_needs_no_note() -> None:
    """A window without losses has no notes."""
    assert notes_of({"pulse": WELL}) == ()


@pytest.mark.parametrize(
    ("window", "note"),
    [
        (replace(WELL, generator_share=0.9), "The load generator used 90% of its core against pulse."),
        (replace(WELL, clients=100), "pulse served 100 of 1,000 clients."),
        (replace(WELL, messages=70_000), "pulse delivered 7,000 of 10,000 messages a second."),
        (replace(WELL, cut_healthy=1), "pulse cut healthy clients."),
    ],
)
def test_incomplete_delivery_is_noted(window: Window, note: str) -> None:
    """A cost per message is worth less when messages were not delivered."""
    assert notes_of({"pulse": window}) == (note,)


def test_cpu_per_message_is_the_servers() -> None:
    """A second of CPU over 100,000 messages is 10 us each."""
    assert WELL.server_us == pytest.approx(10.0)
