"""The hub: which messages are passed on, and to which subscribers."""

import orjson
import pytest

from pulse.fanout.hub import CURRENT_S, OWN_SILENCE_MAX_S, Hub
from pulse.fanout.requests import Topic, cost_topic, ladder_topic, view_topic
from pulse.market.liquidity import NO_INTEREST, Interest
from pulse.server.ws_frames import EncodedMessage
from pulse.wire import encode_view, liquidity_channel
from tests.support.market import liquidity_of
from tests.support.web import Watchers, no_candles, view

CHANNEL, OTHER_CHANNEL = "book:BTCUSDT", "book:ETHUSDT"
OWN, OTHER, THIRD = "0a1b2c3d", "ffff0000", "eeee0000"


class ManualSeconds:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the seconds set."""
        return self.now_s


@pytest.fixture
def clock() -> ManualSeconds:
    """Make the hub's clock."""
    return ManualSeconds()


@pytest.fixture
def watchers() -> Watchers:
    """Make what the hub tells of its subscribers."""
    return Watchers()


@pytest.fixture
def hub(clock: ManualSeconds, watchers: Watchers) -> Hub:
    """Make a hub of two symbols."""
    made = Hub(OWN, no_candles, watchers, clock)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        made.open(symbol)
    return made


TOPIC, OTHER_TOPIC = view_topic("BTCUSDT"), view_topic("ETHUSDT")


class Subscriber:
    """A subscriber that keeps what it was sent; its end shows as None."""

    def __init__(self) -> None:
        self.received: list[bytes | None] = []

    def put(self, message: EncodedMessage) -> None:
        """Keep a message."""
        self.received.append(message.payload)

    def end(self) -> None:
        """Keep the end."""
        self.received.append(None)


def test_there_is_no_latest_view_before_the_first(hub: Hub) -> None:
    """Nor on an unknown channel."""
    assert hub.latest(CHANNEL) is None
    assert hub.latest("book:NONE") is None


def test_the_newest_view_is_kept(hub: Hub) -> None:
    """A higher sequence number of the same instance replaces the view held."""
    hub.publish(CHANNEL, view(1))
    hub.publish(CHANNEL, view(2))

    assert hub.latest(CHANNEL) == view(2)


@pytest.mark.parametrize("seq", [4, 5])
def test_an_old_view_is_dropped(hub: Hub, seq: int) -> None:
    """A view that is older than the one held, or the same, is not passed on."""
    hub.publish(CHANNEL, view(5))
    hub.publish(CHANNEL, view(seq, padding=9))

    assert hub.latest(CHANNEL) == view(5)
    assert hub.dropped == 1


def test_channels_have_their_own_sequence(hub: Hub) -> None:
    """A number on one channel says nothing about another."""
    hub.publish(CHANNEL, view(5))
    hub.publish(OTHER_CHANNEL, view(1))

    assert hub.latest(OTHER_CHANNEL) == view(1)


@pytest.mark.parametrize("payload", [b"PING", b'{"seq":1}'])
def test_a_foreign_message_is_dropped(hub: Hub, payload: bytes) -> None:
    """What is not a view is counted, and not passed on."""
    hub.publish(CHANNEL, payload)

    assert hub.latest(CHANNEL) is None
    assert hub.dropped == 1


def test_a_message_of_an_unknown_channel_is_dropped(hub: Hub) -> None:
    """It is counted."""
    hub.publish("book:NONE", view(1))

    assert hub.dropped == 1


def test_another_instance_is_ignored_while_our_own_publishes(hub: Hub, clock: ManualSeconds) -> None:
    """Two processes overlap at a deploy: our own book stays."""
    hub.publish(CHANNEL, view(1))
    clock.now_s += OWN_SILENCE_MAX_S
    hub.publish(CHANNEL, view(900, instance=OTHER))

    assert hub.latest(CHANNEL) == view(1)


def test_another_instance_is_shown_once_our_own_is_silent(hub: Hub, clock: ManualSeconds) -> None:
    """A process whose stream has stopped shows what another one still publishes."""
    hub.publish(CHANNEL, view(100))
    clock.now_s += OWN_SILENCE_MAX_S + 0.001
    hub.publish(CHANNEL, view(1, instance=OTHER))

    assert hub.latest(CHANNEL) == view(1, instance=OTHER)


def test_a_lower_token_is_never_shown(hub: Hub, clock: ManualSeconds) -> None:
    """Not even one of our own instance, nor after a silence, nor one of an earlier version, which has no token."""
    hub.publish(CHANNEL, view(1, instance=OTHER, token=8))
    clock.now_s += OWN_SILENCE_MAX_S + 1
    for late in (view(900, token=7), view(900, instance=OTHER, token=7), view(900, instance=THIRD, token=None)):
        hub.publish(CHANNEL, late)

    assert hub.latest(CHANNEL) == view(1, instance=OTHER, token=8)
    assert hub.dropped == 3


def test_a_higher_token_is_shown_at_once(hub: Hub) -> None:
    """Also while our own instance publishes under a lower one, and whatever the sequence number."""
    hub.publish(CHANNEL, view(900, token=7))
    hub.publish(CHANNEL, view(1, instance=OTHER, token=8))

    assert hub.latest(CHANNEL) == view(1, instance=OTHER, token=8)


def test_with_one_token_our_own_instance_takes_precedence(hub: Hub) -> None:
    """Two processes that are both alone have the highest token known: each shows its own book."""
    hub.publish(CHANNEL, view(900, instance=OTHER, token=8))
    hub.publish(CHANNEL, view(1, token=8))
    hub.publish(CHANNEL, view(901, instance=OTHER, token=8))

    assert hub.latest(CHANNEL) == view(1, token=8)


def test_the_highest_token_of_a_symbol_is_known(hub: Hub) -> None:
    """Of its views and of its trades; none before the first, and of an unknown symbol."""
    assert (hub.token("BTCUSDT"), hub.token("NONE")) == (0, 0)

    hub.publish(CHANNEL, view(1, token=7))
    hub.publish("trades:BTCUSDT", orjson.dumps({"seq": 1, "instance": OTHER, "token": 8, "trades": []}))

    assert (hub.token("BTCUSDT"), hub.token("ETHUSDT")) == (8, 0)


def test_our_own_instance_takes_precedence(hub: Hub) -> None:
    """Our first view replaces another process's, whatever its number."""
    hub.publish(CHANNEL, view(900, instance=OTHER))
    hub.publish(CHANNEL, view(1))

    assert hub.latest(CHANNEL) == view(1)


def test_a_client_does_not_jump_between_two_other_instances(hub: Hub) -> None:
    """A process without a stream stays with the instance it has."""
    hub.publish(CHANNEL, view(5, instance=OTHER))
    hub.publish(CHANNEL, view(9, instance=THIRD))

    assert hub.latest(CHANNEL) == view(5, instance=OTHER)


def test_a_new_subscriber_gets_the_current_view(hub: Hub) -> None:
    """A page does not wait for the next change."""
    before = hub.current(TOPIC)
    hub.publish(CHANNEL, view(7))
    now = hub.current(TOPIC)

    assert before is None
    assert now is not None
    assert now.payload == view(7)


def test_subscribers_get_their_own_topics(hub: Hub) -> None:
    """Each view goes to the subscribers of its topic, and to no others."""
    one, other = Subscriber(), Subscriber()
    hub.subscribe(TOPIC, one)
    hub.subscribe(OTHER_TOPIC, other)
    hub.publish(CHANNEL, view(1))
    hub.publish(OTHER_CHANNEL, view(1, "ETHUSDT"))

    assert (one.received, other.received) == ([view(1)], [view(1, "ETHUSDT")])


def test_all_subscribers_get_the_same_message_object(hub: Hub) -> None:
    """What is encoded for one is encoded for all."""
    one, other = Subscriber(), Subscriber()
    hub.subscribe(TOPIC, one)
    hub.subscribe(TOPIC, other)
    hub.publish(CHANNEL, view(1))

    assert one.received[0] is other.received[0]


def test_an_unsubscribed_listener_gets_nothing_more(hub: Hub) -> None:
    """Unsubscribing twice does no harm."""
    subscriber = Subscriber()
    hub.subscribe(TOPIC, subscriber)
    hub.unsubscribe(TOPIC, subscriber)
    hub.unsubscribe(TOPIC, subscriber)
    hub.publish(CHANNEL, view(1))

    assert subscriber.received == []
    assert not hub.is_watched("BTCUSDT")


def test_an_unknown_symbol_cannot_be_subscribed(hub: Hub, watchers: Watchers) -> None:
    """The caller checks the symbol first; nothing is watched then."""
    with pytest.raises(KeyError):
        hub.subscribe(view_topic("NONE"), Subscriber())

    assert watchers.calls == []


def test_subscribers_of_a_symbol_are_one_watcher(hub: Hub, watchers: Watchers) -> None:
    """The first topic with a subscriber begins it and the last ends it, whichever channel they are made from."""
    trades, one, other = Topic("trades.BTCUSDT", "trades", "BTCUSDT"), Subscriber(), Subscriber()
    hub.subscribe(trades, one)
    hub.subscribe(TOPIC, one)
    hub.subscribe(TOPIC, other)
    hub.unsubscribe(trades, one)
    hub.unsubscribe(TOPIC, one)
    before_last = list(watchers.calls)
    hub.unsubscribe(TOPIC, other)
    hub.unsubscribe(TOPIC, other)

    assert before_last == [("watch", "BTCUSDT")]
    assert watchers.calls == [("watch", "BTCUSDT"), ("unwatch", "BTCUSDT")]


def test_a_view_is_current_if_a_subscriber_would_have_it(hub: Hub, clock: ManualSeconds) -> None:
    """Without a subscriber only one that has just been received; with one any that came since it subscribed."""
    found = [hub.is_current("BTCUSDT")]
    hub.publish(CHANNEL, view(1))
    for wait_s in (CURRENT_S / 2, CURRENT_S):
        clock.now_s += wait_s
        found.append(hub.is_current("BTCUSDT"))
    hub.subscribe(TOPIC, Subscriber())
    found.append(hub.is_current("BTCUSDT"))
    hub.publish(CHANNEL, view(2))
    clock.now_s += 60.0
    found.append(hub.is_current("BTCUSDT"))

    assert found == [False, True, False, False, True]


def test_shutting_down_closes_every_client(hub: Hub) -> None:
    """Also one that connects later; not one that has left."""
    early, gone, late = Subscriber(), Subscriber(), Subscriber()
    hub.add_client(early)
    hub.add_client(gone)
    hub.remove_client(gone)
    hub.shut_down()
    hub.add_client(late)

    assert (early.received, gone.received, late.received) == ([None], [], [None])


def test_interest_is_what_clients_are_subscribed_to(hub: Hub) -> None:
    """Each ladder and sum once, whatever its rows and rates; of one symbol."""
    subscriber = Subscriber()
    topics = [ladder_topic("BTCUSDT", 10, 20), ladder_topic("BTCUSDT", 10, 50), cost_topic("BTCUSDT", "0.25")]
    for topic in topics:
        hub.subscribe(topic, subscriber)
    before = hub.interest("BTCUSDT")
    hub.unsubscribe(topics[0], subscriber)
    still = hub.interest("BTCUSDT")
    for topic in topics[1:]:
        hub.unsubscribe(topic, subscriber)

    assert before == still == Interest(frozenset({10}), frozenset({0.25}))
    assert hub.interest("BTCUSDT") == hub.interest("ETHUSDT") == hub.interest("NONE") == NO_INTEREST


def test_ladder_that_nobody_watched_is_not_sent_as_the_current_one(hub: Hub) -> None:
    """It is as old as the last watcher; a new one waits for the next."""
    topic, subscriber = ladder_topic("BTCUSDT", 10, 20), Subscriber()
    hub.subscribe(topic, subscriber)
    hub.publish(liquidity_channel("BTCUSDT"), encode_view(liquidity_of(Interest(frozenset({10})))))
    watched, other = hub.current(topic), hub.current(ladder_topic("BTCUSDT", 20, 20))
    hub.unsubscribe(topic, subscriber)

    assert watched is not None
    assert subscriber.received == [watched.payload]
    assert other is None
    assert hub.current(topic) is None


def test_each_ladder_is_a_watcher_of_its_own(hub: Hub, watchers: Watchers) -> None:
    """A view is made at once for a new one, also of a symbol that is watched already; not for more readers of it."""
    subscribers = [Subscriber(), Subscriber()]
    topic = ladder_topic("BTCUSDT", 10, 20)
    hub.subscribe(TOPIC, subscribers[0])
    for subscriber in subscribers:
        hub.subscribe(topic, subscriber)
    during = watchers.counts["BTCUSDT"]
    for subscriber in subscribers:
        hub.unsubscribe(topic, subscriber)
    after = watchers.counts["BTCUSDT"]
    hub.unsubscribe(TOPIC, subscribers[0])

    assert (during, after, watchers.counts["BTCUSDT"]) == (2, 1, 0)


def test_views_are_found_by_number_while_they_are_watched(hub: Hub) -> None:
    """And the newest in any case; trades and ladders, which have the same numbers, are no views."""
    hub.publish(CHANNEL, view(1))
    hub.subscribe(TOPIC, Subscriber())
    hub.publish(CHANNEL, view(2))
    hub.publish(CHANNEL, view(3))
    hub.publish(liquidity_channel("BTCUSDT"), encode_view(liquidity_of(Interest(frozenset({10})))))
    hub.publish(OTHER_CHANNEL, view(8, "ETHUSDT"))

    assert [hub.view("BTCUSDT", seq) for seq in (1, 2, 3)] == [None, view(2), view(3)]
    assert hub.view("ETHUSDT", 8) == view(8, "ETHUSDT")
    assert hub.view("NONE", 1) is None
