"""On-call schedules, escalation policies and what protects people: the notifier's configuration.

Local times keep their wall clock and zone, so that a hand-over at 09:00 is at 09:00 also after the
clocks have changed.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.section import LocalTime, Positive, Section, SeverityName, Weekday

LocalMoment = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}([T ]([01]\d|2[0-3]):[0-5]\d)?$")]
"""A moment on the wall clock of a zone: `2026-11-24T18:00`, or a day for its first minute."""
EVERY_DAY: tuple[Weekday, ...] = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)


class Hours(Section, frozen=True, kw_only=True):
    """Hours of some days. With `until` at or before `start` they end on the next day."""

    start: LocalTime = "09:00"
    until: LocalTime = "17:00"
    days: tuple[Weekday, ...] = EVERY_DAY


class Layer(Section, frozen=True, kw_only=True):
    """People who take turns. `people` are names of recipients, the first begins on `start`.

    A shift lasts `every` days or weeks and ends at `hand_over`, local time; weekly ones on the
    weekday of `start`. With `hours` the layer is on only then. A later layer covers earlier ones.
    """

    people: Annotated[tuple[str, ...], Meta(min_length=1)]
    start: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    rotation: Literal["daily", "weekly"] = "weekly"
    every: Annotated[int, Meta(ge=1, le=52)] = 1
    hand_over: LocalTime = "09:00"
    hours: tuple[Hours, ...] = ()


class Override(Section, frozen=True, kw_only=True):
    """Somebody takes over from `start` until `until`, local time, whoever would be on."""

    person: str
    start: LocalMoment
    until: LocalMoment


class Swap(Section, frozen=True, kw_only=True):
    """Two people take each other's turns from `start` until `until`, local time."""

    people: Annotated[tuple[str, ...], Meta(min_length=2, max_length=2)]
    start: LocalMoment
    until: LocalMoment


class Schedule(Section, frozen=True, kw_only=True):
    """Who is on call when; routes and escalation steps name it where they could name a recipient.

    `calendars` are iCalendar files (RFC 5545): who is on call during an event is its ATTENDEE, or
    its SUMMARY if that is a recipient's name or address. They cover the layers.
    """

    name: str
    time_zone: str = "UTC"
    """Of the IANA list, such as Europe/Berlin."""
    layers: tuple[Layer, ...] = ()
    calendars: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()
    swaps: tuple[Swap, ...] = ()
    hand_over_notice: bool = True
    """Tells who comes on and who goes off call, as the shift changes."""


class Step(Section, frozen=True, kw_only=True):
    """A step of an escalation: who is paged, so long after the step before it.

    Without `after_minutes` the first step is at once, and each other one after 5 minutes. `notify`
    names recipients and schedules. With `round_robin` one of them is paged, the next one
    in the next incident or round.
    """

    notify: Annotated[tuple[str, ...], Meta(min_length=1)]
    after_minutes: Annotated[float, Meta(ge=0)] | None = None
    round_robin: bool = False


class Escalation(Section, frozen=True, kw_only=True):
    """Pages step by step until somebody acknowledges.

    After the last step it begins again, `repeats` times. Outside its `hours` it waits until they
    begin. While an incident is acknowledged and goes on, whoever has it is reminded every
    `remind_after_minutes`; after `unacknowledge_after_minutes` without a word from anybody the
    acknowledgement lapses and the pages begin again, once.
    """

    name: str
    steps: Annotated[tuple[Step, ...], Meta(min_length=1)]
    repeats: Annotated[int, Meta(ge=0, le=5)] = 1
    severities: tuple[SeverityName, ...] = ("P1", "P2")
    hours: tuple[Hours, ...] = ()
    time_zone: str = "UTC"
    remind_after_minutes: Positive | None = None
    unacknowledge_after_minutes: Positive | None = None


class MessageLimit(Section, frozen=True, kw_only=True):
    """At most so many messages to one recipient in any span of `per_seconds`; 0 for no limit.

    The last one of them is kept for the digest of what was held back; P3 and P4 together take at
    most half of them and P2 three quarters, so that there is room for what is more severe.
    """

    messages: Annotated[int, Meta(ge=0)] = 20
    per_seconds: Positive = 300


class QuietHours(Section, frozen=True, kw_only=True):
    """When a recipient is told only of `severities`; of the rest by a digest as the hours end."""

    hours: Annotated[tuple[Hours, ...], Meta(min_length=1)]
    severities: tuple[SeverityName, ...] = ("P1",)


class Way(Section, frozen=True, kw_only=True):
    """A channel with the address that it needs."""

    channel: str
    address: str = ""


class Subscription(Section, frozen=True, kw_only=True):
    """What somebody wants to hear of. Empty regions and segments mean any."""

    services: tuple[str, ...] = ("*",)
    severities: tuple[SeverityName, ...] = ("P1", "P2", "P3", "P4")
    segments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


class Inhibition(Section, frozen=True, kw_only=True):
    """While an incident of `source` services is open, nobody is told of one of `target` services
    that is not more severe."""

    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]


class Cadence(Section, frozen=True, kw_only=True):
    """When customers and support hear the next time.

    The span is `minutes` of the severity, doubled once the incident is older than
    `slow_after_hours`, halved while facts change fast (`fast_changes` changes within the span).
    Before it is over whoever has the incident is reminded. If nobody says anything, tocsin says
    itself that nothing has changed, `no_change_limit` times in a row; then it escalates.
    """

    minutes: dict[SeverityName, Annotated[float, Meta(ge=1)]] = msgspec.field(
        default_factory=lambda: {"P1": 30, "P2": 60, "P3": 120, "P4": 240}
    )
    """A severity that is left out makes no promise."""
    slow_after_hours: Positive = 4
    fast_changes: Annotated[int, Meta(ge=1)] = 3
    remind_minutes_before: Annotated[float, Meta(ge=0)] = 5
    no_change_limit: Annotated[int, Meta(ge=0)] = 2
    escalate_to: tuple[str, ...] = ()
    """Recipients and schedules who hear of a promise that was not kept."""
