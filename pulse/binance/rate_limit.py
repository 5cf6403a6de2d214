"""One request-weight budget for every REST call of the process. Pure: the clock is an argument.

Rules: the exchange counts weight per address in fixed minutes and reports what it has counted in each answer; its
figure rules, for others may share the address. Half of the limit is ours to use, which also makes it harmless that
our minutes do not begin with the exchange's. HTTP 429 and 418 stop every call until the time they name.
"""

OUR_SHARE = 0.5
MINUTE_S = 60.0


class WeightBudget:
    """Tells how long a call must wait. Times are seconds of one clock that the caller passes in."""

    def __init__(self, weight_per_minute: int) -> None:
        self._limit = int(weight_per_minute * OUR_SHARE)
        self._minute = -1
        self._used = 0
        self._closed_until_s = 0.0

    def set_limit(self, weight_per_minute: int) -> None:
        """The exchange has stated its limit."""
        self._limit = int(weight_per_minute * OUR_SHARE)

    def wait_s(self, weight: int, now_s: float, share: float = 1.0) -> float:
        """Seconds until a call of this weight may be made by who may use this share of what is ours; 0 means now."""
        if now_s < self._closed_until_s:
            return self._closed_until_s - now_s
        self._turn(now_s)
        # A call heavier than our whole share still goes through, alone in its minute.
        if self._used == 0 or self._used + weight <= self._limit * share:
            return 0.0
        return MINUTE_S - now_s % MINUTE_S

    def spend(self, weight: int, now_s: float) -> None:
        """A call of this weight is being made."""
        self._turn(now_s)
        self._used += weight

    def observe(self, used_weight: int, now_s: float) -> None:
        """The exchange's own count for the current minute."""
        self._turn(now_s)
        self._used = max(self._used, used_weight)

    def close(self, seconds: float, now_s: float) -> None:
        """The exchange demands silence for this long."""
        self._closed_until_s = max(self._closed_until_s, now_s + seconds)

    def closed_for_s(self, now_s: float) -> float:
        """How much of a demanded silence is left."""
        return max(0.0, self._closed_until_s - now_s)

    def _turn(self, now_s: float) -> None:
        minute = int(now_s // MINUTE_S)
        if minute != self._minute:
            self._minute = minute
            self._used = 0
