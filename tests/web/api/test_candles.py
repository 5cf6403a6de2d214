"""GET /api/ohlcv with the real app, the real server and a real store."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from pulse.market.intervals import INTERVALS, AggregatedCandle, Interval, Newest
from pulse.market.types import MINUTE_MS
from pulse.settings import Settings
from pulse.store.sqlite import SqliteStore
from pulse.web.admission import (
    BURST_S,
    CANDLES_PER_REQUEST,
    EXPORTS_MAX,
    EXPORTS_PER_ADDRESS_MAX,
    READS_PER_ADDRESS_MAX,
)
from pulse.web.api import candles
from pulse.web.api.candles import PAGE_CANDLES
from pulse.wire import CANDLE_FIELDS
from tests.support.candles import BEGIN_MS, SQL_DIR, minute_candle, minutes, running
from tests.support.makers import ManualClock
from tests.support.stores import MemoryStore
from tests.support.waiting import until
from tests.support.web import ALL_CLOSED, SETTINGS, Web, ask, on_server_loop, serving
from tests.support.websockets import raw_socket, read_to_end


@asynccontextmanager
async def serving_minutes(
    folder: Path, count: int, newest: Newest = ALL_CLOSED, settings: Settings = SETTINGS,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Web]:  # fmt: skip
    """Serve the app with a store that has `count` minutes of BTCUSDT from 23:55 on."""
    store = SqliteStore(folder / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles(minutes(count))
    async with serving(settings, store=store, newest=newest, clock=clock) as web:
        yield web
    await store.aclose()


@on_server_loop
async def test_candles_come_oldest_first(tmp_path: Path) -> None:
    """A list of the last minutes, each with its open time in ISO 8601 and every field."""
    async with serving_minutes(tmp_path, 3) as web:
        status, body, _ = await ask(web, "/api/ohlcv?limit=2")

    assert status == 200
    assert [row["timestamp"] for row in body] == ["2024-08-08T23:56:00+00:00", "2024-08-08T23:57:00+00:00"]
    assert [tuple(row) for row in body] == [CANDLE_FIELDS] * 2


@on_server_loop
async def test_incomplete_candle_counts_its_missing_minutes(tmp_path: Path) -> None:
    """A day with nine minutes counts the others as missing; a running day is not closed."""
    newest = Newest((running(9),), BEGIN_MS + 9 * MINUTE_MS)
    async with serving_minutes(tmp_path, 9, newest) as web:
        _, body, _ = await ask(web, "/api/ohlcv?interval=1d")

    assert [(row["missing_minutes"], row["is_closed"]) for row in body] == [(1435, True), (0, False)]
    assert body[1]["trade_count"] == 5 * minute_candle().trade_count


@on_server_loop
async def test_wrong_parameter_is_named(tmp_path: Path) -> None:
    """With its valid values."""
    async with serving_minutes(tmp_path, 1) as web:
        status, body, headers = await ask(web, "/api/ohlcv?symbol=BTCUSDT&interval=7m")

    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert (body["parameter"], body["allowed"]) == ("interval", list(INTERVALS))


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("interval=NaN", "interval"),
        ("interval=1\uff4d", "interval"),
        ("interval=", "interval"),
        ("start=2&end=1", "start"),
        ("start=NaN", "start"),
        ("start=-1", "start"),
        ("end=1e99", "end"),
        ("end=\uff11\uff12", "end"),
        ("limit=0", "limit"),
        ("limit=1000000000", "limit"),
        ("limit=\uff15", "limit"),
        ("limit=NaN", "limit"),
        ("limit=1&limit=2", "limit"),
        ("format=xml", "format"),
        ("format=", "format"),
        ("symbol='; DROP TABLE candles; --", "symbol"),
        ('symbol="BTCUSDT"', "symbol"),
        ("symbol=" + "A" * 10_240, "symbol"),
        ("symbol=BTCUSDT\x00", "symbol"),
    ],
)
@on_server_loop
async def test_bad_input_gets_a_short_problem(tmp_path: Path, query: str, parameter: str) -> None:
    """It names the parameter, whatever was sent."""
    async with serving_minutes(tmp_path, 1) as web:
        status, body, headers = await ask(web, "/api/ohlcv?" + quote(query, safe="=&"))

    assert (status, headers["Content-Type"], body["parameter"]) == (400, "application/problem+json", parameter)
    assert len(body["detail"]) < 400
    assert body["allowed"]


@on_server_loop
async def test_link_leads_to_the_next_page(tmp_path: Path) -> None:
    """From a start on, until there is none."""
    async with serving_minutes(tmp_path, 25) as web:
        rows: list[Any] = []
        link = "?start=0&interval=5m&limit=2"
        while link:
            _, page, headers = await ask(web, "/api/ohlcv" + link)
            rows += page
            link = target(headers, "next")
        _, whole, _ = await ask(web, "/api/ohlcv?start=0&interval=5m")

    assert len(rows) == 5
    assert rows == whole


@on_server_loop
async def test_link_leads_to_the_previous_page(tmp_path: Path) -> None:
    """Without a start the newest come first, and links lead back."""
    async with serving_minutes(tmp_path, 25) as web:
        rows: list[Any] = []
        link = "?interval=5m&limit=2"
        while link:
            _, page, headers = await ask(web, "/api/ohlcv" + link)
            rows, link = page + rows, target(headers, "prev")
        _, whole, _ = await ask(web, "/api/ohlcv?interval=5m")

    assert len(rows) == 5
    assert rows == whole


def target(headers: Mapping[str, str], relation: str) -> str:
    """Return the target of the Link header."""
    link, _, rest = headers.get("Link", "").partition(">; ")
    assert rest in ("", f'rel="{relation}"')
    return link.removeprefix("<")


@on_server_loop
async def test_unchanged_answer_is_not_sent_again(tmp_path: Path) -> None:
    """Its strong tag gives 304 without a body; after a correction of a minute the answer is sent."""
    path = f"/api/ohlcv?start={BEGIN_MS}&end={BEGIN_MS + MINUTE_MS}"
    async with serving_minutes(tmp_path, 3) as web:
        _, _, first = await ask(web, path)
        again = await ask(web, path, **{"If-None-Match": f'"other", {first["ETag"]}'})
        await correct(tmp_path)
        changed = await ask(web, path, **{"If-None-Match": first["ETag"]})

    assert first["ETag"].startswith('"')
    assert first["Cache-Control"] == "no-cache"
    assert (again[0], again[1], again[2]["ETag"]) == (304, b"", first["ETag"])
    assert (changed[0], changed[1][0]["close"]) == (200, 7.0)


async def correct(folder: Path) -> None:
    """Rewrite the first minute as another process would."""
    store = SqliteStore(folder / "candles.sqlite3", "us", SQL_DIR)
    await store.open()
    await store.write_candles([minute_candle(close=7.0)])
    await store.aclose()


@on_server_loop
async def test_compressed_answer_has_its_own_tag(tmp_path: Path) -> None:
    """Different bytes, a different strong tag; each gives 304."""
    async with serving_minutes(tmp_path, 100) as web:
        tags = []
        for encoding in ("identity", "gzip"):
            _, _, headers = await ask(web, "/api/ohlcv", **{"Accept-Encoding": encoding})
            tags.append(headers["ETag"])
            known = {"Accept-Encoding": encoding, "If-None-Match": headers["ETag"]}

            assert headers.get("Content-Encoding", "identity") == encoding
            assert (await ask(web, "/api/ohlcv", **known))[0] == 304

    assert len(set(tags)) == 2


@on_server_loop
async def test_csv_has_the_same_values(tmp_path: Path) -> None:
    """A header line and one line per candle; browsers save it as a file."""
    async with serving_minutes(tmp_path, 12) as web:
        _, rows, _ = await ask(web, "/api/ohlcv?interval=5m")
        status, body, headers = await ask(web, "/api/ohlcv?interval=5m&format=csv")
    lines = list(csv.DictReader(io.StringIO(body.decode(), newline="")))

    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert headers["Content-Disposition"] == 'attachment; filename="BTCUSDT-5m.csv"'
    assert [{name: read(text) for name, text in line.items()} for line in lines] == rows


def read(text: str) -> object:
    """Return the value of a cell."""
    known = {"": None, "true": True, "false": False}
    if text in known:
        return known[text]
    try:
        return orjson.loads(text)
    except ValueError:
        return text


@on_server_loop
async def test_long_stream_is_contiguous(tmp_path: Path) -> None:
    """What JSON gives in many answers comes in one, compressed as well."""
    count = 2 * PAGE_CANDLES + 7
    async with serving_minutes(tmp_path, count) as web:
        path = f"/api/ohlcv?format=ndjson&start=0&limit={count}"
        _, plain, headers = await ask(web, path, **{"Accept-Encoding": "identity"})
        _, unpacked, compressed = await ask(web, path, **{"Accept-Encoding": "gzip"})
        _, last, _ = await ask(web, "/api/ohlcv?limit=1000")
    rows = [orjson.loads(line) for line in plain.splitlines()]

    assert (headers["Content-Type"], compressed["Content-Encoding"]) == ("application/x-ndjson", "gzip")
    assert plain == unpacked
    assert len({row["timestamp"] for row in rows}) == len(rows) == count
    assert rows[-1000:] == last


@on_server_loop
async def test_stream_without_rows(tmp_path: Path) -> None:
    """CSV is its header line, and NDJSON is empty."""
    async with serving_minutes(tmp_path, 0) as web:
        _, table, _ = await ask(web, "/api/ohlcv?format=csv&start=0")
        _, lines, _ = await ask(web, "/api/ohlcv?format=ndjson")

    assert (table.decode().strip(), lines) == (",".join(CANDLE_FIELDS), b"")


@pytest.mark.parametrize("name", ["json", "csv", "ndjson"])
@on_server_loop
async def test_unavailable_store_gives_503_in_every_format(name: str) -> None:
    """A stream has not begun by then."""
    async with serving() as web:
        web.store.is_unavailable = True
        status, body, headers = await ask(web, f"/api/ohlcv?start=0&format={name}")

    assert (status, headers["Retry-After"]) == (503, "5")
    assert body["title"] == "Service Unavailable"


class SlowStore(MemoryStore):
    """A store whose reads wait until `ready`, and that has a day of minutes."""

    def __init__(self) -> None:
        super().__init__(minutes(1440))
        self.ready = asyncio.Event()

    async def read_intervals(
        self, symbol: str, interval: Interval, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[AggregatedCandle]:
        """Wait, then read."""
        await self.ready.wait()
        return await super().read_intervals(symbol, interval, start_ms, end_ms, limit)


def ask_from(address: str, web: Web, path: str) -> asyncio.Task[tuple[int, Any, Mapping[str, str]]]:
    """Send a request that a trusted proxy forwards for this address."""
    return asyncio.create_task(ask(web, path, **{"X-Forwarded-For": address}))


BEHIND_PROXY = replace(SETTINGS, trusted_hops=1)
EXPORT = "/api/ohlcv?format=csv&start=0&limit=1440"


@pytest.mark.proves("address-reads")
@pytest.mark.parametrize("path", ["/api/ohlcv?limit=1", "/udf/history?symbol=BTCUSDT&resolution=1&from=0&to=9"])
@on_server_loop
async def test_reads_of_one_address_do_not_keep_others_from_reading(path: str) -> None:
    """Beyond its share it is refused with the time of the next try; another address reads."""
    store = SlowStore()
    async with serving(BEHIND_PROXY, store=store) as web:
        first = [ask_from("192.0.2.1", web, path) for _ in range(READS_PER_ADDRESS_MAX)]
        await until(lambda: web.admission.reads.count == READS_PER_ADDRESS_MAX)
        status, problem, headers = await ask_from("192.0.2.1", web, path)
        other = ask_from("192.0.2.2", web, path)
        await until(lambda: web.admission.reads.count == READS_PER_ADDRESS_MAX + 1)
        store.ready.set()
        statuses = {(await answer)[0] for answer in (*first, other)}

        assert web.admission.reads.count == 0

    assert (status, headers["Retry-After"], statuses) == (429, "1", {200})
    assert "as many requests for candles under way" in problem.get("detail", problem.get("errmsg"))


@pytest.mark.proves("address-reads")
@on_server_loop
async def test_exports_of_one_address_do_not_keep_others_from_theirs() -> None:
    """Nor do they use its share of short reads."""
    store = SlowStore()
    async with serving(BEHIND_PROXY, store=store) as web:
        first = [ask_from("192.0.2.1", web, EXPORT) for _ in range(EXPORTS_PER_ADDRESS_MAX)]
        await until(lambda: web.admission.exports.count == EXPORTS_PER_ADDRESS_MAX)
        status, problem, headers = await ask_from("192.0.2.1", web, EXPORT)
        others = [ask_from("192.0.2.2", web, EXPORT), ask_from("192.0.2.1", web, "/api/ohlcv?limit=1")]
        await until(
            lambda: (web.admission.exports.count, web.admission.reads.count) == (EXPORTS_PER_ADDRESS_MAX + 1, 1)
        )
        store.ready.set()
        answers = [await answer for answer in (*first, *others)]
        await until(lambda: web.admission.exports.count == 0)

    assert (status, headers["Retry-After"]) == (429, "10")
    assert "as many exports of candles under way" in problem["detail"]
    assert {answer[0] for answer in answers} == {200}
    assert len(answers[0][1].splitlines()) == 1441


@pytest.mark.proves("address-reads")
@on_server_loop
async def test_exports_in_all_leave_room_for_the_pages() -> None:
    """Many addresses with an export each are refused beyond a bound with 503; a short read is served."""
    store = SlowStore()
    async with serving(BEHIND_PROXY, store=store) as web:
        first = [ask_from(f"192.0.2.{number}", web, EXPORT) for number in range(EXPORTS_MAX)]
        await until(lambda: web.admission.exports.count == EXPORTS_MAX)
        status, _, headers = await ask_from("198.51.100.1", web, EXPORT)
        store.ready.set()
        page = await ask_from("198.51.100.1", web, "/api/ohlcv?limit=1")
        for answer in first:
            await answer

    assert (status, headers["Retry-After"], page[0]) == (503, "10", 200)


@on_server_loop
async def test_export_ends_with_its_client() -> None:
    """One that leaves, asks for the head alone, or asks for an unavailable store gives its share back."""
    store = SlowStore()
    async with serving(store=store) as web:
        leaving = asyncio.create_task(ask(web, EXPORT))
        await until(lambda: web.admission.exports.count == 1)
        leaving.cancel()
        store.ready.set()
        await until(lambda: web.admission.exports.count == 0)

        status, _, _ = await ask(web, EXPORT, "HEAD")
        store.is_unavailable = True
        unavailable, _, _ = await ask(web, EXPORT)
        await until(lambda: web.admission.exports.count == 0)

    assert (status, unavailable) == (200, 503)


@pytest.mark.proves("address-reads")
@on_server_loop
async def test_export_that_is_not_read_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would hold its share for ever."""
    monkeypatch.setattr(candles, "SEND_TIMEOUT_S", 0.2)
    async with serving_minutes(tmp_path, 20_000) as web:
        client = await raw_socket(web.port, receive_buffer_bytes=4096)
        request = f"GET /api/ohlcv?format=csv&start=0&limit=20000 HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(client, request.encode())
        await until(lambda: web.admission.exports.count == 1)
        await until(lambda: web.admission.exports.count == 0)
        received = await read_to_end(client)
        client.close()

    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"\r\n") < 20_000


@pytest.mark.proves("address-reads")
@on_server_loop
async def test_many_candles_count_as_many_requests(tmp_path: Path) -> None:
    """An address that asks for a thousand candles again and again is refused sooner than one that asks for few."""
    settings, clock = replace(SETTINGS, requests_per_address_s=1), ManualClock()
    async with serving_minutes(tmp_path, 1000, settings=settings, clock=lambda: clock.now_ms() / 1000) as web:
        statuses = [(await ask(web, "/api/ohlcv?limit=1000"))[0] for _ in range(2)]
        clock.at_ms += 60_000.0
        statuses += [(await ask(web, "/api/ohlcv?limit=1"))[0] for _ in range(4)]

    assert BURST_S < 1 + 1000 / CANDLES_PER_REQUEST + 1
    assert statuses == [200, 429, 200, 200, 200, 200]
