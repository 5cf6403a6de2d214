"""Broadcast groups: which clients are written to together, which by their own queue, and that none misses anything.

Real connections over real sockets: each client is the other end of a pair, and reads when the test says so.
"""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from pulse.fanout.broadcast import BroadcastGroups
from pulse.fanout.client_queue import AwaitedClientQueue, DirectClientQueue
from pulse.fanout.flush_scheduler import FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.requests import Topic, view_topic
from pulse.server.connection import ClientConnection
from pulse.server.connection_registry import ConnectionRegistry
from pulse.server.flow_control import ACK_INTERVAL_MIN_BYTES
from pulse.wire import book_channel, trades_channel
from tests.support.web import INSTANCE, Watchers, no_candles, view
from tests.support.websockets import PING, PONG, TEXT, frame, split_frames

VIEWS = view_topic("BTCUSDT")
TRADES = Topic("trades.BTCUSDT", "trades", "BTCUSDT", 0)
BOOK = Topic("book.BTCUSDT", "book", "BTCUSDT", 5)
TIMEOUT_S = 60.0


@dataclass
class Client:
    """One end of a pair of sockets; the other is the server's. It answers pings while `answers`."""

    queue: DirectClientQueue
    connection: ClientConnection
    socket: socket.socket
    answers: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    rest: bytes = b""

    def read(self) -> None:
        """Read everything that has arrived."""
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            found, self.rest = split_frames(self.rest + data)
            self.messages += [orjson.loads(payload) for opcode, payload in found if opcode == TEXT]
            for payload in (payload for opcode, payload in found if opcode == PING):
                self.pings += 1
                if self.answers:
                    self.socket.send(frame(PONG, payload))

    def seqs(self) -> list[int]:
        """Return the sequence numbers of the views it was sent."""
        return [message["seq"] for message in self.messages]


class PongReader(asyncio.Protocol):
    """Takes the place of Hypercorn: reads several pongs that came at once."""

    def __init__(self) -> None:
        self.connection: ClientConnection | None = None

    def data_received(self, data: bytes) -> None:
        """Read pongs of six bytes of head, masked with zeros, and a payload."""
        while data and self.connection is not None:
            size = data[1] & 0x7F
            self.connection.on_pong(data[6 : 6 + size])
            data = data[6 + size :]


class Fanout:
    """A hub, its broadcast groups, and clients."""

    def __init__(self) -> None:
        self.hub = Hub(INSTANCE, no_candles, Watchers())
        self.hub.open("BTCUSDT")
        self.scheduler = FlushScheduler(lambda _: None)
        self.groups = BroadcastGroups(self.hub, self.scheduler)
        self.seq = 0
        self.trade_id = 0
        self.clients: list[Client] = []

    async def client(self, *topics: Topic, buffer_bytes: int = 0, deflated: bool = False) -> Client:
        """Connect a client with these topics."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        if buffer_bytes:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        reader = PongReader()
        connection = reader.connection = ClientConnection(reader, ConnectionRegistry(1))
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        connection.uses_deflate = deflated
        queue = DirectClientQueue(self.scheduler, connection, TIMEOUT_S, lambda: None)
        client = Client(queue, connection, theirs)
        self.clients.append(client)
        self.groups.set_topics(queue, topics, topics)
        await self.rounds()
        return client

    def publish(self, padding: int = 0) -> None:
        """Publish a view."""
        self.seq += 1
        self.hub.publish(book_channel("BTCUSDT"), view(self.seq, padding=padding))

    def trade(self, count: int) -> None:
        """Publish so many new trades."""
        self.seq += 1
        trades = [{"id": self.trade_id + number, "pad": "x" * 100} for number in range(count)]
        self.trade_id += count
        body = {"seq": self.seq, "instance": INSTANCE, "symbol": "BTCUSDT", "trades": trades}
        self.hub.publish(trades_channel("BTCUSDT"), orjson.dumps(body))

    async def rounds(self, count: int = 3) -> None:
        """Let what is due be sent, and what has arrived be read."""
        for _ in range(count):
            await asyncio.sleep(0.002)

    async def read_all(self) -> None:
        """Let every client read until there is no more."""
        for _ in range(20):
            for client in self.clients:
                client.read()
            await self.rounds(2)

    def place_of(self, client: Client) -> str:
        """Return where the group has this client."""
        group: Any = client.queue.group
        names = ("in_sync", "probed", "behind")
        return next(name for name in names if client.queue in getattr(group, f"_{name}"))


@asynccontextmanager
async def running_fanout() -> AsyncIterator[Fanout]:
    """Run a fan-out, and close its sockets afterwards."""
    fanout = Fanout()
    try:
        yield fanout
    finally:
        for client in fanout.clients:
            client.queue.end()
            client.connection.abort()
            client.socket.close()
        await fanout.rounds()


async def test_clients_that_keep_up_are_written_to_together() -> None:
    """From its second view on a client is in sync, and gets the same bytes as the others."""
    async with running_fanout() as fanout:
        clients = [await fanout.client(VIEWS) for _ in range(3)]
        for _ in range(3):
            fanout.publish()
            await fanout.rounds()
        await fanout.read_all()

        assert [fanout.place_of(client) for client in clients] == ["in_sync"] * 3
        assert [client.seqs() for client in clients] == [[1, 2, 3]] * 3


async def test_a_late_client_gets_the_current_view_once() -> None:
    """It may join between a view and its flush, too."""
    async with running_fanout() as fanout:
        first = await fanout.client(VIEWS)
        fanout.publish()
        second = await fanout.client(VIEWS)
        fanout.publish()
        await fanout.rounds()
        await fanout.read_all()

        assert first.seqs() == second.seqs() == [1, 2]


async def test_a_client_that_answers_its_ping_is_in_sync_again() -> None:
    """Pings travel among its messages."""
    async with running_fanout() as fanout:
        client = await fanout.client(VIEWS)
        for _ in range(40):
            fanout.publish(padding=2000)
            await fanout.rounds()
            client.read()
        await fanout.rounds()
        fanout.publish()
        await fanout.rounds()

        assert client.pings >= 2
        assert fanout.place_of(client) == "in_sync"


async def test_a_client_that_answers_no_ping_gets_only_the_newest() -> None:
    """The other clients get every view."""
    async with running_fanout() as fanout:
        quiet, healthy = await fanout.client(VIEWS), await fanout.client(VIEWS)
        quiet.answers = False
        for _ in range(60):
            fanout.publish(padding=2000)
            await fanout.rounds()
            await fanout.read_all()
        was_behind = fanout.place_of(quiet)
        seen = quiet.seqs()[-1]

        assert was_behind == "behind"
        assert seen * 2000 <= 2 * ACK_INTERVAL_MIN_BYTES + 4000
        assert healthy.seqs() == list(range(1, 61))


async def test_a_frame_that_the_kernel_took_in_part_is_completed() -> None:
    """A full socket gets the rest of its frame, then the newest view, then is in sync again."""
    async with running_fanout() as fanout:
        client = await fanout.client(VIEWS, buffer_bytes=4096)
        fanout.publish()
        await fanout.rounds()
        for _ in range(12):
            fanout.publish(padding=1500)
            await fanout.rounds()
        was_behind = fanout.place_of(client)
        await fanout.read_all()
        for _ in range(3):
            fanout.publish()
            await fanout.rounds()
            await fanout.read_all()

        assert was_behind == "behind"
        assert client.seqs()[-1] == fanout.seq
        assert client.seqs() == sorted(set(client.seqs()))
        assert fanout.place_of(client) == "in_sync"


async def test_a_closed_descriptor_is_not_written_to() -> None:
    """It may belong to another socket by then."""
    async with running_fanout() as fanout:
        gone, other = await fanout.client(VIEWS), await fanout.client(VIEWS)
        fanout.publish()
        await fanout.rounds()
        fanout.publish()
        await fanout.rounds()
        gone.connection.abort()
        await fanout.rounds()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            got_its_number = ours.fileno() == gone.connection.descriptor
            fanout.publish()
            await fanout.rounds()
            await fanout.read_all()
            with pytest.raises(BlockingIOError):
                theirs.recv(1)

        assert got_its_number
        assert other.seqs() == [1, 2, 3]


async def test_a_failed_write_affects_one_client() -> None:
    """A network fails in more ways than a reset: a peer that has vanished times out. The others get everything."""
    async with running_fanout() as fanout:
        broken, other = await fanout.client(VIEWS), await fanout.client(VIEWS)
        for _ in range(2):
            fanout.publish()
            await fanout.rounds()
        group: Any = broken.queue.group
        with open(os.devnull, "rb") as unwritable:  # noqa: ASYNC230  # nothing is read
            group._in_sync[broken.queue] = unwritable.fileno()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(unwritable.fileno(), b"x")
            fanout.publish()
            await fanout.rounds()
        fanout.publish()
        await fanout.rounds()
        await fanout.read_all()

        assert other.seqs() == [1, 2, 3, 4]
        assert broken.seqs() == [1, 2, 3, 4]  # its transport was whole, and was given what the write did not take


async def test_a_reset_affects_one_client() -> None:
    """The others get everything."""
    async with running_fanout() as fanout:
        gone, other = await fanout.client(VIEWS), await fanout.client(VIEWS)
        for _ in range(2):
            fanout.publish()
            await fanout.rounds()
        gone.socket.close()
        fanout.publish()
        await fanout.rounds()
        await asyncio.sleep(0)
        fanout.clients.remove(gone)
        await fanout.read_all()

        assert other.seqs() == [1, 2, 3]
        gone.queue.end()


async def test_a_group_without_clients_is_removed() -> None:
    """So are its topic streams."""
    async with running_fanout() as fanout:
        client = await fanout.client(BOOK, TRADES)
        count, was_watched = len(fanout.groups), fanout.hub.is_watched("BTCUSDT")
        client.queue.end()

        assert (count, was_watched) == (1, True)
        assert len(fanout.groups) == 0
        assert not fanout.hub.is_watched("BTCUSDT")


async def test_different_topics_are_different_groups() -> None:
    """So are different options, and compression."""
    async with running_fanout() as fanout:
        await fanout.client(BOOK)
        await fanout.client(BOOK)
        await fanout.client(BOOK, TRADES)
        await fanout.client(BOOK, deflated=True)

        assert len(fanout.groups) == 3


async def test_a_changed_subscription_repeats_and_skips_nothing() -> None:
    """A topic that stays continues; a new one begins with its current message."""
    async with running_fanout() as fanout:
        client = await fanout.client(TRADES)
        fanout.trade(3)
        await fanout.rounds()
        fanout.publish()
        fanout.trade(2)
        fanout.groups.set_topics(client.queue, [TRADES, BOOK], [BOOK])
        fanout.trade(1)
        await fanout.rounds()
        await fanout.read_all()
        trades = [trade["id"] for message in client.messages for trade in message.get("trades", [])]

        assert trades == list(range(6))
        assert any(message["topic"] == "book.BTCUSDT" for message in client.messages)


async def test_an_awaited_queue_is_broadcast_to() -> None:
    """Its task takes the same messages."""
    async with running_fanout() as fanout:
        queue = AwaitedClientQueue(fanout.scheduler)
        fanout.groups.set_topics(queue, [VIEWS], [VIEWS])
        await fanout.client(VIEWS)
        fanout.publish()
        await fanout.rounds()
        messages = await queue.next()
        queue.end()

        assert [message.payload for message in messages or []] == [view(1)]


@pytest.mark.parametrize("seed", range(20))
async def test_trades_are_complete_and_views_in_order(seed: int) -> None:
    """With slow, full, silent, leaving and joining clients, each gets every trade from its first on, once."""
    rng = random.Random(seed)  # one seed, one course of events
    async with running_fanout() as fanout:
        clients = [await fanout.client(TRADES, VIEWS, buffer_bytes=rng.choice([0, 4096])) for _ in range(6)]
        for _ in range(150):
            await act_at_random(fanout, clients, rng)
        for client in clients:
            client.answers = True
            client.socket.send(frame(PONG, client.connection.window.ping_payload()))
        await fanout.read_all()
        fanout.publish()
        fanout.trade(1)
        await fanout.rounds(10)
        await fanout.read_all()

        for client in clients:
            views = [message["seq"] for message in client.messages if "padding" in message]
            trades = [trade["id"] for message in client.messages for trade in message.get("trades", [])]
            assert views == sorted(set(views))
            assert trades == list(range(trades[0], fanout.trade_id))
            assert views[-1] == fanout.seq - 1


async def act_at_random(fanout: Fanout, clients: list[Client], rng: random.Random) -> None:
    """Publish, read, answer, join or leave at random."""
    for _ in range(rng.randrange(3)):
        fanout.publish(padding=rng.choice([0, 1500]))
    if rng.random() < 0.6:
        fanout.trade(rng.choice([1, 5, 40]))
    if rng.random() < 0.2:
        await fanout.rounds(1)
    for client in clients:
        client.answers = rng.random() < 0.9
        if rng.random() < 0.4:
            client.read()
    if rng.random() < 0.1:
        clients.append(await fanout.client(TRADES, VIEWS))
    if rng.random() < 0.05:
        clients.pop(0).queue.end()
