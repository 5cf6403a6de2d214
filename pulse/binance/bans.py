"""What must outlive the process: until when an exchange has forbidden all requests.

A process that forgets a ban, is restarted by its platform and asks at once earns a longer one.
"""

import logging
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

BAN_MAX_S = 3 * 24 * 3600.0
"""The longest ban that the exchange documents: whatever the file says beyond it is not believed."""


class Bans:
    """One small file: host -> end of its ban, seconds since the epoch. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def remaining_s(self, host: str, wall_s: float) -> float:
        """How much of a remembered ban of this host is left."""
        until_s = self._read().get(host, 0.0)
        return min(max(0.0, until_s - wall_s), BAN_MAX_S)

    def remember(self, host: str, until_s: float) -> None:
        """Keep the end of a ban, before anything else is done."""
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_bytes(orjson.dumps(self._read() | {host: until_s}))
            beside.replace(self._path)
        except OSError as fault:
            log.warning("ban cannot be remembered path=%s reason=%s", self._path, fault.strerror)

    def _read(self) -> dict[str, float]:
        if self._path is None:
            return {}
        try:
            body = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        if not isinstance(body, dict):
            return {}
        return {host: float(until) for host, until in body.items() if isinstance(until, int | float)}
