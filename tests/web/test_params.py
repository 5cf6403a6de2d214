"""What a request asks for, and what is said of a wrong one."""

from urllib.parse import parse_qs

import pytest

from pulse.errors import RequestError
from pulse.market.intervals import INTERVALS
from pulse.symbols import SymbolRegistry
from pulse.web.params import CandleQuery, known_symbol, read_candle_query

SYMBOLS = ("BTCUSDT", "ETHUSDT")
AT_MS = 1723161300000  # 2024-08-08T23:55:00 UTC


def read(text: str) -> CandleQuery:
    """Read a query string."""
    return read_candle_query(parse_qs(text, keep_blank_values=True), SymbolRegistry(SYMBOLS))


def test_everything_has_a_default() -> None:
    """Without parameters: the newest hundred minutes of the first symbol."""
    assert read("") == CandleQuery("BTCUSDT", INTERVALS["1m"], 100, None, None, "json")


def test_each_parameter_is_read() -> None:
    """A full query says what it says; unknown parameters are ignored."""
    query = read(f"symbol=ethusdt&interval=1M&limit=1000&start={AT_MS}&end={AT_MS}&format=csv&_=1")

    assert query == CandleQuery("ETHUSDT", INTERVALS["1M"], 1000, AT_MS, AT_MS, "csv")


def test_a_stream_may_be_long() -> None:
    """A million rows from a start on, a thousand where they are put together in memory."""
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
def test_a_time_may_be_written_in_many_ways(text: str) -> None:
    """Seconds, milliseconds and ISO 8601 name the same moment."""
    assert read(f"start={text}").start_ms == AT_MS


def test_a_date_is_its_first_moment() -> None:
    """A day without a time is midnight, UTC."""
    assert read("start=2024-08-09").start_ms == 1723161600000


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
def test_a_wrong_parameter_is_named(text: str, parameter: str) -> None:
    """The error says which parameter is wrong and what it may be, in few words however long the value."""
    with pytest.raises(RequestError) as caught:
        read(text)

    assert caught.value.status == 400
    assert caught.value.parameter == parameter
    assert caught.value.allowed
    assert len(caught.value.detail) < 250


def test_an_unknown_symbol_is_not_found() -> None:
    """As part of a path, a symbol that is not followed is a thing that there is not."""
    with pytest.raises(RequestError) as caught:
        known_symbol("DOGEUSDT", SymbolRegistry(SYMBOLS))

    assert caught.value.status == 404
    assert caught.value.allowed == SYMBOLS


def test_no_symbol_is_the_first_one() -> None:
    """The first symbol of the settings is the default."""
    assert known_symbol(None, SymbolRegistry(SYMBOLS)) == "BTCUSDT"
