"""Control messages of a stream connection: replies, errors and the bound on streams."""

from typing import Any

import orjson
import pytest

from pulse.simulator.subscriptions import STREAMS_MAX, StreamSubscriptions


def reply_to(subscriptions: StreamSubscriptions, **request: Any) -> Any:
    """Return the reply to a request."""
    return orjson.loads(subscriptions.handle(orjson.dumps(request).decode()).text)


def test_subscribing_is_acknowledged_and_listed() -> None:
    """The reply to SUBSCRIBE is null, and the list has old and new streams in the order requested."""
    subscriptions = StreamSubscriptions(("a@trade",), combined=True)

    assert reply_to(subscriptions, method="SUBSCRIBE", params=["b@trade", "a@trade"], id=1) == {"result": None, "id": 1}
    assert reply_to(subscriptions, method="LIST_SUBSCRIPTIONS", id="x1") == {
        "result": ["a@trade", "b@trade"],
        "id": "x1",
    }


def test_unsubscribing_removes_a_stream() -> None:
    """UNSUBSCRIBE of a stream that is not subscribed is accepted too."""
    subscriptions = StreamSubscriptions(("a@trade", "b@trade"), combined=True)

    assert reply_to(subscriptions, method="UNSUBSCRIBE", params=["a@trade", "z"], id=None) == {
        "result": None,
        "id": None,
    }
    assert list(subscriptions.streams) == ["b@trade"]


def test_the_combined_property_can_be_set_and_read() -> None:
    """Wrapping can be changed on an open connection."""
    subscriptions = StreamSubscriptions((), combined=False)

    assert reply_to(subscriptions, method="SET_PROPERTY", params=["combined", True], id=1)["result"] is None
    assert reply_to(subscriptions, method="GET_PROPERTY", params=["combined"], id=2) == {"result": True, "id": 2}
    assert subscriptions.combined


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"method":"SET_PROPERTY","params":["other",true],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1),
        ('{"method":"RESUBSCRIBE","params":["a"],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
        ("[1]", 2),
        ("{", 3),
    ],
)
def test_wrong_requests_get_the_documented_codes(text: str, code: int) -> None:
    """Nothing changes, and the code states what was wrong."""
    subscriptions = StreamSubscriptions((), combined=False)
    reply = subscriptions.handle(text)

    assert (orjson.loads(reply.text)["code"], reply.close) == (code, False)
    assert (list(subscriptions.streams), subscriptions.combined) == ([], False)


def test_errors_can_come_nested() -> None:
    """Some servers put the error under a key of its own."""
    reply = orjson.loads(StreamSubscriptions((), combined=True).handle('{"id":7}', nested_errors=True).text)

    assert reply["id"] == 7
    assert reply["error"]["code"] == 2


def test_too_many_streams_end_the_connection() -> None:
    """The bound itself is allowed, one stream more is not."""
    subscriptions = StreamSubscriptions(tuple(f"s{n}" for n in range(STREAMS_MAX)), combined=True)
    reply = subscriptions.handle('{"method":"SUBSCRIBE","params":["one more"],"id":1}')

    assert not StreamSubscriptions(tuple(f"s{n}" for n in range(STREAMS_MAX)), combined=True).too_many
    assert reply.close
