"""What the incident stage keeps of one incident: its evidence, its state, and what it last said."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from schemas.anomalies import Anomaly, AnomalyKind
from schemas.classification import Classification
from schemas.incidents import (
    Bar,
    Cause,
    Grading,
    Impact,
    Incident,
    Prediction,
    Proposal,
    PublicPhase,
    Severity,
    Signal,
    State,
    Visibility,
)
from schemas.outlook import Category, Outlook
from schemas.silences import Silence

VAGUE: frozenset[AnomalyKind] = frozenset(("level", "traffic", "novelty"))
"""Kinds that say "unusual", which may be good or bad; all others say what is wrong."""

TWO_SIDED: frozenset[AnomalyKind] = frozenset(("latency", "level", "traffic"))
"""Kinds that tell a different trouble below what is expected than above."""

FAST = 5.0
"""Requests are suspiciously fast if the median is this many times below the expected one: where
only some of them are slow it may be somewhat lower, too."""

RUN_GAP_MS = 300_000
"""A signal that was away for longer and comes back is told as a further one."""

MAX_SIGNALS = 100
"""Signals kept in one incident; of more, those that are furthest out."""


RARE_MS = 60_000
"""A series that reports less often than that is waited for, as if it came at least every
`RAREST_MS`: one that comes by the hour would keep everything open for half a day."""

RAREST_MS = 600_000

UNGRADED = Grading(severity="P4", impact=3, urgency=3, steps=())


class Count(msgspec.Struct):
    """Requests and errors of a service in the windows in which it was out of order."""

    requests: int = 0
    errors: int = 0


class Felt(msgspec.Struct, frozen=True):
    """What the users of a service felt at the worst, as in `streams.harm.Harm`."""

    slow_seconds: float = 0.0
    lost_ratio: float = 0.0
    reported_ratio: float = 0.0


class Rare(msgspec.Struct, frozen=True):
    """When a series that reports every so often was last out of order."""

    last_ms: int
    every_ms: int


class Dossier(msgspec.Struct, kw_only=True):
    """One incident, being worked on. Times are event times, Unix ms.

    A signal is `trusted` once it was reason enough to open an incident; `drawn_in` are the
    services with such a signal, and `grown_ms` is when the last of them came. `last_end_ms` is the
    end of the last window with a trusted signal; `pace_ms` the least time between two anomalous
    windows of one series, 0 while unknown, and `rare` the signals of series that report rarely;
    `settled_ms` the window end up to which timers were looked at; `seen` by service when it was
    first and last out; `told` the incident as last published; `lower_since_ms` since when the
    grade would be lower than the one that stands, and `falls` how often it has been lowered;
    `features` what was known when it was opened, for `streams.outlook`; `held_until_ms` the window
    end until which a playbook may cure it before anybody is woken.
    """

    id: str
    opened_ms: int
    first_anomaly_ms: int
    last_end_ms: int
    grown_ms: int
    settled_ms: int = 0
    pace_ms: int = 0
    rare: dict[str, Rare] = {}
    state: State = "investigating"
    public_phase: PublicPhase = "investigating"
    visibility: Visibility = "internal"
    signals: dict[str, Signal] = {}
    trusted: dict[str, None] = {}
    drawn_in: dict[str, None] = {}
    seen: dict[str, tuple[int, int]] = {}
    counts: dict[str, Count] = {}
    felt: dict[str, Felt] = {}
    mass: bool = False
    causes: tuple[Cause, ...] = ()
    impact: Impact = Impact()
    grading: Grading = UNGRADED
    classification: Classification | None = None
    touched: bool = True
    told: Incident | None = None
    severity: Severity = "P4"
    override: Severity | None = None
    override_by: str | None = None
    lower_since_ms: int | None = None
    falls: int = 0
    acknowledged_ms: int | None = None
    acknowledged_by: str | None = None
    public_message: str | None = None
    workaround: str | None = None
    expected_resolution_ms: int | None = None
    reason: str | None = None
    solution: str | None = None
    proposal: Proposal | None = None
    awaits_review: bool = False
    approved_by: str | None = None
    resolved_ms: int | None = None
    resolved_end_ms: int | None = None
    resolved_by: str | None = None
    closed_ms: int | None = None
    reopened: int = 0
    category_set: Category | None = None
    category_by: str | None = None
    features: dict[str, float] = {}
    outlook: Outlook | None = None
    merged_into: str | None = None
    split_from: str | None = None
    silence: Silence | None = None
    silences: dict[str, None] = {}
    suppressed_by: str | None = None
    playbook: str | None = None
    playbook_result: Literal["running", "worked", "failed"] | None = None
    held_until_ms: int | None = None
    stale: bool = False
    prediction: Prediction | None = None
    false_alarm_by: str | None = None
    feedback: tuple[Bar, ...] = ()

    @property
    def is_over(self) -> bool:
        """Resolved or closed."""
        return self.state in ("resolved", "closed")

    @property
    def silenced_by(self) -> str | None:
        """Why nobody is to be woken now; None if people are."""
        if self.silence is not None:
            return self.silence.id
        return f"outage {self.suppressed_by}" if self.suppressed_by else None

    @property
    def cause(self) -> str | None:
        """The likeliest cause, as last judged."""
        return self.causes[0].service if self.causes else None

    def affected(self) -> list[str]:
        """The services that are surely out of order, by when they were drawn in, and the likeliest
        cause; not those that only stand out a little meanwhile."""
        return list(dict.fromkeys([*self.drawn_in, *([self.cause] if self.cause else [])]))

    def absorb(self, anomaly: Anomaly) -> None:
        """Takes an anomaly in as evidence."""
        self.touched = True
        key = key_of(anomaly)
        if anomaly.opens and anomaly.service not in self.drawn_in:
            self.drawn_in[anomaly.service] = None
            self.grown_ms = max(self.grown_ms, anomaly.window_end_ms)
        if anomaly.opens or key in self.trusted:
            self.last_end_ms = max(self.last_end_ms, anomaly.window_end_ms)
            self._await(key, anomaly)
        self._see(anomaly)
        known = self.signals.get(key)
        if (step_ms := _step_ms(anomaly, known)) > 0:
            self.pace_ms = min(self.pace_ms or step_ms, step_ms)
        if known is not None and began(anomaly) - known.last_ms > RUN_GAP_MS:
            self._put_away(key, known)
            known = None
        if known is None and len(self.signals) >= MAX_SIGNALS and not self._make_room(anomaly):
            return
        self.signals[key] = signal_of(anomaly) if known is None else merged(known, anomaly)
        if anomaly.opens:
            self.trusted[key] = None

    def _await(self, key: str, anomaly: Anomaly) -> None:
        """Remembers how long a series that reports rarely may say nothing and still be out."""
        if anomaly.every_ms > RARE_MS and (key in self.rare or len(self.rare) < MAX_SIGNALS):
            self.rare[key] = Rare(anomaly.window_end_ms, min(anomaly.every_ms, RAREST_MS))

    def _put_away(self, key: str, ended: Signal) -> None:
        """Keeps a run that has ended beside the one that begins."""
        self.signals[f"{key}@{ended.first_ms}"] = ended
        if key in self.trusted:
            self.trusted[f"{key}@{ended.first_ms}"] = None

    def _see(self, anomaly: Anomaly) -> None:
        began_ms = began(anomaly)
        first, last = self.seen.get(anomaly.service, (began_ms, anomaly.window_end_ms))
        self.seen[anomaly.service] = (min(first, began_ms), max(last, anomaly.window_end_ms))
        if anomaly.opens:
            self.first_anomaly_ms = min(self.first_anomaly_ms, began_ms)

    def _make_room(self, anomaly: Anomaly) -> bool:
        weakest = min(self.signals, key=lambda key: (self.signals[key].score, key))
        if self.signals[weakest].score >= anomaly.score:
            return False
        del self.signals[weakest]
        self.trusted.pop(weakest, None)
        return True

    def trusted_signals(self) -> list[Signal]:
        """The signals that were reason enough to open an incident, of all runs."""
        return [s for key, s in self.signals.items() if key in self.trusted]

    def since_ms(self) -> int:
        """When it began: the first plain sign, or the first of any kind if there is none."""
        trusted = self.trusted_signals()
        return min((s.first_ms for s in plain_first(trusted)), default=self.first_anomaly_ms)

    def is_out(self) -> bool:
        """Whether anything is for certain but what will be."""
        return any(s.kind != "forecast" for s in self.trusted_signals())

    def out_ms(self) -> int:
        """When it became more than a forecast that has not come true; when it began, otherwise."""
        if self.prediction is None or self.prediction.status == "came_true":
            return self.first_anomaly_ms
        trusted = self.trusted_signals()
        out = [s.first_ms for s in trusted if s.kind != "forecast"]
        return min(out, default=self.first_anomaly_ms)

    def silent(self) -> set[str]:
        """The services that have fallen silent."""
        return {s.service for s in self.signals.values() if s.kind == "silence"}

    def callers(self) -> set[str]:
        """The services whose calls lose time on the way."""
        return {s.caller for s in self.signals.values() if s.kind == "network" and s.caller}


def key_of(anomaly: Anomaly) -> str:
    """The signal that an anomaly is part of."""
    return f"{anomaly.series}/{anomaly.kind}{'/below' if is_below(anomaly) else ''}"


def is_below(item: Anomaly | Signal) -> bool:
    """Whether it is out on the low side, where kinds have two: suspiciously fast, unusually few."""
    factor = FAST if item.kind == "latency" else 1.0
    return item.kind in TWO_SIDED and item.value * factor < item.expected


def sign_of(item: Anomaly | Signal) -> tuple[str, str, str]:
    """What two anomalies have in common if they are the same trouble: service, kind and side,
    measure.

    Of error logs the template counts, whether it is new or merely frequent.
    """
    if item.kind in ("new_error_template", "error_log_rate"):
        return item.service, "error_log", item.series
    kind = f"{item.kind} below" if is_below(item) else item.kind
    return item.service, kind, item.series.partition("{")[0]


def began(anomaly: Anomaly) -> int:
    """When the run of anomalies that this one belongs to began, Unix ms."""
    return min(anomaly.since_ms, anomaly.window_start_ms)


def pace_of(anomaly: Anomaly) -> int:
    """No less than the time between two reports of its series; 0 if nothing tells."""
    return min(anomaly.window_start_ms - began(anomaly), RUN_GAP_MS)


def _step_ms(anomaly: Anomaly, known: Signal | None) -> int:
    """The time since the anomalous window of the series before this one, 0 if there was none.

    Of a run that began before the incident only the length is known, which is no less. People who
    report keep no time.
    """
    if anomaly.kind == "report":
        return 0
    if known is not None:
        return anomaly.window_end_ms - known.last_ms
    return pace_of(anomaly)


def signal_of(anomaly: Anomaly) -> Signal:
    """The signal that one anomaly begins."""
    return Signal(
        service=anomaly.service,
        series=anomaly.series,
        kind=anomaly.kind,
        first_ms=began(anomaly),
        last_ms=anomaly.window_end_ms,
        score=anomaly.score,
        value=anomaly.value,
        expected=anomaly.expected,
        lower=anomaly.lower,
        upper=anomaly.upper,
        reason=anomaly.reason,
        instance=anomaly.instance,
        operation=anomaly.operation,
        caller=anomaly.caller,
        example=anomaly.example,
        forecast=anomaly.forecast,
        threshold=anomaly.threshold,
    )


def merged(signal: Signal, anomaly: Anomaly) -> Signal:
    """The signal after a further anomaly: the longer time, and the worst window's numbers.

    Of a forecast it is the latest that counts.
    """
    newer = anomaly.score > signal.score or anomaly.kind == "forecast"
    worst = signal_of(anomaly) if newer else signal
    return msgspec.structs.replace(
        worst,
        first_ms=min(signal.first_ms, began(anomaly)),
        last_ms=max(signal.last_ms, anomaly.window_end_ms),
        example=worst.example or signal.example,
    )


def plain_first(signals: Sequence[Signal]) -> Sequence[Signal]:
    """The signals that say what is wrong; all of them if none does."""
    return [s for s in signals if s.kind not in VAGUE] or signals


def ordered(signals: Iterable[Signal]) -> tuple[Signal, ...]:
    """Signals by when they began, worst first among equals."""
    return tuple(sorted(signals, key=lambda s: (s.first_ms, -s.score, s.series, s.kind)))
