"""Query parameters, and the errors for wrong ones."""

import re
from datetime import datetime
from urllib.parse import parse_qs, quote

import pytest

from pulse.errors import RequestError
from pulse.market.intervals import INTERVALS
from pulse.symbols import SymbolRegistry
from pulse.web.params import TIME_PATTERN, CandleQuery, known_symbol, read_candle_query

SYMBOLS = ("BTCUSDT", "ETHUSDT")
AT_MS = 1723161300000  # 2024-08-08T23:55:00 UTC


def read(text: str) -> CandleQuery:
    """Return the candle query in a query string."""
    return read_candle_query(parse_qs(text, keep_blank_values=True), SymbolRegistry(SYMBOLS), "192.0.2.1")


def test_every_parameter_has_a_default() -> None:
    """Without parameters: the newest 100 minutes of the first symbol."""
    assert read("") == CandleQuery("BTCUSDT", INTERVALS["1m"], 100, None, None, "json")


def test_each_parameter_is_read() -> None:
    """Unknown parameters are ignored."""
    query = read(f"symbol=ethusdt&interval=1M&limit=1000&start={AT_MS}&end={AT_MS}&format=csv&_=1")

    assert query == CandleQuery("ETHUSDT", INTERVALS["1M"], 1000, AT_MS, AT_MS, "csv")


def test_symbol_may_be_requested_again_before_the_listing_is_known() -> None:
    """The error is 503 and says after how many seconds."""
    with pytest.raises(RequestError, match="has not answered yet which symbols it lists") as raised:
        known_symbol("DOGEUSDT", SymbolRegistry(["BTCUSDT"], running_max=2), "192.0.2.1")

    assert (raised.value.status, raised.value.retry_after_s) == (503, 2)


def test_stream_with_a_start_has_a_higher_limit() -> None:
    """A million rows are streamed by page; a thousand is the limit for rows that are held in memory."""
    assert read("format=ndjson&start=0&limit=1000000").limit == 1_000_000
    for text in ("format=ndjson&limit=1001", "start=0&limit=1001", "format=csv&start=0&limit=1000001"):
        with pytest.raises(RequestError, match="limit must be"):
            read(text)


@pytest.mark.parametrize(
    "text",
    [
        "1723161300",
        "1723161300000",
        "2024-08-08T23:55:00Z",
        "2024-08-08T23:55:00%2B00:00",
        "2024-08-08T23:55:00+00:00",
        "2024-08-08T23:55",
        "2024-08-08%2023:55:00.000",
        "2024-08-09T01:55:00%2B02:00",
        "2024-08-08T18:55:00-05:00",
    ],
)
def test_time_has_several_forms(text: str) -> None:
    """Seconds, milliseconds and ISO 8601 give the same time."""
    assert read(f"start={text}").start_ms == AT_MS


def test_date_is_midnight_utc() -> None:
    """A date needs no time of day."""
    assert read("start=2024-08-09").start_ms == 1723161600000


def exists(text: str) -> bool:
    """Return whether Python knows such a time."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_pattern_of_a_time_is_exact() -> None:
    """It matches the days, hours and offsets that exist and no others; so the API's description refuses the rest."""
    days = [f"{year:04}-{month:02}-{day:02}"
            for year in (*range(1, 9), *range(96, 105), 0, *range(390, 410), 1900, 2000, 2023, 2024, 2100, 9996, 9999)
            for month in range(14) for day in range(33)]  # fmt: skip
    times = [f"2024-08-08T{hour:02}:{minute:02}" for hour in range(26) for minute in range(62) if hour != 24]
    offsets = [f"2024-08-08T23:55{sign}{hour:02}:30" for sign in "+-" for hour in range(26)]
    texts = [*days, *times, *offsets, *(f"2024-08-08T23:55:0{s}" for s in ("0", "0.1", "0.123456", "0.1234567"))]
    accepted = {text for text in texts if re.search(TIME_PATTERN, text, re.ASCII)}

    assert accepted == {text for text in texts if exists(text) and not text.endswith("4567")}
    assert not re.search(TIME_PATTERN, "2024-08-08T24:00", re.ASCII)
    assert all(read(f"start={quote(text)}").start_ms is not None for text in accepted)


@pytest.mark.proves("injection")
@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("symbol=DOGEUSDT", "symbol"),
        ("symbol=", "symbol"),
        ("symbol=BTCUSDT%0A", "symbol"),
        ("symbol=BTCU%C5%BFDT", "symbol"),  # the long s, whose capital is an ASCII S
        ("symbol=' OR 1=1 --", "symbol"),
        ("symbol=BTCUSDT&symbol=ETHUSDT", "symbol"),
        ("interval=7m", "interval"),
        ("interval=1D", "interval"),
        ("format=JSON", "format"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%201", "limit"),
        ("limit=1%0A", "limit"),
        ("limit=%EF%BC%91", "limit"),  # a full-width digit
        ("limit=" + "9" * 10_000, "limit"),
        ("start=yesterday", "start"),
        ("start=2024-13-01", "start"),
        ("start=2024-08-08T25:00", "start"),
        ("start=2024-W32", "start"),
        ("start=-1", "start"),
        ("start=1.5", "start"),
        ("start=", "start"),
        ("end=" + "9" * 17, "end"),
        ("end=2024-08-08T23:55:00%2B99:00", "end"),
        (f"start={AT_MS}&end={AT_MS - 1}", "start"),
    ],
)
def test_wrong_parameter_is_named(text: str, parameter: str) -> None:
    """With its valid values, in a short text however long the value."""
    with pytest.raises(RequestError) as caught:
        read(text)

    assert caught.value.status == 400
    assert caught.value.parameter == parameter
    assert caught.value.allowed
    assert len(caught.value.detail) < 250


def test_unknown_symbol_in_a_path_is_not_found() -> None:
    """404, where a query parameter would be 400."""
    with pytest.raises(RequestError) as caught:
        known_symbol("DOGEUSDT", SymbolRegistry(SYMBOLS), "192.0.2.1")

    assert caught.value.status == 404
    assert caught.value.allowed == SYMBOLS


def test_missing_symbol_is_the_first_one() -> None:
    """The first symbol of the settings is the default."""
    assert known_symbol(None, SymbolRegistry(SYMBOLS), "192.0.2.1") == "BTCUSDT"
