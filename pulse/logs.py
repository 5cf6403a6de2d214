"""Logging set-up: the standard library's, one line per change of state, to stderr, with passwords redacted.

Text of others (an exchange's message, a client's input) may hold line breaks and terminal sequences. None reaches the
log unescaped: a record is one line, and each further line of a traceback is indented, so that none looks like a record.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

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
            note = "log lines left out count=%s message=%s"
            arguments = (left_out, kind[1])
            super().emit(logging.LogRecord(record.name, logging.WARNING, "", 0, note, arguments, None))
        super().emit(record)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return PASSWORD.sub(r"\1\2:***@", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the library's name
        return "\n".join(TRACEBACK_INDENT + printable(line) for line in super().formatException(ei).split("\n"))


def set_up(level: str) -> None:
    """Log to stderr, from this level up."""
    handler = _BoundedHandler()
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Libraries that log each of their connections and retries; our own lines report what matters, once.
    for name in ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # The loop warns of each write to a client that has disconnected.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def log_crash() -> None:
    """Log the exception being handled, with its traceback: it is about to end the process."""
    logging.getLogger("pulse").critical("pulse stopped because of an unexpected error", exc_info=True)
