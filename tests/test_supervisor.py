"""The process as a whole: when it serves, and how it ends."""

import asyncio
import signal
from pathlib import Path

import pytest

from pulse.server import listener
from pulse.supervisor import LAST_RESORT_S
from tests.support.process import Pulse
from tests.support.waiting import WAIT_S

# --- the end


def test_a_stop_takes_less_than_5_s() -> None:
    """A timer ends the process if anything hangs while stopping; otherwise the web server takes the longest."""
    assert listener.STOP_GRACE_S + listener.STOP_TASKS_S < LAST_RESORT_S < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_without_clients(tmp_path: Path, number: int) -> None:
    """With exit code 0 and no traceback in the log."""
    async with Pulse(tmp_path, "--demo", PULSE_SYMBOLS="LINKUSDT") as pulse:
        code = await pulse.stop(number)

    assert code == 0
    assert "Traceback" not in pulse.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_before_the_exchange_has_answered(tmp_path: Path, number: int) -> None:
    """A signal ends a process that is still waiting for the first answer; it does not wait for it any longer."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""  # the process closes the connection first
        writer.close()
        ended.set()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as mute:
        url = f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}"
        pulse = Pulse(tmp_path, PULSE_REST_URL=url, PULSE_STREAM_URL=url.replace("http", "ws"))
        async with asyncio.timeout(WAIT_S):
            await pulse.launch()
            await asked.wait()
            code = await pulse.stop(number)
            await ended.wait()
            printed = await pulse.rest_of_output()
        await pulse.__aexit__(None, None, None)

    assert (code, printed) == (0, "")  # it would have printed its address, had it gone on
    assert pulse.log.read_text().splitlines()[-1].endswith("stopping")
