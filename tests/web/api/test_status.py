"""The state of the process, reported by an engine in memory and by the real server."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pulse.bus.contract import BusHealth
from pulse.bus.memory import MemoryBus
from pulse.candle_history.writer import CandleWriter
from pulse.clock import ClockOffset
from pulse.engine import Engine
from pulse.latency import MEASURED_HOPS, Latency
from pulse.market.stream_states import KLINE_LATE_MS
from pulse.market.types import FeedUp
from pulse.past.recorder import NOT_RECORDED
from pulse.queues import make_candle_queue
from pulse.symbols import SymbolRegistry
from pulse.web.api.status import HISTORY_TROUBLE, SPOOL_TROUBLE, STATE_FILE_TROUBLE, ReadinessReport, register_gauges
from tests.support.makers import trade
from tests.support.metrics import sample_of
from tests.support.stores import MemoryStore
from tests.support.web import INSTANCE, ask, engine_of, make_context, on_server_loop, serving


@dataclass
class FakeBus(MemoryBus):
    """A bus whose health is given."""

    ok: bool = True

    def health(self) -> BusHealth:
        """Return the given health."""
        return BusHealth("redis", self.ok, "" if self.ok else "Redis does not answer.")


def readiness(
    symbols: str, *, pinned: list[str], bus_ok: bool = True, trouble: str = "", clock_ahead_ms: float = 0.0,
    instruments: str = "", spool: str = "", state_file: str = "", engine: Engine | None = None,
    history: Mapping[str, Any] = NOT_RECORDED,
) -> ReadinessReport:  # fmt: skip
    """Return the report of a process with these symbols, the first of them halted, the others offline."""
    store = MemoryStore()
    writer = CandleWriter(make_candle_queue(), store)
    writer._store_trouble, writer._spool_trouble = trouble, spool
    offset = ClockOffset()
    offset.add_round_trip(0.0, -clock_ahead_ms, 0.0)
    engine = engine or engine_of(*symbols.split())
    return ReadinessReport(
        SymbolRegistry(pinned),
        engine.states,
        FakeBus(ok=bus_ok),
        store,
        writer,
        offset,
        lambda: instruments,
        lambda: state_file,
        lambda: history,
    )


def test_unpinned_symbol_does_not_affect_readiness() -> None:
    """A book that a client has just asked for must not take a healthy server out of service."""
    answer = readiness("BTCUSDT DOGEUSDT", pinned=["BTCUSDT"])()

    assert answer["ready"]
    assert answer["feeds"]["DOGEUSDT"]["state"] == "offline"


@pytest.mark.parametrize(
    ("pinned", "bus_ok", "trouble"),
    [(["BTCUSDT", "ETHUSDT"], True, ""), (["BTCUSDT"], False, ""), (["BTCUSDT"], True, "the disk is full")],
)
def test_each_failing_part_is_reported(pinned: list[str], bus_ok: bool, trouble: str) -> None:
    """A book, the bus, the store."""
    answer = readiness("BTCUSDT ETHUSDT", pinned=pinned, bus_ok=bus_ok, trouble=trouble)()

    assert not answer["ready"]
    assert answer["bus"]["ok"] is bus_ok
    assert (answer["store"]["ok"], answer["store"]["detail"]) == (not trouble, trouble)


@pytest.mark.proves("clock-differs")
def test_wrong_machine_clock_is_reported_and_does_not_decide() -> None:
    """Books and candles go by the exchange's time, and a restart would not set the clock."""
    assert readiness("BTCUSDT", pinned=["BTCUSDT"])()["clock"] == {"ok": True, "since_ms": None, "detail": ""}
    answer = readiness("BTCUSDT", pinned=["BTCUSDT"], clock_ahead_ms=60_000.0)()

    assert answer["ready"]
    assert (answer["clock"]["ok"], answer["clock"]["since_ms"]) == (False, 0)
    assert "60.0 s ahead of the exchange's" in answer["clock"]["detail"]


def test_silent_stream_degrades_and_does_not_decide() -> None:
    """What is served is true and says what is missing; a restart, or another server, would see no more."""
    engine = engine_of("BTCUSDT", "ETHUSDT")
    report = readiness("BTCUSDT ETHUSDT", pinned=["BTCUSDT"], engine=engine)
    assert report()["degraded"] == []
    for slot in engine._slots.values():
        slot.market.apply(FeedUp(frozenset({"kline"})), 0.0)
        slot.market.apply(trade(1), 0.0)
        for at_ms in range(0, int(KLINE_LATE_MS) + 2000, 1000):
            slot.market.streams.judge(float(at_ms), has_book=False)
    answer = report()

    assert answer["ready"]
    assert answer["degraded"] == ["the kline stream of BTCUSDT is silent: trades have come without it"]
    assert {stream.kind: stream.reason for stream in answer["feeds"]["ETHUSDT"]["streams"]}["kline"]


def test_a_file_that_cannot_be_written_is_reported_and_does_not_decide() -> None:
    """Each in a text of its own, without the path: anyone may read it."""
    history = {"kind": "disk", "ok": False, "since_ms": 1, "detail": "/secret: No space", "bytes": 0}
    answer = readiness(
        "BTCUSDT", pinned=["BTCUSDT"], spool="No space: /secret", state_file="Permission denied", history=history
    )()

    assert answer["ready"]
    assert answer["degraded"] == [SPOOL_TROUBLE, STATE_FILE_TROUBLE, HISTORY_TROUBLE]
    assert answer["history"] == history
    assert readiness("BTCUSDT", pinned=["BTCUSDT"])()["degraded"] == []


def test_unknown_instruments_are_reported_and_do_not_decide() -> None:
    """Books may be live while the exchange's REST side does not answer."""
    assert readiness("BTCUSDT", pinned=["BTCUSDT"])()["instruments"] == {"ok": True, "detail": ""}
    answer = readiness("BTCUSDT", pinned=["BTCUSDT"], instruments="no answer yet")()

    assert answer["ready"]
    assert answer["instruments"] == {"ok": False, "detail": "no answer yet"}


@on_server_loop
async def test_health_depends_on_the_process_alone() -> None:
    """The process is healthy while it answers, whatever the state of its dependencies."""
    async with serving(readiness={"ready": False}) as web:
        web.store.is_unavailable = True
        status, body, _ = await ask(web, "/healthz")

    assert (status, body) == (200, {"status": "ok"})


@pytest.mark.parametrize(("ready", "expected"), [(True, 200), (False, 503)])
@on_server_loop
async def test_readiness_sets_the_status(ready: bool, expected: int) -> None:
    """The whole report, under a status that a load balancer understands."""
    async with serving(readiness={"ready": ready, "feeds": {}}) as web:
        status, body, _ = await ask(web, "/readyz")

    assert (status, body) == (expected, {"ready": ready, "feeds": {}})


@on_server_loop
async def test_store_report_has_status_200() -> None:
    """The page reads whether candles are stored, with a status that a browser does not log as an error."""
    trouble = {"kind": "sqlite", "ok": False, "detail": "the disk is full", "pending": 3}
    async with serving(readiness={"ready": False, "store": trouble}) as web:
        status, body, _ = await ask(web, "/api/store")

    assert (status, body) == (200, trouble)


@on_server_loop
async def test_only_the_operator_is_told_why() -> None:
    """Everyone else learns which part is in trouble, and since when; here the client is behind a proxy."""
    report: dict[str, Any] = {
        "ready": False,
        "bus": {"kind": "redis", "ok": False, "detail": "secret-host", "since_ms": None},
        "store": {"kind": "sqlite", "ok": False, "detail": "/secret/path", "pending": 3, "since_ms": 1_700_000_000_999},
        "history": {"kind": "disk", "ok": False, "detail": "/secret/path", "since_ms": 1_700_000_000_999, "bytes": 7},
    }
    async with serving(readiness=report) as web:
        _, own, _ = await ask(web, "/readyz")
        _, public, _ = await ask(web, "/readyz", Via="proxy")
        _, store, _ = await ask(web, "/api/store", Via="proxy")

    assert own == report
    assert public["store"] == store
    assert store["detail"] == (
        "Closed candles cannot be written since 2023-11-14T22:13:20+00:00; they wait until they can be."
    )
    assert public["history"] == report["history"] | {"detail": (
        "The recorded past of the books cannot be written since 2023-11-14T22:13:20+00:00; "
        "its newest part is kept in memory."
    )}  # fmt: skip
    assert public["bus"]["detail"] == (
        "Views do not travel through the bus server since the start; they stay within this process."
    )


@on_server_loop
async def test_latency_report_is_served() -> None:
    """Each hop by its name, none of them measured yet."""
    async with serving() as web:
        status, report, _ = await ask(web, "/api/latency")

    assert status == 200
    assert [row["hop"] for row in report["hops"]] == ["exchange", "applied", "published", "bus", "socket", "echo"]
    assert report["over_budget"] == []


@on_server_loop
async def test_metrics_can_be_scraped() -> None:
    """/metrics is Prometheus' text format."""
    async with serving() as web:
        status, body, headers = await ask(web, "/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert list(text_string_to_metric_families(body.decode()))


def sample(name: str, **labels: str) -> float:
    """Return the current value of a gauge."""
    value = sample_of(name, labels)
    assert value is not None
    return value


@on_server_loop
async def test_gauges_read_what_the_parts_count() -> None:
    """A gauge shows its part's count at the time of the scrape."""
    context, latency = make_context(), Latency(INSTANCE)
    report = readiness("BTCUSDT", pinned=["BTCUSDT"], trouble="the disk is full", clock_ahead_ms=60_000.0)
    register_gauges(context.settings, context.admission, context.websockets, context.hub, latency, report)
    before: Callable[[], list[float]] = lambda: [  # noqa: E731
        sample("pulse_clients_refused_total"), sample("pulse_hub_dropped_total"), sample("pulse_clients_cut_total")
    ]  # fmt: skip
    assert before() == [0.0, 0.0, 0.0]
    context.admission.refused, context.websockets.timed_out = 2, 3
    context.hub.publish("book:BTCUSDT", b"not a view")
    latency.written(10.0, 0.0)

    assert before() == [2.0, 1.0, 3.0]
    assert sample("pulse_tasks") == len(asyncio.all_tasks())
    assert sample("pulse_latency_seconds_bucket", hop="socket", le="0.005") == 0.0
    assert sample("pulse_latency_seconds_bucket", hop="socket", le="0.01") == 1.0
    assert sample("pulse_latency_seconds_sum", hop="socket") == 0.01
    assert {hop.name: sample("pulse_latency_budget_seconds", hop=hop.name) * 1000 for hop in MEASURED_HOPS} == {
        "exchange": 500.0, "applied": 10.0, "published": 150.0, "bus": 10.0, "socket": 100.0
    }  # fmt: skip
    assert [sample(name) for name in ("pulse_store_is_up", "pulse_clock_is_right", "pulse_is_ready")] == [0.0, 0.0, 0.0]
    assert sample("pulse_clients_limit") == context.settings.clients_max
    assert sample("pulse_memory_limit_bytes") > 2**20
