"""The incident stage: anomalies and commands in, the log of incidents out."""

from collections.abc import Sequence

import msgspec

from schemas.anomalies import AnomalyBatch, Call
from schemas.configuration import Catalogue, Incidents, Windows
from schemas.incidents import (
    Bar,
    Cause,
    Command,
    CommandType,
    EventType,
    Incident,
    IncidentEvent,
    State,
)
from schemas.silences import Silence
from streams.align import Aligner
from streams.casebook import Casebook, Memory
from streams.causes import is_clear, rank
from streams.classify import grade, hold_severity
from streams.commands import Refusal, call_off, obey, why_refused
from streams.dossier import Dossier, sign_of
from streams.draft import changes, draft, event_text, facts_of, impact_of
from streams.drills import Drills
from streams.feedback import words_of
from streams.lifecycle import Rules, is_due, next_moment_ms, phase_after, state_at
from streams.outlook import Example, Lessons, example_of, features_of
from streams.playbooks import begin, hold
from streams.prediction import (
    follow,
    give_up,
    grade_prediction,
    is_prediction,
    is_withdrawn,
)
from streams.regroup import regroup, why_not_regrouped
from streams.reports import anomaly_of, change_of, recent, service_of, weigh
from streams.review import show
from streams.silences import Silences, asked

VERSION = 2
OF_NO_INCIDENT: frozenset[CommandType] = frozenset(
    ("silence", "unsilence", "report", "change", "missed")
)
MAX_DOSSIERS = 500
"""Incidents kept at once; past it the longest resolved are closed early."""
MAX_COMMANDS = 10_000
"""Command ids remembered, so that a repeat changes nothing."""


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
        Silences of people that have ended; the shell logs and empties it.
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
        self.environment = environment
        self.rules = Rules.of(windows, incidents)
        self.catalogue = {service.name: service for service in catalogue.services}
        self.refused: list[tuple[Command, Refusal]] = []
        self._aligner = Aligner[AnomalyBatch](shards)
        self._base = catalogue
        self._grading = incidents.grading
        self._playbooks = incidents.playbooks
        self._casebook = Casebook(environment, self.rules, catalogue)
        self.expired: list[Silence] = []
        self._silences = Silences(incidents.maintenance)
        self.learned: list[Bar] = []
        self._lessons = Lessons(incidents.outlook_after_incidents)

    @property
    def _memory(self) -> Memory:
        return self._casebook.memory

    @property
    def _drills(self) -> Drills:
        return Drills(self.environment, self.catalogue, self._memory.drills)

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
        end_ms = self._memory.end_ms
        return None if end_ms is None else end_ms + self.rules.lateness_ms

    def incidents(self) -> list[Incident]:
        """The incidents that the stage still holds, as last published, by id."""
        held = sorted(self._memory.dossiers.items())
        return [dossier.told for _, dossier in held if dossier.told is not None]

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
        events: list[IncidentEvent] = []
        for command in batch:
            if command.id in self._memory.commands:
                continue
            if self._drills.concerns(command):
                self._remember(command)
                events += self._drills.take(command)
                continue
            dossier = self._memory.dossiers.get(command.incident_id)
            if command.type in OF_NO_INCIDENT:
                self._remember(command)
                self._hear(command, dossier)
                continue
            refusal = why_refused(command, dossier)
            if command.type == "not_an_incident" and dossier is None and self._forgive(command):
                continue
            if refusal is not None:
                self.refused.append((command, refusal))
            if dossier is None:
                continue
            self._remember(command)
            if refusal is None and command.type in ("merge", "split"):
                if (why := why_not_regrouped(command, dossier, self._memory.dossiers)) is None:
                    events += self._regroup(command, dossier)
                    continue
                refusal = Refusal("no_effect", why)
                self.refused.append((command, refusal))
            if refusal is None and command.type == "not_an_incident":
                events.append(self._call_off(command, dossier))
                continue
            event_type, text, actor = self._answer(command, dossier, refusal)
            events.append(self._say(dossier, event_type, text, actor, command_id=command.id))
        return events

    def _answer(
        self, command: Command, dossier: Dossier, refusal: Refusal | None
    ) -> tuple[EventType, str, str]:
        """Type, text and actor of the entry that answers a command."""
        if refusal is not None:
            who = command.actor.strip() or "someone"
            what = command.type.replace("_", " ")
            return "noted", f"Did not do what {who} asked ({what}): {refusal.text}.", "tocsin"
        return *obey(command, dossier, self._memory.end_ms or 0, self.rules), command.actor

    def _hear(self, command: Command, dossier: Dossier | None) -> None:
        """Takes in what is about no single incident; those that it concerns say so next."""
        time_ms = self.time_ms or command.issued_ms
        try:
            if not command.actor.strip():
                raise ValueError("nobody gave it: `actor` is empty")
            match command.type:
                case "silence":
                    services = dossier.affected() if dossier else ()
                    self._silences.add(asked(command, services, time_ms))
                case "unsilence":
                    self._silences.end(command.into or "")
                case "missed":
                    self._missed(command, time_ms)
                case "change":
                    known = [*self._memory.changes, change_of(command, time_ms)]
                    self._memory.changes = recent(known, time_ms)
                case _:
                    service = service_of(command, self.catalogue)
                    self._memory.reports.append((command, service))
        except ValueError as error:
            self.refused.append((command, Refusal("no_effect", str(error))))
        else:
            self._look_again()

    def _forgive(self, command: Command) -> bool:
        """Learns that a closed incident was none; False if it is not remembered."""
        actor, name = command.actor.strip(), command.incident_id
        if not actor:
            return False
        end_ms = self._memory.end_ms or 0
        bars = self._casebook.feedback.was_not_an_incident(name, actor, end_ms)
        if bars is None:
            return False
        self._remember(command)
        self.learned += bars
        return True

    def _call_off(self, command: Command, dossier: Dossier) -> IncidentEvent:
        """Learns that an incident was none, and ends it."""
        end_ms, feedback = self._memory.end_ms or 0, self._casebook.feedback
        trusted = dossier.trusted_signals()
        bars = feedback.not_an_incident(trusted, command.actor, dossier.id, end_ms)
        self.learned += bars
        event_type, text = call_off(command, dossier, end_ms, self.rules)
        dossier.feedback = feedback.told(map(sign_of, trusted), end_ms)
        text = f"{text} {words_of(bars)}"
        return self._say(dossier, event_type, text, command.actor, command_id=command.id)

    def _missed(self, command: Command, now_ms: int) -> None:
        """Learns that there was trouble and no incident. Raises `ValueError`."""
        if not command.service or command.from_ms is None or command.to_ms is None:
            raise ValueError("missed needs a `service`, `from_ms` and `to_ms`")
        if not command.from_ms <= command.to_ms <= now_ms:
            raise ValueError("missed needs `from_ms` before `to_ms`, and both in the past")
        self.learned += self._casebook.feedback.missed(
            command.service, command.from_ms, command.to_ms, command.actor, now_ms
        )

    def _regroup(self, command: Command, dossier: Dossier) -> list[IncidentEvent]:
        """Merges or splits; says so in the logs of both incidents."""
        end_ms, memory, events = self._memory.end_ms or 0, self._memory, []
        moved = regroup(command, dossier, memory.dossiers, end_ms, self.rules)
        for one, event_type, text in moved:
            if not one.is_over:
                self._assess(one, self._causes(one)[0], end_ms)
                one.touched = False
            said = self._say(one, event_type, text, command.actor, command_id=command.id)
            events.append(said)
        return events

    def _remember(self, command: Command) -> None:
        self._memory.commands[command.id] = None
        if len(self._memory.commands) > MAX_COMMANDS:
            del self._memory.commands[next(iter(self._memory.commands))]

    def take_feedback(self, other: "IncidentStage", now_ms: int) -> None:
        """Takes over the thresholds that people's feedback has moved elsewhere, as if said now."""
        self._casebook.feedback.adopt(other._casebook.feedback, now_ms)

    # -- time ------------------------------------------------------------------------------

    def _pass_time(self, until_ms: int) -> list[IncidentEvent]:
        """Looks at the timers at each tick before `until_ms` at which one falls due."""
        events: list[IncidentEvent] = []
        while (due_ms := self._next_due_ms()) is not None and due_ms < until_ms:
            self._memory.end_ms = due_ms
            events += self._settle(due_ms, opened=())
        return events

    def _next_due_ms(self) -> int | None:
        """The first tick after now at which a timer of some incident falls due."""
        now_ms, window_ms = self._memory.end_ms, self.rules.window_ms
        if now_ms is None:
            return None
        moments = [next_moment_ms(d, self.rules) for d in self._memory.dossiers.values()]
        if moments or self._silences.by_people:
            turn_ms = self._silences.next_change_ms(now_ms + self.rules.lateness_ms)
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
        opened = self._casebook.take(end_ms, batches)
        return self._settle(end_ms, opened)

    # -- what is said ----------------------------------------------------------------------

    def _settle(self, end_ms: int, opened: Sequence[str]) -> list[IncidentEvent]:
        """Brings every incident up to `end_ms` and says what changed, at most once each."""
        events: list[IncidentEvent] = []
        self._turn_silences(end_ms + self.rules.lateness_ms)
        for name in sorted(self._memory.dossiers):
            dossier = self._memory.dossiers[name]
            events += self._settle_one(dossier, end_ms, name in opened)
            dossier.settled_ms = end_ms
            if dossier.state == "closed":
                self._learn_from(dossier)
                del self._memory.dossiers[name]
        return events + self._close_early()

    def _turn_silences(self, time_ms: int) -> None:
        """Lets every open incident be looked at if a silence has begun or ended since."""
        before_ms = self._memory.silences_ms
        self._memory.silences_ms = time_ms
        if before_ms is not None:
            moment_ms = self._silences.next_change_ms(before_ms)
            if moment_ms is not None and moment_ms <= time_ms:
                self._look_again()
        self.expired += self._silences.forget(time_ms)

    def _look_again(self) -> None:
        for dossier in self._memory.dossiers.values():
            dossier.touched = dossier.touched or not dossier.is_over

    def _close_early(self) -> list[IncidentEvent]:
        """Closes the longest resolved incidents if more are held than memory allows."""
        over = len(self._memory.dossiers) - MAX_DOSSIERS
        if over <= 0:
            return []
        resolved = [d for d in self._memory.dossiers.values() if d.state == "resolved"]
        events = []
        for dossier in sorted(resolved, key=lambda d: (d.resolved_end_ms or 0, d.id))[:over]:
            dossier.state, dossier.closed_ms = "closed", self.time_ms
            events.append(self._say(dossier, "closed"))
            self._learn_from(dossier)
            del self._memory.dossiers[dossier.id]
        return events

    def _settle_one(self, dossier: Dossier, end_ms: int, opened: bool) -> list[IncidentEvent]:
        if not opened and not dossier.touched and not is_due(dossier, end_ms, self.rules):
            return []
        dossier.touched = False
        was = dossier.state
        follow(dossier, self._memory.predictions, end_ms)
        causes, clear = self._causes(dossier)
        dossier.state = state_at(dossier, end_ms, self.rules, clear)
        if is_withdrawn(dossier) and not dossier.is_over:
            dossier.state = "resolved"
        dossier.public_phase = phase_after(dossier.public_phase, dossier.state)
        if dossier.state == "resolved" and was != "resolved":
            dossier.resolved_end_ms, dossier.resolved_ms = end_ms, end_ms + self.rules.lateness_ms
        if dossier.state == "closed":
            dossier.closed_ms = end_ms + self.rules.lateness_ms
        if not dossier.is_over or dossier.told is None:
            self._assess(dossier, causes, end_ms)
        return self._report(dossier, was, opened)

    def _causes(self, dossier: Dossier) -> tuple[tuple[Cause, ...], bool]:
        """The ranked causes, and whether the first of them is clear."""
        trusted = dossier.trusted_signals()
        causes = rank(tuple(dossier.signals.values()), self._casebook.graph, trusted)
        causes = weigh(causes, self._memory.changes, dossier.since_ms())
        return causes, is_clear(causes, trusted)

    def _assess(self, dossier: Dossier, causes: tuple[Cause, ...], end_ms: int) -> None:
        """Writes causes, impact and severity into the dossier.

        The severity of an incident that has gone quiet stays as it was while it went on: that is
        how bad it was, and nobody needs to be told that quiet is less urgent.
        """
        dossier.causes = causes
        time_ms = end_ms + self.rules.lateness_ms
        dossier.silence = self._silences.covering(dossier.trusted_signals(), time_ms) or hold(
            dossier, end_ms, self.rules
        )
        signs = map(sign_of, dossier.signals.values())
        dossier.feedback = self._casebook.feedback.told(signs, end_ms)
        dossier.impact = impact_of(dossier, self.catalogue, self._base.currency)
        if dossier.state == "monitoring" and dossier.told is not None:
            return
        grows = end_ms - dossier.grown_ms < self.rules.gap_ms
        facts = facts_of(dossier, self.catalogue, self._base.currency, grows=grows)
        ahead = is_prediction(dossier)
        graded = (
            grade_prediction(dossier, self.catalogue, self._grading)
            if ahead
            else grade(facts, self._grading)
        )
        hold_severity(dossier, graded, end_ms, self.rules.resolve_ms)
        if dossier.told is None:
            begin(dossier, self._playbooks, end_ms, self.rules)
        if not ahead:
            show(dossier, self.rules)

    def _report(self, dossier: Dossier, was: State, opened: bool) -> list[IncidentEvent]:
        """The one event that says what this tick changed, or none."""
        happened = self._happened(dossier, was, opened)
        return [] if happened is None else [self._say(dossier, happened)]

    def _happened(self, dossier: Dossier, was: State, opened: bool) -> EventType | None:
        """The weightiest of what this tick changed; None if nothing that a reader would see."""
        told = dossier.told
        if told is None or opened:
            return "opened" if told is None else "reopened"
        if dossier.state != was and dossier.state in ("resolved", "closed"):
            return "resolved" if dossier.state == "resolved" else "closed"
        if not dossier.is_over and (told.silenced_by is None) != (dossier.silence is None):
            return "silenced" if dossier.silence else "unsilenced"
        if told.severity != (dossier.override or dossier.severity):
            return "severity_changed"
        return "updated" if changes(told, self._draft(dossier)) else None

    def _draft(self, dossier: Dossier) -> Incident:
        return draft(dossier, self.environment, self.time_ms or 0)

    def _say(
        self,
        dossier: Dossier,
        event_type: EventType,
        text: str | None = None,
        actor: str = "tocsin",
        command_id: str | None = None,
    ) -> IncidentEvent:
        """Writes the next entry of the incident's log."""
        if event_type in ("opened", "reopened"):
            self._look_ahead(dossier)
        if dossier.is_over:
            give_up(dossier, self._memory.predictions, self._memory.end_ms or 0)
        incident = self._draft(dossier)
        changed = changes(dossier.told, incident) if dossier.told else {}
        dossier.told = incident
        return IncidentEvent(
            incident_id=incident.id,
            version=incident.version,
            type=event_type,
            time_ms=incident.updated_ms,
            actor=actor,
            text=text if text is not None else event_text(event_type, incident, changed),
            incident=incident,
            changes=changed,
            command_id=command_id,
        )

    def _look_ahead(self, dossier: Dossier) -> None:
        """Writes down what is known early, and what closed incidents teach of such a case."""
        dossier.features = features_of(self._draft(dossier), self.catalogue)
        dossier.outlook = self._lessons.outlook(dossier.features)

    def _learn_from(self, dossier: Dossier) -> None:
        """Takes a closed incident as an example for later ones, unless it was none."""
        told = dossier.told
        if dossier.false_alarm_by is None:
            trusted, end_ms = dossier.trusted_signals(), self._memory.end_ms or 0
            self._casebook.feedback.close(dossier.id, trusted, end_ms)
        if told is not None and dossier.features and told.false_alarm_by is None:
            self._lessons.learn(example_of(told, dossier.features))

    # -- state -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state."""
        calls = [Call(caller, callee) for caller, callee in self._casebook.graph.learned()]
        aligner = self._aligner.snapshot()
        self._memory.silences = self._silences.by_people
        return msgspec.msgpack.encode(
            (VERSION, self._memory, calls, aligner, self._lessons.examples)
        )

    def restore(self, data: bytes) -> None:
        """Replaces the state. Raises `ValueError` if the snapshot is of another version."""
        version, *parts = msgspec.msgpack.decode(data, type=list[msgspec.Raw])
        if (read := msgspec.msgpack.decode(version, type=int)) not in (1, VERSION):
            raise ValueError(
                f"incident snapshot of version {read}, this is version {VERSION}: "
                "replay from the start, or run the version that wrote it"
            )
        memory = msgspec.msgpack.decode(parts[0], type=Memory)
        calls = msgspec.msgpack.decode(parts[1], type=list[Call])
        aligner = msgspec.msgpack.decode(parts[2], type=bytes)
        # Version 1 knew no examples.
        lessons = msgspec.msgpack.decode(parts[3], type=list[Example]) if read > 1 else []
        self._casebook = Casebook(self.environment, self.rules, self._base, memory)
        self._lessons.load(lessons)
        self._silences.load(memory.silences)
        self._casebook.graph.learn(calls)
        self._aligner.restore(aligner, AnomalyBatch)
