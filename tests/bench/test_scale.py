"""The notes that qualify the figures of several processes, and the load on Valkey that a delivery is measured with."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import Window
from bench.machine import usable
from bench.processes import Program, python
from bench.scale import Scaled, notes_of
from bench.services import measured_valkey

WELL = Scaled(Window(10.0, 2000, 200_000, 400_000_000, 0, 0.1, 1.0, 0, 0, 0, 0, None, None), 0.01)


def test_full_delivery_needs_no_note() -> None:
    """A window without losses has no notes."""
    assert notes_of("Pulse", WELL, 2000, 10.0) == []


@pytest.mark.parametrize(
    ("window", "note"),
    [
        (replace(WELL.window, generator_share=0.9), "The load generators used 90% of their cores against Pulse."),
        (replace(WELL.window, clients=1900), "Pulse served 1,900 of 2,000 clients and cut 0."),
        (replace(WELL.window, cut_healthy=3), "Pulse served 2,000 of 2,000 clients and cut 3."),
        (replace(WELL.window, messages=140_000), "Pulse delivered 14,000 of 20,000 messages a second."),
    ],
)
def test_incomplete_delivery_is_noted(window: Window, note: str) -> None:
    """A cost per message is worth less when messages were not delivered."""
    assert notes_of("Pulse", replace(WELL, window=window), 2000, 10.0) == [note]


def test_every_subscriber_gets_every_view(tmp_path: Path) -> None:
    """So many deliveries are what Valkey's CPU is divided by."""
    with measured_valkey(tmp_path) as (url, server):
        port = url.rpartition(":")[2].partition("/")[0]
        command = python("bench.pubsub_run", port, 2200, 500, 3, 0.5, 2)
        with Program(command, usable(), tmp_path / "pubsub.log") as program:
            assert program.read_object(30.0) == {"event": "ready"}
            found = [program.read_object(30.0) for _ in range(2)]
        used_s = server.cpu_s()

    assert [window["published"] for window in found] == [250, 250]
    assert sum(window["delivered"] for window in found) == pytest.approx(1500, rel=0.05)
    assert used_s > 0
