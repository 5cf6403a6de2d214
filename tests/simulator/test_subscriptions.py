"""Control messages of a stream connection: answers, errors and the bound on streams."""

from typing import Any

import orjson
import pytest

from pulse.simulator.subscriptions import STREAMS_MAX, Subscriptions


def answered(subscriptions: Subscriptions, **request: Any) -> Any:
    """The answer to a request."""
    return orjson.loads(subscriptions.handle(orjson.dumps(request).decode()).text)


def test_subscribing_is_acknowledged_and_listed() -> None:
    """The answer to SUBSCRIBE is null, and the list has old and new streams in the order asked."""
    mine = Subscriptions(("a@trade",), combined=True)

    assert answered(mine, method="SUBSCRIBE", params=["b@trade", "a@trade"], id=1) == {"result": None, "id": 1}
    assert answered(mine, method="LIST_SUBSCRIPTIONS", id="x1") == {"result": ["a@trade", "b@trade"], "id": "x1"}


def test_unsubscribing_removes_what_is_there() -> None:
    """UNSUBSCRIBE of a stream that is not subscribed is accepted too."""
    mine = Subscriptions(("a@trade", "b@trade"), combined=True)

    assert answered(mine, method="UNSUBSCRIBE", params=["a@trade", "z"], id=None) == {"result": None, "id": None}
    assert list(mine.streams) == ["b@trade"]


def test_the_combined_property_can_be_set_and_read() -> None:
    """Wrapping can be changed on an open connection."""
    mine = Subscriptions((), combined=False)

    assert answered(mine, method="SET_PROPERTY", params=["combined", True], id=1)["result"] is None
    assert answered(mine, method="GET_PROPERTY", params=["combined"], id=2) == {"result": True, "id": 2}
    assert mine.combined


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
    """Nothing changes, and the code says what was wrong."""
    mine = Subscriptions((), combined=False)
    reply = mine.handle(text)

    assert (orjson.loads(reply.text)["code"], reply.close) == (code, False)
    assert (list(mine.streams), mine.combined) == ([], False)


def test_errors_can_come_nested() -> None:
    """Some servers put the error under a key of its own."""
    reply = orjson.loads(Subscriptions((), combined=True).handle('{"id":7}', nested_errors=True).text)

    assert reply["id"] == 7
    assert reply["error"]["code"] == 2


def test_too_many_streams_end_the_connection() -> None:
    """The bound itself is allowed, one stream more is not."""
    mine = Subscriptions(tuple(f"s{n}" for n in range(STREAMS_MAX)), combined=True)
    reply = mine.handle('{"method":"SUBSCRIBE","params":["one more"],"id":1}')

    assert not Subscriptions(tuple(f"s{n}" for n in range(STREAMS_MAX)), combined=True).too_many
    assert reply.close
