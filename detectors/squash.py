"""The scale that gauges are looked at: linear for small values, logarithmic for large ones."""

from math import frexp, sqrt

import numpy as np
from numpy.typing import NDArray

LN2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476
TERMS = (1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0)
"""Of the series of artanh; with mantissas from √½ to √2 they leave an error below 3e-12."""


def squash(value: float) -> float:
    """asinh(value), from nothing but exact arithmetic.

    Mathematical libraries and vector units round asinh and log each in their own way. What is made
    of sums, products, quotients and square roots alone, which IEEE 754 defines to the bit, is the
    same on every machine, and one by one as in arrays (`squash_all`).
    """
    mantissa, exponent = frexp(abs(value) + sqrt(value * value + 1.0))
    if mantissa < ROOT_HALF:
        mantissa, exponent = mantissa * 2.0, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = s * s, 0.0
    for term in TERMS:
        series = series * square + term
    y = exponent * LN2 + 2.0 * (s * series)
    return -y if value < 0.0 else y


def squash_all(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`squash` of each value, bit for bit."""
    mantissa, exponent = np.frexp(np.abs(values) + np.sqrt(values * values + 1.0))
    small = mantissa < ROOT_HALF
    mantissa *= small + 1.0
    exponent -= small
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = s * s, np.zeros_like(s)
    for term in TERMS:
        series *= square
        series += term
    series *= s
    series *= 2.0
    series += exponent * LN2
    signed: NDArray[np.float64] = np.copysign(series, values)
    return signed
