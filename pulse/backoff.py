"""How long to wait before trying again: one generator, so that each retry loop shows only what it retries."""

import random
from collections.abc import Iterator


def delays(first_s: float, max_s: float, rng: random.Random) -> Iterator[float]:
    """Yield ever longer waits in seconds, each drawn evenly from [half, all] of a bound that doubles up to `max_s`.

    The jitter keeps many clients of one server, which were cut at the same moment, from coming back together.
    """
    bound_s = first_s
    while True:
        yield rng.uniform(bound_s / 2, bound_s)
        bound_s = min(bound_s * 2, max_s)
