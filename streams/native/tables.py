"""Numbers for texts and for keys that come again and again: hash tables in arrays."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from streams.native.scan import Buffer
from streams.native.words import BLOCK, block, mixed, mixed_block

FULL = -1
_NOTHING = np.zeros(BLOCK, np.uint8)
_WORDS = BLOCK // 8
_SEED = np.uint64(0x243F6A8885A308D3)


class Texts(NamedTuple):
    """Texts by number, in the order in which they came; `used` has one element, how many."""

    used: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]


class Keys(NamedTuple):
    """Keys of one word by number, likewise."""

    used: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int32]
    keys: npt.NDArray[np.uint64]


def texts(most: int, bytes_each: int) -> Texts:
    """A table of up to `most` texts, a power of two, of so many bytes on average."""
    return Texts(
        np.zeros(1, np.int64),
        np.full(2 * most, -1, np.int32),
        np.empty(most, np.uint64),
        np.zeros(most + 1, np.int64),
        np.empty(most, np.int64),
        np.empty(most * bytes_each // 8, np.uint64),
    )


def keys(most: int) -> Keys:
    """A table of up to `most` keys, a power of two."""
    return Keys(np.zeros(1, np.int64), np.full(2 * most, -1, np.int32), np.empty(most, np.uint64))


def text_of(table: Texts, number: int) -> bytes:
    """The text of this number."""
    start, length = int(table.starts[number]), int(table.lengths[number])
    return table.words[start : start + (length + 7) // 8].tobytes()[:length]


@compiled
def number_of_nothing(table: Texts) -> int:
    """The number of the empty text: 0 in an empty table."""
    return number_of_text(table, _NOTHING, 0, 0, False)


@inlined
def number_of_text(table: Texts, buffer: Buffer, start: int, stop: int, zeroed: bool) -> int:
    """The number of a text, a new one if it has none yet; `FULL` if there is no room for it.

    `zeroed` takes each digit as 0.
    """
    hashed = _SEED + np.uint64(stop - start)
    for at in range(start, stop, BLOCK):
        hashed = mixed_block(hashed, block(buffer, at, stop, zeroed))
    hashed = mixed(_SEED, hashed)
    last = table.slots.size - 1
    slot = int(np.int64(hashed) & last)
    number = int(table.slots[slot])
    while number >= 0:
        if table.hashes[number] == hashed and _same(table, number, buffer, start, stop, zeroed):
            return number
        slot = (slot + 1) & last
        number = int(table.slots[slot])
    return _keep(table, slot, hashed, buffer, start, stop, zeroed)


@inlined
def _same(table: Texts, number: int, buffer: Buffer, start: int, stop: int, zeroed: bool) -> bool:
    if table.lengths[number] != stop - start:
        return False
    place = table.starts[number]
    for at in range(start, stop, BLOCK):
        a, b, c, d = block(buffer, at, stop, zeroed)
        words = table.words
        other = (words[place] ^ a) | (words[place + 1] ^ b)
        other |= (words[place + 2] ^ c) | (words[place + 3] ^ d)
        if other:
            return False
        place += _WORDS
    return True


@inlined
def _keep(
    table: Texts, slot: int, hashed: np.uint64, buffer: Buffer, start: int, stop: int, zeroed: bool
) -> int:
    number = int(table.used[0])
    place = table.starts[number] if number < table.hashes.size else table.words.size
    if place + (stop - start + BLOCK - 1) // BLOCK * _WORDS > table.words.size:
        return FULL
    table.hashes[number] = hashed
    table.lengths[number] = stop - start
    for at in range(start, stop, BLOCK):
        a, b, c, d = block(buffer, at, stop, zeroed)
        words = table.words
        words[place], words[place + 1], words[place + 2], words[place + 3] = a, b, c, d
        place += _WORDS
    table.starts[number + 1] = place
    table.slots[slot] = number
    table.used[0] = number + 1
    return number


@inlined
def number_of_key(table: Keys, key: np.uint64) -> int:
    """The number of a key, a new one if it has none yet; `FULL` if there is no room for it."""
    last = table.slots.size - 1
    slot = int(np.int64(mixed(_SEED, key)) & last)
    number = int(table.slots[slot])
    while number >= 0:
        if table.keys[number] == key:
            return number
        slot = (slot + 1) & last
        number = int(table.slots[slot])
    number = table.used[0]
    if number >= table.keys.size:
        return FULL
    table.keys[number] = key
    table.slots[slot] = number
    table.used[0] = number + 1
    return number
