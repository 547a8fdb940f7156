"""Which service people mean, by what it is called in the catalogue: in its own or public names."""

import re
from collections.abc import Iterable

from schemas.configuration import Service

EXAMPLES = 8
"""Names that are offered where none was found."""


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
        for name in (known.name, known.public_name or "", *known.public_names.values())
        if name and re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", said)
    ]
    if names:
        return max(names)[2]
    if not services:
        raise ValueError("a report needs a `service`: the catalogue names none to look for")
    known_names = sorted(service.name for service in services)
    more = ", …" if len(known_names) > EXAMPLES else ""
    raise ValueError(
        "a report needs a `service`, or words with the name of one, such as "
        f"{', '.join(known_names[:EXAMPLES])}{more}"
    )
