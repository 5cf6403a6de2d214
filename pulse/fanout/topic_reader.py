"""Reads one message of a topic for a reader that does not subscribe, such as a GET request.

What is made only where it is watched is made for the reader: it is a subscriber until the message comes.
"""

import asyncio

from pulse.fanout.hub import Hub
from pulse.fanout.requests import Topic
from pulse.server.ws_frames import EncodedMessage

READ_TIMEOUT_S = 2.0
"""How long a reader waits: a view is made at least once a second."""


class _NextMessage:
    """A subscriber that waits for one message."""

    def __init__(self) -> None:
        self._message: asyncio.Future[EncodedMessage] = asyncio.get_running_loop().create_future()

    def put(self, message: EncodedMessage) -> None:
        """Take the message; later ones are ignored."""
        if not self._message.done():
            self._message.set_result(message)

    async def wait(self, timeout_s: float) -> EncodedMessage | None:
        """Return the message, or None if it does not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._message
        except TimeoutError:
            return None


async def read_topic(hub: Hub, topic: Topic, timeout_s: float = READ_TIMEOUT_S) -> bytes | None:
    """Return the newest message of a topic, or the next one where there is none yet; None if none comes in time.

    Raises KeyError for an unknown symbol.
    """
    message = hub.current(topic)
    if message is None:
        next_message = _NextMessage()
        hub.subscribe(topic, next_message)
        try:
            message = await next_message.wait(timeout_s)
        finally:
            hub.unsubscribe(topic, next_message)
    return None if message is None else message.payload
