"""What the shell asks of the stages, and how it makes them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Source
from schemas.events import DeadLetter
from schemas.incidents import Bar, Command, IncidentEvent
from schemas.observations import ObservationBatch
from schemas.silences import SilenceEvent
from streams.commands import Refusal
from streams.outlook import Validation
from streams.run import Run


class Snapshots(Protocol):
    """State that can be saved and loaded."""

    def snapshot(self) -> bytes: ...
    def restore(self, data: bytes) -> None: ...


class Ingested(Protocol):
    """What one run of raw records led to."""

    @property
    def batches(self) -> Sequence[ObservationBatch]: ...
    @property
    def dead_letters(self) -> Sequence[DeadLetter]: ...


class IngestStage(Snapshots, Protocol):
    """One raw partition: records to observations."""

    shed: dict[int, int]
    """Records left out by the tier of their service; the shell counts and empties it."""

    @property
    def watermark_ms(self) -> int: ...
    @property
    def most_tier(self) -> int | None: ...
    def read_up_to(self, tier: int | None) -> None: ...
    def process(self, run: Run) -> Ingested: ...
    def advance(self, to_ms: int) -> Sequence[ObservationBatch]: ...
    def idle(self) -> Sequence[ObservationBatch]: ...


class DetectStage(Snapshots, Protocol):
    """One shard: observations to anomalies."""

    @property
    def watermark_ms(self) -> int | None: ...
    @property
    def late(self) -> int: ...
    @property
    def left_out(self) -> Mapping[str, int]: ...
    def process(self, batch: Sequence[ObservationBatch]) -> list[AnomalyBatch]: ...


class CorrelateStage(Snapshots, Protocol):
    """The whole environment: anomalies and commands to incident events."""

    @property
    def refused(self) -> list[tuple[Command, Refusal]]:
        """Commands that were not obeyed and why; the shell logs, counts and empties it."""

    @property
    def learned(self) -> list[Bar]:
        """Thresholds that people's feedback has moved; the shell logs, counts and empties it."""

    @property
    def silence_events(self) -> list[SilenceEvent]:
        """Silences that end soon or have ended; the shell writes, logs, counts and empties it."""

    def validation(self) -> Validation | None: ...
    def process(self, batch: Sequence[AnomalyBatch]) -> list[IncidentEvent]: ...
    def command(self, batch: Sequence[Command]) -> list[IncidentEvent]: ...


class Stages(Protocol):
    """Makes the stages of one worker."""

    def ingest(self, source: Source, partition: int) -> IngestStage: ...
    def detect(self, shard: int, sources: Sequence[str]) -> DetectStage: ...
    def incident(self) -> CorrelateStage: ...
