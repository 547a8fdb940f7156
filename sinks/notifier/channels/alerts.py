"""Alerts at services that keep one an incident, and what it takes until one rings again.

What is said again of an alert that somebody has acknowledged is only noted there: it wakes nobody.
How an alert stands is kept as the thread of the messages about it.
"""

from typing import Literal

from sinks.notifier.channels.channel import Message

Standing = Literal["open", "acknowledged", "over"]


def rings_anew(message: Message) -> bool:
    """Whether the message wakes people though somebody had acknowledged the alert."""
    if message.kind == "page" or message.stage == "reopened":
        return message.thread == "acknowledged"
    return message.kind == "news" and message.stage == "unacknowledged"


def standing_after(message: Message, done: Standing | None) -> Standing:
    """How the alert stands after the message; `done` is what it was asked to become, None if it
    was only told of."""
    if done is not None:
        return done
    is_taken = message.thread == "acknowledged" and not rings_anew(message)
    return "acknowledged" if is_taken else "open"
