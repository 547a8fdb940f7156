"""What is internal, and how it is kept out of what customers read. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from schemas.configuration import Catalogue
from schemas.incidents import Incident
from schemas.units import metric_of
from sinks.artefacts import artefacts, without_artefacts

_FOR_CUSTOMERS = ("public_message", "workaround", "reason", "solution")
"""What people write for customers to read."""
_NO_WORD = re.compile(r"[^A-Za-z]|(?:service|svc)$")
"""What tells a system's name from a word that may mean something else in a sentence."""


def internal_terms(incident: Incident, catalogue: Catalogue) -> frozenset[str]:
    """Names of systems, machines, operations and metrics that no customer is to read.

    What is also a public name, or a word of one, is not internal.
    """
    public = _public(catalogue)
    found = {*_systems(incident, catalogue), *_measured(incident)}
    return frozenset(term for term in found if term and term.casefold() not in public)


def leaks(text: str, incident: Incident, catalogue: Catalogue) -> tuple[str, ...]:
    """The internal terms, addresses and traces that a text has, in order of the alphabet; empty
    if all is well."""
    found = (term for term in internal_terms(incident, catalogue) if _pattern(term).search(text))
    public = _public(catalogue)
    copied = (one for one in artefacts(text) if one.casefold() not in public)
    return tuple(sorted({*found, *copied}))


def masked(text: str, incident: Incident, catalogue: Catalogue, otherwise: str) -> str:
    """A person's words with the names of systems as customers know them, or as `otherwise`.

    Only what can mean nothing else is replaced: `checkout-service`, an address, a stack trace, not
    `cart`.
    """
    text = without_artefacts(text, otherwise, known=_known(catalogue))
    names: Mapping[str, str | None] = {s.name: s.public_name for s in catalogue.services}
    systems = _systems(incident, catalogue)
    for term in sorted(systems & internal_terms(incident, catalogue), key=len, reverse=True):
        if _NO_WORD.search(term):
            shown = names.get(term) or otherwise
            text = _pattern(term).sub(lambda _, shown=shown: shown, text)  # type: ignore[misc]
    return text


def for_the_public(incident: Incident, catalogue: Catalogue, otherwise: str) -> Incident:
    """The incident with what people wrote for customers as customers may read it; see `masked`."""
    told = {field: getattr(incident, field) for field in _FOR_CUSTOMERS}
    changed = {
        field: masked(text, incident, catalogue, otherwise) for field, text in told.items() if text
    }
    return msgspec.structs.replace(incident, **changed) if changed else incident


def _pattern(term: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(term)}(?![\w-])", re.IGNORECASE)


def _public(catalogue: Catalogue) -> str:
    return " ".join(_public_words(catalogue)).casefold()


def _known(catalogue: Catalogue) -> str:
    """Public names, and names of services, which have a replacement of their own."""
    return " ".join((_public(catalogue), *(service.name for service in catalogue.services)))


def _public_words(catalogue: Catalogue) -> Iterator[str]:
    for service in catalogue.services:
        yield from filter(None, (service.public_name, *service.public_names.values()))
        yield from service.segments


def _systems(incident: Incident, catalogue: Catalogue) -> frozenset[str]:
    signals = incident.signals
    of_signals: Iterable[str | None] = (
        name for s in signals for name in (s.service, s.instance, s.caller)
    )
    catalogued = (service.name for service in catalogue.services)
    named = (*incident.services, *incident.suspected_causes, *catalogued, *of_signals)
    return frozenset(name for name in named if name)


def _measured(incident: Incident) -> Iterator[str]:
    for signal in incident.signals:
        yield from (metric_of(signal.series), signal.operation or "", signal.series)
        if signal.example:
            yield signal.example
