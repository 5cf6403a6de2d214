"""Who is written to together, who by itself, and that nobody misses or repeats anything on the way between the two.

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
from pulse.fanout.client_queue import AwaitedClientQueue, DirectClientQueue, FlushScheduler
from pulse.fanout.hub import Hub
from pulse.fanout.requests import Topic, view_topic
from pulse.server.connection import ClientConnection
from pulse.server.connection_registry import ConnectionRegistry
from pulse.server.flow_control import ACK_INTERVAL_MIN_BYTES
from pulse.wire import book_topic, trades_topic
from tests.support.web import INSTANCE, PING, PONG, TEXT, frame, split_frames, view

PICTURES = view_topic("BTCUSDT")
TRADES = Topic("trades.BTCUSDT", "trades", "BTCUSDT", 0)
BOOK = Topic("book.BTCUSDT", "book", "BTCUSDT", 5)
PATIENCE_S = 60.0


@dataclass
class Client:
    """One end of a pair of sockets; the other is the server's. It answers pings while `answers`."""

    outlet: DirectClientQueue
    connection: ClientConnection
    socket: socket.socket
    answers: bool = True
    messages: list[dict[str, Any]] = field(default_factory=list)
    pings: int = 0
    rest: bytes = b""

    def read(self) -> None:
        """Take all that is there."""
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
        """The numbers of the views it was sent."""
        return [message["seq"] for message in self.messages]


class Rest(asyncio.Protocol):
    """Stands where Hypercorn does: hears the pongs that came several at once."""

    def __init__(self) -> None:
        self.connection: ClientConnection | None = None

    def data_received(self, data: bytes) -> None:
        """Each is six bytes of head, masked with nothing, and its payload."""
        while data and self.connection is not None:
            size = data[1] & 0x7F
            self.connection.on_pong(data[6 : 6 + size])
            data = data[6 + size :]


class House:
    """A hub, its audiences, and clients."""

    def __init__(self) -> None:
        self.hub = Hub(["BTCUSDT"], INSTANCE)
        self.scheduler = FlushScheduler()
        self.audiences = BroadcastGroups(self.hub, self.scheduler)
        self.seq = 0
        self.trade_id = 0
        self.clients: list[Client] = []

    async def client(self, *choices: Topic, buffer_bytes: int = 0, deflated: bool = False) -> Client:
        """Somebody who wants these topics."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        if buffer_bytes:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        rest = Rest()
        connection = rest.connection = ClientConnection(rest, ConnectionRegistry(1))
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        connection.uses_deflate = deflated
        outlet = DirectClientQueue(self.scheduler, connection, PATIENCE_S)
        client = Client(outlet, connection, theirs)
        self.clients.append(client)
        self.audiences.seat(outlet, choices, choices)
        await self.rounds()
        return client

    def publish(self, padding: int = 0) -> None:
        """A new view."""
        self.seq += 1
        self.hub.publish(book_topic("BTCUSDT"), view(self.seq, padding=padding))

    def trade(self, count: int) -> None:
        """So many new trades."""
        self.seq += 1
        trades = [{"id": self.trade_id + number, "pad": "x" * 100} for number in range(count)]
        self.trade_id += count
        body = {"seq": self.seq, "instance": INSTANCE, "symbol": "BTCUSDT", "trades": trades}
        self.hub.publish(trades_topic("BTCUSDT"), orjson.dumps(body))

    async def rounds(self, count: int = 3) -> None:
        """Let what is due be sent, and what has come be heard."""
        for _ in range(count):
            await asyncio.sleep(0.002)

    async def read_all(self) -> None:
        """Everybody reads until there is no more."""
        for _ in range(20):
            for client in self.clients:
                client.read()
            await self.rounds(2)

    def places(self, client: Client) -> str:
        """Where the audience has this client."""
        audience: Any = client.outlet.group
        names = ("level", "watched", "behind")
        return next(name for name in names if client.outlet in getattr(audience, f"_{name}"))


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    """A house whose sockets are closed afterwards."""
    house = House()
    try:
        yield house
    finally:
        for client in house.clients:
            client.outlet.end()
            client.connection.abort()
            client.socket.close()
        await house.rounds()


async def test_who_has_kept_up_is_written_to_without_a_look() -> None:
    """From its second view on a client is level, and gets the same bytes as everybody."""
    async with open_house() as house:
        clients = [await house.client(PICTURES) for _ in range(3)]
        for _ in range(3):
            house.publish()
            await house.rounds()
        await house.read_all()

        assert [house.places(client) for client in clients] == ["level"] * 3
        assert [client.seqs() for client in clients] == [[1, 2, 3]] * 3


async def test_who_comes_late_is_told_what_there_is_and_nothing_twice() -> None:
    """It joins at any moment, between a view and its round too."""
    async with open_house() as house:
        first = await house.client(PICTURES)
        house.publish()
        second = await house.client(PICTURES)
        house.publish()
        await house.rounds()
        await house.read_all()

        assert first.seqs() == second.seqs() == [1, 2]


async def test_a_client_is_asked_how_far_it_has_read_and_goes_on() -> None:
    """Its answer makes it level again."""
    async with open_house() as house:
        client = await house.client(PICTURES)
        for _ in range(40):
            house.publish(padding=2000)
            await house.rounds()
            client.read()
        await house.rounds()
        house.publish()
        await house.rounds()

        assert client.pings >= 2
        assert house.places(client) == "level"


async def test_who_does_not_answer_is_owed_the_newest_alone() -> None:
    """The others do not notice."""
    async with open_house() as house:
        quiet, healthy = await house.client(PICTURES), await house.client(PICTURES)
        quiet.answers = False
        for _ in range(60):
            house.publish(padding=2000)
            await house.rounds()
            await house.read_all()
        was_behind = house.places(quiet)
        seen = quiet.seqs()[-1]

        assert was_behind == "behind"
        assert seen * 2000 <= 2 * ACK_INTERVAL_MIN_BYTES + 4000
        assert healthy.seqs() == list(range(1, 61))


async def test_what_the_kernel_did_not_take_follows_and_no_frame_is_torn() -> None:
    """A full socket gets the rest of its frame, then the newest view, then is level again."""
    async with open_house() as house:
        client = await house.client(PICTURES, buffer_bytes=4096)
        house.publish()
        await house.rounds()
        for _ in range(12):
            house.publish(padding=1500)
            await house.rounds()
        was_behind = house.places(client)
        await house.read_all()
        for _ in range(3):
            house.publish()
            await house.rounds()
            await house.read_all()

        assert was_behind == "behind"
        assert client.seqs()[-1] == house.seq
        assert client.seqs() == sorted(set(client.seqs()))
        assert house.places(client) == "level"


async def test_who_is_gone_is_not_written_to() -> None:
    """Its descriptor may be another's by then."""
    async with open_house() as house:
        gone, other = await house.client(PICTURES), await house.client(PICTURES)
        house.publish()
        await house.rounds()
        house.publish()
        await house.rounds()
        gone.connection.abort()
        await house.rounds()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            got_its_number = ours.fileno() == gone.connection.descriptor
            house.publish()
            await house.rounds()
            await house.read_all()
            with pytest.raises(BlockingIOError):
                theirs.recv(1)

        assert got_its_number
        assert other.seqs() == [1, 2, 3]


async def test_whatever_a_write_fails_with_is_one_clients_matter() -> None:
    """A network has more ways to fail than a reset: a peer that has vanished times out. The others get everything."""
    async with open_house() as house:
        broken, other = await house.client(PICTURES), await house.client(PICTURES)
        for _ in range(2):
            house.publish()
            await house.rounds()
        audience: Any = broken.outlet.group
        with open(os.devnull, "rb") as unwritable:  # noqa: ASYNC230  # nothing is read
            audience._level[broken.outlet] = unwritable.fileno()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(unwritable.fileno(), b"x")
            house.publish()
            await house.rounds()
        house.publish()
        await house.rounds()
        await house.read_all()

        assert other.seqs() == [1, 2, 3, 4]
        assert broken.seqs() == [1, 2, 3, 4]  # its transport was whole, and was given what the write did not take


async def test_an_end_by_the_client_is_survived() -> None:
    """A reset in the midst of a round is that client's matter."""
    async with open_house() as house:
        gone, other = await house.client(PICTURES), await house.client(PICTURES)
        for _ in range(2):
            house.publish()
            await house.rounds()
        gone.socket.close()
        house.publish()
        await house.rounds()
        await asyncio.sleep(0)
        house.clients.remove(gone)
        await house.read_all()

        assert other.seqs() == [1, 2, 3]
        gone.outlet.end()


async def test_nothing_is_left_of_an_audience_without_members() -> None:
    """Nor of its topics."""
    async with open_house() as house:
        client = await house.client(BOOK, TRADES)
        count, was_heard = len(house.audiences), house.hub.is_heard("BTCUSDT")
        client.outlet.end()

        assert (count, was_heard) == (1, True)
        assert len(house.audiences) == 0
        assert not house.hub.is_heard("BTCUSDT")


async def test_other_wishes_are_another_audience() -> None:
    """Topics, their options and the form of the frames."""
    async with open_house() as house:
        await house.client(BOOK)
        await house.client(BOOK)
        await house.client(BOOK, TRADES)
        await house.client(BOOK, deflated=True)

        assert len(house.audiences) == 3


async def test_who_changes_its_mind_is_asked_nothing_twice() -> None:
    """A topic that stays goes on where it was; a new one begins with what there is."""
    async with open_house() as house:
        client = await house.client(TRADES)
        house.trade(3)
        await house.rounds()
        house.publish()
        house.trade(2)
        house.audiences.seat(client.outlet, [TRADES, BOOK], [BOOK])
        house.trade(1)
        await house.rounds()
        await house.read_all()
        trades = [trade["id"] for message in client.messages for trade in message.get("trades", [])]

        assert trades == list(range(6))
        assert any(message["topic"] == "book.BTCUSDT" for message in client.messages)


async def test_who_has_a_task_of_its_own_is_owed_the_same() -> None:
    """Clients that cannot be written to directly take what is owed when they come to it."""
    async with open_house() as house:
        outlet = AwaitedClientQueue(house.scheduler)
        house.audiences.seat(outlet, [PICTURES], [PICTURES])
        await house.client(PICTURES)
        house.publish()
        await house.rounds()
        owed = await outlet.next()
        outlet.end()

        assert [message.payload for message in owed or []] == [view(1)]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_trades_are_whole_and_pictures_in_order(seed: int) -> None:
    """Slow, full, silent, leaving and coming clients, all at once: each gets every trade from its first on, once."""
    rng = random.Random(seed)  # a test's own chances
    async with open_house() as house:
        clients = [await house.client(TRADES, PICTURES, buffer_bytes=rng.choice([0, 4096])) for _ in range(6)]
        for _ in range(150):
            await live_a_moment(house, clients, rng)
        for client in clients:
            client.answers = True
            client.socket.send(frame(PONG, client.connection.window.ping_payload()))
        await house.read_all()
        house.publish()
        house.trade(1)
        await house.rounds(10)
        await house.read_all()

        for client in clients:
            views = [message["seq"] for message in client.messages if "padding" in message]
            trades = [trade["id"] for message in client.messages for trade in message.get("trades", [])]
            assert views == sorted(set(views))
            assert trades == list(range(trades[0], house.trade_id))
            assert views[-1] == house.seq - 1


async def live_a_moment(house: House, clients: list[Client], rng: random.Random) -> None:
    """Perhaps something comes, somebody reads, somebody answers, joins or leaves."""
    for _ in range(rng.randrange(3)):
        house.publish(padding=rng.choice([0, 1500]))
    if rng.random() < 0.6:
        house.trade(rng.choice([1, 5, 40]))
    if rng.random() < 0.2:
        await house.rounds(1)
    for client in clients:
        client.answers = rng.random() < 0.9
        if rng.random() < 0.4:
            client.read()
    if rng.random() < 0.1:
        clients.append(await house.client(TRADES, PICTURES))
    if rng.random() < 0.05:
        clients.pop(0).outlet.end()
