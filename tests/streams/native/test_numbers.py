"""Decimal numbers are read as Python reads them, to the last bit."""

import math
import random

import numpy as np
import pytest

from detectors.native.compile import compiled
from streams.native.numbers import to_float


@compiled
def read(digits: np.uint64, exponent: int) -> float:
    """What others put in themselves, for a test."""
    return to_float(digits, exponent)


@pytest.mark.parametrize("seed", range(4))
def test_any_digits_and_exponent_give_the_nearest_double_or_are_left_undecided(seed: int) -> None:
    chance, undecided = random.Random(seed), 0
    for _ in range(10_000):
        digits = chance.getrandbits(chance.choice([3, 10, 30, 53, 60, 63]))
        exponent = chance.randint(-330, 310) if chance.random() < 0.3 else chance.randint(-25, 5)
        got = read(np.uint64(digits), exponent)
        undecided += math.isnan(got)
        assert math.isnan(got) or got == float(f"{digits}e{exponent}"), (digits, exponent)
    assert undecided < 1_000


def test_what_python_writes_of_a_double_is_read_as_that_double() -> None:
    chance = random.Random(5)
    for _ in range(10_000):
        value = chance.random() * 10 ** chance.randint(-8, 8)
        whole, _, fraction = f"{value:.17g}".partition(".")
        if "e" not in fraction:
            assert read(np.uint64(int(whole + fraction)), -len(fraction)) == value


def test_what_lies_half_way_between_two_doubles_is_left_undecided_and_doubles_are_not() -> None:
    assert math.isnan(read(np.uint64(9_007_199_254_740_993), 0))
    assert read(np.uint64(15625), -6) == 0.015625
