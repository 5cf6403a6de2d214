"""The state of a market: a market that is given it goes on exactly as the one that it is of."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from pulse.errors import BadBlock
from pulse.market.market import Market
from pulse.market.view import View
from pulse.past.columns import ColumnReader, ColumnWriter
from pulse.past.events import Row
from pulse.past.playback import difference, keyframe_of, market_of, play
from pulse.past.state import CLASSES, MODULES, read_market
from tests.support.past import by_minute, new_market, recorded_rows, small_session
from tests.support.recordings import recording


def played(market: Market, rows: list[Row]) -> list[View]:
    """Return the views of these rows."""
    return [view for view in play(market, rows, 0.0) if view is not None]


def again(market: Market) -> Market:
    """Return a market in the same state, by way of bytes."""
    return market_of(market.symbol, market._origin, keyframe_of(market))


def test_market_goes_on_from_its_state_at_every_row() -> None:
    """Wherever a session is cut, the views after it are the same, every field of them, and so is the state."""
    rows = small_session()
    for cut in range(0, len(rows), 7):
        first = new_market()
        played(first, rows[:cut])
        second = again(first)

        assert played(second, rows[cut:]) == played(first, rows[cut:])
        assert keyframe_of(second) == keyframe_of(first)


def test_market_of_a_recorded_session_goes_on_from_its_state() -> None:
    """The same for minutes of a busy symbol: book, metrics, candles, proof, streams."""
    first = new_market()
    second = first
    for rows in by_minute(recorded_rows(recording("btcusdt-2024-08-08"), "*0808.gz", "BTCUSDT"))[:3]:
        second = again(second)
        ours, theirs = played(first, rows), played(second, rows)

        assert [difference(*pair) for pair in zip(ours, theirs, strict=True)] == [""] * len(ours)
        assert keyframe_of(second) == keyframe_of(first)


def test_shared_objects_stay_shared() -> None:
    """A stream that is judged is the one that frames are counted in."""
    market = again(new_market())

    assert market.streams.ticker is market.streams._streams[1] is market.streams._judged[0]


def test_classes_have_one_name_each() -> None:
    """They are written by their names."""
    found = [
        cls.__name__
        for module in MODULES
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__
    ]

    assert sorted(found) == sorted(CLASSES)


def test_what_no_market_holds_is_not_written() -> None:
    """A new kind of value needs its place in the format first."""
    market = new_market()
    market.symbol = object()  # type: ignore[assignment]

    with pytest.raises(TypeError, match="a market holds a object"):
        keyframe_of(market)


@pytest.mark.parametrize(
    "state",
    [
        b"[",
        b"[]",
        b'{"o":["int",{}]}',
        b'{"o":["State",{}]}',
        b'{"o":["OrderBook",{"asks":1,"bids":2,"last_update_id":3}]}',
        b'{"x":1}',
        b'{"r":0}',
        b'{"e":["State","ASLEEP"]}',
        b'{"e":["Market","x"]}',
        b'{"t":1}',
        b'{"f":"x"}',
        b'{"a":1,"b":2}',
    ],
)
def test_state_of_another_program_is_refused(state: bytes) -> None:
    """Other classes, other fields, no market, no JSON."""
    writer = ColumnWriter()
    writer.blob(state)

    with pytest.raises(BadBlock, match="state"):
        read_market(ColumnReader(writer.finish()), new_market())


def changed(market: Market, change: Callable[[dict[str, Any]], None]) -> Market:
    """Return a market in the state of another one, changed as JSON."""
    reader = ColumnReader(keyframe_of(market))
    plain = orjson.loads(reader.blob())
    change(plain["o"][1])
    writer = ColumnWriter()
    writer.blob(orjson.dumps(plain))
    made = new_market()
    read_market(ColumnReader(writer.finish()), made)
    return made


def test_state_of_an_earlier_program_is_read() -> None:
    """A part of a market that is new begins anew, and one that is gone is left out."""

    def earlier(plain: dict[str, Any]) -> None:
        del plain["_order_flow"]
        del plain["integrity"]["o"][1]["resyncs"]
        plain["_news"] = {"o": ["News", {}]}

    market = changed(new_market(), earlier)
    rows = small_session()

    assert [difference(*pair) for pair in zip(played(market, rows), played(new_market(), rows), strict=True)] == [
        ""
    ] * 41
    assert not hasattr(market, "_news")


def test_value_of_another_form_is_refused() -> None:
    """What its fields mean is not known."""
    market = new_market()
    played(market, small_session()[:60])

    with pytest.raises(BadBlock, match="other fields"):
        changed(market, lambda plain: plain["_trades"]["d"][1]["o"][1].update(colour="red"))


def test_side_of_an_impossible_size_is_refused() -> None:
    """Before anything is made of it."""
    market = new_market()
    played(market, small_session())
    writer = ColumnWriter()
    writer.blob(ColumnReader(keyframe_of(market)).blob())
    writer.ints([-1])

    with pytest.raises(BadBlock, match="levels"):
        read_market(ColumnReader(writer.finish()), new_market())
