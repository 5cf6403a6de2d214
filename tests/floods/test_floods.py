"""Short forms of the long runs: what must hold however slow the machine is."""

from pathlib import Path

import pytest

from tests.floods.flooder import Flooder
from tests.floods.run import KINDS, floods, sockets


@pytest.mark.proves("all-floods")
async def test_floods_of_one_client_disturb_no_viewer(tmp_path: Path) -> None:
    """Every kind at once: views go on, no viewer is cut, health checks are answered, no traceback, few log lines."""
    report = await floods(tmp_path, spells=1, spell_s=3.0, rate=20.0, viewers=3)

    assert report.faults == []
    assert report.figures["ages"]["flood"]["count"] > 0
    assert set(report.figures["metrics"]) > {"pulse_requests_refused_total"}


@pytest.mark.proves("many-sockets")
async def test_sockets_of_a_few_addresses_leave_nothing(tmp_path: Path) -> None:
    """More than are let: viewers and health checks are served, and all descriptors are free afterwards."""
    report = await sockets(tmp_path, count=1_000, addresses=2, per_s=500.0, hold_s=0.5)

    assert report.faults == []
    assert report.figures["metrics"]['pulse_connections_refused_total{limit="address"}'] > 0
    assert report.figures["descriptors"]["held"] < 1_000


def test_every_kind_of_flood_is_run() -> None:
    """The list names each method of the flooder."""
    assert tuple(Flooder(0, "").kinds) == KINDS
