"""What people and other systems report: trouble as customers see it, and changes made. Pure.

A report becomes an anomaly of the kind `report`, so that it joins the incident of its service or
opens one, as any other evidence does.
"""

import math
from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from schemas.anomalies import Anomaly
from schemas.configuration import Service
from schemas.incidents import Cause, Command
from schemas.naming import service_for
from schemas.times import clock, duration

SCORE = 9.0
"""A report counts as much as one false alarm in a billion windows would: people do not write
without a reason, but one may be wrong."""

LONGEST_TEXT = 500
MOST_CHANGES = 1_000
BEFORE_MS = 3_600_000
"""A change explains trouble that begins within an hour after it."""
AFTER_MS = 60_000
"""Clocks differ: what is said to have changed up to a minute after it may still be the cause."""
WORTH = 2.0
"""What a change just before counts: the odds of its service being the cause, times this. Most
outages follow a change (Beyer et al., Site Reliability Engineering 2016, chapter 1: about 70 %)."""


class Change(msgspec.Struct, frozen=True):
    """A deploy or a change of configuration, flags or infrastructure; `time_ms` is event time."""

    id: str
    time_ms: int
    services: tuple[str, ...]
    text: str
    actor: str


def service_of(
    command: Command, catalogue: Mapping[str, Service], heard_of: Container[str] = ()
) -> str:
    """The service that a report is about: the one it names, or one whose name is in its text.

    It is of the catalogue, or one that telemetry has named (`heard_of`). Raises `ValueError` if it
    is about none.
    """
    if command.service is not None and command.service in heard_of:
        return command.service
    return service_for(command.service, command.text, catalogue.values())


def anomaly_of(command: Command, service: str, end_ms: int, window_ms: int) -> Anomaly:
    """The report as an anomaly of the window ending at `end_ms`."""
    said = _one_line(command.text)
    return Anomaly(
        series=f'reports{{service="{service}"}}',
        service=service,
        kind="report",
        window_start_ms=end_ms - window_ms,
        window_end_ms=end_ms,
        since_ms=end_ms - window_ms,
        score=SCORE,
        value=1.0,
        expected=0.0,
        lower=0.0,
        upper=0.0,
        reason=f"{_one_line(command.actor)} reports: {said}",
        example=said,
        opens=True,
    )


def change_of(command: Command, time_ms: int) -> Change:
    """The change that a command tells of; made at `from_ms`, or now."""
    named = command.services or ((command.service,) if command.service else ())
    at_ms = command.from_ms if command.from_ms is not None else time_ms
    return Change(command.id, at_ms, tuple(named), command.text, command.actor)


def recent(changes: Iterable[Change], time_ms: int) -> list[Change]:
    """The changes that trouble beginning from now on could still come from, by time."""
    kept = [change for change in changes if change.time_ms >= time_ms - BEFORE_MS]
    return sorted(kept, key=lambda change: (change.time_ms, change.id))[-MOST_CHANGES:]


def weigh(causes: Sequence[Cause], changes: Sequence[Change], since_ms: int) -> tuple[Cause, ...]:
    """The causes, likelier where something was changed shortly before `since_ms`, sorted again.

    The evidence names the last change of each.
    """
    near = {
        name: change
        for change in changes
        if since_ms - BEFORE_MS <= change.time_ms <= since_ms + AFTER_MS
        for name in change.services
    }
    if not near.keys() & {cause.service for cause in causes}:
        return tuple(causes)
    worth = [(cause.weight * (WORTH if cause.service in near else 1.0), cause) for cause in causes]
    total = sum(weight for weight, _ in worth)
    ordered = sorted(worth, key=lambda pair: -pair[0])
    weights = [math.floor(weight / total * 10_000) / 10_000 for weight, _ in ordered]
    weights[0] = round(weights[0] + 1 - sum(weights), 4)
    return tuple(
        Cause(cause.service, weight, cause.evidence + _evidence(near.get(cause.service), since_ms))
        for weight, (_, cause) in zip(weights, ordered, strict=True)
    )


def _evidence(change: Change | None, since_ms: int) -> tuple[str, ...]:
    return () if change is None else (_said(change, since_ms),)


def _said(change: Change, since_ms: int) -> str:
    apart_ms = since_ms - change.time_ms
    when = f"{duration(apart_ms)} before" if apart_ms > 0 else "at the same time"
    what = _one_line(change.text) or "a change"
    return f"{_one_line(change.actor)} changed it at {clock(change.time_ms)}, {when}: {what}"


def _one_line(text: str) -> str:
    """What a person wrote, so that it begins no line of its own where it is printed."""
    return " ".join(text.split())[:LONGEST_TEXT]
