"""The Faust table that checkpoints are kept in: changelog and its partitions' owner are Faust's."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

import faust
from faust.tables import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from streams.shell.changelog import Changelogs, Restored
from streams.shell.checkpoints import CHANGELOG_SETTINGS
from streams.shell.copies import Copies


class CheckpointTable(faust.Table):
    """A table written in whole checkpoints, outside of any event, to a partition that is named.

    Its changelog has as many partitions as the stage's input topic, so Faust's assignor gives a
    worker the changelog partition together with the input partition of the same number. Nothing of
    it is kept in memory.

    Parameters
    ----------
    changelogs
        Reads what was put here before.
    copies
        Takes a copy of each checkpoint once Kafka has it.
    """

    def __init__(
        self, app: faust.App, name: str, partitions: int, *, changelogs: Changelogs, copies: Copies
    ) -> None:
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            store="memory://",
            help="Checkpoints of a stage",
            extra_topic_configs=CHANGELOG_SETTINGS,
        )
        self._changelogs = changelogs
        self._copies = copies
        app.tables.add(self)

    async def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Writes records in order, a manifest last, and returns once the broker has acknowledged.

        Raises what the producer raises.
        """
        records = list(records)
        acknowledged = [
            await self.changelog_topic.send(key=key, value=value, partition=partition, force=True)
            for key, value in records
        ]
        await asyncio.gather(*acknowledged)
        *chunks, manifest = (value for _, value in records)
        self._copies.keep(TP(self.changelog_topic_name, partition), manifest, chunks)

    async def read(self, partitions: Collection[int]) -> dict[int, Restored]:
        """The last checkpoint of each partition. Raises what `Changelogs.latest` does."""
        topic = self.changelog_topic_name
        found = await self._changelogs.latest([TP(topic, p) for p in partitions])
        return {tp.partition: restored for tp, restored in found.items()}


class _Nothing(Recovery):
    """Faust's recovery, with nothing to read: `CheckpointTable.read` reads what is needed."""

    async def _build_offsets(
        self, consumer: Any, tps: set[TP], destination: Any, title: str
    ) -> None:
        for tp in tps:
            destination[tp] = self.active_highwaters[tp]

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Any, title: str) -> None:
        # To the end: the consumer fetches what it has been assigned, whether it is read or not.
        await consumer.seek_wait({tp: offsets[tp] + 1 for tp in tps})


class CheckpointTables(TableManager):
    """Faust's manager of tables, for tables that read their own changelogs."""

    _recovery: Recovery | None = None

    @property
    def recovery(self) -> Recovery:
        """Recovery service."""
        if self._recovery is None:
            self._recovery = _Nothing(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
