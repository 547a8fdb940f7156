"""JSON's strings, numbers and everything else, told where they end. -1 where something is unusual.

What is unusual goes to the careful path, which finds out whether it is wrong. All functions need
32 bytes of padding after `stop`.
"""

from typing import Final

import numpy as np

from detectors.native.compile import compiled, inlined
from streams.native.words import (
    eight_digits,
    ends_of_32,
    load,
    number_of_eight,
    trailing_zeros,
)

Buffer = np.ndarray[tuple[int], np.dtype[np.uint8]]

QUOTE: Final = 34
COMMA: Final = 44
MINUS: Final = 45
COLON: Final = 58
ZERO: Final = 48
NINE: Final = 57
BACKSLASH: Final = 92
OPEN_LIST: Final = 91
CLOSED_LIST: Final = 93
OPEN: Final = 123
CLOSED: Final = 125
_POINT, _PLUS, _SMALL_E, _LARGE_E = 46, 43, 101, 69
_DEEPEST = 32
_MOST_DIGITS = 19
_0, _TEN, _1E8 = np.uint64(0), np.uint64(10), np.uint64(100_000_000)


def _escapes() -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    known = np.zeros(256, np.bool_)
    known[list(b'"\\/bfnrt')] = True
    return known


_ESCAPES = _escapes()


@inlined
def space(buffer: Buffer, at: int, stop: int) -> int:
    """The first place from `at` on that is no white space."""
    while at < stop and buffer[at] in (9, 10, 13, 32):
        at += 1
    return at


@inlined
def string_end(buffer: Buffer, at: int, stop: int) -> tuple[int, bool]:
    """Where the closing quote of a string is that begins at `at`, and whether it has escapes."""
    escaped = False
    while at < stop:
        ends = ends_of_32(buffer, at)
        if ends == _0:
            at += 32
            continue
        at += int(trailing_zeros(ends))
        if at >= stop:
            break
        byte = buffer[at]
        if byte == QUOTE:
            return at, escaped
        if byte == BACKSLASH:
            if not _ESCAPES[buffer[at + 1]]:
                break
            escaped = True
            at += 2
        else:
            length = _utf8(buffer, at)
            if not length:
                break
            at += length
    return -1, escaped


@compiled
def _utf8(buffer: Buffer, at: int) -> int:
    """How many bytes the character beyond ASCII at `at` has; 0 if it is none (RFC 3629)."""
    first, second = buffer[at], buffer[at + 1]
    least, most = 0x80, 0xBF
    if 0xC2 <= first <= 0xDF:
        length = 2
    elif 0xE0 <= first <= 0xEF:
        length = 3
        least = 0xA0 if first == 0xE0 else least
        most = 0x9F if first == 0xED else most
    elif 0xF0 <= first <= 0xF4:
        length = 4
        least = 0x90 if first == 0xF0 else least
        most = 0x8F if first == 0xF4 else most
    else:
        return 0
    if not least <= second <= most:
        return 0
    for i in range(2, length):
        if not 0x80 <= buffer[at + i] <= 0xBF:
            return 0
    return length


@inlined
def digits(buffer: Buffer, at: int, so_far: np.uint64) -> tuple[int, np.uint64]:
    """Where the digits from `at` on end, and `so_far` with them appended (modulo 2**64)."""
    word = load(buffer, at)
    if eight_digits(word):
        so_far = so_far * _1E8 + number_of_eight(word)
        at += 8
    while ZERO <= buffer[at] <= NINE:
        so_far = so_far * _TEN + np.uint64(buffer[at] - ZERO)
        at += 1
    return at, so_far


@inlined
def number(buffer: Buffer, at: int) -> tuple[int, bool, np.uint64, int]:
    """A number: where it ends, whether it is negative, its digits, and the power of ten."""
    negative = buffer[at] == MINUS
    if negative:
        at += 1
    first = at
    at, value = digits(buffer, at, _0)
    if at == first or (buffer[first] == ZERO and at > first + 1):
        return -1, False, _0, 0
    count, exponent = at - first, 0
    if buffer[at] == _POINT:
        point = at
        at, value = digits(buffer, at + 1, value)
        exponent = point + 1 - at
        if not exponent:
            return -1, False, _0, 0
        count -= exponent
        if buffer[first] == ZERO:  # leading zeros are no digits
            count -= 1
            point += 1
            while count > _MOST_DIGITS and buffer[point] == ZERO:
                count -= 1
                point += 1
    if count > _MOST_DIGITS:
        return -1, False, _0, 0
    if buffer[at] in (_SMALL_E, _LARGE_E):
        at += 1
        sign = 1
        if buffer[at] in (_PLUS, MINUS):
            sign = -1 if buffer[at] == MINUS else 1
            at += 1
        first = at
        at, power = digits(buffer, at, _0)
        if not 1 <= at - first <= 4:
            return -1, False, _0, 0
        exponent += sign * int(power)
    return at, negative, value, exponent


@inlined
def literal_end(buffer: Buffer, at: int) -> int:
    """The end of `true`, `false` or `null`."""
    a, b, c, d = buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]
    if a == 110 and b == 117 and c == 108 and d == 108:
        return at + 4
    if a == 116 and b == 114 and c == 117 and d == 101:
        return at + 4
    if a == 102 and b == 97 and c == 108 and d == 115 and buffer[at + 4] == 101:
        return at + 5
    return -1


@compiled
def value_end(buffer: Buffer, at: int, stop: int) -> int:
    """The end of any value that begins at `at`, lists and objects too."""
    depth, objects = 0, 0
    while at < stop:
        byte = buffer[at]
        opened = byte in (OPEN, OPEN_LIST)
        if opened:
            depth += 1
            if depth > _DEEPEST:
                return -1
            objects = objects << 1 | (byte == OPEN)
            at = space(buffer, at + 1, stop)
            if buffer[at] == (CLOSED if byte == OPEN else CLOSED_LIST):
                opened = False
                depth, objects = depth - 1, objects >> 1
                at += 1
        elif byte == QUOTE:
            at, _ = string_end(buffer, at + 1, stop)
            if at < 0:
                return -1
            at += 1
        elif byte == MINUS or ZERO <= byte <= NINE:
            at = number(buffer, at)[0]
        else:
            at = literal_end(buffer, at)
        if at < 0:
            return -1
        if not opened:
            at, depth, objects = _after(buffer, at, stop, depth, objects)
            if at < 0 or not depth:
                return at
        if objects & 1:
            at = _key_end(buffer, at, stop)
            if at < 0:
                return -1
    return -1


@inlined
def _after(buffer: Buffer, at: int, stop: int, depth: int, objects: int) -> tuple[int, int, int]:
    """Where the next value or key begins, after what ends here has been closed."""
    while depth:
        at = space(buffer, at, stop)
        if at >= stop:
            return -1, depth, objects
        byte = buffer[at]
        at += 1
        if byte == COMMA:
            return space(buffer, at, stop), depth, objects
        if byte != (CLOSED if objects & 1 else CLOSED_LIST):
            return -1, depth, objects
        depth, objects = depth - 1, objects >> 1
    return at, depth, objects


@inlined
def _key_end(buffer: Buffer, at: int, stop: int) -> int:
    """Where the value of the key that begins at `at` begins."""
    if at >= stop or buffer[at] != QUOTE:
        return -1
    at, _ = string_end(buffer, at + 1, stop)
    if at < 0:
        return -1
    at = space(buffer, at + 1, stop)
    if at >= stop or buffer[at] != COLON:
        return -1
    return space(buffer, at + 1, stop)
