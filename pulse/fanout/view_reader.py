"""Reads one view for a reader that does not subscribe: a current one, also of a symbol without watchers.

Such a symbol has a view a second. The reader subscribes until the next view comes, so one is made for it, wherever the
symbol's views are made.
"""

import asyncio

from pulse.fanout.hub import Hub
from pulse.fanout.requests import view_topic
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import book_channel

READ_TIMEOUT_S = 0.5
"""How long a reader waits for a view to be made; then it gets the newest there is, whose `timestamp` tells its age."""


class _NextMessage:
    """A subscriber that waits for one message."""

    def __init__(self) -> None:
        self.has_come = asyncio.Event()

    def put(self, _: EncodedMessage) -> None:
        """Note that a message has come."""
        self.has_come.set()


async def read_view(hub: Hub, symbol: str) -> bytes | None:
    """Return the newest encoded view of a symbol, made just now where it has no watchers; None if there is none.

    Raises KeyError for an unknown symbol.
    """
    channel, topic = book_channel(symbol), view_topic(symbol)
    if not hub.is_current(symbol):
        next_message = _NextMessage()
        hub.subscribe(topic, next_message)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await next_message.has_come.wait()
        except TimeoutError:
            pass  # the newest one will do
        finally:
            hub.unsubscribe(topic, next_message)
    return hub.latest(channel)
