"""`python -m pulse check`: everything that this process needs, looked at before it is started or beside a running one.

One line each: `ok`, or `fix` and what to do. Each line is bounded in time, they run beside one another, and nothing is
changed: no table, no file, no symbol.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import TextIO

from pulse import machine
from pulse.binance.rate_limit import BanFile, Priority
from pulse.binance.rest import BinanceRest
from pulse.binance.transport import AiohttpTransport, open_session
from pulse.binance.venues import Venue, venue_of
from pulse.clock import ClockOffset, SystemClock
from pulse.errors import CheckFailed, ExchangeBusy, ExchangeError, ExchangeRefused, HandshakeRefused, SettingsError
from pulse.logs import printable
from pulse.server.connection_registry import RESERVED_CONNECTIONS
from pulse.server.listener import EXTRA_CONNECTIONS, EXTRA_DESCRIPTORS, open_listener
from pulse.settings import Settings
from pulse.store.schema import read_migrations
from pulse.store.sqlite_probe import probe as probe_sqlite
from pulse.terminal import assets
from pulse.wire import bus_prefix

LINE_S = 10.0
"""How long one line may take; a part that does not answer within it is not there."""
FIRST_FRAME_S = 5.0
"""How long a quiet symbol's stream is listened to. That it opened is what matters."""
ROUND_TRIPS = 3
WEIGHT_SHARE_MAX = 0.75
"""Beyond it a book may have to wait for its snapshot."""
DISK_MIN_BYTES = 256 * 2**20
"""A day of twenty symbols' candles takes a few MB; the write-ahead log and the spool need room as well."""
MEMORY_MIN_BYTES = 256 * 2**20
"""A demo with three symbols uses 90 MB; 512 MB are enough for the default settings (docs/benchmarks.md)."""
HEALTH_S = 2.0
ANSWER_BYTES_MAX = 4096
"""How long, and how large, the answer of a Pulse that may run already may be."""


@dataclass(frozen=True, slots=True)
class Line:
    """The result of one check; `detail` is what was found, or what to do."""

    is_ok: bool
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{'ok ' if self.is_ok else 'fix'}  {self.name}: {printable(self.detail)}"


def run(environment: Mapping[str, str], output: TextIO) -> int:
    """Print every line, and return the exit code: 0 if all are ok, else 1."""
    output.write(f"{Line(True, 'versions', versions_text())}\n")
    try:
        settings = Settings.from_environment(environment)
        venue = venue_of(settings.venue, settings.rest_url, settings.stream_url)
    except SettingsError as fault:
        lines = [Line(False, "settings", sentence) for sentence in str(fault).split("\n")]
    else:
        lines = [Line(True, "settings", f"{venue.title}, {', '.join(settings.symbols)}")]
        lines += asyncio.run(_all(settings, venue))
    output.writelines(f"{line}\n" for line in lines)
    return 0 if all(line.is_ok for line in lines) else 1


def versions_text() -> str:
    """Return every version that runs, in one line."""
    found = dict(machine.versions())
    return f"pulse {found.pop('version')}, " + ", ".join(f"{name} {version}" for name, version in found.items())


async def _all(settings: Settings, venue: Venue) -> list[Line]:
    """Run all checks beside one another; return their lines in the order in which they are listed."""
    async with open_session() as session:
        exchange = _Exchange(settings, venue, AiohttpTransport(session))
        checks: dict[str, Callable[[], Awaitable[str]]] = {
            "port": lambda: _port(settings),
            "exchange REST, clock, weight": exchange.rest,
            "exchange symbols": exchange.symbols,
            "exchange stream": exchange.stream,
            "bus": lambda: _bus(settings, venue),
            "store": lambda: _store(settings),
            "disk": lambda: asyncio.to_thread(_disk, settings),
            "descriptors": lambda: asyncio.to_thread(_descriptors, settings),
            "memory": lambda: asyncio.to_thread(_memory),
        }
        return list(await asyncio.gather(*(_line(name, check) for name, check in checks.items())))


async def _line(name: str, check: Callable[[], Awaitable[str]]) -> Line:
    try:
        async with asyncio.timeout(LINE_S):
            return Line(True, name, await check())
    except TimeoutError:
        return Line(False, name, f"No answer within {LINE_S:g} s. Check the address, the network and the server.")
    except (CheckFailed, SettingsError) as fault:
        return Line(False, name, str(fault))
    except OSError as fault:  # a folder that this user may not look into, or a name that is too long
        return Line(False, name, f"{fault.filename or 'It'} cannot be looked at: {fault.strerror or fault}.")


class _Exchange:
    """What is asked of the exchange: three of its weight's units, the instruments, and one stream."""

    def __init__(self, settings: Settings, venue: Venue, transport: AiohttpTransport) -> None:
        self._settings = settings
        self._venue = venue
        self._transport = transport
        self._rest = BinanceRest(
            transport, venue, SystemClock(), BanFile(Path(settings.state_path)), lambda _: Priority.DEFAULT
        )  # fmt: skip
        self._asked = asyncio.Event()  # the time was asked for
        self._answers = False

    async def rest(self) -> str:
        """Ask for the time: whether it answers, whether it serves this region, and how far this clock is off."""
        offset, quickest_ms = ClockOffset(), inf
        try:
            for _ in range(ROUND_TRIPS):
                trip = await self._rest.time()
                offset.add_round_trip(*trip)
                quickest_ms = min(quickest_ms, trip.received_ms - trip.sent_ms)
                self._refuse_without_weight()  # else the next request waits for the next minute
            self._answers = True
        except ExchangeError as fault:
            raise CheckFailed(self._sentence(fault)) from fault
        finally:
            self._asked.set()
        if offset.trouble():
            raise CheckFailed(offset.trouble())
        used, limit = self._rest.weight()
        return (
            f"answers in {quickest_ms:.0f} ms, the clock is {abs(offset.value_ms()):.0f} ms off, "
            f"{limit - used} of {limit} weight left this minute"
        )

    def _refuse_without_weight(self) -> None:
        used, limit = self._rest.weight()
        if used >= limit * WEIGHT_SHARE_MAX:
            raise CheckFailed(
                f"{used} request weight is spent in this minute, and this process may use {limit}: find what else asks "
                "the exchange from this address."
            )

    async def symbols(self) -> str:
        """Ask for the instruments of the settings."""
        await self._asked.wait()
        if not self._answers:
            raise CheckFailed("Not asked for, because of the line above.")
        try:
            found, malformed = await self._rest.instruments(self._settings.symbols)
        except ExchangeError as fault:
            raise CheckFailed(self._sentence(fault)) from fault
        if malformed:
            faults = "; ".join(f"{symbol}: {fault}" for symbol, fault in malformed.items())
            raise CheckFailed(f"{self._venue.title} lists what cannot be read, {faults}; a newer version may read it.")
        unknown = [symbol for symbol in self._settings.symbols if symbol not in found]
        if unknown:
            raise CheckFailed(f"{self._venue.title} does not list {', '.join(unknown)}; change PULSE_SYMBOLS.")
        return ", ".join(f"{symbol} {instrument.status}" for symbol, instrument in found.items())

    async def stream(self) -> str:
        """Open the first symbol's depth stream, and wait a moment for a frame."""
        name = f"{self._settings.symbols[0].lower()}@depth@100ms"
        try:
            stream = await self._transport.connect(f"{self._venue.stream_url}/stream?streams={name}")
        except ExchangeError as fault:
            raise CheckFailed(self._sentence(fault)) from fault
        try:
            await asyncio.wait_for(stream.receive(), FIRST_FRAME_S)
        except TimeoutError:
            return f"opens; no frame of {name} within {FIRST_FRAME_S:g} s, as of a quiet symbol"
        except ExchangeError as fault:
            raise CheckFailed(self._sentence(fault)) from fault
        finally:
            await stream.close()
        return f"opens and sends {name}"

    def _sentence(self, fault: ExchangeError) -> str:
        """Return what to do about an error of the exchange."""
        text = str(fault)[:1].upper() + str(fault)[1:]
        is_refused = isinstance(fault, ExchangeRefused) or (
            isinstance(fault, HandshakeRefused) and fault.status in (403, 451)
        )
        if is_refused:
            return f"{text}. Set PULSE_VENUE or PULSE_FALLBACK_VENUE to a venue that does, or run it elsewhere."
        if isinstance(fault, ExchangeBusy):
            return f"{text}. Wait {ceil(fault.retry_after_s)} s; see what else asks it from this address."
        return f"{text}. Check the network, and {self._venue.title}'s status."


async def _port(settings: Settings) -> str:
    """Open the ports as the server does; one that is in use by a running Pulse is as it should be."""
    found = [await _listener(settings.host, settings.port)]
    if settings.operator_bind is not None:
        found.append(await _listener(*settings.operator_bind, "PULSE_OPERATOR_BIND", "PULSE_OPERATOR_BIND"))
    return ", ".join(found)


async def _listener(host: str, port: int, *names: str) -> str:
    try:
        open_listener(host, port, *names).close()
    except SettingsError:
        if await _is_pulse(host, port):
            return f"a Pulse answers on port {port}"
        raise
    return f"{host} port {port} is free"


async def _is_pulse(host: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    try:
        async with asyncio.timeout(HEALTH_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                found = b""
                while len(found) < ANSWER_BYTES_MAX and (part := await reader.read(ANSWER_BYTES_MAX)):
                    found += part
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b'{"status":"ok"}' in found


async def _bus(settings: Settings, venue: Venue) -> str:
    if not settings.redis_url:
        return "within the process (REDIS_URL is not set)"
    from pulse.bus.lease_keeper import probe_leases  # imported only where they are used, for their memory
    from pulse.bus.redis import probe

    prefix = bus_prefix(settings.namespace, venue.name, "check")
    found = await probe(settings.redis_url, prefix)
    if settings.database_url:
        await probe_leases(settings.redis_url, prefix)
    return found


async def _store(settings: Settings) -> str:
    kind = "postgres" if settings.database_url else "sqlite"
    migrations = len(read_migrations(assets("sql"), kind))
    if not settings.database_url:
        return await asyncio.to_thread(probe_sqlite, Path(settings.sqlite_path), migrations)
    from pulse.store.postgres_probe import probe  # imported only where it is used, for its memory

    return await probe(settings.database_url, migrations)


def _disk(settings: Settings) -> str:
    """Look at the folders of all files that are written."""
    names = {"PULSE_SPOOL_PATH": settings.spool_path, "PULSE_STATE_PATH": settings.state_path}
    if not settings.database_url:
        names["PULSE_SQLITE_PATH"] = settings.sqlite_path
    free: dict[Path, int] = {}
    for setting, path in names.items():
        folder = Path(path).resolve().parent
        if not folder.is_dir():
            raise CheckFailed(f"The folder {folder} does not exist; make it, or change {setting}.")
        if not os.access(folder, os.W_OK | os.X_OK) or (Path(path).exists() and not os.access(path, os.W_OK)):
            raise CheckFailed(f"{Path(path).resolve()} cannot be written by this user; change its owner, or {setting}.")
        free[folder] = machine.disk_free_bytes(folder)
        if free[folder] < DISK_MIN_BYTES:
            raise CheckFailed(
                f"Only {_mebibytes(free[folder])} are free in {folder}; make room for {_mebibytes(DISK_MIN_BYTES)}, or "
                f"change {setting}."
            )
    return ", ".join(f"{_mebibytes(size)} free in {folder}" for folder, size in free.items())


def _descriptors(settings: Settings) -> str:
    needed = settings.clients_max + EXTRA_CONNECTIONS + RESERVED_CONNECTIONS + EXTRA_DESCRIPTORS
    limit = machine.descriptor_limit()
    if limit is not None and limit < needed:
        raise CheckFailed(
            f"{limit} descriptors are allowed, {needed} are needed for PULSE_CLIENTS_MAX={settings.clients_max}; raise "
            "the hard limit (ulimit -Hn, LimitNOFILE of a unit), or lower PULSE_CLIENTS_MAX."
        )
    return f"{needed} needed, {'any number' if limit is None else limit} allowed"


def _memory() -> str:
    limit = machine.memory_limit_bytes()
    if limit is None:
        return f"the limit cannot be read on {sys.platform}"
    if limit < MEMORY_MIN_BYTES:
        raise CheckFailed(
            f"{_mebibytes(limit)} are allowed; give it {_mebibytes(MEMORY_MIN_BYTES)}, and 512 MiB for the defaults."
        )
    return f"{_mebibytes(limit)} allowed"


def _mebibytes(size: int) -> str:
    return f"{size // 2**20:,} MiB"
