"""What people may ask of an incident, and what obeying changes."""

from typing import Literal, NamedTuple

from schemas.incidents import Command, EventType
from schemas.outlook import CATEGORIES
from schemas.times import stamp
from streams.dossier import Dossier
from streams.lifecycle import Rules, phase_after
from streams.playbooks import conclude, why_no_result
from streams.review import (
    approve,
    must_be_reviewed,
    propose,
    retract,
    show,
    why_not_approved,
)

NEEDS_TEXT = frozenset(("note", "public_message", "workaround", "conclude"))


class Refusal(NamedTuple):
    """Why a command was not obeyed: a word to count by, and a sentence for the one who gave it."""

    reason: Literal[
        "unknown_incident",
        "no_actor",
        "no_text",
        "no_severity",
        "no_category",
        "no_time",
        "already_resolved",
        "no_effect",
    ]
    text: str


def why_refused(command: Command, dossier: Dossier | None) -> Refusal | None:
    """Why a command cannot be obeyed; None if it can."""
    if dossier is None:
        text = f"no incident {command.incident_id} is open or was resolved lately"
        return Refusal("unknown_incident", text)
    if not command.actor.strip():
        return Refusal("no_actor", "nobody gave it: `actor` is empty")
    if command.type in ("acknowledge", "resolve", "expect", "no_change") and dossier.is_over:
        return Refusal("already_resolved", f"{dossier.id} is {dossier.state} already")
    if (why := _why_no_effect(command, dossier)) is not None:
        return Refusal("no_effect", why)
    return _what_is_missing(command)


def _why_no_effect(command: Command, dossier: Dossier) -> str | None:
    match command.type:
        case "approve" | "retract":
            return why_not_approved(command, dossier)
        case "playbook_result":
            return why_no_result(command, dossier)
        case "unacknowledge" if dossier.acknowledged_by is None:
            return "nobody has acknowledged it"
        case "not_an_incident" if dossier.false_alarm_by is not None:
            return f"{dossier.false_alarm_by} has said so already"
    return None


def _what_is_missing(command: Command) -> Refusal | None:
    if command.type in NEEDS_TEXT and not command.text.strip():
        return Refusal("no_text", f"{command.type} needs a `text`")
    if command.type == "set_severity" and command.severity is None:
        return Refusal("no_severity", "set_severity needs a `severity`: P1, P2, P3 or P4")
    if command.type == "set_category" and command.category is None:
        return Refusal("no_category", f"set_category needs a `category`: {', '.join(CATEGORIES)}")
    if command.type == "expect" and command.expected_ms is None:
        return Refusal("no_time", "expect needs `expected_ms`, when it will be over")
    return None


def obey(command: Command, dossier: Dossier, end_ms: int, rules: Rules) -> tuple[EventType, str]:
    """Does what a valid command says; returns the type and text of its entry in the log."""
    time_ms = end_ms + rules.lateness_ms
    match command.type:
        case "acknowledge" | "unacknowledge":
            return _take(command, dossier, time_ms)
        case "note":
            return "noted", command.text
        case "resolve":
            dossier.state, dossier.resolved_by = "resolved", command.actor
            dossier.resolved_end_ms, dossier.resolved_ms = end_ms, time_ms
            dossier.public_phase = phase_after(dossier.public_phase, "resolved")
            return "resolved", command.text or f"Resolved by {command.actor}."
        case "set_severity" | "set_category":
            return _classify(command, dossier, rules)
        case "playbook_result":
            return conclude(command, dossier, end_ms)
        case _:
            return _publish(command, dossier, rules)


def _classify(command: Command, dossier: Dossier, rules: Rules) -> tuple[EventType, str]:
    """Somebody knows better how bad it is, or what kind of trouble."""
    if command.type == "set_severity":
        dossier.override, dossier.override_by = command.severity, command.actor
        dossier.touched = True
        show(dossier, rules)
        said = f"{command.actor} set the severity to {command.severity}."
        return "severity_changed", command.text or said
    dossier.category_set, dossier.category_by = command.category, command.actor
    return "updated", command.text or f"{command.actor} set the category to {command.category}."


def call_off(
    command: Command, dossier: Dossier, end_ms: int, rules: Rules
) -> tuple[EventType, str]:
    """Somebody says that it was no incident: then it is over, if it is not yet."""
    dossier.false_alarm_by = command.actor
    said = command.text or f"{command.actor} says that this was no incident."
    if dossier.is_over:
        return "noted", said
    dossier.state, dossier.resolved_by = "resolved", command.actor
    dossier.resolved_end_ms, dossier.resolved_ms = end_ms, end_ms + rules.lateness_ms
    dossier.public_phase = phase_after(dossier.public_phase, "resolved")
    return "resolved", said


def _take(command: Command, dossier: Dossier, time_ms: int) -> tuple[EventType, str]:
    """Somebody takes the incident, or gives it back."""
    if command.type == "unacknowledge":
        had, dossier.acknowledged_ms, dossier.acknowledged_by = dossier.acknowledged_by, None, None
        return "unacknowledged", command.text or f"{had} has it no more; nobody does."
    told = f"{command.actor} is on it."
    if dossier.acknowledged_ms is None:
        dossier.acknowledged_ms, dossier.acknowledged_by = time_ms, command.actor
    elif dossier.acknowledged_by != command.actor:
        told = f"{command.actor} is on it too; {dossier.acknowledged_by} has it already."
    return "acknowledged", command.text or told


def _publish(command: Command, dossier: Dossier, rules: Rules) -> tuple[EventType, str]:
    """What the public is told, or what waits until it may be."""
    if command.type == "approve":
        return approve(command, dossier, _tell)
    if command.type == "retract":
        return retract(command, dossier)
    if must_be_reviewed(command, dossier, rules):
        return propose(command, dossier)
    return _tell(command, dossier)


def _tell(command: Command, dossier: Dossier) -> tuple[EventType, str]:
    """What people say for customers."""
    match command.type:
        case "workaround":
            dossier.workaround = command.text
            return "workaround", command.text
        case "expect":
            dossier.expected_resolution_ms = command.expected_ms
            expected = stamp(command.expected_ms or 0)
            return "updated", command.text or f"Expected to be over by {expected} UTC."
        case "no_change":
            return "no_change", command.text or "Nothing has changed."
        case "conclude":
            dossier.reason, dossier.solution = command.text, command.solution or None
            return "follow_up", command.text
        case _:
            dossier.public_message, dossier.visibility = command.text, "public"
            return "public_message", command.text
