"""Where evidence is filed: which incident an anomaly goes to, and when a new one is opened."""

from collections.abc import Iterable, Sequence

import msgspec

from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Catalogue
from schemas.incidents import Command, Incident
from schemas.silences import Silence
from streams.correlate import Links, groups, home, is_same_trouble
from streams.dossier import Count, Dossier, began, key_of
from streams.feedback import Feedback, Marks
from streams.graph import ServiceGraph
from streams.identity import incident_id
from streams.lifecycle import Rules, can_reopen, is_quiet
from streams.opening import WAIT_MS, is_enough, is_mass
from streams.reports import Change

MAX_WAITING = 5_000


class Memory(msgspec.Struct, kw_only=True):
    """All that the incident stage remembers beside the aligner and the graph.

    `held_back` are the incidents that each silence has held back, while it is on.
    """

    dossiers: dict[str, Dossier] = {}
    waiting: list[Anomaly] = []
    commands: dict[str, None] = {}
    left_out: dict[str, int] = {}
    taken: int = 0
    silences: list[Silence] = []
    silences_ms: int | None = None
    held_back: dict[str, list[str]] = {}
    reports: list[tuple[Command, str]] = []
    changes: list[Change] = []
    predictions: dict[str, int] = {}
    marks: Marks = msgspec.field(default_factory=Marks)
    drills: dict[str, Incident] = {}
    end_ms: int | None = None


class Casebook:
    """Files anomalies into dossiers, opening and reopening them as needed. Pure.

    Every anomaly ends in exactly one dossier, or is counted in `memory.left_out` by the reason.
    """

    def __init__(
        self, environment: str, rules: Rules, catalogue: Catalogue, memory: Memory | None = None
    ) -> None:
        self.environment = environment
        self.rules = rules
        self.graph = ServiceGraph(catalogue)
        self.memory = memory or Memory()
        self.feedback = Feedback(rules.half_life_ms, self.memory.marks)

    @property
    def _links(self) -> Links:
        return Links(self.graph, self.memory.changes)

    def take(self, end_ms: int, batches: Sequence[AnomalyBatch]) -> tuple[str, ...]:
        """Files what came for the window ending at `end_ms`; the ids of what it opened."""
        self.graph.learn(call for batch in batches for call in batch.calls)
        fresh = sorted(
            (self.feedback.judge(a) for batch in batches for a in batch.anomalies),
            key=lambda a: (began(a), -a.score, a.series, a.kind),
        )
        self._forget_waiting(end_ms)
        opened: tuple[str, ...] = ()
        if fresh:
            self.memory.waiting += fresh
            self._join(end_ms)
            opened = self._open(end_ms)
        self._count(batches)
        return opened

    def _forget_waiting(self, end_ms: int) -> None:
        """Leaves out what has waited in vain, and the oldest if too much waits."""
        waiting = self.memory.waiting
        kept = [a for a in waiting if end_ms - a.window_end_ms <= WAIT_MS]
        gone = [a for a in waiting if end_ms - a.window_end_ms > WAIT_MS]
        self._leave_out("weak and alone", sum(a.opens for a in gone))
        self._leave_out("corroborates nothing", sum(not a.opens for a in gone))
        over = max(len(kept) - MAX_WAITING, 0)
        self._leave_out("too many at once", over)
        self.memory.waiting = kept[over:]

    def _leave_out(self, reason: str, count: int) -> None:
        if count:
            self.memory.left_out[reason] = self.memory.left_out.get(reason, 0) + count

    def _join(self, end_ms: int) -> None:
        """Gives waiting anomalies to open incidents, until nothing more belongs to one."""
        by_hand = [
            d
            for d in self.memory.dossiers.values()
            if d.stale or (d.resolved_by is not None and can_reopen(d, end_ms, self.rules))
        ]
        while True:
            left: list[Anomaly] = []
            for anomaly in self.memory.waiting:
                if any(_goes_on(anomaly, dossier) for dossier in by_hand):
                    self._leave_out("goes on after being called resolved", 1)
                    continue
                found = home(anomaly, self._open_dossiers(), self._links, self.rules, end_ms)
                if found is None:
                    left.append(anomaly)
                else:
                    found.absorb(_as_evidence(anomaly, found))
                    self.memory.taken += 1
            done = len(left) == len(self.memory.waiting)
            self.memory.waiting = left
            if done or not left:
                return

    def _open_dossiers(self) -> Iterable[Dossier]:
        return (d for d in self.memory.dossiers.values() if not d.is_over)

    def _open(self, end_ms: int) -> tuple[str, ...]:
        """Opens or reopens incidents for the groups of waiting anomalies that are enough.

        Trouble that a quiet incident knows goes back to it without further proof.
        """
        present = [a for a in self.memory.waiting if a.kind != "forecast"]
        found = groups(present, self._links, self.rules.max_distance)
        mass = is_mass(found, end_ms)
        if mass:
            found = [[anomaly for group in found for anomaly in group]]
        found += _forecasts(self.memory.waiting)
        opened: list[str] = []
        self.memory.waiting = []
        for group in found:
            dossier = self._known(group, end_ms, over=False)
            if (
                dossier is None
                and not self._is_enough(group)
                and not (mass and group[0].kind != "forecast")
            ):
                self.memory.waiting += group
                continue
            if dossier is None:
                dossier = self._reopened(group, end_ms) or self._new(group, end_ms)
                opened.append(dossier.id)
            dossier.mass = dossier.mass or (mass and group[0].kind != "forecast")
            for anomaly in group:
                dossier.absorb(anomaly)
            self.memory.taken += len(group)
        return tuple(opened)

    def _is_enough(self, group: Sequence[Anomaly]) -> bool:
        """Whether a group opens an incident, by itself or since people said so of its like."""
        return is_enough(group) or any(self.feedback.vouches(anomaly) for anomaly in group)

    def _known(self, group: Sequence[Anomaly], end_ms: int, *, over: bool) -> Dossier | None:
        """The incident that knows this trouble: a quiet one, or one resolved lately; else None."""
        possible = can_reopen if over else is_quiet
        found = [
            dossier
            for dossier in self.memory.dossiers.values()
            if possible(dossier, end_ms, self.rules)
            and is_same_trouble(group, dossier, surely=over)
        ]
        return max(found, key=lambda d: (d.last_end_ms, d.id), default=None)

    def _reopened(self, group: Sequence[Anomaly], end_ms: int) -> Dossier | None:
        found = self._known(group, end_ms, over=True)
        if found is not None:
            found.state, found.public_phase = "investigating", "investigating"
            found.resolved_ms = found.resolved_end_ms = found.resolved_by = None
            # Whoever had it was told that it was over; it needs somebody anew.
            found.acknowledged_ms = found.acknowledged_by = None
            found.reopened += 1
        return found

    def _new(self, group: Sequence[Anomaly], end_ms: int) -> Dossier:
        first = next((a for a in group if a.opens), group[0])
        name = incident_id(self.environment, first, self.memory.dossiers)
        dossier = Dossier(
            id=name,
            opened_ms=end_ms + self.rules.lateness_ms,
            first_anomaly_ms=began(first),
            last_end_ms=first.window_end_ms,
            grown_ms=end_ms,
        )
        self.memory.dossiers[name] = dossier
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


def _as_evidence(anomaly: Anomaly, dossier: Dossier) -> Anomaly:
    """A forecast only corroborates an outage: that shall not go on for as long as one stands."""
    if anomaly.kind != "forecast" or dossier.prediction is not None:
        return anomaly
    return msgspec.structs.replace(anomaly, opens=False)


def _forecasts(anomalies: Sequence[Anomaly]) -> list[list[Anomaly]]:
    """The forecasts by service: what will be does not spread along the graph."""
    found: dict[str, list[Anomaly]] = {}
    for anomaly in anomalies:
        if anomaly.kind == "forecast":
            found.setdefault(anomaly.service, []).append(anomaly)
    return list(found.values())


def _goes_on(anomaly: Anomaly, dossier: Dossier) -> bool:
    """Whether this very run of anomalies was there when someone resolved the incident."""
    return key_of(anomaly) in dossier.signals and began(anomaly) < (dossier.resolved_end_ms or 0)
