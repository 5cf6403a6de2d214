"""The context of a run, given to each row: working folder, durations, and results measured already."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass
class Context:
    """One run. Rows of the same experiment share its result: within a repeat it runs once."""

    folder: Path
    is_quick: bool
    recordings: Path
    crowd_minutes: float
    log: Callable[[str], None]
    _done: dict[str, Any] = field(default_factory=dict)

    def once(self, experiment: "Callable[[Context], Result]") -> Result:
        """Return the result of an experiment in this repeat; raise again what it raised."""
        name = f"{experiment.__module__}.{experiment.__name__}"
        if name not in self._done:
            self.log(f"{name.removeprefix('bench.')}: {(experiment.__doc__ or '').splitlines()[0]}")
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
        """Start the next repeat: drop all results."""
        self._done.clear()

    def seconds(self, full: float, quick: float) -> float:
        """Return the measuring time."""
        return quick if self.is_quick else full
