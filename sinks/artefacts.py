"""What people copy out of logs and consoles: addresses of machines, stack traces, paths. Pure.

They are told by their shape alone, so nothing has to be known of the systems. What customers may
follow, a page of the web or an address to write to, stays.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

_INSIDE = ("internal", "local", "svc", "lan", "cluster", "corp", "intranet")
"""Labels of names of machines that no public name has behind its first."""
_LAST = (*_INSIDE, "localdomain", "localhost", "intra", "private", "home", "arpa")
"""Last labels of names that no public server has."""
_SOURCES = "java|kt|scala|py|js|ts|go|rb|rs|php|cs|cc|cpp|c|h"

_PATH = r"(?:/[^\s<>\"'»“”]*)?"
_URL = r"\b[a-z][a-z0-9+.:-]*://[^\s<>\"'«»„“”]+"
_IPV6 = (
    r"(?<![\w:.])\[?(?:[0-9a-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4})"
    r"(?:%\w+)?(?:/\d{1,3}\b|\](?::\d+)?)?(?![\w:])"
)
_TRACES = (
    r"\bTraceback \(most recent call last\):?",
    r"\bFile (?:\"[^\"\n]+\"|'[^'\n]+'), line \d+(?:, in [\w.<>]+)?",
    r"\bat [\w$.<>/]{1,300}\((?:[^()\n]*:\d+|Native Method|Unknown Source)\)",
    r"\bat (?:[\w$.<>]+ )?\(?(?:file://)?[\w@-]{0,63}[/.][\w./@-]{0,300}:\d+:\d+\)?",
    r"(?-i:\b(?:[a-z_$][\w$]{0,63}\.){1,12}[A-Z][\w$]*(?:Exception|Error|Throwable)\b)",
    r"(?-i:\b[A-Z]\w{1,99}(?:Exception|Error)\b)",
    r"\bgoroutine \d+ \[[^\]\n]*\]",
    rf"(?<![\w./-])[\w./-]{{1,300}}\.(?:{_SOURCES}):\d+(?::\d+)?\b",
)
_MACHINES = (
    rf"\b\d{{1,3}}(?:\.\d{{1,3}}){{3}}\b(?::\d+)?{_PATH}",
    rf"(?:\b[\w.+-]{{1,64}}@)?\b(?:[\w-]{{1,63}}\.){{1,12}}(?:{'|'.join(_INSIDE)})\b(?:\.[\w-]{{1,63}}){{0,12}}(?::\d+)?{_PATH}",
    rf"(?:\b[\w.+-]{{1,64}}@)?\b(?:[\w-]{{1,63}}\.){{1,12}}(?:{'|'.join(_LAST)})\b(?!\.\w)(?::\d+)?{_PATH}",
    rf"\blocalhost\b(?::\d+)?{_PATH}",
    rf"(?-i:(?<![\w.@-])[a-z][a-z0-9-]{{1,63}}(?:\.[a-z0-9-]{{1,63}}){{0,12}}:[1-9]\d{{1,4}}(?![\d:.,]?\d)){_PATH}",
)
_NUMBERED = (
    # pods: what a ReplicaSet adds mixes letters and figures
    r"(?-i:(?<![\w.-])[a-z][a-z0-9]*(?:-[a-z0-9]{1,63}){0,12}-(?=[a-z]{0,9}\d)(?=\d{0,9}[a-z])[a-z0-9]{5,10}"
    r"(?:-[a-z0-9]{5})?(?![\w-]))",
    # one of several, such as payments-db-0 or db-01, but no region, such as eu-west-1
    r"(?-i:(?<![\w.-])(?![a-z]{2}(?:-[a-z]+)?-(?:north|south|east|west|central)[a-z]*-\d)"
    r"[a-z][a-z0-9]*(?:-[a-z0-9]{1,63}){1,12}-\d{1,3}(?![\w-]))",
    r"(?-i:(?<![\w.-])[a-z]+-0\d(?![\w-]))",
)
_FILES = (r"(?<![\w/.])/(?:var|etc|opt|usr|srv|home|root|tmp|proc|app|mnt)/[^\s,;\"'<>]+",)
_PUBLIC = (
    r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,12}[a-z]{2,63}\b",
    r"\b(?:[\w-]{1,63}\.){1,12}[a-z]{2,63}/[^\s<>\"'»“”]*",
)
"""A mailbox and a page without its scheme: nothing in them is looked at."""

_ANY = re.compile(
    rf"(?P<url>{_URL})|(?P<ipv6>{_IPV6})"
    rf"|(?P<inside>{'|'.join((*_TRACES, *_MACHINES, *_NUMBERED, *_FILES))})"
    rf"|{'|'.join(_PUBLIC)}",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\s,;:()]*")
_END = ".,;:!?"


def artefacts(text: str) -> tuple[str, ...]:
    """The addresses of machines, stack frames and paths of a text, as they stand in it."""
    return tuple(text[first:last] for first, last in _spans(text))


def without_artefacts(text: str, otherwise: str, known: str = "") -> str:
    """The text with `otherwise` for them, once for those that follow one another.

    What stands in `known`, such as a public name, stays.
    """
    runs: list[tuple[int, int]] = []
    for first, last in _spans(text):
        if text[first:last].casefold() in known.casefold():
            continue
        if runs and _BETWEEN.fullmatch(text, runs[-1][1], first):
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    for first, last in reversed(runs):
        text = text[:first] + otherwise + text[last:]
    return text


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for found in _ANY.finditer(text):
        whole = found[0].rstrip(_END)
        if found["url"]:
            whole = whole.removesuffix(")") if "(" not in whole else whole
            inside = not _is_public(whole)
        else:
            inside = bool(found["inside"]) or bool(found["ipv6"] and _is_ipv6(whole))
        if inside:
            yield found.start(), found.start() + len(whole)


def _is_public(url: str) -> bool:
    """Whether everybody can follow it: a page at a name, not at an address or inside."""
    try:
        parts = urlsplit(url)
        labels = (parts.hostname or "").rstrip(".").split(".")
    except ValueError:
        return False
    if parts.scheme.lower() not in ("http", "https") or parts.username is not None:
        return False
    if len(labels) < 2 or not labels[-1][:1].isalpha() or labels[-1] in _LAST:
        return False
    return not set(labels[1:]) & set(_INSIDE)


def _is_ipv6(text: str) -> bool:
    bare = text.lstrip("[").partition("]")[0].partition("/")[0].partition("%")[0]
    try:
        ip_address(bare)
    except ValueError:
        return False
    return any(sign.isalnum() for sign in bare)
