"""Decimal numbers to doubles, rounded correctly.

D. Lemire, Number Parsing at a Gigabyte per Second, 2021 (https://arxiv.org/abs/2101.11408), in the
form of Go's `strconv`. The few numbers that it leaves undecided are left to the careful path.
"""

from typing import Final

import numpy as np

from detectors.native.compile import inlined
from streams.native.words import as_float, high_product, leading_zeros

_LEAST, _MOST = -310, 308
"""Powers of ten of which the normal doubles are made."""

_ALL: Final = np.uint64(2**64 - 1)
_1, _2, _3, _9, _52, _53, _63 = (np.uint64(n) for n in (1, 2, 3, 9, 52, 53, 63))
_LAST_9, _0 = np.uint64(0x1FF), np.uint64(0)
_BIAS = np.int64(64 + 1023)
_EXACT = np.uint64(2**53)
_MANTISSA = np.uint64(2**52 - 1)


def _power(exponent: int) -> int:
    """The first 128 bits of a power of ten."""
    if exponent >= 0:
        value = 10**exponent
        return value << 128 >> value.bit_length()
    divisor = 10**-exponent
    value = (1 << 128 + divisor.bit_length()) // divisor
    return value >> value.bit_length() - 128


_POWERS = [_power(exponent) for exponent in range(_LEAST, _MOST + 1)]
_UPPER = np.array([power >> 64 for power in _POWERS], np.uint64)
_DOUBLES = np.array([float(10**exponent) for exponent in range(23)])
_LOWER = np.array([power & 2**64 - 1 for power in _POWERS], np.uint64)


@inlined
def to_float(digits: np.uint64, exponent: int) -> float:
    """`digits` times ten to the `exponent`; NaN where only more precision could tell."""
    if digits <= _EXACT and -22 <= exponent <= 22:  # both are doubles, and rounded once
        if exponent < 0:
            return float(digits) / _DOUBLES[-exponent]
        return float(digits) * _DOUBLES[exponent]
    if digits == _0:
        return 0.0
    if exponent < _LEAST or exponent > _MOST:
        return np.nan
    upper = _UPPER[exponent - _LEAST]
    zeros = leading_zeros(digits)
    digits <<= zeros
    power_of_2 = (np.int64(217706) * exponent >> 16) + _BIAS - np.int64(zeros)
    high, low = high_product(digits, upper), digits * upper
    if (high & _LAST_9) == _LAST_9 and low + digits < digits:
        lower = _LOWER[exponent - _LEAST]
        more, less = high_product(digits, lower), digits * lower
        merged = low + more
        if merged < low:
            high += _1
        if (high & _LAST_9) == _LAST_9 and merged == _ALL and less + digits < digits:
            return np.nan
        low = merged
    top = high >> _63
    mantissa = high >> (top + _9)
    power_of_2 -= np.int64(_1 - top)
    if low == _0 and (high & _LAST_9) == _0 and (mantissa & _3) == _1:
        return np.nan
    mantissa = (mantissa + (mantissa & _1)) >> _1
    if mantissa >> _53 > _0:
        mantissa >>= _1
        power_of_2 += 1
    if power_of_2 < 1 or power_of_2 > 2046:
        return np.nan
    return as_float((np.uint64(power_of_2) << _52) | (mantissa & _MANTISSA))
