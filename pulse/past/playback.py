"""Playing recorded rows through a market, exactly as the engine does it: the same calls, at the same moments. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from pulse.market.market import Market, Origin
from pulse.market.view import View
from pulse.past.block import Block
from pulse.past.columns import ColumnReader, ColumnWriter
from pulse.past.events import VIEW, Row, read_rows, write_rows
from pulse.past.state import read_market, write_market

REWIND = "rewind"
"""The source of views of the past."""
NOT_COMPARED = frozenset({"seq", "instance", "source", "timestamp", "token"})
"""Fields of a view that say where and when it was made, not what it shows."""
COMPARED = tuple(spec.name for spec in fields(View) if spec.name not in NOT_COMPARED)


def keyframe_of(market: Market) -> bytes:
    """Return the state of a market, compressed."""
    writer = ColumnWriter()
    write_market(market, writer)
    return writer.finish()


def market_of(symbol: str, origin: Origin, keyframe: bytes) -> Market:
    """Return a market in the state of a keyframe. Raises BadBlock."""
    market = Market(symbol, origin, levels_max=1, trades_kept=1, stale_after_ms=1.0)  # all of it is in the state
    reader = ColumnReader(keyframe)
    read_market(reader, market)
    reader.finish()
    return market


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Return rows, compressed."""
    writer = ColumnWriter()
    write_rows(rows, writer)
    return writer.finish()


def decode_rows(data: bytes) -> list[Row]:
    """Return the rows of a block. Raises BadBlock."""
    reader = ColumnReader(data)
    rows = read_rows(reader)
    reader.finish()
    return rows


def open_block(block: Block) -> tuple[Market, list[Row]]:
    """Return the market at the beginning of a block, and its rows. Raises BadBlock."""
    origin = Origin(block.meta.run, REWIND, block.meta.venue)
    return market_of(block.meta.symbol, origin, block.keyframe), decode_rows(block.rows)


def play(market: Market, rows: Iterable[Row], wall_ms_offset: float) -> Iterator[View | None]:
    """Apply rows one by one; yield the view that was made at each, None where none was.

    `wall_ms_offset`: ms since the epoch minus the time of a row.
    """
    for at_ms, event in rows:
        if event is VIEW:
            view = market.view(at_ms, (at_ms + wall_ms_offset) / 1000)
            market.trades_view()
            market.take_silences()
            yield view
        else:
            market.apply(event, at_ms)
            market.candles.take_closed()
            market.integrity.pop_resync_request()
            yield None


def difference(ours: View, theirs: View) -> str:
    """Return the first field in which two views of one moment differ; empty if there is none."""
    return next((name for name in COMPARED if getattr(ours, name) != getattr(theirs, name)), "")
