"""What a story leads to where nothing is in the way: the measure of every disturbed run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from deploy.simulation.story import RAW, START_MS, STORIES, Story, story_of
from schemas.anomalies import AnomalyBatch
from schemas.events import DeadLetter
from schemas.observations import ObservationBatch
from streams.detect import Detect
from streams.incidents import IncidentStage
from streams.run import Run
from streams.shell.checkpoints import Checkpoint
from streams.shell.real import RealStages


@dataclass(slots=True)
class Reference:
    """What every stage says of a story, and the states that the simulation begins with."""

    begin: "Beginning"
    observations: dict[tuple[str, int], list[ObservationBatch]] = field(default_factory=dict)
    """By source and shard."""
    anomalies: dict[str, list[AnomalyBatch]] = field(default_factory=dict)
    """By shard, what there is to say and progress."""
    dead_letters: list[DeadLetter] = field(default_factory=list)


@dataclass(slots=True)
class Beginning:
    """Checkpoints after the history, by the table and partition that they are kept in."""

    checkpoints: dict[tuple[str, int], Checkpoint] = field(default_factory=dict)


@lru_cache(maxsize=STORIES)
def reference_of(number: int) -> Reference:
    """The same reference for the same story."""
    story = story_of(number)
    whole = _Whole(story)
    whole.take([_run(p, 0, values, [START_MS] * len(values)) for p, values in _told(story.before)])
    reference = Reference(Beginning(whole.checkpoints()))
    whole.reference = reference
    whole.take(
        [
            _run(p, len(story.before[p]), [v for _, v in sent], [ms for ms, _ in sent])
            for p, sent in enumerate(story.records)
        ]
    )
    return reference


def _told(before: Sequence[Sequence[bytes]]) -> list[tuple[int, Sequence[bytes]]]:
    return list(enumerate(before))


def _run(partition: int, first: int, values: Sequence[bytes], times_ms: Sequence[int]) -> Run:
    count = len(values)
    return Run(RAW, partition, range(first, first + count), times_ms, [None] * count, values)


class _Whole:
    """All stages of a story, one partition after the other."""

    def __init__(self, story: Story) -> None:
        configuration = story.configuration
        stages = RealStages(configuration)
        self._topics = configuration.topics
        self._story = story
        self.ingest = [stages.ingest(configuration.sources[0], p) for p in range(story.partitions)]
        sources = [stage.name for stage in self.ingest]
        shards = range(configuration.topics.observation_shards)
        self.detect: list[Detect] = [stages.detect(shard, sources) for shard in shards]
        self.incidents: IncidentStage = stages.incident()
        self.reference: Reference | None = None

    def take(self, runs: Sequence[Run]) -> None:
        """Takes a run of each partition through all stages."""
        observations = []
        for stage, run in zip(self.ingest, runs, strict=True):
            ingested = stage.process(run)
            observations += ingested.batches
            if self.reference is not None:
                self.reference.dead_letters += ingested.dead_letters
        for shard, detect in enumerate(self.detect):
            mine = [batch for batch in observations if batch.shard == shard]
            found = detect.process(mine)
            self.incidents.process(found)
            if self.reference is not None:
                self.reference.anomalies[detect.source] = found
                for batch in mine:
                    place = (batch.source, shard)
                    self.reference.observations.setdefault(place, []).append(batch)

    def checkpoints(self) -> dict[tuple[str, int], Checkpoint]:
        """The states as they are, with the offsets that they cover."""
        made = {
            (f"ingest-{RAW}", p): Checkpoint(
                1, stage.snapshot(), {f"{RAW}/{p}": len(self._story.before[p])}
            )
            for p, stage in enumerate(self.ingest)
        }
        for shard, stage in enumerate(self.detect):
            made["detect", shard] = Checkpoint(
                1, stage.snapshot(), {f"{self._topics.observations}/{shard}": 0}
            )
        made["incident", 0] = Checkpoint(
            1,
            self.incidents.snapshot(),
            {f"{self._topics.anomalies}/0": 0, f"{self._topics.commands}/0": 0},
        )
        return made
