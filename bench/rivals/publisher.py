"""The source of what the rivals broadcast: a stamped text of a given size at a given rate, made or published to Redis.

It stamps as the terminal's pictures are stamped; the rest is new digits each time, which compress as pictures do, to
about half.
"""

import argparse
import asyncio
import random
import time

from redis.asyncio import Redis

DIGITS = (b"0123456789" * 26)[:256]
"""Any byte as a digit."""
CHANNEL = "book:BTCUSDT"


def stamped(size: int) -> str:
    """A text of `size` bytes that says when it was made."""
    head = f'{{"timestamp":{time.time():.6f},"pad":"'
    return head + random.randbytes(size).translate(DIGITS)[: size - len(head) - 2].decode() + '"}'


async def ticks(rate_hz: float, loop: asyncio.AbstractEventLoop) -> float:
    """Sleep until the next moment of an even beat."""
    period_s = 1 / rate_hz
    wait_s = period_s - loop.time() % period_s
    await asyncio.sleep(wait_s)
    return wait_s


async def _publish(url: str, size: int, rate_hz: float) -> None:
    redis = Redis.from_url(url)
    loop = asyncio.get_running_loop()
    while True:
        await ticks(rate_hz, loop)
        await redis.publish(CHANNEL, stamped(size))


def main() -> None:
    """Publish for ever."""
    parser = argparse.ArgumentParser(prog="bench.rivals.publisher", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("size", type=int)
    parser.add_argument("rate_hz", type=float)
    options = parser.parse_args()
    asyncio.run(_publish(options.url, options.size, options.rate_hz))


if __name__ == "__main__":
    main()
