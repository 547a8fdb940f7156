"""The incident stage: anomalies and commands in, the log of incidents out."""

from collections.abc import Iterable, Sequence

import msgspec

from schemas.anomalies import Anomaly, AnomalyBatch, Call
from schemas.configuration import Catalogue, Incidents, Windows
from schemas.incidents import Cause, Command, EventType, Incident, IncidentEvent, State
from streams.align import Aligner
from streams.causes import is_clear, rank
from streams.classify import grade, hold_severity
from streams.commands import obey, why_refused
from streams.correlate import groups, home, is_same_trouble
from streams.dossier import Count, Dossier, began, key_of
from streams.draft import changes, draft, event_text, facts_of, impact_of
from streams.graph import ServiceGraph
from streams.identity import incident_id
from streams.lifecycle import (
    Rules,
    can_reopen,
    is_due,
    is_quiet,
    next_moment_ms,
    phase_after,
    state_at,
)
from streams.opening import WAIT_MS, is_enough, is_mass

VERSION = 1
MAX_DOSSIERS = 500
"""Incidents kept at once; past it the longest resolved are closed early."""
MAX_WAITING = 5_000
MAX_COMMANDS = 10_000
"""Command ids remembered, so that a repeat changes nothing."""


class Memory(msgspec.Struct, kw_only=True):
    """All that the stage remembers beside the aligner and the graph."""

    dossiers: dict[str, Dossier] = {}
    waiting: list[Anomaly] = []
    commands: dict[str, None] = {}
    left_out: dict[str, int] = {}
    taken: int = 0
    end_ms: int | None = None


class IncidentStage:
    """Correlates, ranks causes, grades and leads incidents through their life. Pure.

    Works through the window grid tick by tick: what has come for a window is taken in, then the
    timers are looked at, each at the very tick at which it falls due, however far apart batches
    are. All events of a tick have `time_ms` = the window's end + the allowed lateness.

    Open incidents are never merged: evidence that links two of them goes to the nearer one, and
    both keep their ids, since people and other systems already know them by these.

    Parameters
    ----------
    environment
        Part of every incident's id and record.
    shards
        Names of the sources of anomalies that must be heard before a window is taken in.

    Attributes
    ----------
    refused
        Commands that were not obeyed, each with the reason; the shell logs and empties it.
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
        self.graph = ServiceGraph(catalogue)
        self.refused: list[tuple[Command, str]] = []
        self._aligner = Aligner[AnomalyBatch](shards)
        self._base = catalogue
        self._memory = Memory()

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
        """Obeys what people ask; a repeated id changes nothing, nonsense goes to `refused`."""
        events: list[IncidentEvent] = []
        for command in batch:
            if command.id in self._memory.commands:
                continue
            dossier = self._memory.dossiers.get(command.incident_id)
            reason = why_refused(command, dossier)
            if reason is not None or dossier is None:
                self.refused.append((command, reason or "no such incident"))
                continue
            self._memory.commands[command.id] = None
            if len(self._memory.commands) > MAX_COMMANDS:
                del self._memory.commands[next(iter(self._memory.commands))]
            event_type, text = obey(command, dossier, self._memory.end_ms or 0, self.rules)
            events.append(
                self._say(dossier, event_type, text, actor=command.actor, command_id=command.id)
            )
        return events

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
        first = min((m for m in moments if m is not None), default=None)
        if first is None:
            return None
        return max(-(-first // window_ms) * window_ms, now_ms + window_ms)

    def _tick(self, end_ms: int, batches: Sequence[AnomalyBatch]) -> list[IncidentEvent]:
        """Takes in one window, then looks at the timers."""
        self._memory.end_ms = end_ms
        self.graph.learn(call for batch in batches for call in batch.calls)
        fresh = sorted(
            (anomaly for batch in batches for anomaly in batch.anomalies),
            key=lambda a: (began(a), -a.score, a.series, a.kind),
        )
        self._forget_waiting(end_ms)
        opened: tuple[str, ...] = ()
        if fresh:
            self._memory.waiting += fresh
            self._join(end_ms)
            opened = self._open(end_ms)
        self._count(batches)
        return self._settle(end_ms, opened)

    # -- evidence --------------------------------------------------------------------------

    def _forget_waiting(self, end_ms: int) -> None:
        """Leaves out what has waited in vain, and the oldest if too much waits."""
        waiting = self._memory.waiting
        kept = [a for a in waiting if end_ms - a.window_end_ms <= WAIT_MS]
        gone = [a for a in waiting if end_ms - a.window_end_ms > WAIT_MS]
        self._leave_out("weak and alone", sum(a.opens for a in gone))
        self._leave_out("corroborates nothing", sum(not a.opens for a in gone))
        over = max(len(kept) - MAX_WAITING, 0)
        self._leave_out("too many at once", over)
        self._memory.waiting = kept[over:]

    def _leave_out(self, reason: str, count: int) -> None:
        if count:
            self.left_out[reason] = self.left_out.get(reason, 0) + count

    def _join(self, end_ms: int) -> None:
        """Gives waiting anomalies to open incidents, until nothing more belongs to one."""
        by_hand = [
            d
            for d in self._memory.dossiers.values()
            if d.resolved_by is not None and can_reopen(d, end_ms, self.rules)
        ]
        while True:
            left: list[Anomaly] = []
            for anomaly in self._memory.waiting:
                if any(_goes_on(anomaly, dossier) for dossier in by_hand):
                    self._leave_out("goes on after being resolved by hand", 1)
                    continue
                found = home(anomaly, self._open_dossiers(), self.graph, self.rules, end_ms)
                if found is None:
                    left.append(anomaly)
                else:
                    found.absorb(anomaly)
                    self._memory.taken += 1
            done = len(left) == len(self._memory.waiting)
            self._memory.waiting = left
            if done or not left:
                return

    def _open_dossiers(self) -> Iterable[Dossier]:
        return (d for d in self._memory.dossiers.values() if not d.is_over)

    def _open(self, end_ms: int) -> tuple[str, ...]:
        """Opens or reopens incidents for the groups of waiting anomalies that are enough.

        Trouble that a quiet incident knows goes back to it without further proof.
        """
        found = groups(self._memory.waiting, self.graph, self.rules.max_distance)
        mass = is_mass(found, end_ms)
        if mass:
            found = [[anomaly for group in found for anomaly in group]]
        opened: list[str] = []
        self._memory.waiting = []
        for group in found:
            dossier = self._known(group, end_ms, over=False)
            if dossier is None and not mass and not is_enough(group):
                self._memory.waiting += group
                continue
            if dossier is None:
                dossier = self._reopened(group, end_ms) or self._new(group, end_ms)
                opened.append(dossier.id)
            dossier.mass = dossier.mass or mass
            for anomaly in group:
                dossier.absorb(anomaly)
            self._memory.taken += len(group)
        return tuple(opened)

    def _known(self, group: Sequence[Anomaly], end_ms: int, *, over: bool) -> Dossier | None:
        """The incident that knows this trouble: a quiet one, or one resolved lately; else None."""
        possible = can_reopen if over else is_quiet
        found = [
            dossier
            for dossier in self._memory.dossiers.values()
            if possible(dossier, end_ms, self.rules)
            and is_same_trouble(group, dossier, surely=over)
        ]
        return max(found, key=lambda d: (d.last_end_ms, d.id), default=None)

    def _reopened(self, group: Sequence[Anomaly], end_ms: int) -> Dossier | None:
        found = self._known(group, end_ms, over=True)
        if found is not None:
            found.state, found.public_phase = "investigating", "investigating"
            found.resolved_ms = found.resolved_end_ms = found.resolved_by = None
            found.reopened += 1
        return found

    def _new(self, group: Sequence[Anomaly], end_ms: int) -> Dossier:
        name = incident_id(self.environment, group[0], self._memory.dossiers)
        dossier = Dossier(
            id=name,
            opened_ms=end_ms + self.rules.lateness_ms,
            first_anomaly_ms=began(group[0]),
            last_end_ms=group[0].window_end_ms,
            grown_ms=end_ms,
        )
        self._memory.dossiers[name] = dossier
        return dossier

    def _count(self, batches: Sequence[AnomalyBatch]) -> None:
        """Adds the window's traffic to the incidents whose services it passed."""
        for dossier in self._open_dossiers():
            for batch in batches:
                for traffic in batch.traffic:
                    if traffic.service in dossier.seen:
                        count = dossier.counts.setdefault(traffic.service, Count())
                        count.requests += traffic.requests
                        count.errors += traffic.errors

    # -- what is said ----------------------------------------------------------------------

    def _settle(self, end_ms: int, opened: Sequence[str]) -> list[IncidentEvent]:
        """Brings every incident up to `end_ms` and says what changed, at most once each."""
        events: list[IncidentEvent] = []
        for name in sorted(self._memory.dossiers):
            dossier = self._memory.dossiers[name]
            events += self._settle_one(dossier, end_ms, name in opened)
            dossier.settled_ms = end_ms
            if dossier.state == "closed":
                del self._memory.dossiers[name]
        return events + self._close_early()

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
            del self._memory.dossiers[dossier.id]
        return events

    def _settle_one(self, dossier: Dossier, end_ms: int, opened: bool) -> list[IncidentEvent]:
        if not opened and not dossier.touched and not is_due(dossier, end_ms, self.rules):
            return []
        dossier.touched = False
        trusted = dossier.trusted_signals()
        causes = rank(tuple(dossier.signals.values()), self.graph, trusted)
        clear = is_clear(causes, trusted)
        was = dossier.state
        dossier.state = state_at(dossier, end_ms, self.rules, clear)
        dossier.public_phase = phase_after(dossier.public_phase, dossier.state)
        if dossier.state == "resolved" and was != "resolved":
            dossier.resolved_end_ms, dossier.resolved_ms = end_ms, end_ms + self.rules.lateness_ms
        if dossier.state == "closed":
            dossier.closed_ms = end_ms + self.rules.lateness_ms
        if not dossier.is_over or dossier.told is None:
            self._assess(dossier, causes, end_ms)
        return self._report(dossier, was, opened)

    def _assess(self, dossier: Dossier, causes: tuple[Cause, ...], end_ms: int) -> None:
        """Writes causes, impact and severity into the dossier."""
        dossier.causes = causes
        dossier.impact = impact_of(dossier, self.catalogue)
        facts = facts_of(
            dossier,
            self.catalogue,
            active=dossier.state != "monitoring",
            grows=end_ms - dossier.grown_ms < self.rules.gap_ms,
        )
        hold_severity(dossier, grade(facts), end_ms, self.rules.resolve_ms)
        if (dossier.override or dossier.severity) in self.rules.public:
            dossier.visibility = "public"

    def _report(self, dossier: Dossier, was: State, opened: bool) -> list[IncidentEvent]:
        """The one event that says what this tick changed, or none."""
        told = dossier.told
        if told is None:
            return [self._say(dossier, "opened")]
        if opened:
            return [self._say(dossier, "reopened")]
        if dossier.state != was and dossier.state in ("resolved", "closed"):
            return [self._say(dossier, "resolved" if dossier.state == "resolved" else "closed")]
        if told.severity != (dossier.override or dossier.severity):
            return [self._say(dossier, "severity_changed")]
        if changes(told, self._draft(dossier)):
            return [self._say(dossier, "updated")]
        return []

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

    # -- state -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state."""
        calls = [Call(caller, callee) for caller, callee in self.graph.learned()]
        return msgspec.msgpack.encode((VERSION, self._memory, calls, self._aligner.snapshot()))

    def restore(self, data: bytes) -> None:
        """Replaces the state. Raises `ValueError` if the snapshot is of another version."""
        version = msgspec.msgpack.decode(data, type=tuple[int, msgspec.Raw, msgspec.Raw, bytes])[0]
        if version != VERSION:
            raise ValueError(
                f"incident snapshot of version {version}, this is version {VERSION}: "
                "replay from the start, or run the version that wrote it"
            )
        _, self._memory, calls, aligner = msgspec.msgpack.decode(
            data, type=tuple[int, Memory, list[Call], bytes]
        )
        self.graph = ServiceGraph(self._base)
        self.graph.learn(calls)
        self._aligner.restore(aligner, AnomalyBatch)


def _goes_on(anomaly: Anomaly, dossier: Dossier) -> bool:
    """Whether this very run of anomalies was there when someone resolved the incident."""
    return key_of(anomaly) in dossier.signals and began(anomaly) < (dossier.resolved_end_ms or 0)
