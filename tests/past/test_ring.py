"""The ring: the newest blocks of all symbols, within its bytes."""

from pulse.past.ring import META_BYTES, Ring
from tests.support.makers import MIDNIGHT_MS
from tests.support.past import block_of, new_market, small_session

BLOCKS = [block_of(small_session(), number) for number in range(4)]
SIZE = META_BYTES + len(BLOCKS[0].keyframe) + len(BLOCKS[0].rows)


def filled(bytes_max: int) -> Ring:
    """Return a ring that has been given all blocks."""
    ring = Ring(bytes_max)
    for block in BLOCKS:
        ring.add(block)
    return ring


def test_block_of_a_time_is_found() -> None:
    """From its first to its last millisecond."""
    ring = filled(100 * SIZE)

    assert ring.find("BTCUSDT", BLOCKS[1].meta.from_ms) is BLOCKS[1]
    assert ring.find("BTCUSDT", BLOCKS[1].meta.to_ms) is BLOCKS[1]
    assert ring.find("BTCUSDT", BLOCKS[1].meta.to_ms + 1) is None
    assert ring.find("ETHUSDT", BLOCKS[1].meta.from_ms) is None


def test_oldest_blocks_go_at_the_bound() -> None:
    """A ring of no bytes holds nothing."""
    ring = filled(2 * SIZE + 10)

    assert ring.metas("BTCUSDT") == [BLOCKS[2].meta, BLOCKS[3].meta]
    assert ring.total_bytes <= 2 * SIZE + 10
    assert filled(0).metas("BTCUSDT") == []


def test_of_two_blocks_of_one_time_the_later_one_is_found() -> None:
    """A clock that was set back makes such two."""
    ring = filled(100 * SIZE)
    again = block_of(small_session(), 9, new_market(), from_ms=MIDNIGHT_MS, to_ms=MIDNIGHT_MS + 1)
    ring.add(again)

    assert ring.find("BTCUSDT", MIDNIGHT_MS) is again
