"""A value that nobody else has for every secret that the configuration knows."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

import msgspec

from schemas.configuration import Configuration, Secret
from schemas.section import Section

BASE64 = "Y2FuYXJ5LW9mLXRlYW1zLXNlY3JldC0wMDAwMDAwMDA="
SIGNING = "whsec_Y2FuYXJ5LW9mLXdlYmhvb2stMDAwMDAwMDAwMDAw"


def secret_settings(kind: type[msgspec.Struct] = Configuration, path: str = "") -> Iterator[str]:
    """The dotted path of every secret that a configuration may hold; `*` for names and numbers."""
    for name, hint in get_type_hints(kind).items():
        yield from _in_hint(hint, f"{path}.{name}".lstrip("."))


def _in_hint(hint: Any, path: str) -> Iterator[str]:
    if hint is Secret:
        yield path
    elif isinstance(hint, type) and issubclass(hint, Section):
        yield from secret_settings(hint, path)
    else:
        inner = f"{path}.*" if getattr(hint, "__origin__", None) in (dict, tuple) else path
        for argument in get_args(hint):
            yield from _in_hint(argument, inner)


def general(path: str) -> str:
    """A secret's path in one configuration as `secret_settings` has it."""
    path = re.sub(r"\[\d+\]", ".*", path)
    named = r"(channels\.(?:teams|webhooks|sms|voice|pagerduty|opsgenie|apprise))\.\w+"
    return re.sub(named, r"\1.*", path)


class Canaries:
    """The values by the environment variables that hold them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.environment = dict(values)

    def found_in(self, text: str) -> set[str]:
        """The variables whose value, or what is secret of it, stands in a text."""
        return {
            name
            for name, value in self.environment.items()
            if any(look in text for look in _looks(value))
        }


def _looks(value: str) -> set[str]:
    marked = set(re.findall(r"[\w+-]*c4nary[\w+-]*", value)) or {value.removeprefix("whsec_")}
    return {look for each in marked for look in (each, quote(each, safe=""))}
