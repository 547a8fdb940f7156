"""A message in Slack's blocks, within Slack's limits."""

from typing import Any

from slack_sdk.models.blocks import HeaderBlock

from sinks.notifier.channels.channel import Line, Message, paragraphs
from sinks.notifier.channels.standing import ACKNOWLEDGE, button_words, has_buttons, standing

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_BLOCK_TEXT = 3000
MAX_FALLBACK = 4000
MAX_TOPIC = 250


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
    if buttons and has_buttons(message):
        tail.append(_buttons(message))
    room = MAX_BLOCKS - 1 - len(tail)
    if len(body) > room:  # and it says so
        body = [*body[: room - 1], _rich_text([{"type": "text", "text": "…"}])]
    return [header, *body, *tail]


def _buttons(message: Message) -> dict[str, Any]:
    elements = [
        {
            "type": "button",
            "action_id": action,
            "value": message.incident_id,
            "text": {"type": "plain_text", "text": words},
            **({"style": "primary"} if action == ACKNOWLEDGE else {}),
        }
        for action, words in button_words(message).items()
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
