"""Reading recordings of the exchange: files of raw frames in, messages in the order of receipt out.

Lines that are accepted, in any mix, plain or gzipped:
    1723161253937085768 {"stream": ...}          nanoseconds (19 digits) or microseconds (16), a space, the raw frame
    1633998274.723671: {"stream": ...}           seconds, a colon and a space, the raw frame
    https://host/path?query -> 1633998274.5: {}  a REST answer; depth snapshots and exchangeInfo are used
    wss://... <-> seconds, and `configuration:`  a recorder's own notes, ignored
A depth snapshot may also be a plain line without `stream`, where the recording has a single symbol.
"""

import gzip
import heapq
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

from pulse.binance.messages import load_object, parse_instruments, parse_snapshot
from pulse.errors import MalformedFrame, SettingsError
from pulse.market.types import DepthSnapshot, Instrument

INTEGER_LINE = re.compile(r"([0-9]{16}|[0-9]{19}) (\{.*)", re.ASCII)
SECONDS_LINE = re.compile(r"([0-9]{9,11}(?:\.[0-9]+)?): (\{.*)", re.ASCII)
ANSWER_LINE = re.compile(r"(https?://\S+) -> ([0-9]{9,11}(?:\.[0-9]+)?): (.*)", re.ASCII)
NOTE_LINE = re.compile(r"(wss?://\S+ <-> |configuration: )")
STREAM = re.compile(r'\{"stream":\s*"([^"@]{1,40})@')
LEVEL = re.compile(r'\["([0-9.]{1,40})","([0-9.]{1,40})"\]')
LINE_CHARS_MAX = 16 * 2**20
"""A longer line is refused."""
DECIMALS_LINES_MAX = 2_000
"""Lines from which the decimals of prices and quantities are inferred, where no exchangeInfo is recorded."""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One recorded frame of a combined stream."""

    received_ms: float
    raw: str


@dataclass(frozen=True, slots=True)
class RecordedSnapshot:
    """One recorded answer of GET /api/v3/depth."""

    received_ms: float
    symbol: str
    snapshot: DepthSnapshot


Recorded: TypeAlias = RawFrame | RecordedSnapshot


@dataclass(frozen=True, slots=True)
class _Line:
    received_ms: float
    url: str  # empty for a frame
    body: str
    path: Path
    number: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A set of files that was scanned once, and the instruments of the symbols in it."""

    paths: tuple[Path, ...]
    instruments: dict[str, Instrument]

    def messages(self) -> Iterator[Recorded]:
        """Yield every message in order of receipt. Raises SettingsError where a line cannot be parsed."""
        only_symbol = next(iter(self.instruments)) if len(self.instruments) == 1 else ""
        for line in _lines(self.paths):
            if not line.url and STREAM.match(line.body):
                yield RawFrame(line.received_ms, line.body)
                continue
            snapshot = _snapshot(line, only_symbol)
            if snapshot is not None:
                yield snapshot


def open_recording(paths: Sequence[Path]) -> Recording:
    """Scan the files once. Raises SettingsError, in one sentence, where they are not a recording."""
    symbols: dict[str, None] = {}
    recorded: dict[str, Instrument] = {}
    decimals: dict[str, tuple[int, int]] = {}
    for count, line in enumerate(_lines(paths)):
        if line.url:
            recorded |= _instruments(line)
            continue
        stream = STREAM.match(line.body)
        if stream is None:
            continue
        symbol = stream[1].upper()
        symbols[symbol] = None
        if count < DECIMALS_LINES_MAX:
            decimals[symbol] = _more_decimals(decimals.get(symbol, (0, 0)), LEVEL.findall(line.body))
    if not symbols:
        raise SettingsError(f"{', '.join(map(str, paths))} holds no frame of a combined stream.")
    instruments = {s: recorded.get(s) or _inferred(s, *decimals.get(s, (8, 8))) for s in sorted(symbols)}
    return Recording(tuple(paths), instruments)


def _lines(paths: Iterable[Path]) -> Iterator[_Line]:
    """Yield the lines of all files in order of receipt; within a file the order is the file's."""
    return heapq.merge(*(_file_lines(path) for path in paths), key=lambda line: line.received_ms)


def _file_lines(path: Path) -> Iterator[_Line]:
    number = 0
    try:
        with path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if is_gzip else path.open(encoding="utf-8") as text:
            for number, row in enumerate(text, start=1):
                line = _line(row.rstrip("\n"), path, number)
                if line is not None:
                    yield line
                elif row.strip() and not NOTE_LINE.match(row):
                    raise SettingsError(f"Line {number} of {path} is not a recorded frame: {row[:60].rstrip()!r}.")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as fault:
        after = f" after line {number}" if number else ""
        raise SettingsError(f"The recording {path} cannot be read{after}: {_reason(fault)}.") from fault


def _line(row: str, path: Path, number: int) -> _Line | None:
    if len(row) > LINE_CHARS_MAX:
        return None
    if match := INTEGER_LINE.fullmatch(row):
        return _Line(int(match[1]) / (1e6 if len(match[1]) == 19 else 1e3), "", match[2], path, number)
    if match := SECONDS_LINE.fullmatch(row):
        return _Line(float(match[1]) * 1000, "", match[2], path, number)
    if match := ANSWER_LINE.fullmatch(row):
        return _Line(float(match[2]) * 1000, match[1], match[3], path, number)
    return None


def _instruments(line: _Line) -> dict[str, Instrument]:
    """Return the instruments of a recorded exchangeInfo; none of any other REST answer."""
    try:
        if not urlsplit(line.url).path.endswith("/exchangeInfo"):
            return {}
        return parse_instruments(load_object(line.body))
    except (MalformedFrame, ValueError) as fault:
        raise _unusable(line, fault) from fault


def _snapshot(line: _Line, only_symbol: str) -> RecordedSnapshot | None:
    """Return the depth snapshot of a line; None for a line that a replay does not use."""
    try:
        url = urlsplit(line.url)
        query = parse_qs(url.query)
        if line.url and not url.path.endswith("/depth"):
            return None
        body = load_object(line.body)
        if not line.url and "lastUpdateId" not in body:
            return None
        symbol = query.get("symbol", [only_symbol])[0]
        limit = int(query.get("limit", ["0"])[0])
        return RecordedSnapshot(line.received_ms, symbol, parse_snapshot(body, limit)) if symbol else None
    except (MalformedFrame, ValueError) as fault:
        raise _unusable(line, fault) from fault


def _unusable(line: _Line, fault: Exception) -> SettingsError:
    return SettingsError(f"Line {line.number} of {line.path} cannot be used: {_reason(fault)}.")


def _more_decimals(known: tuple[int, int], pairs: Iterable[tuple[str, str]]) -> tuple[int, int]:
    price, quantity = known
    for price_text, quantity_text in pairs:
        price = max(price, _decimals(price_text))
        quantity = max(quantity, _decimals(quantity_text))
    return price, quantity


def _decimals(text: str) -> int:
    return len(text.partition(".")[2].rstrip("0"))


def _inferred(symbol: str, price_decimals: int, quantity_decimals: int) -> Instrument:
    """Return an instrument whose steps are inferred from the recorded numbers, where no exchangeInfo is recorded."""
    return Instrument(
        symbol=symbol,
        base_asset="",
        quote_asset="",
        status="TRADING",
        tick_size=10**-price_decimals,
        lot_size=10**-quantity_decimals,
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
    )


def _reason(fault: BaseException) -> str:
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
