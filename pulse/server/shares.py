"""What one address may have of a thing that is bounded for all clients, so that none can keep the others from it.

A refusal is an error with a sentence and the time of the next try; it is counted, and logged at most once a minute for
each thing. It does not know what the things are.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from pulse import stats
from pulse.concurrency import FairShare, Limit
from pulse.errors import RequestError
from pulse.logs import RepeatedTrouble

log = logging.getLogger(__name__)


class AddressShare:
    """A thing of which at most `total` are in use, and at most `per_address_max` by one address.

    `name` is its name in /metrics and in the log, `what` names it in a sentence: "has as many ... as it allows".
    `parameter` is the part of a request that asks for it, if there is one.
    """

    def __init__(
        self, name: str, what: str, *, total: int, per_address_max: int, retry_after_s: int,
        parameter: str | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._what = what
        self._per_address_max = per_address_max
        self._retry_after_s = retry_after_s
        self._parameter = parameter
        self._share = FairShare(total, per_address_max)
        self._refusals = RepeatedTrouble(log, "share refused share=%s limit=%s address=%s")

    @property
    def count(self) -> int:
        """How many are in use."""
        return self._share.count

    def enter(self, address: str, count: int = 1) -> None:
        """Use so many more. Raises RequestError: 503 where all are in use, 429 where this address has its share."""
        limit = self._share.limit_reached(address, count)
        if limit is not None:
            raise self._refusal(limit, address)
        self._share.enter(address, count)

    def leave(self, address: str, count: int = 1) -> None:
        """Use so many less."""
        self._share.leave(address, count)

    @contextmanager
    def held(self, address: str) -> Iterator[None]:
        """Use one for this block. Raises RequestError."""
        self.enter(address)
        try:
            yield
        finally:
            self.leave(address)

    def _refusal(self, limit: Limit, address: str) -> RequestError:
        stats.shares_refused.labels(self._name, limit.value).inc()
        self._refusals.warn(self._name, limit.value, address)
        if limit is Limit.ALL:
            status, detail = HTTPStatus.SERVICE_UNAVAILABLE, f"This server has as many {self._what} as it allows."
        else:
            status = HTTPStatus.TOO_MANY_REQUESTS
            detail = (
                f"Your address has as many {self._what} as this server allows one address: {self._per_address_max}."
            )
        return RequestError(status, detail, parameter=self._parameter, retry_after_s=self._retry_after_s)
