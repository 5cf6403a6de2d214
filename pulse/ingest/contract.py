"""The contract of a source of market events: the live exchange, or a recording that is played back."""

from typing import Protocol


class Ingest(Protocol):
    """Puts market events of the open symbols into the inbox, each symbol's in an order that the engine can trust.

    That order is the sequencer's promise: a book anchor, then diffs that join without a gap, then perhaps `BookLost`
    until the next anchor.
    """

    def open(self, symbol: str) -> None:
        """Begin to deliver a symbol."""

    def close(self, symbol: str) -> None:
        """Deliver no more of a symbol."""

    async def run(self) -> None:
        """Deliver events; for ever, or to the end of the recording. Raises what the process cannot go on with."""
