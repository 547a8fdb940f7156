"""Incidents that were taken out of one another, or merged: what those outside know of one from
another. Pure.

To customers a split is no news: they heard of all of it with the incident that it was taken out
of. Nor is it over for them while something that they call by the same name goes on.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from schemas.configuration import Catalogue, Recipient
from schemas.incidents import Incident
from sinks.notifier.facts import concerns, public_name

TOLD_WITH = "told with "
"""Begins the reason for which who knows of an incident from another one is not told again."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """The other incidents of a family, and who was told of each, by the incident's id."""

    kin: tuple[Incident, ...] = ()
    heard: Mapping[str, Collection[str]] = msgspec.field(default_factory=dict)

    def known_with(self, incident: Incident, recipient: Recipient) -> str | None:
        """Why its beginning is no news to a customer; None if it is."""
        origin = incident.split_from
        if recipient.audience != "customer" or origin is None:
            return None
        return f"{TOLD_WITH}{origin}" if recipient.name in self.heard.get(origin, ()) else None

    def goes_on_in(
        self, incident: Incident, recipient: Recipient, catalogue: Catalogue
    ) -> str | None:
        """The open incident by which it is not over for somebody; None if it is over."""
        if recipient.audience == "engineer":
            return None
        if incident.merged_into is not None:
            return incident.merged_into
        if recipient.audience != "customer":
            return None
        mine = _names(incident, recipient, catalogue)
        for other in self.kin:
            is_told = recipient.name in self.heard.get(other.id, ())
            if is_told and is_open(other) and mine & _names(other, recipient, catalogue):
                return other.id
        return None


def is_open(incident: Incident) -> bool:
    """Whether it goes on."""
    return incident.state not in ("resolved", "closed")


def heir_of(incident: Incident, reasons: Sequence[str | None], family: Family) -> str | None:
    """The incident that keeps what was promised of one that has ended: the one it was merged into,
    or by which it goes on for customers, as the reasons of its messages say."""
    if incident.merged_into is not None:
        return incident.merged_into
    said = {reason for reason in reasons if reason}
    return next((each.id for each in family.kin if goes_on(each.id) in said), None)


def goes_on(incident_id: str) -> str:
    """The reason for which nobody is told that it is over."""
    return f"it goes on in {incident_id}"


def _names(incident: Incident, recipient: Recipient, catalogue: Catalogue) -> set[str]:
    """What a customer calls that of it which concerns them."""
    mine = [
        service
        for service in catalogue.services
        if service.name in incident.services and concerns(service, recipient.segment)
    ]
    return {name for service in mine if (name := public_name(service, recipient.language))}
