"""The diffs that books are measured with."""

from pathlib import Path

import orjson
import pytest

from bench.books import PulseBook
from bench.diffs import SESSION, even_book, session
from tests.support.recordings import recording


def test_simulator_is_used_without_a_recording(tmp_path: Path) -> None:
    """The engine can be measured on any machine, and the table names the origin."""
    found = session(tmp_path, frames_max=20)

    assert (found.origin, len(found.frames)) == ("the simulator's diffs, seed 1", 20)


def test_simulated_diffs_make_a_live_book(tmp_path: Path) -> None:
    """A live book is timed, not one that waits to be joined."""
    found = session(tmp_path, frames_max=20)
    book = PulseBook(found)

    assert [orjson.loads(book.take(raw))["state"] for raw in found.frames] == ["live"] * 20


def test_recorded_diffs_make_a_live_book() -> None:
    """Frames older than the snapshot are left out, and the rest joins."""
    found = session(recording(SESSION).parent, frames_max=100)
    book = PulseBook(found)

    assert {orjson.loads(book.take(raw))["state"] for raw in found.frames} == {"live"}


@pytest.mark.parametrize("levels", [500, 5000])
def test_even_diffs_do_not_depend_on_the_books_size(levels: int) -> None:
    """Only the size of the book differs between the books compared."""
    assert even_book(levels, 5).frames == even_book(1000, 5).frames


@pytest.mark.parametrize("levels", [500, 5000])
def test_even_book_has_its_levels(levels: int) -> None:
    """Each side begins with as many levels as requested."""
    snapshot = orjson.loads(even_book(levels, 0).snapshot)

    assert [len(snapshot[side]) for side in ("bids", "asks")] == [levels, levels]
