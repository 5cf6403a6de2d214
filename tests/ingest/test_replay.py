"""Playing a recording: its events in order, at its pace, with its clock, and the state after its end."""

import asyncio
import logging
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pytest

from pulse.clock import ReplayClock
from pulse.ingest.recording import open_recording
from pulse.ingest.replay import ENDED, Replay
from pulse.market.depth_sync import BookAnchor
from pulse.market.market import Market, Origin
from pulse.market.types import BookTicker, DepthDiff, FeedDown, FeedUp, Instrument, State
from pulse.queues import Inbox, Received, make_inbox
from tests.support.recordings import case
from tests.support.virtual_time import now_s, run

START_S = 1633998270
TICKER = '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"1.0","B":"1","a":"2","A":"1"}}'
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1633998270000,"s":"BTCUSDT",'
    '"U":%d,"u":%d,"b":[["1.0","1.0"]],"a":[]}}'
)
BOOK = '{"lastUpdateId":%d,"bids":[["1.0","1.0"]],"asks":[["2.0","1.0"]]}'


def play(tmp_path: Path, *rows: tuple[float, str], speed: float = inf) -> list[tuple[float, Received]]:
    """Return what these lines put into the inbox, each with the time of the loop."""
    path = tmp_path / "recording"
    path.write_text("".join(f"{START_S + at}: {body}\n" for at, body in rows))

    async def scenario() -> list[tuple[float, Received]]:
        inbox, received_at = make_inbox(), []
        replay = asyncio.create_task(Replay(open_recording([path]), inbox, ReplayClock(), speed).run())
        while not replay.done() or not inbox.empty():
            received = await inbox.get()
            received_at.append((now_s(), received))
            if received.event == ENDED:
                await replay
        return received_at

    return run(scenario())


def events_of(got: list[tuple[float, Received]]) -> list[object]:
    """Return the events without the first two, instrument and FeedUp, and the last, FeedDown."""
    assert [type(received.event) for _, received in got[:2]] == [Instrument, FeedUp]
    assert got[-1][1].event == FeedDown("the recording has ended", is_end=True)
    return [received.event for _, received in got[2:-1]]


def test_recording_is_played_through_a_sequencer(tmp_path: Path) -> None:
    """Snapshot and diffs are joined as from a live stream; other events pass."""
    got = play(tmp_path, (0, DEPTH % (5, 6)), (1, TICKER % 6), (2, BOOK % 6), (3, DEPTH % (7, 7)))
    events = events_of(got)

    assert [type(event) for event in events] == [BookTicker, BookAnchor, DepthDiff]
    assert {received.symbol for _, received in got} == {"BTCUSDT"}


def test_clock_is_the_recordings(tmp_path: Path) -> None:
    """Each event has the time at which it was recorded."""
    got = play(tmp_path, (0, TICKER % 1), (1.5, TICKER % 2))

    assert [received.received_ms - START_S * 1000 for _, received in got[2:]] == [0.0, 1500.0, 1500.0]


@pytest.mark.parametrize(("speed", "times"), [(1.0, [0, 1, 3.5]), (10.0, [0, 0.1, 0.35]), (inf, [0, 0, 0])])
def test_pace_is_the_recordings_times_the_speed(tmp_path: Path, speed: float, times: list[float]) -> None:
    """At speed 10 a second takes a tenth; at infinity there is no wait."""
    got = play(tmp_path, (0, TICKER % 1), (1, TICKER % 2), (3.5, TICKER % 3), speed=speed)

    assert [at for at, received in got if isinstance(received.event, BookTicker)] == pytest.approx(times)


def test_frames_close_together_are_played_at_once(tmp_path: Path) -> None:
    """A wait shorter than AHEAD_S is left out."""
    got = play(tmp_path, (0, TICKER % 1), (0.001, TICKER % 2), (1, TICKER % 3), speed=1.0)

    assert [at for at, _ in got[2:5]] == pytest.approx([0.0, 0.0, 1.0])


def test_malformed_frame_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first is logged, all are counted at the end, and the rest is played."""
    caplog.set_level(logging.INFO)
    bad = '{"stream":"btcusdt@depth","data":[]}'
    got = play(tmp_path, (0, bad), (1, TICKER % 2), (2, bad))

    assert [type(event) for event in events_of(got)] == [BookTicker]
    assert caplog.messages == [
        "recorded frame refused, later ones are only counted reason=expected an object under `data`",
        "replay ended frames_refused=2",
    ]


@pytest.mark.proves("torn")
def test_torn_recording_states_so_at_its_end(tmp_path: Path) -> None:
    """The reason of the last state says that the end of the recording is missing."""
    path = tmp_path / "recording"
    path.write_text(f"{START_S}: {TICKER % 1}\n{START_S + 1}: {{")

    async def scenario() -> list[object]:
        inbox: Inbox = make_inbox()
        await Replay(open_recording([path]), inbox, ReplayClock(), inf).run()
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    assert run(scenario())[-1] == FeedDown("the recording has ended where it is torn off", is_end=True)


@dataclass(frozen=True)
class Played:
    """What a recording has become: the market of each symbol, and the states of its views."""

    markets: dict[str, Market]
    states: set[State]


def market_of(name: str) -> Market:
    """Return the market of a recording's only symbol after it was played, just before its end."""
    (market,) = played(name).markets.values()
    return market


def played(name: str) -> Played:
    """Play a recording of a known fault through markets, up to its end."""

    async def scenario() -> Played:
        recording, inbox = open_recording([case(name)]), make_inbox()
        replay = asyncio.create_task(Replay(recording, inbox, ReplayClock(), inf).run())
        markets, states = {}, set()
        for symbol in recording.instruments:
            markets[symbol] = Market(
                symbol, Origin("00", "replay", "replay"), levels_max=20_000, trades_kept=30, stale_after_ms=5000
            )
        while not replay.done() or not inbox.empty():
            received = await inbox.get()
            if isinstance(received.event, FeedDown):
                await replay
                continue
            market = markets[received.symbol]
            market.apply(received.event, received.received_ms)
            states.add(market.state(received.received_ms)[0])
        return Played(markets, states)

    return run(scenario())


@pytest.mark.parametrize(
    ("name", "last_update_id"),
    [
        ("spaced_json.rec", 1030), ("all_market_stream.rec", 1020), ("microseconds.rec", 1040),
        ("data_first.rec", 1010), ("torn_last_line.rec", 1028), ("truncated.rec.gz", 1031),
        ("unicode_symbol.rec", 1069), ("unicode_escaped.rec", 1021),
    ],
)  # fmt: skip
def test_cases_are_played_to_their_end(name: str, last_update_id: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every frame is read, and the book is live up to the last one."""
    caplog.set_level(logging.INFO)
    found = played(name)
    (market,) = found.markets.values()

    assert market.book is not None
    assert market.book.last_update_id == last_update_id
    assert State.LIVE in found.states
    assert "replay ended frames_refused=0" in caplog.messages


def test_case_in_microseconds_has_the_times_of_its_events() -> None:
    """Times are read in the unit that they are in."""
    market = market_of("microseconds.rec")

    assert market.view(1780000059100.0, 1780000059.1).event_time_ms == 1780000059100


def test_case_of_trades_alone_claims_no_book() -> None:
    """Without a depth stream there is no book, and no metrics of one."""
    found = played("trades_only.rec")
    view = found.markets["DOGEUSDT"].view(1780000059001.0, 1780000059.0)

    assert State.LIVE not in found.states
    assert (view.bids, view.asks, view.metrics.mid_price) == ([], [], None)
    assert view.trades[0].price == 0.10473


@pytest.mark.parametrize("name", ["unicode_symbol.rec", "unicode_escaped.rec"])
def test_cases_of_names_beyond_ascii_have_all_trades(name: str) -> None:
    """The same name is written in two ways."""
    market = market_of(name)

    assert market.symbol == "\u5e01\u5b89\u4eba\u751fUSDT"
    assert market.view(0.0, 0.0).trades != []


def test_unused_streams_and_unknown_symbols_are_ignored(tmp_path: Path) -> None:
    """An unused stream, and the snapshot of a symbol without frames, make no event."""
    path = tmp_path / "answers"
    path.write_text(f"https://api.binance.us/api/v3/depth?symbol=ETHUSDT&limit=5 -> {START_S}: {BOOK % 1}\n")
    frames = tmp_path / "frames"
    frames.write_text(f'{START_S}: {TICKER % 2}\n{START_S}: {{"stream":"btcusdt@avgPrice","data":{{}}}}\n')

    async def scenario() -> list[object]:
        inbox: Inbox = make_inbox()
        await Replay(open_recording([path, frames]), inbox, ReplayClock(), inf).run()
        return [inbox.get_nowait().event for _ in range(inbox.qsize())]

    assert [type(event) for event in run(scenario())] == [Instrument, FeedUp, BookTicker, FeedDown]


def test_full_speed_lets_other_tasks_run(tmp_path: Path) -> None:
    """A long recording yields to the loop every BURST_FRAMES frames."""
    path = tmp_path / "recording"
    path.write_text("".join(f"{START_S}: {TICKER % i}\n" for i in range(1, 1001)))

    async def scenario() -> int:
        replay = asyncio.create_task(Replay(open_recording([path]), make_inbox(), ReplayClock(), inf).run())
        turns = 0
        while not replay.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert run(scenario()) > 1000 / 64


def test_open_and_close_change_nothing(tmp_path: Path) -> None:
    """The symbols of a recording are fixed: all of them are played, and no other."""
    path = tmp_path / "recording"
    path.write_text(f"{START_S}: {TICKER % 1}\n")

    async def scenario() -> set[str]:
        inbox = make_inbox()
        replay = Replay(open_recording([path]), inbox, ReplayClock(), inf)
        replay.open("ETHUSDT")
        replay.close("BTCUSDT")
        await replay.run()
        return {inbox.get_nowait().symbol for _ in range(inbox.qsize())}

    assert run(scenario()) == {"BTCUSDT"}
