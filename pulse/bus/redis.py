"""The bus between processes: the latest view of a topic under a key, each new one on a channel.

A server that is away must cost a browser of this process nothing, so there are two roads. While a numbered heartbeat
of our own comes back through the server, views go that way; as soon as anything fails they go round it, inside
this process, until a heartbeat comes back again. Nobody ever waits for the server but the tasks in this file.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from pulse.bus.contract import BusHealth
from pulse.bus.memory import MemoryBus
from pulse.concurrency import backoff_delays
from pulse.errors import SettingsError
from pulse.queues import ConflatingQueue

log = logging.getLogger(__name__)

CHANNEL = "pulse:"
LATEST = "pulse:latest:"
LATEST_LIFE_S = 10
"""A view comes every second; one that is this old is no longer the latest of anything."""
CONNECT_TIMEOUT_S = 1.0
SEND_TIMEOUT_S = 0.5
"""How long one wave of views may take: a later answer would be about views that nobody wants any more."""
HEARTBEAT_S = 1.0
SILENCE_MAX_S = 2.5
"""Two heartbeats missed: the server has stopped, or the way to it is gone without a word."""
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0
"""The bound of the waits keeps a return unnoticed for no longer than a second."""
CLOSE_TIMEOUT_S = 0.4
"""Twice this is the most that closing takes: once for the tasks and once for the connections."""
CANCELS_MAX = 4
"""Before Python 3.12 `wait_for`, which the library sends with, loses a cancellation that comes as a write completes."""

Trouble = (RedisError, OSError, TimeoutError)
"""All that a server, or the way to it, can do to us."""


class RedisBus:
    """The contract of `Bus` through a Redis or Valkey server. Raises SettingsError for an address it cannot read."""

    def __init__(self, url: str, topics: Iterable[str]) -> None:
        self._local = MemoryBus(())
        self._own: dict[str, bytes | None] = {}
        self._outgoing: ConflatingQueue[str, bytes] = ConflatingQueue()
        self._heartbeat = f"heartbeat:{secrets.token_hex(4)}"
        self._topic_of = {_channel(self._heartbeat): self._heartbeat}
        self._subscribed: set[bytes] = set()  # the channels of the subscription that is being read
        self._round = 0
        self._is_through = False
        self._trouble = ""
        self._send_waits = self._receive_waits = _waits()
        # Apart, because a connection that subscribes can do nothing else, and so that one can fail without the other.
        self._publisher = _connect_to(url, SEND_TIMEOUT_S)
        self._subscriber = _connect_to(url, CONNECT_TIMEOUT_S)
        self._workers: list[asyncio.Task[None]] = []
        self.open(topics)

    def open(self, topics: Iterable[str]) -> None:
        """Carry these topics too: they are subscribed with the next message, a second's heartbeat at the latest."""
        for topic in topics:
            self._own.setdefault(topic, None)
            self._topic_of[_channel(topic)] = topic
            self._local.open([topic])

    def drop(self, topics: Iterable[str]) -> None:
        """Carry these no more."""
        for topic in topics:
            self._own.pop(topic, None)
            self._topic_of.pop(_channel(topic), None)
            self._outgoing.discard(topic)
            self._local.drop([topic])

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand over the newest payload of a topic. Never waits; raises ValueError for a topic that there is not."""
        if topic not in self._own:
            raise ValueError(f"expected one of this bus's {len(self._own)} topics, got {topic!r}")
        self._own[topic] = payload
        if self._is_through:
            self._outgoing.put(topic, payload)
        else:
            self._local.put(topic, payload)

    async def messages(self) -> AsyncGenerator[tuple[str, bytes], None]:
        """Every topic's latest payload, then what comes, until `close`. Raises RuntimeError when already being read."""
        async with aclosing(self._local.messages()) as arriving:
            if self._workers:
                raise RuntimeError("expected one reader of this bus, got a second one while the first still reads")
            self._start_workers()
            try:
                async for topic, payload in arriving:
                    yield topic, payload
                self._raise_unexpected()
            finally:
                await self._stop_workers()

    def health(self) -> BusHealth:
        """Whether our own heartbeat comes back through the server."""
        return BusHealth("redis", self._is_through, "" if self._is_through else self._trouble or "connecting")

    async def close(self) -> None:
        """End `messages` and let go of every connection within a second. Closing twice does no harm."""
        self._local.end()
        await self._stop_workers()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(self._publisher.aclose(), self._subscriber.aclose())
        except Trouble as fault:
            log.info("redis let go without a goodbye reason=%s", _sentence(fault))

    # --- the two roads, and the switch between them

    def _lose(self, reason: str) -> None:
        """Something failed: from now on go round the server, beginning with the newest of what may be stuck there."""
        if not self._trouble:
            log.warning("bus lost, views stay within this process reason=%s", reason)
        self._trouble = reason
        self._round += 1  # heartbeats sent before this moment prove nothing
        if self._is_through:
            self._is_through = False
            self._hand_over_own(self._local)

    def _bring_back(self) -> None:
        """A heartbeat of this round came back: go through the server again, which may have forgotten everything."""
        if self._trouble:
            log.info("bus back, views travel between processes again")
        self._trouble = ""
        self._is_through = True
        self._send_waits, self._receive_waits = _waits(), _waits()
        self._hand_over_own(self._outgoing)

    def _hand_over_own(self, road: MemoryBus | ConflatingQueue[str, bytes]) -> None:
        for topic, payload in self._own.items():
            if payload is not None:
                road.put(topic, payload)

    def _beat(self) -> None:
        self._outgoing.put(self._heartbeat, str(self._round).encode())

    # --- the tasks

    def _start_workers(self) -> None:
        work = {"bus-send": self._send_for_ever(), "bus-receive": self._receive_for_ever(), "bus-beat": self._beat_on()}
        self._workers = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
        for worker in self._workers:
            worker.add_done_callback(self._note_end)

    def _note_end(self, worker: asyncio.Task[None]) -> None:
        """A worker never returns; if it broke, the reader of `messages` has to learn it."""
        if not worker.cancelled():
            self._local.end()

    def _raise_unexpected(self) -> None:
        for worker in self._workers:
            if worker.done() and not worker.cancelled():
                worker.result()

    async def _stop_workers(self) -> None:
        workers, self._workers = set(self._workers), []
        self._is_through = False
        for _ in range(CANCELS_MAX):
            for worker in workers:
                worker.cancel()
            if workers:
                _, workers = await asyncio.wait(workers, timeout=CLOSE_TIMEOUT_S / CANCELS_MAX)

    async def _beat_on(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(HEARTBEAT_S)

    async def _send_for_ever(self) -> None:
        while True:
            topic, payload = await self._outgoing.get()
            wave = {topic: payload}
            while self._outgoing:  # at most once per topic: nothing is awaited that could add to it
                topic, payload = await self._outgoing.get()
                wave[topic] = payload
            try:
                await self._send(wave)
            except Trouble as fault:
                self._lose(_sentence(fault))
                await asyncio.sleep(next(self._send_waits))
                self._beat()

    async def _send(self, wave: dict[str, bytes]) -> None:
        """Send payloads, and heartbeats by the very same commands, so that one proves the way for the other."""
        pipeline = self._publisher.pipeline(transaction=False)
        for topic, payload in wave.items():
            pipeline.set(LATEST + topic, payload, ex=LATEST_LIFE_S)
            pipeline.publish(CHANNEL + topic, payload)
        for answer in await pipeline.execute(raise_on_error=False):
            # Raised here, not by the library: it would put the whole view into the text.
            if isinstance(answer, RedisError):
                raise answer

    async def _receive_for_ever(self) -> None:
        while True:
            pubsub = self._subscriber.pubsub()
            try:
                await self._receive(pubsub)
            except Trouble as fault:
                self._lose(_sentence(fault))
            finally:
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library's annotation is missing
            await asyncio.sleep(next(self._receive_waits))

    async def _receive(self, pubsub: PubSub) -> None:
        """Subscribe, take what is stored, then what comes, until something fails."""
        self._subscribed = set(self._topic_of)
        await pubsub.subscribe(*self._subscribed)
        # All channels are subscribed at once, so the first confirmation stands for all. Only then may the stored
        # views be asked for: one that came in between would be missed.
        await self._next(pubsub, CONNECT_TIMEOUT_S)
        await self._take_stored(tuple(self._own))
        self._beat()
        joining: set[bytes] = set()
        while True:
            if self._subscribed != self._topic_of.keys():
                joining |= await self._adjust(pubsub)
            message = await self._next(pubsub, SILENCE_MAX_S)
            channel = message["channel"]
            if message["type"] == "message":
                self._take(channel, message["data"])
            elif message["type"] == "subscribe" and channel in joining:
                joining.discard(channel)
                await self._take_stored([topic for topic in [self._topic_of.get(channel)] if topic in self._own])

    async def _adjust(self, pubsub: PubSub) -> set[bytes]:
        """Have the subscription follow the topics; gives the channels that are new."""
        new, old = self._topic_of.keys() - self._subscribed, self._subscribed - self._topic_of.keys()
        self._subscribed = set(self._topic_of)
        if new:
            await pubsub.subscribe(*new)
        if old:
            await pubsub.unsubscribe(*old)
        return new

    async def _take_stored(self, topics: Sequence[str]) -> None:
        if not topics:
            return
        stored = await self._publisher.mget([LATEST + topic for topic in topics])
        for topic, payload in zip(topics, stored, strict=True):
            if isinstance(payload, bytes) and topic in self._own:
                self._local.put(topic, payload)

    async def _next(self, pubsub: PubSub, timeout_s: float) -> dict[str, Any]:
        message: dict[str, Any] | None = await pubsub.get_message(timeout=timeout_s)
        if message is None:
            raise TimeoutError
        return message

    def _take(self, channel: bytes, payload: bytes) -> None:
        topic = self._topic_of.get(channel)
        if topic is None:
            return  # it was dropped while this was on its way
        if topic != self._heartbeat:
            self._local.put(topic, payload)
        elif not self._is_through and int(payload) == self._round:
            self._bring_back()


def _channel(topic: str) -> bytes:
    return f"{CHANNEL}{topic}".encode()


def _waits() -> Iterator[float]:
    return backoff_delays(RETRY_FIRST_S, RETRY_MAX_S, random.Random())


def _connect_to(url: str, timeout_s: float) -> Redis:
    """A client that tries once: a command repeated by the library would arrive late, and twice."""
    ours: dict[str, Any] = {
        "protocol": 2,  # half the CPU of RESP3 where hiredis is installed, and known by every server
        "decode_responses": False,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": timeout_s,
    }
    try:
        # The other way round than the library's own `from_url`: what this file relies on wins over the address.
        pool = ConnectionPool(**{**parse_url(url), **ours})
        # Complains of an unknown option now, not at the first use.
        pool.make_connection()  # type: ignore[no-untyped-call]  # the library's annotation is missing
    except (ValueError, TypeError):
        # The library's own text may quote the address, and with it a password.
        raise SettingsError("REDIS_URL is not an address that a Redis client can read.") from None
    return Redis.from_pool(pool)


def _sentence(fault: BaseException) -> str:
    """A fault in words for a person."""
    if isinstance(fault, TimeoutError | RedisTimeout):
        return "Redis does not answer."
    return f"Redis: {str(fault).splitlines()[0] if str(fault) else type(fault).__name__}"
