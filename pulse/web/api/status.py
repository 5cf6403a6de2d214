"""What the process answers about itself: what it follows, whether it is ready, and what /metrics reads of its parts.

It joins what others know, and knows nothing itself.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pulse import stats
from pulse.bus.contract import Bus
from pulse.candle_history.writer import CandleWriter
from pulse.engine import Engine
from pulse.fanout.hub import Hub
from pulse.latency import HOPS, Latency
from pulse.market.types import Instrument
from pulse.store.contract import Store
from pulse.symbols import SymbolRegistry
from pulse.web.websocket import WebSocketSessions

TRUSTED = ("live", "halted")
"""States of a book that is as it should be."""
DESCRIBED = ("base_asset", "quote_asset", "status", "tick_size", "lot_size", "price_decimals", "quantity_decimals")
"""What /api/symbols says of an instrument; nulls while the exchange has not told."""


@dataclass(frozen=True, slots=True)
class SymbolsReport:
    """The object of /api/symbols. `instruments` are those known, `history` tells how far each symbol's past is."""

    venue: str
    source: str
    registry: SymbolRegistry
    engine: Engine
    instruments: Mapping[str, Instrument]
    history: Callable[[], Mapping[str, Mapping[str, int]]]

    def __call__(self) -> dict[str, Any]:
        """As things stand now."""
        states, history = self.engine.states(), self.history()
        return {
            "default": self.registry.default,
            "venue": self.venue,
            "source": self.source,
            "symbols": [
                {
                    "symbol": symbol, **_described(self.instruments.get(symbol)),
                    "state": states[symbol]["state"], "history": history.get(symbol),
                }
                for symbol in self.registry
            ],
            "listed": self.registry.listed,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """The object of /readyz: the pinned symbols' feeds, the bus and the store decide, the others are told of."""

    registry: SymbolRegistry
    engine: Engine
    bus: Bus
    store: Store
    writer: CandleWriter

    def __call__(self) -> dict[str, Any]:
        """As things stand now."""
        feeds, bus, trouble = self.engine.states(), self.bus.health(), self.writer.trouble
        is_ready = all(feeds[symbol]["state"] in TRUSTED for symbol in self.registry.pinned) and bus.ok and not trouble
        return {
            "ready": is_ready,
            "feeds": feeds,
            "bus": {"kind": bus.kind, "ok": bus.ok, "detail": bus.detail},
            "store": {
                "kind": self.store.kind, "ok": not trouble, "detail": trouble, "pending": self.writer.pending
            },
        }  # fmt: skip


def watch_clients(sessions: WebSocketSessions, hub: Hub) -> None:
    """Let /metrics read what sessions and hub count for themselves."""
    stats.clients_open.set_function(lambda: sessions.open_count)
    stats.clients_refused.set_function(lambda: sessions.admission.refused)
    stats.clients_cut.set_function(lambda: sessions.timed_out)
    stats.client_pictures_replaced.set_function(lambda: sessions.replaced)
    stats.hub_dropped.set_function(lambda: hub.dropped)
    stats.tasks.set_function(lambda: len(asyncio.all_tasks()))


def watch_latency(latency: Latency) -> None:
    """Let /metrics read the latency of each hop."""
    for hop, share in itertools.product(HOPS, (0.5, 0.99)):
        gauge = stats.latency_ms.labels(hop.name, f"{share:g}")
        gauge.set_function(partial(latency.gauge_ms, hop.name, share))
    stats.clock_offset_ms.set_function(latency.offset.value_ms)


def _described(instrument: Instrument | None) -> dict[str, Any]:
    return {name: getattr(instrument, name, None) for name in DESCRIBED}
