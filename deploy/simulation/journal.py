"""What the incident stage took in, in its own order, of which the place of a command is part."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration
from schemas.incidents import Command, IncidentEvent
from streams.incidents import IncidentStage
from streams.shell.real import RealStages


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The last input of a history, and the history before it."""

    before: "Entry | None" = None
    batches: Sequence[AnomalyBatch] = ()
    commands: Sequence[Command] = ()


ROOT = Entry()


@dataclass(slots=True)
class Journal:
    """The history behind every snapshot that was taken."""

    by_state: dict[bytes, Entry] = field(default_factory=dict)

    def of(self, state: bytes) -> list[Entry]:
        """All inputs that led to a state, the first one first."""
        entry: Entry | None = self.by_state[state]
        found = []
        while entry is not None and entry is not ROOT:
            found.append(entry)
            entry = entry.before
        return found[::-1]


class JournalledStage(IncidentStage):
    """The incident stage, whose snapshots are known by what led to them."""

    journal: Journal
    entry: Entry = ROOT

    def process(self, batch: Sequence[AnomalyBatch]) -> list[IncidentEvent]:
        """Notes it and goes on."""
        self.entry = Entry(self.entry, batches=batch)
        return super().process(batch)

    def command(self, batch: Sequence[Command]) -> list[IncidentEvent]:
        """Notes it and goes on."""
        self.entry = Entry(self.entry, commands=batch)
        return super().command(batch)

    def snapshot(self) -> bytes:
        """Notes which history it stands for."""
        state = super().snapshot()
        self.journal.by_state[state] = self.entry
        return state

    def restore(self, data: bytes) -> None:
        """Takes the history over with the state."""
        super().restore(data)
        self.entry = self.journal.by_state[data]


class JournalledStages(RealStages):
    """The real stages, the incident stage with a journal."""

    def __init__(self, configuration: Configuration, journal: Journal) -> None:
        super().__init__(configuration)
        self._journal = journal

    def incident(self) -> JournalledStage:
        """For the environment."""
        c = self._configuration
        shards = [f"shard/{i}" for i in range(c.topics.observation_shards)]
        stage = JournalledStage(c.environment, shards, c.windows, c.incidents, c.catalogue)
        stage.journal = self._journal
        return stage
