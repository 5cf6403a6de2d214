"""The task between engine and bus: each picture is encoded once and handed over, the newest per symbol first."""

from pulse import stats
from pulse.bus import Bus
from pulse.conflate import ConflatingQueue
from pulse.market.view import View
from pulse.wire import book_topic, encode_view


async def publish(outbox: ConflatingQueue[str, View], bus: Bus) -> None:
    """Encode and publish for ever; while the bus is slow, newer pictures replace those that wait."""
    while True:
        symbol, view = await outbox.get()
        await bus.publish(book_topic(symbol), encode_view(view))
        stats.bus_is_up.set(bus.health().ok)
