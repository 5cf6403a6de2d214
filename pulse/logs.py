"""How the program logs: standard library, one line a change of state, to stderr, with no password in it."""

import logging
import re
import sys

PASSWORD = re.compile(r"((?:postgres(?:ql)?|rediss?)://[^:/@\s]*):\S+@|(://[^:/@\s]*):[^/\s]+@")
"""The password of an address, wherever an exception's text carries one. A database's may hold an unescaped / or @,
which is just what such an exception complains of; elsewhere they end it, for a stream's path is full of them."""


class _Redacting(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return PASSWORD.sub(r"\1\2:***@", super().format(record))


def set_up(level: str) -> None:
    """Send the log to stderr from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting("%(asctime)s %(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They log each connection and each retry of their own; ours say what matters once.
    for chatty in ("hypercorn.error", "hypercorn.access", "psycopg.pool", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # A client that asks and leaves makes the loop warn of each write that found nobody.
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def log_crash() -> None:
    """Log the exception being handled, with its traceback: the process is about to end because of it."""
    logging.getLogger("pulse").critical("pulse has stopped: something broke that it cannot repair", exc_info=True)
