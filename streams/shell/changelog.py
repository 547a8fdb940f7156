"""Reads the last checkpoints of changelog partitions, from their ends backwards.

The last record of a changelog is the manifest of the last checkpoint, unless a crash cut one off.
It says how many chunks go before it, so that no older generation is read, however late Kafka
compacts; and if this worker's disk has a copy with the same manifest, not even the chunks.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from streams.shell.checkpoints import BrokenCheckpointError, Checkpoint, opened
from streams.shell.connection import Client
from streams.shell.copies import Copies
from streams.shell.tail import Placed, Span, Tail

_FETCH_BYTES = 32 * 1024 * 1024
_GLANCE_BYTES = 1024
"""Of a partition, to look at one record; Kafka hands out the whole batch that it is in."""
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

        Raises `UnknownVersionError` if any is of a newer version, `BrokenCheckpointError` if there
        are some and none is whole, which no crash leaves behind, and what aiokafka raises.
        """
        found = {tp: Restored(None, 0) for tp in partitions}
        async with (
            self._consumer(partitions, _GLANCE_BYTES) as glancing,
            self._consumer(partitions, _FETCH_BYTES) as reading,
        ):
            tails = await _tails(glancing, partitions)
            wanted = {tail: Span(tail.end - 1, tail.end) for tail in tails}
            while wanted:
                single = {tail: s for tail, s in wanted.items() if s.stop - s.start == 1}
                await asyncio.gather(
                    _read(glancing, single),
                    _read(reading, {t: s for t, s in wanted.items() if t not in single}),
                )
                asked, wanted = wanted, {}
                for tail in asked:
                    looked = await self._look(tail)
                    if isinstance(looked, Span):
                        wanted[tail] = looked
                    else:
                        found[tail.tp] = looked
        return found

    async def _look(self, tail: Tail) -> Restored | Span:
        """What the records read so far come to, or which others are needed."""
        while (newest := tail.newest()) is not None:
            if (span := tail.before(newest)) is not None:
                return span
            checkpoint = await self._copied(tail.tp, newest)
            if checkpoint is None:
                if (span := tail.whole(newest)) is not None:
                    return span
                checkpoint = tail.checkpoint(newest)
            if checkpoint is not None:
                return Restored(checkpoint, tail.fetched_bytes)
            tail.set_aside(newest)
        if (further := tail.further()) is not None:
            return further
        if tail.has_broken():
            raise BrokenCheckpointError(tail.tp.partition)
        return Restored(None, tail.fetched_bytes)

    async def _copied(self, tp: TP, placed: Placed) -> Checkpoint | None:
        payload = await self._copies.load(tp, placed.data)
        return None if payload is None else opened(placed.manifest, payload)

    @asynccontextmanager
    async def _consumer(
        self, partitions: Collection[TP], fetch_bytes: int
    ) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=fetch_bytes,
            fetch_max_wait_ms=100,
        )
        try:  # a rebalance may cancel its start, too
            await consumer.start()
            consumer.assign([TopicPartition(*tp) for tp in partitions])
            consumer.pause(*consumer.assignment())
            yield consumer
        finally:
            await consumer.stop()


async def _tails(consumer: AIOKafkaConsumer, partitions: Collection[TP]) -> list[Tail]:
    """The ends of those partitions that have records."""
    places = [TopicPartition(*tp) for tp in partitions]
    begins = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    return [Tail(TP(*tp), begins[tp], end) for tp, end in ends.items() if end > begins[tp]]


async def _read(consumer: AIOKafkaConsumer, wanted: Mapping[Tail, Span]) -> None:
    """Reads of each partition what is wanted of it."""
    left = {TopicPartition(*tail.tp): (tail, span) for tail, span in wanted.items()}
    records: dict[TopicPartition, list[object]] = {tp: [] for tp in left}
    for tp, (_, span) in left.items():
        consumer.seek(tp, span.start)
    if left:
        consumer.resume(*left)
    while left:
        for tp, some in (await consumer.getmany(*left, timeout_ms=_WAIT_MS)).items():
            records[tp] += some
        for tp in list(left):
            tail, span = left[tp]
            if await consumer.position(tp) >= span.stop:
                tail.add(span, records.pop(tp))
                del left[tp]
                consumer.pause(tp)
