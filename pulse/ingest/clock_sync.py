"""The task that requests the exchange's time at intervals: delays are measured on one clock, a wrong one is logged."""

import asyncio
import logging

from pulse.binance.rest import BinanceRest
from pulse.clock import ROUND_TRIPS, ClockOffset
from pulse.errors import ExchangeError

log = logging.getLogger(__name__)

FIRST_EVERY_S = 2.0
"""Until there are enough round trips to choose the quickest from."""
EVERY_S = 60.0


async def sync_clock(rest: BinanceRest, offset: ClockOffset) -> None:
    """Feed `offset` with round trips for ever; while the exchange does not answer, the estimate stays as it is."""
    answers, was_wrong = 0, False
    while True:
        try:
            trip = await rest.time()
        except ExchangeError as fault:
            log.debug("time request failed reason=%s", fault)
        else:
            offset.add_round_trip(trip.sent_ms, trip.exchange_ms, trip.received_ms)
            answers += 1
            was_wrong = _log_change(was_wrong, offset.trouble())
        await asyncio.sleep(FIRST_EVERY_S if answers < ROUND_TRIPS else EVERY_S)


def _log_change(was_wrong: bool, trouble: str) -> bool:
    """Log that the machine's clock has become wrong or right again; return whether it is wrong."""
    if trouble and not was_wrong:
        log.warning("machine clock is wrong reason=%s", trouble)
    elif was_wrong and not trouble:
        log.info("machine clock is right again")
    return bool(trouble)
