"""What a real Prometheus makes of a real process: its metrics."""

import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.support.process import Pulse
from tests.support.programs import NoServer, prometheus_programs


@pytest.fixture(scope="module")
def programs() -> Path:
    """Return the folder of Prometheus' programs; where they are missing, fail with the remedy alone."""
    try:
        return prometheus_programs()
    except NoServer as fault:
        raise pytest.fail.Exception(str(fault), pytrace=False) from None


def promtool(programs: Path, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    command = [programs / "promtool", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


async def metrics_of(pulse: Pulse) -> str:
    """Return what a process answers at /metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"{pulse.url}/metrics") as answer:
        return await answer.text()


async def test_promtool_has_nothing_to_say_about_the_metrics(programs: Path, tmp_path: Path) -> None:
    """Units are base units, counters end in `_total`, latency is a histogram."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="BTCUSDT") as pulse, pulse.feed() as feed:
        await pulse.until_live()
        await feed.receive()
        text = await metrics_of(pulse)
    checked = promtool(programs, "check", "metrics", text=text)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert 'pulse_latency_seconds_bucket{hop="applied",le="0.01"}' in text
    assert "pulse_build_info{" in text
    assert "_created" not in text
