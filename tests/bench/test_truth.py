"""The comparison of the terminal with the exact exchange: equal is equal, and each difference is named."""

import io
import urllib.error
from email.message import Message
from typing import Any

import orjson
import pytest

from bench.truth import Truth, book_difference, candle_difference, open_ms_of

KLINE = [60_000, "10.5", "11.0", "10.0", "10.7", "3.00000001", 119_999, "32.1", 12, "1.5", "16.0", "0"]
ROW = {
    "open": 10.5, "high": 11.0, "low": 10.0, "close": 10.7, "volume": 3.00000001, "quote_volume": 32.1,
    "trade_count": 12, "taker_buy_volume": 1.5, "taker_buy_quote_volume": 16.0,
}  # fmt: skip

TERMINAL, EXCHANGE = 1, 2
VIEW = {"state": "live", "last_update_id": 7, "bids": [[10.0, 1.0]], "asks": [[11.0, 2.0]]}
BOOK = {"bids": [["10.0", "1.0"]], "asks": [["11.0", "2.0"]]}


class Answers:
    """The JSON that both ports answer, by port and path without its query; what is not there is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: dict[tuple[int, str], Any] = {}
        monkeypatch.setattr("bench.truth.get", self._get)

    def _get(self, port: int, path: str) -> bytes:
        body = self.bodies.get((port, path.partition("?")[0]))
        if body is None:
            raise urllib.error.HTTPError(path, 503, "", Message(), io.BytesIO())
        return orjson.dumps(body)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return a terminal and an exchange that agree on a book and three minutes, the last of which is open."""
    found = Answers(monkeypatch)
    klines = [[minute * 60_000, *KLINE[1:]] for minute in (1, 2, 3)]
    rows = [ROW | {"timestamp": f"1970-01-01T00:0{minute}:00+00:00", "is_closed": minute < 3} for minute in (1, 2, 3)]
    found.bodies = {
        (TERMINAL, "/orderbook"): VIEW, (EXCHANGE, "/simulator/book"): BOOK,
        (TERMINAL, "/api/ohlcv"): rows, (EXCHANGE, "/simulator/klines"): klines,
    }  # fmt: skip
    return found


def test_agreement_is_counted(answers: Answers) -> None:
    """A book, and the closed minutes once each, however often they are compared."""
    truth = Truth(TERMINAL, EXCHANGE)

    assert truth.compare_book("BTCUSDT")
    assert all(truth.compare_candles("BTCUSDT", 0, 200_000) for _ in range(2))
    assert (truth.books["BTCUSDT"], truth.minutes["BTCUSDT"], truth.diverged) == (1, {60_000, 120_000}, 0)


def test_divergence_of_book_and_candle_is_noted(answers: Answers) -> None:
    """With the symbol and the place."""
    truth = Truth(TERMINAL, EXCHANGE)
    answers.bodies[TERMINAL, "/orderbook"] = VIEW | {"asks": [[11.0, 3.0]]}
    answers.bodies[TERMINAL, "/api/ohlcv"][1]["close"] = 1.0

    truth.compare_book("BTCUSDT")
    truth.compare_candles("BTCUSDT")

    assert [text.partition(":")[0] for text in truth.divergences] == ["BTCUSDT asks at 7", "BTCUSDT minute 120000"]


@pytest.mark.parametrize("view", [VIEW | {"state": "syncing"}, None])
def test_book_that_is_not_live_is_not_compared(answers: Answers, view: Any) -> None:
    """It makes no claim, so it cannot be wrong."""
    truth = Truth(TERMINAL, EXCHANGE)
    answers.bodies[TERMINAL, "/orderbook"] = view

    assert not truth.compare_book("BTCUSDT")
    assert not truth.books


def test_missing_minute_is_not_right(answers: Answers) -> None:
    """Unless it is outside of what is asked for."""
    truth = Truth(TERMINAL, EXCHANGE)
    del answers.bodies[TERMINAL, "/api/ohlcv"][1]

    assert not truth.compare_candles("BTCUSDT", 0, 200_000)
    assert truth.compare_candles("BTCUSDT", 0, 150_000)


def test_terminal_in_trouble_is_not_ready(answers: Answers) -> None:
    """It answers 503 then."""
    truth = Truth(TERMINAL, EXCHANGE)

    assert not truth.is_ready()
    answers.bodies[TERMINAL, "/readyz"] = {"ready": True}
    assert truth.is_ready()


def test_equal_books_have_no_difference() -> None:
    """Also where ours shows fewer levels: those it knows."""
    theirs = [[10.0, 1.0], [9.9, 2.0], [9.8, 3.0]]

    assert book_difference(theirs, theirs) == book_difference(theirs[:2], theirs) == ""


@pytest.mark.parametrize("ours", [[10.0, 2.0], [10.1, 1.0]])
def test_level_that_differs_is_named(ours: list[float]) -> None:
    """In quantity or in price."""
    assert book_difference([[11.0, 1.0], ours], [[11.0, 1.0], [10.0, 1.0]]).startswith("level 1 is ")


def test_equal_candles_have_no_difference() -> None:
    """Sums may differ by what rounding makes of them."""
    assert candle_difference(ROW | {"quote_volume": 32.1 + 1e-12}, KLINE) == ""


@pytest.mark.parametrize("name", ROW)
def test_value_that_differs_is_named(name: str) -> None:
    """Each of the candle's values counts."""
    changed: dict[str, Any] = ROW | {name: ROW[name] + 0.01}

    assert candle_difference(changed, KLINE).startswith(f"{name} is ")


def test_time_of_a_row_is_its_minute() -> None:
    """ISO 8601 to milliseconds."""
    assert open_ms_of({"timestamp": "1970-01-01T00:01:00+00:00"}) == 60_000
