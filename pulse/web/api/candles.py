"""GET /api/ohlcv: candles of any interval as JSON, or streamed page by page as CSV and NDJSON."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pulse.candle_history.reader import CandleReader
from pulse.concurrency import map_in_chunks
from pulse.market.intervals import AggregatedCandle
from pulse.symbols import SymbolRegistry
from pulse.web.params import CandleQuery, parameters_of, read_candle_query
from pulse.wire import CANDLE_FIELDS, candle_row

PAGE_BARS = 1000
"""What is held in memory of a stream, and what is written of it in one go."""
REVALIDATED = "no-cache"
"""May be kept, and is asked about each time: an old minute may be corrected, and one address serve another source."""

Row = dict[str, Any]


@dataclass(frozen=True)
class _Stream:
    """A way to write rows one after the other."""

    media_type: str
    head: bytes
    write: Callable[[Row], bytes]


class CandlesApi:
    """The route. `compressed_from_bytes` is from where on the server compresses an answer."""

    def __init__(self, bars: CandleReader, registry: SymbolRegistry, compressed_from_bytes: int) -> None:
        self._bars = bars
        self._roster = registry
        self._compressed_from_bytes = compressed_from_bytes

    async def serve(self, request: Request) -> Response:
        """The candles that are asked for, oldest first. Raises RequestError or StoreUnavailable."""
        query = read_candle_query(parameters_of(request), self._roster)
        if query.format != "json":
            return await self._stream(query, STREAMS[query.format])
        bars = await self._bars.read(query.symbol, query.interval, query.start_ms, query.end_ms, query.limit)
        headers = {"Cache-Control": REVALIDATED}
        if len(bars) == query.limit:
            headers["Link"] = _link(query, bars)
        return self._tagged(request, orjson.dumps(await self._rows(query, bars)), headers)

    async def _rows(self, query: CandleQuery, bars: Sequence[AggregatedCandle]) -> list[Row]:
        running_ms = self._bars.running_ms(query.symbol)
        return await map_in_chunks(lambda bar: candle_row(bar, query.interval, running_ms), bars)

    def _tagged(self, request: Request, body: bytes, headers: dict[str, str]) -> Response:
        """The answer, or that it is the one which the client has."""
        digest = hashlib.blake2b(body, digest_size=12).hexdigest()
        is_compressed = (
            "gzip" in request.headers.get("Accept-Encoding", "") and len(body) >= self._compressed_from_bytes
        )
        # What differs byte for byte must differ in its strong tag.
        tag = f'"{digest}-gzip"' if is_compressed else f'"{digest}"'
        headers["ETag"] = tag
        known = request.headers.get("If-None-Match", "")
        if known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(",")):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers | {"Vary": "Accept-Encoding"})
        return Response(body, headers=headers, media_type="application/json")

    async def _stream(self, query: CandleQuery, stream: _Stream) -> Response:
        headers = {"Cache-Control": "no-store"}
        if query.format == "csv":
            headers["Content-Disposition"] = f'attachment; filename="{query.symbol}-{query.interval.name}.csv"'
        pages = self._pages(query)
        # A store that is away is told as such; later the stream can only break off.
        first: list[Row] = await anext(pages, [])

        async def chunks() -> AsyncIterator[bytes]:
            yield stream.head + b"".join(await map_in_chunks(stream.write, first))
            async for rows in pages:
                yield b"".join(await map_in_chunks(stream.write, rows))

        return StreamingResponse(chunks(), headers=headers, media_type=stream.media_type)

    async def _pages(self, query: CandleQuery) -> AsyncIterator[list[Row]]:
        symbol, interval, start_ms, end_ms, limit = (
            query.symbol, query.interval, query.start_ms, query.end_ms, query.limit
        )  # fmt: skip
        if start_ms is None:  # then the limit is at most a page
            yield await self._rows(query, await self._bars.read(symbol, interval, None, end_ms, limit))
            return
        async for bars in self._bars.pages(symbol, interval, start_ms, end_ms, limit, PAGE_BARS):
            yield await self._rows(query, bars)


def _link(query: CandleQuery, bars: Sequence[AggregatedCandle]) -> str:
    """Where the page after this one is, or the one before it where the newest were asked for."""
    asked: dict[str, Any] = {"symbol": query.symbol, "interval": query.interval.name, "limit": query.limit}
    if query.start_ms is None:
        return f'<?{urlencode(asked | {"end": bars[0].candle.open_time_ms - 1})}>; rel="prev"'
    asked["start"] = query.interval.after(bars[-1].candle.open_time_ms)
    if query.end_ms is not None:
        asked["end"] = query.end_ms
    return f'<?{urlencode(asked)}>; rel="next"'


def _csv_line(row: Row) -> bytes:
    return ",".join(map(_csv_cell, row.values())).encode() + b"\r\n"


def _csv_cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


STREAMS = {
    "csv": _Stream("text/csv; charset=utf-8", ",".join(CANDLE_FIELDS).encode() + b"\r\n", _csv_line),
    "ndjson": _Stream("application/x-ndjson", b"", lambda row: orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)),
}
