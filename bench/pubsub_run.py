"""Publishes views to a Valkey at an even rate and takes them as so many subscribers, as the terminal's bus does it.

Each view is stored under its key and published, in one pipeline each hundredth of a second. It speaks the protocol
itself: the load is the server's to bear. Run as a program; it prints `ready` when every subscriber is subscribed, and
one JSON object with what was published and delivered, for each window.
"""

import argparse
import asyncio
import time

import orjson

TICK_S = 0.01
CHANNEL, KEY = b"bench:book", b"bench:latest"


def command(*parts: bytes) -> bytes:
    """Return a command as RESP encodes it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Subscriber(asyncio.Protocol):
    """Counts the bytes that it is sent."""

    def __init__(self, count: "Count") -> None:
        self._count = count
        self._is_subscribed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Subscribe."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(command(b"SUBSCRIBE", CHANNEL))

    def data_received(self, data: bytes) -> None:
        """Count it; the first data is the subscription's confirmation."""
        if not self._is_subscribed:
            self._is_subscribed = True
            self._count.subscribed()
        self._count.bytes += len(data)


class Count:
    """What all of so many subscribers have received, and whether each is subscribed."""

    def __init__(self, subscribers: int) -> None:
        self.bytes = 0
        self.are_ready = asyncio.Event()
        self._waiting = subscribers

    def subscribed(self) -> None:
        """Note that one is subscribed."""
        self._waiting -= 1
        if not self._waiting:
            self.are_ready.set()


async def _run(port: int, size: int, views_s: int, subscribers: int, seconds: float, windows: int) -> None:
    loop, count = asyncio.get_running_loop(), Count(subscribers)
    for _ in range(subscribers):
        await loop.create_connection(lambda: Subscriber(count), "127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await count.are_ready.wait()
    view = b"x" * size
    message = len(command(b"message", CHANNEL, view))
    batch = (command(b"SET", KEY, view, b"EX", b"10") + command(b"PUBLISH", CHANNEL, view)) * round(views_s * TICK_S)
    print('{"event":"ready"}', flush=True)
    due_s = loop.time()
    for _ in range(windows):
        published, count.bytes, began_s = 0, 0, time.monotonic()
        for _ in range(round(seconds / TICK_S)):
            writer.write(batch)
            published += round(views_s * TICK_S)
            due_s += TICK_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            await reader.read(1 << 20)  # the answers
        found = {"published": published, "delivered": count.bytes / message, "seconds": time.monotonic() - began_s}
        print(orjson.dumps(found).decode(), flush=True)


def main() -> None:
    """Run with the command line's arguments."""
    parser = argparse.ArgumentParser(prog="bench.pubsub_run", description=__doc__)
    for name in ("port", "size", "views_s", "subscribers"):
        parser.add_argument(name, type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("windows", type=int)
    options = parser.parse_args()
    asyncio.run(
        _run(
            options.port, options.size, options.views_s, options.subscribers, options.seconds, options.windows
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
