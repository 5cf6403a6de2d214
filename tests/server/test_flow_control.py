"""How far ahead of its reading a client is sent to: the arithmetic of bytes, pings and pongs."""

from collections.abc import Iterator

import pytest

from pulse.server.flow_control import GAP_MAX_BYTES, GAP_MIN_BYTES, QUICK_S, AckWindow

LATE_S = QUICK_S + 0.1


def asked(window: AckWindow, size: int, now_s: float = 0.0) -> bytes:
    """Send this much; gives the payload of the ping that goes with it."""
    return window.send(size, now_s)[2:]


def test_a_client_is_asked_after_so_many_bytes() -> None:
    """Not before, and once."""
    window = AckWindow()

    assert window.send(GAP_MIN_BYTES - 1, 0.0) == b""
    assert window.send(1, 0.0) == b"\x89\x04" + window.probe()
    assert window.send(GAP_MIN_BYTES, 0.0) == b""


def test_who_does_not_answer_is_sent_no_more() -> None:
    """Two gaps, and the window is closed."""
    window = AckWindow()
    window.send(2 * GAP_MIN_BYTES - 1, 0.0)
    was_open = window.is_open(0.0)
    window.send(1, 0.0)

    assert was_open
    assert not window.is_open(0.0)


def test_an_answer_opens_the_window() -> None:
    """What was sent before the ping is read."""
    window = AckWindow()
    ping = asked(window, GAP_MIN_BYTES)
    window.send(GAP_MIN_BYTES, 0.0)
    window.answer(ping, 0.1)

    assert window.is_open(0.1)


@pytest.mark.parametrize("pong", [b"", b"\0\0\0\0", b"\0\0\0\x02", b"hello"])
def test_a_pong_that_was_not_asked_for_changes_nothing(pong: bytes) -> None:
    """An old one, a foreign one, or one sent by itself."""
    window = AckWindow()
    window.send(2 * GAP_MIN_BYTES, 0.0)
    window.answer(pong, 0.1)

    assert not window.is_open(0.1)


def test_an_answer_counts_once() -> None:
    """Who repeats it gains nothing."""
    window = AckWindow()
    ping = asked(window, GAP_MIN_BYTES)
    window.answer(ping, LATE_S)
    window.send(GAP_MIN_BYTES - 1, LATE_S)
    window.answer(ping, LATE_S)
    window.send(GAP_MIN_BYTES + 1, LATE_S)

    assert not window.is_open(LATE_S)


def test_who_is_quick_is_asked_rarely() -> None:
    """Each quick answer doubles what is sent before the next question, up to a bound."""
    window, gaps = AckWindow(), []
    for _ in range(5):
        gaps.append(GAP_MIN_BYTES)
        while not window.send(GAP_MIN_BYTES, 0.0):
            gaps[-1] += GAP_MIN_BYTES
        window.answer(window.probe(), QUICK_S)

    assert gaps == [GAP_MIN_BYTES, 2 * GAP_MIN_BYTES, GAP_MAX_BYTES, GAP_MAX_BYTES, GAP_MAX_BYTES]


def test_who_turns_slow_is_held_at_once() -> None:
    """The wide window of a quick client counts only while its answer is not late."""
    window = AckWindow()
    window.answer(asked(window, GAP_MIN_BYTES), 0.0)
    window.send(2 * GAP_MIN_BYTES, 1.0)

    assert window.is_open(1.0 + QUICK_S)
    assert not window.is_open(1.0 + LATE_S)


def test_much_at_once_is_asked_about_bit_by_bit() -> None:
    """What went out while a ping was on its way is covered by the next one: the window never stays shut."""
    window = AckWindow()
    first = asked(window, GAP_MIN_BYTES)
    window.send(50 * GAP_MIN_BYTES, 0.0)
    second = window.answer(first, LATE_S)[2:]
    was_open = window.is_open(LATE_S)
    window.answer(second, 2 * LATE_S)

    assert second == window.probe() or window.probe() == b""
    assert not was_open
    assert window.is_open(2 * LATE_S)


def reader(window: AckWindow, inflow: int, rate: int, seconds: float) -> Iterator[float]:
    """A client that takes `rate` bytes a second of `inflow` offered, in steps of 50 ms: the age of what it reads."""
    line: list[tuple[float, int, bytes]] = []  # when it was sent, its bytes, the ping behind it
    taken, step_s = 0.0, 0.05
    for step in range(int(seconds / step_s)):
        now_s = step * step_s
        if window.is_open(now_s):
            size = int(inflow * step_s)
            line.append((now_s, size, window.send(size, now_s)[2:]))
        taken += rate * step_s
        while line and line[0][1] <= taken:
            sent_s, size, ping = line.pop(0)
            taken -= size
            yield now_s - sent_s
            if ping and (following := window.answer(ping, now_s)[2:]):
                line.append((now_s, 0, following))
        taken = taken if line else 0.0


@pytest.mark.parametrize("inflow", [21_000, 50_000, 200_000])
def test_a_slow_reader_never_reads_far_into_the_past(inflow: int) -> None:
    """20 KB/s, whatever is offered: at most 3 s old, and at no less than its own rate."""
    ages = list(reader(AckWindow(), inflow, 20_000, 120.0))

    assert max(ages) < 3.0
    assert len(ages) * int(inflow * 0.05) > 0.9 * 20_000 * 120


def test_a_client_that_turns_slow_soon_reads_the_present_again() -> None:
    """After the first seconds it is as fresh as one that was always slow."""
    window = AckWindow()
    list(reader(window, 40_000, 1_000_000, 60.0))
    ages = list(reader(window, 40_000, 20_000, 60.0))

    assert max(ages[len(ages) // 4 :]) < 3.0
