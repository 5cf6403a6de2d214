"""What can go wrong: each fault as a small play on the world, which returns when the fault is over.

`PLAYS` has them by name; when they are played is the script's affair, what they excuse `bounds`'.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from pulse.binance.transport import CONNECT_TIMEOUT_S
from pulse.simulator.faults import SentFrame, cross_depth
from pulse.simulator.instruments import STATUS_BREAK, STATUS_TRADING
from pulse.simulator.payloads import JsonObject
from tests.simulation.stage import POLL_S, Stage

DEPTH_PATH = "/api/v3/depth"
SUFFIXES = ("@depth@100ms", "@depth@100ms", "@bookTicker", "@aggTrade", "@kline_1m", "@depth20")

Play = Callable[[Stage], Awaitable[None]]


# --- frames


def _a_stream(stage: Stage) -> str:
    name = stage.symbol().lower() + stage.rng.choice(SUFFIXES)
    if name.endswith("@bookTicker"):
        stage.bounds.note_ticker_fault(stage.checker.now_s)
    return name


def _frame_fault(act: Callable[[Any, str, Stage, int], None]) -> Play:
    async def play(stage: Stage) -> None:
        name, count = _a_stream(stage), stage.rng.choice([1, 1, 2, 5])
        for stream in tuple(stage.world.streams):
            act(stream.faults, name, stage, count)
        await stage.frames(name, count + 2)

    return play


async def _delay(stage: Stage) -> None:
    name, by_ms = _a_stream(stage), stage.rng.randint(150, 5000)
    for stream in tuple(stage.world.streams):
        stream.faults.delay(name, by_ms, stage.rng.choice([1, 3]))
    await stage.frames(name, 4)
    await asyncio.sleep(by_ms / 1000)


async def _corrupt(stage: Stage) -> None:
    name = _a_stream(stage)
    what = stage.rng.randrange(2)
    for stream in tuple(stage.world.streams):
        stream.faults.edit(name, lambda data: _falsified(stage, name, data, what))
    await stage.frames(name, 2)


async def _swap_sides(stage: Stage) -> None:
    symbol = stage.symbol()
    name = f"{symbol.lower()}@depth@100ms"

    def change(data: JsonObject) -> JsonObject:
        stage.bounds.lie(symbol, data["u"], stage.checker.now_s)
        return data | {"b": data["a"], "a": data["b"]}

    for stream in tuple(stage.world.streams):
        stream.faults.edit(name, change)
    await stage.frames(name, 2)


async def _false_id(stage: Stage) -> None:
    """A diff claims to reach further than it does."""
    symbol = stage.symbol()
    name, further = f"{symbol.lower()}@depth@100ms", stage.rng.choice([1, 3, 1000, 10**9])

    def change(data: JsonObject) -> JsonObject:
        stage.bounds.lie(symbol, data["u"] + further, stage.checker.now_s)
        return data | {"u": data["u"] + further}

    for stream in tuple(stage.world.streams):
        stream.faults.edit(name, change)
    await stage.frames(name, 3)


def _falsified(stage: Stage, name: str, data: JsonObject, what: int) -> JsonObject:
    """One number made wrong: `what` 0 a price, 1 a quantity."""
    symbol = name.partition("@")[0].upper()
    if name.endswith("@depth@100ms"):
        stage.bounds.lie(symbol, data["u"], stage.checker.now_s)
        side = stage.rng.choice([s for s in ("b", "a") if data[s]])
        levels = [list(level) for level in data[side]]
        level = stage.rng.choice(levels)
        level[what] = _wrong(stage.rng, level[what])
        return data | {side: levels}
    if name.endswith("@bookTicker"):
        stage.bounds.note_ticker_fault(stage.checker.now_s)
        key = stage.rng.choice(["ba", "BA"][what])
        return data | {key: _wrong(stage.rng, data[key])}
    if name.endswith("@depth20"):
        side = stage.rng.choice(["bids", "asks"])
        (price, quantity), *rest = data[side]
        return data | {side: [[price, _wrong(stage.rng, quantity)], *rest]}
    if name.endswith("@aggTrade"):
        stage.bounds.spoiled_minutes.add((symbol, data["T"] - data["T"] % 60_000))
        key = "pq"[what]
        return data | {key: _wrong(stage.rng, data[key])}
    key = "cv"[what]
    return data | {"k": data["k"] | {key: _wrong(stage.rng, data["k"][key])}}


def _wrong(rng: random.Random, text: str) -> str:
    """Another number: a tick away, a little away, or far away."""
    cents = max(1, round(float(text) * 100))
    return f"{(cents + rng.choice([1, 2, 10, cents // 100 + 1, cents])) / 100:.8f}"


# --- streams and connections


async def _stall(stage: Stage, names: list[str]) -> None:
    """These streams fall silent; pings go on. It ends by itself, by subscribing again, or with the connection."""
    rng, world = stage.rng, stage.world
    ends = rng.choice(["itself", "subscribing", "connection"])
    streams = tuple(world.streams)
    for stream in streams:
        stream.faults.mute(*names)
        stream.cures = tuple(names) if ends == "subscribing" else ()
    world.is_silent = len(names) > 1 or names == ["*"]
    if any(name.endswith(("@bookTicker", "*")) for name in names):
        stage.bounds.note_ticker_fault(stage.checker.now_s + 100)
    await asyncio.sleep(rng.uniform(2, 90) if ends != "connection" else 95)
    for stream in streams:
        stream.cures = ()
        # A stream that nothing misses is allowed to be silent for ever.
        stream.faults.unmute(*names)
    world.is_silent = False
    await stage.frames(stage.world.symbols[0].lower() + "@depth@100ms", 2)


async def _stall_one(stage: Stage) -> None:
    await _stall(stage, [stage.symbol().lower() + stage.rng.choice(SUFFIXES)])


async def _stall_all(stage: Stage) -> None:
    if stage.rng.random() < 0.5:
        await _stall(stage, ["*"])
        return
    names = ("@depth@100ms", "@bookTicker", "@aggTrade", "@kline_1m")  # all that was ever needed, but for the last
    await _stall(stage, [f"{symbol.lower()}{name}" for symbol in stage.world.symbols for name in names])


async def _hiccup(stage: Stage) -> None:
    """Everything is lost for some seconds around a minute's end, where candles close."""
    rng, world = stage.rng, stage.world
    await asyncio.sleep((60_000 - world.now_ms() % 60_000) / 1000 + rng.uniform(55, 60))
    stage.bounds.note_ticker_fault(stage.checker.now_s + 10)
    streams = tuple(world.streams)
    world.is_silent = True
    for stream in streams:
        stream.faults.mute("*")
    await asyncio.sleep(rng.uniform(0.5, 7))
    for stream in streams:
        stream.faults.unmute("*")
    world.is_silent = False
    await stage.frames(world.symbols[0].lower() + "@depth@100ms", 2)


async def _half_open(stage: Stage) -> None:
    """The peer is gone and says nothing of it, until we give it up."""
    frozen = set(stage.world.streams)
    for stream in frozen:
        stream.freeze()
    while frozen & stage.world.streams.keys():
        await asyncio.sleep(POLL_S)


async def _cut(stage: Stage) -> None:
    is_reset = stage.rng.random() < 0.5
    for stream in tuple(stage.world.streams):
        stream.end("the connection was cut", is_reset)


async def _refuse(stage: Stage) -> None:
    stage.world.refuse = stage.rng.choice([0, 503, 429])
    await _cut(stage)
    await asyncio.sleep(stage.rng.uniform(2, 120))
    was_mute, stage.world.refuse = stage.world.refuse == 0, None
    await asyncio.sleep(CONNECT_TIMEOUT_S if was_mute else 0)  # a handshake that was begun stays unanswered


async def _shutdown(stage: Stage) -> None:
    """Announced, then cut a while later."""
    streams = tuple(stage.world.streams)
    now_ms = stage.world.now_ms()
    for stream in streams:
        stream.push(SentFrame("!serverShutdown", {"e": "serverShutdown", "E": now_ms}, now_ms))
    stage.bounds.end("shutdown", stage.checker.now_s)  # nobody may notice, so nothing is excused
    await asyncio.sleep(stage.rng.uniform(40, 300))
    for stream in streams:
        stream.end("the exchange closed the connection")
    stage.bounds.begin("shutdown", stage.checker.now_s)


# --- REST


async def _stale_snapshot(stage: Stage) -> None:
    stage.world.depth_lag_ms = stage.rng.randint(500, 20_000)
    await stage.lose_a_diff(stage.symbol())
    await asyncio.sleep(stage.rng.uniform(5, 40))
    stage.world.depth_lag_ms = 0


async def _crossed_snapshot(stage: Stage) -> None:
    stage.world.rest_faults.edit(DEPTH_PATH, cross_depth, count=stage.rng.choice([1, 3, 1000]))
    await stage.lose_a_diff(stage.symbol())
    await asyncio.sleep(stage.rng.uniform(20, 90))
    stage.world.rest_faults.clear()


async def _false_snapshot(stage: Stage) -> None:
    """A snapshot in which some levels are wrong."""
    symbol = stage.world.symbols[0]

    def change(body: JsonObject) -> JsonObject:
        stage.bounds.lie(symbol, body["lastUpdateId"], stage.checker.now_s)
        levels = [list(level) for level in body["bids"]]
        for level in stage.rng.sample(levels, 3):
            level[1] = _wrong(stage.rng, level[1])
        return body | {"bids": levels}

    stage.world.rest_faults.edit(DEPTH_PATH, change, count=1)
    if stage.rng.random() < 0.5:
        await stage.lose_a_diff(symbol)
    else:
        stage.process.feeds[symbol].ask_snapshot("the script's whim")
    await asyncio.sleep(10)
    stage.world.rest_faults.clear()


async def _ban(stage: Stage) -> None:
    retry_after_s = stage.rng.choice([1, 5, 30, 120, 300])
    stage.world.rest_faults.answer("/api/*", stage.rng.choice([429, 418]), retry_after_s=retry_after_s, count=1)
    stage.bounds.note_outage(retry_after_s)
    if stage.rng.random() < 0.7:
        await stage.lose_a_diff(stage.symbol())
    await asyncio.sleep(60)  # until something has asked
    if stage.rng.random() < 0.4:
        await _restart(stage)
    stage.world.rest_faults.clear()


async def _rest_down(stage: Stage) -> None:
    rng, faults, seconds = stage.rng, stage.world.rest_faults, stage.rng.uniform(2, 90)
    stage.bounds.note_outage(seconds + 30)
    trouble = rng.randrange(3)
    if trouble == 0:
        faults.answer("/api/*", 500)
    elif trouble == 1:
        faults.html("/api/*")
    else:
        faults.hang("/api/*", 30.0)
    await stage.lose_a_diff(stage.symbol())
    await asyncio.sleep(seconds)
    faults.clear()
    await asyncio.sleep(12 if trouble == 2 else 0)


async def _ghosts(stage: Stage) -> None:
    """Levels that no snapshot has reached are never removed, from here to the end."""
    stage.world.has_ghosts = True


# --- the machine and the market


async def _restart(stage: Stage) -> None:
    if not stage.process.is_stopped:
        await stage.restart(stage.rng.uniform(0.1, 3.0))


async def _kill(stage: Stage) -> None:
    """The process is away for minutes, and what happened meanwhile nobody has told it."""
    if not stage.process.is_stopped:
        await stage.restart(stage.rng.uniform(3.0, 300.0))


async def _clock_jump(stage: Stage) -> None:
    before_s = stage.clock.jump_s
    stage.clock.jump_s = stage.rng.choice([-1, 1]) * stage.rng.uniform(5, 7200)
    stage.bounds.end("clock_jump", stage.checker.now_s)  # nobody may notice, so nothing is excused
    await asyncio.sleep(stage.rng.uniform(60, 600))
    stage.clock.jump_s = before_s
    stage.bounds.begin("clock_jump", stage.checker.now_s)


async def _drift(stage: Stage) -> None:
    """The price walks a tenth up or down, through every window."""
    symbol, sign = stage.symbol(), stage.rng.choice([-1, 1])
    stage.bounds.end("drift", stage.checker.now_s)  # nobody may notice, so nothing is excused
    for _ in range(40):
        stage.world.exchange.shift_value(symbol, sign * 0.0025)
        await asyncio.sleep(stage.rng.uniform(2, 15))
    stage.bounds.begin("drift", stage.checker.now_s)


async def _halt(stage: Stage) -> None:
    """The exchange suspends trading; that it did, and that it is over, is heard of some time after."""
    symbol, rng = stage.symbol(), stage.rng
    stage.world.exchange.set_status(symbol, STATUS_BREAK)
    await asyncio.sleep(rng.uniform(0, 60))
    await stage.tell_status(symbol, STATUS_BREAK)
    await asyncio.sleep(rng.uniform(5, 400))
    is_told_first = rng.random() < 0.5
    if is_told_first:
        await stage.tell_status(symbol, STATUS_TRADING)
        await asyncio.sleep(rng.uniform(0, 150))
    stage.world.exchange.set_status(symbol, STATUS_TRADING)
    if not is_told_first:
        await asyncio.sleep(rng.uniform(0, 300))
        await stage.tell_status(symbol, STATUS_TRADING)
    await stage.frames(f"{symbol.lower()}@depth@100ms", 2)


PLAYS: dict[str, Play] = {
    "drop": _frame_fault(lambda faults, name, stage, count: faults.drop(name, count)),
    "duplicate": _frame_fault(lambda faults, name, stage, count: faults.duplicate(name, count)),
    "reorder": _frame_fault(lambda faults, name, stage, count: faults.swap(name, count)),
    "garble": _frame_fault(lambda faults, name, stage, count: faults.edit(name, lambda _: "{broken", count)),
    "delay": _delay,
    "corrupt": _corrupt,
    "swap_sides": _swap_sides,
    "false_id": _false_id,
    "stall_one": _stall_one,
    "stall_all": _stall_all,
    "hiccup": _hiccup,
    "half_open": _half_open,
    "stale_snapshot": _stale_snapshot,
    "crossed_snapshot": _crossed_snapshot,
    "false_snapshot": _false_snapshot,
    "ghosts": _ghosts,
    "cut": _cut,
    "refuse": _refuse,
    "rest_down": _rest_down,
    "ban": _ban,
    "clock_jump": _clock_jump,
    "drift": _drift,
    "halt": _halt,
    "shutdown": _shutdown,
    "restart": _restart,
    "kill": _kill,
}
