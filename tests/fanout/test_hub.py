"""The hub's rules: which message is news, and who is told."""

import pytest

from pulse.fanout.hub import OWN_SILENCE_MAX_S, Hub, read_stamp
from pulse.fanout.requests import view_topic
from pulse.server.ws_frames import EncodedMessage
from tests.support.web import view

TOPIC, OTHER_TOPIC = "book:BTCUSDT", "book:ETHUSDT"
OWN, OTHER, THIRD = "0a1b2c3d", "ffff0000", "eeee0000"


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Seconds, as set."""
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    """The hub's clock."""
    return Watch()


@pytest.fixture
def hub(watch: Watch) -> Hub:
    """A hub of two topics."""
    return Hub(["BTCUSDT", "ETHUSDT"], OWN, watch)


CHOICE, OTHER_CHOICE = view_topic("BTCUSDT"), view_topic("ETHUSDT")


class Ear:
    """A listener that keeps what it was told; its end shows as None."""

    def __init__(self) -> None:
        self.heard: list[bytes | None] = []

    def put(self, message: EncodedMessage) -> None:
        """Keep it."""
        self.heard.append(message.payload)

    def end(self) -> None:
        """Keep that too."""
        self.heard.append(None)


def test_the_stamp_is_read_from_the_first_bytes() -> None:
    """A view tells its instance and number without being decoded."""
    stamp = read_stamp(view(1234, instance=OTHER))

    assert stamp == (OTHER, 1234)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"seq":-1,"instance":"aa",',
        b'{"seq":1.5,"instance":"aa",',
        b'{"instance":"aa","seq":1}',
        b' {"seq":1,"instance":"aa",',
        '{"seq":\N{ARABIC-INDIC DIGIT ONE},"instance":"aa",'.encode(),
    ],
)
def test_what_does_not_begin_as_a_picture_has_no_stamp(payload: bytes) -> None:
    """A foreign message is told apart by its first bytes."""
    with pytest.raises(ValueError, match="begins with"):
        read_stamp(payload)


def test_there_is_no_picture_before_the_first(hub: Hub) -> None:
    """A topic without a view, and a topic that there is not, have no latest."""
    assert hub.latest(TOPIC) is None
    assert hub.latest("book:NONE") is None


def test_the_newest_picture_is_kept(hub: Hub) -> None:
    """A higher number of the same instance replaces the view held."""
    hub.publish(TOPIC, view(1))
    hub.publish(TOPIC, view(2))

    assert hub.latest(TOPIC) == view(2)


@pytest.mark.parametrize("seq", [4, 5])
def test_an_old_picture_is_dropped(hub: Hub, seq: int) -> None:
    """A view that is older than the one held, or the same, is not passed on."""
    hub.publish(TOPIC, view(5))
    hub.publish(TOPIC, view(seq, padding=9))

    assert hub.latest(TOPIC) == view(5)
    assert hub.dropped == 1


def test_topics_are_judged_apart(hub: Hub) -> None:
    """A number on one topic says nothing about another."""
    hub.publish(TOPIC, view(5))
    hub.publish(OTHER_TOPIC, view(1))

    assert hub.latest(OTHER_TOPIC) == view(1)


@pytest.mark.parametrize("payload", [b"PING", b'{"seq":1}'])
def test_a_foreign_message_is_dropped(hub: Hub, payload: bytes) -> None:
    """Whatever else is said on the bus's channel is not passed on."""
    hub.publish(TOPIC, payload)

    assert hub.latest(TOPIC) is None
    assert hub.dropped == 1


def test_a_message_of_an_unknown_topic_is_dropped(hub: Hub) -> None:
    """A topic that there is not is counted and forgotten."""
    hub.publish("book:NONE", view(1))

    assert hub.dropped == 1


def test_another_instance_is_not_heard_while_our_own_speaks(hub: Hub, watch: Watch) -> None:
    """Two processes overlap at a deploy: the own book stays."""
    hub.publish(TOPIC, view(1))
    watch.now_s += OWN_SILENCE_MAX_S
    hub.publish(TOPIC, view(900, instance=OTHER))

    assert hub.latest(TOPIC) == view(1)


def test_another_instance_is_heard_once_our_own_is_silent(hub: Hub, watch: Watch) -> None:
    """A process whose feed died shows what another one still knows."""
    hub.publish(TOPIC, view(100))
    watch.now_s += OWN_SILENCE_MAX_S + 0.001
    hub.publish(TOPIC, view(1, instance=OTHER))

    assert hub.latest(TOPIC) == view(1, instance=OTHER)


def test_our_own_instance_is_heard_at_once(hub: Hub) -> None:
    """What another process left on the bus gives way to our first view, whatever its number."""
    hub.publish(TOPIC, view(900, instance=OTHER))
    hub.publish(TOPIC, view(1))

    assert hub.latest(TOPIC) == view(1)


def test_a_viewer_does_not_jump_between_two_other_instances(hub: Hub) -> None:
    """A process without a feed stays with the instance it hears."""
    hub.publish(TOPIC, view(5, instance=OTHER))
    hub.publish(TOPIC, view(9, instance=THIRD))

    assert hub.latest(TOPIC) == view(5, instance=OTHER)


def test_who_begins_can_be_told_the_latest(hub: Hub) -> None:
    """A page does not wait for the next change."""
    before = hub.now(CHOICE)
    hub.publish(TOPIC, view(7))
    now = hub.now(CHOICE)

    assert before is None
    assert now is not None
    assert now.payload == view(7)


def test_listeners_are_told_of_their_own_topics(hub: Hub) -> None:
    """Each view goes to those who joined its topic, and to no others."""
    one, other = Ear(), Ear()
    hub.subscribe(CHOICE, one)
    hub.subscribe(OTHER_CHOICE, other)
    hub.publish(TOPIC, view(1))
    hub.publish(OTHER_TOPIC, view(1, "ETHUSDT"))

    assert (one.heard, other.heard) == ([view(1)], [view(1, "ETHUSDT")])


def test_all_listeners_get_the_very_same_message(hub: Hub) -> None:
    """What is framed for one is framed for all."""
    one, other = Ear(), Ear()
    hub.subscribe(CHOICE, one)
    hub.subscribe(CHOICE, other)
    hub.publish(TOPIC, view(1))

    assert one.heard[0] is other.heard[0]


def test_who_leaves_is_told_nothing_more(hub: Hub) -> None:
    """A session that ended costs nothing; leaving twice does no harm."""
    ear = Ear()
    hub.subscribe(CHOICE, ear)
    hub.unsubscribe(CHOICE, ear)
    hub.unsubscribe(CHOICE, ear)
    hub.publish(TOPIC, view(1))

    assert ear.heard == []
    assert not hub.is_heard("BTCUSDT")


def test_a_topic_that_there_is_not_cannot_be_joined(hub: Hub) -> None:
    """The caller checks the symbol first."""
    with pytest.raises(KeyError):
        hub.subscribe(view_topic("NONE"), Ear())


def test_closing_tells_every_client(hub: Hub) -> None:
    """Those who are there learn of the end, and so does whoever comes late; who has left does not."""
    early, gone, late = Ear(), Ear(), Ear()
    hub.admit(early)
    hub.admit(gone)
    hub.dismiss(gone)
    hub.close()
    hub.admit(late)

    assert (early.heard, gone.heard, late.heard) == ([None], [], [None])
