"""The tables that a worker's stages are saved in."""

from collections.abc import Callable, Mapping

import faust

from schemas.configuration import Configuration
from streams.shell.table import CheckpointTable

MakeTable = Callable[[faust.App, str, int], CheckpointTable]
"""Makes the table of a name and so many partitions."""


class StageTables:
    """A table for each kind of stage, with partitions of the same numbers as the stage's input.

    Parameters
    ----------
    partitions
        Partition counts of the input topics.

    Attributes
    ----------
    ingest
        By raw topic.
    """

    def __init__(
        self,
        app: faust.App,
        configuration: Configuration,
        partitions: Mapping[str, int],
        make: MakeTable,
    ) -> None:
        topics = configuration.topics
        self._counts = {s.topic: partitions[s.topic] for s in configuration.sources}
        self._shards = topics.observation_shards
        self.ingest = {
            topic: make(app, f"ingest-{topic}", count) for topic, count in self._counts.items()
        }
        self.detect = make(app, "detect", partitions[topics.observations])
        self.incident = make(app, "incident", partitions[topics.anomalies])

    def counted(self) -> list[tuple[CheckpointTable, int]]:
        """Those of ingest, detection and incidents in this order, each with how many of its
        partitions can hold a stage."""
        ingest = [(self.ingest[topic], count) for topic, count in self._counts.items()]
        return [*ingest, (self.detect, self._shards), (self.incident, 1)]

    def changelogs(self) -> dict[str, int]:
        """Partition counts of the topics that all workers of the group save their stages to."""
        return {table.changelog_topic_name: count for table, count in self.counted()}
