"""Incidents, their append-only log, the commands that people give and the deliveries made."""

from typing import Literal

import msgspec

from schemas.anomalies import AnomalyKind, Forecast
from schemas.classification import Classification, GradingStep
from schemas.outlook import Category, Outlook

Severity = Literal["P1", "P2", "P3", "P4"]
State = Literal["investigating", "identified", "monitoring", "resolved", "closed"]
PublicPhase = Literal["investigating", "identified", "monitoring", "resolved"]
Visibility = Literal["internal", "public"]
EventType = Literal[
    "opened",
    "updated",  # signals, services or causes changed
    "severity_changed",
    "acknowledged",
    "noted",
    "public_message",
    "resolved",
    "reopened",
    "closed",
    "workaround",  # a way round was told to customers
    "follow_up",  # the reason and the solution were told
    "unacknowledged",  # nobody has it any more
    "proposed",  # words for the public wait for approval
    "approved",  # the incident may be told in public
    "retracted",  # the public message was taken back
    "no_change",  # those outside were told that nothing has changed
    "silenced",  # it goes on, and wakes nobody
    "unsilenced",  # its silence has ended, and it still goes on
]
CommandType = Literal[
    "acknowledge",
    "note",
    "resolve",
    "set_severity",
    "public_message",
    "workaround",  # `text`: what customers can do meanwhile
    "expect",  # `expected_ms`: when it will be over
    "conclude",  # `text`: the reason; `solution`
    "not_an_incident",  # it was a false alarm
    "missed",  # there was trouble, and no incident
    "set_category",  # `category`: what kind of trouble it is
    "merge",  # it is the same as the incident `into`
    "split",  # its `services` are an incident of their own
    "silence",  # what matches all `matchers`, or the incident, from `from_ms` to `to_ms`
    "report",  # trouble that somebody sees, in `text`, of a `service` if it is known
    "playbook_result",  # `solution` is worked or failed; `text` what came of it
    "change",  # `text` says what was changed, of `services`, at `from_ms`
    "unsilence",  # `into` is the id of the silence that ends
    "unacknowledge",
    "approve",
    "no_change",  # `text`: what those outside are told, if anything
    "retract",
    "drill",  # a marked incident of `service` that is none, with `severity`
]


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One series' part in an incident: when it was out, and how far at its worst.

    `value`, `expected`, `lower`, `upper` and `reason` are those of the worst window.
    """

    service: str
    series: str
    kind: AnomalyKind
    first_ms: int
    last_ms: int
    score: float
    value: float = 0.0
    expected: float = 0.0
    lower: float = 0.0
    upper: float = 0.0
    reason: str = ""
    instance: str | None = None
    operation: str | None = None
    caller: str | None = None
    example: str | None = None
    forecast: Forecast | None = None
    threshold: float = 0.0
    """The score from which on the worst window would open an incident, if it is confirmed."""


class Cause(msgspec.Struct, frozen=True):
    """A service suspected of the incident, with its weight (sum 1 over all) and the evidence."""

    service: str
    weight: float
    evidence: tuple[str, ...]


class Grading(msgspec.Struct, frozen=True):
    """Severity as impact × urgency, each 1 (worst) to 3, with every step kept."""

    severity: Severity
    impact: int
    urgency: int
    steps: tuple[GradingStep, ...]


class Impact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the incident has touched so far, from the counts that raised it and the catalogue.

    `revenue_per_hour` is at risk, in `currency`; 0 and empty if the catalogue says nothing of it.
    """

    requests: int = 0
    errors: int = 0
    error_ratio: float = 0.0
    customers: int = 0
    segments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    revenue_per_hour: float = 0.0
    currency: str = ""


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the forecast that an incident began with; times in Unix ms, event time.

    `standing` while nobody is out yet; `came_true` at `decided_ms`, when the limit was reached;
    `withdrawn` then, for the `reason`. `forecast` is as told last. Of the forecasts that were
    decided before this one was opened, `came_true_before` came true and `withdrawn_before` did not.
    `out` says that something is out of order already, the limit itself or anything else.
    """

    status: Literal["standing", "came_true", "withdrawn"]
    service: str
    series: str
    forecast: Forecast
    decided_ms: int | None = None
    reason: str = ""
    came_true_before: int = 0
    withdrawn_before: int = 0
    out: bool = False


class Bar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How people's feedback moves the threshold of one pattern: raised by `shift`, or lowered.

    A pattern is a service, a kind of signal and a measure (or the template of an error). The shift
    is as of `as_of_ms` and halves with every half-life; `trusted` says that evidence of the
    pattern need not be confirmed any more. `reason` names who said what.
    """

    service: str
    kind: str
    measure: str
    shift: float
    as_of_ms: int
    reason: str
    trusted: bool = False


ProposalKind = Literal["public_message", "workaround", "follow_up"]


class Proposal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Words for the public that wait until somebody other than `by` approves them."""

    kind: ProposalKind
    text: str
    by: str
    solution: str = ""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """The latest state of one incident; what the compacted incident topic holds by `id`.

    All times are event times. `opened_ms` is the watermark at which the pipeline could first have
    said it; `first_anomaly_ms` the start of its first anomalous window. State, public phase and
    visibility are three independent axes. `public_message`, `workaround`, `reason` and `solution`
    are people's words for customers; `expected_resolution_ms` is wall time, as a person said it.
    `category` is read off the signals unless `category_by` says who set it; `outlook` is what
    closed incidents teach of this one, as of when it was opened; `classification` is None only in
    incidents of older releases and drills. While `silenced_by` names a silence, a maintenance
    window, a playbook or an outage, nobody is to be woken; `suppressed_by` is the open incident
    that this one follows from, if it is such an outage.
    """

    id: str
    environment: str
    version: int
    title: str
    summary: str
    severity: Severity
    severity_override_by: str | None = None
    grading: Grading
    impact: Impact
    state: State
    public_phase: PublicPhase
    visibility: Visibility
    services: tuple[str, ...]
    suspected_causes: tuple[str, ...]
    causes: tuple[Cause, ...]
    signals: tuple[Signal, ...]
    opened_ms: int
    first_anomaly_ms: int
    last_anomaly_ms: int
    updated_ms: int
    resolved_ms: int | None = None
    closed_ms: int | None = None
    acknowledged_ms: int | None = None
    acknowledged_by: str | None = None
    public_message: str | None = None
    workaround: str | None = None
    expected_resolution_ms: int | None = None
    reason: str | None = None
    solution: str | None = None
    proposal: Proposal | None = None
    awaits_review: bool = False
    """It would be public by its severity, or has a proposal, and nobody has approved that yet."""
    approved_by: str | None = None
    reopened: int = 0
    flapping: bool = False
    stale: bool = False
    category: Category = "other"
    category_by: str | None = None
    outlook: Outlook | None = None
    merged_into: str | None = None
    split_from: str | None = None
    playbook: str | None = None
    playbook_result: Literal["running", "worked", "failed"] | None = None
    silenced_by: str | None = None
    silenced_until_ms: int | None = None
    silences: tuple[str, ...] = ()
    """By id, every silence and turn of a maintenance window that has held it back so far."""
    suppressed_by: str | None = None
    prediction: Prediction | None = None
    false_alarm_by: str | None = None
    feedback: tuple[Bar, ...] = ()
    classification: Classification | None = None
    drill: bool = False
    """It is none: somebody tries whether everybody would be told."""
    schema_version: int = 1


class IncidentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the append-only log: what happened, who did it, and the incident after it.

    `version` counts from 1 within an incident without gaps. `actor` is `tocsin` or a person.
    `changes` names what changed as readable `before → after` pairs, for the timeline.
    """

    incident_id: str
    version: int
    type: EventType
    time_ms: int
    actor: str
    text: str
    incident: Incident
    changes: dict[str, str] = {}
    command_id: str | None = None
    schema_version: int = 1

    @property
    def id(self) -> str:
        """Derived from what the event is about: the incident and its version."""
        return f"{self.incident_id}/{self.version}"


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person asks of an incident. `id` makes a repeat harmless; `issued_ms` is wall time.

    `severity` goes with `set_severity`, `expected_ms` with `expect` (wall time), `solution` with
    `conclude`; `text` with the others. A `silence` with `into` moves the end of that one to
    `to_ms`. `missed` is about a `service` from `from_ms` to `to_ms` (event time), not about an
    incident: `incident_id` is empty then.
    """

    id: str
    type: CommandType
    incident_id: str
    actor: str
    issued_ms: int
    text: str = ""
    severity: Severity | None = None
    category: Category | None = None
    expected_ms: int | None = None
    solution: str = ""
    into: str | None = None
    services: tuple[str, ...] = ()
    matchers: tuple[str, ...] = ()
    service: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    to_customers: bool = False
    """Of a drill: customers are told, too."""
    schema_version: int = 1


DeliveryStatus = Literal[
    "scheduled",  # will be asked for at `due_ms`, unless somebody acknowledges before
    "held",  # kept for a digest
    "asked",
    "sent",  # the receiver's server took it
    "accepted",  # and confirmed it, with an id of its own in `detail`
    "failed",
    "withheld",
    "acknowledged",
    "called_off",  # what was scheduled will not be, for the reason in `detail`
    "kept",  # a promise to those outside: there was an update in time
    "missed",  # there was none in time
]
FailureClass = Literal["auth", "rate_limited", "refused", "unreachable", "gave_up"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step in the life of one message to one recipient over one channel.

    `message_id` is derived from the incident event, the recipient and the channel; `rule` names
    the route that chose the recipient. `time_ms` is wall time. What is to come is `scheduled` for
    `due_ms`, and of no message yet: a step of an escalation (channel `escalation`), the next
    update of those outside (`cadence`), a digest, a change of shift (`schedule`). `incident_id` is
    empty for digests and changes of shift, which are about no single incident.
    """

    message_id: str
    event_id: str
    incident_id: str
    status: DeliveryStatus
    time_ms: int
    recipient: str
    audience: str
    channel: str
    rule: str
    subject: str = ""
    attempt: int = 0
    failure: FailureClass | None = None
    detail: str = ""
    seconds_to_communicate: float | None = None
    due_ms: int | None = None
    schema_version: int = 1

    @property
    def id(self) -> str:
        """Derived from the message, the step and the attempt."""
        return f"{self.message_id}/{self.status}/{self.attempt}"
