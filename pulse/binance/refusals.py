"""Refusals of one host of the exchange (HTTP 451 and 403): what is not requested again, and until when.

A 451 refuses the address or region, and does not pass by itself. A 403 comes from the exchange's firewall: for one
request that it does not like, or for all of them after too many. So the first 403 holds back only its own request, a
second one without any other answer in between holds back all requests, as a 429 does, and only 403s that go on are
taken for a refusal of the address. After each pause one request goes first; the others wait for its answer. Times are
seconds of one clock that the caller passes in.
"""

from typing import NamedTuple

from pulse.errors import ExchangeBusy, ExchangeError, ExchangeRefused

REFUSED_WAIT_S = 300.0
"""Pause of all requests after a refusal of the address or region: more of them would only earn a ban."""
FORBIDDEN_FIRST_S, FORBIDDEN_MAX_S = 60.0, REFUSED_WAIT_S
"""Pause after a 403, doubled each time."""
FORBIDDEN_LASTS_S, FORBIDDEN_COUNT = 120.0, 3
"""403 alone for this long, and this often, is a refusal of the address."""
TRIAL_S = 15.0
"""How long the request that goes first after a pause may take; both kinds of request give up earlier."""
REQUESTS_MAX = 1000
"""Requests of which a 403 is remembered; beyond it the oldest is dropped."""


class _Pause(NamedTuple):
    until_s: float
    wait_s: float


class Refusals:
    """What one host refuses. A request is named by its path and symbol; `title` is the venue's, for error texts."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._status = 0  # of the answer that holds back all requests; 0: none does
        self._is_refused = False  # the address is refused, not only too many requests
        self._paused_until_s = 0.0
        self._requests: dict[str, _Pause] = {}  # each 403 of a single request, the oldest first
        self._forbidden_count = 0  # 403s since any other answer
        self._forbidden_since_s = 0.0

    def check(self, request: str, now_s: float) -> None:
        """Raise ExchangeRefused or ExchangeBusy where this request must not be made now."""
        if now_s < self._paused_until_s:
            raise self._error(self._paused_until_s - now_s)
        pause = self._requests.get(request)
        if pause is not None and now_s < pause.until_s:
            raise self._forbidden(pause.until_s - now_s)
        if self._status:
            self._paused_until_s = now_s + TRIAL_S

    def on_status(self, request: str, status: int, now_s: float) -> ExchangeError | None:
        """Note the status of an answer; return the error that a 451 or 403 stands for, None for any other status."""
        if status == 451:
            return self._pause_all(status, REFUSED_WAIT_S, now_s, is_refused=True)
        if status != 403:
            self._status = self._forbidden_count = 0
            self._is_refused = False
            self._paused_until_s = 0.0
            self._requests.pop(request, None)
            return None
        if not self._forbidden_count:
            self._forbidden_since_s = now_s
        self._forbidden_count += 1
        wait_s = self._pause_one(request, now_s)
        if self._forbidden_count == 1:
            return self._forbidden(wait_s)
        lasts = now_s - self._forbidden_since_s >= FORBIDDEN_LASTS_S and self._forbidden_count >= FORBIDDEN_COUNT
        return self._pause_all(status, REFUSED_WAIT_S if lasts else wait_s, now_s, is_refused=lasts)

    def _pause_one(self, request: str, now_s: float) -> float:
        """Hold back one request, twice as long as the last time; return for how many seconds."""
        last = self._requests.pop(request, None)
        wait_s = FORBIDDEN_FIRST_S if last is None else min(last.wait_s * 2, FORBIDDEN_MAX_S)
        if len(self._requests) >= REQUESTS_MAX:
            del self._requests[next(iter(self._requests))]
        self._requests[request] = _Pause(now_s + wait_s, wait_s)
        return wait_s

    def _pause_all(self, status: int, wait_s: float, now_s: float, *, is_refused: bool) -> ExchangeError:
        """Hold back all requests; a refusal of the address stays one until another answer comes."""
        self._status = status
        self._is_refused = self._is_refused or is_refused
        self._paused_until_s = now_s + wait_s
        return self._error(wait_s)

    def _error(self, wait_s: float) -> ExchangeError:
        if self._is_refused:
            text = f"{self._title} does not serve this address or region (HTTP {self._status})"
            return ExchangeRefused(text, self._status, wait_s)
        return ExchangeBusy(f"{self._title} refuses all requests for now (HTTP {self._status})", wait_s)

    def _forbidden(self, wait_s: float) -> ExchangeBusy:
        return ExchangeBusy(f"{self._title} refuses this request for now (HTTP 403)", wait_s)
