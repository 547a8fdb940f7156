"""The scale of gauges is the same to the bit, one by one and as arrays."""

from itertools import pairwise
from math import asinh

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.squash import squash, squash_all

SIZES = st.floats(-1e15, 1e15)


@given(SIZES)
def test_it_is_the_inverse_hyperbolic_sine(value: float) -> None:
    assert squash(value) == pytest.approx(asinh(value), abs=1e-11)


@given(st.lists(SIZES, min_size=1, max_size=40))
def test_arrays_give_what_numbers_give_to_the_bit(values: list[float]) -> None:
    assert squash_all(np.array(values)).tolist() == [squash(value) for value in values]


@given(st.lists(SIZES, min_size=2, max_size=40))
def test_order_is_kept_and_signs_are_mirrored(values: list[float]) -> None:
    assert all(squash(a) <= squash(b) + 1e-12 for a, b in pairwise(sorted(values)))
    assert [squash(-value) for value in values] == [-squash(value) for value in values]
