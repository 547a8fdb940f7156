"""Who is told of an incident event, by which rule, and what is withheld and why. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

from schemas.configuration import Catalogue, Recipient, Route
from schemas.incidents import Incident, IncidentEvent
from sinks.notifier.messages import Stage

STAGES: tuple[Stage, ...] = get_args(Stage)
_BEGINNINGS: frozenset[Stage] = frozenset(("opened", "reopened", "severity_changed", "updated"))


@dataclass(frozen=True, slots=True)
class Decision:
    """One recipient, the rule that chose them and the kind of message they get.

    `first` says that they have not been told of this incident before. `withheld` is the reason
    for which nothing is sent; None when the message goes out.
    """

    recipient: Recipient
    rule: str
    stage: Stage
    first: bool
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    recipient: Recipient
    rule: str
    first: bool


@dataclass(frozen=True, slots=True)
class Router:
    """Decides who is told; a function of its arguments alone.

    Raises `ValueError` for a route to a recipient who is not there, before any incident does.
    """

    routes: tuple[Route, ...]
    recipients: Mapping[str, Recipient]
    catalogue: Catalogue

    def __post_init__(self) -> None:
        named = {name for route in self.routes for name in route.recipients}
        if unknown := sorted(named - set(self.recipients)):
            raise ValueError(f"notifier.routes: no recipient is named {', '.join(unknown)}")

    def decide(
        self, event: IncidentEvent, told: Mapping[str, str], *, stale: bool = False
    ) -> tuple[Decision, ...]:
        """One decision for each recipient whom the event concerns, in the order of the routes.

        `told` holds the recipients who were told of this incident before, with the rule by which.
        Every matching route adds its recipients, the first route that names one is the rule.
        Who was told that an incident began is also told how it went on: of its end and of its
        return; engineers, managers and support that somebody has it; customers and support what
        was said in public. `stale` marks an event too old to be news.
        """
        stage = next((stage for stage in STAGES if stage == event.type), None)
        if stage is None:
            return ()
        return tuple(
            self._decision(
                event, stage, _Choice(self.recipients[name], rule, name not in told), stale=stale
            )
            for name, rule in self._chosen(event, stage, told).items()
        )

    def _chosen(
        self, event: IncidentEvent, stage: Stage, told: Mapping[str, str]
    ) -> dict[str, str]:
        chosen: dict[str, str] = {}
        for route in self.routes:
            if not matches(route, event, stage):
                continue
            for name in route.recipients:
                recipient = self.recipients[name]
                if not self._in_segment(recipient, event.incident):
                    continue
                if stage == "resolved" and name not in told and _BEGINNINGS & set(route.events):
                    continue  # they never heard that it began
                chosen.setdefault(name, route.name)
        for name, rule in told.items():
            known = self.recipients.get(name)
            if known is not None and follows(known, event, stage):
                chosen.setdefault(name, rule)
        return chosen

    def _decision(
        self, event: IncidentEvent, stage: Stage, choice: _Choice, *, stale: bool
    ) -> Decision:
        if choice.first and stage in ("updated", "severity_changed"):
            stage = "opened"  # news to them, whatever it is to others
        reason = self._reason_to_withhold(event, stage, choice, stale=stale)
        return Decision(choice.recipient, choice.rule, stage, choice.first, reason)

    def _reason_to_withhold(
        self, event: IncidentEvent, stage: Stage, choice: _Choice, *, stale: bool
    ) -> str | None:
        incident = event.incident
        audience = choice.recipient.audience
        if audience == "customer":
            if not public_names(incident, self.catalogue):
                return "no affected service has a public name"
            if incident.visibility != "public" and choice.first:
                return "the incident is internal"
        if stage == "updated" and audience == "engineer" and incident.acknowledged_by:
            return f"already acknowledged by {incident.acknowledged_by}"
        if stale and not (stage == "resolved" and not choice.first):
            return "the event is too old to be news"
        return None

    def _in_segment(self, recipient: Recipient, incident: Incident) -> bool:
        if recipient.segment is None:
            return True
        affected = affected_segments(incident, self.catalogue)
        return not affected or recipient.segment in affected


def matches(route: Route, event: IncidentEvent, stage: Stage) -> bool:
    """Whether the route names this kind of event, this severity and one of the services."""
    return (
        stage in route.events
        and event.incident.severity in route.severities
        and any(
            fnmatchcase(service, pattern)
            for service in event.incident.services
            for pattern in route.services
        )
    )


def follows(recipient: Recipient, event: IncidentEvent, stage: Stage) -> bool:
    """Whether someone who was told of the beginning is told of this without a route of its own."""
    if stage in ("resolved", "reopened"):
        return True
    if stage == "acknowledged":
        return recipient.audience != "customer" and recipient.name != event.actor
    return stage == "public_message" and recipient.audience in ("customer", "support")


def affected_segments(incident: Incident, catalogue: Catalogue) -> frozenset[str]:
    """The customer segments that the incident touches; empty when nothing says which."""
    if incident.impact.segments:
        return frozenset(incident.impact.segments)
    return frozenset(
        segment
        for service in catalogue.services
        if service.name in incident.services
        for segment in service.segments
    )


def public_names(incident: Incident, catalogue: Catalogue) -> tuple[str, ...]:
    """What customers call the affected services, each once, in the incident's order."""
    known = {service.name: service.public_name for service in catalogue.services}
    return tuple(_once(name for s in incident.services if (name := known.get(s))))


def _once(names: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(names))
