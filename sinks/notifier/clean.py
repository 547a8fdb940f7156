"""Values from outside as they may stand in a message. Pure."""

import re

from schemas.printable import is_unprintable

MAX_VALUE = 400
"""Longest value that a template prints; telemetry can hold anything."""
MAX_PROSE = 3000


class Prose(str):
    """Text that a person wrote to be read as it is, with its line breaks."""

    __slots__ = ()


def clean(value: object) -> str:
    """A value as one line without control characters, cut where it is too long.

    Every value that a template prints goes through this, so that none can begin a line of its
    own, hide text or turn its direction. Only what a person wrote to be published keeps its lines.
    """
    if isinstance(value, Prose):
        return "\n".join(clean(line) for line in value.splitlines())[:MAX_PROSE]
    text = "".join(" " if is_unprintable(char) else char for char in str(value))
    text = re.sub(r"[^\S\u00a0\u202f]+", " ", text).strip()
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"
