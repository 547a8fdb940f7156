"""Channels of incidents' own, as far as chats have them in common: who belongs in one."""

from collections.abc import Iterator, Mapping

from schemas.configuration import IncidentChannels
from sinks.notifier.channels.channel import Message
from sinks.notifier.channels.standing import incident_of

OWN_CHANNEL = "incident"
"""The address of recipients who write to the channel of the incident's own."""


def people(
    settings: IncidentChannels, owners: Mapping[str, str], message: Message
) -> Iterator[str]:
    """Who belongs into the channel: those who always do, and those of the services' owners."""
    wanted = dict.fromkeys(settings.invite)
    incident = incident_of(message)
    for service in incident.services if incident else ():
        owner = owners.get(service)
        if owner is not None:
            wanted |= dict.fromkeys(settings.invite_by_owner.get(owner, ()))
    return iter(wanted)
