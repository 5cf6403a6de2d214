"""What a symbol's market was given, in order, as columns: diffs, tickers, trades, and the moments of its views. Pure.

A row is a market event and the whole ms of the process's clock at which it was applied, or VIEW and when a view was
made: a view samples what it shows, so the moments of views are part of the past. Frequent events have columns of their
own. The others, of which a minute has some, are JSON.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Any, NamedTuple, TypeAlias, get_type_hints

import orjson

from pulse.errors import BadBlock
from pulse.market.depth_sync import BookAnchor
from pulse.market.types import (
    Aggressor,
    BookLost,
    BookTicker,
    Candle,
    CandleMismatch,
    DepthDiff,
    DepthSnapshot,
    ExchangeCandle,
    FeedDown,
    FeedUp,
    Instrument,
    Levels,
    PartialDepth,
    Quarantined,
    Trade,
    TradeGap,
    TradeIdsRestarted,
    TradesHeld,
)
from pulse.past.columns import ColumnReader, ColumnWriter

VIEW = None
"""Stands for an event where a view was made."""


class Row(NamedTuple):
    """One event that a market was given, or VIEW, and when, in whole ms of the process's clock."""

    at_ms: int
    event: object


RARE: tuple[type, ...] = (
    BookLost, CandleMismatch, ExchangeCandle, FeedDown, FeedUp, Instrument, Quarantined, TradeGap, TradeIdsRestarted,
    TradesHeld,
)  # fmt: skip
"""Events that are kept as JSON."""
KINDS: tuple[type, ...] = (type(VIEW), DepthDiff, BookTicker, Trade, PartialDepth, BookAnchor, *RARE)
"""A row's kind is written as its place here; new ones come last, and a change of one is a new format."""
VIEWS, DIFFS, TICKERS, TRADES, PARTIALS, ANCHORS = range(6)
CODES = {kind: code for code, kind in enumerate(KINDS)}
BID_PRICE, BID_QUANTITY, ASK_PRICE, ASK_QUANTITY = range(1, 5)
"""Places in a BookTicker, and the bits that say which of them differ from the ticker before."""
BIDS, ASKS = -1, 1
"""Which way the prices of a side go, from the best one."""
IS_BUYER, IS_MARKET, IS_REPAIRED = 1, 2, 4
"""Bits of a trade."""
PRICES = (BID_PRICE, ASK_PRICE)
ROWS_MAX = 1_000_000
"""Rows of a block at most: a minute of the busiest recorded symbol has 12,000."""

_Times: TypeAlias = Sequence[int]


def write_rows(rows: Sequence[Row], writer: ColumnWriter) -> None:
    """Write rows of one symbol, in their order."""
    codes = [CODES[type(event)] for _, event in rows]
    by_code: list[tuple[list[int], list[Any]]] = [([], []) for _ in KINDS]
    for code, (at_ms, event) in zip(codes, rows, strict=True):
        times, events = by_code[code]
        times.append(at_ms)
        events.append(event)
    writer.ints([len(rows)])
    writer.ints(codes)
    writer.deltas([at_ms for at_ms, _ in rows])
    _write_diffs(*by_code[DIFFS], writer)
    _write_tickers(by_code[TICKERS][1], writer)
    _write_trades(*by_code[TRADES], writer)
    _write_partials(by_code[PARTIALS][1], writer)
    _write_anchors(*by_code[ANCHORS], writer)
    rare = [event for code, (_, event) in zip(codes, rows, strict=True) if code > ANCHORS]
    writer.blob(orjson.dumps(list(map(_plain, rare))))


def read_rows(reader: ColumnReader) -> list[Row]:
    """Return the rows that were written. Raises BadBlock."""
    (count,) = reader.ints(1)
    if not 0 <= count <= ROWS_MAX:
        raise BadBlock(f"it has {count} rows, more than a block can have")
    codes = reader.ints(count)
    if codes and not 0 <= min(codes) <= max(codes) < len(KINDS):
        raise BadBlock("it has a row of a kind that is not known")
    times = reader.deltas(count)
    at_ms: list[list[int]] = [[] for _ in KINDS]
    for code, time_ms in zip(codes, times, strict=True):
        at_ms[code].append(time_ms)
    sources: list[Iterator[object]] = [
        iter([VIEW] * len(at_ms[VIEWS])),
        _read_diffs(at_ms[DIFFS], reader),
        _read_tickers(len(at_ms[TICKERS]), reader),
        _read_trades(at_ms[TRADES], reader),
        _read_partials(len(at_ms[PARTIALS]), reader),
        _read_anchors(at_ms[ANCHORS], reader),
    ]
    rare = _read_rare([KINDS[code] for code in codes if code > ANCHORS], reader)
    sources += [rare] * len(RARE)  # they share one list, in the order of their rows
    next_of = [partial(next, source) for source in sources]
    return [Row(time_ms, next_of[code]()) for code, time_ms in zip(codes, times, strict=True)]


# --- depth


def _write_diffs(times: _Times, diffs: Sequence[DepthDiff], writer: ColumnWriter) -> None:
    """Write diffs: most join the one before, so that only how far they reach says anything new."""
    before = [0, *(diff.final_update_id for diff in diffs[:-1])]
    writer.ints([diff.first_update_id - id_before for diff, id_before in zip(diffs, before, strict=False)])
    writer.ints([diff.final_update_id - diff.first_update_id for diff in diffs])
    writer.deltas([diff.event_time_ms - at_ms for diff, at_ms in zip(diffs, times, strict=True)])
    _write_levels([diff.bids for diff in diffs], BIDS, writer)
    _write_levels([diff.asks for diff in diffs], ASKS, writer)


def _read_diffs(times: _Times, reader: ColumnReader) -> Iterator[DepthDiff]:
    count = len(times)
    steps, spans = reader.ints(count), reader.ints(count)
    final_ids = list(accumulate(map(sum, zip(steps, spans, strict=True))))
    event_times = [offset_ms + at_ms for offset_ms, at_ms in zip(reader.deltas(count), times, strict=True)]
    bids, asks = _read_levels(count, BIDS, reader), _read_levels(count, ASKS, reader)
    first_ids = [final_id - span for final_id, span in zip(final_ids, spans, strict=True)]
    return map(DepthDiff, first_ids, final_ids, event_times, bids, asks)


def _write_levels(sides: Sequence[Levels], sign: int, writer: ColumnWriter) -> None:
    """Write one side of many diffs or books. The exchange sends the best level first: steps from it are positive."""
    writer.ints([len(levels.prices) for levels in sides])
    writer.runs([levels.prices for levels in sides], sign)
    writer.decimals(list(chain.from_iterable(levels.quantities for levels in sides)))


def _read_levels(count: int, sign: int, reader: ColumnReader) -> list[Levels]:
    counts = reader.ints(count)
    if counts and min(counts) < 0:
        raise BadBlock("a side has fewer than no levels")
    prices, quantities = reader.runs(counts, sign), reader.decimals(sum(counts))
    ends = accumulate(counts)
    return [Levels(run, quantities[end - size : end]) for run, end, size in zip(prices, ends, counts, strict=True)]


def _write_partials(partials: Sequence[PartialDepth], writer: ColumnWriter) -> None:
    writer.deltas([partial_depth.last_update_id for partial_depth in partials])
    _write_levels([partial_depth.bids for partial_depth in partials], BIDS, writer)
    _write_levels([partial_depth.asks for partial_depth in partials], ASKS, writer)


def _read_partials(count: int, reader: ColumnReader) -> Iterator[PartialDepth]:
    return map(PartialDepth, reader.deltas(count), _read_levels(count, BIDS, reader), _read_levels(count, ASKS, reader))


def _write_anchors(times: _Times, anchors: Sequence[BookAnchor], writer: ColumnWriter) -> None:
    """Write anchors: their snapshots, and the diffs after each."""
    snapshots = [anchor.snapshot for anchor in anchors]
    writer.ints([snapshot.last_update_id for snapshot in snapshots])
    writer.ints([snapshot.limit for snapshot in snapshots])
    _write_levels([snapshot.bids for snapshot in snapshots], BIDS, writer)
    _write_levels([snapshot.asks for snapshot in snapshots], ASKS, writer)
    counts = [len(anchor.diffs) for anchor in anchors]
    writer.ints(counts)
    _write_diffs(_repeated(times, counts), [diff for anchor in anchors for diff in anchor.diffs], writer)


def _read_anchors(times: _Times, reader: ColumnReader) -> Iterator[BookAnchor]:
    count = len(times)
    ids, limits = reader.ints(count), reader.ints(count)
    bids, asks = _read_levels(count, BIDS, reader), _read_levels(count, ASKS, reader)
    snapshots = map(DepthSnapshot, ids, bids, asks, limits)
    counts = reader.ints(count)
    if counts and (min(counts) < 0 or sum(counts) > ROWS_MAX):
        raise BadBlock("an anchor has more diffs than it can have")
    diffs = list(_read_diffs(_repeated(times, counts), reader))
    ends = accumulate(counts)
    return iter(
        [
            BookAnchor(snapshot, tuple(diffs[end - size : end]))
            for snapshot, end, size in zip(snapshots, ends, counts, strict=True)
        ]
    )


def _repeated(times: _Times, counts: Sequence[int]) -> list[int]:
    return [at_ms for at_ms, count in zip(times, counts, strict=True) for _ in range(count)]


# --- tickers and trades


def _write_tickers(tickers: Sequence[BookTicker], writer: ColumnWriter) -> None:
    """Write tickers: most change one or two of their four numbers, and only what changed is written."""
    writer.deltas([ticker.update_id for ticker in tickers])
    before = [BookTicker(0, 0.0, 0.0, 0.0, 0.0), *tickers[:-1]]
    changes = [
        (a[1] != b[1]) | (a[2] != b[2]) << 1 | (a[3] != b[3]) << 2 | (a[4] != b[4]) << 3
        for a, b in zip(tickers, before, strict=False)
    ]
    writer.ints(changes)
    for place in (BID_PRICE, BID_QUANTITY, ASK_PRICE, ASK_QUANTITY):
        bit = 1 << place - 1
        values = [ticker[place] for ticker, change in zip(tickers, changes, strict=True) if change & bit]
        write = writer.decimal_deltas if place in PRICES else writer.decimals
        write(values)


def _read_tickers(count: int, reader: ColumnReader) -> Iterator[BookTicker]:
    ids, changes = reader.deltas(count), reader.ints(count)
    columns: list[list[float]] = []
    for place in (BID_PRICE, BID_QUANTITY, ASK_PRICE, ASK_QUANTITY):
        bit = 1 << place - 1
        flags = [change & bit for change in changes]
        read = reader.decimal_deltas if place in PRICES else reader.decimals
        values = iter(read(len(flags) - flags.count(0)))
        newest = 0.0
        columns.append([newest := next(values) if flag else newest for flag in flags])
    return map(BookTicker, ids, *columns)


def _write_trades(times: _Times, trades: Sequence[Trade], writer: ColumnWriter) -> None:
    """Write trades: most ids follow on."""
    writer.deltas([trade.trade_id for trade in trades])
    before = [0, *(trade.last_trade_id for trade in trades[:-1])]
    writer.ints([trade.first_trade_id - id_before for trade, id_before in zip(trades, before, strict=False)])
    writer.ints([trade.last_trade_id - trade.first_trade_id for trade in trades])
    writer.deltas([trade.time_ms - at_ms for trade, at_ms in zip(trades, times, strict=True)])
    writer.ints([trade.event_time_ms - trade.time_ms for trade in trades])
    writer.ints(
        [
            (trade.aggressor is Aggressor.BUYER) * IS_BUYER
            | trade.is_market * IS_MARKET
            | trade.is_repaired * IS_REPAIRED
            for trade in trades
        ]
    )
    writer.decimal_deltas([trade.price for trade in trades])
    writer.decimals([trade.quantity for trade in trades])


def _read_trades(times: _Times, reader: ColumnReader) -> Iterator[Trade]:
    count = len(times)
    ids, steps, spans = reader.deltas(count), reader.ints(count), reader.ints(count)
    last_ids = list(accumulate(map(sum, zip(steps, spans, strict=True))))
    first_ids = [last_id - span for last_id, span in zip(last_ids, spans, strict=True)]
    trade_times = [offset_ms + at_ms for offset_ms, at_ms in zip(reader.deltas(count), times, strict=True)]
    event_times = [offset_ms + time_ms for offset_ms, time_ms in zip(reader.ints(count), trade_times, strict=True)]
    flags = reader.ints(count)
    prices, quantities = reader.decimal_deltas(count), reader.decimals(count)
    aggressors = [Aggressor.BUYER if flag & IS_BUYER else Aggressor.SELLER for flag in flags]
    are_market, are_repaired = [flag & IS_MARKET > 0 for flag in flags], [flag & IS_REPAIRED > 0 for flag in flags]
    return map(
        Trade, ids, prices, quantities, trade_times, aggressors, first_ids, last_ids, event_times, are_market,
        are_repaired,
    )  # fmt: skip


# --- the others


def _plain(event: Any) -> list[Any]:
    """Return an event as JSON has it: its name and its fields."""
    if isinstance(event, FeedUp):
        return [type(event).__name__, {"kinds": sorted(event.kinds)}]
    return [type(event).__name__, asdict(event)]


def _read_rare(kinds: Sequence[type], reader: ColumnReader) -> Iterator[object]:
    try:
        found: Any = orjson.loads(reader.blob())
    except orjson.JSONDecodeError as fault:
        raise BadBlock("its rare events are no JSON") from fault
    if not isinstance(found, list) or len(found) != len(kinds):
        raise BadBlock("its rare events are not as many as its rows say")
    return iter([_event(kind, item) for kind, item in zip(kinds, found, strict=True)])


def _event(kind: type, item: Any) -> object:
    """Return one event of the kind that its row says."""
    if not isinstance(item, list) or len(item) != 2 or item[0] != kind.__name__ or not isinstance(item[1], dict):
        raise BadBlock(f"a {kind.__name__} was expected")
    values = item[1]
    if kind is FeedUp:
        kinds = values.get("kinds")
        if values.keys() != {"kinds"} or not isinstance(kinds, list) or not all(isinstance(one, str) for one in kinds):
            raise BadBlock("a FeedUp names no kinds of streams")
        return FeedUp(frozenset(kinds))
    return _of_fields(kind, values)


def _of_fields(kind: type, values: Any) -> Any:
    """Return a dataclass of these values, each of the type that it declares."""
    if not is_dataclass(kind) or not isinstance(values, dict) or values.keys() != {f.name for f in fields(kind)}:
        raise BadBlock(f"a {kind.__name__} has not its fields")
    hints = get_type_hints(kind)
    made = {name: _of_fields(Candle, value) if hints[name] is Candle else value for name, value in values.items()}
    wrong = [name for name, value in made.items() if type(value) is not hints[name]]
    if wrong:
        raise BadBlock(f"a {kind.__name__} has a wrong {wrong[0]}")
    return kind(**made)
