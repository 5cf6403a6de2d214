"""The trade log: no trade is skipped without a reported gap, however a client reconnects."""

import tracemalloc
from typing import Any

import orjson
import pytest

from pulse.fanout.trade_log import DEFAULT_COUNT, KEPT_MAX, PER_MESSAGE_MAX, SHARED_MAX, TRADE_BYTES, Position, TradeLog
from tests.support.makers import MIDNIGHT_MS


def trades(*ids: int) -> list[dict[str, Any]]:
    """Make trades with these ids."""
    return [{"id": number, "price": 100.0} for number in ids]


def add(log: TradeLog, *ids: int) -> bool:
    """Add trades with these ids."""
    return log.extend([(Position(trade["id"], trade["id"]), trade) for trade in trades(*ids)])


def log_of(*ids: int) -> TradeLog:
    """Make a log of these trades."""
    log = TradeLog("trades.BTCUSDT")
    add(log, *ids)
    return log


def read(log: TradeLog, next_id: int) -> tuple[dict[str, Any] | None, int]:
    """Return the decoded message for a client with this next id, and its next id after that."""
    message, after = log.since(Position(next_id))
    return (None if message is None else orjson.loads(message.payload)), after.next_id


def ids_of(message: dict[str, Any] | None) -> list[int]:
    """Return the trade ids of a message."""
    return [] if message is None else [trade["id"] for trade in message["trades"]]


def test_a_message_holds_all_trades_since_the_next_id() -> None:
    """It names its first and last id, and no gap."""
    message, after = read(log_of(5, 6, 7, 8), 6)

    assert message == {
        "topic": "trades.BTCUSDT", "seq": 8, "first_id": 6, "last_id": 8, "gap": None, "trades": trades(6, 7, 8)
    }  # fmt: skip
    assert after == 9


def test_a_client_with_all_trades_gets_no_message() -> None:
    """Nor does one that is a little ahead, as after a change of servers."""
    log = log_of(5, 6)

    assert read(log, 7) == (None, 7)
    assert read(log, 12) == (None, 12)


def test_repeated_trades_are_added_once() -> None:
    """Messages of the bus overlap; the log does not."""
    log = log_of(1, 2, 3)

    assert not add(log, 2, 3)
    assert add(log, 2, 3, 4)
    assert ids_of(read(log, 1)[0]) == [1, 2, 3, 4]


def test_trades_that_are_no_longer_kept_are_a_gap() -> None:
    """The gap holds the ids between the client's last trade and the first one kept."""
    message, _ = read(log_of(*range(100, 100 + KEPT_MAX + 50)), 90)

    assert message is not None
    assert message["gap"] == {"first_id": 90, "last_id": 149}
    assert message["first_id"] == 150


def test_a_gap_in_the_trades_begins_a_new_message() -> None:
    """The message after it reports the gap."""
    log = log_of(1, 2, 5, 6)
    before, after = read(log, 1)
    behind, _ = read(log, after)

    assert (ids_of(before), after) == ([1, 2], 3)
    assert behind is not None
    assert (behind["gap"], ids_of(behind)) == ({"first_id": 3, "last_id": 4}, [5, 6])


def test_a_client_far_behind_catches_up_in_several_messages() -> None:
    """Each message continues where the one before ended."""
    log, after, seen = log_of(*range(1, 1001)), 1, []
    while (message := read(log, after))[0] is not None:
        seen.append(ids_of(message[0]))
        after = message[1]

    assert [len(message_ids) for message_ids in seen] == [PER_MESSAGE_MAX] * 3 + [100]
    assert [number for message_ids in seen for number in message_ids] == list(range(1, 1001))


def test_the_default_start_is_among_the_newest() -> None:
    """A client that gives no id gets DEFAULT_COUNT trades; with an empty log it begins at 0."""
    assert log_of(*range(1, 101)).default_start() == Position(101 - DEFAULT_COUNT, 101 - DEFAULT_COUNT)
    assert log_of().default_start() == Position(0)


def test_clients_with_the_same_next_id_share_a_message() -> None:
    """It is encoded once, until there is a new trade."""
    log = log_of(1, 2, 3)
    first = log.since(Position(2))[0]

    assert log.since(Position(2))[0] is first
    add(log, 4)
    assert log.since(Position(2))[0] is not first


def test_trades_and_shared_messages_are_bounded() -> None:
    """Also for clients that all have different next ids."""
    log = log_of(*range(1, KEPT_MAX + 100))
    for next_id in range(200, 200 + 2 * SHARED_MAX):
        log.since(Position(next_id))

    assert len(log._places) == len(log._encoded) == KEPT_MAX
    assert len(log._shared) <= SHARED_MAX


def test_fewer_trades_are_kept_where_there_are_many_symbols() -> None:
    """A client that wants an older one gets a gap."""
    log = TradeLog("trades.BTCUSDT", 10)
    add(log, *range(1, 31))

    message, next_id = read(log, 15)
    assert message is not None
    assert (message["gap"], next_id) == ({"first_id": 15, "last_id": 20}, 31)


def test_memory_of_a_trade_is_what_the_bound_reckons_with() -> None:
    """The encoder's own bytes would keep the whole buffer that they were written into, fourteen times as much."""
    common = {"price": 61_831.55, "quantity": 0.00123, "aggressor": "buy", "time_ms": MIDNIGHT_MS}

    def fill() -> TradeLog:
        log = TradeLog("trades.BTCUSDT")
        for number in range(10**9, 10**9 + 1_000):
            log.extend([(Position(number, 3 * number), {"id": number, **common, "first_trade_id": 3 * number})])
        return log

    fill()  # what is made once and kept is made here
    tracemalloc.start()
    try:
        log = fill()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert log.end.next_id == 10**9 + 1_000
    assert 0.7 * TRADE_BYTES < used / 1_000 < 1.1 * TRADE_BYTES


@pytest.mark.parametrize("next_id", [2_000_000, 1_000_101])
def test_ids_that_begin_anew_replace_the_old_ones(next_id: int) -> None:
    """A simulation that starts again has lower ids; a client with an old id gets the new trades."""
    log = log_of(*range(1_000_000, 1_000_100))
    add(log, 1, 2, 3)

    assert ids_of(read(log, next_id)[0]) == [1, 2, 3]


def add_pair(log: TradeLog, *first_trade_ids: int) -> None:
    """Add trades of the id 7 that begin with these single trades."""
    log.extend([(Position(7, first), {"id": 7, "first": first}) for first in first_trade_ids])


def test_two_trades_of_one_id_are_both_sent_once() -> None:
    """Together, or the second in a later message, also to a client that has asked for the next id."""
    together, apart = log_of(5, 6), log_of(5, 6)
    for first_trade_ids in [(70, 72), (70, 72)]:
        add_pair(together, *first_trade_ids)
    add_pair(apart, 70)
    first, after = apart.since(Position(7))
    _, waiting = apart.since(Position(8))
    add_pair(apart, 70, 72)
    add(apart, 8)

    assert ids_of(read(together, 5)[0]) == [5, 6, 7, 7]
    assert first is not None
    assert [orjson.loads(first.payload)[key] for key in ("first_id", "last_id")] == [7, 7]
    for place in (after, waiting):
        message, end = apart.since(place)
        assert message is not None
        body = orjson.loads(message.payload)
        assert (body["gap"], ids_of(body), body["trades"][0].get("first")) == (None, [7, 8], 72)
        assert end == apart.end


def test_a_gap_after_a_place_within_an_id_begins_with_the_next_id() -> None:
    """The client has a trade of the id that its place names."""
    log = log_of(10, 11)
    message, _ = log.since(Position(7, 71))

    assert message is not None
    assert orjson.loads(message.payload)["gap"] == {"first_id": 8, "last_id": 9}
