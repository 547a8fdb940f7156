"""Keeps copies of what other workers save, so that a take-over reads it from the own disk."""

import asyncio
from collections.abc import Callable, Mapping, Set
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP
from mode import get_logger

from streams.shell.checkpoints import chunks_of, is_manifest
from streams.shell.connection import Client
from streams.shell.copies import Copies

logger = get_logger(__name__)

_FETCH_BYTES = 8 * 1024 * 1024
_WAIT_MS = 1000
_AGAIN_SECONDS = 5.0


class Standby:
    """Follows the changelog partitions that this worker does not have.

    Each whole checkpoint is kept on the disk, the newest of each partition. In memory there is at
    most the one that is being written. Without Kafka it waits; nothing else depends on it.

    Parameters
    ----------
    client
        Settings of aiokafka's clients.
    changelogs
        Partition counts of all changelog topics.
    mine
        The partitions that this worker has now, of whatever topics.
    """

    def __init__(
        self,
        client: Client,
        copies: Copies,
        changelogs: Mapping[str, int],
        mine: Callable[[], Set[TP]],
    ) -> None:
        self._client = client
        self._copies = copies
        self._all = {TP(topic, p) for topic, count in changelogs.items() for p in range(count)}
        self._mine = mine
        self._written: dict[TP, dict[bytes, bytes]] = {}

    async def run(self) -> None:
        """Follows for ever."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                logger.warning("other workers' checkpoints cannot be followed: %r", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="latest",  # what is being written is cut off, and the next one is not
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        await consumer.start()
        try:
            while True:
                await self._turn(consumer)
        finally:
            await consumer.stop()

    async def _turn(self, consumer: AIOKafkaConsumer) -> None:
        theirs = self._all - self._mine()
        if theirs != set(self._written):
            self._written = {tp: self._written.get(tp, {}) for tp in theirs}
            consumer.assign([TopicPartition(*tp) for tp in theirs])
        if not theirs:
            await asyncio.sleep(_WAIT_MS / 1000)
            return
        for tp, records in (await consumer.getmany(timeout_ms=_WAIT_MS)).items():
            for record in records:
                self._take(TP(*tp), record)

    def _take(self, tp: TP, record: Any) -> None:
        written = self._written.setdefault(tp, {})
        written[record.key] = record.value
        if is_manifest(record.key):
            chunks = chunks_of(tp.partition, record.value, written)
            if chunks is not None:
                self._copies.keep(tp, record.value, chunks)
            self._written[tp] = {}
