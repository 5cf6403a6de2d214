"""Times the books, as a program of its own: nothing else shares its interpreter, core or garbage collector.

Ours and the floor advance through the same frames in chunks, in turn and in reversed order at each second chunk, so
that a slow moment of the machine falls on both. Cryptofeed comes after them: between its chunks, whose Decimals scatter
all over the memory, the floor took twice as long as it does. What is reported is thread CPU time. One JSON object on
stdout.
"""

import argparse
import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from bench.books import CryptofeedBook, Floor, PulseBook, TopPrices, encode_decimals
from bench.diffs import Session, even_book, session
from bench.processes import BenchError

CHUNK = 100
EVEN_FRAMES = 2000
LEVELS_FEW, LEVELS_MANY = 500, 5000


class Book(Protocol):
    """One that is timed."""

    def take_all(self, frames: Sequence[bytes]) -> None:
        """Work through the next frames."""


def timed(books: dict[str, Book], frames: dict[str, list[bytes]]) -> dict[str, float]:
    """CPU per frame of each book, us. `frames` are each book's own, equally many."""
    spent_ns = dict.fromkeys(books, 0)
    count = min(len(own) for own in frames.values())
    for start in range(0, count, CHUNK):
        order = list(books) if start // CHUNK % 2 else list(reversed(books))
        for name in order:
            chunk = frames[name][start : start + CHUNK]
            began_ns = time.thread_time_ns()
            books[name].take_all(chunk)
            spent_ns[name] += time.thread_time_ns() - began_ns
    return {name: ns / count / 1000 for name, ns in spent_ns.items()}


def compare_engines(real: Session) -> dict[str, Any]:
    """Ours, the floor and cryptofeed on the same frames, and whether ours and cryptofeed's tops are the same."""
    ours = PulseBook(real)
    pictures = [orjson.loads(ours.take(raw)) for raw in real.frames]
    books: dict[str, Book] = {"pulse": PulseBook(real), "floor": Floor(pictures)}
    gc.collect()
    gc.freeze()  # as the terminal does
    us = timed(books, dict.fromkeys(books, real.frames))
    answer: dict[str, Any] = {"origin": real.origin, "frames": len(real.frames), "us": us}
    try:
        answer["unlike"] = _unlike(real, pictures)
        theirs: Book = CryptofeedBook(real, lambda bids, asks: _ignore(encode_decimals(bids, asks)))
        us |= timed({"cryptofeed": theirs}, {"cryptofeed": real.frames})
    except BenchError as fault:
        answer["missing"] = str(fault)
    return answer


def compare_depths() -> dict[str, float]:
    """Our book with few and with many levels a side, under the same diffs."""
    few, many = even_book(LEVELS_FEW, EVEN_FRAMES), even_book(LEVELS_MANY, EVEN_FRAMES)
    books: dict[str, Book] = {"few": PulseBook(few), "many": PulseBook(many)}
    gc.collect()
    gc.freeze()
    return timed(books, {"few": few.frames, "many": many.frames})


def _unlike(real: Session, pictures: Sequence[Any]) -> int:
    """After how many diffs cryptofeed's best 20 levels are not ours."""
    theirs: list[TopPrices] = []
    book = CryptofeedBook(real, lambda bids, asks: theirs.append((_floats(bids), _floats(asks))))
    book.take_all(real.frames)
    book.close()
    ours = [tuple([(p, q) for p, q in picture[side]] for side in ("bids", "asks")) for picture in pictures]
    return sum(own != other for own, other in zip(ours, theirs, strict=True))


def _floats(levels: Sequence[Any]) -> list[tuple[float, float]]:
    return [(float(price), float(quantity)) for price, quantity in levels]


def _ignore(_: bytes) -> None:
    """What is made is not looked at."""


def main() -> None:
    """Time everything once."""
    parser = argparse.ArgumentParser(prog="bench.engine_run", description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("frames", type=int)
    options = parser.parse_args()
    engines = compare_engines(session(options.recordings, options.frames))
    print(orjson.dumps(engines | {"depths_us": compare_depths()}).decode(), flush=True)


if __name__ == "__main__":
    main()
