"""The contract of a source of market events, for both kinds; what they deliver is tested with each."""

import asyncio

from pulse.clock import ReplayClock, SystemClock
from pulse.ingest.contract import Ingest
from pulse.ingest.live import LiveIngest
from pulse.ingest.recording import open_recording
from pulse.ingest.replay import Replay
from pulse.queues import ConflatingQueue, make_inbox
from tests.support.recordings import recording


def no_stream(symbol: str) -> None:
    """Fail: no symbol is opened here."""
    raise AssertionError(symbol)


async def test_both_kinds_keep_the_contract() -> None:
    """Each can be opened, run and closed; which symbols a recording holds is fixed."""
    files = sorted(recording("btcusdt-2024-08-08").glob("*.gz"))
    replay = Replay(open_recording(files[:1]), make_inbox(), ReplayClock(), 1.0)
    live = LiveIngest(no_stream, make_inbox(), ConflatingQueue(), ConflatingQueue(), SystemClock())  # type: ignore[arg-type]  # never made
    sources: list[Ingest] = [replay, live]
    for source in sources:
        task = asyncio.create_task(source.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
