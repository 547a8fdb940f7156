"""Reads the last checkpoints of changelog partitions, from their ends backwards.

The last record of a changelog is the manifest of the last checkpoint, unless a crash cut one off.
It says how many chunks go before it, so that no older generation is read, however late Kafka
compacts; and if this worker's disk has a copy with the same manifest, not even the chunks.
"""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streams.shell.checkpoints import (
    SLOTS,
    Checkpoint,
    Manifest,
    assemble,
    latest,
    manifest_key,
    manifests,
    opened,
)
from streams.shell.connection import Client
from streams.shell.copies import Copies

_FETCH_BYTES = 32 * 1024 * 1024
_WAIT_MS = 1000


class Restored(NamedTuple):
    """A checkpoint as found, and how much of it came from Kafka."""

    checkpoint: Checkpoint | None
    fetched_bytes: int


class Changelogs:
    """Reads checkpoints from Kafka, or from `copies` where these are the same.

    Parameters
    ----------
    client
        Settings of aiokafka's clients.
    """

    def __init__(self, client: Client, copies: Copies) -> None:
        self._client = client
        self._copies = copies

    async def latest(self, partitions: Collection[TP]) -> dict[TP, Restored]:
        """The newest whole checkpoint of each partition, where there was ever one.

        Raises `UnknownVersionError` and `BrokenCheckpointError`, as `checkpoints.latest` does, and
        what aiokafka raises.
        """
        found: dict[TP, Restored] = {}
        async with self._consumer(partitions) as consumer:
            tails = await _tails(consumer, partitions)
            while tails:
                await _read(consumer, tails)
                for tail in list(tails):
                    restored = await self._look(tail)
                    if restored is not None:
                        found[tail.tp] = restored
                        tails.remove(tail)
        return found | {tp: Restored(None, 0) for tp in partitions if tp not in found}

    async def _look(self, tail: "_Tail") -> Restored | None:
        """What the records read so far come to; None if older ones are needed, as `tail` notes."""
        partition = tail.tp.partition
        for manifest in manifests(partition, tail.records):
            checkpoint = assemble(partition, manifest, tail.records)
            if checkpoint is None:
                checkpoint = await self._copied(tail, manifest)
            if checkpoint is not None:
                return Restored(checkpoint, tail.fetched_bytes)
            if tail.reach(tail.offset_of(manifest) - manifest.chunks):
                return None
        if tail.reach(tail.start - 2 * (tail.end - tail.start)):
            return None
        return Restored(latest(partition, tail.records), tail.fetched_bytes)

    async def _copied(self, tail: "_Tail", manifest: Manifest) -> Checkpoint | None:
        key = manifest_key(tail.tp.partition, manifest.sequence % SLOTS)
        payload = await self._copies.load(tail.tp, tail.records[key])
        return None if payload is None else opened(manifest, payload)

    @asynccontextmanager
    async def _consumer(self, partitions: Collection[TP]) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(*tp) for tp in partitions])
            yield consumer
        finally:
            await consumer.stop()


class _Tail:
    """The records of one partition from `start` to `end`; those from `stop` on have been read."""

    def __init__(self, tp: TP, begin: int, end: int) -> None:
        self.tp = tp
        self.end = self.stop = end
        self.start = max(begin, end - 1)
        self.records: dict[bytes, bytes] = {}
        self.fetched_bytes = 0
        self._begin = begin
        self._offsets: dict[bytes, int] = {}

    def reach(self, offset: int) -> bool:
        """Asks for the records from this offset on too; False if they are there already."""
        offset = max(offset, self._begin)
        if offset >= self.start:
            return False
        self.start, self.stop = offset, self.start
        return True

    def offset_of(self, manifest: Manifest) -> int:
        """Where a manifest stands."""
        return self._offsets[manifest_key(self.tp.partition, manifest.sequence % SLOTS)]

    def add(self, older: Iterable[Any]) -> None:
        """Takes records in; of one key the last one counts."""
        for record in older:
            if record.offset > self._offsets.get(record.key, -1):
                self._offsets[record.key] = record.offset
                self.records[record.key] = record.value or b""
                self.fetched_bytes += len(record.value or b"")


async def _tails(consumer: AIOKafkaConsumer, partitions: Collection[TP]) -> list[_Tail]:
    """The ends of those partitions that have records."""
    begins = await consumer.beginning_offsets([TopicPartition(*tp) for tp in partitions])
    ends = await consumer.end_offsets([TopicPartition(*tp) for tp in partitions])
    return [_Tail(TP(*tp), begins[tp], end) for tp, end in ends.items() if end > begins[tp]]


async def _read(consumer: AIOKafkaConsumer, tails: Collection[_Tail]) -> None:
    """Reads of each partition what it has asked for."""
    left = {TopicPartition(*tail.tp): tail for tail in tails}
    consumer.pause(*consumer.assignment())
    for tp, tail in left.items():
        consumer.seek(tp, tail.start)
    consumer.resume(*left)
    while left:
        fetched = await consumer.getmany(*left, timeout_ms=_WAIT_MS)
        for tp, records in fetched.items():
            left[tp].add(records)
        for tp in list(left):
            if await consumer.position(tp) >= left[tp].stop:
                del left[tp]
                consumer.pause(tp)
