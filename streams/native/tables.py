"""Numbers for texts and for keys that come again and again: hash tables in arrays."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from streams.native.scan import Buffer
from streams.native.words import WHOLE, digits_zeroed, load, mixed

FULL = -1
_NOTHING = np.zeros(8, np.uint8)
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
def word_at(buffer: Buffer, at: int, stop: int, zeroed: bool) -> np.uint64:
    """Up to eight bytes before `stop`, the rest zero, and the digits 0 if `zeroed`."""
    word = load(buffer, at)
    if stop - at < 8:
        word &= WHOLE[stop - at]
    return digits_zeroed(word) if zeroed else word


@inlined
def number_of_text(table: Texts, buffer: Buffer, start: int, stop: int, zeroed: bool) -> int:
    """The number of a text, a new one if it has none yet; `FULL` if there is no room for it."""
    hashed = _SEED + np.uint64(stop - start)
    for at in range(start, stop, 8):
        hashed = mixed(hashed, word_at(buffer, at, stop, zeroed))
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
    for at in range(start, stop, 8):
        if table.words[place] != word_at(buffer, at, stop, zeroed):
            return False
        place += 1
    return True


@inlined
def _keep(
    table: Texts, slot: int, hashed: np.uint64, buffer: Buffer, start: int, stop: int, zeroed: bool
) -> int:
    number = int(table.used[0])
    place = table.starts[number] if number < table.hashes.size else table.words.size
    if place + (stop - start + 7) // 8 > table.words.size:
        return FULL
    table.hashes[number] = hashed
    table.lengths[number] = stop - start
    for at in range(start, stop, 8):
        table.words[place] = word_at(buffer, at, stop, zeroed)
        place += 1
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
