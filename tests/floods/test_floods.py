"""Short forms of the long runs: what must hold however slow the machine is."""

import re
from pathlib import Path

import pytest

from tests.floods.flooder import Flooder
from tests.floods.run import FLOODER_ADDRESS, KINDS, Crowd, floods, sockets
from tests.support.process import Pulse


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


@pytest.mark.proves("many-new-connections")
async def test_new_connections_of_one_address_have_the_rate_of_its_requests(tmp_path: Path) -> None:
    """A terminal takes it from its settings; other addresses are served meanwhile."""
    async with Pulse(tmp_path, "--demo", PULSE_REQUESTS_PER_ADDRESS_S="1") as pulse:
        crowd = Crowd(pulse.port, [FLOODER_ADDRESS])
        await crowd.open(30, per_s=1000.0)
        metrics = await pulse.text("/metrics")
        crowd.close()

    refused = re.search(r'^pulse_connections_refused_total\{limit="rate"\} ([0-9.]+)$', metrics, re.MULTILINE)
    assert refused is not None
    assert float(refused[1]) > 0


def test_every_kind_of_flood_is_run() -> None:
    """The list names each method of the flooder."""
    assert tuple(Flooder(0, "").kinds) == KINDS
