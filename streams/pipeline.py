"""The whole pure core in a row, without a broker: raw records in, incident events out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration, Source
from schemas.events import DeadLetter
from schemas.incidents import Command, IncidentEvent
from schemas.observations import ObservationBatch
from streams.detect import Detect
from streams.incidents import IncidentStage
from streams.ingest import Ingest
from streams.run import Run

TOPIC = "replay"


@dataclass(slots=True)
class Passed:
    """What each stage gave for a run of records."""

    observations: list[ObservationBatch] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    anomalies: list[AnomalyBatch] = field(default_factory=list)
    events: list[IncidentEvent] = field(default_factory=list)


class Pipeline:
    """Ingest, detection in all its shards, and incidents, for the one source `replay/0`.

    The same stages with the same configuration as on Kafka, so the incidents are the same as for
    a raw topic of one partition.

    Parameters
    ----------
    configuration
        Windows, detection, incidents, catalogue and environment are read from it.
    source
        How to read the records; by default the first of the configuration's.
    """

    def __init__(self, configuration: Configuration, source: Source | None = None) -> None:
        shards = configuration.topics.observation_shards
        self._windows = windows = configuration.windows
        self.ingest = Ingest(source or configuration.sources[0], TOPIC, 0, windows, shards)
        self.detect = [
            Detect(
                shard,
                [self.ingest.name],
                windows,
                configuration.detection,
                configuration.catalogue,
            )
            for shard in range(shards)
        ]
        self.incidents = IncidentStage(
            configuration.environment,
            [f"shard/{shard}" for shard in range(shards)],
            windows,
            configuration.incidents,
            configuration.catalogue,
        )

    def process(self, run: Run) -> Passed:
        """Takes raw records in; returns what they gave at each stage."""
        ingested = self.ingest.process(run)
        return self._on(ingested.batches, ingested.dead_letters)

    def finish(self) -> Passed:
        """Closes the last windows, as a heartbeat one window past the allowed lateness would."""
        if self.ingest.watermark_ms < 0:
            return Passed()
        seconds = self._windows.window_seconds + self._windows.allowed_lateness_seconds
        batches = self.ingest.advance(self.ingest.watermark_ms + round(seconds * 1000))
        return self._on(batches, [])

    def command(self, commands: Sequence[Command]) -> list[IncidentEvent]:
        """What people ask, at the point in event time that the pipeline has reached."""
        return self.incidents.command(commands)

    def _on(self, observations: list[ObservationBatch], dead_letters: list[DeadLetter]) -> Passed:
        anomalies = [
            batch
            for shard, detect in enumerate(self.detect)
            for batch in detect.process([o for o in observations if o.shard == shard])
        ]
        events = self.incidents.process(anomalies)
        return Passed(observations, dead_letters, anomalies, events)
