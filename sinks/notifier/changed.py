"""What has changed, in the language of those who work here. Pure.

An event tells it in English as `before → after`. Each kind of change has words of its own, and only
those are translated: names, numbers, and what people wrote stay as they are.
"""

import re
from collections.abc import Callable, Mapping
from typing import get_args

from schemas.anomalies import AnomalyKind
from schemas.incidents import Incident, IncidentEvent
from sinks.notifier.language import Language

ARROW = " → "
_WRITTEN: Mapping[str, str] = {
    "public message": "public_message",
    "workaround": "workaround",
    "reason": "reason",
    "solution": "solution",
}
"""Changes whose sides are people's own words, or `none`; and where an incident has them."""
_SECTIONS: Mapping[str, str] = {
    "technical severity": "grade_words",
    "business impact": "grade_words",
    "scope": "scope_words",
    "category": "category_words",
    "forecast": "forecast_words",
}
"""Where the words of a change stand, if not in `change_words`."""
_KINDS = {kind.replace("_", " "): kind for kind in get_args(AnomalyKind)}
_BY = re.compile(r"by (.+ UTC)")
_SAYS = re.compile(r"says (.+)")


def changes_told(event: IncidentEvent, language: Language) -> tuple[tuple[str, str], ...]:
    """What has changed, each with its name, by the readable pairs of the event."""
    return tuple(
        (language.phrase("changes", name), _told(event.incident, name, text, language))
        for name, text in event.changes.items()
        if name != "public_phase" and not (name == "visibility" and "state" in event.changes)
    )


def _told(incident: Incident, name: str, text: str, language: Language) -> str:
    if name in _WRITTEN:
        return _written(name, text, getattr(incident, _WRITTEN[name]), language)
    before, arrow, after = text.partition(ARROW)
    side = _SIDES.get(name, _plain)
    return f"{side(name, before, language)}{arrow}{side(name, after, language)}"


def _written(name: str, text: str, now: str | None, language: Language) -> str:
    """A person's words before and after; only that there are none is said by us.

    The words `now` tell what is theirs: they can hold an arrow, and end in it.
    """
    nothing = _word("change_words", f"none {name}", language)
    if nothing == f"none {name}":
        nothing = _word("change_words", "none", language)
    if not now:
        return text.removesuffix("none") + nothing if text.endswith(f"{ARROW}none") else text
    return nothing + text.removeprefix("none") if text == f"none{ARROW}{now}" else text


def _plain(name: str, side: str, language: Language) -> str:
    """A side that is one word, or a name or number with none of ours in it."""
    word, colon, why = side.partition(": ")
    return f"{_word(_SECTIONS.get(name, 'change_words'), word, language)}{colon}{why}"


def _named(_: str, side: str, language: Language) -> str:
    """A side that is a name, or says that there is none."""
    return _word("change_words", side, language) if side in _NOBODY else side


def _listed(_: str, side: str, language: Language) -> str:
    """A side that names what has come to it."""
    if not side.startswith("also "):
        return side
    return f"{_word('change_words', 'also', language)} {side.removeprefix('also ')}"


def _shown(name: str, side: str, language: Language) -> str:
    """Like `_listed`, of kinds of signals by service: `cart error ratio again`."""
    if not side.startswith("also "):
        return side
    shown = ", ".join(_kind(each, language) for each in side.removeprefix("also ").split(", "))
    return _listed(name, f"also {shown}", language)


def _kind(said: str, language: Language) -> str:
    label, again = said.removesuffix(" again"), said.endswith(" again")
    for words, kind in _KINDS.items():
        if label.endswith(f" {words}"):
            label = f"{label.removesuffix(words)}{_word('kinds', kind, language, words)}"
            break
    return f"{label} {_word('change_words', 'again', language)}" if again else label


def _by(_: str, side: str, language: Language) -> str:
    """A side that is a time, or says that none is known."""
    found = _BY.fullmatch(side)
    if found is None:
        return _word("change_words", side, language)
    return _word("change_words", "by {time}", language).format(time=found[1])


def _says(_: str, side: str, language: Language) -> str:
    found = _SAYS.fullmatch(side)
    if found is None:
        return _word("change_words", side, language)
    return _word("change_words", "says {name}", language).format(name=found[1])


def _word(section: str, word: str, language: Language, otherwise: str | None = None) -> str:
    """The word in the language; as it is where the language has none."""
    if language.phrase.has(section, word):
        return language.phrase(section, word)
    return word if otherwise is None else otherwise


_NOBODY = ("nobody", "nothing", "unknown")
_SIDES: Mapping[str, Callable[[str, str, Language], str]] = {
    "services": _listed,
    "signals": _shown,
    "likely cause": _named,
    "follows from": _named,
    "acknowledged by": _named,
    "severity set by": _named,
    "expected to be over": _by,
    "false alarm": _says,
}
