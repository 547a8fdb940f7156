"""Text from outside as it may be printed on a terminal. Pure.

Telemetry and people can write anything: escape sequences that clear the screen or colour a line,
marks that turn the direction of what follows, line breaks that begin a line of their own.
"""

import re
import unicodedata

_PLAIN = re.compile(r"[\n\x20-\x7e]*")
_UNPRINTABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def is_unprintable(char: str) -> bool:
    """Controls, marks of direction and other invisible ones, and what is no character."""
    return unicodedata.category(char) in _UNPRINTABLE


def printable(text: str) -> str:
    """The text with U+FFFD for what cannot be seen; line breaks stay."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join("\ufffd" if char != "\n" and is_unprintable(char) else char for char in text)


def one_line(text: str) -> str:
    """The text as one line that can be printed, so that it begins no line of its own."""
    return printable(" ".join(text.split()))
