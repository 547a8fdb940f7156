"""Eight bytes at a time: what `streams.native.scan` does to text in registers.

Bit tricks by H. S. Warren, Hacker's Delight, 2nd edition, chapter 6. All work on `uint64`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from detectors.native.compile import inlined

_LOW = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_THREES = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_DIGITS = np.uint64(0x3333333333333333)
_PAIRS = np.uint64(0x000000FF000000FF)
_BY_100 = np.uint64(0x000F424000000064)  # 100 + (1000000 << 32)
_BY_1 = np.uint64(0x0000271000000001)  # 1 + (10000 << 32)
_TEN, _EIGHT = np.uint64(10), np.uint64(8)
_1, _3, _4, _7, _16, _32 = (np.uint64(n) for n in (1, 3, 4, 7, 16, 32))

WHOLE = np.array([(1 << 8 * n) - 1 for n in range(8)] + [2**64 - 1], np.uint64)
"""By a number of bytes, the word that keeps as many."""


@intrinsic
def load(typing: Any, buffer: Any, at: Any) -> Any:
    """The eight bytes of an array of bytes from `at` on, the first lowest; all must be in it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(buffer, types.intp), generate


@intrinsic
def trailing_zeros(typing: Any, word: Any) -> Any:
    """How many of the lowest bits are zero; undefined for zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def leading_zeros(typing: Any, word: Any) -> Any:
    """How many of the highest bits are zero; undefined for zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def high_product(typing: Any, one: Any, other: Any) -> Any:
    """The upper half of the product of two words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def as_float(typing: Any, word: Any) -> Any:
    """The double with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@inlined
def ends_plain(word: np.uint64) -> np.uint64:
    """The high bit of each byte that is no plain text: quote, backslash, control, beyond ASCII.

    Exact for the lowest such byte, which is what counts.
    """
    quote, backslash = word ^ _QUOTES, word ^ _BACKSLASHES
    found = ((quote - _LOW) & ~quote) | ((backslash - _LOW) & ~backslash)
    return (found | ((word - _SPACES) & ~word) | word) & _HIGH


@inlined
def digits_zeroed(word: np.uint64) -> np.uint64:
    """The word with every digit as 0."""
    high = (word & _HIGH_NIBBLES) ^ _THREES
    no_digit = ((high & _SEVEN) + _SEVEN) | high | (((word & _LOW_NIBBLES) + _SIXES) << _3)
    digit = ~no_digit & _HIGH
    return word & ~((digit >> _7) * np.uint64(0x0F))


@inlined
def eight_digits(word: np.uint64) -> bool:
    """Whether all eight bytes are digits."""
    carried = ((word + _SIXES) & _HIGH_NIBBLES) >> _4
    return ((word & _HIGH_NIBBLES) | carried) == _DIGITS


@inlined
def number_of_eight(word: np.uint64) -> np.uint64:
    """The number that eight digits say, the first byte being the highest."""
    word -= _THREES
    word = word * _TEN + (word >> _EIGHT)
    return (((word & _PAIRS) * _BY_100) + (((word >> _16) & _PAIRS) * _BY_1)) >> _32


@inlined
def mixed(hashed: np.uint64, word: np.uint64) -> np.uint64:
    """A hash carried on by a word."""
    hashed = (hashed ^ word) * np.uint64(0x9E3779B97F4A7C15)
    return hashed ^ (hashed >> _32)
