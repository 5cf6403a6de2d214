"""Logging set-up: the standard library's, one line per change of state, to stderr, with passwords redacted.

Text of others (an exchange's message, a client's input) may hold line breaks and terminal sequences. None reaches the
log unescaped: a record is one line, and each further line of a traceback is indented, so that none looks like a record.
"""

import logging
import re
import sys
from typing import Any

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


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return PASSWORD.sub(r"\1\2:***@", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the library's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the library's name
        return "\n".join(TRACEBACK_INDENT + printable(line) for line in super().formatException(ei).split("\n"))


def set_up(level: str) -> None:
    """Log to stderr, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
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
