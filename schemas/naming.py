"""Which service people mean, by what it is called in the catalogue: in its own or public names."""

import re
from collections.abc import Iterable

from schemas.configuration import Service

EXAMPLES = 8
"""Names that are offered where none was found."""


def service_for(named: str | None, text: str, services: Iterable[Service]) -> str:
    """The service that somebody means: the one `named`, by any of its names, or one in the text.

    Without a catalogue whatever is named counts. Raises `ValueError`, with names that would do, if
    there is none.
    """
    services = tuple(services)
    if not named:
        return service_in(text, services)
    if not services or any(known.name == named for known in services):
        return named
    said = named.strip().lower()
    found = [
        (-known.tier, known.name)
        for known in services
        if said in {name.lower() for name in _names(known)}
    ]
    if found:
        return max(found)[1]
    raise ValueError(f"the catalogue has no service {named!r}; it has {_examples(services)}")


def service_in(text: str, services: Iterable[Service]) -> str:
    """The service with the longest name in the text; of several so called, the most critical.

    Public names count in every language. Raises `ValueError`, with names that would do, if there
    is none.
    """
    services = tuple(services)
    said = text.lower()
    names = [
        (len(name), -known.tier, known.name)
        for known in services
        for name in _names(known)
        if re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", said)
    ]
    if names:
        return max(names)[2]
    if not services:
        raise ValueError("a report needs a `service`: the catalogue names none to look for")
    raise ValueError(
        f"a report needs a `service`, or words with the name of one, such as {_examples(services)}"
    )


def _names(service: Service) -> list[str]:
    """All that a service is called."""
    public = (service.public_name or "", *service.public_names.values())
    return [service.name, *(name for name in public if name)]


def _examples(services: Iterable[Service]) -> str:
    """Some of the names, for whoever named none of them."""
    names = sorted(service.name for service in services)
    more = ", …" if len(names) > EXAMPLES else ""
    return f"{', '.join(names[:EXAMPLES])}{more}"
