"""What the routes are built from: the parts of the running terminal that HTTP and WebSocket requests read.

It holds no state and no behaviour of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulse.candle_history.reader import CandleReader
from pulse.fanout.hub import Hub
from pulse.market.view import Certificate
from pulse.past.reader import PastReader
from pulse.settings import Settings
from pulse.symbols import SymbolRegistry
from pulse.web.access import Access
from pulse.web.admission import Admission
from pulse.web.sse import SseEndpoint
from pulse.web.websocket import WebSocketSessions

Report = Callable[[], Mapping[str, Any]]
"""Returns a JSON object with the current state."""


@dataclass(frozen=True, slots=True)
class WebContext:
    """The parts that the app's routes use; each report returns the JSON object of its route."""

    settings: Settings
    access: Access
    admission: Admission
    registry: SymbolRegistry
    hub: Hub
    candles: CandleReader
    websockets: WebSocketSessions
    sse: SseEndpoint
    symbols: Report  # /api/symbols
    watchlist: Report  # /api/watchlist
    readiness: Report  # /readyz; its key `ready` decides the status, its key `store` is the object of /api/store
    coverage: Callable[[str, int], Awaitable[Mapping[str, Any]]]  # /api/coverage, of a symbol and the newest days
    latency: Report  # /api/latency
    certificates: Callable[[], Mapping[str, Certificate | Mapping[str, Any]]]  # /api/proof, by symbol
    past: PastReader | None  # /api/history and /orderbook?at=; None where nothing is recorded
    static_dir: Path  # the page's files
