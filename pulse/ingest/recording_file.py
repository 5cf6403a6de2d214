"""Reading one file of a recording: its compression, its encoding, the forms of a line, and an end that is torn off.

Lines that are accepted, in any mix:
    <time> {"stream": ...}               a frame as it was received
    <time>: {"stream": ...}              the same
    https://host/path?query -> <time>: {}  a REST answer
    wss://... <-> seconds, and `configuration:`  a recorder's own notes, ignored
A time is seconds (9 to 11 digits), milliseconds (13), microseconds (16) or nanoseconds (19) since 1970, the first two
also with decimals, or ISO 8601 with a time zone. It knows nothing of what is in a message.
"""

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

from pulse.binance.messages import load_object
from pulse.errors import MalformedFrame, SettingsError

LINE = re.compile(
    r"(?:(?P<url>https?://\S+) -> )?"
    r"(?:(?P<digits>[0-9]{9,19}(?:\.[0-9]{1,20})?)"
    r"|(?P<iso>[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,20}(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)):? ",
    re.ASCII,
)
NOTE_LINE = re.compile(r"(wss?://\S+ <-> |configuration: )")
MS_PER_UNIT = {9: 1e3, 10: 1e3, 11: 1e3, 13: 1.0, 16: 1e-3, 19: 1e-6}
"""How many ms one unit of a time is, by its digits before the decimal point."""
DECIMALS_DIGITS_MAX = 13
"""A time of more digits has no decimals: it counts microseconds or nanoseconds."""
LINE_BYTES_MAX = 16 * 2**20
"""A longer line is refused."""
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard, which is not read here; unpack it first (zstd -d)",
    b"\x04\x22\x4d\x18": "is compressed with LZ4, which is not read here; unpack it first (lz4 -d)",
    b"\xff\xfe": "is text in UTF-16; convert it to UTF-8 first",
    b"\xfe\xff": "is text in UTF-16; convert it to UTF-8 first",
}
"""What is refused by name, by the first bytes of the file."""
BOM = b"\xef\xbb\xbf"
SHOWN_BYTES_MAX = 60
"""How much of a line an error text shows."""
ZIP_ENCRYPTED = 1
"""The flag of an encrypted member of a zip archive."""
ReadFault = (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError)
"""What the file system, a damaged archive, an unknown method of compression or text that is not UTF-8 raises."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: when it was received, in ms since the epoch, and what."""

    received_ms: float
    url: str  # empty for a frame
    body: str
    path: Path
    number: int


def read_lines(path: Path, on_torn: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """Yield the lines of a file. Raises SettingsError for a file or a line that is not of a recording.

    A file whose end is torn off, as by a recorder that was killed, ends with its last whole line; `on_torn` is called
    with the number of that line.
    """
    number = 0
    try:
        with _open(path) as stream:
            for number, row in enumerate(iter(partial(stream.readline, LINE_BYTES_MAX + 1), b""), start=1):
                row = row.removeprefix(BOM) if number == 1 else row
                if not row.endswith(b"\n") and len(row) <= LINE_BYTES_MAX and _is_torn(row):
                    on_torn(number - 1)
                    return
                line = _line(row, path, number)
                if line is not None:
                    yield line
    except EOFError as fault:
        if not number:
            raise SettingsError(f"The recording {path} cannot be read: {reason_of(fault)}.") from fault
        on_torn(number)
    except ReadFault as fault:
        after = f" after line {number}" if number else ""
        raise SettingsError(f"The recording {path} cannot be read{after}: {reason_of(fault)}.") from fault


def reason_of(fault: BaseException) -> str:
    """Return an error as a clause."""
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Open a file for reading its uncompressed bytes."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, text in UNREADABLE.items():
        if start.startswith(magic):
            raise SettingsError(f"The recording {path} {text}.")
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start.startswith(b"BZh"):
        return bz2.open(path)
    if start.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(path)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(path)
    return path.open("rb")


def _open_zip(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise SettingsError(
                f"The recording {path} is a zip archive of {len(members)} files; "
                "unpack it and name the files themselves."
            )
        if members[0].flag_bits & ZIP_ENCRYPTED:
            raise SettingsError(f"The recording {path} is an encrypted zip archive; unpack it first.")
        return archive.open(members[0])  # the archive's file stays open until its member is closed


def _is_torn(row: bytes) -> bool:
    """Return whether a last line, which has no line end, is not whole."""
    try:
        text = row.decode()
        match = LINE.match(text)
        if match is not None:
            load_object(f'{{"":{text[match.end() :]}}}')  # the answer to some requests is a list
        return match is None and bool(text.strip()) and not NOTE_LINE.match(text)
    except (UnicodeDecodeError, MalformedFrame):
        return True


def _line(row: bytes, path: Path, number: int) -> Line | None:
    """Return the line that a row is, None for a note or a blank one. Raises SettingsError for any other."""
    if len(row) <= LINE_BYTES_MAX:
        text = row.decode().rstrip("\r\n")
        match = LINE.match(text)
        received_ms = None if match is None else _received_ms(match, path, number)
        if match is not None and received_ms is not None and (match["url"] or text.startswith("{", match.end())):
            return Line(received_ms, match["url"] or "", text[match.end() :], path, number)
        if not text.strip() or NOTE_LINE.match(text):
            return None
    start = row[:SHOWN_BYTES_MAX].decode(errors="replace").rstrip()
    raise SettingsError(f"Line {number} of {path} is not a recorded frame: {start!r}.")


def _received_ms(match: re.Match[str], path: Path, number: int) -> float | None:
    digits, iso = match["digits"], match["iso"]
    if iso:
        if not match["zone"]:
            raise SettingsError(
                f"Line {number} of {path} has a time without a time zone, which could be any; expected one such as "
                f"2026-01-31T23:59:59.5Z, got {iso!r}."
            )
        try:
            return datetime.fromisoformat(iso).timestamp() * 1000
        except ValueError:
            return None
    whole, _, decimals = digits.partition(".")
    unit_ms = MS_PER_UNIT.get(len(whole))
    if unit_ms is None or (decimals and len(whole) > DECIMALS_DIGITS_MAX):
        return None
    return (float(digits) if decimals else int(whole)) * unit_ms
