"""What each stage does with a run, and what is counted of it: the records that it then says."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration
from schemas.events import DeadLetter
from schemas.incidents import Command, IncidentEvent
from schemas.observations import ObservationBatch
from streams.run import Run
from streams.shell import metrics, outgoing
from streams.shell.bad_records import BadRecords
from streams.shell.checkpoints import Outgoing
from streams.shell.overload import Relief
from streams.shell.reading import decode_asked, decode_run
from streams.shell.stages import CorrelateStage, DetectStage, IngestStage
from streams.shell.telling import tell_answers, tell_incidents, tell_silences

_OBSERVATIONS: Final = msgspec.json.Decoder(ObservationBatch)
_ANOMALIES: Final = msgspec.json.Decoder(AnomalyBatch)
_COMMANDS: Final = msgspec.json.Decoder(Command)


class Bodies:
    """Lets a stage take in a run, and says what comes of it.

    Parameters
    ----------
    relief
        Is told how much was left out.
    bad_records
        Is told what could not be read.
    """

    def __init__(
        self, configuration: Configuration, relief: Relief, bad_records: BadRecords
    ) -> None:
        self._topics = configuration.topics
        self._environment = configuration.environment
        self._relief = relief
        self._bad_records = bad_records

    def ingest(self, stage: IngestStage, run: Run) -> list[Outgoing]:
        """Raw records to observations and dead letters."""
        with metrics.STAGE_SECONDS.labels("ingest").time():
            result = stage.process(run)
        self._relief.count(stage)
        metrics.WINDOWS_CLOSED.inc(len({b.window_end_ms for b in result.batches}))
        return [
            *outgoing.observations(result.batches, self._topics),
            *self._dead_letters(result.dead_letters, run),
        ]

    def detect(self, stage: DetectStage, run: Run) -> list[Outgoing]:
        """Observations to anomalies."""
        before = stage.left_out
        with metrics.STAGE_SECONDS.labels("detect").time():
            batches, bad = decode_run(run, _OBSERVATIONS)
            with metrics.DETECTOR_SECONDS.time():
                found = stage.process(batches)
        metrics.OVERTAKEN_BATCHES.labels(run.partition).set(stage.late)
        for what, count in stage.left_out.items():
            metrics.LEFT_OUT.labels(what).inc(count - before[what])
        for anomaly in (a for batch in found for a in batch.anomalies):
            metrics.ANOMALIES.labels(anomaly.kind).inc()
        return [*outgoing.anomalies(found, self._topics), *self._dead_letters(bad, run)]

    def correlate(self, stage: CorrelateStage, run: Run) -> list[Outgoing]:
        """Anomalies to incident events."""
        batches, bad = decode_run(run, _ANOMALIES)
        with metrics.STAGE_SECONDS.labels("incident").time():
            events = stage.process(batches)
        tell_incidents(events, stage)
        return [*self._told(events, stage), *self._dead_letters(bad, run)]

    def obey(self, stage: CorrelateStage, run: Run) -> list[Outgoing]:
        """What people ask, to incident events."""
        commands, bad = decode_asked(run, _COMMANDS)
        events = stage.command(commands)
        tell_answers(stage)
        metrics.EVENTS.labels(run.topic).inc(len(run))
        return [*self._told(events, stage), *self._dead_letters(bad, run)]

    def _told(self, events: Iterable[IncidentEvent], stage: CorrelateStage) -> list[Outgoing]:
        """What the incident stage has said, as records."""
        return [
            *outgoing.incident_events(events, self._topics),
            *outgoing.silence_events(tell_silences(stage), self._topics),
        ]

    def _dead_letters(self, letters: Sequence[DeadLetter], run: Run) -> list[Outgoing]:
        for letter in letters:
            metrics.DEAD_LETTERS.labels(letter.reason).inc()
            if letter.reason == "late":
                metrics.LATE_EVENTS.inc()
        if not letters:
            return []
        self._bad_records.add(letters)
        return outgoing.dead_letters(letters, run, self._environment, self._topics)
