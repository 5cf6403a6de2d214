"""No trade is skipped without a word, however a client comes and goes."""

from typing import Any

import orjson
import pytest

from pulse.fanout.trade_log import AT_FIRST, KEPT_MAX, PER_MESSAGE_MAX, SHARED_MAX, TradeLog


def trades(*ids: int) -> list[dict[str, Any]]:
    """Trades with these ids."""
    return [{"id": number, "price": 100.0} for number in ids]


def log_of(*ids: int) -> TradeLog:
    """A log that was fed these."""
    log = TradeLog("trades.BTCUSDT")
    log.extend(trades(*ids))
    return log


def read(log: TradeLog, next_id: int) -> tuple[dict[str, Any] | None, int]:
    """The message for who is that far, decoded, and how far it is then."""
    message, after = log.since(next_id)
    return (None if message is None else orjson.loads(message.payload)), after


def ids_of(message: dict[str, Any] | None) -> list[int]:
    """The trades of a message."""
    return [] if message is None else [trade["id"] for trade in message["trades"]]


def test_a_message_holds_all_trades_since() -> None:
    """With its first and last id, and no gap."""
    message, after = read(log_of(5, 6, 7, 8), 6)

    assert message == {
        "topic": "trades.BTCUSDT", "seq": 8, "first_id": 6, "last_id": 8, "gap": None, "trades": trades(6, 7, 8)
    }  # fmt: skip
    assert after == 9


def test_who_has_all_is_owed_nothing() -> None:
    """Also one that is a little ahead, as after a change of servers."""
    log = log_of(5, 6)

    assert read(log, 7) == (None, 7)
    assert read(log, 12) == (None, 12)


def test_what_the_bus_repeats_is_taken_once() -> None:
    """Messages overlap, and the log does not."""
    log = log_of(1, 2, 3)

    assert not log.extend(trades(2, 3))
    assert log.extend(trades(2, 3, 4))
    assert ids_of(read(log, 1)[0]) == [1, 2, 3, 4]


def test_a_client_too_slow_for_the_history_is_told_what_it_misses() -> None:
    """The ids between its last trade and the first that is left."""
    message, _ = read(log_of(*range(100, 100 + KEPT_MAX + 50)), 90)

    assert message is not None
    assert message["gap"] == {"first_id": 90, "last_id": 149}
    assert message["first_id"] == 150


def test_a_hole_in_the_trades_themselves_is_told_too() -> None:
    """What comes after it is another message."""
    log = log_of(1, 2, 5, 6)
    before, after = read(log, 1)
    behind, _ = read(log, after)

    assert (ids_of(before), after) == ([1, 2], 3)
    assert behind is not None
    assert (behind["gap"], ids_of(behind)) == ({"first_id": 3, "last_id": 4}, [5, 6])


def test_who_is_far_behind_catches_up_in_bites() -> None:
    """Each message goes on where the one before ended."""
    log, after, seen = log_of(*range(1, 1001)), 1, []
    while (message := read(log, after))[0] is not None:
        seen.append(ids_of(message[0]))
        after = message[1]

    assert [len(bite) for bite in seen] == [PER_MESSAGE_MAX] * 3 + [100]
    assert [number for bite in seen for number in bite] == list(range(1, 1001))


def test_who_does_not_say_where_to_begin_gets_the_newest() -> None:
    """Enough for a first look."""
    assert log_of(*range(1, 101)).beginning() == 101 - AT_FIRST
    assert log_of().beginning() == 0


def test_equally_far_clients_share_a_message() -> None:
    """It is encoded once, until there is a new trade."""
    log = log_of(1, 2, 3)
    first = log.since(2)[0]

    assert log.since(2)[0] is first
    log.extend(trades(4))
    assert log.since(2)[0] is not first


def test_what_is_kept_is_bounded() -> None:
    """Trades, and messages for clients that are all differently far."""
    log = log_of(*range(1, KEPT_MAX + 100))
    for next_id in range(200, 200 + 2 * SHARED_MAX):
        log.since(next_id)

    assert len(log._ids) == len(log._texts) == KEPT_MAX
    assert len(log._shared) <= SHARED_MAX


@pytest.mark.parametrize("next_id", [2_000_000, 1_000_101])
def test_another_world_begins_anew(next_id: int) -> None:
    """A simulation that starts again has lower ids; nobody waits for the old ones to come back."""
    log = log_of(*range(1_000_000, 1_000_100))
    log.extend(trades(1, 2, 3))

    assert ids_of(read(log, next_id)[0]) == [1, 2, 3]
