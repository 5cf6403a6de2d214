"""The source of the rivals' messages: a stamped text of a given size at a given rate, made or published to Redis.

It is stamped like the terminal's views; the rest is new digits each time, which compress like views, to about half.
"""

import argparse
import asyncio
import random
import time

from redis.asyncio import Redis

DIGITS = (b"0123456789" * 26)[:256]
"""Maps any byte to a digit."""
CHANNEL = "book:BTCUSDT"


def make_message(size: int) -> str:
    """Return a text of `size` bytes with its time of making."""
    head = f'{{"timestamp":{time.time():.6f},"pad":"'
    return head + random.randbytes(size).translate(DIGITS)[: size - len(head) - 2].decode() + '"}'


async def next_tick(rate_hz: float, loop: asyncio.AbstractEventLoop) -> float:
    """Sleep until the next tick of a fixed rate, and return the wait in seconds."""
    period_s = 1 / rate_hz
    wait_s = period_s - loop.time() % period_s
    await asyncio.sleep(wait_s)
    return wait_s


async def _publish(url: str, size: int, rate_hz: float) -> None:
    redis = Redis.from_url(url)
    loop = asyncio.get_running_loop()
    while True:
        await next_tick(rate_hz, loop)
        await redis.publish(CHANNEL, make_message(size))


def main() -> None:
    """Publish until stopped."""
    parser = argparse.ArgumentParser(prog="bench.rivals.publisher", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("size", type=int)
    parser.add_argument("rate_hz", type=float)
    options = parser.parse_args()
    asyncio.run(_publish(options.url, options.size, options.rate_hz))


if __name__ == "__main__":
    main()
