"""The exchange's clock, as far as its REST answers show it: bounds, which narrow with each answer and widen with time.

An answer is made between the sending of its request and its receipt, and shows the exchange's time then, in whole
seconds (`Date`) or milliseconds (`serverTime`). This machine's own date, which may be set wrong, counts for nothing.
"""

import asyncio

from pulse.clock import Clock
from pulse.market.plausibility import ExchangeDate

DRIFT = 0.0005
"""How fast two clocks may drift apart; those of machines do it ten times slower."""


class ExchangeClock:
    """Knows between which two differences the exchange's clock is ahead of ours.

    Answers that contradict what is known replace it, so that a false one is forgotten with the next true one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_known = asyncio.Event()
        self._least_ms = self._most_ms = 0.0  # the bounds: the exchange's date minus our `now_ms`
        self._at_ms = 0.0  # when they held

    @property
    def is_known(self) -> bool:
        """Whether any answer has shown a time."""
        return self._is_known.is_set()

    def note(self, shown_ms: float, resolution_ms: float, sent_ms: float, received_ms: float) -> None:
        """Take the time that an answer shows, with the times of our clock at which it was asked for and came."""
        drift_ms = DRIFT * (received_ms - self._at_ms)
        least_ms = max(shown_ms - received_ms, self._least_ms - drift_ms)
        most_ms = min(shown_ms + resolution_ms - sent_ms, self._most_ms + drift_ms)
        if not self.is_known or least_ms > most_ms:
            least_ms, most_ms = shown_ms - received_ms, shown_ms + resolution_ms - sent_ms
        self._least_ms, self._most_ms, self._at_ms = least_ms, most_ms, received_ms
        self._is_known.set()

    def date(self, at_ms: float | None = None) -> ExchangeDate:
        """Return the exchange's date at a reading of our clock, by default now; before any answer our own date."""
        now_ms = self._clock.now_ms()
        if not self.is_known:
            return ExchangeDate.of_machine(self._clock.wall_s() * 1000)
        at_ms = now_ms if at_ms is None else at_ms
        drift_ms = DRIFT * abs(at_ms - self._at_ms)
        return ExchangeDate(at_ms + self._least_ms - drift_ms, at_ms + self._most_ms + drift_ms, is_measured=True)

    async def wait_until_known(self, max_s: float) -> None:
        """Wait until an answer has shown a time, at most `max_s` seconds."""
        try:
            async with asyncio.timeout(max_s):
                await self._is_known.wait()
        except TimeoutError:
            pass
