"""Binance's request weights and limits: 429 beyond the limit, then a ban (418) for clients that continue.

One meter for all clients, because limits are per address and all clients on loopback have the same one. Time is an
argument.
"""

from typing import NamedTuple

from pulse.simulator.payloads import REQUEST_WEIGHT_PER_MINUTE

MINUTE_MS = 60_000
REFUSALS_MAX = 5  # refused requests within a minute before the ban
BAN_FIRST_MS = 120_000
BAN_MAX_MS = 3 * 86_400_000
DEPTH_WEIGHTS = ((100, 1), (500, 5), (1000, 10), (5000, 50))  # up to this limit, this weight (Binance.US)


class Charge(NamedTuple):
    """The result for one request: HTTP status 200, 429 or 418, and the values of its headers."""

    status: int
    used: int
    retry_after_s: int
    banned_until_ms: int


class WeightMeter:
    """The weight used in the current minute of the exchange's clock, and the ban, if there is one."""

    def __init__(self, per_minute: int = REQUEST_WEIGHT_PER_MINUTE) -> None:
        self.per_minute = per_minute
        self.used = 0
        self._minute = -1
        self._refusals = 0
        self._ban_ms = BAN_FIRST_MS
        self._banned_until_ms = 0

    def charge(self, weight: int, now_ms: int) -> Charge:
        """Count a request; refused ones count too."""
        if now_ms // MINUTE_MS != self._minute:
            self._minute = now_ms // MINUTE_MS
            self.used = self._refusals = 0
        self.used += weight
        if now_ms < self._banned_until_ms:
            return self._refuse(418, self._banned_until_ms, now_ms)
        if self.used <= self.per_minute:
            return Charge(200, self.used, 0, 0)
        self._refusals += 1
        if self._refusals <= REFUSALS_MAX:
            return self._refuse(429, (self._minute + 1) * MINUTE_MS, now_ms)
        self._banned_until_ms = now_ms + self._ban_ms
        self._ban_ms = min(self._ban_ms * 2, BAN_MAX_MS)
        return self._refuse(418, self._banned_until_ms, now_ms)

    def _refuse(self, status: int, until_ms: int, now_ms: int) -> Charge:
        return Charge(status, self.used, -(-(until_ms - now_ms) // 1000), until_ms)


def depth_weight(limit: int) -> int:
    """Return the weight of a depth snapshot of so many levels."""
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), DEPTH_WEIGHTS[-1][1])
