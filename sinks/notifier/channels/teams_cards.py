"""A message as one of Teams' Adaptive Cards, within its limit.

See https://adaptivecards.io/explorer/ (version 1.4) and, for buttons and mentions,
https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from schemas.incidents import Severity
from sinks.notifier.channels.channel import Line, Message, paragraphs
from sinks.notifier.channels.standing import button_words, has_buttons

MAX_BYTES = 28_000
"""What a post may have, with all that is around the card."""
MAX_ACTIONS = 5
MAX_MENTIONS = 20
MAX_HEAD = 500

_COLOURS: dict[Severity, str] = {
    "P1": "Attention",
    "P2": "Attention",
    "P3": "Warning",
    "P4": "Accent",
}


class Person(NamedTuple):
    """Somebody in the directory."""

    id: str
    name: str


def fitting(
    message: Message,
    text: str,
    around: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    buttons: bool = False,
    mentioned: Sequence[Person] = (),
) -> bytes:
    """The card in what is `around` it, as JSON within the limit: what is too much is left out
    from the end, and it says so."""

    def encoded(parts: list[dict[str, Any]]) -> bytes:
        card = _card(message, parts, buttons=buttons, mentioned=mentioned[:MAX_MENTIONS])
        return msgspec.json.encode(around(card))

    parts = [part for lines in paragraphs(text) for part in _paragraph(lines)]
    body = encoded(parts)
    while len(body) > MAX_BYTES and parts:
        parts = parts[: max(0, len(parts) * MAX_BYTES // len(body) - 1)]
        body = encoded([*parts, _text("…")])
    return body


def attachment(card: dict[str, Any]) -> dict[str, Any]:
    """The card as a message carries it."""
    return {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }


def _card(
    message: Message,
    parts: list[dict[str, Any]],
    *,
    buttons: bool,
    mentioned: Sequence[Person],
) -> dict[str, Any]:
    colour = "Good" if message.stage in ("resolved", "final") else _COLOURS[message.severity]
    head = _text(escaped(message.subject[:MAX_HEAD]), weight="Bolder", size="Medium", color=colour)
    tail = [_text(" ".join(map(_at, mentioned)))] if mentioned else []
    pressed = _buttons(message) if buttons and has_buttons(message) else []
    links = [
        {"type": "Action.OpenUrl", "title": link.label, "url": link.url} for link in message.links
    ]
    entities = [
        {"type": "mention", "text": _at(person), "mentioned": person._asdict()}
        for person in mentioned
    ]
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "lang": message.language,
        "msteams": {"width": "Full"} | ({"entities": entities} if entities else {}),
        "body": [head, *parts, *tail],
        "actions": [*pressed, *links][:MAX_ACTIONS],
    }


def _buttons(message: Message) -> list[dict[str, Any]]:
    return [
        {
            "type": "Action.Execute",
            "title": words,
            "verb": verb,
            "data": {"incident": message.incident_id},
        }
        for verb, words in button_words(message).items()
    ]


def _at(person: Person) -> str:
    """How somebody is mentioned; the same text in the card and beside it."""
    return f"<at>{person.name.replace('<', '').replace('>', '')}</at>"


def _paragraph(lines: list[Line]) -> list[dict[str, Any]]:
    """Facts as a fact set, the rest as text; each list item on a line of its own."""
    facts = [line for line in lines if line.label]
    plain = [f"- {line.text}" if line.item else line.text for line in lines if not line.label]
    made: list[dict[str, Any]] = []
    if plain:
        made.append(_text("\n".join(map(escaped, plain))))
    if facts:
        found = [{"title": f"{f.label}:", "value": escaped(f.text)} for f in facts]
        made.append({"type": "FactSet", "facts": found})
    return made


def _text(text: str, **more: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True, **more}


def escaped(text: str) -> str:
    """Text in which nothing is Markdown: what telemetry holds can neither link nor shout."""
    item = text.startswith("- ")
    rest = text[2:] if item else text
    for char in "\\`*_[]()#~|<>":
        rest = rest.replace(char, f"\\{char}")
    return f"- {rest}" if item else rest
