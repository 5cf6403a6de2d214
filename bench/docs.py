"""Put the table of results between two markers of docs/benchmarks.md, and touch nothing else of it.

Pure: text in, text out. It does not know what the table says.
"""

BEGIN = "<!-- measured: written by `python -m bench --write-docs` -->"
END = "<!-- end of measured -->"


class MarkersMissing(Exception):
    """The text does not have exactly one pair of markers, in their order."""

    def __init__(self) -> None:
        super().__init__(f"expected the line {BEGIN} once, and below it {END} once")


def with_table(text: str, table: str) -> str:
    """Return the text with the table between its markers, in place of what was there. Raises MarkersMissing."""
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end) or BEGIN in rest or END in before + after:
        raise MarkersMissing
    return f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}"
