"""Made-up incidents with who is to be told of them, in a file that `tocsin check` runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from deploy.commands.moments import NoMomentError, moment_ms
from deploy.configuration.convert import mistakes_in
from deploy.configuration.document import line_of, parse, plain
from deploy.configuration.mistakes import ConfigurationError, Mistake
from schemas.configuration import Catalogue, Configuration
from schemas.incidents import EventType, Grading, Impact, Incident, IncidentEvent, Severity
from schemas.section import Section
from sinks.notifier.plan import Plan, plan


class MadeUpError(ValueError):
    """The question makes no sense; the message says why."""


class MadeUp(Section, frozen=True, kw_only=True):
    """An incident as far as it decides who is told. Without segments and regions those of the
    catalogue's services count."""

    services: tuple[str, ...]
    severity: Severity = "P1"
    event: EventType = "opened"
    visibility: Literal["internal", "public"] = "public"
    segments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    acknowledged_by: str | None = None
    silenced_by: str | None = None


class RoutingTest(Section, frozen=True, kw_only=True):
    """One test. `told` and `paged` are everybody who is to be, in any order and in order; names
    that stand in `not_told` must be neither. What is left out is not looked at."""

    name: str
    incident: MadeUp
    at: str | None = None
    told: tuple[str, ...] | None = None
    paged: tuple[str, ...] | None = None
    not_told: tuple[str, ...] = ()


class RoutingTests(Section, frozen=True, kw_only=True):
    """The file."""

    tests: tuple[RoutingTest, ...]


def made_up(what: MadeUp, catalogue: Catalogue, at_ms: int) -> IncidentEvent:
    """The event. Raises `MadeUpError` for services that the catalogue, if there is one, lacks."""
    known = {service.name: service for service in catalogue.services}
    strange = [name for name in what.services if known and name not in known]
    if strange or not what.services:
        listed = ", ".join(sorted(known)) or "(there are none)"
        named = ", ".join(strange) or "no service"
        raise MadeUpError(f"{named}: none of the catalogue's services {listed}")
    is_over = what.event in ("resolved", "closed")
    incident = Incident(
        id="INC-EXAMPLE",
        environment="example",
        version=1,
        title=f"{', '.join(what.services)} is out of order",
        summary="A made-up incident.",
        severity=what.severity,
        grading=Grading(severity=what.severity, impact=1, urgency=1, steps=()),
        impact=Impact(segments=what.segments, regions=what.regions),
        state="resolved" if is_over else "investigating",
        public_phase="resolved" if is_over else "investigating",
        visibility=what.visibility,
        services=what.services,
        suspected_causes=what.services[:1],
        causes=(),
        signals=(),
        opened_ms=at_ms,
        first_anomaly_ms=at_ms,
        last_anomaly_ms=at_ms,
        updated_ms=at_ms,
        acknowledged_by=what.acknowledged_by,
        silenced_by=what.silenced_by,
    )
    return IncidentEvent(
        incident_id=incident.id,
        version=1,
        type=what.event,
        time_ms=at_ms,
        actor="tocsin",
        text=incident.title,
        incident=incident,
    )


def run_tests(file: Path, configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Each test's name with what is wrong, empty if nothing is.

    Raises `ConfigurationError` for a file that is none of tests, with every mistake and its line.
    """
    documents = parse(file)
    document = documents[0] if documents else {}
    mistakes = list(mistakes_in(document, RoutingTests, str(file)))
    if mistakes:
        raise ConfigurationError(mistakes)
    tests = msgspec.convert(plain(document), RoutingTests)
    for index, test in enumerate(tests.tests):
        try:
            at_ms = moment_ms(test.at)
            event = made_up(test.incident, configuration.catalogue, at_ms)
        except (NoMomentError, MadeUpError) as error:
            line = line_of(document["tests"], index)
            raise ConfigurationError([Mistake(str(file), line, test.name, str(error))]) from error
        yield test.name, "; ".join(_wrong(test, plan(configuration, event, at_ms)))


def _wrong(test: RoutingTest, found: Plan) -> Iterator[str]:
    told, paged = found.names(), found.paged_names()
    if test.told is not None and sorted(test.told) != sorted(told):
        yield f"told are {_listed(told)}, not {_listed(test.told)}"
    if test.paged is not None and test.paged != paged:
        yield f"paged are {_listed(paged)}, not {_listed(test.paged)}"
    wrongly = [name for name in test.not_told if name in {*told, *paged}]
    if wrongly:
        yield f"{_listed(tuple(wrongly))} would be told"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nobody"
