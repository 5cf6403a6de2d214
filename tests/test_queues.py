"""The queues between tasks: the conflating one keeps the newest item per key, in the order of the keys."""

import asyncio

import pytest

from pulse.queues import (
    CANDLES_MAX,
    INBOX_EVENTS_MAX,
    TRADE_GAPS_MAX,
    ConflatingQueue,
    make_candle_queue,
    make_gap_queue,
    make_inbox,
)
from tests.support.waiting import WAIT_S


@pytest.fixture
def queue() -> ConflatingQueue[str, int]:
    """Make an empty queue."""
    return ConflatingQueue()


async def test_an_item_comes_out_as_it_went_in(queue: ConflatingQueue[str, int]) -> None:
    """A key that waits alone is given out with its item."""
    queue.put("BTCUSDT", 1)

    assert await queue.get() == ("BTCUSDT", 1)
    assert len(queue) == 0


async def test_a_newer_item_replaces_the_one_that_waits(queue: ConflatingQueue[str, int]) -> None:
    """Of a key only the newest item comes out, and each replaced one is counted."""
    for item in (1, 2, 3):
        queue.put("BTCUSDT", item)

    assert (len(queue), queue.replaced) == (1, 2)
    assert await queue.get() == ("BTCUSDT", 3)


async def test_replacing_does_not_lose_the_place(queue: ConflatingQueue[str, int]) -> None:
    """A busy key cannot push a quiet one back, nor itself."""
    queue.put("BTCUSDT", 1)
    queue.put("ETHUSDT", 2)
    queue.put("BTCUSDT", 3)

    assert [await queue.get() for _ in range(2)] == [("BTCUSDT", 3), ("ETHUSDT", 2)]


async def test_a_key_that_was_taken_queues_anew(queue: ConflatingQueue[str, int]) -> None:
    """After its turn a key stands behind those that wait."""
    for key in ("BTCUSDT", "ETHUSDT"):
        queue.put(key, 1)
    await queue.get()
    queue.put("BTCUSDT", 2)

    assert [await queue.get() for _ in range(2)] == [("ETHUSDT", 1), ("BTCUSDT", 2)]
    assert queue.replaced == 0


async def test_getting_waits_for_an_item(queue: ConflatingQueue[str, int]) -> None:
    """A reader of an empty queue is woken by the next put, again and again."""
    for item in (1, 2):
        reader = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        assert not reader.done()
        queue.put("BTCUSDT", item)

        assert await asyncio.wait_for(reader, WAIT_S) == ("BTCUSDT", item)


async def test_a_cancelled_reader_takes_nothing_with_it(queue: ConflatingQueue[str, int]) -> None:
    """What was put while a reader was being cancelled is there for the next."""
    reader = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put("BTCUSDT", 1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    assert await queue.get() == ("BTCUSDT", 1)


async def test_two_readers_share_the_items(queue: ConflatingQueue[str, int]) -> None:
    """Each item goes to one reader, and a reader that was woken for nothing waits on."""
    readers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.put("BTCUSDT", 1)
    await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
    queue.put("ETHUSDT", 2)

    assert sorted(await asyncio.wait_for(asyncio.gather(*readers), WAIT_S)) == [("BTCUSDT", 1), ("ETHUSDT", 2)]


def test_each_queue_has_its_bound() -> None:
    """The inbox, the candle queue and the gap queue are bounded by a named constant."""
    queues = (make_inbox(), make_candle_queue(), make_gap_queue())

    assert [each.maxsize for each in queues] == [INBOX_EVENTS_MAX, CANDLES_MAX, TRADE_GAPS_MAX]
