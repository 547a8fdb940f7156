"""What cards in chat have in common: how the incident stands, and who may press which button."""

from typing import Literal

import msgspec

from schemas.incidents import Incident
from sinks.notifier.channels.channel import Message
from sinks.notifier.clean import clean
from sinks.notifier.language import language

ACKNOWLEDGE = "tocsin_acknowledge"
RESOLVE = "tocsin_resolve"
BUTTONS: dict[str, Literal["acknowledge", "resolve"]] = {
    ACKNOWLEDGE: "acknowledge",
    RESOLVE: "resolve",
}
"""The command that each button gives."""

_ENDS = frozenset(("resolved", "follow_up", "final"))


def standing(message: Message) -> str:
    """The incident in a few facts; empty where the reader may not have them."""
    incident = incident_of(message)
    if incident is None:
        return ""
    said = language(message.language, "UTC")
    phrase = said.phrase
    state = phrase("change_words", incident.state)
    facts = {
        "where": said.words(list(incident.services)),
        "severity": f"{incident.severity}, {phrase('severity', incident.severity)}; {state}",
        "cause": incident.suspected_causes[0] if incident.suspected_causes else "",
        "since": said.moment(incident.first_anomaly_ms),
        "who": incident.acknowledged_by or "",
        "expected": said.moment(incident.expected_resolution_ms)
        if incident.expected_resolution_ms
        else "",
    }
    lines = [f"{phrase('labels', name)}: {clean(text)}" for name, text in facts.items() if text]
    return "\n".join(lines)


def incident_of(message: Message) -> Incident | None:
    """The incident that the message is about; None where the reader may not have it."""
    try:
        return msgspec.json.decode(message.details, type=Incident)
    except msgspec.MsgspecError:
        return None


def has_buttons(message: Message) -> bool:
    """Whether the reader may act on it: engineers, until it is over."""
    return message.audience == "engineer" and message.stage not in _ENDS


def button_words(message: Message) -> dict[str, str]:
    """What is written on each button, by its name."""
    phrase = language(message.language, "UTC").phrase
    return {name: phrase("buttons", command) for name, command in BUTTONS.items()}
