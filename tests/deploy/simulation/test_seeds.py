"""Whatever is in the way, what comes out is what would have come without it."""

import pytest

from deploy.simulation.plan import plan_of
from deploy.simulation.seeds import attempt, failures


def test_a_hundred_seeds_come_to_what_they_come_to_undisturbed() -> None:
    assert failed(range(100)) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_thousands_of_seeds_come_to_what_they_come_to_undisturbed() -> None:
    assert failed(range(100, 2100)) == []


def test_a_seed_does_the_same_every_time() -> None:
    seeds = range(8)
    assert [attempt(plan_of(n)) for n in seeds] == [attempt(plan_of(n)) for n in seeds]


def failed(seeds: range) -> list[str]:
    """How to see those again that fail."""
    return [str(failure) for failure in failures(seeds) if failure is not None]
