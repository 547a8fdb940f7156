"""What is planned or follows from something larger, and so is not told. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.incidents import Incident, Severity
from schemas.oncall import Inhibition
from sinks.notifier.stakeholders import any_of


class Open(NamedTuple):
    """As much of an open incident as an inhibition asks for."""

    incident_id: str
    severity: Severity
    services: tuple[str, ...]
    opened_ms: int


def silenced(incident: Incident) -> str | None:
    """The silence or maintenance window that the incident is in, as a reason."""
    return f"silenced by {incident.silenced_by}" if incident.silenced_by else None


def inhibited(
    incident: Incident, inhibitions: Iterable[Inhibition], others: Iterable[Open]
) -> str | None:
    """The inhibition by an open incident, as a reason.

    The incident that inhibits was opened before, or at the same time with a smaller id, so that
    two never inhibit each other.
    """
    others = tuple(others)
    for inhibition in inhibitions:
        if not any_of(incident.services, inhibition.target):
            continue
        for other in others:
            if (
                (other.opened_ms, other.incident_id) < (incident.opened_ms, incident.id)
                and other.severity <= incident.severity
                and any_of(other.services, inhibition.source)
            ):
                return f"inhibited by {inhibition.name}: {other.incident_id} is open"
    return None
