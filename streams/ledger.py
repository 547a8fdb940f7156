"""Brings incidents up to date and writes their logs: graded, ranked, silenced, closed. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from schemas.anomalies import Call
from schemas.configuration import Catalogue, Incidents, Service
from schemas.incidents import Cause, EventType, Incident, IncidentEvent, State
from schemas.silences import Silence, SilenceEvent
from streams.announcements import Announcer
from streams.casebook import Casebook, Memory
from streams.causes import is_clear, rank
from streams.classify import gravest, hold_severity
from streams.dimensions import classification_of, with_outlook
from streams.dossier import Dossier, sign_of
from streams.draft import BESIDE_NEWS, changes, draft, event_text, facts_of, impact_of
from streams.harm import keep_worst
from streams.lifecycle import Rules, hold_ms, is_due, is_quiet, is_stale, phase_after, state_at
from streams.outlook import Example, Lessons, example_of, features_of
from streams.parents import joined_by, parent_of
from streams.playbooks import begin, has_given_up, hold
from streams.prediction import (
    follow,
    give_up,
    grade_prediction,
    is_prediction,
    is_withdrawn,
)
from streams.regraded import why_regraded
from streams.regroup import take_in
from streams.reports import weigh
from streams.review import show
from streams.silences import End, Silences

MAX_DOSSIERS = 500
"""Incidents kept at once; past it the longest resolved are closed early."""

MAX_HELD_BACK = 100
"""Incidents that are named of those that one silence held back."""


class Ledger:
    """Every incident that is held, and what it last said.

    Attributes
    ----------
    casebook
        Where evidence is filed, and the memory of the stage.
    silences
        What wakes nobody.
    lessons
        What closed incidents teach.
    silence_events
        Silences and turns of maintenance windows that end soon, or have ended.
    """

    def __init__(
        self, environment: str, rules: Rules, incidents: Incidents, catalogue: Catalogue
    ) -> None:
        self.environment = environment
        self.rules = rules
        self.catalogue: Mapping[str, Service] = {s.name: s for s in catalogue.services}
        self.casebook = Casebook(environment, rules, catalogue)
        self.silences = Silences(incidents.maintenance)
        self.lessons = Lessons(incidents.outlook_after_incidents)
        self.silence_events: list[SilenceEvent] = []
        self._announcer = Announcer(environment, self.catalogue)
        self._base = catalogue
        self._grading = incidents.grading
        self._playbooks = incidents.playbooks
        self._suppresses = incidents.suppress_children

    @property
    def memory(self) -> Memory:
        """All that is remembered beside silences, lessons and the graph."""
        return self.casebook.memory

    @property
    def end_ms(self) -> int:
        """The end of the window that has been reached; 0 before the first."""
        return self.memory.end_ms or 0

    @property
    def time_ms(self) -> int | None:
        """The event time that has been reached; None before the first window."""
        end_ms = self.memory.end_ms
        return None if end_ms is None else end_ms + self.rules.lateness_ms

    def restore(self, memory: Memory, calls: Sequence[Call], examples: Sequence[Example]) -> None:
        """Replaces the state."""
        self.casebook = Casebook(self.environment, self.rules, self._base, memory)
        self.casebook.graph.learn(calls)
        self.silences.load(memory.silences)
        self.lessons.load(examples)

    def settle(self, end_ms: int, opened: Sequence[str]) -> list[IncidentEvent]:
        """Brings every incident up to `end_ms` and says what changed, at most once each."""
        events: list[IncidentEvent] = []
        ends = self._turn_silences(end_ms + self.rules.lateness_ms)
        self._take_in(opened, end_ms)
        # The older first: what follows from another sees what has become of that.
        for dossier in sorted(self.memory.dossiers.values(), key=lambda d: (d.opened_ms, d.id)):
            name = dossier.id
            events += self._settle_one(dossier, end_ms, name in opened)
            dossier.settled_ms = end_ms
            if dossier.state == "closed":
                self._learn_from(dossier)
                del self.memory.dossiers[name]
        events += self._close_early()
        self.silence_events += self._announcer.told(ends, self.memory)
        return events

    def _take_in(self, opened: Iterable[str], end_ms: int) -> None:
        """Gives what a new incident holds to the open one of which it is a late symptom."""
        graph, dossiers = self.casebook.graph, self.memory.dossiers
        time_ms = end_ms + self.rules.lateness_ms
        for name in opened:
            new = dossiers[name]
            if new.told is not None or new.mass or not new.is_out():
                continue
            new.causes, _ = self._causes(new)
            keep_worst(new)
            facts = facts_of(new, self.catalogue, self._base.currency, grows=True)
            new.severity = gravest(facts, self._grading).severity
            new.silence = self.silences.covering(new.trusted_signals(), time_ms)
            joined = joined_by(new, dossiers, graph, end_ms, self.rules)
            if joined is not None:
                take_in(new, joined, end_ms)
                del dossiers[name]

    def _turn_silences(self, time_ms: int) -> list[End]:
        """Lets every open incident be looked at if a silence has begun or ended since; what ends.

        It is told only once the incidents have been looked at, with what is then still out.
        """
        before_ms = self.memory.silences_ms
        self.memory.silences_ms = time_ms
        if before_ms is not None:
            moment_ms = self.silences.next_change_ms(before_ms)
            if moment_ms is not None and moment_ms <= time_ms:
                self.look_again()
        return self.silences.ends(before_ms, time_ms)

    def end_silence(self, name: str, by: str) -> None:
        """Ends a person's silence before its time. Raises `SilenceError` if there is none."""
        silence, time_ms = self.silences.end(name), self.time_ms or 0
        self.silence_events.append(self._announcer.ended(silence, self.memory, time_ms, by=by))

    def look_again(self) -> None:
        """Lets every open incident be brought up to date, whatever has come for it."""
        for dossier in self.memory.dossiers.values():
            dossier.touched = dossier.touched or not dossier.is_over

    def _close_early(self) -> list[IncidentEvent]:
        """Closes the longest resolved incidents if more are held than memory allows."""
        over = len(self.memory.dossiers) - MAX_DOSSIERS
        if over <= 0:
            return []
        resolved = [d for d in self.memory.dossiers.values() if d.state == "resolved"]
        events = []
        for dossier in sorted(resolved, key=lambda d: (d.resolved_end_ms or 0, d.id))[:over]:
            dossier.state, dossier.closed_ms = "closed", self.time_ms
            events.append(self.say(dossier, "closed"))
            self._learn_from(dossier)
            del self.memory.dossiers[dossier.id]
        return events

    def _settle_one(self, dossier: Dossier, end_ms: int, opened: bool) -> list[IncidentEvent]:
        if not (
            opened
            or dossier.touched
            or is_due(dossier, end_ms, self.rules)
            or self._is_let_go(dossier, end_ms)
        ):
            return []
        dossier.touched = False
        was = dossier.state
        follow(dossier, self.memory.predictions, end_ms)
        causes, clear = self._causes(dossier)
        dossier.state = state_at(dossier, end_ms, self.rules, clear)
        if dossier.state == "resolved" and was not in ("resolved", "closed"):
            dossier.stale = is_stale(dossier, end_ms, self.rules)
        if is_withdrawn(dossier) and not dossier.is_over:
            dossier.state = "resolved"
        dossier.public_phase = phase_after(dossier.public_phase, dossier.state)
        if dossier.state == "resolved" and was != "resolved":
            dossier.resolved_end_ms, dossier.resolved_ms = end_ms, end_ms + self.rules.lateness_ms
        if dossier.state == "closed":
            dossier.closed_ms = end_ms + self.rules.lateness_ms
        if not dossier.is_over or dossier.told is None:
            self._assess(dossier, causes, end_ms, opened=opened)
        return self._report(dossier, was, opened)

    def _causes(self, dossier: Dossier) -> tuple[tuple[Cause, ...], bool]:
        """The ranked causes, and whether the first of them is clear."""
        trusted = dossier.trusted_signals()
        causes = rank(
            tuple(dossier.signals.values()), self.casebook.graph, trusted, dossier.pace_ms
        )
        causes = weigh(causes, self.memory.changes, dossier.since_ms())
        return causes, is_clear(causes, trusted)

    def _suppress(self, dossier: Dossier, end_ms: int, *, opened: bool) -> None:
        """Decides whether it wakes nobody because of another, at its opening or coming back; later
        that can only end."""
        if opened or self._is_let_go(dossier, end_ms):
            dossier.suppressed_by = self._parent(dossier, end_ms)

    def _is_let_go(self, dossier: Dossier, end_ms: int) -> bool:
        """Whether it goes on, and no more because of the incident that suppresses it."""
        if dossier.suppressed_by is None or is_quiet(dossier, end_ms, self.rules):
            return False
        return not dossier.is_over and self._parent(dossier, end_ms) != dossier.suppressed_by

    def _parent(self, dossier: Dossier, end_ms: int) -> str | None:
        if not self._suppresses:
            return None
        graph, dossiers = self.casebook.graph, self.memory.dossiers
        return parent_of(dossier, dossiers, graph, end_ms, self.rules)

    def assess_again(self, dossier: Dossier) -> None:
        """Ranks and grades an open incident anew, at once, as people have changed what it holds."""
        self._assess(dossier, self._causes(dossier)[0], self.end_ms)
        dossier.touched = False

    def _assess(
        self, dossier: Dossier, causes: tuple[Cause, ...], end_ms: int, *, opened: bool = False
    ) -> None:
        """Writes causes, impact and severity into the dossier.

        The severity of an incident that has gone quiet stays as it was while it went on: that is
        how bad it was, and nobody needs to be told that quiet is less urgent.
        """
        dossier.causes = causes
        time_ms = end_ms + self.rules.lateness_ms
        covering = self.silences.covering(dossier.trusted_signals(), time_ms)
        if covering is not None:
            self._hold_back(dossier, covering)
        dossier.silence = covering or self._held(dossier, end_ms)
        signs = map(sign_of, dossier.signals.values())
        dossier.feedback = self.casebook.feedback.told(signs, end_ms)
        dossier.impact = impact_of(dossier, self.catalogue, self._base.currency)
        if dossier.state == "monitoring" and dossier.told is not None:
            return
        grows = end_ms - dossier.grown_ms < self.rules.gap_ms
        keep_worst(dossier)
        dossier.classification = classification_of(
            dossier, self.catalogue, self._base.currency, self._grading
        )
        facts = facts_of(dossier, self.catalogue, self._base.currency, grows=grows)
        ahead = is_prediction(dossier)
        graded = (
            grade_prediction(dossier, self.catalogue, self._grading)
            if ahead
            else gravest(facts, self._grading)
        )
        hold_severity(dossier, graded, end_ms, hold_ms(dossier, self.rules))
        self._suppress(dossier, end_ms, opened=opened)
        # It may have become too grave to be held back.
        dossier.silence = covering or self._held(dossier, end_ms)
        # Of what is split off, people take care already.
        new = dossier.told is None and dossier.split_from is None
        if new and dossier.suppressed_by is None:
            begin(dossier, self._playbooks, end_ms, self.rules)
        if not ahead:
            show(dossier, self.rules)

    def _held(self, dossier: Dossier, end_ms: int) -> Silence | None:
        """The silence of a playbook that may still cure it.

        What has gone quiet stays silenced though the silence ends: it is out of order no more, and
        need not be told. Only of a playbook that has given up people must know.
        """
        held = hold(dossier, self._playbooks, end_ms, self.rules)
        quiet = is_quiet(dossier, end_ms, self.rules)
        if held is None and quiet and not has_given_up(dossier, self._playbooks):
            return dossier.silence
        return held

    def _hold_back(self, dossier: Dossier, silence: Silence) -> None:
        """Keeps account of what a silence held back, for when it ends and in the incident."""
        held = self.memory.held_back.setdefault(silence.id, [])
        if dossier.id not in held and len(held) < MAX_HELD_BACK:
            held.append(dossier.id)
        dossier.silences[silence.id] = None

    def _report(self, dossier: Dossier, was: State, opened: bool) -> list[IncidentEvent]:
        """The one event that says what this tick changed, or none."""
        happened = self._happened(dossier, was, opened)
        return [] if happened is None else [self.say(dossier, happened)]

    def _happened(self, dossier: Dossier, was: State, opened: bool) -> EventType | None:
        """The weightiest of what this tick changed; None if nothing that a reader would see."""
        told = dossier.told
        if told is None or opened:
            return "opened" if told is None else "reopened"
        if dossier.state != was and dossier.state in ("resolved", "closed"):
            return "resolved" if dossier.state == "resolved" else "closed"
        if not dossier.is_over and (told.silenced_by is None) != (dossier.silenced_by is None):
            return "silenced" if dossier.silenced_by else "unsilenced"
        if told.severity != (dossier.override or dossier.severity):
            return "severity_changed"
        news = changes(told, self._draft(dossier)).keys() - BESIDE_NEWS.keys()
        return "updated" if news else None

    def _draft(self, dossier: Dossier) -> Incident:
        return draft(dossier, self.environment, self.time_ms or 0)

    def say(
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
        self._expect(dossier)
        if dossier.is_over:
            give_up(dossier, self.memory.predictions, self.end_ms)
        incident = self._draft(dossier)
        before, dossier.told = dossier.told, incident
        changed = changes(before, incident) if before else {}
        if text is None:
            text = event_text(event_type, incident, changed, before)
            if before is not None and "severity" in changed:
                text = f"{text} {why_regraded(before.grading, incident.grading)}".rstrip()
        return IncidentEvent(
            incident_id=incident.id,
            version=incident.version,
            type=event_type,
            time_ms=incident.updated_ms,
            actor=actor,
            text=text,
            incident=incident,
            changes=changed,
            command_id=command_id,
        )

    def _look_ahead(self, dossier: Dossier) -> None:
        """Writes down what is known early, and what closed incidents teach of such a case."""
        dossier.features = features_of(self._draft(dossier), self.catalogue)
        dossier.outlook = self.lessons.outlook(dossier.features)

    def _expect(self, dossier: Dossier) -> None:
        """Writes what is known of recovery and duration into the classification."""
        if dossier.classification is not None:
            dossier.classification = with_outlook(dossier.classification, dossier, self.lessons)

    def _learn_from(self, dossier: Dossier) -> None:
        """Takes a closed incident as an example for later ones, unless it was none."""
        told = dossier.told
        if dossier.false_alarm_by is None:
            trusted, end_ms = dossier.trusted_signals(), self.end_ms
            self.casebook.feedback.close(dossier.id, trusted, end_ms)
        if told is not None and dossier.features and told.false_alarm_by is None:
            self.lessons.learn(example_of(told, dossier.features))
