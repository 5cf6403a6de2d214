"""Reading recordings of the exchange: files of raw frames in, messages in the order of receipt out.

Each file is read twice: a scan finds the symbols, the decimals of their prices and every error before anything is
played. A depth snapshot may also be a plain line without `stream`, where its file has a single symbol.
"""

import heapq
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from pulse.binance.answers import parse_instruments, parse_snapshot
from pulse.binance.messages import load_object
from pulse.errors import MalformedFrame, SettingsError
from pulse.ingest.recording_file import Line, read_lines, reason_of
from pulse.market.types import DepthSnapshot, Instrument

log = logging.getLogger(__name__)

SYMBOL_CHARACTERS_MAX = 40
DECIMALS_MAX = 20
"""More decimals than this are in no price that is read."""
DECIMALS_DEFAULT = 8
"""The exchange's finest step, for a symbol without any price."""
FUTURES_PATHS = ("/fapi/", "/dapi/")
FUTURES_STREAMS = ("markPrice", "forceOrder", "compositeIndex", "assetIndex")
FUTURES_FIELDS = {"depthUpdate": "pu", "bookTicker": "T"}
"""By kind of event, a field that only futures markets send."""


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
class Recording:
    """A set of files that was scanned once, and the instruments of the symbols in it."""

    paths: tuple[Path, ...]
    instruments: dict[str, Instrument]
    only_symbols: dict[Path, str] = field(default_factory=dict)
    """The symbol of plain snapshots, by file; absent where it is not known."""
    is_torn: bool = False
    """Whether a file ends in the middle of a line."""

    def messages(self) -> Iterator[Recorded]:
        """Yield every message in order of receipt. Raises SettingsError where a line cannot be parsed."""
        for line in heapq.merge(*map(read_lines, self.paths), key=lambda line: line.received_ms):
            if _is_frame(line):
                yield RawFrame(line.received_ms, line.body)
                continue
            snapshot = _snapshot(line)
            symbol = "" if snapshot is None else _symbol_of(line) or self.only_symbols.get(line.path, "")
            if snapshot is not None and symbol:
                yield RecordedSnapshot(line.received_ms, symbol, snapshot)


@dataclass(slots=True)
class _Decimals:
    """The most decimals of any price and of any quantity so far."""

    price: int = 0
    quantity: int = 0
    count: int = 0

    def add(self, texts_of: "TextsOf", data: dict[str, Any]) -> None:
        """Add the numbers of a message; one that is malformed adds nothing."""
        try:
            prices, quantities = texts_of(data)
        except (TypeError, LookupError):
            return
        self.count += 1
        self.price = _most_decimals(self.price, prices)
        self.quantity = _most_decimals(self.quantity, quantities)

    def merge(self, other: "_Decimals") -> None:
        """Add what another one has counted."""
        self.count += other.count
        self.price, self.quantity = max(self.price, other.price), max(self.quantity, other.quantity)


@dataclass(slots=True)
class _File:
    """What the scan of one file found."""

    path: Path
    symbols: set[str] = field(default_factory=set)
    streams: dict[str, "_Stream | None"] = field(default_factory=dict)
    plain_snapshots: _Decimals = field(default_factory=_Decimals)
    is_torn: bool = False

    def note_torn(self, line: int) -> None:
        """Note that the end of the file is torn off after this line."""
        self.is_torn = True
        log.warning("recording torn, played up to there path=%s line=%s", self.path, line)


_Stream: TypeAlias = tuple[_Decimals, "TextsOf"]
"""Where the numbers of a stream are counted, and how they are found in its frames."""


class _Scan:
    """One pass over all files: symbols, listed instruments, decimals, and every error that a replay would meet."""

    def __init__(self) -> None:
        self.decimals: dict[str, _Decimals] = {}
        self.listed: dict[str, Instrument] = {}

    def read(self, path: Path) -> _File:
        """Scan one file. Raises SettingsError where it is not of a recording."""
        file = _File(path)
        for line in read_lines(path, file.note_torn):
            if _is_frame(line):
                self._add_frame(file, line)
            elif line.url:
                self._add_answer(line)
            elif _snapshot(line) is not None:
                file.plain_snapshots.add(_texts_of_levels, load_object(line.body))
        return file

    def _add_frame(self, file: _File, line: Line) -> None:
        try:
            body = load_object(line.body)
        except MalformedFrame:
            return  # a damaged frame is skipped, here and when it is played
        stream, data = body.get("stream"), body.get("data")
        if not isinstance(stream, str) or not isinstance(data, dict):
            return  # the answer to a control message, or a stream of all markets
        if stream not in file.streams:
            file.streams[stream] = self._open_stream(file, line, stream, data)
        known = file.streams[stream]
        if known is not None:
            decimals, texts_of = known
            decimals.add(texts_of, data)

    def _open_stream(self, file: _File, line: Line, stream: str, data: dict[str, Any]) -> _Stream | None:
        """Take the first frame of a stream; return None for one that is of no symbol, or whose numbers are not shown.

        Raises SettingsError for a stream of a futures market.
        """
        name, _, kind = stream.partition("@")
        if not kind or not name.isalnum() or len(name) > SYMBOL_CHARACTERS_MAX:
            return None
        if kind.startswith(FUTURES_STREAMS) or any(data.get("e") == e and f in data for e, f in FUTURES_FIELDS.items()):
            raise _is_of_futures(line)
        file.symbols.add(name.upper())
        decimals = self._decimals_of(name.upper())
        texts_of = next((texts_of for begin, texts_of in TEXTS_OF.items() if kind.startswith(begin)), None)
        return None if texts_of is None else (decimals, texts_of)

    def _add_answer(self, line: Line) -> None:
        path, _ = _address(line)
        if path.startswith(FUTURES_PATHS):
            raise _is_of_futures(line)
        self.listed |= _instruments(line)
        if _snapshot(line) is not None:
            self._decimals_of(_symbol_of(line)).add(_texts_of_levels, load_object(line.body))

    def _decimals_of(self, symbol: str) -> _Decimals:
        return self.decimals.setdefault(symbol, _Decimals())


def open_recording(paths: Sequence[Path]) -> Recording:
    """Scan the files once. Raises SettingsError, in one sentence, where they are not a recording."""
    scan = _Scan()
    files = [scan.read(path) for path in paths]
    symbols = sorted(set().union(*(file.symbols for file in files)))
    if not symbols:
        raise SettingsError(f"{', '.join(map(str, paths))} holds no frame of a combined stream.")
    only_symbols: dict[Path, str] = {}
    for file in files:
        candidates = file.symbols or set(symbols)
        if len(candidates) == 1:
            (only_symbols[file.path],) = candidates
            scan.decimals[only_symbols[file.path]].merge(file.plain_snapshots)
        elif file.plain_snapshots.count:
            log.warning(
                "recorded snapshots ignored, their symbol is unknown path=%s count=%s",
                file.path, file.plain_snapshots.count,
            )  # fmt: skip
    instruments = {symbol: _instrument(symbol, scan.listed.get(symbol), scan.decimals[symbol]) for symbol in symbols}
    return Recording(tuple(paths), instruments, only_symbols, any(file.is_torn for file in files))


def _is_frame(line: Line) -> bool:
    """Return whether a line is a frame, whatever the order of its keys."""
    return not line.url and '"stream"' in line.body


def _address(line: Line) -> tuple[str, dict[str, list[str]]]:
    """Return the path and the query of an answer's address."""
    try:
        url = urlsplit(line.url)
    except ValueError as fault:
        raise _unusable(line, fault) from fault
    return url.path, parse_qs(url.query)


def _symbol_of(line: Line) -> str:
    """Return the symbol that an answer's address names; empty if there is none."""
    return _address(line)[1].get("symbol", [""])[0]


def _instruments(line: Line) -> dict[str, Instrument]:
    """Return the instruments of a recorded exchangeInfo; none of any other REST answer."""
    try:
        if not _address(line)[0].endswith("/exchangeInfo"):
            return {}
        return parse_instruments(load_object(line.body)).found
    except MalformedFrame as fault:
        raise _unusable(line, fault) from fault


def _snapshot(line: Line) -> DepthSnapshot | None:
    """Return the depth snapshot of a line that is not a frame; None for one that a replay does not use."""
    path, query = _address(line)
    try:
        if line.url and not path.endswith("/depth"):
            return None
        body = load_object(line.body)
        if not line.url and "lastUpdateId" not in body:
            return None
        return parse_snapshot(body, int(query.get("limit", ["0"])[0]))
    except (MalformedFrame, ValueError) as fault:
        raise _unusable(line, fault) from fault


def _unusable(line: Line, fault: Exception) -> SettingsError:
    return SettingsError(f"Line {line.number} of {line.path} cannot be used: {reason_of(fault)}.")


def _is_of_futures(line: Line) -> SettingsError:
    return SettingsError(
        f"Line {line.number} of {line.path} is of a futures market; only recordings of spot markets can be replayed."
    )


def _texts_of_levels(data: dict[str, Any]) -> tuple[str, str]:
    bids, asks = (data["b"], data["a"]) if "b" in data else (data["bids"], data["asks"])
    levels = bids + asks
    return ",".join([level[0] for level in levels]), ",".join([level[1] for level in levels])


def _texts_of_ticker(data: dict[str, Any]) -> tuple[str, str]:
    return data["b"] + "," + data["a"], data["B"] + "," + data["A"]


def _texts_of_trade(data: dict[str, Any]) -> tuple[str, str]:
    return data["p"] + ",", data["q"] + ","


def _texts_of_candle(data: dict[str, Any]) -> tuple[str, str]:
    candle = data["k"]
    return ",".join([candle[name] for name in "ohlc"]), ",".join([candle[name] for name in "vV"])


TextsOf: TypeAlias = Callable[[dict[str, Any]], tuple[str, str]]
"""Returns all prices and all quantities of a message, separated by commas. Raises TypeError or LookupError."""
TEXTS_OF: dict[str, TextsOf] = {
    "depth": _texts_of_levels,
    "bookTicker": _texts_of_ticker,
    "aggTrade": _texts_of_trade,
    "trade": _texts_of_trade,
    "kline_1m": _texts_of_candle,
}
"""How the streams begin whose numbers are shown, and where these are."""


@cache
def _finer_than(decimals: int) -> re.Pattern[str]:
    """Return the pattern of a number with more decimals than this, trailing zeros apart."""
    return re.compile(rf"\.([0-9]{{{decimals},{DECIMALS_MAX - 1}}}[1-9])0*(?![0-9])", re.ASCII)


def _most_decimals(known: int, texts: str) -> int:
    """Return the most decimals of these numbers, or `known` if that is more: one search where none has more."""
    finer = _finer_than(known)
    return max(map(len, finer.findall(texts))) if finer.search(texts) else known


def _instrument(symbol: str, listed: Instrument | None, decimals: _Decimals) -> Instrument:
    """Return a symbol's instrument: as it is listed, with steps no coarser than the recorded numbers."""
    price, quantity = decimals.price, decimals.quantity
    if not decimals.count:
        price = quantity = DECIMALS_DEFAULT
    instrument = listed or Instrument(symbol, "", "", "TRADING", 1.0, 1.0, 0, 0)
    if listed is None or price > listed.price_decimals:
        instrument = replace(instrument, tick_size=10**-price, price_decimals=price)
    if listed is None or quantity > listed.quantity_decimals:
        instrument = replace(instrument, lot_size=10**-quantity, quantity_decimals=quantity)
    return instrument
