"""The waits between tries: doubling up to a bound, jittered, the same for the same seed."""

import random
from itertools import islice

from pulse.backoff import delays


def first(count: int, seed: int = 1) -> list[float]:
    """The first waits of a retry from 0.5 s up to 30 s."""
    return list(islice(delays(0.5, 30.0, random.Random(seed)), count))


def test_each_wait_lies_in_the_upper_half_of_its_bound() -> None:
    """Bounds double from the first wait to the longest and stay there."""
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    for seed in range(50):
        assert all(bound / 2 <= wait <= bound for wait, bound in zip(first(9, seed), bounds, strict=True))


def test_waits_differ_between_clients() -> None:
    """Two clients that were cut together do not come back together."""
    assert first(1, seed=1) != first(1, seed=2)


def test_a_seed_gives_the_same_waits_again() -> None:
    """A retry can be repeated exactly."""
    assert first(9) == first(9)
