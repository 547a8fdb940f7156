"""What a stage had said after its last checkpoint before it was ended: not to be said again.

A stage that is restored reads again what came after its checkpoint and, being deterministic, says
the same again, byte for byte. The checkpoint holds how far the output topics were then; what stands
behind that is read once, and a record that stands there already is not written a second time.
"""

import hashlib
import time
from collections.abc import Collection, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP
from mode import get_logger

from streams.shell.checkpoints import Outgoing
from streams.shell.connection import Client

logger = get_logger(__name__)

MAX_RECORDS: Final = 5_000
MAX_SECONDS: Final = 10.0
"""Of one partition, at most so many of the last records are looked at, and for so long in all. What
stands before them is written again, under its id, by which every consumer knows it."""

_FETCH_BYTES: Final = 32 * 1024 * 1024
_WAIT_MS: Final = 500
_DIGEST_BYTES: Final = 16


class Already:
    """Records that stand on the output topics, by digests of topic, key, value and headers."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, record: Outgoing) -> None:
        """The record stands there."""
        self._digests.add(_digest(record))

    def take(self, record: Outgoing) -> bool:
        """Whether the record stands there already; it is then known of no longer."""
        if not self._digests:
            return False
        digest = _digest(record)
        if digest not in self._digests:
            return False
        self._digests.discard(digest)
        return True


def _digest(record: Outgoing) -> bytes:
    made = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    parts = (record.topic.encode(), record.key, record.value)
    headers = (part for name, value in record.headers for part in (name.encode(), value))
    for part in (*parts, *headers):
        # Lengths part the parts; -1 is for none.
        made.update(b"%d:" % (-1 if part is None else len(part)))
        made.update(part or b"")
    return made.digest()


class Outputs:
    """Reads the topics that the stages write.

    Parameters
    ----------
    client
        Settings of aiokafka's clients.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def since(
        self, starts: Mapping[TP, int], places: Collection[TP]
    ) -> tuple[Already, dict[TP, int]]:
        """What stands on the partitions behind these offsets, and where all `places` end.

        Raises what aiokafka raises.
        """
        consumer = AIOKafkaConsumer(
            **self._client,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_bytes=_FETCH_BYTES,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        try:  # a rebalance may cancel its start, too
            await consumer.start()
            found = await consumer.end_offsets([TopicPartition(*tp) for tp in places])
            ends = {TP(*tp): int(end) for tp, end in found.items()}
            left = {tp: ends[tp] for tp, start in starts.items() if start < ends[tp]}
            already = Already()
            if left:
                consumer.assign([TopicPartition(*tp) for tp in left])
                for tp, end in left.items():
                    consumer.seek(TopicPartition(*tp), max(starts[tp], end - MAX_RECORDS))
                await _read_to(consumer, left, already)
            return already, ends
        finally:
            await consumer.stop()


async def _read_to(consumer: AIOKafkaConsumer, left: dict[TP, int], already: Already) -> None:
    deadline = time.monotonic() + MAX_SECONDS
    while left:
        fetched = await consumer.getmany(*(TopicPartition(*tp) for tp in left), timeout_ms=_WAIT_MS)
        for records in fetched.values():
            for r in records:
                already.add(Outgoing(r.topic, r.key, r.value, tuple(r.headers)))
        for tp in list(left):
            if await consumer.position(TopicPartition(*tp)) >= left[tp]:
                del left[tp]
        if left and time.monotonic() > deadline:
            logger.warning("%s were not read to their ends; what they hold may be repeated", left)
            return
