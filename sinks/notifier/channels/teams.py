"""Messages to Microsoft Teams: an Adaptive Card to the URL of a workflow.

A card that is posted cannot be changed and has no thread, so each message stands for itself. The
URL is a secret; the whole request may have 28 KB.

See https://learn.microsoft.com/power-automate/create-adaptive-cards and
https://adaptivecards.io/explorer/ (version 1.4).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from schemas.incidents import Severity
from sinks.notifier.channels.channel import Line, Message, Receipt, paragraphs
from sinks.notifier.channels.http import Http

MAX_BYTES = 28_000
MAX_ACTIONS = 5

_COLOURS: dict[Severity, str] = {
    "P1": "Attention",
    "P2": "Attention",
    "P3": "Warning",
    "P4": "Accent",
}


class Teams:
    """Posts cards to one workflow. Redirects are not followed."""

    messages = 4.0
    per_seconds = 1.0
    concurrency = 2

    def __init__(self, url: str, now_ms: Callable[[], int], timeout_seconds: float = 15) -> None:
        self._url = url
        self._http = Http("Teams", now_ms, timeout_seconds)

    async def send(self, message: Message) -> Receipt:
        """Posts the card. 2xx is taken, 401, 403, 408, 429 and 5xx may be later."""
        await self._http.post(self._url, request_of(message), {"Idempotency-Key": message.id})
        return Receipt()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


def request_of(message: Message) -> bytes:
    """The card within its limit: what is too much is left out from the end, and it says so."""
    parts = [part for lines in paragraphs(message.text) for part in _paragraph(lines)]
    body = _encode(message, parts)
    while len(body) > MAX_BYTES and parts:
        parts = parts[: max(0, len(parts) * MAX_BYTES // len(body) - 1)]
        body = _encode(message, [*parts, _text("…")])
    return body


def _encode(message: Message, parts: list[dict[str, Any]]) -> bytes:
    colour = "Good" if message.stage in ("resolved", "final") else _COLOURS[message.severity]
    head = _text(message.subject, weight="Bolder", size="Medium", color=colour)
    actions = [
        {"type": "Action.OpenUrl", "title": link.label, "url": link.url}
        for link in message.links[:MAX_ACTIONS]
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "lang": message.language,
        "msteams": {"width": "Full"},
        "body": [head, *parts],
        "actions": actions,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return msgspec.json.encode({"type": "message", "attachments": [attachment]})


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
