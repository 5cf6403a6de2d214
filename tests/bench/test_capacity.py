"""What one core, one bus and one network carry, from the costs of a message."""

import re

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
from bench.processes import ROOT

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


TEXT = (ROOT / "docs" / "scaling.md").read_text()


def cost(name: str) -> float:
    """Return the measured cost in the row of docs/scaling.md that begins so, in us."""
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| {name}")]
    return float(row.split("|")[2].removesuffix(" us "))


def test_the_capacities_of_the_documentation_follow_from_its_costs() -> None:
    """Each row of the table is what the formulas give for the costs above it."""
    view_us, delivery_us = cost("CPU of Valkey to take a view"), cost("CPU of Valkey per process")
    plain = Costs(cost("CPU of a serving process per delivered message"), view_us, delivery_us, 2200.0)
    deflated = Costs(cost("the same where the client takes"), view_us, delivery_us, 1000.0)
    capacities = re.findall(r"^\| [^|]+ \| ([\d,]+) \|$", TEXT.partition("## What follows")[2], re.MULTILINE)

    assert capacities == [
        f"{value:,.0f}"
        for value in (
            messages_of_core(plain),
            messages_of_core(deflated),
            messages_of_network(plain, 1.0),
            messages_of_network(deflated, 1.0),
            messages_of_network(plain, 10.0),
            processes_of_bus(plain, 1000.0),
            processes_of_bus_network(plain, 1000.0, 1.0),
        )
    ]
