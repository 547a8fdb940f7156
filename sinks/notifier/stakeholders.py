"""Whom an incident concerns: by route, role, segment, region and own subscription. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from schemas.configuration import Catalogue, Recipient, Route
from schemas.incidents import Incident, IncidentEvent
from schemas.oncall import Subscription
from sinks.notifier.messages import Stage

SUBSCRIBED: frozenset[Stage] = frozenset(("opened", "severity_changed", "reopened", "resolved"))
"""What a subscription is told, as a route is that does not say so."""
OWN_SUBSCRIPTION = "own subscription"
"""The rule by which a subscriber is told."""

OnCall = Callable[[str], str | None]
"""Who is on call by a schedule; None in a gap."""


def mismatch(route: Route, event: IncidentEvent, stage: Stage, catalogue: Catalogue) -> str | None:
    """The first thing by which a route does not match an event; None if it does."""
    if stage not in route.events:
        return f"it is not for events of the kind {stage.replace('_', ' ')}"
    return _differs(route, event.incident, catalogue)


def matches(
    route: Route, event: IncidentEvent, stage: Stage, catalogue: Catalogue | None = None
) -> bool:
    """Whether the route names this kind of event, this severity, one of the services and, where
    it names segments or regions, one of those affected."""
    return mismatch(route, event, stage, catalogue or Catalogue()) is None


def subscribed(
    recipient: Recipient, event: IncidentEvent, stage: Stage, catalogue: Catalogue
) -> bool:
    """Whether a subscription of the recipient's own matches."""
    return stage in SUBSCRIBED and any(
        _differs(each, event.incident, catalogue) is None for each in recipient.subscriptions
    )


def named(route: Route, recipients: Mapping[str, Recipient], on_call: OnCall) -> Iterator[str]:
    """The recipients of a route: by name, who is on call, and by role."""
    for name in route.recipients:
        person = name if name in recipients else on_call(name)
        if person is not None:
            yield person
    for recipient in recipients.values():
        if not set(route.roles).isdisjoint(recipient.roles):
            yield recipient.name


def elsewhere(recipient: Recipient, incident: Incident, catalogue: Catalogue) -> str | None:
    """What of the recipient's the incident does not touch; None if it concerns them."""
    segments = affected_segments(incident, catalogue)
    if recipient.segment is not None and segments and recipient.segment not in segments:
        return f"their segment, {recipient.segment}, is not affected"
    regions = affected_regions(incident, catalogue)
    if recipient.region is not None and regions and recipient.region not in regions:
        return f"their region, {recipient.region}, is not affected"
    return None


def affected_segments(incident: Incident, catalogue: Catalogue) -> frozenset[str]:
    """The customer segments that the incident touches; empty when nothing says which."""
    return _affected(incident.impact.segments, "segments", incident, catalogue)


def affected_regions(incident: Incident, catalogue: Catalogue) -> frozenset[str]:
    """The regions that the incident touches; empty when nothing says which."""
    return _affected(incident.impact.regions, "regions", incident, catalogue)


def absence(
    route: Route,
    event: IncidentEvent,
    stage: Stage,
    recipient: Recipient,
    *,
    recipients: Mapping[str, Recipient],
    catalogue: Catalogue,
    on_call: OnCall,
) -> str | None:
    """Why a route does not tell somebody of an event; None if it does."""
    differs = mismatch(route, event, stage, catalogue)
    if differs is not None:
        return differs
    people = list(dict.fromkeys(named(route, recipients, on_call)))
    if recipient.name not in people:
        return f"it is for {', '.join(people) or 'nobody at that time'}, not for {recipient.name}"
    return elsewhere(recipient, event.incident, catalogue)


def any_of(services: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether one of the services fits one of the patterns."""
    patterns = tuple(patterns)
    return any(fnmatchcase(service, pattern) for service in services for pattern in patterns)


def _differs(rule: Route | Subscription, incident: Incident, catalogue: Catalogue) -> str | None:
    if incident.severity not in rule.severities:
        return f"{incident.severity} is none of {', '.join(rule.severities) or 'no severities'}"
    if not any_of(incident.services, rule.services):
        return f"no service is one of {', '.join(rule.services) or 'no services'}"
    for kind, wanted, affected in (
        ("segment", rule.segments, affected_segments(incident, catalogue)),
        ("region", rule.regions, affected_regions(incident, catalogue)),
    ):
        if wanted and affected.isdisjoint(wanted):
            return f"no affected {kind} is one of {', '.join(wanted)}"
    return None


def _affected(
    told: tuple[str, ...], field: str, incident: Incident, catalogue: Catalogue
) -> frozenset[str]:
    if told:
        return frozenset(told)
    return frozenset(
        value
        for service in catalogue.services
        if service.name in incident.services
        for value in getattr(service, field)
    )
