"""Which trades a message repeats, so that a lost one loses none."""

from pulse.market.tape import REPEATED, TRADES_MAX, Tape
from pulse.market.view import TradeView


def shown(trade_id: int) -> TradeView:
    """A trade with this id."""
    return TradeView(trade_id, 100.0, 1.0, "buyer", 0)


def fed(tape: Tape, *ids: int) -> list[int]:
    """The ids of the message after these trades."""
    for trade_id in ids:
        tape.add(shown(trade_id))
    return [trade.id for trade in tape.take()]


def test_new_trades_are_given_oldest_first() -> None:
    """As they came."""
    assert fed(Tape(), 1, 2, 3) == [1, 2, 3]


def test_without_a_new_trade_there_is_nothing() -> None:
    """Before the first one, and after it was given."""
    tape = Tape()

    assert fed(tape) == []
    assert fed(tape, 1) == [1]
    assert fed(tape) == []


def test_a_message_repeats_those_before() -> None:
    """All but REPEATED - 1 in a row may be lost."""
    tape = Tape()
    messages = [fed(tape, number) for number in range(1, 2 * REPEATED)]

    assert messages[1] == [1, 2]
    assert messages[-1] == list(range(REPEATED, 2 * REPEATED))


def test_a_message_has_a_bound() -> None:
    """The oldest are left out."""
    message = fed(Tape(), *range(TRADES_MAX + 5))

    assert (len(message), message[0]) == (TRADES_MAX, 5)
