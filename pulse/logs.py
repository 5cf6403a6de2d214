"""How the program logs: standard library, one line a change of state, to stderr, with no password in it."""

import logging
import re
import sys

PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):[^@/\s]+@")
"""The password of an address, wherever an exception's text carries one."""


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return PASSWORD.sub(r"\1:***@", super().format(record))


def set_up(level: str) -> None:
    """Send the log to stderr from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They log each connection and each retry of their own; ours say what matters once.
    for chatty in ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
