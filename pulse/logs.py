"""Logging set-up: the standard library's, one line per change of state, to stderr, with passwords redacted."""

import logging
import re
import sys
import time
from collections.abc import Callable

PASSWORD = re.compile(r"((?:postgres(?:ql)?|rediss?)://[^:/@\s]*):\S+@|(://[^:/@\s]*):[^/\s]+@")
"""The password within a URL, wherever it occurs in a text, such as an exception's. A database's password may contain an
unescaped / or @, which is just what such an exception complains of; in other URLs these end the password, because the
paths of streams contain many."""


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


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return PASSWORD.sub(r"\1\2:***@", super().format(record))


def set_up(level: str) -> None:
    """Log to stderr, from this level up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Libraries that log each of their connections and retries; our own lines report what matters, once.
    for name in ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # The loop warns of each write to a client that has disconnected.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def log_crash() -> None:
    """Log the exception being handled, with its traceback: it is about to end the process."""
    logging.getLogger("pulse").critical("pulse stopped because of an unexpected error", exc_info=True)
