"""Playing the past: the views of recorded rows are those that were made live, at each moment."""

from dataclasses import replace

from pulse.past.block import decode_block, encode_block
from pulse.past.events import VIEW
from pulse.past.playback import COMPARED, NOT_COMPARED, difference, keyframe_of, open_block, play
from tests.support.past import block_of, by_minute, new_market, recorded_rows, small_session
from tests.support.recordings import recording


def test_views_of_a_recorded_session_are_those_of_then() -> None:
    """Block by block, each from bytes alone: every view equals the one that a market showed that never stopped."""
    live = new_market()
    for number, rows in enumerate(by_minute(recorded_rows(recording("btcusdt-2024-08-08"), "*0808.gz", "BTCUSDT"))[:3]):
        block = block_of(rows, number, live)
        market, read = open_block(decode_block(encode_block(block)))
        for ours, theirs in zip(play(market, read, 0.0), play(live, rows, 0.0), strict=True):
            assert ours is theirs is None or (ours is not None and theirs is not None and not difference(ours, theirs))
        assert keyframe_of(market) == keyframe_of(live)


def test_view_of_the_past_says_that_it_is_one() -> None:
    """Its source is `rewind`, its instance the one that recorded it, its time the recorded one."""
    rows = small_session()
    market, read = open_block(block_of(rows))
    views = [view for view in play(market, read, 5_000.0) if view is not None]

    assert {(view.source, view.instance, view.venue) for view in views} == {("rewind", "9f3ac21b", "us")}
    assert views[0].timestamp == (next(row.at_ms for row in rows if row.event is VIEW) + 5_000) / 1000


def test_first_difference_is_named() -> None:
    """The fields that say where a view was made are not compared; all others are."""
    market, rows = open_block(block_of(small_session()))
    view = [view for view in play(market, rows, 0.0) if view is not None][-1]

    assert difference(view, replace(view, seq=0, instance="", source="", timestamp=0.0)) == ""
    assert difference(view, replace(view, bids=[])) == "bids"
    assert {"seq", "instance", "source", "timestamp"} <= NOT_COMPARED.difference(COMPARED)
