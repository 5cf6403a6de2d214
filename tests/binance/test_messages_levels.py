"""The quick reading of a depth diff's levels against the slow one, which a space before its colon asks for."""

import random
import string

import pytest

from pulse.binance.messages import Message, parse
from pulse.errors import MalformedFrame
from tests.support.frames import DEPTH

LETTERS = string.digits * 3 + '.-"[]{},:eEuUbaNn_ '
SPACED = (b'"b":', b'"b" :')


def read(raw: bytes) -> Message | str:
    """What a frame says, or that it is refused."""
    try:
        return parse(raw)
    except MalformedFrame:
        return "refused"


def levels(bids: str, asks: str) -> bytes:
    """A diff with these as its levels."""
    head = DEPTH[: DEPTH.index(b'"b":')]
    return head + f'"b":{bids},"a":{asks}}}}}'.encode()


def test_a_space_asks_for_the_slow_way() -> None:
    """And says the same."""
    assert SPACED[0] in DEPTH
    assert read(DEPTH) == read(DEPTH.replace(*SPACED)) != "refused"


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ("[]", "[]"),
        ("[]", '[["1.5","2"]]'),
        ('[["1","2","3"],["4"]]', "[]"),
        ('[["1","2","3","4"]]', "[]"),
        ('[["1","2"],["3","4"]', "[]"),
        ('["1","2"]', "[]"),
        ("[[1,2]]", "[]"),
        ('[["1",2]]', "[]"),
        ('[["1","2"],]', "[]"),
        ('[[ "1","2"]]', "[]"),
        ('[["1.","2"]]', "[]"),
        ('[[".1","2"]]', "[]"),
        ('[["01","2"]]', "[]"),
        ('[["1.2.3","2"]]', "[]"),
        ('[["","2"]]', "[]"),
        ('[["-1","2"]]', "[]"),
        ('[["1e5","2"]]', "[]"),
        ('[["0","2"]]', "[]"),
        ('[["0.0","2"]]', "[]"),
        (f'[["{"9" * 400}","2"]]', "[]"),
        ("[]", '[["1","2"]],"b":[["5","6"]]'),
        ('[["1","2"]],"b":[["5","6"]]', "[]"),
        ("null", "null"),
        ('[["1","2"]]', '[["1","2"]]}'),
    ],
)
def test_both_ways_read_the_same(bids: str, asks: str) -> None:
    """Odd forms, one by one."""
    raw = levels(bids, asks)

    assert read(raw) == read(raw.replace(*SPACED))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"x"},"more":{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"b":null,"a":null},"more":{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"stream":"btcusdt@depth@100ms","data":[{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"b":[["1","2"]],"a":[["3","4"]]}}',
    ],
)
def test_levels_of_another_object_are_not_the_diffs(raw: bytes) -> None:
    """Only what stands under `data` counts."""
    assert read(raw) == read(raw.replace(*SPACED)) == "refused"


@pytest.mark.parametrize("seed", range(20))
def test_any_change_of_bytes_is_read_the_same_both_ways(seed: int) -> None:
    """A thousand frames with up to three bytes changed, left out or put in."""
    rng = random.Random(seed)  # a test's own chances
    for _ in range(1000):
        raw = bytearray(DEPTH)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(2)] = rng.choice(LETTERS).encode() * rng.randrange(2)

        assert read(bytes(raw)) == read(bytes(raw).replace(*SPACED)), raw
