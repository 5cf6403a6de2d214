"""A row of the table: what is measured, its budget, its yardstick, and what several repeats of it say. Pure.

A ratio is made within one repeat, in which both sides ran one after the other, and only then summed up over repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

from bench.context import Context

PULSE = "pulse"
"""The name of the terminal among those measured."""


class Against(Enum):
    """What a budget is held against."""

    NOTHING = "nothing"  # the figure itself
    TIMES = "times"  # a multiple of the yardstick's
    ABOVE = "above"  # the difference to the yardstick's


@dataclass(frozen=True, slots=True)
class Budget:
    """At most this much, in the row's unit or, for TIMES, as a factor."""

    most: float
    against: Against = Against.NOTHING


@dataclass(frozen=True, slots=True)
class Reading:
    """One repeat of a row: a figure for each of those measured, the terminal among them, and what to know of it."""

    values: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `yardstick` names the one whose figure the budget refers to; empty for none.

    A long row is measured in the first repeat alone.
    """

    name: str
    what: str
    unit: str
    measure: Callable[[Context], Reading]
    budget: Budget | None = None
    yardstick: str = ""
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the most of several repeats."""

    least: float
    middle: float
    most: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row with all that was read of it; `failure` says why there is nothing."""

    row: Row
    readings: tuple[Reading, ...]
    failure: str = ""

    def spread(self, name: str) -> Spread | None:
        """Of one of those measured; None where it was not."""
        return spread_of([reading.values[name] for reading in self.readings if name in reading.values])

    def against(self) -> Spread | None:
        """What the budget bounds, repeat by repeat; None where the yardstick was not measured."""
        compared = (compare(self.row, reading) for reading in self.readings)
        return spread_of([value for value in compared if value is not None])

    def is_met(self) -> bool | None:
        """Whether the middle of the repeats is within the budget; None where that cannot be said."""
        against = self.against()
        if self.row.budget is None or against is None:
            return None
        return against.middle <= self.row.budget.most

    def others(self) -> list[str]:
        """Who else was measured, the yardstick first."""
        names = dict.fromkeys(name for reading in self.readings for name in reading.values if name != PULSE)
        return sorted(names, key=lambda name: name != self.row.yardstick)

    def notes(self) -> list[str]:
        """What to know of the readings, each said once."""
        return list(dict.fromkeys(note for reading in self.readings for note in reading.notes))


def compare(row: Row, reading: Reading) -> float | None:
    """The figure of one repeat that the row's budget bounds."""
    own, other = reading.values.get(PULSE), reading.values.get(row.yardstick)
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
    """Least, median and most; None of nothing."""
    return Spread(min(values), median(values), max(values)) if values else None
