"""The state of the process: /healthz, /readyz, /api/store, /api/latency and /metrics.

It joins what other parts report and computes nothing else.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import nan
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pulse import machine, stats
from pulse.bus.contract import Bus
from pulse.candle_history.writer import CandleWriter
from pulse.clock import ClockOffset
from pulse.engine import GOOD_STATES
from pulse.fanout.hub import Hub
from pulse.latency import MEASURED_HOPS, Latency
from pulse.market.intervals import iso_time
from pulse.market.types import State
from pulse.market.view import StreamReport
from pulse.settings import Settings
from pulse.store.contract import Store
from pulse.symbols import SymbolRegistry
from pulse.web.access import METRICS_PATH, Role, role_of
from pulse.web.admission import Admission
from pulse.web.api.operations import answer, get, problems
from pulse.web.api.schemas import BOOLEAN, INTEGER, NUMBER, STRING, Json, Schemas, array, object_of, or_null
from pulse.web.context import WebContext
from pulse.web.hosts import HEALTH_PATH
from pulse.web.routing import NO_STORE, json_response, limited
from pulse.web.websocket import WebSocketSessions

SPOOL_TROUBLE = "the spool file cannot be used: closed candles that wait for the store do not outlive the process"
HISTORY_TROUBLE = "the recorded past of the books cannot be written: only its newest part is kept, in memory"
STATE_FILE_TROUBLE = "the state file cannot be written: bans by the exchange would be forgotten at a restart"


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """The object of /readyz: the pinned symbols' books, the bus and the store decide.

    Other symbols are only listed, and so are instruments that are not known, and a wrong clock: books and candles go by
    the exchange's time. `instruments` returns why they are not known, empty where they are. A silent stream beside the
    book's own makes the process degraded, not unready: what is shown is true and says what is missing. So does a file
    that cannot be written; `state_file` returns why that of bans cannot, empty where it can. `states` returns what the
    engine, or the report of another process, says of each symbol.
    """

    registry: SymbolRegistry
    states: Callable[[], Mapping[str, Mapping[str, Any]]]
    bus: Bus
    store: Store
    writer: CandleWriter
    offset: ClockOffset
    instruments: Callable[[], str]
    state_file: Callable[[], str]
    history: Callable[[], Mapping[str, Any]]

    def __call__(self) -> dict[str, Any]:
        """Return the current state."""
        feeds, bus, trouble = self.states(), self.bus.health(), self.writer.trouble
        clock, instruments = self.offset.trouble(), self.instruments()
        are_books_ready = all(State(feeds[symbol]["state"]) in GOOD_STATES for symbol in self.registry.pinned)
        return {
            "ready": are_books_ready and bus.ok and not trouble,
            "degraded": [
                f"the {stream.kind} stream of {symbol} is silent: {stream.reason}"
                for symbol in self.registry.pinned
                for stream in feeds[symbol]["streams"]
                if stream.reason
            ] + self._file_troubles(),
            "feeds": feeds,
            "bus": {"kind": bus.kind, "ok": bus.ok, "detail": bus.detail, "since_ms": _ms(bus.since_s)},
            "store": {
                "kind": self.store.kind, "ok": not trouble, "detail": trouble, "pending": self.writer.pending,
                "since_ms": _ms(self.writer.trouble_since_s),
            },
            "clock": {"ok": not clock, "since_ms": _whole(self.offset.wrong_since_ms), "detail": clock},
            "instruments": {"ok": not instruments, "detail": instruments},
            "history": self.history(),
            "versions": dict(machine.versions()),
        }  # fmt: skip

    def _file_troubles(self) -> list[str]:
        """Return a text for each file that cannot be written, without its path, which is in the log."""
        troubles = {
            SPOOL_TROUBLE: self.writer.spool_trouble,
            STATE_FILE_TROUBLE: self.state_file(),
            HISTORY_TROUBLE: not self.history()["ok"],
        }
        return [text for text, trouble in troubles.items() if trouble]


def _ms(time_s: float | None) -> int | None:
    return None if time_s is None else int(time_s * 1000)


def _whole(time_ms: float | None) -> int | None:
    return None if time_ms is None else int(time_ms)


PUBLIC_DETAILS = {
    "bus": "Views do not travel through the bus server since {since}; they stay within this process.",
    "store": "Closed candles cannot be written since {since}; they wait until they can be.",
    "history": "The recorded past of the books cannot be written since {since}; its newest part is kept in memory.",
}
"""What others than the operator are told: the true texts name hosts, paths, roles and databases."""


def public_part(name: str, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the bus, the store or the recorded past without what is for the operator alone."""
    if part["ok"]:
        return part
    since_ms = part["since_ms"]
    since = "the start" if since_ms is None else iso_time(since_ms // 1000 * 1000)
    return {**part, "detail": PUBLIC_DETAILS[name].format(since=since)}


def _readiness_for(context: WebContext, request: Request) -> Mapping[str, Any]:
    report = context.readiness()
    if role_of(request) is Role.OPERATOR:
        return report
    public = {name: public_part(name, report[name]) for name in PUBLIC_DETAILS if name in report}
    return {**report, **public, "versions": {}}


def register_gauges(
    settings: Settings,
    admission: Admission,
    sessions: WebSocketSessions,
    hub: Hub,
    latency: Latency,
    readiness: ReadinessReport,
) -> None:
    """Have Prometheus read the counts and states that the parts keep themselves."""
    stats.clients_open.set_function(lambda: admission.count)
    stats.clients_limit.set(settings.clients_max)
    stats.clients_refused.read(lambda: admission.refused)
    stats.clients_cut.read(lambda: sessions.timed_out)
    stats.client_messages_replaced.read(lambda: sessions.replaced)
    stats.hub_dropped.read(lambda: hub.dropped)
    stats.tasks.set_function(lambda: len(asyncio.all_tasks()))
    for hop in MEASURED_HOPS:
        stats.latency.read(partial(latency.since_start, hop.name), hop.name)
        stats.latency_budget.labels(hop.name).set(hop.budget_ms / 1000)
    stats.clock_offset.set_function(lambda: latency.offset.value_ms() / 1000)
    stats.clock_is_right.set_function(lambda: not readiness.offset.trouble())
    stats.store_is_up.set_function(lambda: not readiness.writer.trouble)
    stats.is_ready.set_function(lambda: readiness()["ready"])
    stats.memory_limit.set_function(lambda: machine.memory_limit_bytes() or nan)
    stats.build.info(dict(machine.versions()))


def routes(context: WebContext) -> list[BaseRoute]:
    """Return this group's routes. /healthz has no rate limit: platforms ask it every second."""
    middleware = limited(context.admission)
    return [
        Route(HEALTH_PATH, _healthz),
        Route("/readyz", partial(_readyz, context), middleware=middleware),
        Route("/api/store", partial(_store, context), middleware=middleware),
        Route("/api/latency", partial(_latency, context), middleware=middleware),
        Route(METRICS_PATH, _metrics, middleware=middleware),
    ]


def process_routes(context: WebContext) -> list[BaseRoute]:
    """Return the routes of the operator's own listener, which has no rate limit."""
    return [
        Route(HEALTH_PATH, _healthz),
        Route("/readyz", partial(_readyz, context)),
        Route(METRICS_PATH, _metrics),
    ]


async def _healthz(_: Request) -> Response:
    """Answer whatever the state of the parts: a platform restarts a process that it finds unhealthy."""
    return json_response(b'{"status":"ok"}')


async def _readyz(context: WebContext, request: Request) -> Response:
    """Return whether what is served can be trusted, under a status that a load balancer understands."""
    report = _readiness_for(context, request)
    return json_response(orjson.dumps(report), HTTPStatus.OK if report["ready"] else HTTPStatus.SERVICE_UNAVAILABLE)


async def _store(context: WebContext, request: Request) -> Response:
    """Return whether closed candles reach the store, with a status that a browser does not log as an error."""
    return json_response(orjson.dumps(_readiness_for(context, request)["store"]))


async def _latency(context: WebContext, _: Request) -> Response:
    return json_response(orjson.dumps(context.latency()))


async def _metrics(_: Request) -> Response:
    return Response(generate_latest(), headers={**NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})


def paths(schemas: Schemas, _: Sequence[str]) -> Json:
    """Return this group's part of the OpenAPI document."""
    since = or_null(INTEGER)
    state = object_of({
        "state": STRING, "since_ms": since, "reason": STRING, "data_age_ms": or_null(NUMBER),
        "streams": array(schemas.of(StreamReport)),
    })  # fmt: skip
    bus = object_of({"kind": STRING, "ok": BOOLEAN, "detail": STRING, "since_ms": since})
    store = schemas.named(
        "Store",
        object_of({"kind": STRING, "ok": BOOLEAN, "detail": STRING, "pending": INTEGER, "since_ms": since}),
    )
    feeds = {"type": "object", "additionalProperties": state}
    clock = object_of({"ok": BOOLEAN, "since_ms": since, "detail": STRING})
    instruments = object_of({"ok": BOOLEAN, "detail": STRING})
    kinds = {"enum": ["disk", "memory", "off"]}
    history = object_of({"kind": kinds, "ok": BOOLEAN, "since_ms": since, "detail": STRING, "bytes": INTEGER})
    readiness = schemas.named("Readiness", object_of({
        "ready": BOOLEAN, "degraded": array(STRING), "feeds": feeds, "bus": bus, "store": store, "clock": clock,
        "instruments": instruments, "history": history, "versions": {"type": "object", "additionalProperties": STRING},
    }))  # fmt: skip
    hop = schemas.named("Hop", object_of({
        "hop": STRING, "meaning": STRING, "count": INTEGER, "p50_ms": or_null(NUMBER), "p99_ms": or_null(NUMBER),
        "budget_ms": NUMBER,
    }))  # fmt: skip
    latency = object_of({
        "hops": array(hop), "over_budget": array(STRING), "clock_offset_ms": or_null(NUMBER),
        "clock_error_ms": or_null(NUMBER),
    })  # fmt: skip
    return {
        "/healthz": get(
            "Whether the process answers.", {"200": answer("It does.", object_of({"status": {"const": "ok"}}))}
        ),
        "/readyz": get(
            "Whether what is served can be trusted.",
            {"200": answer("It can.", readiness), "503": answer("Not all of it.", readiness)},
        ),
        "/api/store": get("Whether closed candles reach the store.", {"200": answer("The store's state.", store)}),
        "/api/latency": get("How long each hop takes.", {"200": answer("The latency report.", latency)}),
        METRICS_PATH: get(
            "Counters and gauges, for the operator.",
            {"200": answer("For Prometheus.", STRING, "text/plain")}
            | problems(schemas, {403: "The client is not the operator."}),
        ),
    }
