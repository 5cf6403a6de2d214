"""What one core, one bus and one network carry, from the costs of a message."""

import pytest

from bench.capacity import (
    SHARE,
    WIRE_BYTES,
    Costs,
    messages_of_core,
    messages_of_network,
    note_of,
    processes_of_bus,
    processes_of_bus_network,
)

COSTS = Costs(message_us=10.0, view_us=20.0, delivery_us=2.0, message_bytes=1250.0 - WIRE_BYTES)


def test_a_core_delivers_what_its_time_allows() -> None:
    """At 10 us each, 100,000 messages a second would fill it."""
    assert messages_of_core(COSTS) == pytest.approx(SHARE * 100_000)


def test_a_network_carries_whole_frames() -> None:
    """Of 1,250 bytes each with their headers, 1 Gbit/s carries 100,000 a second."""
    assert messages_of_network(COSTS, 1.0) == pytest.approx(SHARE * 100_000)


def test_a_bus_delivers_what_is_left_beside_storing() -> None:
    """Of 1,000 us for each view 70 % is planned with: 20 us to store it, and 2 us for each process."""
    assert processes_of_bus(COSTS, 1000.0) == pytest.approx((SHARE * 1000 - 20) / 2)


def test_a_bus_that_cannot_store_them_delivers_to_no_process() -> None:
    """There is no negative number of processes."""
    assert processes_of_bus(COSTS, 1e6) == 0.0


def test_the_network_of_the_bus_is_shared_by_its_processes() -> None:
    """A process takes every view."""
    assert processes_of_bus_network(COSTS, 1000.0, 1.0) == pytest.approx(SHARE * 100)


def test_the_note_names_each_of_them() -> None:
    """With the part of each that is planned with."""
    assert note_of(COSTS, 1000.0) == (
        "At 70% of each: a core delivers 70,000 messages a second, 1 Gbit/s carries 70,000; "
        "Valkey's core delivers 1,000 views a second to 340 processes, 1 Gbit/s carries them to 70."
    )
