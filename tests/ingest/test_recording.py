"""Reading recordings: what is read of them, files merged by time, instruments, and errors of one sentence."""

import gzip
import random
from contextlib import suppress
from pathlib import Path

import pytest

from pulse.errors import SettingsError
from pulse.ingest.recording import RawFrame, Recorded, RecordedSnapshot, open_recording
from pulse.market.types import Instrument
from tests.support.makers import snapshot
from tests.support.recordings import case

TICKER = '{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1.0","B":"1","a":"2","A":"1"}}'
DEPTH = '{"stream":"btcusdt@depth@100ms","data":{"b":[["61837.63000000","0.00100000"]],"a":[["1.500","20"]]}}'
OTHER = TICKER.replace("btcusdt", "ethusdt").replace("BTCUSDT", "ETHUSDT")
BOOK = '{"lastUpdateId":7,"bids":[["1.0","2.0"]],"asks":[]}'
INFO = (
    '{"symbols":[{"symbol":"BTCUSDT","status":"BREAK","baseAsset":"BTC","quoteAsset":"USDT",'
    '"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.10000000"}]}]}'
)
NS = "1723161253937085768"


def write(path: Path, *lines: str) -> Path:
    """Write a file of these lines, gzipped if its name ends so."""
    raw = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def messages(*paths: Path) -> list[Recorded]:
    """Return every message of these files."""
    return list(open_recording(paths).messages())


def error_of(*paths: Path) -> str:
    """Return the text of the error that these files raise."""
    with pytest.raises(SettingsError) as caught:
        messages(*paths)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


# --- the forms of a line


@pytest.mark.parametrize("name", ["plain.log", "packed.gz"])
def test_line_of_nanoseconds_and_a_frame(tmp_path: Path, name: str) -> None:
    """A line may have integer nanoseconds, a space and the raw frame; the file may be gzipped."""
    assert messages(write(tmp_path / name, f"{NS} {TICKER}")) == [RawFrame(1723161253937.085768, TICKER)]


def test_line_of_microseconds_and_a_frame(tmp_path: Path) -> None:
    """Sixteen digits are microseconds."""
    found = messages(write(tmp_path / "a", f"1680652800004107 {TICKER}"))

    assert [message.received_ms for message in found] == [1680652800004.107]


@pytest.mark.parametrize(("stamp", "ms"), [("1633998274.723671", 1633998274723.671), ("1633998274", 1633998274000.0)])
def test_line_of_seconds_and_a_frame(tmp_path: Path, stamp: str, ms: float) -> None:
    """A line may have seconds with or without decimals, a colon, a space and the raw frame."""
    assert messages(write(tmp_path / "a", f"{stamp}: {TICKER}")) == [RawFrame(ms, TICKER)]


def test_line_of_a_rest_snapshot(tmp_path: Path) -> None:
    """An answer of GET /depth belongs to the symbol of its URL and has the limit of the request."""
    url = "https://api.binance.us/api/v3/depth?symbol=ETHUSDT&limit=1000"
    path = write(tmp_path / "a", f"1633998274.5: {TICKER}", f"{url} -> 1633998275.5: {BOOK}")

    assert messages(path)[1] == RecordedSnapshot(1633998275500.0, "ETHUSDT", snapshot(7, [(1.0, 2.0)], limit=1000))


def test_snapshot_without_a_url_belongs_to_the_only_symbol(tmp_path: Path) -> None:
    """Its limit is unknown."""
    path = write(tmp_path / "a", f"{NS} {TICKER}", f"{NS} {BOOK}")

    assert messages(path)[1] == RecordedSnapshot(1723161253937.085768, "BTCUSDT", snapshot(7, [(1.0, 2.0)], limit=0))


def test_snapshot_without_a_url_is_ignored_where_there_are_several_symbols(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain snapshot does not name its symbol; the log states it once a file."""
    path = write(tmp_path / "a", f"{NS} {TICKER}", f"{NS} {OTHER}", f"{NS} {BOOK}", f"{NS} {BOOK}")

    assert [type(message) for message in messages(path)] == [RawFrame, RawFrame]
    assert caplog.messages == [f"recorded snapshots ignored, their symbol is unknown path={path} count=2"]


@pytest.mark.proves("two-recordings")
def test_two_recordings_of_one_symbol_each_keep_their_snapshots(tmp_path: Path) -> None:
    """A plain snapshot belongs to the only symbol of its own file."""
    one = write(tmp_path / "one", f"1633998271: {TICKER}", f"1633998273: {BOOK}")
    two = write(tmp_path / "two", f"1633998272: {OTHER}", f"1633998274: {BOOK}")

    found = [message for message in messages(one, two) if isinstance(message, RecordedSnapshot)]

    assert [(message.symbol, message.snapshot.last_update_id) for message in found] == [("BTCUSDT", 7), ("ETHUSDT", 7)]


def test_snapshot_in_a_file_of_its_own_belongs_to_the_only_symbol(tmp_path: Path) -> None:
    """Where no file has a second symbol, there is no doubt."""
    one, two = write(tmp_path / "one", f"1633998271: {TICKER}"), write(tmp_path / "two", f"1633998274: {BOOK}")

    assert [type(message) for message in messages(one, two)] == [RawFrame, RecordedSnapshot]


def test_notes_and_other_answers_are_ignored(tmp_path: Path) -> None:
    """A recorder's notes, blank lines, answers to other requests and to control messages are no error."""
    path = write(
        tmp_path / "a",
        "wss://stream.binance.us:9443/stream?streams=btcusdt@depth <-> 1633998274.5",
        "configuration: {}",
        "",
        "   ",
        'https://api.binance.us/api/v3/time -> 1633998274.6: {"serverTime":1}',
        '1633998274.7: {"result":null,"id":1}',
        f"1633998274.8: {TICKER}",
    )

    assert messages(path) == [RawFrame(1633998274800.0, TICKER)]


# --- several files


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    """Messages come in order of receipt across files; within a file the order is the file's."""
    one = write(tmp_path / "one", f"1633998271: {TICKER}", f"1633998274: {DEPTH}", f"1633998273: {TICKER}")
    two = write(tmp_path / "two.gz", f"1633998272: {OTHER}", f"1633998275: {OTHER}")

    assert [message.received_ms / 1000 - 1633998270 for message in messages(one, two)] == [1, 2, 4, 3, 5]


def test_recording_can_be_read_again(tmp_path: Path) -> None:
    """Each iteration starts with the first message."""
    recording = open_recording([write(tmp_path / "a", f"{NS} {TICKER}")])

    assert list(recording.messages()) == list(recording.messages())


# --- instruments


def test_steps_are_inferred_from_the_recorded_levels(tmp_path: Path) -> None:
    """Without exchangeInfo the decimals of the recorded levels make the steps."""
    recording = open_recording([write(tmp_path / "a", f"{NS} {DEPTH}")])

    assert recording.instruments == {"BTCUSDT": Instrument("BTCUSDT", "", "", "TRADING", 0.01, 0.001, 2, 3)}


def test_recorded_exchange_info_is_used(tmp_path: Path) -> None:
    """It gives the instruments, with steps no coarser than the prices; one that it does not list is inferred."""
    info = f"https://api.binance.us/api/v3/exchangeInfo -> 1633998270.5: {INFO}"
    recording = open_recording([write(tmp_path / "a", info, f"1633998274: {DEPTH}", f"1633998274: {OTHER}")])

    assert recording.instruments["BTCUSDT"] == Instrument("BTCUSDT", "BTC", "USDT", "BREAK", 0.01, 0.0, 2, 8)
    assert recording.instruments["ETHUSDT"].base_asset == ""
    assert list(recording.instruments) == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.proves("digits")
@pytest.mark.parametrize(
    "frame",
    [
        '{"stream":"btcusdt@depth","data":{"s":"BTCUSDT","b":[["0.10473","1"]],"a":[]}}',
        '{"stream":"btcusdt@depth","data":{"s":"BTCUSDT","b":[],"a":[["0.10473000","0"]]}}',
        '{"stream": "btcusdt@depth20", "data": {"lastUpdateId": 1, "bids": [["0.10473", "2"]], "asks": []}}',
        '{"data":{"s":"BTCUSDT","b":"0.10472","B":"1","a":"0.10473","A":"1"},"stream":"btcusdt@bookTicker"}',
        '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","p":"0.10473","q":"17"}}',
        '{"stream":"btcusdt@kline_1m","data":{"k":{"o":"0.1","h":"0.10473","l":"0.1","c":"0.1","v":"1","V":"1"}}}',
        '{"lastUpdateId":7,"bids":[],"asks":[["0.10473","2.0"]]}',
    ],
)
def test_no_price_of_a_file_has_more_decimals_than_its_symbol(tmp_path: Path, frame: str) -> None:
    """Every price that a view may show counts, whatever its stream and however far into the file."""
    lines = [f"{NS} {TICKER}"] * 3000
    recording = open_recording([write(tmp_path / "a", *lines, f"{NS} {frame}")])

    assert (recording.instruments["BTCUSDT"].price_decimals, recording.instruments["BTCUSDT"].tick_size) == (5, 1e-5)


def test_damaged_frame_does_not_decide_the_decimals(tmp_path: Path) -> None:
    """A frame whose levels are malformed, or that is no JSON, adds nothing; nor does one of a thousand lists."""
    bad = (
        f'{{"stream":"btcusdt@trade","data":{{"e":{"[" * 1000}{"]" * 1000}}}}}',
        '{"stream":"btcusdt@depth","data":{"b":[[0.123456]]}}',
        '{"stream":"btcusdt@depth","data":{"b":[["0.1',
    )
    recording = open_recording([write(tmp_path / "a", f"{NS} {DEPTH}", *(f"{NS} {frame}" for frame in bad))])

    assert recording.instruments["BTCUSDT"].price_decimals == 2


# --- recordings of known faults


@pytest.mark.parametrize(
    ("name", "symbol", "decimals"),
    [
        ("spaced_json.rec", "PEPEUSDT", 8),
        ("trades_only.rec", "DOGEUSDT", 5),
        ("quiet_symbol_digits.rec.gz", "DOGEUSDT", 5),
        ("quiet_symbol_digits.rec.gz", "BTCUSDT", 2),
        ("unicode_symbol.rec", "\u5e01\u5b89\u4eba\u751fUSDT", 4),
        ("unicode_escaped.rec", "\u5e01\u5b89\u4eba\u751fUSDT", 4),
    ],
)
def test_decimals_of_the_cases(name: str, symbol: str, decimals: int) -> None:
    """The decimals of a symbol are those of its own prices."""
    assert open_recording([case(name)]).instruments[symbol].price_decimals == decimals


def test_streams_of_all_markets_are_no_symbol() -> None:
    """`!miniTicker@arr` names none."""
    assert list(open_recording([case("all_market_stream.rec")]).instruments) == ["BTCUSDT"]


@pytest.mark.proves("torn")
@pytest.mark.parametrize(("name", "count"), [("torn_last_line.rec", 30), ("truncated.rec.gz", 33)])
def test_torn_recording_is_read_up_to_the_tear(name: str, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """All whole lines are read, and the log states once where the file is torn."""
    recording = open_recording([case(name)])

    assert len(list(recording.messages())) == count
    assert recording.is_torn
    assert caplog.messages == [f"recording torn, played up to there path={case(name)} line={count}"]


# --- errors


@pytest.mark.proves("futures")
@pytest.mark.parametrize(
    "line",
    [
        f'{NS} {{"stream":"btcusdt@depth@0ms","data":{{"e":"depthUpdate","U":1,"u":2,"pu":0,"b":[],"a":[]}}}}',
        f'{NS} {{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":1,"E":1,"T":1,"s":"BTCUSDT"}}}}',
        f'{NS} {{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate"}}}}',
        f"https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT&limit=1000 -> 1633998274: {BOOK}",
    ],
)
def test_recording_of_a_futures_market_is_an_error(tmp_path: Path, line: str) -> None:
    """The text states that it is one, and what can be replayed."""
    path = write(tmp_path / "a", line)

    assert error_of(path) == (
        f"Line 1 of {path} is of a futures market; only recordings of spot markets can be replayed."
    )


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """The text names the file."""
    path = tmp_path / "none.gz"

    assert error_of(path) == f"The recording {path} cannot be read: No such file or directory."


def test_folder_is_an_error(tmp_path: Path) -> None:
    """The text names the folder."""
    assert error_of(tmp_path) == f"The recording {tmp_path} cannot be read: Is a directory."


@pytest.mark.parametrize("lines", [[], [""], ["configuration: {}"], [f"{NS} {BOOK}"]])
def test_file_without_a_frame_is_an_error(tmp_path: Path, lines: list[str]) -> None:
    """Notes and snapshots alone make no recording."""
    path = write(tmp_path / "a", *lines)

    assert error_of(path) == f"{path} holds no frame of a combined stream."


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        TICKER,
        f"1723 {TICKER}",
        f"17231612539370857 {TICKER}",
        f"{NS} [1]",
        f"{NS}.5 {TICKER}",
        f"2024-13-08T23:54:13Z {TICKER}",
        "１６３３９９８２７４: {}",  # noqa: RUF001
    ],
)
def test_unknown_line_is_an_error(tmp_path: Path, line: str) -> None:
    """The text names file and line, and shows the start of the line."""
    path = write(tmp_path / "a", f"{NS} {TICKER}", line)

    assert error_of(path) == f"Line 2 of {path} is not a recorded frame: {line[:60]!r}."


def test_too_long_line_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may have LINE_BYTES_MAX bytes."""
    monkeypatch.setattr("pulse.ingest.recording_file.LINE_BYTES_MAX", 200)
    path = write(tmp_path / "a", f"{NS} {TICKER[:-1]}{' ' * 200}}}")

    assert error_of(path).startswith(f"Line 1 of {path} is not a recorded frame: ")


def test_damaged_archive_is_an_error(tmp_path: Path) -> None:
    """The checksum finds changed bytes."""
    path = write(tmp_path / "a.gz", f"{NS} {TICKER}")
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 0xFF
    path.write_bytes(raw)

    assert error_of(path).startswith(f"The recording {path} cannot be read")


def test_file_that_only_starts_like_an_archive_is_an_error(tmp_path: Path) -> None:
    """The two magic bytes are not enough."""
    path = tmp_path / "a.gz"
    path.write_bytes(b"\x1f\x8bgarbage")

    assert error_of(path).startswith(f"The recording {path} cannot be read: ")


def test_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """The text states that the bytes are no UTF-8."""
    path = tmp_path / "a"
    path.write_bytes(b"\xff\xff\x00\n")

    assert error_of(path).startswith(f"The recording {path} cannot be read after line 1: 'utf-8' codec can't decode")


@pytest.mark.parametrize(
    "body", ["{", '{"lastUpdateId":"7","bids":[],"asks":[]}', '{"lastUpdateId":7,"bids":[["1_0","1"]],"asks":[]}']
)
def test_malformed_snapshot_is_an_error(tmp_path: Path, body: str) -> None:
    """The text names file and line."""
    url = "https://api.binance.us/api/v3/depth?symbol=BTCUSDT&limit=1000"
    path = write(tmp_path / "a", f"1633998274: {TICKER}", f"{url} -> 1633998275: {body}")

    assert error_of(path).startswith(f"Line 2 of {path} cannot be used: expected ")


@pytest.mark.parametrize("limit", ["many", "１0x"])  # noqa: RUF001
def test_snapshot_of_a_wrong_limit_is_an_error(tmp_path: Path, limit: str) -> None:
    """The limit in the URL must be a number."""
    url = f"https://api.binance.us/api/v3/depth?symbol=BTCUSDT&limit={limit}"
    path = write(tmp_path / "a", f"1633998274: {TICKER}", f"{url} -> 1633998275: {BOOK}")

    assert error_of(path).startswith(f"Line 2 of {path} cannot be used: ")


@pytest.mark.parametrize("body", ["{", '{"symbols":null}'])
def test_malformed_exchange_info_is_an_error(tmp_path: Path, body: str) -> None:
    """The text names file and line."""
    path = write(tmp_path / "a", f"https://api.binance.us/api/v3/exchangeInfo -> 1633998275: {body}")

    assert error_of(path).startswith(f"Line 1 of {path} cannot be used: expected ")


def test_malformed_url_is_an_error(tmp_path: Path) -> None:
    """The text names file and line."""
    path = write(tmp_path / "a", "https://[/depth -> 1633998275: {}")

    assert error_of(path) == f"Line 1 of {path} cannot be used: Invalid IPv6 URL."


@pytest.mark.parametrize("name", ["spaced_json.rec", "data_first.rec", "trades_only.rec", "unicode_escaped.rec"])
def test_changed_bytes_raise_nothing_else(name: str, tmp_path: Path) -> None:
    """Whatever bytes of a recording are changed, it is read or refused in a sentence before anything is played."""
    raw, rng, path = case(name).read_bytes()[:6000], random.Random(1), tmp_path / "a"
    read = 0
    for _ in range(250):
        changed = bytearray(raw)
        for _ in range(rng.randrange(1, 6)):
            changed[rng.randrange(len(changed))] = rng.choice(b'0123456789.-"[]{},:eEbauq\\\n\xff ')
        path.write_bytes(changed)
        with suppress(SettingsError):
            recording = open_recording([path])
            read += len(list(recording.messages())) > 0
    assert read > 25
