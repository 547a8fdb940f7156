"""What is planned or follows from something larger, and so is not told. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.incidents import Incident, Severity
from schemas.oncall import Inhibition, Silence
from sinks.notifier.oncall.walltime import parse_moment_ms, zone_of
from sinks.notifier.stakeholders import any_of


class Open(NamedTuple):
    """As much of an open incident as an inhibition asks for."""

    incident_id: str
    severity: Severity
    services: tuple[str, ...]
    opened_ms: int


class Mutes:
    """The configured silences and inhibitions. Raises `WallTimeError` for a wrong time or zone."""

    def __init__(self, silences: tuple[Silence, ...], inhibitions: tuple[Inhibition, ...]) -> None:
        self.inhibitions = inhibitions
        self._silences = [
            (
                silence,
                parse_moment_ms(silence.start, zone_of(silence.time_zone)),
                parse_moment_ms(silence.until, zone_of(silence.time_zone)),
            )
            for silence in silences
        ]

    def silenced(self, incident: Incident, now_ms: int) -> str | None:
        """The silence that holds now for the incident, as a reason."""
        for silence, start_ms, until_ms in self._silences:
            if (
                start_ms <= now_ms < until_ms
                and incident.severity in silence.severities
                and any_of(incident.services, silence.services)
            ):
                return f"silenced by {silence.name}"
        return None

    def inhibited(self, incident: Incident, others: Iterable[Open]) -> str | None:
        """The inhibition by an open incident, as a reason.

        The incident that inhibits was opened before, or at the same time with a smaller id, so
        that two never inhibit each other.
        """
        for inhibition in self.inhibitions:
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
