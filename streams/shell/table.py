"""The Faust table that checkpoints are kept in: changelog and recovery are Faust's."""

import asyncio
from collections.abc import Iterable
from typing import Any

import faust


class CheckpointTable(faust.Table):
    """A table written in whole checkpoints, outside of any event, to a partition that is named.

    Its changelog has as many partitions as the stage's input topic, so Faust's assignor gives a
    worker the changelog partition together with the input partition of the same number.
    """

    def __init__(self, app: faust.App, name: str, partitions: int) -> None:
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            store="memory://",
            help="Checkpoints of a stage",
            extra_topic_configs={
                # Old generations go soon: recovery reads what is left.
                "min.cleanable.dirty.ratio": "0.1",
                "segment.ms": "600000",
                "segment.bytes": str(64 * 1024 * 1024),
            },
        )
        app.tables.add(self)

    async def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Writes records in order and returns once the broker has acknowledged each.

        Raises what the producer raises; the table then holds what it held before.
        """
        records = list(records)
        acknowledged = [
            await self.changelog_topic.send(key=key, value=value, partition=partition, force=True)
            for key, value in records
        ]
        await asyncio.gather(*acknowledged)
        store: Any = self.data
        for key, value in records:
            store.data[key] = value
            store._key_partition[key] = partition
