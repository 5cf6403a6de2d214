"""The relay: what leaves the engine is encoded once and published, and what the bus delivers is passed on untouched."""

import asyncio

import orjson
import pytest

from pulse.bus.memory import MemoryBus
from pulse.bus.relay import Relay
from pulse.latency import BUS, Latency
from pulse.market.market import Market, Origin
from pulse.market.types import FeedUp
from pulse.queues import ConflatingQueue, Outbox
from pulse.wire import AnyView, book_channel, encode_view, read_stamp, trades_channel
from tests.support.makers import ManualClock, trade

BTC = "BTCUSDT"
BOOK = book_channel(BTC)


class Received:
    """A relay of one symbol on the memory bus, and what its receiver got."""

    def __init__(self) -> None:
        self.outbox: Outbox = ConflatingQueue()
        self.latency = Latency("00")
        self.clock = ManualClock()
        self.token, self.may_publish = 0, True
        self.messages: list[tuple[str, bytes, AnyView | None]] = []
        self.relay = Relay(
            self.outbox,
            self.keep,
            self.latency,
            self.clock,
            token=lambda _: self.token,
            may_publish=lambda _: self.may_publish,
        )
        self.bus = MemoryBus(self.relay.deliver)
        self.market = Market(BTC, Origin("00", "exchange", "us"), levels_max=10, trades_kept=1, stale_after_ms=5000)
        for part in (self.relay, self.bus):
            part.open(BTC)

    def keep(self, channel: str, payload: bytes, view: AnyView | None) -> None:
        """Keep what was received."""
        self.messages.append((channel, payload, view))

    async def run(self) -> None:
        """Run the relay until the outbox is empty."""
        task = asyncio.create_task(self.relay.run(self.bus))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def test_the_newest_view_is_published() -> None:
    """A view that was replaced in the outbox is never encoded."""
    received = Received()
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    await received.run()

    assert [(channel, orjson.loads(payload)["seq"]) for channel, payload, _ in received.messages] == [(BOOK, 2)]


async def test_a_view_of_this_process_comes_with_its_object() -> None:
    """The receiver need not decode it; so do trades."""
    received = Received()
    received.market.apply(FeedUp(), 0.0)
    received.market.apply(trade(1), 0.0)
    view = received.market.view(0.0, 0.0)
    trades = received.market.trades_view()
    assert trades is not None
    received.outbox.put(BOOK, view)
    received.outbox.put(trades_channel(BTC), trades)
    await received.run()

    assert [(payload, made) for _, payload, made in received.messages] == [
        (encode_view(view), view), (encode_view(trades), trades),
    ]  # fmt: skip


@pytest.mark.parametrize("payload", [b'{"seq":1,"instance":"ff","symbol":"BTCUSDT"}', b"nonsense"])
async def test_a_view_of_another_process_comes_without_an_object(payload: bytes) -> None:
    """Its bytes are passed on untouched."""
    received = Received()
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    await received.run()
    received.messages.clear()
    received.relay.deliver(BOOK, payload)

    assert received.messages == [(BOOK, payload, None)]


async def test_views_carry_the_token() -> None:
    """The one of the moment in which they are encoded."""
    received = Received()
    received.token = 7
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    await received.run()

    (_, payload, view), *_ = received.messages
    assert read_stamp(payload).token == 7
    assert view is not None
    assert view.token == 7


async def test_what_may_not_be_published_stays_within_the_process() -> None:
    """The bus is not used: another process may own the symbol."""
    received = Received()
    received.may_publish = False
    received.bus.close(BTC)  # raises for what is published
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    await received.run()

    assert [channel for channel, _, _ in received.messages] == [BOOK]


async def test_the_bus_hop_is_measured() -> None:
    """From the engine's view to its delivery."""
    received = Received()
    view = received.market.view(0.0, 0.0)
    received.latency.published(BTC, view.seq, 0.0, 0.0)
    received.clock.at_ms = 4.0
    received.outbox.put(BOOK, view)
    await received.run()

    assert received.latency.quantile_ms(BUS, 0.5) == pytest.approx(4.0, rel=0.25)


async def test_a_closed_symbol_is_not_published() -> None:
    """What waits of it is dropped."""
    received = Received()
    received.outbox.put(BOOK, received.market.view(0.0, 0.0))
    received.relay.close(BTC)
    received.bus.close(BTC)
    await received.run()

    assert received.messages == []
