"""Logging set-up: the standard library's, one line per change of state, to stderr, with passwords redacted.

Two formats: text, which ends with `key=value` pairs as logfmt has them, and JSON, one object a line. Both come from the
`key=%s` pairs of a record's constant message. Text of others (an exchange's message, a client's input) may hold line
breaks and terminal sequences. None reaches the log unescaped: a record is one line, and each further line of a
traceback is indented, so that none looks like a record.
"""

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple, TextIO

PASSWORD = re.compile(r"((?:postgres(?:ql)?|rediss?)://[^:/@\s]*):\S+@|(://[^:/@\s]*):[^/\s]+@")
"""The password within a URL, wherever it occurs in a text, such as an exception's. A database's password may contain an
unescaped / or @, which is just what such an exception complains of; in other URLs these end the password, because the
paths of streams contain many."""


CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that break a line, move a terminal's cursor, reorder the text around them, or cannot be encoded."""
TRACEBACK_INDENT = "    "


def printable(text: str) -> str:
    r"""Return the text with every control character as its escape, such as `\x0a` for a line feed."""
    return text if text.isprintable() else CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


REPEAT_S = 60.0
"""Trouble that repeats is logged at most once in this time."""


class RepeatedTrouble:
    """Logs one kind of trouble that clients or servers can repeat at will: at once, then at most once per REPEAT_S.

    `message` is a constant text with its `key=%s` pairs; `times=` is added: how often it happened since the last line.
    """

    def __init__(self, logger: logging.Logger, message: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._message = message + " times=%s"
        self._clock = clock
        self._times = 0
        self._logged_s = -REPEAT_S

    def warn(self, *values: object) -> None:
        """Count one time, and log these values of the pairs if a line is due."""
        self._times += 1
        now_s = self._clock()
        if now_s - self._logged_s >= REPEAT_S:
            self._logger.warning(self._message, *values, self._times)
            self._times, self._logged_s = 0, now_s


class StateOfTrouble:
    """Logs the trouble of one thing once per change: when it begins, when its reason changes, when it begins again.

    While one reason lasts its lines are at debug level. `message` is a constant text with its `key=%s` pairs.
    """

    def __init__(self, logger: logging.Logger, message: str) -> None:
        self._logger = logger
        self._message = message
        self.reason = ""  # of the present trouble

    def warn(self, reason: str, *values: object) -> None:
        """Log trouble of this reason, with the values of the pairs."""
        level = logging.DEBUG if reason == self.reason else logging.WARNING
        self.reason = reason
        self._logger.log(level, self._message, *values)

    def over(self) -> bool:
        """Note that there is no trouble; return whether there was any."""
        was_there, self.reason = self.reason != "", ""
        return was_there


LINES_AT_ONCE, LINES_PER_S = 1000, 10
"""How many lines of one kind are written at once, and in the long run: 200 symbols may change their state together."""
KINDS_MAX = 256
KIND_CHARS = 40
"""Lines are of one kind if logger and the beginning of the message are the same: libraries put values into the text."""


class _BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes lines to stderr; the last bound for trouble that repeats, whatever logs it, libraries included.

    A token bucket per kind of line: at most KINDS_MAX kinds are known, beyond that the oldest is forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sys.stderr)
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, float, int]] = {}  # tokens, since when, lines left out

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it out and count it; the next one that is written says how many were left out."""
        kind, now_s = (record.name, str(record.msg)[:KIND_CHARS]), self._clock()
        tokens, since_s, left_out = self._kinds.pop(kind, (LINES_AT_ONCE, now_s, 0))
        tokens = min(LINES_AT_ONCE, tokens + (now_s - since_s) * LINES_PER_S)
        is_due = tokens >= 1
        self._kinds[kind] = (tokens - 1, now_s, 0) if is_due else (tokens, now_s, left_out + 1)
        if len(self._kinds) > KINDS_MAX:
            del self._kinds[next(iter(self._kinds))]
        if not is_due:
            return
        if left_out:
            note = "log lines left out count=%s kind=%s"
            arguments = (left_out, kind[1])
            super().emit(logging.LogRecord(record.name, logging.WARNING, "", 0, note, arguments, None))
        super().emit(record)


FORMATS = ("text", "json")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
"""The ids of requests that are accepted from a client or a proxy."""
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request or the WebSocket session on whose behalf the code runs; it is added to each line."""


def new_request_id() -> str:
    """Return an id that no other request has."""
    return secrets.token_hex(8)


class _Pair(NamedTuple):
    """One `key=%s` of a message; so many of the record's arguments go into its value."""

    key: str
    template: str
    arguments: int


PAIR = re.compile(r"(?<!\S)([a-z_]+)=(\S*%\S*)")
CONVERSION = re.compile(r"%(?!%)")
ROUNDED = re.compile(r"%\.[0-9]f")
"""A template that makes a number of a number."""
TEMPLATES_MAX = 1024
"""Messages whose pairs are remembered: more than the program has; libraries put values into the text."""


@lru_cache(TEMPLATES_MAX)
def _split(message: str) -> tuple[str, tuple[_Pair, ...]]:
    """Return a message's text before its pairs, and the pairs; it has none where it is not of that form."""
    found = list(PAIR.finditer(message))
    text = message[: found[0].start()] if found else message
    pairs = tuple(_Pair(match[1], match[2], len(CONVERSION.findall(match[2]))) for match in found)
    rest = "".join(message[a.end() : b.start()] for a, b in pairwise(found))
    is_of_form = not CONVERSION.search(text) and not rest.strip() and (not found or found[-1].end() == len(message))
    return (text.strip(), pairs) if is_of_form else (message, ())


def _parts(record: logging.LogRecord) -> tuple[str, list[tuple[str, object]]]:
    """Return a record's text and its pairs; a library's record is text alone."""
    text, pairs = _split(str(record.msg))
    arguments = record.args if isinstance(record.args, tuple) else ()
    if not pairs or sum(pair.arguments for pair in pairs) != len(arguments):
        text, values = record.getMessage(), []
    else:
        values = list(_values(pairs, arguments))
    if request_id.get():
        values.append(("request", request_id.get()))
    return _redacted(text), values


def _values(pairs: Sequence[_Pair], arguments: Sequence[object]) -> "list[tuple[str, object]]":
    """Return each pair's value: a number where it is just one, rounded as its template says, else text."""
    values: list[tuple[str, object]] = []
    for key, template, count in pairs:
        own, arguments = arguments[:count], arguments[count:]
        text = template % tuple(own)
        value = own[0] if template == "%s" else float(text) if ROUNDED.fullmatch(template) else None
        is_number = isinstance(value, int) or (isinstance(value, float) and isfinite(value))
        values.append((key, value if is_number else _redacted(text)))
    return values


def _redacted(text: str) -> str:
    return PASSWORD.sub(r"\1\2:***@", text)


BARE = re.compile(r"[^\s\"=\\]+")
"""A value that needs no quotes, if it is printable."""


def quoted(value: object) -> str:
    """Return a value as logfmt has it: in quotes, with escapes, where a space or the like would end or alter it."""
    text = str(value)
    if BARE.fullmatch(text) and text.isprintable():
        return text
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


class _TextFormatter(logging.Formatter):
    """Time, level, module, message, then the pairs."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and indented ones for a traceback."""
        text, values = _parts(record)
        record.message = " ".join([printable(text), *(f"{key}={quoted(value)}" for key, value in values)])
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the library's name
        lines = _redacted(super().formatException(ei)).split("\n")
        return "\n".join(TRACEBACK_INDENT + printable(line) for line in lines)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the pairs, and a `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        text, values = _parts(record)
        time_utc = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": f"{time_utc:%Y-%m-%dT%H:%M:%S}.{time_utc.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": text,
        }
        line.update(values)
        if record.exc_info:
            line["traceback"] = _redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def set_up(level: str, format_name: str = "text") -> None:
    """Log to stderr, from this level up, in one of FORMATS."""
    handler = _BoundedHandler()
    handler.setFormatter(_JsonFormatter() if format_name == "json" else _TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Libraries that log each of their connections and retries; our own lines report what matters, once.
    for name in ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # The loop warns of each write to a client that has disconnected.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def log_crash() -> None:
    """Log the exception being handled, with its traceback: it is about to end the process."""
    logging.getLogger("pulse").critical("pulse stopped because of an unexpected error", exc_info=True)
