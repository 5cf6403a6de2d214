"""Every kind of fault, as a coroutine on the fault context that returns when the fault is over.

`FAULTS` has them by name; `schedule` decides when they run, `bounds` what they excuse.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from pulse.binance.messages import Frame, parse
from pulse.binance.refusals import FORBIDDEN_FIRST_S, REFUSED_WAIT_S
from pulse.binance.transport import CONNECT_TIMEOUT_S
from pulse.market.plausibility import CONFIRMED_BY
from pulse.simulator.faults import SentFrame, cross_depth
from pulse.simulator.instruments import STATUS_BREAK, STATUS_TRADING
from pulse.simulator.payloads import JsonObject
from tests.simulation.context import POLL_S, FaultContext
from tests.simulation.falsehoods import FALSE_ANSWERS, FALSEHOODS
from tests.simulation.mutes import mute
from tests.simulation.virtual_exchange import VirtualStream

DEPTH_PATH = "/api/v3/depth"
SUFFIXES = ("@depth@100ms", "@depth@100ms", "@bookTicker", "@aggTrade", "@kline_1m", "@depth20")
STATUS_LATE_S = 60.0
"""How late a status is noticed: statuses are polled."""

Fault = Callable[[FaultContext], Awaitable[None]]


# --- frames


def _pick_stream(context: FaultContext) -> str:
    name = context.symbol().lower() + context.rng.choice(SUFFIXES)
    if name.endswith("@bookTicker"):
        context.bounds.note_ticker_fault(context.checker.now_s)
    return name


def _frame_fault(act: Callable[[Any, str, FaultContext, int], None]) -> Fault:
    async def run_fault(context: FaultContext) -> None:
        name, count = _pick_stream(context), context.rng.choice([1, 1, 2, 5])
        for stream in tuple(context.exchange.streams):
            act(stream.faults, name, context, count)
        await context.wait_for_frames(name, count + 2)

    return run_fault


async def _delay(context: FaultContext) -> None:
    name, by_ms = _pick_stream(context), context.rng.randint(150, 5000)
    for stream in tuple(context.exchange.streams):
        stream.faults.delay(name, by_ms, context.rng.choice([1, 3]))
    await context.wait_for_frames(name, 4)
    await asyncio.sleep(by_ms / 1000)


async def _corrupt(context: FaultContext) -> None:
    name = _pick_stream(context)
    what = context.rng.randrange(2)
    for stream in tuple(context.exchange.streams):
        stream.faults.edit(name, lambda data: _falsified(context, name, data, what))
    await context.wait_for_frames(name, 2)


async def _swap_sides(context: FaultContext) -> None:
    symbol = context.symbol()
    name = f"{symbol.lower()}@depth@100ms"

    def change(data: JsonObject) -> JsonObject:
        context.bounds.note_falsified(symbol, data["u"], context.checker.now_s)
        return data | {"b": data["a"], "a": data["b"]}

    for stream in tuple(context.exchange.streams):
        stream.faults.edit(name, change)
    await context.wait_for_frames(name, 2)


async def _false_id(context: FaultContext) -> None:
    """Send a diff that claims a final id beyond its true one."""
    symbol = context.symbol()
    name, further = f"{symbol.lower()}@depth@100ms", context.rng.choice([1, 3, 1000, 10**9])

    def change(data: JsonObject) -> JsonObject:
        context.bounds.note_falsified(symbol, data["u"] + further, context.checker.now_s)
        return data | {"u": data["u"] + further}

    for stream in tuple(context.exchange.streams):
        stream.faults.edit(name, change)
    await context.wait_for_frames(name, 3)


def _falsified(context: FaultContext, name: str, data: JsonObject, what: int) -> JsonObject:
    """Return the data with one number falsified: `what` 0 a price, 1 a quantity."""
    symbol = name.partition("@")[0].upper()
    if name.endswith("@depth@100ms"):
        context.bounds.note_falsified(symbol, data["u"], context.checker.now_s)
        side = context.rng.choice([s for s in ("b", "a") if data[s]])
        levels = [list(level) for level in data[side]]
        level = context.rng.choice(levels)
        level[what] = _wrong_number(context.rng, level[what])
        return data | {side: levels}
    if name.endswith("@bookTicker"):
        context.bounds.note_ticker_fault(context.checker.now_s)
        key = context.rng.choice(["ba", "BA"][what])
        return data | {key: _wrong_number(context.rng, data[key])}
    if name.endswith("@depth20"):
        side = context.rng.choice(["bids", "asks"])
        (price, quantity), *rest = data[side]
        return data | {side: [[price, _wrong_number(context.rng, quantity)], *rest]}
    if name.endswith("@aggTrade"):
        context.bounds.falsified_minutes.add((symbol, data["T"] - data["T"] % 60_000))
        key = "pq"[what]
        return data | {key: _wrong_number(context.rng, data[key])}
    key = "cv"[what]
    return data | {"k": data["k"] | {key: _wrong_number(context.rng, data["k"][key])}}


async def _falsehood(context: FaultContext) -> None:
    """Send frames whose values cannot be true, fewer in a row than confirm a change."""
    symbol = context.symbol()
    suffix = context.rng.choice(tuple(FALSEHOODS))
    name, falsehood = symbol.lower() + suffix, context.rng.choice(FALSEHOODS[suffix])
    while name in context.falsified_streams:
        await asyncio.sleep(POLL_S)  # together two would confirm each other
    context.falsified_streams.add(name)
    count = context.rng.randint(1, CONFIRMED_BY - 1)

    def change(data: JsonObject) -> JsonObject:
        changed = falsehood.falsify(data, context.rng)
        if suffix == "@bookTicker":
            context.bounds.note_ticker_fault(context.checker.now_s)
        frame = parse(orjson.dumps({"stream": name, "data": changed}))
        may_be_applied = falsehood.is_possible or (falsehood.needs_neighbour and not context.checker.has_frames(symbol))
        if changed != data and not may_be_applied and isinstance(frame, Frame):
            context.bounds.impossible.append((symbol, frame.event))
        return changed

    for stream in tuple(context.exchange.streams):
        stream.faults.edit(name, change, count)
    await context.wait_for_frames(name, count + 1)
    context.falsified_streams.discard(name)


def _wrong_number(rng: random.Random, text: str) -> str:
    """Return another number: a tick away, slightly away, or far away."""
    cents = max(1, round(float(text) * 100))
    return f"{(cents + rng.choice([1, 2, 10, cents // 100 + 1, cents])) / 100:.8f}"


# --- streams and connections


async def _stall(context: FaultContext, names: list[str]) -> None:
    """Mute these streams while pings go on, until a time, a new subscription or a new connection ends it."""
    rng, exchange = context.rng, context.exchange
    ends = rng.choice(["itself", "subscribing", "connection"])
    streams = tuple(exchange.streams)
    for stream in streams:
        stream.faults.mute(*names)
        stream.unmuted_by_subscribing = tuple(names) if ends == "subscribing" else ()
    exchange.is_muted = len(names) > 1 or names == ["*"]
    if any(name.endswith(("@bookTicker", "*")) for name in names):
        context.bounds.note_ticker_fault(context.checker.now_s + 100)
    await asyncio.sleep(rng.uniform(2, 90) if ends != "connection" else 95)
    for stream in streams:
        stream.unmuted_by_subscribing = ()
        # A stream whose absence does no harm may stay silent.
        stream.faults.unmute(*names)
    exchange.is_muted = False
    await context.wait_for_frames(context.exchange.symbols[0].lower() + "@depth@100ms", 2)


async def _stall_one(context: FaultContext) -> None:
    await _stall(context, [context.symbol().lower() + context.rng.choice(SUFFIXES)])


async def _stall_all(context: FaultContext) -> None:
    if context.rng.random() < 0.5:
        await _stall(context, ["*"])
        return
    names = ("@depth@100ms", "@bookTicker", "@aggTrade", "@kline_1m")  # all that the checks need, except depth20
    await _stall(context, [f"{symbol.lower()}{name}" for symbol in context.exchange.symbols for name in names])


async def _hiccup(context: FaultContext) -> None:
    """Drop everything for some seconds around a minute's end, where candles close."""
    rng, exchange = context.rng, context.exchange
    await asyncio.sleep((60_000 - exchange.now_ms() % 60_000) / 1000 + rng.uniform(55, 60))
    context.bounds.note_ticker_fault(context.checker.now_s + 10)
    streams = tuple(exchange.streams)
    exchange.is_muted = True
    for stream in streams:
        stream.faults.mute("*")
    await asyncio.sleep(rng.uniform(0.5, 7))
    for stream in streams:
        stream.faults.unmute("*")
    exchange.is_muted = False
    await context.wait_for_frames(exchange.symbols[0].lower() + "@depth@100ms", 2)


async def _half_open(context: FaultContext) -> None:
    """Freeze the peer without a FIN, until the client gives up the connection."""
    frozen = set(context.exchange.streams)
    for stream in frozen:
        stream.freeze()
    while frozen & context.exchange.streams.keys():
        await asyncio.sleep(POLL_S)


async def _cut(context: FaultContext) -> None:
    is_reset = context.rng.random() < 0.5
    for stream in tuple(context.exchange.streams):
        stream.end("the connection was cut", is_reset)


async def _refuse(context: FaultContext) -> None:
    context.exchange.refuse = context.rng.choice([0, 503, 429])
    await _cut(context)
    await asyncio.sleep(context.rng.uniform(2, 120))
    was_mute, context.exchange.refuse = context.exchange.refuse == 0, None
    await asyncio.sleep(CONNECT_TIMEOUT_S if was_mute else 0)  # a handshake already started stays unanswered


async def _shutdown(context: FaultContext) -> None:
    """Announce a shutdown, half the time to the connections that follow too, then disconnect some time later."""
    streams = _announce_shutdown(context)
    context.bounds.end("shutdown", context.checker.now_s)  # it must pass unnoticed, so nothing is excused
    rotation_s = 40.0
    if context.rng.random() < 0.5:
        await asyncio.sleep(context.rng.uniform(0.2, 2.5))  # most successors are open then, and wait to take over
        streams |= _announce_shutdown(context)
        rotation_s *= 2
    await asyncio.sleep(context.rng.uniform(rotation_s, 300))
    for stream in streams:
        stream.end("the exchange closed the connection")
    await asyncio.sleep(1.0)  # an outage begins after the end, and is not excused
    context.bounds.begin("shutdown", context.checker.now_s)


def _announce_shutdown(context: FaultContext) -> dict[VirtualStream, None]:
    """Announce the end of every open connection; return them, in order."""
    now_ms = context.exchange.now_ms()
    for stream in context.exchange.streams:
        stream.push(SentFrame("!serverShutdown", {"e": "serverShutdown", "E": now_ms}, now_ms))
    return dict(context.exchange.streams)


# --- REST


async def _stale_snapshot(context: FaultContext) -> None:
    context.exchange.depth_lag_ms = context.rng.randint(500, 20_000)
    await context.drop_diff(context.symbol())
    await asyncio.sleep(context.rng.uniform(5, 40))
    context.exchange.depth_lag_ms = 0


async def _crossed_snapshot(context: FaultContext) -> None:
    context.exchange.rest_faults.edit(DEPTH_PATH, cross_depth, count=context.rng.choice([1, 3, 1000]))
    await context.drop_diff(context.symbol())
    await asyncio.sleep(context.rng.uniform(20, 90))
    context.exchange.rest_faults.clear()


async def _false_snapshot(context: FaultContext) -> None:
    """Serve a snapshot in which some levels are wrong."""
    symbol = context.exchange.symbols[0]

    def change(body: JsonObject) -> JsonObject:
        context.bounds.note_falsified(symbol, body["lastUpdateId"], context.checker.now_s)
        levels = [list(level) for level in body["bids"]]
        for level in context.rng.sample(levels, 3):
            level[1] = _wrong_number(context.rng, level[1])
        return body | {"bids": levels}

    context.exchange.rest_faults.edit(DEPTH_PATH, change, count=1)
    if context.rng.random() < 0.5:
        await context.drop_diff(symbol)
    else:
        context.process.streams[symbol].request_snapshot("requested by the fault schedule")
    await asyncio.sleep(10)
    context.exchange.rest_faults.clear()


async def _false_answer(context: FaultContext) -> None:
    """Answer calls of one path with what cannot be true, fewer in a row than confirm a change."""
    path = context.rng.choice(tuple(FALSE_ANSWERS))
    falsify = context.rng.choice(FALSE_ANSWERS[path])
    count = context.rng.randint(1, CONFIRMED_BY - 1)
    context.exchange.rest_faults.edit(path, lambda body: falsify(body, context.rng), count=count)
    symbol = context.symbol()
    if path == "/api/v3/aggTrades":
        for stream in tuple(context.exchange.streams):
            stream.faults.drop(symbol.lower() + "@aggTrade")
    elif context.rng.random() < 0.5:
        await context.drop_diff(symbol)
    await asyncio.sleep(60)  # until some request was made
    context.exchange.rest_faults.clear()


async def _same_id(context: FaultContext) -> None:
    """Give two trades one aggregate id, as the exchange has done."""
    context.bounds.end("same_id", context.checker.now_s)  # it must pass unnoticed, so nothing is excused
    context.exchange.same_ids += context.rng.choice([1, 5])
    await asyncio.sleep(60)
    context.bounds.begin("same_id", context.checker.now_s)


async def _ban(context: FaultContext) -> None:
    retry_after_s = context.rng.choice([1, 5, 30, 120, 300])
    context.exchange.rest_faults.answer("/api/*", context.rng.choice([429, 418]), retry_after_s=retry_after_s, count=1)
    context.bounds.note_audit_outage(retry_after_s)
    if context.rng.random() < 0.7:
        await context.drop_diff(context.symbol())
    await asyncio.sleep(60)  # until some request was made
    if context.rng.random() < 0.4:
        await _restart(context)
    context.exchange.rest_faults.clear()


async def _forbid(context: FaultContext) -> None:
    """Refuse one request as a firewall does; every other request, and every other symbol, goes on."""
    path = context.rng.choice([DEPTH_PATH, "/api/v3/aggTrades", "/api/v3/klines"])
    context.exchange.rest_faults.answer(path, 403, count=1)
    context.bounds.note_audit_outage(FORBIDDEN_FIRST_S)
    if context.rng.random() < 0.7:
        await context.drop_diff(context.symbol())
    await asyncio.sleep(60)  # until some request was made
    context.exchange.rest_faults.clear()


async def _refuse_region(context: FaultContext) -> None:
    """Refuse the address (451), at one REST call or at the handshakes of a while; then nothing is asked for minutes."""
    context.bounds.note_audit_outage(REFUSED_WAIT_S)
    if context.rng.random() < 0.5:
        context.exchange.rest_faults.answer("/api/*", 451, count=1)
        if context.rng.random() < 0.7:
            await context.drop_diff(context.symbol())
        await asyncio.sleep(60)  # until some request was made
        context.exchange.rest_faults.clear()
        return
    context.exchange.refuse = 451
    await _cut(context)
    await asyncio.sleep(context.rng.uniform(2, 120))
    context.exchange.refuse = None


async def _rest_down(context: FaultContext) -> None:
    rng, faults, seconds = context.rng, context.exchange.rest_faults, context.rng.uniform(2, 90)
    context.bounds.note_audit_outage(seconds + 30)
    trouble = rng.randrange(3)
    if trouble == 0:
        faults.answer("/api/*", 500)
    elif trouble == 1:
        faults.html("/api/*")
    else:
        faults.hang("/api/*", 30.0)
    await context.drop_diff(context.symbol())
    await asyncio.sleep(seconds)
    faults.clear()
    await asyncio.sleep(12 if trouble == 2 else 0)


async def _ghosts(context: FaultContext) -> None:
    """Never remove levels beyond the reach of every snapshot, from here to the end."""
    context.exchange.has_ghost_levels = True


# --- the process and the market


async def _restart(context: FaultContext) -> None:
    if not context.process.is_stopped:
        await context.restart(context.rng.uniform(0.1, 3.0))


async def _kill(context: FaultContext) -> None:
    """Stop the process for minutes; what happened meanwhile is not delivered."""
    if not context.process.is_stopped:
        await context.restart(context.rng.uniform(3.0, 300.0))


async def _swap_store(context: FaultContext) -> None:
    """Delete the file of the candles under the running process, or put an empty one in its place."""
    context.bounds.end("swap_store", context.checker.now_s)  # it must not disturb the book, so nothing is excused
    if not context.process.is_stopped:
        context.process.swap_store(leaves_file=context.rng.random() < 0.5)
    # What was stored is fetched again when the next minute has ended.
    context.exchange.klines_failed_s = asyncio.get_running_loop().time()
    await asyncio.sleep(120)
    context.bounds.begin("swap_store", context.checker.now_s)


async def _clock_jump(context: FaultContext) -> None:
    before_s = context.clock.jump_s
    context.clock.jump_s = context.rng.choice([-1, 1]) * context.rng.uniform(5, 7200)
    context.bounds.end("clock_jump", context.checker.now_s)  # it must pass unnoticed, so nothing is excused
    await asyncio.sleep(context.rng.uniform(60, 600))
    context.clock.jump_s = before_s
    context.bounds.begin("clock_jump", context.checker.now_s)


async def _drift(context: FaultContext) -> None:
    """Move the price by a tenth up or down, through every known range."""
    symbol, sign = context.symbol(), context.rng.choice([-1, 1])
    context.bounds.end("drift", context.checker.now_s)  # it must pass unnoticed, so nothing is excused
    for _ in range(40):
        context.exchange.core.shift_value(symbol, sign * 0.0025)
        await asyncio.sleep(context.rng.uniform(2, 15))
    context.bounds.begin("drift", context.checker.now_s)


async def _halt(context: FaultContext) -> None:
    """Suspend trading; the statuses of the break and of its end are delivered some time after.

    Some halts are over before a status is asked for. In others orders cross meanwhile, as where nothing is matched:
    every snapshot is of crossed prices.
    """
    symbol, rng = context.symbol(), context.rng
    context.exchange.core.set_status(symbol, STATUS_BREAK)
    if rng.random() < 0.3:
        await asyncio.sleep(rng.uniform(5, 2 * STATUS_LATE_S))
        context.exchange.core.set_status(symbol, STATUS_TRADING)
        await context.wait_for_frames(f"{symbol.lower()}@depth@100ms", 2)
        return
    crosses = rng.random() < 0.3
    if crosses:
        context.exchange.rest_faults.edit(DEPTH_PATH, cross_depth, count=1000)
        context.process.streams[symbol].request_snapshot("requested by the fault schedule")
    await asyncio.sleep(rng.uniform(0, STATUS_LATE_S))
    await context.report_status(symbol, STATUS_BREAK)
    await asyncio.sleep(rng.uniform(5, 400))
    is_told_first = rng.random() < 0.5
    if is_told_first:
        await context.report_status(symbol, STATUS_TRADING)
        await asyncio.sleep(rng.uniform(0, 150))
    context.exchange.core.set_status(symbol, STATUS_TRADING)
    if crosses:
        context.exchange.rest_faults.clear()
    if not is_told_first:
        await asyncio.sleep(rng.uniform(0, STATUS_LATE_S))
        await context.report_status(symbol, STATUS_TRADING)
    await context.wait_for_frames(f"{symbol.lower()}@depth@100ms", 2)


FAULTS: dict[str, Fault] = {
    "drop": _frame_fault(lambda faults, name, context, count: faults.drop(name, count)),
    "duplicate": _frame_fault(lambda faults, name, context, count: faults.duplicate(name, count)),
    "reorder": _frame_fault(lambda faults, name, context, count: faults.swap(name, count)),
    "garble": _frame_fault(lambda faults, name, context, count: faults.edit(name, lambda _: "{broken", count)),
    "delay": _delay,
    "corrupt": _corrupt,
    "swap_sides": _swap_sides,
    "false_id": _false_id,
    "falsehood": _falsehood,
    "stall_one": _stall_one,
    "stall_all": _stall_all,
    "mute": mute,
    "hiccup": _hiccup,
    "half_open": _half_open,
    "stale_snapshot": _stale_snapshot,
    "crossed_snapshot": _crossed_snapshot,
    "false_snapshot": _false_snapshot,
    "ghosts": _ghosts,
    "cut": _cut,
    "refuse": _refuse,
    "rest_down": _rest_down,
    "false_answer": _false_answer,
    "same_id": _same_id,
    "ban": _ban,
    "forbid": _forbid,
    "refuse_region": _refuse_region,
    "swap_store": _swap_store,
    "clock_jump": _clock_jump,
    "drift": _drift,
    "halt": _halt,
    "shutdown": _shutdown,
    "restart": _restart,
    "kill": _kill,
}
