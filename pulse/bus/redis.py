"""The bus between processes: the newest view of a channel is stored under a key and published on a Redis channel.

A server that is away must not delay a browser of this process, so there are two paths. While a numbered heartbeat of
our own comes back through the server, views go that way; as soon as anything fails they are delivered directly, inside
this process, until a heartbeat comes back again. Only the tasks in this file ever wait for the server.
"""

import asyncio
import logging
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterCrossSlotError, ClusterDownError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from pulse.bus.contract import BusHealth, Deliver
from pulse.concurrency import backoff_delays
from pulse.errors import CheckFailed, SettingsError
from pulse.queues import ConflatingQueue
from pulse.wire import channels_of, report_channel

log = logging.getLogger(__name__)

LATEST = "latest:"
"""Stands before a channel in the name of the key that stores its newest view."""
LATEST_LIFE_S = 10
"""A view comes every second; one that is this old is no longer the latest of anything."""
CONNECT_TIMEOUT_S = 1.0
SEND_TIMEOUT_S = 0.5
"""How long one pipeline of views may take: a later answer would be about views that are out of date."""
HEARTBEAT_S = 1.0
SILENCE_MAX_S = 2.5
"""Two heartbeats missed: the server has stopped, or the connection is gone without an error."""
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
"""The maximum of the waits: a server that is back is used again within a second."""
STEADY_S = 10.0
"""A server that is lost again sooner than this after its return is used again only after a wait."""
HOLD_OFF_FIRST_S, HOLD_OFF_MAX_S = 1.0, 30.0
"""That wait, doubled with each such loss: it bounds how often the paths are switched, and logged."""
CLOSE_TIMEOUT_S = 0.4
"""Twice this is the most that closing takes: once for the tasks and once for the connections."""
CANCELS_MAX = 4
"""Before Python 3.12 `wait_for`, which the library sends with, loses a cancellation that comes as a write completes."""

ServerTrouble = (RedisError, OSError, TimeoutError)
"""Every error that a server, or the network to it, can cause."""


FromCluster = (AskError, ClusterDownError, ClusterCrossSlotError)  # AskError is also the base of MovedError
"""What only a member of a cluster answers."""
OF_CLUSTER = "Redis: this server is a member of a cluster, which is not supported; REDIS_URL must name a single server."
OF_SENTINEL = (
    "Redis: this server stores no keys, as a sentinel, which is not supported; REDIS_URL must name the server itself."
)
NOT_VERIFIED = (
    "Redis: the certificate of the server cannot be verified; name the file of its authority in REDIS_URL "
    "(?ssl_ca_certs=FILE), or turn the check off (?ssl_cert_reqs=none)."
)
OPTION_NAME = re.compile(r"unexpected keyword argument '([a-z_]{1,40})'", re.ASCII)
"""The name of an unknown option, in the library's own text."""


class RedisBus:
    """The contract of `Bus` through a Redis or Valkey server, which others may use under other prefixes.

    Every name on the server begins with `prefix`; wire.py says how it is made. Raises SettingsError for an address that
    it cannot read.
    """

    def __init__(self, url: str, prefix: str, deliver: Deliver) -> None:
        self._deliver = deliver
        self._prefix = prefix
        self._newest: dict[str, bytes | None] = {}  # by channel, of this process
        self._outgoing: ConflatingQueue[str, bytes] = ConflatingQueue()
        self._heartbeat = f"heartbeat:{secrets.token_hex(4)}"
        self._channel_of = {self._redis_channel(self._heartbeat): self._heartbeat}
        self._subscribed: set[bytes] = set()  # the Redis channels of the subscription that is being read
        self._round = 0  # the number that heartbeats carry; a loss begins a new one
        self._stored_round = self._returned_round = -1  # the newest whose heartbeat was stored, and came back
        self._regained_at_s = -STEADY_S  # loop times
        self._held_off_s = self._may_regain_at_s = 0.0
        self._is_connected = False
        self._lost_s = time.time()  # since when it is not connected
        self._trouble = ""
        self._send_waits = self._receive_waits = _waits()
        # Apart, because a connection that subscribes can do nothing else, and so that one can fail without the other.
        self._publisher = connect_to(url, SEND_TIMEOUT_S)
        self._subscriber = connect_to(url, CONNECT_TIMEOUT_S)
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, symbol: str) -> None:
        """Carry this symbol: it is subscribed with the next message, within a heartbeat at the latest."""
        for channel in _all_channels(symbol):
            self._newest.setdefault(channel, None)
            self._channel_of[self._redis_channel(channel)] = channel

    def close(self, symbol: str) -> None:
        """Carry this symbol no more."""
        for channel in _all_channels(symbol):
            self._newest.pop(channel, None)
            self._channel_of.pop(self._redis_channel(channel), None)
            self._outgoing.discard(channel)

    def publish(self, channel: str, payload: bytes) -> None:
        """Hand over the newest payload of a channel. Never waits; raises ValueError for a channel that is not open."""
        if channel not in self._newest:
            raise ValueError(f"expected one of this bus's {len(self._newest)} open channels, got {channel!r}")
        self._newest[channel] = payload
        if self._is_connected:
            self._outgoing.put(channel, payload)
        else:
            self._deliver(channel, payload)

    async def run(self) -> None:
        """Keep both connections for ever. Raises what the receiver raises, and whatever no server can cause."""
        work = {"bus-send": self._send_for_ever(), "bus-receive": self._receive_for_ever(), "bus-beat": self._beat_on()}
        self._tasks = {asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()}
        try:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._stop_tasks()

    def health(self) -> BusHealth:
        """Return whether our own heartbeat comes back through the server."""
        if self._is_connected:
            return BusHealth("redis", ok=True, detail="")
        return BusHealth("redis", ok=False, detail=self._trouble or "connecting", since_s=self._lost_s)

    async def aclose(self) -> None:
        """Close both connections within a second. Closing twice does no harm."""
        await self._stop_tasks()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(self._publisher.aclose(), self._subscriber.aclose())
        except ServerTrouble as fault:
            log.info("redis connections closed with an error reason=%s", sentence_of(fault))

    def _redis_channel(self, channel: str) -> bytes:
        return f"{self._prefix}{channel}".encode()

    def _latest_key(self, channel: str) -> str:
        return f"{self._prefix}{LATEST}{channel}"

    # --- the two paths, and the switch between them

    def _lose_server(self, reason: str) -> None:
        """Deliver directly from now on, beginning with the newest of what may be stuck on its way to the server."""
        if not self._trouble:
            log.warning("bus lost, views stay within this process reason=%s", reason)
        self._trouble = reason
        self._round += 1  # heartbeats sent before this moment prove nothing
        if self._is_connected:
            self._is_connected = False
            self._lost_s = time.time()
            now_s = asyncio.get_running_loop().time()
            is_steady = now_s - self._regained_at_s >= STEADY_S
            self._held_off_s = 0.0 if is_steady else min(max(HOLD_OFF_FIRST_S, 2 * self._held_off_s), HOLD_OFF_MAX_S)
            self._may_regain_at_s = now_s + self._held_off_s
            self._send_newest_to(self._deliver)

    def _regain_server_if_proved(self) -> None:
        """Send through the server again, which may have forgotten everything.

        That needs a heartbeat of this round that was stored and came back: a server that is full or read-only passes
        messages on and stores nothing.
        """
        now_s = asyncio.get_running_loop().time()
        is_proved = self._stored_round == self._returned_round == self._round
        if self._is_connected or not is_proved or now_s < self._may_regain_at_s:
            return
        self._regained_at_s = now_s
        if self._trouble:
            log.info("bus back, views travel between processes again")
        self._trouble = ""
        self._is_connected = True
        self._send_waits, self._receive_waits = _waits(), _waits()
        self._send_newest_to(self._outgoing.put)

    def _send_newest_to(self, send: Callable[[str, bytes], None]) -> None:
        for channel, payload in self._newest.items():
            if payload is not None:
                send(channel, payload)

    def _beat(self) -> None:
        self._outgoing.put(self._heartbeat, str(self._round).encode())

    # --- the tasks

    async def _stop_tasks(self) -> None:
        tasks, self._tasks = set(self._tasks), set()
        self._is_connected = False
        for _ in range(CANCELS_MAX):
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT_S / CANCELS_MAX)

    async def _beat_on(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(HEARTBEAT_S)

    async def _send_for_ever(self) -> None:
        while True:
            channel, payload = await self._outgoing.get()
            batch = {channel: payload}
            while self._outgoing:  # at most once per channel: nothing is awaited that could add to it
                channel, payload = await self._outgoing.get()
                batch[channel] = payload
            try:
                await self._send(batch)
                if self._heartbeat in batch:
                    self._stored_round = int(batch[self._heartbeat])
                    self._regain_server_if_proved()
            except ServerTrouble as fault:
                self._lose_server(sentence_of(fault))
                await asyncio.sleep(next(self._send_waits))
                self._beat()

    async def _send(self, batch: dict[str, bytes]) -> None:
        """Send payloads, and heartbeats by the very same commands, so that one proves the path for the other."""
        pipeline = self._publisher.pipeline(transaction=False)
        for channel, payload in batch.items():
            pipeline.set(self._latest_key(channel), payload, ex=LATEST_LIFE_S)
            pipeline.publish(self._prefix + channel, payload)
        for answer in await pipeline.execute(raise_on_error=False):
            # Raised here, not by the library: it would put the whole view into the text.
            if isinstance(answer, RedisError):
                raise answer

    async def _receive_for_ever(self) -> None:
        while True:
            pubsub = self._subscriber.pubsub()
            try:
                await self._receive(pubsub)
            except ServerTrouble as fault:
                self._lose_server(sentence_of(fault))
            finally:
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library's annotation is missing
            await asyncio.sleep(next(self._receive_waits))

    async def _receive(self, pubsub: PubSub) -> None:
        """Subscribe, take what is stored, then what comes, until something fails."""
        self._subscribed = set(self._channel_of)
        await pubsub.subscribe(*self._subscribed)
        # All channels are subscribed at once, so the first confirmation stands for all. Only then may the stored
        # views be read: one that came in between would be missed.
        await self._next(pubsub, CONNECT_TIMEOUT_S)
        await self._take_stored(tuple(self._newest))
        self._beat()
        joining: set[bytes] = set()
        while True:
            if self._subscribed != self._channel_of.keys():
                joining |= await self._adjust_subscription(pubsub)
            message = await self._next(pubsub, SILENCE_MAX_S)
            redis_channel = message["channel"]
            if message["type"] == "message":
                self._take(redis_channel, message["data"])
            elif message["type"] == "subscribe" and redis_channel in joining:
                joining.discard(redis_channel)
                channel = self._channel_of.get(redis_channel)
                await self._take_stored([channel] if channel in self._newest else [])

    async def _adjust_subscription(self, pubsub: PubSub) -> set[bytes]:
        """Subscribe and unsubscribe what has changed; return the Redis channels that are new."""
        new, old = self._channel_of.keys() - self._subscribed, self._subscribed - self._channel_of.keys()
        self._subscribed = set(self._channel_of)
        if new:
            await pubsub.subscribe(*new)
        if old:
            await pubsub.unsubscribe(*old)
        return new

    async def _take_stored(self, channels: Sequence[str]) -> None:
        if not channels:
            return
        stored = await self._publisher.mget([self._latest_key(channel) for channel in channels])
        for channel, payload in zip(channels, stored, strict=True):
            if isinstance(payload, bytes) and channel in self._newest:
                self._deliver(channel, payload)

    async def _next(self, pubsub: PubSub, timeout_s: float) -> dict[str, Any]:
        message: dict[str, Any] | None = await pubsub.get_message(timeout=timeout_s)
        if message is None:
            raise TimeoutError
        return message

    def _take(self, redis_channel: bytes, payload: bytes) -> None:
        channel = self._channel_of.get(redis_channel)
        if channel is None:
            return  # it was closed while this was on its way
        if channel != self._heartbeat:
            self._deliver(channel, payload)
        else:
            self._returned_round = int(payload)
            self._regain_server_if_proved()


async def probe(url: str, prefix: str) -> str:
    """Store, read and publish once, as the bus does; return the server's name and version.

    Raises SettingsError for an address that cannot be read, and CheckFailed.
    """
    client = connect_to(url, CONNECT_TIMEOUT_S)
    key = f"{prefix}check:{secrets.token_hex(4)}"
    try:
        about = await client.info("server")
        await client.set(key, b"1", ex=LATEST_LIFE_S)
        stored = await client.get(key)
        await client.publish(key, b"1")
    except ServerTrouble as fault:
        hint = "Check REDIS_URL, and that the server runs and may be reached."
        raise CheckFailed(f"{sentence_of(fault)} {hint}") from fault
    finally:
        await client.aclose()
    if stored != b"1":
        raise CheckFailed("Redis did not return what was just stored; REDIS_URL must name a single server.")
    valkey = about.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {about.get('redis_version', 'of an unknown version')}"


def _all_channels(symbol: str) -> tuple[str, ...]:
    return (*channels_of(symbol), report_channel(symbol))


def _waits() -> Iterator[float]:
    return backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())


def connect_to(url: str, timeout_s: float) -> Redis:
    """Make a client that tries once: a command repeated by the library would arrive late, and twice."""
    required: dict[str, Any] = {
        "protocol": 2,  # half the CPU of RESP3 where hiredis is installed, and known by every server
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": timeout_s,
    }
    try:
        # Unlike the library's own `from_url`: what this file relies on wins over the address.
        pool = ConnectionPool(**{**parse_url(url), **required})
        # Rejects an unknown option now, not at the first use.
        pool.make_connection()  # type: ignore[no-untyped-call]  # the library's annotation is missing
    except (ValueError, TypeError, RedisError) as fault:
        # The library's own text may quote the address, and with it a password.
        unknown = OPTION_NAME.search(str(fault)) if isinstance(fault, TypeError) else None
        if unknown is not None:
            raise SettingsError(
                f"REDIS_URL has an option that a Redis client does not know: {unknown[1]}. Remove it from the address; "
                "if it is part of the password, percent-encode that (? as %3F, & as %26)."
            ) from None
        raise SettingsError(
            "REDIS_URL is not an address that a Redis client can read; expected redis://user:password@host:port/number "
            "(rediss:// for TLS), its user name and password percent-encoded (@ as %40)."
        ) from None
    return Redis.from_pool(pool)


def sentence_of(fault: BaseException) -> str:
    """Return an error as a sentence."""
    if isinstance(fault, TimeoutError | RedisTimeout):
        return "Redis does not answer."
    if isinstance(fault, FromCluster):
        return OF_CLUSTER
    if isinstance(fault, ResponseError) and str(fault).startswith("unknown command 'SET'"):
        return OF_SENTINEL
    if "CERTIFICATE_VERIFY_FAILED" in str(fault):
        return NOT_VERIFIED
    return f"Redis: {str(fault).splitlines()[0] if str(fault) else type(fault).__name__}"
