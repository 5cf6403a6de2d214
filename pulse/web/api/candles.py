"""GET /api/ohlcv: candles of any interval as JSON, or streamed page by page as CSV and NDJSON."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from pulse.candle_history.reader import CandleReader
from pulse.concurrency import give_way, map_in_chunks
from pulse.market.intervals import INTERVALS, AggregatedCandle
from pulse.server.loop import current_connection
from pulse.web.api.operations import STORE_UNAVAILABLE, WRONG_PARAMETER, get, problems, query
from pulse.web.api.schemas import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    TIME,
    Json,
    Schemas,
    array,
    object_of,
    or_null,
    symbol_name,
)
from pulse.web.context import WebContext
from pulse.web.params import (
    FORMATS,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    STREAM_MAX,
    CandleQuery,
    parameters_of,
    read_candle_query,
)  # fmt: skip
from pulse.web.routing import NO_STORE, limited, revalidated_response
from pulse.wire import CANDLE_FIELDS, candle_row

PAGE_CANDLES = 1000
"""Candles of a stream that are held in memory and written at once."""

ENCODED_ROWS = 100
"""Rows encoded as JSON between two turns of the loop."""

SEND_TIMEOUT_S = 30.0
"""How long a client may take to read one such page: slower than 10 KB/s is cut, because it holds a share."""

Row = dict[str, Any]


@dataclass(frozen=True)
class _StreamFormat:
    """A way to write rows one after the other: the bytes before the first, and those of each."""

    media_type: str
    head: bytes
    encode: Callable[[Row], bytes]


class _Export(StreamingResponse):
    """A stream that ends what it holds when it ends, and whose client must go on reading."""

    def __init__(
        self, chunks: AsyncIterator[bytes], headers: Mapping[str, str], media_type: str, held: ExitStack
    ) -> None:
        super().__init__(chunks, headers=headers, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream to the end, or until the client has left or has taken nothing for SEND_TIMEOUT_S."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await send(message)
            except TimeoutError:
                current_connection().abort()
                raise

        # Starlette takes a TimeoutError for the client's end, depending on the version of the protocol.
        with self._held, suppress(TimeoutError, ClientDisconnect):
            await super().__call__(scope, receive, send_in_time)


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes."""
    return [Route("/api/ohlcv", partial(_candles, context), middleware=limited(context.admission, compressed=True))]


async def _candles(context: WebContext, request: Request) -> Response:
    """Return the candles in the range, oldest first. Raises RequestError or StoreUnavailable.

    JSON may be cached but is revalidated: an old minute may be corrected, and one address serve another source.
    """
    address, reader = context.admission.address_of(request), context.candles
    asked = read_candle_query(parameters_of(request), context.registry, address)
    if asked.format != "json":
        with ExitStack() as undone:
            undone.enter_context(context.admission.exports.held(address))
            return await _stream(context, asked, STREAM_FORMATS[asked.format], undone)
    with context.admission.reads.held(address):
        candles = await reader.read(asked.symbol, asked.interval, asked.start_ms, asked.end_ms, asked.limit)
        rows = await _rows(reader, asked, candles)
    context.admission.charge_candles(address, len(candles))
    headers = {"Link": _link(asked, candles)} if len(candles) == asked.limit else {}
    return await revalidated_response(request, await _json_array(rows), headers)


async def _rows(reader: CandleReader, asked: CandleQuery, candles: Sequence[AggregatedCandle]) -> list[Row]:
    running_ms = reader.running_ms(asked.symbol)
    return await map_in_chunks(lambda candle: candle_row(candle, asked.interval, running_ms), candles)


async def _json_array(rows: Sequence[Row]) -> bytes:
    """Return the rows as one JSON array. Other tasks run after every ENCODED_ROWS rows."""
    parts = []
    for start in range(0, len(rows), ENCODED_ROWS):
        parts.append(orjson.dumps(rows[start : start + ENCODED_ROWS])[1:-1])
        await give_way()
    return b"[" + b",".join(parts) + b"]"


async def _stream(context: WebContext, asked: CandleQuery, stream: _StreamFormat, held: ExitStack) -> Response:
    """Return the response, which ends what is `held` when it ends. Its pages take turns with those of other exports.

    Raises StoreUnavailable.
    """
    headers = dict(NO_STORE)
    if asked.format == "csv":
        headers["Content-Disposition"] = _attachment(f"{asked.symbol}-{asked.interval.name}.csv")
    pages, turns = _pages(context.candles, asked), context.admission.export_turns

    async def next_chunk() -> bytes | None:
        async with turns.turn():
            rows = await anext(pages, None)
            return None if rows is None else b"".join(await map_in_chunks(stream.encode, rows))

    # The first page is read before the response starts: an unavailable store gives 503; later it can only break off.
    first = await next_chunk()

    async def chunks() -> AsyncIterator[bytes]:
        chunk = first
        yield stream.head + (chunk or b"")
        while chunk is not None:
            chunk = await next_chunk()
            if chunk:
                yield chunk

    return _Export(chunks(), headers, stream.media_type, held.pop_all())


def _attachment(name: str) -> str:
    """Return the Content-Disposition header of a file; one whose name is not ASCII is encoded (RFC 6266, RFC 8187)."""
    return f'attachment; filename="{name}"' if name.isascii() else f"attachment; filename*=UTF-8''{quote(name)}"


async def _pages(reader: CandleReader, asked: CandleQuery) -> AsyncIterator[list[Row]]:
    symbol, interval, start_ms, end_ms, limit = (
        asked.symbol, asked.interval, asked.start_ms, asked.end_ms, asked.limit
    )  # fmt: skip
    if start_ms is None:  # then the limit is at most a page
        yield await _rows(reader, asked, await reader.read(symbol, interval, None, end_ms, limit))
        return
    async for candles in reader.pages(symbol, interval, start_ms, end_ms, limit, PAGE_CANDLES):
        yield await _rows(reader, asked, candles)


def _link(asked: CandleQuery, candles: Sequence[AggregatedCandle]) -> str:
    """Return the Link header of a full page: to the next page, or to the previous one if the query has no start."""
    parameters: dict[str, Any] = {"symbol": asked.symbol, "interval": asked.interval.name, "limit": asked.limit}
    if asked.start_ms is None:
        return f'<?{urlencode(parameters | {"end": candles[0].candle.open_time_ms - 1})}>; rel="prev"'
    parameters["start"] = asked.interval.after(candles[-1].candle.open_time_ms)
    if asked.end_ms is not None:
        parameters["end"] = asked.end_ms
    return f'<?{urlencode(parameters)}>; rel="next"'


def _csv_line(row: Row) -> bytes:
    return ",".join(map(_csv_cell, row.values())).encode() + b"\r\n"


def _csv_cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


STREAM_FORMATS = {
    "csv": _StreamFormat("text/csv; charset=utf-8", ",".join(CANDLE_FIELDS).encode() + b"\r\n", _csv_line),
    "ndjson": _StreamFormat(
        "application/x-ndjson", b"", lambda row: orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    ),
}


def candle_schema(schemas: Schemas) -> Json:
    """Return the schema of one row, by reference."""
    return schemas.named("CandleRow", object_of({
        "symbol": STRING, "timestamp": {"type": "string", "format": "date-time"}, "open": NUMBER, "high": NUMBER,
        "low": NUMBER, "close": NUMBER, "volume": NUMBER, "quote_volume": NUMBER, "trade_count": INTEGER,
        "taker_buy_volume": NUMBER, "taker_buy_quote_volume": NUMBER, "first_trade_id": or_null(INTEGER),
        "last_trade_id": or_null(INTEGER),
        "source": {"type": "string", "enum": ["live", "repaired", "exchange", "mixed"]}, "reconciled": BOOLEAN,
        "is_closed": BOOLEAN, "missing_minutes": {"type": "integer", "minimum": 0},
    }))  # fmt: skip


def paths(schemas: Schemas, symbols: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    candles = {
        "description": "Candles, oldest first.",
        "headers": {
            "ETag": {"description": "Strong; ask again with If-None-Match.", "schema": STRING},
            "Link": {"description": "The next page, or the previous one; if the page is full.", "schema": STRING},
        },
        "content": {
            "application/json": {"schema": array(candle_schema(schemas))},
            "text/csv": {"schema": STRING},
            "application/x-ndjson": {"schema": STRING},
        },
    }
    answers = {"200": candles, "304": {"description": "Unchanged since the answer with that ETag."}}
    limit = {"type": "integer", "minimum": 1, "maximum": STREAM_MAX, "default": LIMIT_DEFAULT}
    return {
        "/api/ohlcv": get(
            "Candles of any interval and how each was obtained.",
            answers | problems(schemas, {400: WRONG_PARAMETER, 503: STORE_UNAVAILABLE}),
            query("symbol", "Which symbol; the first one by default.", symbol_name(symbols)),
            query("interval", "What a candle spans.", {"type": "string", "enum": list(INTERVALS), "default": "1m"}),
            query("start", "The first open time: ISO 8601, or whole seconds or milliseconds since 1970.", TIME),
            query("end", "The last open time, in the same forms.", TIME),
            query("limit", f"At most {LIMIT_MAX}; more only for a stream with a start.", limit),
            query("format", "The format.", {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}),
        )
    }
