"""What a run of the benchmarks hands to each row: where to work, how long to look, and what was measured already."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass
class Context:
    """One run. Rows that look at the same experiment share it: within a repeat it runs once."""

    folder: Path
    is_quick: bool
    recordings: Path
    soak_minutes: float
    say: Callable[[str], None]
    _done: dict[str, Any] = field(default_factory=dict)

    def once(self, experiment: "Callable[[Context], Result]") -> Result:
        """The result of an experiment in this repeat; what it raised, it raises again."""
        name = f"{experiment.__module__}.{experiment.__name__}"
        if name not in self._done:
            self.say(f"{name.removeprefix('bench.')}: {(experiment.__doc__ or '').splitlines()[0]}")
            try:
                self._done[name] = experiment(self)
            except Exception as fault:
                self._done[name] = fault
                raise
        if isinstance(self._done[name], Exception):
            raise self._done[name]
        found: Result = self._done[name]
        return found

    def forget(self) -> None:
        """The next repeat begins."""
        self._done.clear()

    def seconds(self, full: float, quick: float) -> float:
        """How long to look."""
        return quick if self.is_quick else full
