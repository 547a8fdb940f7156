"""The stages as the product runs them."""

from collections.abc import Sequence

from schemas.configuration import Configuration, Source
from streams.detect import Detect
from streams.incidents import IncidentStage
from streams.ingest import Ingest
from streams.shed import ShedIngest
from streams.shell import batches


class RealStages:
    """Makes the stages from a configuration."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        # What is compiled is compiled now, before a partition, and a watchdog, wait for it.
        batches.load()
        for source in configuration.sources:
            self.ingest(source, 0)
        self.detect(0, ())

    def ingest(self, source: Source, partition: int) -> ShedIngest:
        """For one raw partition."""
        configuration = self._configuration
        shards = configuration.topics.observation_shards
        stage = Ingest(source, source.topic, partition, configuration.windows, shards)
        tiers = {service.name: service.tier for service in configuration.catalogue.services}
        return ShedIngest(stage, source, configuration.windows, tiers)

    def detect(self, shard: int, sources: Sequence[str]) -> Detect:
        """For one shard; `sources` are all raw partitions."""
        c = self._configuration
        return Detect(shard, sources, c.windows, c.detection, c.catalogue)

    def incident(self) -> IncidentStage:
        """For the environment."""
        c = self._configuration
        shards = [f"shard/{i}" for i in range(c.topics.observation_shards)]
        return IncidentStage(c.environment, shards, c.windows, c.incidents, c.catalogue)
