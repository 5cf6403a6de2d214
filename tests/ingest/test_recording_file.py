"""Reading one file: the forms of a time, compressed files, other encodings, and an end that is torn off."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pulse.errors import SettingsError
from pulse.ingest.recording_file import read_lines

FRAME = '{"stream":"btcusdt@bookTicker","data":{}}'
ROWS = [f"{1633998270 + second}: {FRAME}" for second in range(400)]
TEXT = "".join(f"{row}\n" for row in ROWS).encode()


def read(path: Path) -> tuple[list[float], list[int]]:
    """Return the receive times in s from the first line's, and after which lines the file is torn."""
    torn: list[int] = []
    return [line.received_ms / 1000 - 1633998270 for line in read_lines(path, torn.append)], torn


def error_of(path: Path) -> str:
    """Return the text of the error that reading this file raises."""
    with pytest.raises(SettingsError) as caught:
        list(read_lines(path))
    return str(caught.value)


@pytest.mark.proves("forms")
@pytest.mark.parametrize(
    "stamp",
    [
        "1633998270", "1633998270.0", "1633998270:", "1633998270.000000:",
        "1633998270000", "1633998270000.0:", "1633998270000000", "1633998270000000000", "1633998270000000000:",
        "2021-10-12T00:24:30Z", "2021-10-12T00:24:30.000000Z:", "2021-10-12 02:24:30.000+02:00",
        "2021-10-11T19:24:30.000000000-05:00",
    ],
)  # fmt: skip
def test_forms_of_a_time(tmp_path: Path, stamp: str) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds are told by their digits; ISO 8601 names its zone."""
    path = tmp_path / "a"
    path.write_text(f"{stamp} {FRAME}\n")
    (line,) = read_lines(path)

    assert (line.received_ms, line.body, line.url) == (1633998270000.0, FRAME, "")


@pytest.mark.parametrize("stamp", ["1633998270000", "2021-10-12T00:24:30Z"])
def test_forms_of_the_time_of_an_answer(tmp_path: Path, stamp: str) -> None:
    """The answer to a request may have any of them too."""
    path = tmp_path / "a"
    path.write_text(f"https://api.binance.us/api/v3/time -> {stamp}: [1]\n")
    (line,) = read_lines(path)

    assert (line.received_ms, line.body, line.url) == (1633998270000.0, "[1]", "https://api.binance.us/api/v3/time")


def test_time_without_a_zone_is_an_error(tmp_path: Path) -> None:
    """It could be hours away from the true one."""
    path = tmp_path / "a"
    path.write_text(f"2021-10-12T00:24:30 {FRAME}\n")

    assert error_of(path) == (
        f"Line 1 of {path} has a time without a time zone, which could be any; expected one such as "
        "2026-01-31T23:59:59.5Z, got '2021-10-12T00:24:30'."
    )


def zipped(raw: bytes) -> bytes:
    """Return a zip archive of one file."""
    return archive_of({"a.rec": raw})


def archive_of(files: dict[str, bytes]) -> bytes:
    """Return a zip archive of these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return packed.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zipped])
def test_compressed_files_are_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A file is told by its first bytes, not by its name."""
    path = tmp_path / "a"
    path.write_bytes(pack(TEXT))

    assert read(path) == (list(range(400)), [])


@pytest.mark.proves("forms")
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_of_windows(tmp_path: Path, line_end: bytes) -> None:
    """Both are left out."""
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace(b"\n", line_end))

    assert read(path) == (list(range(400)), [])
    assert next(iter(read_lines(path))).body == FRAME


@pytest.mark.proves("forms")
@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\x28\xb5\x2f\xfd....", "is compressed with Zstandard, which is not read here; unpack it first (zstd -d)."),
        (b"\x04\x22\x4d\x18....", "is compressed with LZ4, which is not read here; unpack it first (lz4 -d)."),
        (TEXT.decode().encode("utf-16"), "is text in UTF-16; convert it to UTF-8 first."),
        (
            archive_of({"a": TEXT, "b": TEXT}),
            "is a zip archive of 2 files; unpack it and name the files themselves.",
        ),
        (archive_of({}), "is a zip archive of 0 files; unpack it and name the files themselves."),
        (zipped(TEXT)[:-30], "cannot be read: File is not a zip file."),
    ],
)
def test_files_that_are_refused_by_name(tmp_path: Path, raw: bytes, sentence: str) -> None:
    """One sentence states what the file is and what to do."""
    path = tmp_path / "a"
    path.write_bytes(raw)

    assert error_of(path) == f"The recording {path} {sentence}"


def test_encrypted_archive_is_refused(tmp_path: Path) -> None:
    """Its flag is enough: no password is asked for."""
    raw = bytearray(zipped(TEXT))
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 8] |= 1
    path = tmp_path / "a"
    path.write_bytes(raw)

    assert error_of(path) == f"The recording {path} is an encrypted zip archive; unpack it first."


# --- torn ends


@pytest.mark.parametrize("cut", range(1, len(ROWS[-1]) + 1))
def test_last_line_that_is_torn_is_left_out(tmp_path: Path, cut: int) -> None:
    """Wherever the recorder was killed, every line before is read; only a line end may be missing."""
    path = tmp_path / "a"
    path.write_bytes(TEXT[: -1 - cut])
    whole = cut == len(ROWS[-1])

    assert read(path) == (list(range(399)), [] if whole else [399])


def test_last_line_without_a_line_end_is_read(tmp_path: Path) -> None:
    """A whole message is one, whatever follows it."""
    path = tmp_path / "a"
    path.write_bytes(TEXT[:-1])

    assert read(path) == (list(range(400)), [])


def test_last_line_that_is_torn_within_a_character(tmp_path: Path) -> None:
    """The first bytes of a character are no error of the encoding."""
    path = tmp_path / "a"
    path.write_bytes(TEXT + f'1633998670: {{"stream":"{chr(0x5E01)}'.encode()[:-1])

    assert read(path) == (list(range(400)), [400])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_torn_archive_is_read_up_to_the_tear(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What was compressed before the tear is read, as far as the method allows: bzip2 needs whole blocks."""
    path = tmp_path / "a"
    path.write_bytes(pack(TEXT) + pack(TEXT)[:-20])
    times, torn = read(path)

    assert times[:400] == list(range(400))
    assert torn == [len(times)]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_archive_that_is_torn_before_its_first_line_is_an_error(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """There is nothing to play."""
    path = tmp_path / "a"
    path.write_bytes(pack(TEXT)[:12])

    assert error_of(path) == (
        f"The recording {path} cannot be read: Compressed file ended before the end-of-stream marker was reached."
    )


def test_torn_line_that_is_not_the_last_is_an_error(tmp_path: Path) -> None:
    """A recorder that went on in the same file left a line that cannot be read."""
    path = tmp_path / "a"
    path.write_bytes(TEXT + b"16339986" + TEXT)

    assert error_of(path) == f"Line 401 of {path} is not a recorded frame: '16339986{ROWS[0][:52]}'."
