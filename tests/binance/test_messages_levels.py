"""The fast parser of a depth diff's levels against the general one, which a space before the colon selects."""

import random
import string

import pytest

from pulse.binance.messages import Message, parse
from pulse.errors import MalformedFrame
from tests.support.frames import DEPTH

MUTATION_CHARS = string.digits * 3 + '.-"[]{},:eEuUbaNn_ '
TO_GENERAL = (b'"b":', b'"b" :')


def parsed(raw: bytes) -> Message | str:
    """Return the message of a frame, or that it is refused."""
    try:
        return parse(raw)
    except MalformedFrame:
        return "refused"


def diff_with(bids: str, asks: str) -> bytes:
    """Return a diff with these levels."""
    head = DEPTH[: DEPTH.index(b'"b":')]
    return head + f'"b":{bids},"a":{asks}}}}}'.encode()


def test_space_selects_the_general_parser() -> None:
    """Both parsers give the same diff."""
    assert TO_GENERAL[0] in DEPTH
    assert parsed(DEPTH) == parsed(DEPTH.replace(*TO_GENERAL)) != "refused"


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
def test_both_parsers_agree_on_odd_levels(bids: str, asks: str) -> None:
    """Each odd form is read or refused alike."""
    raw = diff_with(bids, asks)

    assert parsed(raw) == parsed(raw.replace(*TO_GENERAL))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"x"},"more":{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"stream":"btcusdt@depth@100ms","data":{"b":null,"a":null},"more":{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"stream":"btcusdt@depth@100ms","data":[{"b":[["1","2"]],"a":[["3","4"]]}}',
        b'{"b":[["1","2"]],"a":[["3","4"]]}}',
    ],
)
def test_levels_outside_of_data_are_not_used(raw: bytes) -> None:
    """Only levels under `data` belong to the diff."""
    assert parsed(raw) == parsed(raw.replace(*TO_GENERAL)) == "refused"


@pytest.mark.parametrize("seed", range(20))
def test_both_parsers_agree_on_mutated_frames(seed: int) -> None:
    """A thousand frames with up to three bytes changed, removed or added are read or refused alike."""
    rng = random.Random(seed)
    for _ in range(1000):
        raw = bytearray(DEPTH)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(raw))
            raw[at : at + rng.randrange(2)] = rng.choice(MUTATION_CHARS).encode() * rng.randrange(2)

        assert parsed(bytes(raw)) == parsed(bytes(raw).replace(*TO_GENERAL)), raw
