"""The default sentences, in the customer's terms. Pure.

They are made of component names, the kind of trouble and times only; what a signal says of
itself (its series, reason, example) has no way in.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.incidents import IncidentEvent, PublicPhase, Signal
from schemas.times import DAY_MS, utc
from sinks.status_page.components import Status
from sinks.words import clock, hurts, joined

Symptom = Literal["unavailable", "errors", "slow"]

MINUTE_MS = 60_000
A_SYSTEM = "one of our systems"
"""What a system is called that has no public name."""

_SYMPTOM_OF_KIND: dict[str, Symptom] = {
    "silence": "unavailable",
    "error_ratio": "errors",
    "new_error_template": "errors",
    "error_log_rate": "errors",
    "code_path": "errors",
    "report": "errors",
    "latency": "slow",
    "network": "slow",
    "saturation": "slow",
    "traffic": "unavailable",
}
"""What a kind of signal means to customers; an unusual metric (`level`) means nothing yet."""

_WHO: dict[Status, str] = {
    "major_outage": "customers",
    "partial_outage": "some customers",
    "degraded_performance": "a small number of customers",
    "operational": "some customers",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a sentence is made of. `ended_ms` is None while the incident is open, `next_ms` where
    no further update is promised."""

    phase: PublicPhase
    components: tuple[str, ...]
    status: Status
    symptoms: tuple[Symptom, ...]
    started_ms: int
    ended_ms: int | None
    time_ms: int
    next_ms: int | None
    again: bool = False


def symptoms_of(signals: Sequence[Signal]) -> tuple[Symptom, ...]:
    """What customers notice, worst first, from the signals that say so.

    Fast answers and many requests are no trouble that customers could name.
    """
    return ordered({_SYMPTOM_OF_KIND.get(signal.kind) for signal in signals if hurts(signal)})


def ordered(found: Collection[Symptom | None]) -> tuple[Symptom, ...]:
    """The symptoms, worst first."""
    order: tuple[Symptom, ...] = ("unavailable", "errors", "slow")
    return tuple(symptom for symptom in order if symptom in found)


def title(components: Sequence[str], symptoms: Sequence[Symptom], status: Status) -> str:
    """The incident's name: what customers notice, and where."""
    where = shortened(components)
    if "unavailable" in symptoms and status == "major_outage":
        return f"{where} unavailable"
    if "unavailable" in symptoms:
        return f"{where} intermittently unavailable"
    if "errors" in symptoms and "slow" in symptoms:
        return f"Errors and slow responses on {where}"
    if "errors" in symptoms:
        return f"Errors on {where}"
    if "slow" in symptoms:
        return f"Slow responses on {where}"
    return f"Problems with {where}"


def said(event: IncidentEvent) -> str | None:
    """What the event has a person say to customers beside public messages; None if nothing."""
    incident = event.incident
    if event.type == "workaround" and incident.workaround:
        return f"What you can do in the meantime: {incident.workaround}"
    if event.type == "follow_up" and incident.reason:
        done = f"\nWhat we did about it: {incident.solution}" if incident.solution else ""
        return f"What happened: {incident.reason}{done}"
    if "expected to be over" in event.changes and incident.expected_resolution_ms is not None:
        by = _clock(incident.expected_resolution_ms, event.time_ms)
        return f"We expect the problem to be over by {by}."
    return None


def body(facts: Facts) -> str:
    """One update: what customers notice, since when, what is being done, when we speak next."""
    names = joined(facts.components)
    if facts.phase == "resolved":
        return _resolved(facts, names)
    said = _how_it_stands(facts, names)
    if facts.next_ms is None:
        return said
    return f"{said} Next update by {_clock(facts.next_ms, facts.time_ms)}."


def _how_it_stands(facts: Facts, names: str) -> str:
    if facts.phase == "monitoring":
        return (
            f"{names} {_verb(facts.components)} recovering. We are watching closely to be sure "
            "that the problem is over."
        )
    since = _since(facts, names)
    if facts.phase == "identified":
        return f"We know what is causing the problem and are working on it. {since}"
    opening = "The problem has returned. " if facts.again else ""
    return f"{opening}{since} We are looking for the cause."


def _since(facts: Facts, names: str) -> str:
    start = _clock(facts.started_ms, facts.time_ms)
    return f"Since {start}, {_WHO[facts.status]} {_have_been(facts, names)}."


def _have_been(facts: Facts, names: str) -> str:
    may = "may have been" if facts.status == "degraded_performance" else "have been"
    if "unavailable" in facts.symptoms:
        return f"{may} unable to reach {names}"
    if "errors" in facts.symptoms and "slow" in facts.symptoms:
        return f"{may} seeing errors and slow responses when using {names}"
    if "errors" in facts.symptoms:
        return f"{may} seeing errors when using {names}"
    if "slow" in facts.symptoms:
        return f"{may} seeing slow responses when using {names}"
    return f"{may} having trouble with {names}"


def _resolved(facts: Facts, names: str) -> str:
    end_ms = facts.time_ms if facts.ended_ms is None else facts.ended_ms
    start = _clock(facts.started_ms, end_ms).replace(" UTC", "", 1)
    if "unavailable" in facts.symptoms:
        what = f"unable to reach {names}"
    elif facts.symptoms:
        seen = {"errors": "errors", "slow": "slow responses", "unavailable": ""}
        troubles = " and ".join(seen[symptom] for symptom in facts.symptoms)
        what = f"seeing {troubles} when using {names}"
    else:
        what = f"having trouble with {names}"
    were = "may have been" if facts.status == "degraded_performance" else "were"
    return (
        f"The problem is over. From {start} to {_clock(end_ms, end_ms)} "
        f"({duration(end_ms - facts.started_ms)}), {_WHO[facts.status]} {were} {what}. "
        "We are sorry for the disruption."
    )


def withdrawn(time_ms: int) -> str:
    """What stands in the place of words that were taken back."""
    return f"This update was withdrawn at {clock(time_ms)}, since it was not right."


def shortened(names: Sequence[str]) -> str:
    """The same for a title: at most two names, then how many more."""
    if len(names) <= 2:
        return joined(names)
    return f"{names[0]} and {len(names) - 1} other components"


def duration(milliseconds: int) -> str:
    """`less than a minute`, `42 minutes`, `2 hours 5 minutes`, `3 days 4 hours`."""
    minutes = round(milliseconds / MINUTE_MS)
    if minutes < 1:
        return "less than a minute"
    days, rest = divmod(minutes, 1440)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "day"), (hours, "hour"), (0 if days else minutes, "minute")]
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts if count)


def _verb(components: Sequence[str]) -> str:
    return "is" if len(components) == 1 else "are"


def _clock(time_ms: int, beside_ms: int) -> str:
    """`13:05 UTC`, with the date if it is another day than the time it is said at."""
    if time_ms // DAY_MS == beside_ms // DAY_MS:
        return clock(time_ms)
    at = utc(time_ms)
    return f"{clock(time_ms)} on {at.day} {at:%B}"
