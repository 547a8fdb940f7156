"""The incident stage: anomalies and commands in, the log of incidents out."""

from collections.abc import Sequence

import msgspec

from schemas.anomalies import AnomalyBatch, Call
from schemas.configuration import Catalogue, Incidents, Windows
from schemas.incidents import Bar, Command, Incident, IncidentEvent
from schemas.silences import SilenceEvent
from streams.align import Aligner
from streams.answers import Answers
from streams.casebook import Memory
from streams.commands import Refusal
from streams.ledger import Ledger
from streams.lifecycle import Rules, next_moment_ms
from streams.outlook import Example, Validation
from streams.reports import anomaly_of
from streams.versions import Ladder

INCIDENTS = Ladder(
    "the incident stage",
    oldest=1,
    steps=(lambda parts: [*parts, []],),  # 2: closed incidents, to guess from
)


class IncidentStage:
    """Correlates, ranks causes, grades and leads incidents through their life. Pure.

    Works through the window grid tick by tick: what has come for a window is taken in, then the
    timers are looked at, each at the very tick at which it falls due, however far apart batches
    are. All events of a tick have `time_ms` = the window's end + the allowed lateness.

    Open incidents are never merged by themselves: evidence that links two of them goes to the
    nearer one, and both keep their ids, since people and other systems already know them by these.
    People may merge and split them.

    Parameters
    ----------
    environment
        Part of every incident's id and record.
    shards
        Names of the sources of anomalies that must be heard before a window is taken in.

    Attributes
    ----------
    refused
        Commands that were not obeyed, each with the reason; the shell logs, counts and empties it.
    learned
        Thresholds that people's feedback has moved; the shell logs and empties it.
    expired
        Silences and turns of maintenance windows that have ended, and what they held back; the
        shell logs, counts and empties it.
    left_out
        Anomalies that belong to no incident, counted by reason.
    """

    def __init__(
        self,
        environment: str,
        shards: Sequence[str],
        windows: Windows,
        incidents: Incidents,
        catalogue: Catalogue,
    ) -> None:
        self.rules = Rules.of(windows, incidents)
        self._aligner = Aligner[AnomalyBatch](shards)
        self._ledger = Ledger(environment, self.rules, incidents, catalogue)
        self._answers = Answers(self._ledger)

    @property
    def _memory(self) -> Memory:
        return self._ledger.memory

    @property
    def refused(self) -> list[tuple[Command, Refusal]]:
        """Commands that were not obeyed."""
        return self._answers.refused

    @property
    def learned(self) -> list[Bar]:
        """Thresholds that people's feedback has moved."""
        return self._answers.learned

    @property
    def silence_events(self) -> list[SilenceEvent]:
        """Silences and turns of maintenance windows that end soon, or have ended."""
        return self._ledger.silence_events

    @property
    def left_out(self) -> dict[str, int]:
        """Anomalies that belong to no incident, by reason."""
        return self._memory.left_out

    @property
    def taken(self) -> int:
        """Anomalies that went into an incident."""
        return self._memory.taken

    @property
    def waiting(self) -> int:
        """Anomalies that wait for others to bear them out."""
        return len(self._memory.waiting)

    @property
    def time_ms(self) -> int | None:
        """The event time that the stage has reached; None before the first window."""
        return self._ledger.time_ms

    def incidents(self) -> list[Incident]:
        """The incidents that the stage still holds, as last published, by id."""
        held = sorted(self._memory.dossiers.items())
        return [dossier.told for _, dossier in held if dossier.told is not None]

    def validation(self) -> Validation | None:
        """How good the guesses about new incidents are; None before the first guess."""
        lessons = self._ledger.lessons
        return lessons.validation() if len(lessons) > lessons.least else None

    def process(self, batch: Sequence[AnomalyBatch]) -> list[IncidentEvent]:
        """Takes anomalies in; returns what there is to say once their windows are complete."""
        events: list[IncidentEvent] = []
        for end_ms, held in self._aligner.add(batch):
            events += self._pass_time(end_ms)
            events += self._tick(end_ms, held)
        return events

    def command(self, batch: Sequence[Command]) -> list[IncidentEvent]:
        """Obeys what people ask; a repeated id changes nothing.

        What cannot be obeyed goes to `refused`, and is said in the incident's log if there is one,
        so that whoever asked learns of it.
        """
        return self._answers.take(batch)

    def take_feedback(self, other: "IncidentStage", now_ms: int) -> None:
        """Takes over the thresholds that people's feedback has moved elsewhere, as if said now."""
        self._ledger.casebook.feedback.adopt(other._ledger.casebook.feedback, now_ms)

    # -- time ------------------------------------------------------------------------------

    def _pass_time(self, until_ms: int) -> list[IncidentEvent]:
        """Looks at the timers at each tick before `until_ms` at which one falls due."""
        events: list[IncidentEvent] = []
        while (due_ms := self._next_due_ms()) is not None and due_ms < until_ms:
            self._memory.end_ms = due_ms
            events += self._ledger.settle(due_ms, opened=())
        return events

    def _next_due_ms(self) -> int | None:
        """The first tick after now at which a timer of some incident falls due."""
        now_ms, window_ms = self._memory.end_ms, self.rules.window_ms
        if now_ms is None:
            return None
        moments = [next_moment_ms(d, self.rules) for d in self._memory.dossiers.values()]
        if moments or self._ledger.silences.by_people:
            turn_ms = self._ledger.silences.next_told_ms(now_ms + self.rules.lateness_ms)
            moments.append(None if turn_ms is None else turn_ms - self.rules.lateness_ms)
        first = min((m for m in moments if m is not None), default=None)
        if first is None:
            return None
        return max(-(-first // window_ms) * window_ms, now_ms + window_ms)

    def _tick(self, end_ms: int, batches: Sequence[AnomalyBatch]) -> list[IncidentEvent]:
        """Takes in one window, then looks at the timers."""
        self._memory.end_ms = end_ms
        if reports := self._memory.reports:
            said = tuple(anomaly_of(*report, end_ms, self.rules.window_ms) for report in reports)
            batches = [*batches, AnomalyBatch("people", end_ms, said)]
            self._memory.reports = []
        opened = self._ledger.casebook.take(end_ms, batches)
        return self._ledger.settle(end_ms, opened)

    # -- state -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state."""
        calls = [Call(caller, callee) for caller, callee in self._ledger.casebook.graph.learned()]
        aligner = self._aligner.snapshot()
        self._memory.silences = self._ledger.silences.by_people
        return msgspec.msgpack.encode(
            (INCIDENTS.version, self._memory, calls, aligner, self._ledger.lessons.examples)
        )

    def restore(self, data: bytes) -> None:
        """Takes the state from `snapshot` of this release or one before it.

        Raises `UnknownVersionError`, and `ValueError` if it is none.
        """
        _, *parts = msgspec.msgpack.decode(INCIDENTS.lift(data), type=list[msgspec.Raw])
        memory = msgspec.msgpack.decode(parts[0], type=Memory)
        calls = msgspec.msgpack.decode(parts[1], type=list[Call])
        aligner = msgspec.msgpack.decode(parts[2], type=bytes)
        lessons = msgspec.msgpack.decode(parts[3], type=list[Example])
        self._ledger.restore(memory, calls, lessons)
        self._aligner.restore(aligner, AnomalyBatch)
