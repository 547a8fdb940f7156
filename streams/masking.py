"""Log lines with what changes from line to line masked, so that like lines become one text."""

import re
from collections.abc import Sequence

MASK = "<*>"
_MAX_BODY_CHARACTERS = 1_000
_MAX_TEXT_CHARACTERS = 400
_MAX_REMEMBERED = 5_000
_SEPARATOR, _SEPARATOR_BYTE = "\0", b"\0"

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
# Quoted values, and every word that holds a digit: numbers, hexadecimal, UUIDs, times, addresses,
# names of pods. The look-behind lets a word be tried once only, so time grows with length alone.
_VARIABLE = re.compile(
    rb"""  "[^"]*"
         | (?<!\w) '[^']*' (?!\w)
         | (?<![\w-]) [\w-]* 0 [\w.:+-]*
    """,
    re.VERBOSE,
)


class Masker:
    """Masks log lines and remembers its answers, up to a bound.

    Digits are made alike before the look-up, so that lines which differ in numbers only are found
    at once. The answer depends on the line alone, never on what is remembered.
    """

    def __init__(self) -> None:
        self._remembered: dict[bytes, str] = {}

    def __call__(self, body: str) -> str:
        """The line with its variable parts as `<*>`, white space collapsed, cut to 400."""
        key = body[:_MAX_BODY_CHARACTERS].encode("utf-8", "replace").translate(_DIGITS_TO_ZERO)
        text = self._remembered.get(key)
        if text is None:
            text = self._remember(key)
        return text

    def many(self, bodies: Sequence[str]) -> list[str]:
        """The same for many lines, at a fraction of the cost for each."""
        joined = _SEPARATOR.join(bodies)
        keys = joined.encode("utf-8", "replace").translate(_DIGITS_TO_ZERO).split(_SEPARATOR_BYTE)
        if len(keys) != len(bodies) or max(map(len, keys), default=0) > _MAX_BODY_CHARACTERS:
            return [self(body) for body in bodies]
        get = self._remembered.get
        return [get(key) or self._remember(key) for key in keys]

    def _remember(self, key: bytes) -> str:
        masked = _VARIABLE.sub(MASK.encode(), key).decode()
        text = " ".join(masked.split())[:_MAX_TEXT_CHARACTERS]
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = text
        return text
