"""Playing a recording: its events in order, at its pace, with its clock, and what it says at the end."""

import asyncio
from math import inf
from pathlib import Path

import pytest

from pulse.clock import ReplayClock
from pulse.ingest.recording import open_recording
from pulse.ingest.replay import ENDED, Replay
from pulse.market.depth_sync import BookAnchor
from pulse.market.types import BookTicker, DepthDiff, FeedDown, FeedUp, Instrument
from pulse.queues import Inbox, Received, make_inbox
from tests.support.virtual_time import now_s, run

START_S = 1633998270
TICKER = '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"1.0","B":"1","a":"2","A":"1"}}'
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1633998270000,"s":"BTCUSDT",'
    '"U":%d,"u":%d,"b":[["1.0","1.0"]],"a":[]}}'
)
BOOK = '{"lastUpdateId":%d,"bids":[["1.0","1.0"]],"asks":[["2.0","1.0"]]}'


def played(tmp_path: Path, *rows: tuple[float, str], speed: float = inf) -> list[tuple[float, Received]]:
    """What the inbox got of these lines, and at which time of the loop."""
    path = tmp_path / "recording"
    path.write_text("".join(f"{START_S + at}: {body}\n" for at, body in rows))

    async def story() -> list[tuple[float, Received]]:
        inbox, got = make_inbox(), []
        replay = asyncio.create_task(Replay(open_recording([path]), inbox, ReplayClock(), speed).run())
        while not replay.done() or not inbox.empty():
            received = await inbox.get()
            got.append((now_s(), received))
            if received.event == FeedDown(ENDED):
                await replay
        return got

    return run(story())


def events_of(got: list[tuple[float, Received]]) -> list[object]:
    """The events alone, without the instrument, up and down that stand around them."""
    assert [type(received.event) for _, received in got[:2]] == [Instrument, FeedUp]
    assert got[-1][1].event == FeedDown("the recording has ended")
    return [received.event for _, received in got[2:-1]]


def test_a_recording_is_played_through_the_intake(tmp_path: Path) -> None:
    """Snapshot and diffs are joined as from a live feed; what needs no joining passes."""
    got = played(tmp_path, (0, DEPTH % (5, 6)), (1, TICKER % 6), (2, BOOK % 6), (3, DEPTH % (7, 7)))
    events = events_of(got)

    assert [type(event) for event in events] == [BookTicker, BookAnchor, DepthDiff]
    assert {received.symbol for _, received in got} == {"BTCUSDT"}


def test_the_clock_is_the_recordings(tmp_path: Path) -> None:
    """Each event carries the time at which it was recorded."""
    got = played(tmp_path, (0, TICKER % 1), (1.5, TICKER % 2))

    assert [received.received_ms - START_S * 1000 for _, received in got[2:]] == [0.0, 1500.0, 1500.0]


@pytest.mark.parametrize(("speed", "times"), [(1.0, [0, 1, 3.5]), (10.0, [0, 0.1, 0.35]), (inf, [0, 0, 0])])
def test_the_pace_is_the_recordings_times_the_speed(tmp_path: Path, speed: float, times: list[float]) -> None:
    """At speed 10 a second takes a tenth; at infinity nothing is waited for."""
    got = played(tmp_path, (0, TICKER % 1), (1, TICKER % 2), (3.5, TICKER % 3), speed=speed)

    assert [at for at, received in got if isinstance(received.event, BookTicker)] == pytest.approx(times)


def test_frames_close_together_are_played_at_once(tmp_path: Path) -> None:
    """Below a timer's fineness nothing is waited for."""
    got = played(tmp_path, (0, TICKER % 1), (0.001, TICKER % 2), (1, TICKER % 3), speed=1.0)

    assert [at for at, _ in got[2:5]] == pytest.approx([0.0, 0.0, 1.0])


def test_a_bad_frame_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the exchange would not have sent is told in the log, and the rest is played."""
    got = played(tmp_path, (0, '{"stream":"btcusdt@depth","data":[]}'), (1, TICKER % 2))

    assert [type(event) for event in events_of(got)] == [BookTicker]
    assert "recorded frame refused reason=expected an object under `data`" in caplog.text


def test_other_streams_and_other_books_are_passed_over(tmp_path: Path) -> None:
    """A stream that nothing uses, and the book of a symbol without frames, are no events."""
    path = tmp_path / "answers"
    path.write_text(f"https://api.binance.us/api/v3/depth?symbol=ETHUSDT&limit=5 -> {START_S}: {BOOK % 1}\n")
    frames = tmp_path / "frames"
    frames.write_text(f'{START_S}: {TICKER % 2}\n{START_S}: {{"stream":"btcusdt@avgPrice","data":{{}}}}\n')

    async def story() -> list[object]:
        inbox: Inbox = make_inbox()
        await Replay(open_recording([path, frames]), inbox, ReplayClock(), inf).run()
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    assert [type(event) for event in run(story())] == [Instrument, FeedUp, BookTicker, FeedDown]


def test_without_waits_others_get_their_turn(tmp_path: Path) -> None:
    """A long recording at full speed does not keep the loop for itself."""
    path = tmp_path / "recording"
    path.write_text("".join(f"{START_S}: {TICKER % i}\n" for i in range(1, 1001)))

    async def story() -> int:
        replay = asyncio.create_task(Replay(open_recording([path]), make_inbox(), ReplayClock(), inf).run())
        turns = 0
        while not replay.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run(story()) > 1000 / 64
