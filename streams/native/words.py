"""Eight and more bytes at a time: what `streams.native.scan` does to text in registers.

Bit tricks by H. S. Warren, Hacker's Delight, 2nd edition, chapter 6. All work on `uint64`.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from detectors.native.compile import inlined

_HIGH = np.uint64(0x8080808080808080)
_SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_NIBBLES = np.uint64(0xF0F0F0F0F0F0F0F0)
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_THREES = np.uint64(0x3030303030303030)
_SIXES = np.uint64(0x0606060606060606)
_DIGITS = np.uint64(0x3333333333333333)
_PAIRS = np.uint64(0x000000FF000000FF)
_BY_100 = np.uint64(0x000F424000000064)  # 100 + (1000000 << 32)
_BY_1 = np.uint64(0x0000271000000001)  # 1 + (10000 << 32)
_TEN, _EIGHT = np.uint64(10), np.uint64(8)
_K0, _K1, _K2, _K3 = (
    np.uint64(n)
    for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)
_3, _4, _7, _16, _32 = (np.uint64(n) for n in (3, 4, 7, 16, 32))

WHOLE = np.array([(1 << 8 * n) - 1 for n in range(8)] + [2**64 - 1], np.uint64)
"""By a number of bytes, the word that keeps as many."""

BLOCK = 32
"""Bytes that are taken at once where a loop over words would end elsewhere each time: to foresee
that wrongly costs a processor more than all the words."""

_KEPT = np.array([[WHOLE[min(max(n - 8 * i, 0), 8)] for i in range(4)] for n in range(BLOCK + 1)])
"""By a number of bytes, the words that keep as many of a block."""

Block = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


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
def ends_of_32(typing: Any, buffer: Any, at: Any) -> Any:
    """A bit for each of the 32 bytes from `at` on that is no plain text, the first lowest: quote,
    backslash, control, beyond ASCII; all must be in the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        vector = ir.VectorType(ir.IntType(8), 32)
        loaded = builder.load(builder.bitcast(place, vector.as_pointer()))
        loaded.align = 1

        def all_of(byte: int) -> Any:
            return ir.Constant(vector, [byte] * 32)

        ends = builder.icmp_signed("<", loaded, all_of(0x20))  # beyond ASCII is negative
        for byte in (0x22, 0x5C):
            ends = builder.or_(ends, builder.icmp_signed("==", loaded, all_of(byte)))
        bits = builder.bitcast(ends, ir.IntType(32))
        return builder.zext(bits, ir.IntType(64))

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


@inlined
def block(buffer: np.ndarray[Any, Any], at: int, stop: int, zeroed: bool) -> Block:
    """Up to 32 bytes before `stop` as four words, the rest zero, and the digits 0 if `zeroed`."""
    kept = min(stop - at, BLOCK)
    a = load(buffer, at) & _KEPT[kept, 0]
    b = load(buffer, at + 8) & _KEPT[kept, 1]
    c = load(buffer, at + 16) & _KEPT[kept, 2]
    d = load(buffer, at + 24) & _KEPT[kept, 3]
    if zeroed:
        return digits_zeroed(a), digits_zeroed(b), digits_zeroed(c), digits_zeroed(d)
    return a, b, c, d


@inlined
def mixed_block(hashed: np.uint64, words: Block) -> np.uint64:
    """A hash carried on by a block."""
    a, b, c, d = words
    hashed = (hashed ^ a) * _K0 + b * _K1 + c * _K2 + d * _K3
    return hashed ^ (hashed >> _32)
