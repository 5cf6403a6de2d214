"""Where the table of results goes in the documentation."""

import pytest

from bench.__main__ import RESULTS
from bench.docs import BEGIN, END, MarkersMissing, with_table


def test_the_table_replaces_the_text_between_the_markers() -> None:
    """Everything outside them stays as it was."""
    text = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new\n")

    assert text == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_writing_twice_changes_nothing() -> None:
    """The same table leaves the same file."""
    once = with_table(f"{BEGIN}\n{END}", "table")

    assert with_table(once, "table") == once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}{END}{END}"])
def test_markers_must_be_one_pair_in_order(text: str) -> None:
    """A page that is not as expected is left alone."""
    with pytest.raises(MarkersMissing, match="once"):
        with_table(text, "table")


def test_the_page_has_its_markers() -> None:
    """The command that writes the table finds its place."""
    assert with_table(RESULTS.read_text(), "table")
