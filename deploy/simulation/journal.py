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
_MARK_BYTES = 8
ROOT_MARK = bytes(_MARK_BYTES)


def state_of(snapshot: bytes) -> bytes:
    """The stage's state, without the mark before it that tells apart equal states with other
    histories: a command that is refused changes none."""
    return snapshot[_MARK_BYTES:]


@dataclass(slots=True)
class Journal:
    """The history behind every snapshot that was taken."""

    by_mark: dict[bytes, Entry] = field(default_factory=lambda: {ROOT_MARK: ROOT})

    def mark(self, entry: Entry) -> bytes:
        """A new mark for a snapshot with this history."""
        made = len(self.by_mark).to_bytes(_MARK_BYTES, "big")
        self.by_mark[made] = entry
        return made

    def entry(self, snapshot: bytes) -> Entry:
        """The last input that led to a snapshot."""
        return self.by_mark[snapshot[:_MARK_BYTES]]

    def of(self, snapshot: bytes) -> list[Entry]:
        """All inputs that led to a snapshot, the first one first."""
        entry: Entry | None = self.entry(snapshot)
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
        return self.journal.mark(self.entry) + super().snapshot()

    def restore(self, data: bytes) -> None:
        """Takes the history over with the state."""
        super().restore(state_of(data))
        self.entry = self.journal.entry(data)


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
