"""The task that asks the exchange what time it is, now and then, so that delays can be told by its own clock."""

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
    """Ask for ever; while the exchange does not answer, the estimate stays as it is."""
    asked = 0
    while True:
        try:
            trip = await rest.time()
        except ExchangeError as fault:
            log.debug("exchange did not tell the time reason=%s", fault)
        else:
            offset.add_round_trip(trip.sent_ms, trip.exchange_ms, trip.received_ms)
            asked += 1
        await asyncio.sleep(FIRST_EVERY_S if asked < ROUND_TRIPS else EVERY_S)
