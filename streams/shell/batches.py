"""Fetched record batches as columns, without an object for each record.

Kafka's message format 2, which brokers write since 0.11; older batches are read by aiokafka.
"""

import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streams.native.frames import Frames, frames, take_apart
from streams.packed import PADDING, Packed
from streams.run import Headers, Run

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM: Final = 21
"""What the checksum is of begins here."""

_NOT_COUNTED: Final = 12
"""Bytes of a batch, its first, that its length does not count."""

_FORMAT_AT: Final = 16
_FORMAT: Final = 2
_NO_LIMIT: Final = 2**31 - 1
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_DECODERS: Final[Mapping[int, Callable[[memoryview], bytes]]] = {
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


class Batch(NamedTuple):
    """A batch of format 2: its bytes and what its head says."""

    data: memoryview
    base_offset: int
    length: int
    leader_epoch: int
    format: int
    checksum: int
    attributes: int
    last_offset_delta: int
    base_ms: int
    most_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def next_offset(self) -> int:
        """After its last record, even if that was removed."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def is_control_batch(self) -> bool:
        """Whether it ends a transaction, and holds nothing else."""
        return bool(self.attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        """Whether it is of a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    def validate_crc(self) -> bool:
        """Whether it is as it was written."""
        return bool(
            google_crc32c.value(np.frombuffer(self.data, np.uint8, offset=_CRC_FROM))
            == self.checksum
        )

    def payload(self) -> bytes | memoryview:
        """Its records, decompressed. Raises `UnsupportedCodecError`."""
        codec = self.attributes & _CODEC
        if not codec:
            return self.data[_HEAD.size :]
        decode = _DECODERS.get(codec)
        if decode is None:
            raise UnsupportedCodecError(f"there is no codec of the number {codec}")
        return decode(self.data[_HEAD.size :])


class Fetched:
    """What a fetch brought for a partition, in place of aiokafka's `MemoryRecords`.

    `take` gives batches to be read as columns; who asks for `next_batch` gets aiokafka's own.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self._at = 0
        self._theirs: Any = None

    def size_in_bytes(self) -> int:
        """Of all that was fetched."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether a whole batch is left; the last may be cut off."""
        if self._theirs is not None:
            return bool(self._theirs.has_next())
        left = len(self._data) - self._at
        return left > _FORMAT_AT and left >= self._size()

    def next_batch(self) -> Any:
        """The next batch as aiokafka reads it; from then on all are read so."""
        if self._theirs is None:
            self._theirs = MemoryRecords(self._data[self._at :])
        return self._theirs.next_batch()

    def take(self) -> Any:
        """The next batch: a `Batch`, or of older formats what aiokafka makes of it."""
        data = self._view[self._at : self._at + self._size()]
        self._at += len(data)
        if data[_FORMAT_AT] != _FORMAT:
            return MemoryRecords(bytes(data)).next_batch()
        if len(data) < _HEAD.size:
            raise CorruptRecordException(f"a batch has {len(data)} bytes, less than its head")
        return Batch(data, *_HEAD.unpack_from(data))

    def _size(self) -> int:
        return _NOT_COUNTED + int.from_bytes(self._data[self._at + 8 : self._at + 12], "big")


class Columns:
    """Collects batches of a partition, and makes a run of them.

    Attributes
    ----------
    count, size
        Of what is collected: records, and their bytes once they are decompressed.
    """

    def __init__(self) -> None:
        self.count = self.size = 0
        self._batches: list[Batch] = []
        self._payloads: list[bytes | memoryview] = []

    def add(self, batch: Any) -> None:
        """Takes in all records of a batch, as `Fetched.take` gives it."""
        if not isinstance(batch, Batch):
            batch = _rewritten(batch)
        self._batches.append(batch)
        payload = batch.payload()
        self._payloads.append(payload)
        self.count += batch.records
        self.size += len(payload)

    def run(self, topic: str, partition: int, from_offset: int) -> Run:
        """The records from this offset on. Raises `CorruptRecordException`."""
        buffer = np.frombuffer(b"".join([*self._payloads, PADDING]), np.uint8)
        found, at, first = frames(self.count), 0, 0
        for batch, payload in zip(self._batches, self._payloads, strict=True):
            end = at + len(payload)
            count, base, base_ms = batch.records, batch.base_offset, batch.base_ms
            if not take_apart(buffer, at, end, count, base, base_ms, found, first):
                raise CorruptRecordException(
                    f"the batch at offset {base} of {topic}/{partition} does not hold the {count} "
                    "records that it says"
                )
            if batch.attributes & _APPEND_TIME:
                found.timestamps_ms[first : first + count] = batch.most_ms
            at, first = end, first + count
        if self.count and found.offsets[0] < from_offset:
            later = found.offsets >= from_offset
            found = Frames(*(column[later] for column in found))
        return _run(topic, partition, buffer, found)


def load() -> None:
    """Loads what is compiled, or compiles it, before the first fetch waits for it."""
    take_apart(np.frombuffer(PADDING, np.uint8), 0, 0, 0, 0, 0, frames(0), 0)


def ends_aborted(batch: Batch) -> bool:
    """Whether a control batch says that the transaction was aborted."""
    columns = Columns()
    columns.add(batch)
    key = columns.run("", 0, batch.base_offset).keys[0]
    return bool(ControlRecord.parse(key or b"") == ABORT_MARKER)


def _rewritten(older: Any) -> Batch:
    """A batch of an older format in this one."""
    records = list(older)
    base = records[0].offset if records else older.next_offset
    builder = DefaultRecordBatchBuilder(_FORMAT, 0, 0, -1, -1, -1, _NO_LIMIT)
    for record in records:
        timestamp_ms = -1 if record.timestamp is None else record.timestamp
        builder.append(record.offset - base, timestamp_ms, record.key, record.value, [])
    data = memoryview(bytes(builder.build()))
    return Batch(data, *_HEAD.unpack_from(data))._replace(base_offset=base)


def _run(topic: str, partition: int, buffer: npt.NDArray[np.uint8], found: Frames) -> Run:
    return Run(
        topic=topic,
        partition=partition,
        offsets=_offsets(found.offsets),
        timestamps_ms=array("q", found.timestamps_ms.tobytes()),
        keys=Packed(buffer, found.key_starts, found.key_ends),
        values=Packed(buffer, found.value_starts, found.value_ends),
        headers=LazyHeaders(buffer, found.headers) if (found.headers >= 0).any() else {},
        least_ms=int(found.timestamps_ms.min()) if found.timestamps_ms.size else None,
    )


def _offsets(offsets: npt.NDArray[np.int64]) -> Sequence[int]:
    """The offsets; a range where none is left out."""
    if not offsets.size:
        return range(0)
    whole = range(int(offsets[0]), int(offsets[-1]) + 1)
    return whole if len(whole) == offsets.size else array("q", offsets.tobytes())


class LazyHeaders(Mapping[int, Headers]):
    """Headers by index of the records that have any, read when somebody asks for them."""

    def __init__(self, buffer: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]) -> None:
        self._buffer, self._places = buffer, places

    def __getitem__(self, index: int) -> Headers:
        if not 0 <= index < self._places.size or self._places[index] < 0:
            raise KeyError(index)
        at, count = self._number(int(self._places[index]))
        headers: list[tuple[str, Any]] = []  # a value may be none
        for _ in range(count):
            at, name = self._text(at)
            at, value = self._text(at)
            headers.append(((name or b"").decode(errors="replace"), value))
        return tuple(headers)

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._places >= 0).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._places >= 0))

    def _text(self, at: int) -> tuple[int, bytes | None]:
        at, length = self._number(at)
        if length < 0:
            return at, None
        return at + length, self._buffer[at : at + length].tobytes()

    def _number(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = int(self._buffer[at])
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return at, value >> 1 ^ -(value & 1)
