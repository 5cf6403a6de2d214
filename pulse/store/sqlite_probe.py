"""A look at the SQLite file before it is used: whether it is one of ours and can be written to. It changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pulse.errors import CheckFailed

BUSY_TIMEOUT_S = 2.0
VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"


def probe(path: Path, migrations: int) -> str:
    """Return what was found, in words; `migrations` is how many this program has. Raises CheckFailed."""
    if not path.exists():
        return "no file yet, it will be made"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", BUSY_TIMEOUT_S, uri=True)) as file:
            file.isolation_level = None
            file.execute("BEGIN IMMEDIATE")  # as a write begins
            tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "schema_version" not in tables:
                raise CheckFailed(f"{path} is a SQLite file of another program; set PULSE_SQLITE_PATH to another file.")
            version = file.execute(VERSION).fetchone()[0] if tables else 0
            file.execute("ROLLBACK")
    except sqlite3.Error as fault:
        raise CheckFailed(
            f"{path} cannot be used: {fault}. Let this user write to it and its folder, or set PULSE_SQLITE_PATH to "
            "another file."
        ) from fault
    return f"SQLite file of version {version}" + (f", to be raised to {migrations}" if version < migrations else "")
