"""What follows from the measured costs: how many clients and processes one core, one bus server and one network carry.

Pure: costs in, capacities out. The formulas are those of docs/scaling.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WIRE_BYTES = 78
"""TCP, IP and Ethernet around the frame of a message: 32 + 20 + 26."""
SHARE = 0.7
"""The part of a core or a network that is planned with: beyond it queues grow."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured: CPU us of the server per delivered message, of Valkey per view and per delivery, bytes of a message."""

    message_us: float
    view_us: float
    delivery_us: float
    message_bytes: float


def messages_of_core(costs: Costs) -> float:
    """Return how many messages a second one core of a serving process delivers."""
    return SHARE * 1e6 / costs.message_us


def messages_of_network(costs: Costs, gigabits: float) -> float:
    """Return how many messages a second a network of so many Gbit/s carries."""
    return SHARE * gigabits * 1e9 / 8 / (costs.message_bytes + WIRE_BYTES)


def processes_of_bus(costs: Costs, views_s: float) -> float:
    """Return to how many processes one Valkey delivers so many views a second: it works on one core."""
    return max(0.0, (SHARE * 1e6 / views_s - costs.view_us) / costs.delivery_us)


def processes_of_bus_network(costs: Costs, views_s: float, gigabits: float) -> float:
    """Return to how many processes the network of the machine with Valkey carries them."""
    return messages_of_network(costs, gigabits) / views_s


def note_of(costs: Costs, views_s: float) -> str:
    """Return the capacities as a sentence for the table."""
    figures: Mapping[str, float] = {
        "core": messages_of_core(costs),
        "network": messages_of_network(costs, 1.0),
        "bus": processes_of_bus(costs, views_s),
        "bus_network": processes_of_bus_network(costs, views_s, 1.0),
    }
    return (
        f"At {SHARE:.0%} of each: a core delivers {figures['core']:,.0f} messages a second, 1 Gbit/s carries "
        f"{figures['network']:,.0f}; Valkey's core delivers {views_s:,.0f} views a second to {figures['bus']:,.0f} "
        f"processes, 1 Gbit/s carries them to {figures['bus_network']:,.0f}."
    )
