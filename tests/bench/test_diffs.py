"""The diffs that books are measured with."""

from pathlib import Path

import orjson
import pytest

from bench.books import PulseBook
from bench.diffs import SESSION, even_book, session
from tests.support.recordings import recording


def test_without_a_recording_the_simulator_stands_in(tmp_path: Path) -> None:
    """The engine is measured on any machine, and the table says on what."""
    found = session(tmp_path, frames_max=20)

    assert (found.origin, len(found.frames)) == ("the simulator's diffs, seed 1", 20)


def test_simulated_diffs_make_a_live_book(tmp_path: Path) -> None:
    """What is timed is a book at work, not one that waits to be joined."""
    found = session(tmp_path, frames_max=20)
    book = PulseBook(found)

    assert [orjson.loads(book.take(raw))["state"] for raw in found.frames] == ["live"] * 20


def test_recorded_diffs_make_a_live_book() -> None:
    """The frames that are older than the snapshot are left out, and the rest joins."""
    found = session(recording(SESSION).parent, frames_max=100)
    book = PulseBook(found)

    assert {orjson.loads(book.take(raw))["state"] for raw in found.frames} == {"live"}


@pytest.mark.parametrize("levels", [500, 5000])
def test_even_diffs_do_not_depend_on_the_books_size(levels: int) -> None:
    """What is compared is the size of the book alone."""
    assert even_book(levels, 5).frames == even_book(1000, 5).frames


@pytest.mark.parametrize("levels", [500, 5000])
def test_an_even_book_has_its_levels(levels: int) -> None:
    """A side begins with as many levels as asked for."""
    snapshot = orjson.loads(even_book(levels, 0).snapshot)

    assert [len(snapshot[side]) for side in ("bids", "asks")] == [levels, levels]
