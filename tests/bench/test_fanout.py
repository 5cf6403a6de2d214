"""What the fan-out's figures must not be read without."""

from dataclasses import replace

import pytest

from bench.fanout import notes_of
from bench.load import Window

WELL = Window(10.0, 1000, 100_000, 200_000_000, 0, 0.1, 1.0, 0, 0, 0, 0, None, None)


def test_who_serves_everybody_needs_no_note() -> None:
    """A clean window speaks for itself."""
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
def test_what_makes_a_figure_worth_less_is_said(window: Window, note: str) -> None:
    """A cheap message is no merit of a server that does not deliver it."""
    assert notes_of({"pulse": window}) == (note,)


def test_cpu_per_message_is_the_servers() -> None:
    """A second of CPU over 100,000 messages is 10 us each."""
    assert WELL.server_us == pytest.approx(10.0)
