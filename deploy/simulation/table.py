"""The tables that the simulated workers keep their checkpoints in."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deploy.simulation.broker import Broker, Log, Producer
from deploy.simulation.process import current
from streams.shell.changelog import Restored
from streams.shell.checkpoints import Checkpoint, latest


@dataclass(slots=True)
class _Records:
    data: dict[bytes, bytes] = field(default_factory=dict)


class Table:
    """As `streams.shell.table.CheckpointTable`: a changelog, and what was recovered from it."""

    def __init__(self, producer: Producer, name: str) -> None:
        self.name = name
        self.changelog_topic_name = changelog(name)
        self.data = _Records()
        self._producer = producer

    async def put(self, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Writes records in order and returns once the broker has acknowledged each."""
        records = list(records)
        await current().step()
        tp = (self.changelog_topic_name, partition)
        acknowledged = [self._producer.send(tp, key, value) for key, value in records]
        await asyncio.gather(*acknowledged)
        await current().step()
        self.data.data.update(records)

    async def read(self, partitions: Iterable[int]) -> dict[int, Restored]:
        """The last checkpoint of each partition, of what `recover` read."""
        await current().step()
        return {p: Restored(latest(p, self.data.data), 0) for p in partitions}

    def recover(self, broker: Broker, partitions: Iterable[int]) -> None:
        """Reads the changelog to its end."""
        self.data.data.clear()
        for partition in partitions:
            for stored in broker.logs[self.changelog_topic_name, partition].records:
                self.data.data[stored.key or b""] = stored.value or b""


def changelog(name: str) -> str:
    """The topic of a table."""
    return f"changelog-{name}"


def checkpoints_of(broker: Broker) -> Iterator[Checkpoint]:
    """The newest whole checkpoint of each stage, from its changelog."""
    for (topic, partition), log in broker.logs.items():
        if topic.startswith(changelog("")):
            found = checkpoint_of(log, partition)
            if found is not None:
                yield found


def checkpoint_of(log: Log, partition: int) -> Checkpoint | None:
    """The newest whole one that stands in a changelog."""
    return latest(partition, {stored.key or b"": stored.value or b"" for stored in log.records})
