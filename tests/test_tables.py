"""The tables of faults and threats: each row is proved by a test, each mark has a row, the documents are current."""

import pytest

from tests.tables import TABLES, Table, marked_tests


def test_every_row_is_proved_and_every_mark_has_its_row() -> None:
    """Keys are unique; a row without a test or a mark without a row is a mistake of spelling, or a claim too many."""
    keys = [row.key for table in TABLES for row in table.rows()]

    assert len(keys) == len(set(keys))
    assert set(keys) == set(marked_tests())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path.name)
def test_documents_are_what_is_generated(table: Table) -> None:
    """`python -m tests.tables` writes them anew."""
    assert table.path.read_text() == table.document(marked_tests())
