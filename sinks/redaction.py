"""Secrets of this process, and texts without them.

Whoever reads a secret tells it here. Whatever leaves the process and is not meant for the secret's
own receiver goes through `redact`: logs, health, what a receiver answered, the delivery log.
"""

import re
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

HIDDEN: Final = "[hidden]"

SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)|secret|token|authorization|(api|private|routing)_?key|credential|cookie",
    re.IGNORECASE,
)
_USER_INFORMATION: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SECRET_PARAMETER: Final = re.compile(
    r"(?i)\b(password|secret|token|signature|sig|api_?key)=[^&\s\"']+"
)
_SHORTEST_VALUE: Final = 4
"""Shorter values would hide half of every sentence."""
_SHORTEST_PART: Final = 12
"""From this length on, the words of a secret and the parts of an address are hidden alone too."""

_MOST_PASSING: Final = 20


class _Hidden:
    """How everything that is secret may look."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._passing: deque[set[str]] = deque(maxlen=_MOST_PASSING)
        self.looks: tuple[str, ...] = ()
        """The longest first, so that no rest remains of a secret that holds another one."""

    def add(self, looks: set[str], *, passing: bool) -> None:
        if passing:
            self._passing.append(looks)
        else:
            self._lasting |= looks
        every = self._lasting.union(*self._passing)
        self.looks = tuple(sorted(every, key=lambda look: (-len(look), look)))


_hidden = _Hidden()


def hide(value: str, *, passing: bool = False) -> None:
    """From now on `redact` leaves `value` out: as it is, quoted, in parts of it, in Base64.

    Of what is `passing`, tokens that are renewed again and again, the last twenty are hidden.
    """
    if len(value) < _SHORTEST_VALUE:
        return
    texts = {value, *(part for part in _parts(value) if len(part) >= _SHORTEST_PART)}
    _hidden.add({look for text in texts for look in _looks(text)}, passing=passing)


def _parts(value: str) -> list[str]:
    """Of a secret of several words, or of a secret address without its host, which is none."""
    host = urlsplit(value).netloc.rpartition("@")[2] if "://" in value else ""
    return [part for part in re.split(r"[\s/?&=@]+", value) if part != host]


def _looks(text: str) -> Iterator[str]:
    yield from (text, quote(text), quote(text, safe=""), quote_plus(text), repr(text)[1:-1])
    for before in range(3):  # what stands before it shifts its letters, as in `user:password`
        whole = (before + len(text.encode())) * 8 // 6
        look = b64encode(b"\0" * before + text.encode())[-(-before * 8 // 6) : whole].decode()
        if len(look) >= 2 * _SHORTEST_VALUE:
            yield look


def redact(value: Any) -> Any:
    """`value` without the secrets in it; containers are gone through, objects become text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if SECRET_KEY.search(str(key)) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return redact_text(str(value))


def redact_text(text: str) -> str:
    """The text without what this process knows to be secret, and without what looks like it."""
    for look in _hidden.looks:
        if look in text:
            text = text.replace(look, HIDDEN)
    text = _USER_INFORMATION.sub(HIDDEN, text)
    return _SECRET_PARAMETER.sub(rf"\1={HIDDEN}", text)
