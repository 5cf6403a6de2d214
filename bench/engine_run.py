"""Times the books, as a program of its own: nothing else shares its interpreter, core or garbage collector.

Ours and the floor process the same frames in chunks, in turn and in reversed order at each second chunk, so that a slow
period of the machine affects both. Cryptofeed runs after them: between its chunks, whose Decimals are scattered over
the memory, the floor took twice as long. Reported is thread CPU time, as one JSON object on stdout.
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
    """A book that is timed."""

    def take_all(self, frames: Sequence[bytes]) -> None:
        """Process the next frames."""


def timed(books: dict[str, Book], frames: dict[str, list[bytes]]) -> dict[str, float]:
    """Return the CPU time per frame of each book, us. `frames` are each book's own, equally many."""
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
    """Time ours, the floor and cryptofeed on the same frames, and count where ours and cryptofeed's tops differ."""
    ours = PulseBook(real)
    views = [orjson.loads(ours.take(raw)) for raw in real.frames]
    books: dict[str, Book] = {"pulse": PulseBook(real), "floor": Floor(views)}
    gc.collect()
    gc.freeze()  # as the terminal does
    us = timed(books, dict.fromkeys(books, real.frames))
    answer: dict[str, Any] = {"origin": real.origin, "frames": len(real.frames), "us": us}
    try:
        answer["unlike"] = _count_differing(real, views)
        theirs: Book = CryptofeedBook(real, lambda bids, asks: _ignore(encode_decimals(bids, asks)))
        us |= timed({"cryptofeed": theirs}, {"cryptofeed": real.frames})
    except BenchError as fault:
        answer["missing"] = str(fault)
    return answer


def compare_depths() -> dict[str, float]:
    """Time our book with few and with many levels a side, under the same diffs."""
    few, many = even_book(LEVELS_FEW, EVEN_FRAMES), even_book(LEVELS_MANY, EVEN_FRAMES)
    books: dict[str, Book] = {"few": PulseBook(few), "many": PulseBook(many)}
    gc.collect()
    gc.freeze()
    return timed(books, {"few": few.frames, "many": many.frames})


def _count_differing(real: Session, views: Sequence[Any]) -> int:
    """Count the diffs after which cryptofeed's best 20 levels differ from ours."""
    theirs: list[TopPrices] = []
    book = CryptofeedBook(real, lambda bids, asks: theirs.append((_floats(bids), _floats(asks))))
    book.take_all(real.frames)
    book.close()
    ours = [tuple([(p, q) for p, q in view[side]] for side in ("bids", "asks")) for view in views]
    return sum(own != other for own, other in zip(ours, theirs, strict=True))


def _floats(levels: Sequence[Any]) -> list[tuple[float, float]]:
    return [(float(price), float(quantity)) for price, quantity in levels]


def _ignore(_: bytes) -> None:
    """Discard the result."""


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
