"""The default sentences, in the customer's terms and language. Pure.

They are made of component names, the kind of trouble and times only; what a signal says of
itself (its series, reason, example) has no way in.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from schemas.incidents import IncidentEvent, PublicPhase, Signal
from sinks.status_page.components import Status
from sinks.status_page.tongue import ENGLISH, Tongue
from sinks.words import hurts

Symptom = Literal["unavailable", "errors", "slow"]

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


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a sentence is made of; kept, so that it can be said in any language.

    `ended_ms` is None while the incident is open, `next_ms` where no further update is promised.
    """

    phase: PublicPhase
    components: tuple[str, ...]
    status: Status
    symptoms: tuple[Symptom, ...]
    started_ms: int
    ended_ms: int | None
    time_ms: int
    next_ms: int | None
    again: bool = False


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person has said beside public messages: a workaround, why it happened and what was
    done (`more`), or by when (`by_ms`) it is expected to be over."""

    kind: Literal["workaround", "follow_up", "expected"]
    text: str = ""
    more: str = ""
    by_ms: int = 0
    time_ms: int = 0


def symptoms_of(signals: Sequence[Signal]) -> tuple[Symptom, ...]:
    """What customers notice, worst first, from the signals that say so.

    Fast answers and many requests are no trouble that customers could name.
    """
    return ordered({_SYMPTOM_OF_KIND.get(signal.kind) for signal in signals if hurts(signal)})


def ordered(found: Collection[Symptom | None]) -> tuple[Symptom, ...]:
    """The symptoms, worst first."""
    order: tuple[Symptom, ...] = ("unavailable", "errors", "slow")
    return tuple(symptom for symptom in order if symptom in found)


def title(
    components: Sequence[str],
    symptoms: Sequence[Symptom],
    status: Status,
    tongue: Tongue = ENGLISH,
) -> str:
    """The incident's name: what customers notice, and where."""
    name: str = _trouble(symptoms)
    if name == "unavailable":
        name = "out" if status == "major_outage" else "out_at_times"
    return tongue("title", name, where=shortened(components, tongue))


def said(event: IncidentEvent) -> Said | None:
    """What the event has a person say to customers beside public messages; None if nothing."""
    incident = event.incident
    if event.type == "workaround" and incident.workaround:
        return Said("workaround", incident.workaround)
    if event.type == "follow_up" and incident.reason:
        return Said("follow_up", incident.reason, incident.solution or "")
    if "expected to be over" in event.changes and incident.expected_resolution_ms is not None:
        by_ms = incident.expected_resolution_ms
        return Said("expected", by_ms=by_ms, time_ms=event.time_ms)
    return None


def said_by_person(said: Said, tongue: Tongue = ENGLISH) -> str:
    """A person's words, with what they are."""
    if said.kind == "workaround":
        return tongue("body", "workaround", text=said.text)
    if said.kind == "expected":
        return tongue("body", "expected", time=tongue.clock(said.by_ms, said.time_ms))
    lines = [tongue("body", "reason", text=said.text)]
    if said.more:
        lines.append(tongue("body", "solution", text=said.more))
    return "\n".join(lines)


def body(facts: Facts, tongue: Tongue = ENGLISH) -> str:
    """One update: what customers notice, since when, what is being done, when we speak next."""
    if facts.phase == "resolved":
        return tongue("body", "resolved", was=_was(facts, tongue))
    said = _how_it_stands(facts, tongue)
    if facts.next_ms is None:
        return said
    return tongue("body", "next", said=said, time=tongue.clock(facts.next_ms, facts.time_ms))


def withdrawn(time_ms: int, tongue: Tongue = ENGLISH) -> str:
    """What stands in the place of words that were taken back."""
    return tongue("body", "withdrawn", time=tongue.clock(time_ms))


def shortened(names: Sequence[str], tongue: Tongue = ENGLISH) -> str:
    """Names for a title: at most two, then how many more."""
    if len(names) <= 2:
        return tongue.joined(names)
    return tongue("title", "shortened", first=names[0], count=len(names) - 1)


def _how_it_stands(facts: Facts, tongue: Tongue) -> str:
    if facts.phase == "monitoring":
        name = "monitoring" if len(facts.components) == 1 else "monitoring_all"
        return tongue("body", name, names=tongue.joined(facts.components))
    name = "again" if facts.again and facts.phase == "investigating" else facts.phase
    since = tongue(
        "since",
        _trouble(facts.symptoms),
        start=tongue.clock(facts.started_ms, facts.time_ms),
        who=tongue("who_since", facts.status),
        names=tongue.joined(facts.components),
    )
    return tongue("body", name, since=since)


def _was(facts: Facts, tongue: Tongue) -> str:
    end_ms = facts.time_ms if facts.ended_ms is None else facts.ended_ms
    return tongue(
        "was",
        _trouble(facts.symptoms),
        start=tongue.clock(facts.started_ms, end_ms).replace(" UTC", "", 1),
        end=tongue.clock(end_ms),
        duration=tongue.duration(end_ms - facts.started_ms),
        who=tongue("who_was", facts.status),
        names=tongue.joined(facts.components),
    )


def _trouble(symptoms: Sequence[Symptom]) -> str:
    """The phrase that tells the symptoms, the worst of them if there are many."""
    if "unavailable" in symptoms:
        return "unavailable"
    return "_".join(symptoms) or "other"
