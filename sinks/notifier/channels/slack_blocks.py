"""A message in Slack's blocks, within Slack's limits."""

from typing import Any

import msgspec
from slack_sdk.models.blocks import HeaderBlock

from schemas.incidents import Incident
from sinks.notifier.channels.channel import Line, Message, paragraphs
from sinks.notifier.clean import clean
from sinks.notifier.language import language

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_BLOCK_TEXT = 3000
MAX_FALLBACK = 4000
MAX_TOPIC = 250
ACKNOWLEDGE = "tocsin_acknowledge"
RESOLVE = "tocsin_resolve"

_ENDS = frozenset(("resolved", "follow_up", "final"))


def fallback(message: Message) -> str:
    """What notifications show; here `&`, `<` and `>` are markup and are escaped."""
    text = message.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text[:MAX_FALLBACK]


def blocks(message: Message, *, buttons: bool = False) -> list[dict[str, Any]]:
    """The message as a header, rich text, links and buttons, within Slack's limits."""
    return _laid_out(message, message.text, buttons=buttons)


def card(message: Message, *, buttons: bool = False) -> list[dict[str, Any]]:
    """How the incident stands now, for the first message of the thread."""
    return _laid_out(message, standing(message) or message.text, buttons=buttons)


def standing(message: Message) -> str:
    """The incident in a few facts; empty where the reader may not have them."""
    try:
        incident = msgspec.json.decode(message.details, type=Incident)
    except msgspec.MsgspecError:
        return ""
    said = language(message.language, "UTC")
    phrase = said.phrase
    state = phrase("change_words", incident.state)
    facts = {
        "where": said.words(list(incident.services)),
        "how_bad": f"{incident.severity}, {phrase('severity', incident.severity)}; {state}",
        "cause": incident.suspected_causes[0] if incident.suspected_causes else "",
        "since": said.moment(incident.first_anomaly_ms),
        "who": incident.acknowledged_by or "",
        "expected": said.moment(incident.expected_resolution_ms)
        if incident.expected_resolution_ms
        else "",
    }
    lines = [f"{phrase('labels', name)}: {clean(text)}" for name, text in facts.items() if text]
    return "\n".join(lines)


def topic(message: Message) -> str:
    """The channel's topic: how it stands in one line."""
    return _cut(message.subject, MAX_TOPIC)


def _laid_out(message: Message, text: str, *, buttons: bool) -> list[dict[str, Any]]:
    header = HeaderBlock(text=_cut(message.subject, MAX_HEADER)).to_dict()
    body = [_rich_text(_section(lines)) for lines in paragraphs(text)]
    links = [
        {"type": "link", "url": link.url, "text": link.label, "style": {"bold": True}}
        for link in message.links
    ]
    parted: list[dict[str, Any]] = []
    for link in links:
        parted += [{"type": "text", "text": "   "}, link] if parted else [link]
    tail = [_rich_text(parted)] if parted else []
    if buttons and message.audience == "engineer" and message.stage not in _ENDS:
        tail.append(_buttons(message))
    return [header, *body[: MAX_BLOCKS - 3], *tail]


def _buttons(message: Message) -> dict[str, Any]:
    phrase = language(message.language, "UTC").phrase
    elements = [
        {
            "type": "button",
            "action_id": action,
            "value": message.incident_id,
            "text": {"type": "plain_text", "text": phrase("buttons", name)},
            **({"style": "primary"} if action == ACKNOWLEDGE else {}),
        }
        for action, name in ((ACKNOWLEDGE, "acknowledge"), (RESOLVE, "resolve"))
    ]
    return {"type": "actions", "elements": elements}


def _rich_text(elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": elements}],
    }


def _section(lines: list[Line]) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = []
    room = MAX_BLOCK_TEXT
    for number, line in enumerate(lines):
        label = f"{line.label}: " if line.label else "• " if line.item else ""
        text = _cut(line.text + ("\n" if number < len(lines) - 1 else ""), room - len(label))
        if not text:
            break
        if label:
            elements.append({"type": "text", "text": label, "style": {"bold": True}})
        elements.append({"type": "text", "text": text})
        room -= len(label) + len(text)
    return elements


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…" if limit > 0 else ""
