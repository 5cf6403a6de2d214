"""Flow control: the arithmetic of sent bytes, pings and pongs."""

from collections.abc import Iterator

import pytest

from pulse.server.flow_control import (
    ACK_INTERVAL_MAX_BYTES,
    ACK_INTERVAL_MIN_BYTES,
    FAST_PONG_MAX_S,
    AckWindow,
    ByteCounter,
)

SLOW_PONG_S = FAST_PONG_MAX_S + 0.1


def sent(window: AckWindow, size: int, now_s: float = 0.0) -> bytes:
    """Count bytes as sent; return the payload of the ping that follows them."""
    return window.count_sent(size, now_s)[2:]


def test_a_ping_is_due_after_an_interval_of_bytes() -> None:
    """Not before, and only one at a time."""
    window = AckWindow()

    assert window.count_sent(ACK_INTERVAL_MIN_BYTES - 1, 0.0) == b""
    assert window.count_sent(1, 0.0) == b"\x89\x04" + window.ping_payload()
    assert window.count_sent(ACK_INTERVAL_MIN_BYTES, 0.0) == b""


def test_the_window_closes_at_two_unacknowledged_intervals() -> None:
    """One byte less leaves it open."""
    window = AckWindow()
    window.count_sent(2 * ACK_INTERVAL_MIN_BYTES - 1, 0.0)
    was_open = window.is_open(0.0)
    window.count_sent(1, 0.0)

    assert was_open
    assert not window.is_open(0.0)


def test_a_pong_opens_the_window() -> None:
    """It acknowledges what was sent before its ping."""
    window = AckWindow()
    ping = sent(window, ACK_INTERVAL_MIN_BYTES)
    window.count_sent(ACK_INTERVAL_MIN_BYTES, 0.0)
    window.on_pong(ping, 0.1)

    assert window.is_open(0.1)


@pytest.mark.parametrize("pong", [b"", b"\0\0\0\0", b"\0\0\0\x02", b"hello"])
def test_an_unsolicited_pong_changes_nothing(pong: bytes) -> None:
    """Neither an old, nor a foreign, nor an empty payload acknowledges anything."""
    window = AckWindow()
    window.count_sent(2 * ACK_INTERVAL_MIN_BYTES, 0.0)
    window.on_pong(pong, 0.1)

    assert not window.is_open(0.1)


def test_a_repeated_pong_counts_once() -> None:
    """The second one acknowledges nothing."""
    window = AckWindow()
    ping = sent(window, ACK_INTERVAL_MIN_BYTES)
    window.on_pong(ping, SLOW_PONG_S)
    window.count_sent(ACK_INTERVAL_MIN_BYTES - 1, SLOW_PONG_S)
    window.on_pong(ping, SLOW_PONG_S)
    window.count_sent(ACK_INTERVAL_MIN_BYTES + 1, SLOW_PONG_S)

    assert not window.is_open(SLOW_PONG_S)


def test_fast_pongs_double_the_interval_up_to_its_bound() -> None:
    """Fast clients are pinged rarely."""
    window, intervals = AckWindow(), []
    for _ in range(5):
        intervals.append(ACK_INTERVAL_MIN_BYTES)
        while not window.count_sent(ACK_INTERVAL_MIN_BYTES, 0.0):
            intervals[-1] += ACK_INTERVAL_MIN_BYTES
        window.on_pong(window.ping_payload(), FAST_PONG_MAX_S)

    assert intervals == [ACK_INTERVAL_MIN_BYTES, 2 * ACK_INTERVAL_MIN_BYTES, *[ACK_INTERVAL_MAX_BYTES] * 3]


def test_a_late_pong_shrinks_the_window_at_once() -> None:
    """The wide window of a fast client counts only while its pong is not late."""
    window = AckWindow()
    window.on_pong(sent(window, ACK_INTERVAL_MIN_BYTES), 0.0)
    window.count_sent(2 * ACK_INTERVAL_MIN_BYTES, 1.0)

    assert window.is_open(1.0 + FAST_PONG_MAX_S)
    assert not window.is_open(1.0 + SLOW_PONG_S)


def test_the_next_ping_covers_what_was_sent_behind_the_outstanding_one() -> None:
    """The window never stays closed after one large write."""
    window = AckWindow()
    first = sent(window, ACK_INTERVAL_MIN_BYTES)
    window.count_sent(50 * ACK_INTERVAL_MIN_BYTES, 0.0)
    second = window.on_pong(first, SLOW_PONG_S)[2:]
    was_open = window.is_open(SLOW_PONG_S)

    assert second == window.ping_payload() != b""
    assert not was_open

    window.on_pong(second, 2 * SLOW_PONG_S)

    assert window.is_open(2 * SLOW_PONG_S)


def test_a_change_of_counter_keeps_what_is_unacknowledged() -> None:
    """A shared counter that stands elsewhere neither opens the window nor closes it."""
    window, shared = AckWindow(), ByteCounter(total=10**9)
    window.count_sent(ACK_INTERVAL_MIN_BYTES, 0.0)
    window.use_counter(shared)
    shared.total += ACK_INTERVAL_MIN_BYTES - 1
    was_open = window.is_open(0.0)
    shared.total += 1

    assert was_open
    assert not window.is_open(0.0)


def ages_s(window: AckWindow, inflow_bytes_s: int, read_bytes_s: int, duration_s: float) -> Iterator[float]:
    """Simulate a client in steps of 50 ms; yield the age of each message that it reads."""
    in_flight: list[tuple[float, int, bytes]] = []  # when it was sent, its size, the ping behind it
    taken, step_s = 0.0, 0.05
    for step in range(int(duration_s / step_s)):
        now_s = step * step_s
        if window.is_open(now_s):
            size = int(inflow_bytes_s * step_s)
            in_flight.append((now_s, size, window.count_sent(size, now_s)[2:]))
        taken += read_bytes_s * step_s
        while in_flight and in_flight[0][1] <= taken:
            sent_at_s, size, ping = in_flight.pop(0)
            taken -= size
            yield now_s - sent_at_s
            if ping and (following := window.on_pong(ping, now_s)[2:]):
                in_flight.append((now_s, 0, following))
        taken = taken if in_flight else 0.0


@pytest.mark.parametrize("inflow_bytes_s", [21_000, 50_000, 200_000])
def test_a_slow_reader_never_reads_old_messages(inflow_bytes_s: int) -> None:
    """20 KB/s, whatever is offered: messages are at most 3 s old, and the client's rate is used."""
    ages = list(ages_s(AckWindow(), inflow_bytes_s, 20_000, 120.0))

    assert max(ages) < 3.0
    assert len(ages) * int(inflow_bytes_s * 0.05) > 0.9 * 20_000 * 120


def test_a_reader_that_becomes_slow_soon_reads_fresh_messages_again() -> None:
    """After the first seconds its messages are as fresh as those of a client that was always slow."""
    window = AckWindow()
    list(ages_s(window, 40_000, 1_000_000, 60.0))
    ages = list(ages_s(window, 40_000, 20_000, 60.0))

    assert max(ages[len(ages) // 4 :]) < 3.0
