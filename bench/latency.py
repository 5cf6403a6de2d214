"""Latency: from the exchange's sending of a frame to one client's reading of the view made from it.

The id of each diff is its time of sending, and the view carries it. The floor is the same exchange read by the same
generator with nothing between: one hop of loopback and two wake-ups, of which the terminal's path has twice as many. An
idle machine wakes slowly, so a higher frame rate would give a lower figure.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bench.context import Context
from bench.load import ID_S, SENT, Window, load
from bench.processes import BenchError
from bench.rows import PULSE, Against, Budget, Reading, Row
from bench.services import valkey
from bench.terminal import BOOK_PATH, Terminal, terminal

RATE_HZ = 50.0
FLOOR = "the floor (loopback alone)"
BOOK = BOOK_PATH.format(symbol="BTCUSDT")
EXCHANGE_STREAM = "/stream?streams=btcusdt@depth@100ms"


def in_process(context: Context) -> dict[str, Window]:
    """Measure one client, with the bus within the process."""
    with terminal(context.folder, rate_hz=RATE_HZ) as ours:
        return _both(context, ours)


def through_valkey(context: Context) -> dict[str, Window]:
    """Measure one client, with views through a real Valkey."""
    with valkey(context.folder) as url, terminal(context.folder, rate_hz=RATE_HZ, REDIS_URL=url) as ours:
        return _both(context, ours)


def _both(context: Context, ours: Terminal) -> dict[str, Window]:
    sent_by_exchange = {"stamp": '"u":', "scale": ID_S}
    return {
        FLOOR: _window(context, ours.exchange_port, EXCHANGE_STREAM, ours, sent_by_exchange),
        PULSE: _window(context, ours.port, BOOK, ours, SENT),
    }


def _window(context: Context, port: int, path: str, ours: Terminal, stamp: Mapping[str, Any]) -> Window:
    seconds = context.seconds(10.0, 4.0)
    with load(
        context.folder, port, path, [ours.program], window_s=seconds, warmup_s=1.0, clients=1, **stamp
    ) as windows:
        return next(windows)


def _reading(windows: dict[str, Window], quantile: str) -> Reading:
    if any(window.healthy is None for window in windows.values()):
        raise BenchError("messages came without the stamp that they are measured by")
    return Reading({name: getattr(window.healthy, quantile) * 1000 for name, window in windows.items()})


def _rows(
    name: str, what: str, experiment: Callable[[Context], dict[str, Window]], budget_ms: float
) -> tuple[Row, Row]:
    return (
        Row(f"{name}-p50", f"{what}, p50", "ms", lambda c: _reading(c.once(experiment), "p50_s"), None, FLOOR),
        Row(
            f"{name}-p99", f"{what}, p99", "ms", lambda c: _reading(c.once(experiment), "p99_s"),
            Budget(budget_ms, Against.ABOVE), FLOOR,
        ),
    )  # fmt: skip


ROWS = (
    *_rows("latency", "exchange frame in to client frame out, one client, 50 frames/s", in_process, 2.0),
    *_rows("latency-redis", "the same through Valkey", through_valkey, 4.0),
)
