"""A row of the table: its measurement, its budget, its baseline, and the summary of several repeats. Pure.

A ratio is computed within one repeat, in which both sides ran one after the other, and only then summarised over
repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from bench.context import Context

PULSE = "pulse"
"""The terminal's name among the contenders."""


class Against(Enum):
    """What a budget is compared with."""

    NOTHING = "nothing"  # the figure itself
    TIMES = "times"  # a multiple of the baseline's figure
    ABOVE = "above"  # the difference to the baseline's figure


@dataclass(frozen=True, slots=True)
class Budget:
    """An upper bound, in the row's unit or, for TIMES, as a factor."""

    limit: float
    against: Against = Against.NOTHING


@dataclass(frozen=True, slots=True)
class Reading:
    """One repeat of a row: a figure per contender, the terminal among them, and notes."""

    values: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `baseline` names the contender that the budget refers to; empty for none.

    A long row is measured in the first repeat alone.
    """

    name: str
    what: str
    unit: str
    measure: Callable[[Context], Reading]
    budget: Budget | None = None
    baseline: str = ""
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """The lowest, the median and the highest of several repeats."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row with all its readings; `failure` is the reason when there are none."""

    row: Row
    readings: tuple[Reading, ...]
    failure: str = ""

    def spread(self, name: str) -> Spread | None:
        """Return the spread of one contender; None when it was not measured."""
        return spread_of([reading.values[name] for reading in self.readings if name in reading.values])

    def against(self) -> Spread | None:
        """Return what the budget bounds, computed per repeat; None when the baseline was not measured."""
        compared = (compare(self.row, reading) for reading in self.readings)
        return spread_of([value for value in compared if value is not None])

    def is_met(self) -> bool | None:
        """Return whether the median of the repeats is within the budget; None when that is unknown."""
        against = self.against()
        if self.row.budget is None or against is None:
            return None
        return against.median <= self.row.budget.limit

    def others(self) -> list[str]:
        """Return the other contenders, the baseline first."""
        names = dict.fromkeys(name for reading in self.readings for name in reading.values if name != PULSE)
        return sorted(names, key=lambda name: name != self.row.baseline)

    def notes(self) -> list[str]:
        """Return the notes of the readings without duplicates."""
        return list(dict.fromkeys(note for reading in self.readings for note in reading.notes))


def compare(row: Row, reading: Reading) -> float | None:
    """Return the figure of one repeat that the row's budget bounds."""
    own, other = reading.values.get(PULSE), reading.values.get(row.baseline)
    if row.budget is None or own is None:
        return None
    if row.budget.against is Against.NOTHING:
        return own
    if other is None:
        return None
    if row.budget.against is Against.ABOVE:
        return own - other
    return own / other if other else None


def spread_of(values: Sequence[float]) -> Spread | None:
    """Return lowest, median and highest; None for no values."""
    return Spread(min(values), median(values), max(values)) if values else None
