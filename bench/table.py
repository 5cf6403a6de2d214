"""The table as text: outcomes in, Markdown out. Pure: no measurement, no verdict of its own."""

import math
from collections.abc import Sequence

from bench.rows import PULSE, Against, Budget, Outcome, Spread

HEADINGS = ("what", "unit", "pulse", "others in the same run", "against the baseline", "budget", "met")
VERDICTS = {True: "yes", False: "**no**", None: ""}


def render(outcomes: Sequence[Outcome], machine: str, run: str) -> str:
    """Return the whole text: a line about the run, the table, and the notes below."""
    lines = [f"{run}, on {machine}.", "", _line(HEADINGS), _line(["---"] * len(HEADINGS))]
    notes: list[str] = []
    for outcome in outcomes:
        marks = [_mark(note, notes) for note in outcome.notes()]
        lines.append(_line(_cells(outcome, "".join(marks))))
    lines += [""] if notes else []
    lines += [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join(lines) + "\n"


def _cells(outcome: Outcome, marks: str) -> list[str]:
    row = outcome.row
    what = row.what + marks
    if outcome.failure:
        return [what, row.unit, f"not measured: {outcome.failure}", "", "", budget_text(row.budget, row.unit), ""]
    others = [f"{name} {spread_text(outcome.spread(name))}" for name in outcome.others()]
    return [
        what,
        row.unit,
        spread_text(outcome.spread(PULSE)),
        "; ".join(others),
        _against_text(outcome),
        budget_text(row.budget, row.unit),
        VERDICTS[outcome.is_met()],
    ]


def _against_text(outcome: Outcome) -> str:
    budget = outcome.row.budget
    if budget is None or budget.against is Against.NOTHING:
        return ""
    sign = "x" if budget.against is Against.TIMES else "difference"
    return f"{sign} {spread_text(outcome.against())}"


def budget_text(budget: Budget | None, unit: str) -> str:
    """Return a budget as text."""
    if budget is None:
        return ""
    if budget.against is Against.TIMES:
        return f"<= {budget.limit:g} x"
    return f"<= {budget.limit:g} {unit}" + (" above" if budget.against is Against.ABOVE else "")


def spread_text(spread: Spread | None) -> str:
    """Return the median, and in brackets the lowest and the highest where they differ from it."""
    if spread is None:
        return "-"
    median, low, high = (figure(value) for value in (spread.median, spread.low, spread.high))
    return median if low == median == high else f"{median} ({low}-{high})"


def figure(value: float) -> str:
    """Return three significant digits."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}" if decimals else f"{round(value, -math.floor(math.log10(abs(value))) + 2):.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _mark(note: str, notes: list[str]) -> str:
    """Return the mark of a note, added to the notes when it is new."""
    if note not in notes:
        notes.append(note)
    return f" [{notes.index(note) + 1}]"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
