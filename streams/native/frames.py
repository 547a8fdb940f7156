"""Takes the records of Kafka's batches apart, as places in their buffer.

Format 2, https://kafka.apache.org/documentation/#recordbatch: lengths and differences are varints.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from streams.native.scan import Buffer

_1, _7, _63 = np.uint64(1), np.uint64(7), np.uint64(63)
_LOW_BITS = np.uint64(0x7F)


class Frames(NamedTuple):
    """Of each record: offset, timestamp, and where key, value and headers are.

    What is missing ends before it starts. `headers` is the place of their count; -1 if it is 0.
    """

    offsets: npt.NDArray[np.int64]
    timestamps_ms: npt.NDArray[np.int64]
    key_starts: npt.NDArray[np.int64]
    key_ends: npt.NDArray[np.int64]
    value_starts: npt.NDArray[np.int64]
    value_ends: npt.NDArray[np.int64]
    headers: npt.NDArray[np.int64]


def frames(count: int) -> Frames:
    """Room for so many records."""
    return Frames(*(np.empty(count, np.int64) for _ in Frames._fields))


@compiled
def take_apart(
    buffer: Buffer,
    at: int,
    stop: int,
    count: int,
    base: int,
    base_ms: int,
    into: Frames,
    first: int,
) -> bool:
    """Puts the `count` records of a batch, which lie from `at` to `stop`, from place `first` on.

    `base` and `base_ms` are what offsets and timestamps are told as differences from. Returns
    whether the records are whole.
    """
    for index in range(first, first + count):
        at, length = varint(buffer, at, stop)
        end = at + length
        if length < 1 or end > stop:
            return False
        at, more_ms = varint(buffer, at + 1, end)
        at, more = varint(buffer, at, end)
        into.offsets[index], into.timestamps_ms[index] = base + more, base_ms + more_ms
        at, length = varint(buffer, at, end)
        into.key_starts[index], into.key_ends[index] = at, at + length if length >= 0 else -1
        at, length = varint(buffer, at + max(length, 0), end)
        into.value_starts[index], into.value_ends[index] = at, at + length if length >= 0 else -1
        at += max(length, 0)
        if at >= end:
            return False
        into.headers[index] = at if buffer[at] else -1
        at = end
    return at == stop


@inlined
def varint(buffer: Buffer, at: int, stop: int) -> tuple[int, int]:
    """Where a signed number of variable length ends, and the number; `stop` if it is cut off."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < stop and shift <= _63:
        byte = np.uint64(buffer[at])
        at += 1
        value |= (byte & _LOW_BITS) << shift
        if byte <= _LOW_BITS:
            return at, int(np.int64(value >> _1) ^ -np.int64(value & _1))
        shift += _7
    return stop, -2
