"""Which symbols are followed now, which might be, and who decides: the settings, and viewers within a bound.

The symbols of the settings are pinned: they are followed for as long as the process lives. Any other that the exchange
lists is started by being asked for, and stopped when nobody has asked for it or listened to it for IDLE_AFTER_S. A
name that is not listed is refused without a question to the exchange. Pure: what starting means is its owner's matter,
and the clock, in seconds of any one kind, is given.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from pulse.errors import TooManySymbols, UnknownListing

IDLE_AFTER_S = 300.0
"""How long a symbol is followed after the last one who looked at it has left: a reader may come back."""
SPARED_S = 30.0
"""One that was asked for so recently is not stopped to make room for another, or two viewers could take turns."""
RETRY_AFTER_S = 60
"""When to ask again for a symbol that there was no room for."""
SHOWN_MAX = 100
"""Names that an error text repeats."""


def _nothing(_: str) -> None:
    """Where nothing can be started, nothing needs to be done for it."""


class SymbolRegistry:
    """`pinned` are the settings' symbols, the first being the default. At most `most` are followed, the pinned always.

    `is_heard(symbol)` tells whether anybody listens to a symbol. `on_start` is called with each symbol that is to be
    followed from now on, `on_stop` with each that no longer is; both must be done when they return.
    """

    def __init__(
        self, pinned: Sequence[str], *, most: int = 0, is_heard: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        self.pinned = tuple(pinned)
        self.most = max(most, len(self.pinned))
        self.on_start: Callable[[str], None] = _nothing
        self.on_stop: Callable[[str], None] = _nothing
        self._is_heard = is_heard
        self._clock = clock
        self._asked_s = dict.fromkeys(self.pinned, 0.0)  # who runs, and when it was asked for last
        self._listed: dict[str, None] = {}

    @property
    def default(self) -> str:
        """The symbol of who names none."""
        return self.pinned[0]

    @property
    def listed(self) -> tuple[str, ...]:
        """All that may be asked for, the followed ones first."""
        return tuple(self._asked_s | self._listed)

    def __iter__(self) -> Iterator[str]:
        """Those that are followed, the pinned ones first."""
        return iter(tuple(self._asked_s))

    def __len__(self) -> int:
        return len(self._asked_s)

    def __contains__(self, symbol: object) -> bool:
        """Whether a symbol may be asked for."""
        return symbol in self._asked_s or symbol in self._listed

    def is_followed(self, symbol: str) -> bool:
        """Whether it is followed now."""
        return symbol in self._asked_s

    def allowed(self) -> tuple[str, ...]:
        """Some of those that may be asked for, to be shown to who asked for something else."""
        return self.listed[:SHOWN_MAX]

    def list_all(self, names: Iterable[str]) -> None:
        """The exchange lists these. A followed symbol that is not among them goes on until nobody looks at it."""
        self._listed = dict.fromkeys(names) if self.most > len(self.pinned) else {}

    def ask(self, symbol: str) -> None:
        """Somebody wants this symbol: it is followed from now on. Raises UnknownListing or TooManySymbols."""
        if symbol not in self:
            raise UnknownListing(symbol)
        is_new = symbol not in self._asked_s
        if is_new:
            self._make_room()
        self._asked_s[symbol] = self._clock()
        if is_new:
            self.on_start(symbol)

    def sweep(self) -> None:
        """Stop what nobody looks at any more; to be called now and then."""
        now_s = self._clock()
        for symbol in self._others():
            if self._is_heard(symbol):
                self._asked_s[symbol] = now_s
            elif now_s - self._asked_s[symbol] >= IDLE_AFTER_S:
                self._stop(symbol)

    def _make_room(self) -> None:
        if len(self._asked_s) < self.most:
            return
        now_s = self._clock()
        idle = [
            symbol for symbol in self._others()
            if not self._is_heard(symbol) and now_s - self._asked_s[symbol] >= SPARED_S
        ]  # fmt: skip
        if not idle:
            raise TooManySymbols(f"This server follows {self.most} symbols at once, and all of them are in use.")
        self._stop(min(idle, key=self._asked_s.__getitem__))

    def _others(self) -> list[str]:
        return [symbol for symbol in self._asked_s if symbol not in self.pinned]

    def _stop(self, symbol: str) -> None:
        del self._asked_s[symbol]
        self.on_stop(symbol)
